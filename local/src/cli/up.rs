//! `lyceum up`: everything in one process, until it is asked to end.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use lyceum_server::access::{Access, bind_address};
use lyceum_server::http;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::say;
use super::{Data, asked_to_end};
use crate::config::Config;
use crate::data_folder::{DataFolder, DataFolderError};
use crate::demo;
use crate::functions::RemoteFunctions;
use crate::runtime::{Purpose, Runtime};

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
    let access = Access::new(config.server.tokens.clone());
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
    say!("{}", runtime.stores.places);
    if !config.functions.is_empty() {
        say!("Functions run elsewhere: how events end is in their own logs; here you see lag and dead letters.");
    }
    if access.is_open() {
        say!("No API_TOKENS are set: it listens on 127.0.0.1 only and serves every tenant.");
    }
    if options.demo {
        say!("Demo traffic of a made-up academy is coming in, as tenant {:?}; `lyceum up` runs without.", demo::TENANT);
    }
    std::io::stdout().flush()?;

    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, runtime.http_services(access), stop.clone().cancelled_owned()));
    let (event_log, router) = (runtime.stores.event_log.clone(), runtime.pipeline.router.clone());
    let traffic = options.demo.then(|| tokio::spawn(demo::publish_for_ever(event_log, router)));
    let running = runtime.run(stop.clone().cancelled_owned());
    tokio::pin!(running);
    tokio::select! {
        () = asked_to_end() => {}
        () = &mut running => {}
    }
    if let Some(traffic) = traffic {
        traffic.abort();
    }
    eprintln!("ending: what is in hand is finished, the rest comes at the next start");
    stop.cancel();
    running.await;
    server.await.context("the HTTP server failed")??;
    Ok(ExitCode::SUCCESS)
}
