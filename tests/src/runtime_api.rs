//! A stand-in of AWS Lambda's runtime API: it hands invocations to a function's own program, and keeps what that answers.
//!
//! Source: AWS Lambda developer guide, "Using the Lambda runtime API for custom runtimes".

use std::collections::VecDeque;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lyceum_core::clock::ms_since_1970;
use serde_json::{Map, Value, json};

use crate::binary;
use crate::requests::read_request;
use crate::workplace::Running;

/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// The trace to which Lambda says that each invocation belongs.
pub const XRAY_TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// What the program is given to do.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its request id.
    pub id: String,
    /// The time that it has from when it is handed out.
    pub time: Duration,
    /// The event.
    pub payload: String,
}

/// What the program answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it reported an error.
    pub is_error: bool,
    /// What it said.
    pub body: Value,
    /// How long before the invocation's end that was; negative: after it.
    pub before_its_end_ms: i64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Invocation>,
    /// Request ids with the ends of their time.
    handed: Vec<(String, i64)>,
    answers: Vec<(String, Answer)>,
}

/// The stand-in. Its threads last as long as the test's process.
#[derive(Debug)]
pub struct RuntimeApi {
    address: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl RuntimeApi {
    /// Hands these out, in their order, each once.
    ///
    /// # Panics
    /// Where no port is free.
    pub fn start(invocations: Vec<Invocation>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let state = State { waiting: invocations.into(), ..State::default() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let of_threads = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = of_threads.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// A family's program, as Lambda starts it, with stores that do not answer unless variables name others.
    pub fn function(&self, family: &str, variables: &[(&str, &str)]) -> Running {
        let mut command = Command::new(binary::function(family));
        command.env_clear().envs([
            ("AWS_LAMBDA_RUNTIME_API", self.address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "lyceum-test"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
            ("ELASTICSEARCH_URL", "http://127.0.0.1:1"),
            ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
            ("KAFKA_TIMEOUT_MS", "1000"),
            ("LOG_FORMAT", "json"),
            ("RETRY_ATTEMPTS", "0"),
        ]);
        Running::start(command.envs(variables.iter().copied()))
    }

    /// What was answered to the invocation of that request id.
    ///
    /// # Panics
    /// Where no answer comes.
    pub fn wait_for(&self, id: &str, running: &Running) -> Answer {
        let (state, told) = &*self.shared;
        let begun = Instant::now();
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((_, answer)) = state.answers.iter().find(|(of, _)| of == id) {
                return answer.clone();
            }
            let said = || format!("{}{}", running.printed(), running.reported());
            assert!(begun.elapsed() < PATIENCE, "{id} is not answered; the function said: {}", said());
            let waited = told.wait_timeout(state, Duration::from_millis(100));
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether it was answered by now.
    pub fn has_answer(&self, id: &str) -> bool {
        let state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers.iter().any(|(of, _)| of == id)
    }
}

/// An event of a Kafka mapping with records of one partition, from an offset on; a null value is a tombstone.
pub fn batch(topic: &str, partition: i32, offset: i64, values: &[Value]) -> String {
    let record = |(offset, value): (i64, &Value)| {
        let value = if value.is_null() { Value::Null } else { json!(STANDARD.encode(value.to_string())) };
        json!({
            "topic": topic, "partition": partition, "offset": offset, "timestamp": ms_since_1970(SystemTime::now()),
            "timestampType": "CREATE_TIME", "value": value, "headers": [],
        })
    };
    let records: Vec<Value> = (offset..).zip(values).map(record).collect();
    let partitions = Map::from_iter([(format!("{topic}-{partition}"), json!(records))]);
    json!({"eventSource": "aws:kafka", "bootstrapServers": "127.0.0.1:1", "records": partitions}).to_string()
}

fn serve(mut stream: TcpStream, (state, told): &(Mutex<State>, Condvar)) -> Option<()> {
    let (head, body) = read_request(&mut BufReader::new(stream.try_clone().ok()?))?;
    let path: Vec<&str> = head.split_whitespace().nth(1)?.trim_matches('/').split('/').collect();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (headers, body) = match path[..] {
        [_, "runtime", "invocation", "next"] => {
            let next = loop {
                match state.waiting.pop_front() {
                    Some(next) => break next,
                    None => state = told.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            let Invocation { id, time, payload } = next;
            let end_ms = ms_since_1970(SystemTime::now()) + i64::try_from(time.as_millis()).ok()?;
            let headers = format!(
                "Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: {end_ms}\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:lyceum-test\r\n\
                 Lambda-Runtime-Trace-Id: {XRAY_TRACE}\r\n"
            );
            state.handed.push((id, end_ms));
            (headers, payload)
        }
        [_, "runtime", "invocation", id, of] => {
            let end_ms = state.handed.iter().find(|(handed, _)| handed == id).map(|(_, end_ms)| *end_ms)?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let before_its_end_ms = end_ms - ms_since_1970(SystemTime::now());
            state.answers.push((id.to_owned(), Answer { is_error: of == "error", body, before_its_end_ms }));
            told.notify_all();
            (String::new(), "{}".to_owned())
        }
        _ => (String::new(), "{}".to_owned()),
    };
    drop(state);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .ok()
}
