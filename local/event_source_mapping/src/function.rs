//! How a function is called: over HTTP at Lambda's invoke endpoint, or in this process.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;

/// A function that takes a batch. Every closure `Fn(Bytes) -> Future<Output = Result<Bytes, InvokeError>>` is one.
#[async_trait]
pub trait Invoke: Send + Sync {
    /// Calls the function with the event and gives back its answer. A dropped call counts as never answered.
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError>;
}

#[async_trait]
impl<F, Answer> Invoke for F
where
    F: Fn(Bytes) -> Answer + Send + Sync,
    Answer: Future<Output = Result<Bytes, InvokeError>> + Send,
{
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        self(payload).await
    }
}

/// Why an invocation failed. Each kind is a function error: the whole batch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The function answered with an error of its own.
    #[error("the function failed with {error_type}: {message}")]
    Function {
        /// `errorType`.
        error_type: String,
        /// `errorMessage`.
        message: String,
    },
    /// The endpoint answered with a status that is no success.
    #[error("{url} answered {status}: {body}")]
    Status {
        /// What was called.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The answer's beginning.
        body: String,
    },
    /// Nobody answers there.
    #[error("nothing answers at {url} ({reason}): start the function, or correct its address")]
    Unreachable {
        /// What was called.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// The function's time limit passed.
    #[error("the function did not answer within {0:?}")]
    TimedOut(Duration),
}

impl InvokeError {
    /// An error of the function's own.
    pub fn function(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Function { error_type: error_type.into(), message: message.into() }
    }
}

/// A function behind Lambda's invoke endpoint: `cargo lambda watch`, AWS's runtime interface emulator, or the like.
///
/// Source: Lambda API reference, "Invoke". A function error is a status of 400 or more, the header
/// `X-Amz-Function-Error`, or an answer with `errorType` or `errorMessage`, which is all that the emulator sends.
#[derive(Clone, Debug)]
pub struct HttpFunction {
    client: reqwest::Client,
    url: String,
}

impl HttpFunction {
    /// The function `name` at `base`, for example `http://127.0.0.1:9000`. Plain HTTP, no proxy. The time limit is the
    /// mapping's [`function_timeout`](crate::MappingConfig::function_timeout).
    ///
    /// # Errors
    /// [`InvokeError::Unreachable`] where `base` is no `http://` address.
    pub fn new(base: &str, name: &str) -> Result<Self, InvokeError> {
        let url = format!("{}/2015-03-31/functions/{name}/invocations", base.trim_end_matches('/'));
        let unreachable = |reason: String| InvokeError::Unreachable { url: url.clone(), reason };
        match reqwest::Url::parse(&url) {
            Ok(parsed) if parsed.scheme() == "http" => {}
            Ok(parsed) => return Err(unreachable(format!("{} is no http address", parsed.scheme()))),
            Err(error) => return Err(unreachable(error.to_string())),
        }
        let client = lyceum_https::builder().no_proxy().connect_timeout(Duration::from_secs(5)).build();
        let client = client.map_err(|error| unreachable(error.to_string()))?;
        Ok(Self { client, url })
    }
}

#[async_trait]
impl Invoke for HttpFunction {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let unreachable =
            |error: reqwest::Error| InvokeError::Unreachable { url: self.url.clone(), reason: chain_of(&error) };
        let request = self.client.post(&self.url).header("Content-Type", "application/json").body(payload);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let flagged = response.headers().contains_key("X-Amz-Function-Error");
        let body = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            let body = String::from_utf8_lossy(&body).chars().take(512).collect();
            return Err(InvokeError::Status { url: self.url.clone(), status: status.as_u16(), body });
        }
        match read_function_error(&body) {
            Some(error) => Err(error),
            None if flagged => Err(InvokeError::function("Unhandled", String::from_utf8_lossy(&body))),
            None => Ok(body),
        }
    }
}

fn read_function_error(body: &[u8]) -> Option<InvokeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        error_type: Option<String>,
        error_message: Option<String>,
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    match serde_json::from_slice(body).ok()? {
        Wire { error_type: None, error_message: None } => None,
        Wire { error_type, error_message } => Some(InvokeError::Function {
            error_type: error_type.unwrap_or_else(|| "Unhandled".into()),
            message: error_message.unwrap_or_default(),
        }),
    }
}

/// reqwest says "error sending request" and hides the reason behind it.
fn chain_of(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| (*error).source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
