//! One of the two releases that are compared: a program that is started, or a process that is asked over HTTP. Both answer the same.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lyceum_core::record::Position;
use lyceum_https::in_full;
use reqwest::Url;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use uuid::Uuid;

use super::protocol::{Hello, Welcome, beginning_of_answer};
use crate::config::CommandToken;

/// The longest answer about one record.
const ANSWER_BYTES: usize = 256 << 20;

/// So much of what a program said last is kept for a message.
const LAST_WORDS_BYTES: usize = 2_000;

/// So long a program that has nothing more to do may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// At most so many characters of an answer that is none are shown.
const SHOWN_CHARS: usize = 200;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A program of a release, started as `PROGRAM judge`.
    Program(PathBuf),
    /// A process that was started as `lyceum judge --listen`.
    Url(Url),
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Url::parse(text).map(Self::Url).map_err(|error| format!("{text:?} is no URL: {error}"));
        }
        if text.is_empty() {
            return Err("name a program, or http://HOST:PORT of `lyceum judge --listen`".to_owned());
        }
        Ok(Self::Program(text.into()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program(path) => write!(f, "{}", path.display()),
            Self::Url(url) => write!(f, "{url}"),
        }
    }
}

/// Why a side has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{who} ({place}) {what}")]
pub struct SideError {
    /// The present release, or the candidate.
    who: &'static str,
    /// Which that is.
    place: String,
    what: String,
}

/// A release that answers.
pub struct Side {
    who: &'static str,
    place: Place,
    patience: Duration,
    way: Way,
}

enum Way {
    Pipes(Box<Pipes>),
    Http(Http),
}

struct Pipes {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_words: Arc<Mutex<Vec<u8>>>,
}

struct Http {
    client: reqwest::Client,
    token: Option<CommandToken>,
    comparison: Url,
}

impl Side {
    /// Greets a release. It has `patience` for each answer, this one included.
    ///
    /// # Errors
    /// Where it cannot be started or reached, does not answer in time, or speaks another version of the protocol.
    pub async fn open(
        who: &'static str,
        place: Place,
        hello: &Hello,
        patience: Duration,
        token: Option<CommandToken>,
    ) -> Result<(Self, Welcome), SideError> {
        let failed = |what: String| SideError { who, place: place.to_string(), what };
        let (way, welcome) = match &place {
            Place::Program(path) => {
                let mut pipes = Pipes::start(path).map_err(failed)?;
                let welcome = match timeout(patience, pipes.greet(hello)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(silent(patience)),
                };
                (Way::Pipes(Box::new(pipes)), welcome.map_err(failed)?)
            }
            Place::Url(url) => {
                let (http, welcome) = Http::begin(url, hello, patience, token).await.map_err(failed)?;
                (Way::Http(http), welcome)
            }
        };
        Ok((Self { who, place, patience, way }, welcome))
    }

    /// What it says about records, whose lines are these; one answer each, in order.
    ///
    /// # Errors
    /// Where it ends, does not answer in time, or answers something else.
    pub async fn judge(&mut self, lines: &Bytes, about: &[Position]) -> Result<Vec<Bytes>, SideError> {
        let Self { who, place, patience, way } = self;
        let judged = match way {
            Way::Pipes(pipes) => timeout(*patience, pipes.exchange(lines, about.len())).await,
            Way::Http(http) => timeout(*patience, http.exchange(lines)).await,
        };
        let answers = judged.unwrap_or_else(|_| Err(silent(*patience))).and_then(|answers| check(answers, about));
        answers.map_err(|what| SideError { who, place: place.to_string(), what })
    }

    /// There is nothing more to judge.
    ///
    /// # Errors
    /// Where a program does not end well: what it said may be wrong then.
    pub async fn end(self) -> Result<(), SideError> {
        let Self { who, place, way, .. } = self;
        let ended = match way {
            Way::Pipes(pipes) => pipes.end().await,
            Way::Http(http) => http.end().await,
        };
        ended.map_err(|what| SideError { who, place: place.to_string(), what })
    }
}

fn silent(patience: Duration) -> String {
    format!("has not answered within {} s: it hangs, or --patience is too short", patience.as_secs())
}

fn check(answers: Vec<Bytes>, about: &[Position]) -> Result<Vec<Bytes>, String> {
    if answers.len() != about.len() {
        return Err(format!("was given {} records and answered for {}", about.len(), answers.len()));
    }
    for (answer, at) in answers.iter().zip(about) {
        if !answer.starts_with(beginning_of_answer(at).as_bytes()) {
            let text = String::from_utf8_lossy(answer);
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            return Err(format!("answered something else than a judgement of {at}: {shown:?}"));
        }
    }
    Ok(answers)
}

impl Pipes {
    fn start(path: &Path) -> Result<Self, String> {
        let mut command = Command::new(path);
        command.arg("judge").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|error| format!("cannot be started: {error}; name a program of a release"))?;
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("was started without pipes".to_owned());
        };
        let last_words = Arc::new(Mutex::new(Vec::new()));
        let kept = last_words.clone();
        tokio::spawn(async move {
            let mut part = [0; 1_024];
            while let Ok(read @ 1..) = errors.read(&mut part).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&part[..read]);
                let surplus = kept.len().saturating_sub(LAST_WORDS_BYTES);
                kept.drain(..surplus);
            }
        });
        Ok(Self { child, input, output: BufReader::with_capacity(1 << 20, output), last_words })
    }

    async fn greet(&mut self, hello: &Hello) -> Result<Welcome, String> {
        let mut line = serde_json::to_vec(hello).map_err(|error| error.to_string())?;
        line.push(b'\n');
        if self.input.write_all(&line).await.is_err() || self.input.flush().await.is_err() {
            return Err(self.ended("before it greeted; it has to be a release that knows `lyceum judge`").await);
        }
        match self.read_line().await? {
            Some(line) => Welcome::read(&line).map_err(|error| format!("cannot be compared: {error}")),
            None => Err(self.ended("before it greeted; it has to be a release that knows `lyceum judge`").await),
        }
    }

    async fn exchange(&mut self, lines: &Bytes, count: usize) -> Result<Vec<Bytes>, String> {
        let Self { input, output, .. } = self;
        // What it is given may be more than the pipes take before it answers.
        let write = async {
            input.write_all(lines).await?;
            input.write_all(b"\n").await?;
            input.flush().await
        };
        let read = async {
            let mut answers = Vec::with_capacity(count);
            while answers.len() < count {
                match read_line(output).await {
                    Ok(Some(line)) => answers.push(line),
                    Ok(None) => return Ok(answers),
                    Err(reason) => return Err(reason),
                }
            }
            Ok(answers)
        };
        // Where it ends, writing fails as well as reading: what it said last tells more.
        let (_, answers) = tokio::join!(write, read);
        let answers = answers?;
        if answers.len() < count {
            return Err(self.ended("in the middle").await);
        }
        Ok(answers)
    }

    async fn read_line(&mut self) -> Result<Option<Bytes>, String> {
        read_line(&mut self.output).await
    }

    /// How it ended, and what it said last.
    async fn ended(&mut self, when: &str) -> String {
        let status = match timeout(ENDING, self.child.wait()).await {
            Ok(Ok(status)) => told(status),
            _ => "closed its output".to_owned(),
        };
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        match words.is_empty() {
            true => format!("{status} {when}"),
            false => format!("{status} {when}; it said: {words}"),
        }
    }

    async fn end(self) -> Result<(), String> {
        let Self { mut child, input, output, last_words } = self;
        drop(input);
        let ended = timeout(ENDING, child.wait()).await;
        drop(output);
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                let words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
                Err(format!("{} at the end; it said: {}", told(status), String::from_utf8_lossy(&words).trim()))
            }
            Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
            Err(_) => Err(format!("did not end within {} s", ENDING.as_secs())),
        }
    }
}

/// A line without its end; `None` at the end.
async fn read_line(output: &mut BufReader<ChildStdout>) -> Result<Option<Bytes>, String> {
    let mut line = Vec::new();
    let mut within_limit = output.take(ANSWER_BYTES as u64);
    within_limit.read_until(b'\n', &mut line).await.map_err(|error| format!("cannot be read from: {error}"))?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line.into())),
        Some(_) if line.len() + 1 >= ANSWER_BYTES => Err(format!("answered a line of more than {ANSWER_BYTES} bytes")),
        // It ended within a line.
        Some(_) => Ok(None),
    }
}

fn told(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with code {code}"),
        None => format!("was ended ({status})"),
    }
}

impl Http {
    async fn begin(
        url: &Url,
        hello: &Hello,
        patience: Duration,
        token: Option<CommandToken>,
    ) -> Result<(Self, Welcome), String> {
        #[derive(Deserialize)]
        struct Begun {
            comparison: Uuid,
            welcome: Box<serde_json::value::RawValue>,
        }
        let client = lyceum_https::builder().timeout(patience).build().map_err(|error| error.to_string())?;
        let mut base = url.clone();
        // Whoever copies the address of the greeting means the same.
        let path = url.path().trim_end_matches('/').trim_end_matches("/judge").to_owned();
        base.set_path(&format!("{path}/judge"));
        let body = serde_json::to_vec(hello).map_err(|error| error.to_string())?;
        let mut http = Self { client, token, comparison: base };
        let answer = http.send(reqwest::Method::POST, body.into()).await?;
        let Begun { comparison, welcome } = serde_json::from_slice(&answer)
            .map_err(|error| format!("does not answer as `lyceum judge --listen` does: {error}"))?;
        let welcome =
            Welcome::read(welcome.get().as_bytes()).map_err(|error| format!("cannot be compared: {error}"))?;
        http.comparison.set_path(&format!("{path}/judge/{comparison}"));
        Ok((http, welcome))
    }

    async fn send(&self, method: reqwest::Method, body: Bytes) -> Result<Bytes, String> {
        let mut request = self.client.request(method, self.comparison.clone()).body(body);
        if let Some(CommandToken(token)) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| match error.is_timeout() {
            true => "has not answered in time: it hangs, or --patience is too short".to_owned(),
            false => format!("cannot be reached: {}", in_full(&error)),
        })?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| format!("cut its answer off: {}", in_full(&error)))?;
        if status.is_success() {
            return Ok(body);
        }
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("it gave no reason").to_owned();
        Err(match status.as_u16() {
            401 | 403 => format!("answered {status}: {detail} (the token is taken from LYCEUM_TOKEN)"),
            404 | 405 => format!("answered {status}: {detail}; start it as `lyceum judge --listen`"),
            _ => format!("answered {status}: {detail}"),
        })
    }

    async fn exchange(&self, lines: &Bytes) -> Result<Vec<Bytes>, String> {
        let answer = self.send(reqwest::Method::POST, lines.clone()).await?;
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| answer.slice_ref(line)).collect())
    }

    async fn end(&self) -> Result<(), String> {
        self.send(reqwest::Method::DELETE, Bytes::new()).await.map(drop)
    }
}
