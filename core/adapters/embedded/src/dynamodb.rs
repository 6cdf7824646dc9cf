//! The ledger's twin: the same adapter against a DynamoDB inside the process, in one SQLite file.
//!
//! The adapter talks to the AWS SDK as in production; underneath, its HTTP connector hands each request to
//! [dynoxide](https://docs.rs/dynoxide-rs) on a thread of its own. There is no port, no network, and nothing is looked up
//! in the environment, the home folder or the instance metadata.
//!
//! **Durability.** SQLite keeps a write-ahead log. It is left to the thread to sync it: once for all calls that wait at
//! that moment, and before any of them is answered. So a commit that was acknowledged survives the process's and, as far
//! as the disk keeps its word, the machine's sudden end, and commits in flight at once share the wait for the disk.
//!
//! **Limits.** One thread reads and writes, one transaction after the other; two processes may share the file. Expired keys go only when
//! [`EmbeddedDynamoDb::sweep_expired`] is called. Consumed capacity is counted as AWS does.

use std::fmt;
use std::fs::File;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Config, Credentials, IdentityCache, Region, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use dynoxide::{Database, DynoxideError};
use futures::channel::oneshot;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use lyceum_core::clock::Clock;
use lyceum_core::ports::ledger::LedgerError;
use lyceum_dynamodb::{DynamoDbLedger, LedgerOptions};

/// The table in the file.
const TABLE: &str = "lyceum-ledger";

/// A disk may be slow, but here no answer is ever lost on the way.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the file does not open.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedDynamoDbError {
    /// The path is no UTF-8.
    #[error("{} is no UTF-8 path, which the embedded ledger needs; choose another folder", .0.display())]
    Path(PathBuf),
    /// It is no such file, is from a newer version, or may not be read or written.
    #[error("{} cannot be opened as the ledger's file: {reason}; move it away, or choose another folder", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// The ledger's table is not as it should be.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A DynamoDB in this process and one file. Dropping it waits for the call at hand and closes the file; ledgers that live
/// on answer [`LedgerError::Unavailable`].
pub struct EmbeddedDynamoDb {
    calls: Sender<Call>,
    thread: Option<JoinHandle<()>>,
    database: Option<Database>,
    /// No two that were opened have the same.
    name: Uuid,
}

impl EmbeddedDynamoDb {
    /// Opens the file, and creates it where it is absent; its folder must exist.
    pub fn open(path: &Path) -> Result<Self, EmbeddedDynamoDbError> {
        let name = path.to_str().ok_or_else(|| EmbeddedDynamoDbError::Path(path.to_owned()))?;
        let failed = |reason: String| EmbeddedDynamoDbError::Open { path: path.to_owned(), reason };
        let database = Database::new(name).map_err(|error| failed(error.to_string()))?;
        // What dynoxide calls the end of bulk loading is SQLite's synchronous=NORMAL: the log is not synced by commits.
        database.disable_bulk_loading().map_err(|error| failed(error.to_string()))?;
        let log = File::options().write(true).open(format!("{name}-wal")).map_err(|error| failed(error.to_string()))?;
        let (calls, received) = channel();
        let served = database.clone();
        let thread = thread::Builder::new()
            .name("embedded-dynamodb".to_owned())
            .spawn(move || serve(&served, &log, &received))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { calls, thread: Some(thread), database: Some(database), name: Uuid::new_v4() })
    }

    /// A client of it, for whatever the SDK can do that dynoxide can and the ledger uses.
    pub fn client(&self) -> Client {
        let connector = SharedHttpConnector::new(Connector { calls: self.calls.clone() });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .endpoint_url("http://embedded.invalid")
            .credentials_provider(Credentials::new("embedded", "embedded", None, None, "embedded"))
            .identity_cache(IdentityCache::no_cache())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Client::from_conf(config)
    }

    /// The ledger in it; its table is created where it is absent.
    pub async fn ledger(&self, clock: Arc<dyn Clock>) -> Result<DynamoDbLedger, EmbeddedDynamoDbError> {
        self.ledger_of(None, clock).await
    }

    /// The ledger of a process that nobody shares the file with, as long as this is open: leases that were given before are
    /// over, since whoever held one has ended, maybe by force, and would have given it back.
    pub async fn sole_ledger(&self, clock: Arc<dyn Clock>) -> Result<DynamoDbLedger, EmbeddedDynamoDbError> {
        self.ledger_of(Some(self.name), clock).await
    }

    async fn ledger_of(
        &self,
        sole: Option<Uuid>,
        clock: Arc<dyn Clock>,
    ) -> Result<DynamoDbLedger, EmbeddedDynamoDbError> {
        let options = LedgerOptions { call_timeout: CALL_TIMEOUT, sole, ..LedgerOptions::default() };
        let ledger = DynamoDbLedger::new(&self.client(), TABLE, options, clock);
        ledger.ensure_table().await?;
        Ok(ledger)
    }

    /// Deletes what has expired by the system's clock, as AWS does by itself, and tells how much that was. It blocks, but
    /// lets calls through between its pages; once a day is enough.
    pub fn sweep_expired(&self) -> Result<usize, LedgerError> {
        let database = self.database.as_ref().ok_or_else(|| LedgerError::Unavailable("it is closed".to_owned()))?;
        database.sweep_ttl().map_err(|error| LedgerError::Unavailable(error.to_string()))
    }
}

impl Drop for EmbeddedDynamoDb {
    fn drop(&mut self) {
        // The last clone closes the file, so this one goes first.
        self.database = None;
        let _ = self.calls.send(Call::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for EmbeddedDynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedDynamoDb").finish_non_exhaustive()
    }
}

enum Call {
    Answer(Question, oneshot::Sender<Reply>),
    Close,
}

struct Question {
    operation: String,
    body: Vec<u8>,
}

/// HTTP status and body.
type Reply = (u16, String);

/// At most this many calls wait for one sync.
const SYNCED_TOGETHER: usize = 64;

fn serve(database: &Database, log: &File, calls: &Receiver<Call>) {
    while let Ok(first) = calls.recv() {
        let mut done = Vec::new();
        let mut close = false;
        for call in iter::once(first).chain(calls.try_iter()).take(SYNCED_TOGETHER) {
            let Call::Answer(question, asker) = call else {
                close = true;
                break;
            };
            done.push((asker, question.may_write(), reply(dispatch(database, &question))));
        }
        let synced = match done.iter().any(|(_, wrote, _)| *wrote) {
            true => log.sync_data(),
            false => Ok(()),
        };
        for (asker, wrote, answer) in done {
            let answer = match &synced {
                Err(error) if wrote => reply(Err(DynoxideError::InternalServerError(format!("not synced: {error}")))),
                _ => answer,
            };
            // Whoever asked may have given up; what was done stays done.
            let _ = asker.send(answer);
        }
        if close {
            return;
        }
    }
}

fn reply(outcome: Result<String, DynoxideError>) -> Reply {
    match outcome {
        Ok(json) => (200, json),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

impl Question {
    fn may_write(&self) -> bool {
        !["GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan"].contains(&self.operation.as_str())
    }
}

fn dispatch(database: &Database, question: &Question) -> Result<String, DynoxideError> {
    let body = question.body.as_slice();
    match question.operation.as_str() {
        "GetItem" => answer(body, |request| database.get_item(request)),
        "BatchGetItem" => answer(body, |request| database.batch_get_item(request)),
        "TransactGetItems" => answer(body, |request| database.transact_get_items(request)),
        "Query" => answer(body, |request| database.query(request)),
        "Scan" => answer(body, |request| database.scan(request)),
        "PutItem" => answer(body, |request| database.put_item(request)),
        "UpdateItem" => answer(body, |request| database.update_item(request)),
        "DeleteItem" => answer(body, |request| database.delete_item(request)),
        "TransactWriteItems" => answer(body, |mut request: TransactWriteItemsRequest| {
            // A token is for lost answers, and here none is; dynoxide would remember each for ten minutes.
            request.client_request_token = None;
            database.transact_write_items(request)
        }),
        "CreateTable" => answer(body, |request| database.create_table(request)),
        "DescribeTable" => answer(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => answer(body, |request| database.describe_time_to_live(request)),
        "UpdateTimeToLive" => answer(body, |request| database.update_time_to_live(request)),
        operation => {
            Err(DynoxideError::ValidationException(format!("the embedded DynamoDB does not know {operation}")))
        }
    }
}

fn answer<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    call: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    let request = serde_json::from_slice(body).map_err(|e| DynoxideError::SerializationException(e.to_string()))?;
    let response = call(request)?;
    serde_json::to_string(&response).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

/// The SDK's way into the database.
struct Connector {
    calls: Sender<Call>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the embedded DynamoDB")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let (answer, answered) = oneshot::channel();
        let sent = self.calls.send(Call::Answer(Question { operation, body }, answer));
        HttpConnectorFuture::new(async move {
            sent.map_err(|_| closed(io::ErrorKind::ConnectionRefused))?;
            let (status, json) = answered.await.map_err(|_| closed(io::ErrorKind::BrokenPipe))?;
            let status = status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None))?;
            Ok(HttpResponse::new(status, json.into()))
        })
    }
}

fn closed(kind: io::ErrorKind) -> ConnectorError {
    ConnectorError::io(Box::new(io::Error::new(kind, "the embedded DynamoDB is closed")))
}
