//! What is done on demand, and takes longer than a request may: dead letters are made of what AWS Lambda gave up, letters are sent again,
//! replays go on, and the log is compared with the stores.
//!
//! It is asked by a direct invocation, a schedule of EventBridge, or a state of Step Functions; whoever asks by HTTP asks the function behind
//! HTTP, which has the state machine go on with a replay. What it does is done by the very handlers of the HTTP API ([`Acting`]), or by what
//! those ask, as an operator of every tenant. See [`task`] for what it takes.
//!
//! A part ends before its invocation does, and says what is left; Step Functions asks for that. The function does not call itself: Lambda
//! stops a chain of such calls at the sixteenth, nobody could stop one, and where one was lost nobody would go on.

pub mod objects;
pub mod task;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use lyceum_core::clock::Clock;
use lyceum_core::environment::{Reading, Table, Variable, optional};
use lyceum_core::replay::State;
use lyceum_server::access::{Access, Role, Token};
use lyceum_server::config::Config;
use lyceum_server::http::{Part, Services, router_by_invocation};
use lyceum_server::questions::AskError;
use lyceum_server::reconcile::Reconciler;
use lyceum_server::replay::{Asked, Ended, Runner};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use objects::ReadObjects;
use task::{Counts, Done, Import, Object, Reconcile, Task, next_of_redrive};

/// A part begins nothing new when so little of the invocation's time is left: as long as a request may take, and the answer.
const LEFT_FOR_ONE: Duration = Duration::from_secs(32);
/// As long as the lease of a run lasts: whoever else was at work on it has ended by then, or goes on.
const LEASE_SECONDS: u32 = 120;
/// So many objects are read ahead; each has up to 6 MB.
const READ_AHEAD: usize = 4;
/// The largest answer of a handler.
const ANSWER_BYTES: usize = 64 << 20;

const FAILED_BUCKET: Variable<Option<String>> = optional(
    "FAILED_BUCKET",
    "of the function `replay`: the bucket of what AWS Lambda gave up; without it nothing is imported",
);

/// What this function reads beside what any process does that serves people.
pub const REPLAY_VARIABLES: Table = &[&FAILED_BUCKET];

/// The settings of this function.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// What any process has that serves people.
    pub server: Config,
    /// `FAILED_BUCKET`
    pub bucket: Option<String>,
}

impl ReplayConfig {
    /// Reads the settings. Every wrong value is reported together by [`Reading::finish`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let server = lyceum_http::config::of_services(reading);
        Self { server, bucket: reading.read(&FAILED_BUCKET) }
    }
}

/// The handlers that act, asked in this process.
#[derive(Clone)]
pub struct Acting {
    router: Router,
    secret: String,
    replays: Arc<Runner>,
    reconciler: Arc<Reconciler>,
    clock: Arc<dyn Clock>,
}

impl Acting {
    /// Of these services: they are asked with a credential that is made here and known to nobody else.
    pub fn new(services: Services, secret: String) -> Self {
        let operator = Token::new(&secret, None, [Role::Operate]);
        let (replays, reconciler, clock) =
            (services.replays.clone(), services.reconciler.clone(), services.clock.clone());
        let services = Services { access: Access::new(vec![operator]), ..services };
        Self { router: router_by_invocation(services, Part::Operate), secret, replays, reconciler, clock }
    }

    async fn ask(&self, path: &str, body: Vec<u8>) -> Result<Value> {
        let request = Request::post(path)
            .header(HOST, "replay.internal")
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.secret))
            .body(Body::from(body))?;
        let mut router = self.router.clone();
        let answer = lyceum_http::call(&mut router, request).await;
        let (status, body) = (answer.status(), to_bytes(answer.into_body(), ANSWER_BYTES).await?);
        let answer: Value = serde_json::from_slice(&body).with_context(|| format!("{path} answers {status}"))?;
        if !status.is_success() {
            bail!("{path} answers {status}: {}", answer["detail"].as_str().unwrap_or("without saying why"));
        }
        Ok(answer)
    }
}

/// What does tasks.
#[derive(Clone)]
pub struct Replay {
    acting: Acting,
    objects: Option<Arc<dyn ReadObjects>>,
}

impl Replay {
    /// By these handlers; `objects` is the bucket of what was given up, where there is one.
    pub fn new(acting: Acting, objects: Option<Arc<dyn ReadObjects>>) -> Self {
        Self { acting, objects }
    }

    /// Does a part of a task, in so much time.
    ///
    /// # Errors
    /// Where a service is away: what was done is done, and the same task may be asked for again, since nothing is done twice.
    pub async fn run(&self, task: Task, time: Duration) -> Result<Done> {
        let until = Instant::now() + time.saturating_sub(LEFT_FOR_ONE);
        match task {
            Task::Import(import) => self.import(import, until).await,
            Task::Redrive(body) => self.redrive(body, until).await,
            Task::Replay(request) => self.begin(*request, time).await,
            Task::Run(id) => self.go_on(id, time).await,
            Task::Reconcile(task) => self.reconcile(*task, time).await,
        }
    }

    /// Until when a part may go on, milliseconds since 1970 UTC.
    fn until_ms(&self, time: Duration) -> i64 {
        let left = i64::try_from(time.saturating_sub(LEFT_FOR_ONE).as_millis()).unwrap_or(i64::MAX);
        self.acting.clock.now_ms().saturating_add(left)
    }

    async fn begin(&self, request: lyceum_core::replay::Request, time: Duration) -> Result<Done> {
        let (id, asked) = (request.id(), operator());
        match self.acting.replays.begin(request, &asked).await {
            Ok(_) => {}
            // An earlier call began it, whose answer was lost; or somebody else did.
            Err(AskError::Conflict(why)) => {
                let is_running = self.acting.replays.running(None).await?.iter().any(|run| run.id == id);
                if !is_running {
                    return Ok(Done::failed(why));
                }
            }
            Err(error) => return answer_for_good(error),
        }
        self.go_on(id, time).await
    }

    async fn go_on(&self, id: Uuid, time: Duration) -> Result<Done> {
        let replays = &self.acting.replays;
        let ended = match replays.run_until(id, self.until_ms(time), &CancellationToken::new()).await {
            Ok(ended) => ended,
            Err(error) => return answer_for_good(error),
        };
        let run = replays.show(id, &operator()).await?;
        let counts = Counts {
            matched: run.counts.matched,
            replayed: run.counts.sent,
            refused: run.counts.refused,
            ..Counts::default()
        };
        let done = Done { counts, ..Done::nothing() };
        Ok(match ended {
            Ended::As(State::Failed) => {
                let why = run.reason.unwrap_or_else(|| "it does not say why".to_owned());
                Done { failed: Some(format!("the replay {id} failed: {why}")), ..done }
            }
            Ended::As(_) => done,
            Ended::Unfinished => done.with_next(Some(Task::Run(id))),
            Ended::Elsewhere => Done { pause_seconds: LEASE_SECONDS, ..done.with_next(Some(Task::Run(id))) },
        })
    }

    async fn reconcile(&self, task: Reconcile, time: Duration) -> Result<Done> {
        let task = match task.at(self.acting.clock.now_ms()) {
            Ok(task) => task,
            Err(wrong) => return Ok(Done::failed(wrong)),
        };
        match self.acting.reconciler.reconcile(&task.request, self.until_ms(time)).await {
            Ok(part) => Ok(task.after(part)),
            Err(error) => answer_for_good(error),
        }
    }

    async fn import(&self, Import { objects }: Import, until: Instant) -> Result<Done> {
        let bucket = self.objects.clone().context("FAILED_BUCKET is not set: this function imports nothing")?;
        let mut done = Done::nothing();
        let mut left = objects.into_iter();
        let mut reading = JoinSet::new();
        loop {
            // One is always done, so that a task ends however little time an invocation has.
            while reading.len() < READ_AHEAD
                && (Instant::now() < until || (reading.is_empty() && done == Done::nothing()))
            {
                let Some(Object { key }) = left.next() else { break };
                let bucket = bucket.clone();
                reading.spawn(async move {
                    let read = bucket.read(&key).await;
                    (key, read)
                });
            }
            let Some(read) = reading.join_next().await else { break };
            let (key, read) = read.context("reading an object was cut off")?;
            let Some(document) = read? else {
                done.refuse(format!("{key} is in the bucket no more"));
                continue;
            };
            match self.acting.ask("/api/dead-letters/import", document).await {
                Ok(imported) => note(&mut done, &imported),
                // What is no on-failure record never will be; what is away comes back.
                Err(error) if error.to_string().contains("answers 400") => done.refuse(format!("{key}: {error:#}")),
                Err(error) => return Err(error.context(format!("{key} is not imported"))),
            }
        }
        let left: Vec<Object> = left.collect();
        let next = (!left.is_empty()).then_some(Task::Import(Import { objects: left }));
        Ok(done.with_next(next))
    }

    async fn redrive(&self, mut body: Map<String, Value>, until: Instant) -> Result<Done> {
        if body.contains_key("wait") {
            bail!("leave wait out: this function sends, and others process");
        }
        let mut done = Done::nothing();
        loop {
            let answered = self.acting.ask("/api/dead-letters/replay", serde_json::to_vec(&body)?).await?;
            done.counts.sent += answered["replayed"].as_array().map_or(0, Vec::len) as u64;
            done.counts.parked = answered["parked"].as_u64().unwrap_or(0);
            for refused in answered["refused"].as_array().into_iter().flatten() {
                done.refuse(format!(
                    "{}: {}",
                    refused["position"].as_str().unwrap_or("?"),
                    refused["reason"].as_str().unwrap_or("?")
                ));
            }
            let Some(next) = next_of_redrive(&body, &answered) else { return Ok(done) };
            if Instant::now() >= until {
                return Ok(done.with_next(Some(Task::Redrive(next))));
            }
            body = next;
        }
    }
}

/// As whom it asks.
fn operator() -> Asked {
    Asked { tenant: None, by: "the replay function".to_owned() }
}

/// What no repetition mends is the answer; for the rest Step Functions asks again.
fn answer_for_good(error: AskError) -> Result<Done> {
    match error {
        AskError::Unavailable(_) | AskError::Busy(_) | AskError::TooMany(_) => Err(error.into()),
        AskError::Invalid(why)
        | AskError::NotFound(why)
        | AskError::Conflict(why)
        | AskError::Forbidden(why)
        | AskError::Failed(why) => Ok(Done::failed(why)),
    }
}

/// Adds what became of one on-failure record.
fn note(done: &mut Done, imported: &Value) {
    let count = |name: &str| imported[name].as_u64().unwrap_or(0);
    done.counts.letters += count("letters");
    done.counts.known += count("known") + count("applied");
    for list in ["gone", "refused"] {
        for why in imported[list].as_array().into_iter().flatten().filter_map(Value::as_str) {
            done.refuse(if list == "gone" { format!("{why} is on its topic no more") } else { why.to_owned() });
        }
    }
}
