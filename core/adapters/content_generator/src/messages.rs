//! Calls of the Messages API: one after the other until there is an answer that holds, or no attempt is left.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lyceum_around::lazily::Settings;
use lyceum_core::clock::Clock;
use lyceum_core::ports::call::{CallError, CallPort, Progress};
use lyceum_core::ports::generator::{Generated, GenerationRequest};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response};
use serde::Deserialize;

use crate::events::{Answer, ApiError, Broken};
use crate::failure::{self, Verdict};
use crate::prompt;
use crate::settings::MessagesSettings;

/// The form of requests and answers.
const VERSION: &str = "2023-06-01";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// So much of an error is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A language model behind HTTP.
pub struct Messages {
    settings: Box<dyn Settings<MessagesSettings>>,
    clock: Arc<dyn Clock>,
    client: Client,
}

/// How one attempt failed.
#[derive(Debug)]
struct Failed {
    verdict: Verdict,
    /// What is told of it.
    why: String,
    /// What the service asks to be waited for.
    asked_wait: Option<Duration>,
    is_of_credentials: bool,
}

impl Failed {
    /// The connection, or what came over it, was at fault.
    fn on_the_way(why: String) -> Self {
        Self { verdict: Verdict::Again, why, asked_wait: None, is_of_credentials: false }
    }
}

impl Messages {
    /// Calls as the settings say. Nothing is called yet.
    ///
    /// # Errors
    /// Where there is no TLS.
    pub fn new(settings: Box<dyn Settings<MessagesSettings>>, clock: Arc<dyn Clock>) -> Result<Self, String> {
        // Who redirects would be given the key.
        let client =
            lyceum_https::builder().connect_timeout(CONNECT_LIMIT).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| format!("the content generator cannot be called: {error}"))?;
        Ok(Self { settings, clock, client })
    }

    async fn attempt(
        &self,
        settings: &MessagesSettings,
        request: &GenerationRequest,
        progress: &dyn Progress,
    ) -> Result<Generated, Failed> {
        let body = prompt::body(request, &settings.model, settings.max_tokens);
        let sent = self
            .client
            .post(format!("{}/v1/messages", settings.url))
            .headers(headers(&settings.api_key)?)
            .body(body.to_string())
            .timeout(settings.timeout)
            .send()
            .await;
        let response = sent.map_err(|error| unanswered(&error))?;
        if response.status() != 200 {
            return Err(refused(response).await);
        }
        self.read(response, settings, progress).await
    }

    async fn read(
        &self,
        mut response: Response,
        settings: &MessagesSettings,
        progress: &dyn Progress,
    ) -> Result<Generated, Failed> {
        let mut answer = Answer::default();
        loop {
            let piece = response.chunk().await.map_err(|error| unanswered(&error))?;
            let Some(piece) = piece else { break };
            answer.take(&piece).map_err(broken)?;
            if answer.has_ended() {
                break;
            }
            progress.at(answer.percent(settings.max_tokens)).await;
        }
        answer.finish(&settings.model).map_err(broken)
    }
}

#[async_trait]
impl CallPort<GenerationRequest, Generated> for Messages {
    async fn call(&self, request: &GenerationRequest, progress: &dyn Progress) -> Result<Generated, CallError> {
        let mut settings = self.settings.current().await;
        let (mut made, mut has_other_key) = (0, false);
        loop {
            let failed = match self.attempt(&settings, request, progress).await {
                Ok(generated) => return Ok(generated),
                Err(failed) => failed,
            };
            made += 1;
            tracing::warn!(
                event_id = %request.event_id, attempt = made, why = failed.why, "the content generator gave no content"
            );
            if failed.is_of_credentials && !has_other_key && self.settings.have_others(&settings).await {
                (settings, has_other_key) = (self.settings.current().await, true);
                continue;
            }
            match failed.verdict {
                Verdict::Never(reason) => return Ok(Generated::Failed { reason, detail: failed.why }),
                Verdict::Again if made < failure::ATTEMPTS => {
                    match failure::wait(made, failed.asked_wait, self.clock.jitter()) {
                        Some(wait) => self.clock.sleep(wait).await,
                        None => return Err(CallError(failed.why)),
                    }
                }
                Verdict::Again | Verdict::Later => return Err(CallError(failed.why)),
            }
        }
    }
}

fn headers(api_key: &str) -> Result<HeaderMap, Failed> {
    let mut key = HeaderValue::from_str(api_key).map_err(|_| Failed {
        verdict: Verdict::Later,
        why: "the key of the content generator holds what no header may; correct CLAUDE_API_KEY".to_owned(),
        asked_wait: None,
        is_of_credentials: true,
    })?;
    key.set_sensitive(true);
    Ok(HeaderMap::from_iter([
        (HeaderName::from_static("x-api-key"), key),
        (HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION)),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ]))
}

/// What an answer with another status than 200 means.
async fn refused(mut response: Response) -> Failed {
    #[derive(Default, Deserialize)]
    struct Body {
        #[serde(default)]
        error: ApiError,
        request_id: Option<String>,
    }
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ERROR_BYTES {
            break;
        }
    }
    let Body { error, request_id } = serde_json::from_slice(&body).unwrap_or_default();
    let should_retry = match header("x-should-retry").as_deref() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    let request_id = header("request-id").or(request_id);
    Failed {
        verdict: failure::judge(status, &error, should_retry),
        why: told(status, &error, request_id.as_deref()),
        asked_wait: failure::asked_wait(header, SystemTime::now()),
        is_of_credentials: failure::is_of_credentials(status, &error),
    }
}

/// What a person is told, and what to do about it.
fn told(status: u16, error: &ApiError, request_id: Option<&str>) -> String {
    let what = match status {
        401 | 403 => "refuses the key: set another CLAUDE_API_KEY",
        402 => "wants to be paid first",
        404 => "knows no such model or address: correct CONTENT_GENERATOR_MODEL or CONTENT_GENERATOR_URL",
        429 => "is asked more often than it allows",
        529 => "is overloaded",
        _ => "gives no content",
    };
    let ApiError { kind, message } = error;
    let request = request_id.map(|id| format!(", request {id}")).unwrap_or_default();
    format!("the content generator {what} (status {status} {kind}{request}): {message}")
        .trim_end_matches(": ")
        .to_owned()
}

/// What an answer that began well and is none means.
fn broken(broken: Broken) -> Failed {
    match broken {
        Broken::Malformed(why) => Failed::on_the_way(why),
        Broken::Error(error) => Failed {
            verdict: failure::judge(200, &error, None),
            why: told(200, &error, None),
            asked_wait: None,
            is_of_credentials: failure::is_of_credentials(200, &error),
        },
    }
}

/// Why no answer came.
fn unanswered(error: &reqwest::Error) -> Failed {
    Failed::on_the_way(format!("the content generator does not answer: {}", lyceum_https::in_full(error)))
}
