//! Posts alerts. Each is posted until it is taken: one after the other, so that an alert's end never comes before it.
//!
//! Alerts about limits wait in an [`Outbox`]; those about security on their topic, so that a restart loses none.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_https::in_full;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::Serialize;

use super::Alert;
use crate::security::PostedAlert;

/// So long one attempt may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// So many alerts wait for a receiver that is away; of more the oldest are given up.
const WAITING: usize = 100;

/// Where alerts go. Whoever knows it can post there, so that no more than its host is ever shown.
#[derive(Clone)]
pub struct WebhookUrl(Url);

/// Why a text is no such place.
#[derive(Debug, thiserror::Error)]
#[error("is no http:// or https:// address with a host")]
pub struct NoWebhook;

impl FromStr for WebhookUrl {
    type Err = NoWebhook;

    fn from_str(text: &str) -> Result<Self, NoWebhook> {
        let url = Url::parse(text.trim()).map_err(|_| NoWebhook)?;
        if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(Self(url)) } else { Err(NoWebhook) }
    }
}

impl WebhookUrl {
    fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}/…)", self.host())
    }
}

/// Why an alert was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// It may be taken later.
    #[error("{0}")]
    Later(String),
    /// The same one will never be taken.
    #[error("{0}")]
    Never(String),
    /// None is taken there: a person has to mend the address.
    #[error("{0}: mend ALERT_WEBHOOK_URL")]
    Nobody(String),
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// Something is beyond its limit, or within it again.
    Limit(Alert),
    /// Somebody should look at what somebody did.
    Security(Box<PostedAlert>),
}

impl Told {
    /// The sentence for a person.
    pub fn text(&self) -> &str {
        match self {
            Self::Limit(alert) => &alert.text,
            Self::Security(alert) => &alert.text,
        }
    }
}

/// Whoever is told.
#[async_trait]
pub trait Tell: Send + Sync {
    /// Tells one alert.
    async fn tell(&self, alert: &Told) -> Result<(), TellError>;
}

/// Posts each alert as JSON.
pub struct Webhook {
    url: WebhookUrl,
    client: Client,
}

impl Webhook {
    /// Posts to that place.
    ///
    /// # Errors
    /// Where there is no TLS.
    pub fn new(url: WebhookUrl) -> Result<Self, reqwest::Error> {
        // Who redirects might name a place within this network.
        let client = lyceum_https::builder().timeout(TIME_LIMIT).redirect(Policy::none()).build()?;
        Ok(Self { url, client })
    }
}

#[async_trait]
impl Tell for Webhook {
    async fn tell(&self, alert: &Told) -> Result<(), TellError> {
        let host = self.url.host();
        let answer = self.client.post(self.url.0.clone()).json(alert).send().await;
        // The error names the whole address, which is a secret.
        let answer = answer.map_err(|error| TellError::Later(format!("{host}: {}", in_full(&error.without_url()))))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) => {
                Err(TellError::Later(format!("{host} answers {status}")))
            }
            status if status.is_server_error() => Err(TellError::Later(format!("{host} answers {status}"))),
            // It is this one that is refused; what is refused otherwise is whoever posts, or the place.
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY) => Err(TellError::Never(format!("{host} answers {status}"))),
            status => Err(TellError::Nobody(format!("{host} answers {status}"))),
        }
    }
}

/// Alerts that are to be told.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Told>,
}

impl Outbox {
    /// Tells them after those that wait.
    pub fn put(&mut self, alerts: Vec<Alert>) {
        self.waiting.extend(alerts.into_iter().map(Told::Limit));
        while self.waiting.len() > WAITING
            && let Some(given_up) = self.waiting.pop_front()
        {
            tracing::error!(alert = given_up.text(), "an alert could not be told for so long that it is given up");
        }
    }

    /// Tells what waits, as far as it is taken; what is not waits for the next call.
    pub async fn send(&mut self, to: &dyn Tell) {
        while let Some(alert) = self.waiting.front() {
            match to.tell(alert).await {
                Ok(()) => {}
                Err(TellError::Later(error)) => {
                    tracing::warn!(%error, waiting = self.waiting.len(), "an alert could not be told; it is tried again");
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, alert = alert.text(), "an alert is refused: look at ALERT_WEBHOOK_URL");
                }
            }
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::alerts::AlertStatus;

    fn alert(text: &str) -> Alert {
        Alert {
            text: text.to_owned(),
            status: AlertStatus::Firing,
            alert: "lag",
            subject: String::new(),
            key: String::new(),
            value: 1.0,
            unit: "seconds",
            limit: 0.0,
            since: String::new(),
            at: String::new(),
        }
    }

    /// Answers as it is told to, and keeps what it took.
    #[derive(Default)]
    struct Receiver {
        answers: Mutex<VecDeque<Result<(), TellError>>>,
        taken: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Tell for Receiver {
        async fn tell(&self, alert: &Told) -> Result<(), TellError> {
            self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
            self.taken.lock().unwrap().push(alert.text().to_owned());
            Ok(())
        }
    }

    #[tokio::test]
    async fn alerts_are_told_in_order_and_one_that_is_not_taken_now_waits_with_those_behind_it() {
        let receiver = Receiver::default();
        let mut outbox = Outbox::default();
        *receiver.answers.lock().unwrap() = [Ok(()), Err(TellError::Later("away".to_owned()))].into();
        outbox.put(["one", "two", "three"].map(alert).into());
        outbox.send(&receiver).await;
        assert_eq!(*receiver.taken.lock().unwrap(), ["one"]);
        outbox.send(&receiver).await;
        outbox.send(&receiver).await;
        assert_eq!(*receiver.taken.lock().unwrap(), ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn one_that_is_refused_for_good_holds_up_no_other() {
        let receiver = Receiver::default();
        let refusals = [TellError::Never("400".to_owned()), TellError::Nobody("404".to_owned())];
        *receiver.answers.lock().unwrap() = refusals.map(Err).into();
        let mut outbox = Outbox::default();
        outbox.put(["one", "two", "three"].map(alert).into());
        outbox.send(&receiver).await;
        assert_eq!(*receiver.taken.lock().unwrap(), ["three"]);
    }

    #[test]
    fn of_too_many_that_wait_the_newest_are_kept() {
        let mut outbox = Outbox::default();
        outbox.put((0..=WAITING).map(|number| alert(&number.to_string())).collect());
        assert_eq!((outbox.waiting.len(), outbox.waiting[0].text()), (WAITING, "1"));
    }

    #[test]
    fn an_address_is_read_from_its_text_and_never_written_back() {
        let url: WebhookUrl = "https://hooks.example.com/services/a-secret".parse().expect("an address");
        assert_eq!(format!("{url:?}"), "WebhookUrl(hooks.example.com/…)");
        for wrong in ["", "hooks.example.com/x", "ftp://example.com/x", "mailto:ops@example.com"] {
            let error = wrong.parse::<WebhookUrl>().expect_err(wrong).to_string();
            assert!(error.contains("https://") && (wrong.is_empty() || !error.contains(wrong)), "{error}");
        }
    }
}
