//! The replay function on AWS Lambda: wiring. It acts on what failed, by what HTTP's handlers do, and its role alone may read what was given up.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::clock::ms_since_1970;
use lyceum_replay::objects::{Bucket, ReadObjects};
use lyceum_replay::task::Task;
use lyceum_replay::{Acting, Replay, ReplayConfig};
use lyceum_server::access::Access;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (mut config, telemetry) = environment.read_of_server(ReplayConfig::read, |config| &config.server)?;
        config.server.stores.secrets = Some(environment.secrets());
        let clock = Arc::new(SystemClock);
        let services = lyceum_http::services(&config.server, Access::open(), None, clock, telemetry.metrics()).await?;
        let acting = Acting::new(services, uuid::Uuid::new_v4().to_string());
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let region = variable("AWS_REGION").unwrap_or_default();
        let bucket = config.bucket.map(|name| Bucket::new(&name, &region, variable)).transpose()?;
        let replay = Replay::new(acting, bucket.map(|bucket| Arc::new(bucket) as Arc<dyn ReadObjects>));
        telemetry
            .answer(move |event| {
                let replay = replay.clone();
                async move {
                    let task: Task = serde_json::from_str(event.payload.get())
                        .context("a task is one of import, redrive, replay, run and reconcile, as {\"redrive\": {\"all\": true}}")?;
                    let left = event.context.deadline.saturating_sub(ms_since_1970(SystemTime::now()).unsigned_abs());
                    replay.run(task, Duration::from_millis(left)).await
                }
            })
            .await
    })
}
