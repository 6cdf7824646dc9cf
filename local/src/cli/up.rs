//! `lyceum up`: everything in one process, until it is asked to end.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use lyceum_server::access::{Access, bind_address};
use lyceum_server::ending::asked_to_end;
use lyceum_server::http;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::DATA;
use super::say;
use crate::config::Config;
use crate::data_folder::{DataFolder, DataFolderError};
use crate::demo::{self, Demo};
use crate::functions::RemoteFunctions;
use crate::runtime::{Purpose, Runtime};

/// The demo's folder within the data folder.
pub(super) const DEMO: &str = "demo";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The data folder [default: LYCEUM_DATA, else .lyceum; with --demo the folder `demo` in it]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The page's port; 0 picks a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The address to listen on [default: 127.0.0.1; with API_TOKENS every one of this machine]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
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
        Self { data: None, port: 8080, bind: None, demo: true, functions: Vec::new() }
    }
}

/// Made-up traffic never goes where one's own data is, unless that folder is named.
fn folder(options: &Options, config: &Config) -> PathBuf {
    let default = || config.data.clone().unwrap_or_else(|| DATA.into());
    match &options.data {
        Some(data) => data.clone(),
        None if options.demo => default().join(DEMO),
        None => default(),
    }
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let data = folder(&options, &config);
    let access = Access::new(config.server.tokens.clone());
    let address = match options.bind {
        Some(bind) => SocketAddr::new(bind, options.port),
        None => bind_address(&access, options.port),
    };
    if access.is_open() && !address.ip().is_loopback() {
        bail!(
            "without API_TOKENS everybody may do everything: set them, or listen on this machine only (not on {})",
            address.ip()
        );
    }
    let folder = match DataFolder::take(&data) {
        Err(DataFolderError::Held { path, holder }) => bail!(
            "{} is served by process {} already, at http://{}; stop that one, or name another folder with --data",
            path.display(),
            holder.process,
            holder.address
        ),
        other => other?,
    };
    let made_new = if folder.is_new() { ", made new" } else { "" };
    let listener = TcpListener::bind(address).await.with_context(|| match options.port {
        _ if options.bind.is_some() => {
            format!("cannot listen on {address}: choose another --port, or another address with --bind")
        }
        0 => format!("cannot listen on {address}"),
        port => format!(
            "cannot listen on {address}: choose another port with --port, or --port 0 for a free one (asked for {port})"
        ),
    })?;
    let address = listener.local_addr()?;
    let runtime = Arc::new(Runtime::open(folder, config.clone(), Purpose::Process).await?);
    // Where it listens on every address, commands of this machine reach it on the loopback one.
    let shown = if address.ip().is_unspecified() {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    };
    // Whoever is told that it is there may end it at once.
    let asked = asked_to_end();
    let default_tenant = &config.server.process.envelope.default_tenant;
    runtime.folder().announce(shown, default_tenant).context("cannot write into the data folder")?;
    say!("Lyceum is at http://{shown} (data in {}{made_new}; Ctrl-C ends it)", data.display());
    say!("{}", runtime.stores.places);
    if !config.functions.is_empty() {
        say!("Functions run elsewhere: how events end is in their own logs; here you see lag and dead letters.");
    }
    if access.is_open() {
        say!("No API_TOKENS are set: it listens on {} only and serves every tenant.", shown.ip());
    } else if address.ip().is_unspecified() {
        say!("It listens on every address of this machine, and asks for a token; --bind 127.0.0.1 keeps it here.");
    }
    if options.demo {
        say!(
            "Sixty days and the traffic of a made-up academy are coming in, as tenant {:?}; `lyceum up` runs without.",
            demo::TENANT
        );
    }
    std::io::stdout().flush()?;

    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, runtime.http_services(access), stop.clone().cancelled_owned()));
    let demo = Demo {
        event_log: runtime.stores.event_log.clone(),
        statements: runtime.stores.statements.clone(),
        router: runtime.pipeline.router.clone(),
    };
    let traffic = options.demo.then(|| tokio::spawn(demo.publish_for_ever()));
    let running = runtime.run(stop.clone().cancelled_owned());
    tokio::pin!(running);
    tokio::select! {
        () = asked => {}
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
