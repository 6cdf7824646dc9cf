//! `lyceum judge`: says what this release decides about records, and has no effect. `lyceum replay --shadow` starts it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use lyceum_connect::Wiring;
use lyceum_core::metrics::Metrics;
use lyceum_server::access::Access;
use lyceum_server::ending::asked_to_end;
use tokio::net::TcpListener;

use super::say;
use crate::config::Config;
use crate::shadow::judge::of_this_release;
use crate::shadow::serve::{Release, check_listens_here, judge_lines, judge_over_http};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Answers over HTTP there, instead of over standard input and output
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let config = config.with_secrets().await?;
    let stores = &config.server.stores;
    let registry = stores.registry.as_ref();
    let mut wiring = Wiring::new(stores.guards, &Arc::new(Metrics::new()));
    let schemas = registry.map(|named| wiring.schemas(lyceum_connect::registry(named, stores.secrets.as_ref())));
    let release = Release { make: of_this_release, schemas };
    let asked = asked_to_end();
    let Some(address) = options.listen else {
        tokio::select! {
            judged = judge_lines(&release, tokio::io::stdin(), tokio::io::stdout()) => judged?,
            () = asked => {}
        }
        return Ok(ExitCode::SUCCESS);
    };
    let access = Access::new(config.server.tokens.clone());
    check_listens_here(&access, address)?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    say!("This release judges records at http://{}, without any effect; Ctrl-C ends it", listener.local_addr()?);
    judge_over_http(release, access, listener, asked).await?;
    Ok(ExitCode::SUCCESS)
}
