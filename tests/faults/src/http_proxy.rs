//! An HTTP proxy that answers in a service's stead, or late, or takes a bulk in part, as a rule says request by request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
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
    pub body: &'a [u8],
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
    /// It never gets there; this is the answer.
    Answer(u16, Value),
    /// It passes, and the answer is held back for so long.
    AnswerLate(Duration),
    /// A bulk of which every second document passes; the others are answered with 429 and never get there.
    HalfOfTheBulk,
}

/// Decides request by request; the number counts requests from 1.
pub type Rule = Arc<dyn Fn(&ProxiedRequest<'_>, u64) -> Act + Send + Sync>;

/// The rule by which everything passes.
pub fn pass() -> Rule {
    Arc::new(|_, _| Act::Pass)
}

/// DynamoDB's answer when a table is asked for more than it is provisioned for.
/// Source: Amazon DynamoDB API reference, "Common Errors"; the type is spelled as the service sends it.
pub fn throttled() -> Act {
    let message = "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
                   provisioning level with the UpdateTable API.";
    let kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
    Act::Answer(400, json!({"__type": kind, "message": message}))
}

/// The same for a transaction, which names a reason for each of its items.
pub fn transaction_throttled(request: &[u8]) -> Act {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let items = request["TransactItems"].as_array().map_or(1, Vec::len);
    let reason =
        json!({"Code": "ThrottlingError", "Message": "Throughput exceeds the current capacity of your table."});
    let mut reasons = vec![json!({"Code": "None"}); items];
    reasons[0] = reason;
    let message = "Transaction cancelled, please refer cancellation reasons for specific reasons [ThrottlingError]";
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    Act::Answer(400, json!({"__type": kind, "Message": message, "CancellationReasons": reasons}))
}

/// Elasticsearch's answer when its queue of writes is full.
pub fn too_many_requests() -> Act {
    Act::Answer(429, json!({"error": rejected(), "status": 429}))
}

fn rejected() -> Value {
    json!({"type": "es_rejected_execution_exception", "reason": "rejected execution of coordinating operation"})
}

/// The proxy; gone when it is dropped.
pub struct HttpProxy {
    address: SocketAddr,
    rule: watch::Sender<Rule>,
    served: Arc<Served>,
    task: AbortHandle,
}

struct Served {
    upstream: String,
    client: reqwest::Client,
    rule: watch::Receiver<Rule>,
    requests: AtomicU64,
    documents: AtomicU64,
    failed: AtomicU64,
}

impl HttpProxy {
    /// Stands in front of `upstream`, `http://host:port`.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn to(upstream: &str, rule: Rule) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (rule, watched) = watch::channel(rule);
        let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let served = Served {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client,
            rule: watched,
            requests: AtomicU64::new(0),
            documents: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let served = Arc::new(served);
        let router = Router::new().fallback(answer).with_state(served.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, rule, served, task: task.abort_handle() })
    }

    /// How many requests did not simply pass.
    pub fn failed(&self) -> u64 {
        self.served.failed.load(Relaxed)
    }

    /// `host:port`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on this decides.
    pub fn set(&self, rule: Rule) {
        self.rule.send_replace(rule);
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
        Ok(Err(reason)) => plain(StatusCode::BAD_GATEWAY, &json!({"message": reason})),
        Err(panicked) => plain(StatusCode::BAD_GATEWAY, &json!({"message": panicked.to_string()})),
    }
}

impl Served {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, String> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(|error| error.to_string())?;
        let asked = ProxiedRequest { method: &parts.method, uri: &parts.uri, headers: &parts.headers, body: &body };
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        let rule = self.rule.borrow().clone();
        let act = rule(&asked, number);
        if !matches!(act, Act::Pass) {
            self.failed.fetch_add(1, Relaxed);
        }
        match act {
            Act::Pass => self.forward(&asked, body.clone()).await,
            Act::Answer(status, value) => {
                let status = StatusCode::from_u16(status).map_err(|error| error.to_string())?;
                Ok(plain(status, &value))
            }
            Act::AnswerLate(held_back) => {
                let answered = self.forward(&asked, body.clone()).await;
                tokio::time::sleep(held_back).await;
                answered
            }
            Act::HalfOfTheBulk => self.forward_half(&asked).await,
        }
    }

    async fn forward(&self, asked: &ProxiedRequest<'_>, body: Bytes) -> Result<Response<Body>, String> {
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = asked.headers.clone();
        for name in ["host", "content-length", "connection", "transfer-encoding"] {
            headers.remove(name);
        }
        let request = self.client.request(asked.method.clone(), format!("{}{path}", self.upstream));
        let answer = request.headers(headers).body(body).send().await.map_err(|error| error.to_string())?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if !["content-length", "connection", "transfer-encoding"].contains(&name.as_str()) {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        response.body(Body::from(body)).map_err(|error| error.to_string())
    }

    async fn forward_half(&self, asked: &ProxiedRequest<'_>) -> Result<Response<Body>, String> {
        let pairs = pairs_of(asked.body)?;
        let first = self.documents.fetch_add(pairs.len() as u64, Relaxed);
        let passes = |at: usize| (first + at as u64).is_multiple_of(2);
        let passing: Vec<u8> =
            pairs.iter().enumerate().filter(|(at, _)| passes(*at)).flat_map(|(_, pair)| pair.bytes.to_vec()).collect();
        let mut taken = Vec::new();
        if !passing.is_empty() {
            let answer = self.forward(asked, passing.into()).await?;
            let status = answer.status();
            let body = to_bytes(answer.into_body(), usize::MAX).await.map_err(|error| error.to_string())?;
            let mut answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            if !status.is_success() {
                return Ok(plain(status, &answer));
            }
            taken = answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        }
        let mut taken = taken.into_iter();
        let items: Vec<Value> = pairs
            .iter()
            .enumerate()
            .map(|(at, pair)| if passes(at) { taken.next().unwrap_or_default() } else { pair.rejected() })
            .collect();
        Ok(plain(StatusCode::OK, &json!({"took": 1, "errors": true, "items": items})))
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

fn plain(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(HeaderName::from_static("content-type"), json);
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A server that keeps what it was sent and answers a bulk as Elasticsearch does.
    async fn server() -> (HttpProxy, Arc<Mutex<Vec<String>>>) {
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
        (HttpProxy::to(&upstream, pass()).await.unwrap(), kept)
    }

    fn bulk(ids: &[&str]) -> String {
        ids.iter().map(|id| format!("{}\n{{}}\n", json!({"create": {"_index": "i", "_id": id}}))).collect()
    }

    async fn send(proxy: &HttpProxy, body: String) -> reqwest::Result<(u16, Value)> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(500)).build()?;
        let answer = client.post(format!("http://{}/_bulk", proxy.address())).body(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    #[tokio::test]
    async fn every_second_document_is_rejected_and_never_gets_there() {
        let (proxy, kept) = server().await;
        proxy.set(Arc::new(|_, _| Act::HalfOfTheBulk));
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
        let (proxy, kept) = server().await;
        proxy.set(Arc::new(|_, number| if number == 1 { too_many_requests() } else { Act::Pass }));
        assert_eq!(send(&proxy, bulk(&["a"])).await.unwrap().0, 429);
        assert_eq!(send(&proxy, bulk(&["a"])).await.unwrap().0, 200);
        assert_eq!(kept.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_answered_late_was_done_all_the_same() {
        let (proxy, kept) = server().await;
        proxy.set(Arc::new(|_, _| Act::AnswerLate(Duration::from_secs(60))));
        assert!(send(&proxy, bulk(&["a"])).await.unwrap_err().is_timeout());
        assert_eq!(kept.lock().unwrap().len(), 1);
    }
}
