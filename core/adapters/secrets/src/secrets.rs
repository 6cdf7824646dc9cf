//! What secrets hold, read again when that is due.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use lyceum_aws::call::{Answer, CallError, Service};
use lyceum_core::clock::ms_since_1970;
use lyceum_core::environment::Reading;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::renewal::{Reason, Renewal};
use super::{CREDENTIALS_TTL, Environment, Place, process_variable};

/// How long reading them again may take: a call of a service waits for it.
const LIMIT: Duration = Duration::from_secs(5);

/// Where secrets are read.
#[async_trait]
pub trait ReadSecrets: Send + Sync {
    /// The text of the secret with this ARN.
    ///
    /// # Errors
    /// Where it is not given, and why.
    async fn read(&self, arn: &str) -> Result<String>;
}

/// AWS: Secrets Manager, and Systems Manager's Parameter Store.
struct OfAws(aws_sdk_secretsmanager::Client);

#[async_trait]
impl ReadSecrets for OfAws {
    async fn read(&self, arn: &str) -> Result<String> {
        let place = Place::of(arn);
        let answer = match &place {
            Place::SecretsManager => {
                let answer = self.0.get_secret_value().secret_id(arn).send().await;
                answer
                    .map(|answer| answer.secret_string().unwrap_or_default().to_owned())
                    .map_err(|error| error.into_service_error().into())
            }
            Place::ParameterStore { region, name } => text_of_parameter(region, name).await,
        };
        answer.with_context(|| format!("its role needs {} for {arn}, and kms:Decrypt for its key", place.right()))
    }
}

/// Asks Systems Manager for a parameter. Source: its API reference, `GetParameter`.
///
/// # Errors
/// Where there is no answer.
pub async fn get_parameter(region: &str, name: &str, is_decrypted: bool) -> Result<Answer, CallError> {
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.GetParameter")];
    let question = json!({"Name": name, "WithDecryption": is_decrypted}).to_string();
    Service::new("ssm", region, process_variable).send("POST", "/", &headers, &question).await
}

async fn text_of_parameter(region: &str, name: &str) -> Result<String> {
    let answer = get_parameter(region, name, true).await?;
    let held: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        // What it says of an error holds no value.
        let why: Vec<_> = ["__type", "message", "Message"].iter().filter_map(|of| held[of].as_str()).collect();
        bail!("Systems Manager answers {} {}", answer.status, why.join(": "));
    }
    held["Parameter"]["Value"].as_str().map(str::to_owned).context("Systems Manager's answer has no value")
}

/// The secrets that a process's environment names.
pub struct Secrets {
    /// Variable and ARN.
    named: Vec<(&'static str, String)>,
    reader: Option<Box<dyn ReadSecrets>>,
    held: RwLock<Arc<Environment>>,
    renewal: Mutex<Renewal>,
    /// Held while they are read.
    reading: tokio::sync::Mutex<()>,
}

/// Names alone: a value may be a secret.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("environment", &self.environment()).finish()
    }
}

impl Secrets {
    /// Reads the secrets that the process's environment names. Without any, no client is made and nothing is called.
    ///
    /// # Errors
    /// Where a secret cannot be read, or holds something else than its variable says.
    pub async fn load() -> Result<Arc<Self>> {
        let mut reading = Reading::new(&process_variable);
        let ttl = reading.read(&CREDENTIALS_TTL);
        let ttl = reading.finish(ttl)?;
        let named = super::named(process_variable);
        if named.is_empty() {
            return Ok(Arc::new(Self::new(named, None, ttl, now_ms())));
        }
        let client = aws_sdk_secretsmanager::Client::new(&lyceum_aws::load().await);
        Self::of(named, Box::new(OfAws(client)), ttl).await.map(Arc::new)
    }

    /// Reads secrets elsewhere: for each variable that names one its ARN.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub async fn of(named: Vec<(&'static str, String)>, reader: Box<dyn ReadSecrets>, ttl: Duration) -> Result<Self> {
        Self::new(named, Some(reader), ttl, now_ms()).with_the_first_reading().await
    }

    fn new(
        named: Vec<(&'static str, String)>,
        reader: Option<Box<dyn ReadSecrets>>,
        ttl: Duration,
        now_ms: i64,
    ) -> Self {
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let renewal = Mutex::new(Renewal::new(ttl_ms, now_ms));
        Self { named, reader, held: RwLock::default(), renewal, reading: tokio::sync::Mutex::default() }
    }

    async fn with_the_first_reading(self) -> Result<Self> {
        let environment = self.read_all().await?;
        *self.held.write() = Arc::new(environment);
        Ok(self)
    }

    async fn read_all(&self) -> Result<Environment> {
        let mut environment = Environment::default();
        let Some(reader) = &self.reader else { return Ok(environment) };
        for (variable, arn) in &self.named {
            let text = reader.read(arn).await;
            let text = text.with_context(|| format!("the secret of {variable} cannot be read"))?;
            environment.take(variable, &text)?;
        }
        Ok(environment)
    }

    /// The environment with what they held when they were last read; the same `Arc` as long as that is the same.
    pub fn environment(&self) -> Arc<Environment> {
        self.held.read().clone()
    }

    /// Reads them again where that is due. Where they cannot be read, what was held stays.
    pub async fn renew(&self, reason: Reason) {
        self.renew_at(reason, now_ms).await;
    }

    async fn renew_at(&self, reason: Reason, now_ms: impl Fn() -> i64) {
        if self.reader.is_none() || !self.renewal.lock().is_due(reason, now_ms()) {
            // Somebody may be reading them because of the same refusal.
            if reason == Reason::Refused {
                drop(self.reading.lock().await);
            }
            return;
        }
        let _reading = match reason {
            Reason::Refused => self.reading.lock().await,
            // One reads them; the others go on with what is held.
            Reason::Age => match self.reading.try_lock() {
                Ok(reading) => reading,
                Err(_) => return,
            },
        };
        {
            let mut renewal = self.renewal.lock();
            if !renewal.is_due(reason, now_ms()) {
                return;
            }
            renewal.begin(now_ms());
        }
        let read = timeout(LIMIT, self.read_all()).await;
        let read = read.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", LIMIT.as_secs())));
        match read {
            Ok(environment) => {
                self.renewal.lock().end(now_ms());
                let mut held = self.held.write();
                if **held == environment {
                    tracing::info!(?reason, "the secrets were read again, and hold what they held before");
                } else {
                    *held = Arc::new(environment);
                    tracing::info!(?reason, "the secrets were read again, and hold something else than before");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(?reason, error, "the secrets cannot be read again; what they held before is used on");
            }
        }
    }
}

fn now_ms() -> i64 {
    ms_since_1970(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::PAUSE_MS;

    const TTL_MS: i64 = 3_600_000;

    /// What a secret holds, how often it was read, and the time.
    #[derive(Default)]
    struct Vault {
        held: Mutex<Option<&'static str>>,
        is_silent: Mutex<bool>,
        read: AtomicUsize,
        now_ms: AtomicI64,
    }

    struct Reader(Arc<Vault>);

    #[async_trait]
    impl ReadSecrets for Reader {
        async fn read(&self, arn: &str) -> Result<String> {
            assert_eq!(arn, "arn");
            self.0.read.fetch_add(1, SeqCst);
            if *self.0.is_silent.lock() {
                pending::<()>().await;
            }
            let held = *self.0.held.lock();
            Ok(format!(r#"{{"api_key": "{}"}}"#, held.context("access denied")?))
        }
    }

    async fn secrets(vault: &Arc<Vault>) -> Secrets {
        *vault.held.lock() = Some("one");
        let named = vec![("ELASTICSEARCH_SECRET_ARN", "arn".to_owned())];
        let reader = Box::new(Reader(vault.clone()));
        Secrets::new(named, Some(reader), Duration::from_secs(3_600), 0).with_the_first_reading().await.unwrap()
    }

    impl Vault {
        async fn renew(&self, secrets: &Secrets, reason: Reason) -> String {
            secrets.renew_at(reason, || self.now_ms.load(SeqCst)).await;
            secrets.environment().variable("ELASTICSEARCH_API_KEY").unwrap()
        }
    }

    #[tokio::test]
    async fn what_was_rotated_is_held_after_a_refusal_or_an_hour_and_read_once_a_minute_at_most() {
        let vault = Arc::new(Vault::default());
        let secrets = secrets(&vault).await;
        let before = secrets.environment();
        assert_eq!(vault.renew(&secrets, Reason::Age).await, "one");
        assert_eq!(vault.read.load(SeqCst), 1);
        assert_eq!(vault.renew(&secrets, Reason::Refused).await, "one");
        assert!(Arc::ptr_eq(&before, &secrets.environment()), "what is the same stays the same");
        *vault.held.lock() = Some("two");
        for _ in 0..10 {
            assert_eq!(vault.renew(&secrets, Reason::Refused).await, "one");
        }
        assert_eq!(vault.read.load(SeqCst), 2);
        vault.now_ms.store(PAUSE_MS, SeqCst);
        assert_eq!(vault.renew(&secrets, Reason::Refused).await, "two");
        *vault.held.lock() = Some("three");
        vault.now_ms.store(PAUSE_MS + TTL_MS, SeqCst);
        assert_eq!(vault.renew(&secrets, Reason::Age).await, "three");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_again_leaves_what_was_held() {
        let vault = Arc::new(Vault::default());
        let secrets = secrets(&vault).await;
        *vault.held.lock() = None;
        assert_eq!(vault.renew(&secrets, Reason::Refused).await, "one");
        vault.now_ms.store(PAUSE_MS, SeqCst);
        *vault.is_silent.lock() = true;
        assert_eq!(vault.renew(&secrets, Reason::Refused).await, "one", "nobody waits for ever");
        assert_eq!(vault.read.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn those_who_are_refused_at_once_read_once() {
        let vault = Arc::new(Vault::default());
        let secrets = secrets(&vault).await;
        *vault.held.lock() = Some("two");
        let one = || vault.renew(&secrets, Reason::Refused);
        let (a, b, c) = tokio::join!(one(), one(), one());
        assert_eq!((a.as_str(), b.as_str(), c.as_str(), vault.read.load(SeqCst)), ("two", "two", "two", 2));
    }
}
