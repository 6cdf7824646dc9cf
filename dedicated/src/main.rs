//! `lyceum-dedicated`: see `lyceum-dedicated --help`.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use lyceum_dedicated::config::Config;
use lyceum_dedicated::process::Process;
use lyceum_server::access::{Access, bind_address};
use lyceum_server::ending::asked_to_end;
use lyceum_server::http;
use lyceum_spans::Spans;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The system's own keeps what is freed, in an arena for each of many threads; docs/reliability.md has the soak that showed it.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// So much of what fetched batches took is kept for the next ones.
const KEPT_BYTES: usize = 64 << 20;
/// How long the end of the process waits for its last spans to be sent.
const LAST_SPANS: Duration = Duration::from_millis(500);
/// How long the end of the process waits for requests under way.
const LAST_REQUESTS: Duration = Duration::from_millis(500);
/// How long `health` waits for an answer.
const HEALTH_LIMIT: Duration = Duration::from_secs(9);

/// Runs subscriptions of Lyceum in one long-running process, on Kafka, DynamoDB and Elasticsearch or OpenSearch, which the environment names
/// (docs/operations.md has every variable).
#[derive(Debug, Parser)]
#[command(name = "lyceum-dedicated", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The subscriptions that it runs, each `name` or `name:topic+topic`, separated by commas [env: LYCEUM_SUBSCRIPTIONS]
    #[arg(long, value_name = "NAMES", global = true)]
    subscriptions: Option<String>,
    /// The brokers, `host:port` separated by commas [env: KAFKA_BOOTSTRAP_SERVERS]
    #[arg(long, value_name = "SERVERS", global = true)]
    kafka: Option<String>,
    /// The port of the HTTP API; 0 picks a free one [env: HTTP_PORT]
    #[arg(long, global = true)]
    port: Option<u16>,
    /// The address that the HTTP API listens on [env: HTTP_BIND]
    #[arg(long, value_name = "ADDRESS", global = true)]
    bind: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Reads until it is asked to end; what it does without a command
    Run,
    /// Tells everything that keeps it from starting, and ends
    Check,
    /// Asks the process of this machine for its health: exit code 0 where it is not unhealthy
    Health {
        /// Asks whether it lives, whatever its stores do
        #[arg(long)]
        live: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What librdkafka allocates is the C library's affair: without this, fetched batches are given back to the system again and again.
    lyceum_consumer::keep_fetched_memory(KEPT_BYTES);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("cannot start threads")),
    };
    let code = runtime.block_on(run(cli)).unwrap_or_else(|error| failed(&error));
    // What was abandoned must not keep the process.
    runtime.shutdown_background();
    code
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let given = [
        ("LYCEUM_SUBSCRIPTIONS", cli.subscriptions),
        ("KAFKA_BOOTSTRAP_SERVERS", cli.kafka),
        ("HTTP_PORT", cli.port.map(|port| port.to_string())),
        ("HTTP_BIND", cli.bind.map(|address| address.to_string())),
    ];
    let command = cli.command.unwrap_or(Command::Run);
    if let Command::Health { live } = command {
        // Of a process that runs, whatever else its environment says.
        let port = cli.port.or_else(|| std::env::var("HTTP_PORT").ok()?.trim().parse().ok()).unwrap_or(8080);
        return health(port, if live { "/health/live" } else { "/health" }).await;
    }
    let config = Config::from_environment(&given).await?;
    let settings = config.server.spans.clone();
    let shown = lyceum_connect::shown_to_collector(settings.as_ref(), config.server.stores.secrets.as_ref());
    let (spans, layer) = Spans::start(settings, shown)?;
    lyceum_log::start(&config.server.log, layer, std::io::stderr().is_terminal())?;
    tokio::spawn(spans.clone().send_for_ever());
    let access = Access::new(config.server.tokens.clone());
    let address = match config.bind {
        Some(bind) => SocketAddr::new(bind, config.port),
        None => bind_address(&access, config.port),
    };
    let (listener, problems) = match TcpListener::bind(address).await {
        Ok(listener) => (Some(listener), Vec::new()),
        Err(error) => (None, vec![format!("cannot listen on {address} ({error}): HTTP_PORT and HTTP_BIND say where")]),
    };
    if config.server.alerts.is_some() {
        tracing::warn!(
            "ALERT_WEBHOOK_URL is set, and this process tells nobody of alerts: of several replicas each would; `lyceum up` does, and alarms on /metrics"
        );
    }
    // Whoever is told that it is there may end it at once.
    let mut asked = Box::pin(asked_to_end());
    let subscriptions: Vec<&str> = config.subscriptions.iter().map(|of| of.subscription.name).collect();
    let told = subscriptions.join(", ");
    let process = tokio::select! {
        opened = Process::open(config, spans.clone(), problems) => opened?,
        () = &mut asked => return Ok(ExitCode::SUCCESS),
    };
    let listener = listener.context("it listens")?;
    let address = listener.local_addr()?;
    if let Command::Check = command {
        say(&format!("Everything that it needs is there. {}", process.places()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = if address.ip().is_unspecified() {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    };
    say(&format!("lyceum-dedicated is at http://{shown}, and runs {told}"))?;
    say(&process.places().to_string())?;
    if access.is_open() {
        say(&format!("No API_TOKENS are set: it listens on {} only and serves every tenant.", shown.ip()))?;
    }

    let stop = CancellationToken::new();
    let closing = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, process.http_services(access), closing.clone().cancelled_owned()));
    let signals = stop.clone();
    tokio::spawn(async move {
        asked.await;
        eprintln!("ending: what is in hand is finished, the rest is another's; a second signal ends it at once");
        signals.cancel();
        asked_to_end().await;
        eprintln!("ended at once: what was in hand is redelivered");
        std::process::exit(1);
    });
    let ran = process.run(stop).await;
    closing.cancel();
    if let Ok(served) = timeout(LAST_REQUESTS, server).await {
        served.context("the HTTP server failed")??;
    }
    spans.flush(LAST_SPANS).await;
    ran.map(|()| ExitCode::SUCCESS)
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// What a container's HEALTHCHECK runs, in an image that has no other program.
async fn health(port: u16, path: &str) -> Result<ExitCode> {
    let answer = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&text).into_owned())
    };
    let answer = timeout(HEALTH_LIMIT, answer).await.context("no answer in time")?;
    let answer =
        answer.with_context(|| format!("nothing answers at 127.0.0.1:{port}; HTTP_PORT or --port says where"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    say(body)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(ExitCode::SUCCESS),
        Some(code) => bail!("unhealthy: HTTP {code}"),
        None => bail!("what answers at 127.0.0.1:{port} does not speak HTTP"),
    }
}
