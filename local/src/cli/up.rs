//! `lyceum up`: everything in one process, until it is asked to end.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::net::TcpListener;

use super::say;
use super::{Data, asked_to_end};
use crate::config::Config;
use crate::data_folder::{DataFolder, DataFolderError};
use crate::demo;
use crate::http::{self, Access, bind_address};
use crate::runtime::{Answers, Purpose, RemoteFunctions, Runtime};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    data: Data,
    /// The page's port; 0 picks a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Publishes traffic of a made-up academy (tenant `demo`), so that there is something to see
    #[arg(long)]
    demo: bool,
    /// Calls functions that run elsewhere, at Lambda's invoke endpoint: http://host:port/lyceum-{family} for every
    /// family, or family=http://host:port/function-name; may be repeated
    #[arg(long, value_name = "[FAMILY=]URL")]
    pub(super) functions: Vec<RemoteFunctions>,
}

impl Options {
    /// What `lyceum` alone does.
    pub(super) fn demo() -> Self {
        Self { data: Data { data: ".lyceum".into() }, port: 8080, demo: true, functions: Vec::new() }
    }
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let folder = match DataFolder::take(&options.data.data) {
        Err(DataFolderError::Held { path, holder }) => bail!(
            "{} is served by process {} already, at http://{}; stop that one, or name another folder with --data",
            path.display(),
            holder.process,
            holder.address
        ),
        other => other?,
    };
    let access = Access::new(config.tokens.clone());
    let address = bind_address(&access, options.port);
    let listener = TcpListener::bind(address).await.with_context(|| match options.port {
        0 => format!("cannot listen on {address}"),
        port => format!(
            "cannot listen on {address}: choose another port with --port, or --port 0 for a free one (asked for {port})"
        ),
    })?;
    let address = listener.local_addr()?;
    let runtime = Arc::new(Runtime::open(folder, config.clone(), Purpose::Process).await?);
    // Commands of this machine reach it on the loopback address, wherever else it listens.
    let shown = std::net::SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port());
    runtime.folder().announce(shown).context("cannot write into the data folder")?;
    say!("Lyceum is at http://{shown} (data in {}; Ctrl-C ends it)", options.data.data.display());
    say!("{}", runtime.places);
    if !config.functions.is_empty() {
        say!("Functions run elsewhere; how events end is told by their own logs, and here by lag and dead letters.");
    }
    if access.is_open() {
        say!("No API_TOKENS are set: it listens on 127.0.0.1 only and serves every tenant.");
    }
    if options.demo {
        say!("Demo traffic of a made-up academy is coming in, as tenant {:?}; `lyceum up` runs without.", demo::TENANT);
    }
    std::io::stdout().flush()?;

    let stop = tokio::sync::watch::Sender::new(false);
    let stopped = |mut stop: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let server = tokio::spawn(http::serve(listener, http_services(&runtime, &config), stopped(stop.subscribe())));
    let traffic = options.demo.then(|| tokio::spawn(demo::publish_for_ever(runtime.clone())));
    let running = runtime.run(stopped(stop.subscribe()));
    tokio::pin!(running);
    tokio::select! {
        () = asked_to_end() => {}
        () = &mut running => {}
    }
    if let Some(traffic) = traffic {
        traffic.abort();
    }
    eprintln!("ending: what is in hand is finished, the rest comes at the next start");
    stop.send_replace(true);
    running.await;
    server.await.context("the HTTP server failed")??;
    Ok(ExitCode::SUCCESS)
}

/// What the page and the API are given.
pub(super) fn http_services(runtime: &Arc<Runtime>, config: &Config) -> http::Services {
    let answers = Arc::new(Answers(runtime.clone()));
    http::Services {
        event_log: runtime.event_log.clone(),
        ledger: runtime.ledger.clone(),
        statements: runtime.statements.clone(),
        live: runtime.live.clone(),
        metrics: runtime.metrics.clone(),
        mappings: answers.clone(),
        dead_letters: runtime.dead_letters.clone(),
        analytics: answers.clone(),
        state: answers.clone(),
        keys: answers.clone(),
        work: answers,
        clock: runtime.clock.clone(),
        guards: runtime.guards.clone(),
        access: Access::new(config.tokens.clone()),
        default_tenant: config.process.envelope.default_tenant.clone(),
        data: runtime.folder().path().display().to_string(),
    }
}
