//! The functions behind HTTP on AWS Lambda: wiring. One binary; `HTTP_PART` says which routes a function of it serves, and its role what it may.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_around::system_clock::SystemClock;
use lyceum_http::config::HttpConfig;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (mut config, telemetry) = environment.read_of_server(HttpConfig::read, |config| &config.server)?;
        config.server.stores.secrets = Some(environment.secrets());
        let api = lyceum_http::open(&config, Arc::new(SystemClock), telemetry.metrics()).await?;
        telemetry
            .answer(move |event| {
                let api = api.clone();
                async move { api.answer(event.payload.get(), event.context).await }
            })
            .await
    })
}
