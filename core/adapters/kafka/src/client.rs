//! What every client of this adapter has in common: its configuration, what librdkafka reports to it, and a thread that listens.

use std::cell::Cell;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{ClientContext, Statistics};

use super::error::{Trouble, code_of, of_code, translate};
use super::iam;
use super::settings::{Encryption, KafkaSettings, Pem, Sasl};
use lyceum_core::clock::ms_since_1970;
use lyceum_core::ports::event_log::EventLogError;

/// How long a client sleeps at most before it looks whether it is to end.
const SERVING_INTERVAL: Duration = Duration::from_millis(50);

/// How long after a new token a refusal of the old one may be reported: on a busy machine a handshake takes seconds.
const LATE_REFUSAL_MS: i64 = 30_000;

thread_local! {
    /// The end that was reported to this thread last: librdkafka calls back within the poll that comes back with it.
    static LAST_END: Cell<Option<i64>> = const { Cell::new(None) };
}

/// The offset of the partition's end that the poll just made on this thread came back with; `None` where it is not reported.
pub(super) fn take_end() -> Option<i64> {
    LAST_END.take()
}

/// Where a fetch found the end. librdkafka has it as a number, rdkafka (0.39) hands on the words alone: "Fetch from broker
/// 1 reached end of partition at offset 6 (HighwaterMark 6)".
fn offset_of_end(reason: &str) -> Option<i64> {
    let (_, behind) = reason.split_once("reached end of partition at offset ")?;
    behind.split_once(' ')?.0.parse().ok()
}

/// librdkafka's side of a client: logs, troubles of the connection, tokens.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) trouble: Arc<Trouble>,
    /// Where tokens are signed: the region, and how long one is used.
    iam: Option<(String, Duration)>,
    token: Token,
}

/// What a client has for a token, in milliseconds since 1970. Each client has its own.
struct Token {
    ends: AtomicI64,
    /// Until then a refusal may still be of the token before, which had ended or was about to.
    doubted: AtomicI64,
}

impl Default for Token {
    fn default() -> Self {
        Self { ends: AtomicI64::new(i64::MAX), doubted: AtomicI64::new(0) }
    }
}

impl Clone for Token {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Token {
    fn renew(&self, ends: i64) {
        let until = now_ms() + LATE_REFUSAL_MS;
        if self.ends.swap(ends, Ordering::AcqRel) < until {
            self.doubted.store(until, Ordering::Release);
        }
    }

    /// There is no next one: whatever is refused from now on, is refused for want of it.
    fn give_up(&self) {
        self.ends.store(i64::MAX, Ordering::Release);
        self.doubted.store(0, Ordering::Release);
    }

    /// Whether a refusal says only that a token had ended.
    fn had_ended(&self) -> bool {
        let now = now_ms();
        self.ends.load(Ordering::Acquire) < now || now < self.doubted.load(Ordering::Acquire)
    }
}

pub(super) fn now_ms() -> i64 {
    ms_since_1970(SystemTime::now())
}

impl Context {
    /// What an error means that says that the credentials are not accepted; `None` for any other, and where a token had only
    /// ended.
    pub(super) fn refusal(&self, error: &KafkaError) -> Option<EventLogError> {
        let code = code_of(error).filter(|code| is_of_credentials(*code) && !self.token.had_ended())?;
        let refusal = of_code(code, "", &self.trouble);
        (!refusal.is_transient()).then_some(refusal)
    }

    pub(super) fn new(settings: &KafkaSettings, trouble: Arc<Trouble>) -> Self {
        let iam = match &settings.sasl {
            Some(Sasl::AwsIam { region, token_lifetime }) => Some((region.clone(), *token_lifetime)),
            _ => None,
        };
        Self { trouble, iam, token: Token::default() }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // A broker that closes an idle connection, or a thawed process that finds it closed, is no news.
            _ if matches!(facility, "FAIL" | "REQTMOUT" | "PARTCNT") => {
                tracing::debug!(target: "lyceum::kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "lyceum::kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "lyceum::kafka", facility, "{message}"),
            _ => tracing::debug!(target: "lyceum::kafka", facility, "{message}"),
        }
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // Consumers tell their ends of partitions this way, too.
        match code_of(&error) {
            Some(Code::PartitionEOF) => LAST_END.set(offset_of_end(reason)),
            Some(Code::AutoOffsetReset | Code::NoError) | None => {}
            // A process that was frozen wakes with a token that ended meanwhile, and is asked for the next one.
            Some(code) if is_of_credentials(code) && self.token.had_ended() => {
                tracing::debug!(target: "lyceum::kafka", "{error}: {reason}");
                self.trouble.note(Code::BrokerTransportFailure, "the token of AWS IAM had ended and is signed anew");
            }
            Some(
                code @ (Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
                | Code::IllegalSASLState
                | Code::SSL
                | Code::Resolve
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown),
            ) => {
                tracing::debug!(target: "lyceum::kafka", "{error}: {reason}");
                self.trouble.note(code, reason);
            }
            Some(_) => tracing::debug!(target: "lyceum::kafka", "{error}: {reason}"),
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let (region, lifetime) = self.iam.as_ref().ok_or("only AWS_MSK_IAM has tokens")?;
        let mut token = iam::sign(region).inspect_err(|error| {
            self.token.give_up();
            self.trouble.note(Code::Authentication, &error.to_string());
        })?;
        let longest = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        token.lifetime_ms = token.lifetime_ms.min(now_ms().saturating_add(longest));
        self.token.renew(token.lifetime_ms);
        Ok(token)
    }
}

impl ConsumerContext for Context {}

fn is_of_credentials(code: Code) -> bool {
    matches!(code, Code::Authentication | Code::SaslAuthenticationFailed)
}

/// What all clients are configured with.
pub(super) fn configure(settings: &KafkaSettings) -> Result<ClientConfig, EventLogError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("client.id", &settings.client_id)
        .set("security.protocol", settings.protocol())
        // A function that was frozen finds its connections closed: they are to be made again at once.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("connections.max.idle.ms", "240000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("log.connection.close", "false")
        // No name of ours is looked up in vain because of an address family that the network lacks.
        .set("client.dns.lookup", "use_all_dns_ips");
    if let Encryption::Tls { authorities, certificate } = &settings.encryption {
        match authorities {
            Some(authorities) => set_pem(&mut config, "ssl.ca", authorities),
            None => drop(config.set("ssl.ca.location", "probe")),
        }
        if let Some(certificate) = certificate {
            set_pem(&mut config, "ssl.certificate", &certificate.certificate);
            set_pem(&mut config, "ssl.key", &certificate.key);
            if let Some(password) = &certificate.key_password {
                config.set("ssl.key.password", password.reveal());
            }
        }
    }
    match &settings.sasl {
        None => {}
        Some(Sasl::Password { mechanism, username, password }) => {
            config.set("sasl.mechanisms", mechanism);
            config.set("sasl.username", username);
            config.set("sasl.password", password.reveal());
        }
        Some(Sasl::AwsIam { .. }) => {
            config.set("sasl.mechanisms", "OAUTHBEARER");
        }
        Some(Sasl::InSecret { arn, .. }) => {
            return Err(EventLogError::Refused(format!(
                "the credentials in the secret {arn} were not fetched before connecting to Kafka"
            )));
        }
    }
    Ok(config)
}

fn set_pem(config: &mut ClientConfig, of: &str, pem: &Pem) {
    match pem {
        Pem::File(file) => config.set(format!("{of}.location"), file),
        Pem::Text(text) => config.set(format!("{of}.pem"), text.reveal()),
    };
}

/// A consumer with a thread that serves its callbacks until it is dropped.
pub(super) struct Served<C: ConsumerContext + 'static = Context> {
    consumer: Arc<BaseConsumer<C>>,
    has_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ConsumerContext + 'static> Served<C> {
    pub(super) fn start(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        let consumer = Arc::new(BaseConsumer::from_config_and_context(config, context)?);
        let has_ended = Arc::new(AtomicBool::new(false));
        let serve = {
            let (consumer, has_ended) = (Arc::clone(&consumer), Arc::clone(&has_ended));
            move || {
                while !has_ended.load(Ordering::Acquire) {
                    // Records never come this way: partitions have queues of their own, or are paused.
                    drop(consumer.poll(SERVING_INTERVAL));
                }
            }
        };
        let thread = thread::Builder::new().name("kafka-client".to_owned()).spawn(serve);
        let thread = thread.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { consumer, has_ended, thread: Some(thread) })
    }

    pub(super) fn consumer(&self) -> &Arc<BaseConsumer<C>> {
        &self.consumer
    }
}

impl<C: ConsumerContext + 'static> Drop for Served<C> {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked serves no more.
            let _ = thread.join();
        }
    }
}

/// Asks the broker through a consumer, on a thread that may block: in growing slices of time, so that credentials which
/// are refused end the call at once and not after its whole limit.
pub(super) async fn ask<C: ConsumerContext + 'static, T: Send + 'static>(
    consumer: Arc<BaseConsumer<C>>,
    trouble: Arc<Trouble>,
    limit: Duration,
    about: &str,
    question: impl Fn(&BaseConsumer<C>, Duration) -> KafkaResult<T> + Send + 'static,
) -> Result<T, EventLogError> {
    let about = about.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + limit;
        let mut slice = Duration::from_millis(500);
        // A connection that still has the trouble reports again what was noted before.
        let since = trouble.count();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match question(&consumer, slice.min(left)) {
                Ok(answer) => {
                    trouble.clear();
                    return Ok(answer);
                }
                Err(error) => {
                    if let Some(hopeless) = trouble.hopeless_since(since) {
                        return Err(hopeless);
                    }
                    let error_in_words = translate(&error, &about, &trouble);
                    let is_over = Instant::now() + Duration::from_millis(10) >= deadline;
                    if is_over || !error_in_words.is_transient() {
                        return Err(error_in_words);
                    }
                    slice = (slice * 2).min(limit);
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
    });
    asked.await.map_err(|error| EventLogError::Unavailable(format!("the call was given up ({error}); try again")))?
}

/// The number of partitions of a topic, without making it.
pub(super) fn count_partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    limit: Duration,
) -> KafkaResult<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), limit)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.ok_or(KafkaError::MetadataFetch(Code::UnknownTopicOrPartition))?;
    if let Some(error) = found.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    Ok(found.partitions().len() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_partition_ends_is_told_once_to_the_thread_that_polled() {
        let context = Context::new(&KafkaSettings::plaintext("one:9092"), Arc::default());
        let told = "Fetch from broker 1 reached end of partition at offset 6 (HighwaterMark 9)";
        context.error(KafkaError::Global(Code::PartitionEOF), told);
        thread::scope(|scope| assert_eq!(scope.spawn(take_end).join().unwrap(), None));
        assert_eq!((take_end(), take_end()), (Some(6), None));
        context.error(KafkaError::Global(Code::PartitionEOF), "in other words");
        assert_eq!(take_end(), None);
    }

    #[test]
    fn a_refusal_of_a_token_that_had_ended_is_transient_and_one_of_a_token_that_has_not_is_none() {
        let refused = || KafkaError::Global(Code::Authentication);
        let context = || Context::new(&KafkaSettings::plaintext("one:9092"), Arc::default());
        let hopeless = |context: Context| {
            context.error(refused(), "SASL authentication error: access denied");
            context.trouble.hopeless_since(0)
        };
        let hopeless_with = |ends: &[i64]| {
            let context = context();
            ends.iter().for_each(|ends| context.token.renew(*ends));
            hopeless(context)
        };
        let (over, ahead) = (now_ms() - 1, now_ms() + 900_000);
        assert!(hopeless_with(&[]).is_some(), "there never was a token");
        assert!(hopeless_with(&[ahead]).is_some());
        assert!(hopeless_with(&[ahead, ahead]).is_some());
        assert!(hopeless_with(&[over]).is_none());
        assert!(hopeless_with(&[over, ahead]).is_none(), "the refusal of the old token comes late");
        let about_to_end = now_ms() + 500;
        assert!(hopeless_with(&[about_to_end, ahead]).is_none(), "it ended on the way to the broker");
        let without_next = context();
        without_next.token.renew(over);
        without_next.token.give_up();
        assert!(hopeless(without_next).is_some());
    }
}
