//! A release that judges for somebody: over its standard input and output, or over HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use lyceum_core::ports::schemas::FindSchema;
use lyceum_server::access::{Access, Role, check_where_from};
use lyceum_server::problem::{Kind, Problem};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::judge::{Judge, Make};
use super::protocol::{Hello, read_record};

/// So much is read at once.
const READ_BYTES: usize = 1 << 20;

/// The most of one request: a record with its value in base64, and some more.
const REQUEST_BYTES: usize = 64 << 20;

/// So many compare at once; each has a file and memory of its own.
const COMPARISONS: usize = 4;

/// A comparison of which nothing was heard for so long is over.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a judge is made of.
#[derive(Clone)]
pub struct Release {
    /// Makes its subscriptions.
    pub make: Make,
    /// The schemas that senders registered, where a registry is named.
    pub schemas: Option<Arc<dyn FindSchema>>,
}

/// Judges what stands in the input, until it ends.
///
/// # Errors
/// Where the other side says something else, or is gone, or there is no room for the stores.
pub async fn judge_lines(
    release: &Release,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> Result<()> {
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let mut output = BufWriter::with_capacity(READ_BYTES, output);
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).await.context("cannot read the input")?;
    let hello = Hello::read(&line)?;
    let judge = Judge::open(release.make, &hello.settings, release.schemas.clone())?;
    write_line(&mut output, &serde_json::to_vec(&judge.welcome())?).await?;
    output.flush().await?;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).await.context("cannot read the input")? == 0 {
            return output.flush().await.context("cannot write the output");
        }
        match line.trim_ascii_end() {
            b"" => output.flush().await.context("cannot write the output")?,
            record => write_line(&mut output, &judge.judge(&read_record(record)?).await?).await?,
        }
    }
}

async fn write_line(output: &mut (impl AsyncWrite + Unpin), line: &[u8]) -> Result<()> {
    output.write_all(line).await.context("cannot write the output")?;
    output.write_all(b"\n").await.context("cannot write the output")
}

/// Comparisons under way, each with a judge of its own.
#[derive(Clone)]
struct Judges {
    release: Release,
    access: Access,
    open: Arc<Mutex<HashMap<Uuid, Comparison>>>,
}

struct Comparison {
    judge: Arc<Mutex<Judge>>,
    heard: Instant,
}

/// Judges for whoever asks over HTTP, until `shutdown`. A comparison begins by `POST /judge` with a greeting, whose answer has the
/// release's greeting and the comparison's id; `POST /judge/{id}` has lines of records and is answered by as many lines;
/// `DELETE /judge/{id}` ends it. Each wants the role `operate` for every tenant, where there are tokens.
///
/// # Errors
/// Where it cannot listen any more.
pub async fn judge_over_http(
    release: Release,
    access: Access,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let judges = Judges { release, access, open: Arc::default() };
    let router = Router::new()
        .route("/judge", post(begin))
        .route("/judge/{id}", post(go_on).delete(end))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(from_fn_with_state(judges.clone(), guard))
        .with_state(judges);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await.context("cannot listen any more")
}

/// Lets through who may see records of every tenant, and no page of another site.
async fn guard(State(judges): State<Judges>, request: Request, next: Next) -> Response {
    let allowed = check_where_from(&judges.access, &request).and_then(|()| {
        let caller = judges.access.authenticate(request.headers(), None)?;
        caller.require(Role::Operate)?;
        let detail = "records of every tenant are judged: this needs a token for every tenant";
        if caller.tenant.is_some() { Err(Problem::new(Kind::FORBIDDEN_TENANT, detail)) } else { Ok(()) }
    });
    match allowed {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn failed(error: &anyhow::Error) -> Problem {
    Problem::new(Kind::INTERNAL, format!("{error:#}"))
}

async fn begin(State(judges): State<Judges>, body: Bytes) -> Result<Response, Problem> {
    let hello = Hello::read(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let mut open = judges.open.lock().await;
    open.retain(|_, of| of.heard.elapsed() < PATIENCE);
    if open.len() >= COMPARISONS {
        let detail = format!("{COMPARISONS} comparisons are under way: end one, or wait");
        return Err(Problem::new(Kind::BUSY, detail));
    }
    let judge = Judge::open(judges.release.make, &hello.settings, judges.release.schemas.clone());
    let judge = judge.map_err(|error| failed(&error))?;
    let id = Uuid::new_v4();
    let answer = serde_json::json!({"comparison": id, "welcome": judge.welcome()});
    open.insert(id, Comparison { judge: Arc::new(Mutex::new(judge)), heard: Instant::now() });
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

async fn go_on(State(judges): State<Judges>, Path(id): Path<Uuid>, body: Bytes) -> Result<Vec<u8>, Problem> {
    let judge = match judges.open.lock().await.get_mut(&id) {
        Some(of) => {
            of.heard = Instant::now();
            of.judge.clone()
        }
        None => return Err(Problem::not_found(format!("there is no comparison {id}, or it is over: begin another"))),
    };
    let judge = judge.lock().await;
    let mut answer = Vec::new();
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let record = read_record(line).map_err(|error| Problem::bad_request(error.to_string()))?;
        let judged = judge.judge(&record).await.map_err(|error| failed(&error))?;
        answer.extend(judged);
        answer.push(b'\n');
    }
    Ok(answer)
}

async fn end(State(judges): State<Judges>, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    judges.open.lock().await.remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses to listen where everybody could ask.
///
/// # Errors
/// Where no token is set and the address is not this machine's alone.
pub fn check_listens_here(access: &Access, address: std::net::SocketAddr) -> Result<()> {
    if access.is_open() && !address.ip().is_loopback() {
        bail!(
            "without API_TOKENS everybody may ask: set them, or listen on this machine only (not on {})",
            address.ip()
        );
    }
    Ok(())
}
