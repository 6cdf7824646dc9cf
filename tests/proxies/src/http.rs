//! An HTTP proxy before DynamoDB or a search engine: it answers in the service's stead, late or never, changes an answer or
//! loses it, and passes a batch on in part, as a rule says request by request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use axum::serve::{Listener, ListenerExt};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A request as far as rules look at it.
pub struct ProxiedRequest<'a> {
    /// `GET`, `POST` …
    pub method: &'a Method,
    /// Path and query.
    pub uri: &'a Uri,
    /// With `X-Amz-Target` for DynamoDB.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a Bytes,
}

impl ProxiedRequest<'_> {
    /// DynamoDB's operation, `TransactWriteItems`; empty for another service.
    pub fn operation(&self) -> &str {
        let target = self.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
        target.rsplit('.').next().unwrap_or_default()
    }

    /// Whether DynamoDB is asked to write items.
    pub fn is_write(&self) -> bool {
        ["TransactWriteItems", "PutItem", "UpdateItem", "BatchWriteItem"].contains(&self.operation())
    }

    /// Whether Elasticsearch is asked to take documents.
    pub fn is_bulk(&self) -> bool {
        self.uri.path().ends_with("/_bulk")
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// It passes.
    Pass,
    /// It never gets there; status and body of the answer.
    Answer(u16, String),
    /// It passes, and the answer is held back for so long.
    AnswerLate(Duration),
    /// It passes, and this becomes of an answer that succeeded.
    Change(fn(&mut Value)),
    /// It passes, and the connection breaks in the middle of the answer.
    HalfAnAnswer,
    /// It never gets there, and the connection is reset.
    ResetBefore,
    /// It passes, and the connection is reset instead of an answer.
    ResetAfter,
    /// It never gets there, and nothing comes.
    Silent,
    /// It passes, and nothing comes.
    SilentAfter,
    /// A bulk of which every second document passes; the others are answered with 429 and never get there.
    HalfOfTheBulk,
    /// A BatchGetItem of which so many keys pass; the others come back as unprocessed.
    PartOfBatch(usize),
}

impl Act {
    /// DynamoDB's answer of that kind: `__type` with its namespace, and a message.
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::Answer(status, json!({"__type": kind, "message": message}).to_string())
    }

    /// DynamoDB's answer of a transaction that it cancelled for these reasons, one for each item.
    pub fn cancelled(codes: &[&str]) -> Self {
        let of = |code: &&str| match *code {
            "None" => json!({"Code": "None"}),
            code => json!({"Code": code, "Message": format!("{code} happened")}),
        };
        let reasons: Vec<Value> = codes.iter().map(of).collect();
        let message = "Transaction cancelled, please refer cancellation reasons for specific reasons";
        let body = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": format!("{message} [{}]", codes.join(", ")),
            "CancellationReasons": reasons,
        });
        Self::Answer(400, body.to_string())
    }
}

/// Decides request by request; the number counts requests from 1.
pub type Rule = Arc<dyn Fn(&ProxiedRequest<'_>, u64) -> Act + Send + Sync>;

/// DynamoDB's answer when a table is asked for more than it is provisioned for.
/// Source: Amazon DynamoDB API reference, "Common Errors"; the type is spelled as the service sends it.
pub fn throttled() -> Act {
    let message = "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
                   provisioning level with the UpdateTable API.";
    let kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
    Act::error(400, kind, message)
}

/// The same for a transaction, which names a reason for each of its items.
pub fn transaction_throttled(request: &[u8]) -> Act {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let items = request["TransactItems"].as_array().map_or(1, Vec::len);
    let mut codes = vec!["None"; items];
    codes[0] = "ThrottlingError";
    Act::cancelled(&codes)
}

/// Elasticsearch's answer when its queue of writes is full.
pub fn too_many_requests() -> Act {
    Act::Answer(429, json!({"error": rejected(), "status": 429}).to_string())
}

fn rejected() -> Value {
    json!({"type": "es_rejected_execution_exception", "reason": "rejected execution of coordinating operation"})
}

/// The proxy; gone when it is dropped.
pub struct HttpProxy {
    url: String,
    served: Arc<Served>,
    task: AbortHandle,
}

struct Served {
    upstream: String,
    client: reqwest::Client,
    rule: Rule,
    requests: AtomicU64,
    documents: AtomicU64,
    failed: AtomicU64,
}

impl HttpProxy {
    /// Stands in front of `upstream`, `http://host:port`.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn to(
        upstream: &str,
        rule: impl Fn(&ProxiedRequest<'_>, u64) -> Act + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        // So that the peer of a connection that breaks has its next read or write fail, instead of an orderly end.
        let listener = listener.tap_io(|stream| _ = stream.set_zero_linger());
        Self::listening(listener, url, upstream, rule)
    }

    /// The same behind a listener of the caller's own, which clients reach by that URL.
    ///
    /// # Errors
    /// Where there is no client to reach `upstream`.
    pub fn listening(
        listener: impl Listener<Addr = SocketAddr>,
        url: String,
        upstream: &str,
        rule: impl Fn(&ProxiedRequest<'_>, u64) -> Act + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let client = lyceum_https::builder().no_proxy().build().map_err(io::Error::other)?;
        let served = Served {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client,
            rule: Arc::new(rule),
            requests: AtomicU64::new(0),
            documents: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let served = Arc::new(served);
        let router = Router::new().fallback(answer).with_state(served.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, served, task: task.abort_handle() })
    }

    /// How many requests did not simply pass.
    pub fn failed(&self) -> u64 {
        self.served.failed.load(Relaxed)
    }

    /// Where it listens, `http://host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(served): State<Arc<Served>>, request: Request<Body>) -> Response<Body> {
    // A task of its own: a client that gives up takes nothing back of what it has sent.
    let handled = tokio::spawn(async move { served.handle(request).await }).await;
    match handled {
        Ok(Ok(response)) => response,
        Ok(Err(reason)) => plain(StatusCode::BAD_GATEWAY, json!({"message": reason}).to_string()),
        Err(panicked) => plain(StatusCode::BAD_GATEWAY, json!({"message": panicked.to_string()}).to_string()),
    }
}

impl Served {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, String> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(|error| error.to_string())?;
        let asked = ProxiedRequest { method: &parts.method, uri: &parts.uri, headers: &parts.headers, body: &body };
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        let act = (self.rule)(&asked, number);
        if !matches!(act, Act::Pass) {
            self.failed.fetch_add(1, Relaxed);
        }
        match act {
            Act::Pass => Ok(self.forward(&asked, body.clone()).await?.map(Body::from)),
            Act::Answer(status, text) => {
                let status = StatusCode::from_u16(status).map_err(|error| error.to_string())?;
                Ok(plain(status, text))
            }
            Act::AnswerLate(held_back) => {
                let answered = self.forward(&asked, body.clone()).await;
                tokio::time::sleep(held_back).await;
                Ok(answered?.map(Body::from))
            }
            Act::Change(change) => self.rewrite(&asked, body.clone(), change).await,
            Act::HalfAnAnswer => {
                let (head, body) = self.forward(&asked, body.clone()).await?.into_parts();
                let mut broken = Response::from_parts(head, break_after(Some(body.slice(..body.len() / 2))));
                broken.headers_mut().insert(CONTENT_LENGTH, body.len().into());
                Ok(broken)
            }
            Act::ResetBefore => Ok(Response::new(break_after(None))),
            Act::ResetAfter => {
                self.forward(&asked, body.clone()).await?;
                Ok(Response::new(break_after(None)))
            }
            Act::Silent => std::future::pending().await,
            Act::SilentAfter => {
                self.forward(&asked, body.clone()).await?;
                std::future::pending().await
            }
            Act::HalfOfTheBulk => self.forward_half(&asked).await,
            Act::PartOfBatch(most) => {
                let (part, left) = split(&asked, most);
                if most == 0 {
                    return Ok(plain(StatusCode::OK, json!({"UnprocessedKeys": left}).to_string()));
                }
                self.rewrite(&asked, part.into(), |answer| answer["UnprocessedKeys"] = left).await
            }
        }
    }

    /// Passes `body` on; this becomes of an answer that succeeded.
    async fn rewrite(
        &self,
        asked: &ProxiedRequest<'_>,
        body: Bytes,
        change: impl FnOnce(&mut Value),
    ) -> Result<Response<Body>, String> {
        let (head, body) = self.forward(asked, body).await?.into_parts();
        if !head.status.is_success() {
            return Ok(Response::from_parts(head, body.into()));
        }
        let mut answer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        change(&mut answer);
        Ok(plain(head.status, answer.to_string()))
    }

    async fn forward(&self, asked: &ProxiedRequest<'_>, body: Bytes) -> Result<Response<Bytes>, String> {
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = asked.headers.clone();
        // What comes back must be readable here.
        for name in [HOST, CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING, ACCEPT_ENCODING] {
            headers.remove(name);
        }
        let request = self.client.request(asked.method.clone(), format!("{}{path}", self.upstream));
        let answer = request.headers(headers).body(body).send().await.map_err(|error| error.to_string())?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if ![CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING].contains(name) {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        response.body(body).map_err(|error| error.to_string())
    }

    async fn forward_half(&self, asked: &ProxiedRequest<'_>) -> Result<Response<Body>, String> {
        let pairs = pairs_of(asked.body)?;
        let first = self.documents.fetch_add(pairs.len() as u64, Relaxed);
        let passes = |at: usize| (first + at as u64).is_multiple_of(2);
        let passing: Vec<u8> =
            pairs.iter().enumerate().filter(|(at, _)| passes(*at)).flat_map(|(_, pair)| pair.bytes.to_vec()).collect();
        let with_rejected = |answer: &mut Value| {
            let taken = answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
            let mut taken = taken.into_iter();
            let items = pairs.iter().enumerate().map(|(at, pair)| match passes(at) {
                true => taken.next().unwrap_or_default(),
                false => pair.rejected(),
            });
            *answer = json!({"took": 1, "errors": true, "items": items.collect::<Vec<_>>()});
        };
        if passing.is_empty() {
            let mut answer = json!({});
            with_rejected(&mut answer);
            return Ok(plain(StatusCode::OK, answer.to_string()));
        }
        self.rewrite(asked, passing.into(), with_rejected).await
    }
}

/// An action of a bulk with its document.
struct Pair<'a> {
    action: Value,
    bytes: &'a [u8],
}

impl Pair<'_> {
    fn rejected(&self) -> Value {
        let Some((verb, of)) = self.action.as_object().and_then(|action| action.iter().next()) else {
            return Value::Null;
        };
        let mut item = json!({"status": 429, "error": rejected()});
        for name in ["_index", "_id"] {
            item[name] = of[name].clone();
        }
        json!({verb: item})
    }
}

fn pairs_of(body: &[u8]) -> Result<Vec<Pair<'_>>, String> {
    let mut ends = memchr::memchr_iter(b'\n', body).map(|at| at + 1);
    let mut start = 0;
    let mut pairs = Vec::new();
    while let (Some(action_end), Some(end)) = (ends.next(), ends.next()) {
        let action = serde_json::from_slice(&body[start..action_end]).map_err(|error| error.to_string())?;
        pairs.push(Pair { action, bytes: &body[start..end] });
        start = end;
    }
    Ok(pairs)
}

/// A BatchGetItem of the first keys, and the others as they come back.
fn split(asked: &ProxiedRequest<'_>, most: usize) -> (String, Value) {
    let mut body: Value = serde_json::from_slice(asked.body).unwrap_or_default();
    let mut left = body["RequestItems"].clone();
    for (table, of) in body["RequestItems"].as_object_mut().into_iter().flatten() {
        let Some(keys) = of["Keys"].as_array_mut() else { continue };
        let later = keys.split_off(most.min(keys.len()));
        left[table]["Keys"] = later.into();
    }
    (body.to_string(), left)
}

/// This much, and then the connection ends; without anything not even the head is sent.
fn break_after(sent: Option<Bytes>) -> Body {
    let is_some = sent.is_some();
    let end = stream::once(async move {
        if is_some {
            // It is on its way by then.
            tokio::task::yield_now().await;
        }
        Err(io::Error::other("broken by the test"))
    });
    Body::from_stream(stream::iter(sent.map(Ok)).chain(end))
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A server that keeps what it was sent and answers a bulk as Elasticsearch does.
    async fn server(acts: impl IntoIterator<Item = Act>) -> (HttpProxy, Arc<Mutex<Vec<String>>>) {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeping = kept.clone();
        let router = Router::new().fallback(move |body: String| async move {
            let ids = body.lines().step_by(2).map(|line| serde_json::from_str::<Value>(line).unwrap());
            let items: Vec<Value> =
                ids.map(|action| json!({"create": {"_id": action["create"]["_id"], "status": 201}})).collect();
            keeping.lock().unwrap().push(body);
            json!({"errors": false, "items": items}).to_string()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let acts: Vec<Act> = acts.into_iter().collect();
        let rule = move |_: &ProxiedRequest<'_>, number| acts.get(number as usize - 1).cloned().unwrap_or(Act::Pass);
        (HttpProxy::to(&upstream, rule).await.unwrap(), kept)
    }

    fn bulk(ids: &[&str]) -> String {
        ids.iter().map(|id| format!("{}\n{{}}\n", json!({"create": {"_index": "i", "_id": id}}))).collect()
    }

    async fn send(proxy: &HttpProxy, body: String) -> reqwest::Result<(u16, Value)> {
        let client = lyceum_https::builder().no_proxy().timeout(Duration::from_millis(500)).build()?;
        let answer = client.post(format!("{}/_bulk", proxy.url())).body(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    #[tokio::test]
    async fn every_second_document_is_rejected_and_never_gets_there() {
        let (proxy, kept) = server([Act::HalfOfTheBulk, Act::HalfOfTheBulk]).await;
        let (status, answer) = send(&proxy, bulk(&["a", "b", "c"])).await.unwrap();
        let statuses: Vec<_> =
            answer["items"].as_array().unwrap().iter().map(|of| of["create"]["status"].clone()).collect();
        let ids: Vec<_> = answer["items"].as_array().unwrap().iter().map(|of| of["create"]["_id"].clone()).collect();
        assert_eq!((status, answer["errors"].clone()), (200, json!(true)));
        assert_eq!(
            (statuses, ids),
            (vec![json!(201), json!(429), json!(201)], vec![json!("a"), json!("b"), json!("c")])
        );
        let (_, answer) = send(&proxy, bulk(&["b"])).await.unwrap();
        assert_eq!(answer["items"][0]["create"]["status"], 429, "the count goes on from bulk to bulk");
        assert_eq!(*kept.lock().unwrap(), [bulk(&["a", "c"])]);
    }

    #[tokio::test]
    async fn an_answer_in_the_services_stead_keeps_the_request_away_from_it() {
        let (proxy, kept) = server([too_many_requests()]).await;
        assert_eq!(send(&proxy, bulk(&["a"])).await.unwrap().0, 429);
        assert_eq!(send(&proxy, bulk(&["a"])).await.unwrap().0, 200);
        assert_eq!(kept.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_connection_is_reset_before_or_after_the_service_has_done_it() {
        for (act, done) in [(Act::ResetBefore, 0), (Act::ResetAfter, 1), (Act::HalfAnAnswer, 1)] {
            let (proxy, kept) = server([act.clone()]).await;
            let error = send(&proxy, bulk(&["a"])).await.unwrap_err();
            assert!(!error.is_timeout() && !error.is_connect(), "{act:?}: {error}");
            // Of half an answer the head comes, and then nothing that is JSON.
            assert_eq!(error.is_body() || error.is_decode(), matches!(act, Act::HalfAnAnswer), "{act:?}: {error}");
            assert_eq!(kept.lock().unwrap().len(), done, "{act:?}");
        }
    }

    #[tokio::test]
    async fn what_is_answered_late_was_done_all_the_same() {
        let (proxy, kept) = server([Act::AnswerLate(Duration::from_secs(60))]).await;
        assert!(send(&proxy, bulk(&["a"])).await.unwrap_err().is_timeout());
        assert_eq!(kept.lock().unwrap().len(), 1);
    }
}
