//! Calling a function at Lambda's invoke endpoint.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use lyceum_event_source_mapping::{EventSourceMapping, HttpFunction, Invoke, InvokeError, MappingConfig};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::support::{MemoryLog, Running, config};

/// A stand-in whose functions behave as their names say.
struct Endpoint {
    base: String,
    server: AbortHandle,
}

impl Endpoint {
    async fn start() -> Self {
        async fn answer(Path(name): Path<String>, payload: Bytes) -> Response {
            match name.as_str() {
                "echo" => payload.into_response(),
                "succeeding" => "null".into_response(),
                "flagged" => {
                    let error = r#"{"errorType":"Oops","errorMessage":"it broke"}"#;
                    ([("X-Amz-Function-Error", "Unhandled")], error).into_response()
                }
                "flagged-text" => ([("X-Amz-Function-Error", "Unhandled")], "it broke").into_response(),
                "emulated" => r#" {"errorMessage":"it broke","stackTrace":[]}"#.into_response(),
                "broken" => (StatusCode::INTERNAL_SERVER_ERROR, "no").into_response(),
                "silent" => std::future::pending().await,
                _ => StatusCode::NOT_FOUND.into_response(),
            }
        }
        let routes = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(answer))
            .layer(axum::extract::DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }).abort_handle();
        Self { base, server }
    }

    async fn call(&self, name: &str) -> Result<Bytes, InvokeError> {
        HttpFunction::new(&self.base, name).unwrap().invoke(Bytes::from_static(b"{\"a\":1}")).await
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test]
async fn an_answer_comes_back_as_it_is() {
    let endpoint = Endpoint::start().await;
    assert_eq!(endpoint.call("echo").await, Ok(Bytes::from_static(b"{\"a\":1}")));
}

#[tokio::test]
async fn a_payload_of_six_megabytes_arrives_whole() {
    let endpoint = Endpoint::start().await;
    let payload = Bytes::from(vec![b' '; 6 * 1024 * 1024]);
    let answer = HttpFunction::new(&endpoint.base, "echo").unwrap().invoke(payload.clone()).await;
    assert!(answer == Ok(payload), "another payload came back");
}

#[tokio::test]
async fn function_errors_are_told_by_header_or_by_answer() {
    let endpoint = Endpoint::start().await;
    assert_eq!(endpoint.call("flagged").await, Err(InvokeError::function("Oops", "it broke")));
    assert_eq!(endpoint.call("flagged-text").await, Err(InvokeError::function("Unhandled", "it broke")));
    assert_eq!(endpoint.call("emulated").await, Err(InvokeError::function("Unhandled", "it broke")));
}

#[tokio::test]
async fn statuses_of_400_and_more_are_errors() {
    let endpoint = Endpoint::start().await;
    for (name, expected) in [("broken", 500), ("missing", 404)] {
        let answer = endpoint.call(name).await;
        assert!(matches!(answer, Err(InvokeError::Status { status, .. }) if status == expected), "{answer:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_says_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = HttpFunction::new(&base, "f").unwrap().invoke(Bytes::new()).await.unwrap_err();
    assert!(matches!(error, InvokeError::Unreachable { .. }));
    assert!(error.to_string().contains("start the function"), "{error}");
}

#[test]
fn what_is_no_http_address_is_refused() {
    for base in ["", "localhost:9000", "https://localhost", "ftp://localhost"] {
        assert!(HttpFunction::new(base, "f").is_err(), "{base}");
    }
}

#[tokio::test]
async fn a_mapping_drives_a_function_behind_http() {
    let endpoint = Endpoint::start().await;
    let log = MemoryLog::with_topics(1);
    (0..3).for_each(|_| _ = log.append(0, "x"));
    let function = Arc::new(HttpFunction::new(&endpoint.base, "succeeding").unwrap());
    let config = MappingConfig { report_batch_item_failures: true, ..config() };
    let running = Running::start_mapping(Arc::new(EventSourceMapping::new(config, log.clone(), function).unwrap()));
    running.settled().await;
    assert_eq!(log.committed_of("group"), [(0, 3)].into());
}

#[tokio::test]
async fn a_function_behind_http_that_is_silent_is_timed_out() {
    let endpoint = Endpoint::start().await;
    let log = MemoryLog::with_topics(1);
    log.append(0, "x");
    let function = Arc::new(HttpFunction::new(&endpoint.base, "silent").unwrap());
    let config =
        MappingConfig { function_timeout: Duration::from_millis(50), maximum_retry_attempts: Some(0), ..config() };
    let running = Running::start_mapping(Arc::new(EventSourceMapping::new(config, log.clone(), function).unwrap()));
    running.settled().await;
    let status = running.mapping.status();
    assert_eq!((status.counts.function_errors, status.counts.discarded), (1, 1));
    assert!(status.last_error.unwrap().message.contains("did not answer within 50ms"));
}
