//! An HTTP proxy before DynamoDB that does to requests what networks and services do.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What is done to one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing: it is passed on, and so is the answer.
    None,
    /// The service answers this, without having done anything.
    Answer(u16, String),
    /// The connection is reset before the request was passed on.
    ResetBefore,
    /// It is passed on, and the connection is reset instead of an answer.
    ResetAfter,
    /// It is passed on, and nobody ever hears the answer.
    SilentAfter,
    /// Nobody ever hears anything, and it is not passed on.
    Silent,
    /// It is passed on, and what comes back is cut off in the middle.
    HalfAnAnswer,
    /// Of a BatchGetItem, only so many keys are passed on; the others come back as unprocessed.
    PartOfBatch(usize),
}

impl Fault {
    /// An error as AWS writes it: `__type` with its namespace, and a message.
    pub(crate) fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::Answer(status, json!({"__type": kind, "message": message}).to_string())
    }

    /// A cancelled transaction with these reasons, as AWS writes it.
    pub(crate) fn cancelled(codes: &[&str]) -> Self {
        let message = "Transaction cancelled, please refer cancellation reasons for specific reasons";
        let reasons: Vec<Value> = codes
            .iter()
            .map(|code| match *code {
                "None" => json!({"Code": "None"}),
                code => json!({"Code": code, "Message": format!("{code} happened")}),
            })
            .collect();
        let body = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": format!("{message} [{}]", codes.join(", ")),
            "CancellationReasons": reasons,
        });
        Self::Answer(400, body.to_string())
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `TransactWriteItems` and so on.
    pub(crate) operation: String,
    /// Its body.
    pub(crate) body: Value,
}

/// The proxy; ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

struct Shared {
    target: String,
    /// For the next requests, one each; then nothing is done any more.
    faults: Mutex<VecDeque<Fault>>,
    asked: Mutex<Vec<Request>>,
}

impl Proxy {
    /// Listens on a free port, before the service at that URL (`http://host:port`).
    pub(crate) async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let target = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let shared = Arc::new(Shared { target, faults: Mutex::default(), asked: Mutex::default() });
        let for_connections = shared.clone();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = for_connections.clone();
                // A connection that breaks is what this is for.
                tokio::spawn(async move { drop(shared.serve(client).await) });
            }
        });
        Self { address, shared, listening: listening.abort_handle() }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to the next requests, one each.
    pub(crate) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.shared.faults.lock().unwrap() = faults.into_iter().collect();
        self.shared.asked.lock().unwrap().clear();
    }

    /// What was asked since the last script.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut kept = Vec::new();
        while let Some(request) = Message::read(&mut client, &mut kept).await? {
            let operation = request.header("x-amz-target").and_then(|target| target.rsplit('.').next());
            let asked = Request {
                operation: operation.unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&request.body).unwrap_or_default(),
            };
            self.asked.lock().unwrap().push(asked.clone());
            let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
            match fault {
                Fault::None => client.write_all(&self.pass_on(&request.bytes()).await?.bytes()).await?,
                Fault::Answer(status, body) => client.write_all(&answer(status, &body)).await?,
                Fault::ResetBefore => return reset(&client),
                Fault::ResetAfter => {
                    self.pass_on(&request.bytes()).await?;
                    return reset(&client);
                }
                Fault::SilentAfter => {
                    self.pass_on(&request.bytes()).await?;
                    return wait_for_the_end(&mut client).await;
                }
                Fault::Silent => return wait_for_the_end(&mut client).await,
                Fault::HalfAnAnswer => {
                    let whole = self.pass_on(&request.bytes()).await?;
                    let half = [whole.head.as_bytes(), &whole.body[..whole.body.len() / 2]].concat();
                    return client.write_all(&half).await;
                }
                Fault::PartOfBatch(most) => {
                    let (part, left) = split(asked.body, most);
                    // Nobody checks the signature of a request but AWS itself.
                    let part = Message { body: part.to_string().into_bytes(), ..request };
                    let whole = self.pass_on(&part.bytes()).await?;
                    let mut body: Value = serde_json::from_slice(&whole.body)?;
                    body["UnprocessedKeys"] = left;
                    client.write_all(&answer(200, &body.to_string())).await?;
                }
            }
        }
        Ok(())
    }

    async fn pass_on(&self, request: &[u8]) -> io::Result<Message> {
        let mut service = TcpStream::connect(&self.target).await?;
        service.write_all(request).await?;
        let mut kept = Vec::new();
        Message::read(&mut service, &mut kept).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A BatchGetItem of the first keys, and the others as they come back.
fn split(mut body: Value, most: usize) -> (Value, Value) {
    let mut left = body["RequestItems"].clone();
    for (table, of) in body["RequestItems"].as_object_mut().into_iter().flatten() {
        let keys = of["Keys"].as_array_mut().expect("a BatchGetItem");
        let later = keys.split_off(most.min(keys.len()));
        left[table]["Keys"] = later.into();
    }
    (body, left)
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Injected\r\ncontent-type: application/x-amz-json-1.0");
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// So that the peer's next read or write fails, instead of an orderly end.
fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

async fn wait_for_the_end(client: &mut TcpStream) -> io::Result<()> {
    while client.read(&mut [0; 256]).await? > 0 {}
    Ok(())
}

/// An HTTP/1.1 message whose body has a stated length.
struct Message {
    /// With the empty line.
    head: String,
    body: Vec<u8>,
}

impl Message {
    async fn read(stream: &mut TcpStream, kept: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let end = b"\r\n\r\n";
        loop {
            if let Some(at) = kept.windows(end.len()).position(|window| window == end) {
                let head = String::from_utf8_lossy(&kept[..at + end.len()]).into_owned();
                let mut message = Self { head, body: kept.split_off(at + end.len()) };
                let length = message.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
                while message.body.len() < length {
                    if stream.read_buf(&mut message.body).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                *kept = message.body.split_off(length);
                return Ok(Some(message));
            }
            if stream.read_buf(kept).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// As it goes out, with the length that its body has now.
    fn bytes(&self) -> Vec<u8> {
        let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
        let lines: Vec<&str> = self.head.trim_end().lines().filter(|line| !is_length(line)).collect();
        let head = format!("{}\r\ncontent-length: {}\r\n\r\n", lines.join("\r\n"), self.body.len());
        [head.as_bytes(), &self.body].concat()
    }
}
