//! What a consumer is told: by code, by YAML and by the environment, in one form.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::context::Tokens;

/// How fast, and in which way, records come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerTier {
    /// rdkafka's `StreamConsumer`, one record after another, each copied: the compatible default.
    #[default]
    Stream,
    /// Woken by the queue's event, never blocks the executor; records by batch calls, handed out one by one.
    Standard,
    /// As standard, handed out in batches.
    Buffered {
        /// Records that a batch has at most.
        batch_size: usize,
    },
    /// A thread of its own per consumer, batch reads, payloads borrowed, handed over in lanes by partition.
    Dedicated,
}

impl fmt::Display for ConsumerTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream => f.write_str("stream"),
            Self::Standard => f.write_str("standard"),
            Self::Buffered { batch_size } => write!(f, "buffered({batch_size})"),
            Self::Dedicated => f.write_str("dedicated"),
        }
    }
}

/// How the group shares partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignor {
    /// `cooperative-sticky`: only the partitions that move are revoked.
    #[default]
    Cooperative,
    /// `range,roundrobin`: every rebalance revokes all, as librdkafka does by itself.
    Eager,
    /// KIP-848, `group.protocol=consumer`: the broker (4.0 or later) assigns.
    Consumer,
}

/// Where a partition begins of which the group has committed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetReset {
    /// At its first record: nothing is missed.
    #[default]
    Earliest,
    /// At its end.
    Latest,
    /// Nowhere: it is an error.
    Error,
}

/// How a consumer that waits learns of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WakeUp {
    /// By the queue's event, and the tick as a net.
    #[default]
    Event,
    /// By the tick alone.
    Tick,
}

/// What a consumer is told.
///
/// In YAML it stands below `consumer:`; every field but `brokers` and `group_id` may be left out.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FastConsumerConfig {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// The consumer group.
    pub group_id: String,
    /// Absent: stream.
    #[serde(default)]
    pub performance_tier: Option<ConsumerTier>,
    /// Topics that are subscribed to from the beginning.
    #[serde(default)]
    pub topics: Vec<String>,
    /// What brokers call this client in their logs, quotas and metrics.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// How partitions are shared.
    #[serde(default)]
    pub assignor: Assignor,
    /// Static membership: a restart within the session keeps the partitions. Unique in the group.
    #[serde(default)]
    pub group_instance_id: Option<String>,
    /// Where a partition begins of which nothing was committed.
    #[serde(default)]
    pub auto_offset_reset: OffsetReset,
    /// Records of transactions that were not committed are left out, unless this is true.
    #[serde(default)]
    pub read_uncommitted: bool,
    /// Records that a batch call takes at most. Absent: the tier's.
    #[serde(default)]
    pub batch_size: Option<usize>,
    /// Records that are handed out and not settled, at most. Absent: the tier's.
    #[serde(default)]
    pub max_in_hand_records: Option<usize>,
    /// Bytes of records that are handed out and not dropped, at most; one batch may go beyond. Absent: the tier's.
    #[serde(default)]
    pub max_in_hand_bytes: Option<usize>,
    /// Lanes of the dedicated tier.
    #[serde(default = "default_lanes")]
    pub lanes: usize,
    /// How often what is settled is committed.
    #[serde(default = "default_commit_interval_ms")]
    pub commit_interval_ms: u64,
    /// How long a partition that is revoked waits for what is in hand to be settled, and so does closing.
    #[serde(default = "default_patience_ms")]
    pub patience_ms: u64,
    /// After how long records are handed out again that were given back.
    #[serde(default = "default_redelivery_delay_ms")]
    pub redelivery_delay_ms: u64,
    /// How often a consumer looks though nothing woke it, and mends what a lost event has broken.
    #[serde(default = "default_tick_ms")]
    pub tick_ms: u64,
    /// How it learns of records.
    #[serde(default)]
    pub wake_up: WakeUp,
    /// A member that is silent for so long is gone (not with KIP-848, where the broker says it).
    #[serde(default = "default_session_timeout_ms")]
    pub session_timeout_ms: u64,
    /// A member that does not poll for so long gives its partitions up. More than `patience_ms`.
    #[serde(default = "default_max_poll_interval_ms")]
    pub max_poll_interval_ms: u64,
    /// Anything else of librdkafka, as `ssl.ca.location` or `sasl.username`; outranks the tier's settings.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Tokens for `OAUTHBEARER`.
    #[serde(skip)]
    pub tokens: Option<Arc<dyn Tokens>>,
}

fn default_client_id() -> String {
    "lyceum-consumer".to_owned()
}

fn default_lanes() -> usize {
    1
}

fn default_commit_interval_ms() -> u64 {
    1_000
}

fn default_patience_ms() -> u64 {
    10_000
}

fn default_redelivery_delay_ms() -> u64 {
    100
}

fn default_tick_ms() -> u64 {
    1_000
}

fn default_session_timeout_ms() -> u64 {
    10_000
}

fn default_max_poll_interval_ms() -> u64 {
    300_000
}

/// What a configuration cannot be; all of it, each with what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct WrongConfig(pub Vec<String>);

/// What the promises of this crate rest on, with the reason; a configuration must not say otherwise.
const OURS: &[(&str, &str)] = &[
    ("enable.auto.commit", "offsets are committed when they are settled"),
    ("enable.auto.offset.store", "offsets are committed when they are settled"),
    ("enable.partition.eof", "its records would move the position"),
    ("bootstrap.servers", "say `brokers`"),
    ("metadata.broker.list", "say `brokers`"),
    ("group.id", "say `group_id`"),
    ("group.instance.id", "say `group_instance_id`"),
    ("group.protocol", "say `assignor`"),
    ("partition.assignment.strategy", "say `assignor`"),
    ("auto.offset.reset", "say `auto_offset_reset`"),
    ("isolation.level", "say `read_uncommitted`"),
    ("client.id", "say `client_id`"),
    ("session.timeout.ms", "say `session_timeout_ms`"),
    ("max.poll.interval.ms", "say `max_poll_interval_ms`"),
];

/// A setting of a tier: librdkafka's name, the value, and the reason with the ratio that was measured.
pub type Setting = (&'static str, &'static str, &'static str);

/// What every tier sets.
const OF_ALL: &[Setting] = &[
    ("enable.auto.commit", "false", "explicit offsets only: the low watermark of what is settled"),
    ("enable.auto.offset.store", "false", "error records move the position in librdkafka 2.12 (librdkafka#4844)"),
    ("enable.partition.eof", "false", "as above"),
    ("allow.auto.create.topics", "false", "a topic that is misspelt is an error"),
    ("topic.metadata.refresh.interval.ms", "30000", "partitions that are added are found in half a minute"),
];

/// The stream tier is rdkafka as it comes, but for what would stall it.
const OF_STREAM: &[Setting] = &[(
    "fetch.queue.backoff.ms",
    "10",
    "the default of 1,000 has a consumer that is slower than the fetcher idle: 0.17 of the throughput",
)];

/// One record at a time: latency first, little memory.
const OF_STANDARD: &[Setting] = &[
    ("fetch.queue.backoff.ms", "1", "1.08 of the throughput with 10; 0 spins (CPU 1.25), 100 gives 0.78, 1,000 0.17"),
    ("queued.max.messages.kbytes", "16384", "1.03 of the throughput with 64 MB, at 63 MB instead of 148 MB"),
    ("queued.min.messages", "100000", "10,000 gives 0.94, 1,000 gives 0.84; the kilobytes bound the memory"),
    ("fetch.message.max.bytes", "262144", "1.03, and 124 MB instead of 148 MB; 64 KB gives 0.96, 8 MB gives 0.84"),
    ("fetch.wait.max.ms", "500", "50 gives 0.98: a broker answers as soon as it has a byte, so waiting costs nothing"),
    ("fetch.min.bytes", "1", "a record is sent at once"),
    ("check.crcs", "false", "true gives 0.88; TCP and the broker check, too"),
];

/// What a tier takes and holds by itself: records of a batch call, records in hand, bytes in hand.
struct Amounts {
    batch: usize,
    records: usize,
    bytes: usize,
}

impl ConsumerTier {
    /// librdkafka's settings of this tier, each with the reason that was measured.
    pub fn settings(&self) -> impl Iterator<Item = Setting> {
        let own = match self {
            Self::Stream => OF_STREAM,
            // They differ in how records are handed over, not in how they are fetched.
            Self::Standard | Self::Buffered { .. } | Self::Dedicated => OF_STANDARD,
        };
        OF_ALL.iter().chain(own).copied()
    }

    fn amounts(&self) -> Amounts {
        const MEGABYTE: usize = 1 << 20;
        match *self {
            Self::Stream => Amounts { batch: 64, records: 1_000, bytes: 16 * MEGABYTE },
            Self::Standard => Amounts { batch: 512, records: 10_000, bytes: 16 * MEGABYTE },
            Self::Buffered { batch_size } => {
                Amounts { batch: batch_size, records: (batch_size * 8).max(10_000), bytes: 32 * MEGABYTE }
            }
            Self::Dedicated => Amounts { batch: 1_024, records: 20_000, bytes: 32 * MEGABYTE },
        }
    }
}

impl FastConsumerConfig {
    /// With defaults for all but these.
    pub fn new(brokers: impl Into<String>, group_id: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            group_id: group_id.into(),
            performance_tier: None,
            topics: Vec::new(),
            client_id: default_client_id(),
            assignor: Assignor::default(),
            group_instance_id: None,
            auto_offset_reset: OffsetReset::default(),
            read_uncommitted: false,
            batch_size: None,
            max_in_hand_records: None,
            max_in_hand_bytes: None,
            lanes: default_lanes(),
            commit_interval_ms: default_commit_interval_ms(),
            patience_ms: default_patience_ms(),
            redelivery_delay_ms: default_redelivery_delay_ms(),
            tick_ms: default_tick_ms(),
            wake_up: WakeUp::default(),
            session_timeout_ms: default_session_timeout_ms(),
            max_poll_interval_ms: default_max_poll_interval_ms(),
            properties: BTreeMap::new(),
            tokens: None,
        }
    }

    /// The builder.
    pub fn builder(brokers: impl Into<String>, group_id: impl Into<String>) -> FastConsumerConfigBuilder {
        FastConsumerConfigBuilder { config: Self::new(brokers, group_id) }
    }

    /// Reads a YAML document that has `consumer:` at its top; other keys beside it are other programs' business.
    ///
    /// # Errors
    /// Where it is no YAML, lacks something, or has a key that means nothing; and as of [`FastConsumerConfig::check`].
    pub fn from_yaml(text: &str) -> Result<Self, WrongConfig> {
        #[derive(Deserialize)]
        struct Document {
            consumer: FastConsumerConfig,
        }
        let document: Document = serde_saphyr::from_str(text).map_err(|error| {
            WrongConfig(vec![format!("the configuration below `consumer:` cannot be read: {error}")])
        })?;
        document.consumer.check()?;
        Ok(document.consumer)
    }

    /// Reads the environment alone: `CONSUMER_BROKERS`, `CONSUMER_GROUP_ID`, and the rest as of
    /// [`FastConsumerConfig::overlay`].
    ///
    /// # Errors
    /// As of [`FastConsumerConfig::overlay`].
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, WrongConfig> {
        Self::new("", "").overlay(variable)
    }

    /// What the environment says instead: each field is a variable with the prefix `CONSUMER_`, as `CONSUMER_GROUP_ID`; a
    /// value is written as in YAML, as `CONSUMER_PERFORMANCE_TIER='{buffered: {batch_size: 128}}'`; topics are separated by
    /// commas; a property of librdkafka is `CONSUMER_PROPERTY_` with underscores for dots, as
    /// `CONSUMER_PROPERTY_SSL_CA_LOCATION` (names that have an underscore themselves go into `CONSUMER_PROPERTIES`, a YAML mapping).
    ///
    /// # Errors
    /// All values that cannot be, each with its variable; and as of [`FastConsumerConfig::check`].
    pub fn overlay(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, WrongConfig> {
        let mut wrong = Vec::new();
        let read = |name: &str| variable(&format!("CONSUMER_{name}")).filter(|value| !value.trim().is_empty());
        fn set<T: DeserializeOwned>(field: &mut T, name: &str, given: Option<String>, wrong: &mut Vec<String>) {
            let Some(given) = given else { return };
            match serde_saphyr::from_str(&given) {
                Ok(value) => *field = value,
                Err(error) => wrong.push(format!("CONSUMER_{name} is {given:?}: {error}")),
            }
        }
        for (name, field) in
            [("BROKERS", &mut self.brokers), ("GROUP_ID", &mut self.group_id), ("CLIENT_ID", &mut self.client_id)]
        {
            if let Some(given) = read(name) {
                *field = given;
            }
        }
        if let Some(given) = read("GROUP_INSTANCE_ID") {
            self.group_instance_id = Some(given);
        }
        if let Some(given) = read("TOPICS") {
            self.topics =
                given.split(',').map(|topic| topic.trim().to_owned()).filter(|topic| !topic.is_empty()).collect();
        }
        macro_rules! fields {
            ($($name:literal => $field:ident),* $(,)?) => {
                $(set(&mut self.$field, $name, read($name), &mut wrong);)*
            };
        }
        fields! {
            "PERFORMANCE_TIER" => performance_tier,
            "ASSIGNOR" => assignor,
            "AUTO_OFFSET_RESET" => auto_offset_reset,
            "READ_UNCOMMITTED" => read_uncommitted,
            "BATCH_SIZE" => batch_size,
            "MAX_IN_HAND_RECORDS" => max_in_hand_records,
            "MAX_IN_HAND_BYTES" => max_in_hand_bytes,
            "LANES" => lanes,
            "COMMIT_INTERVAL_MS" => commit_interval_ms,
            "PATIENCE_MS" => patience_ms,
            "REDELIVERY_DELAY_MS" => redelivery_delay_ms,
            "TICK_MS" => tick_ms,
            "WAKE_UP" => wake_up,
            "SESSION_TIMEOUT_MS" => session_timeout_ms,
            "MAX_POLL_INTERVAL_MS" => max_poll_interval_ms,
        }
        let mut given = BTreeMap::<String, String>::new();
        set(&mut given, "PROPERTIES", read("PROPERTIES"), &mut wrong);
        self.properties.extend(given);
        for name in FREQUENT {
            if let Some(value) = read(&format!("PROPERTY_{}", name.to_uppercase().replace('.', "_"))) {
                self.properties.insert((*name).to_owned(), value);
            }
        }
        match self.check() {
            Ok(()) if wrong.is_empty() => Ok(self),
            checked => {
                wrong.extend(checked.err().into_iter().flat_map(|wrong| wrong.0));
                Err(WrongConfig(wrong))
            }
        }
    }

    /// Whether it can be, all of it at once.
    ///
    /// # Errors
    /// Everything that cannot, each with what to change.
    pub fn check(&self) -> Result<(), WrongConfig> {
        let mut wrong = Vec::new();
        if self.brokers.trim().is_empty() {
            wrong.push(
                "`brokers` (CONSUMER_BROKERS) is empty: name the brokers as host:port, separated by commas".to_owned(),
            );
        }
        for broker in self.brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty()) {
            let port =
                broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                wrong.push(format!("`brokers` has {broker:?}: say host:port, separated by commas"));
            }
        }
        if self.group_id.trim().is_empty() {
            wrong.push("`group_id` (CONSUMER_GROUP_ID) is empty: name the consumer group".to_owned());
        }
        if self.group_instance_id.as_deref() == Some("") {
            wrong.push("`group_instance_id` is empty: leave it out, or give each member its own".to_owned());
        }
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("max_in_hand_records", self.max_in_hand_records),
            ("max_in_hand_bytes", self.max_in_hand_bytes),
            ("lanes", Some(self.lanes)),
        ] {
            if value == Some(0) {
                wrong.push(format!("`{name}` is 0: nothing would ever come; say 1 or more, or leave it out"));
            }
        }
        if let ConsumerTier::Buffered { batch_size: 0 } = self.tier() {
            wrong.push("`performance_tier` is buffered with a batch_size of 0: say 1 or more".to_owned());
        }
        if self.tick_ms == 0 {
            wrong.push("`tick_ms` is 0, which would spin: say 1 or more; 1000 is usual".to_owned());
        }
        if self.patience_ms >= self.max_poll_interval_ms {
            let (patience, interval) = (self.patience_ms, self.max_poll_interval_ms);
            wrong.push(format!(
                "`patience_ms` is {patience} and `max_poll_interval_ms` {interval}: who is patient for so long is thrown out of the group; make the latter larger"
            ));
        }
        for (name, reason) in OURS {
            if self.properties.contains_key(*name) {
                wrong.push(format!("`properties` has {name}: leave it out ({reason})"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(WrongConfig(wrong)) }
    }

    /// The tier, of which an absent one is stream.
    pub fn tier(&self) -> ConsumerTier {
        self.performance_tier.unwrap_or_default()
    }

    /// Records that a batch call takes at most.
    pub(crate) fn batch(&self) -> usize {
        self.batch_size.unwrap_or_else(|| self.tier().amounts().batch).max(1)
    }

    pub(crate) fn max_records(&self) -> usize {
        self.max_in_hand_records.unwrap_or_else(|| self.tier().amounts().records)
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_in_hand_bytes.unwrap_or_else(|| self.tier().amounts().bytes)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }

    pub(crate) fn tick(&self) -> Duration {
        Duration::from_millis(self.tick_ms)
    }

    /// librdkafka's configuration.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value, _) in self.tier().settings() {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.group_id)
            .set("client.id", &self.client_id)
            .set("isolation.level", if self.read_uncommitted { "read_uncommitted" } else { "read_committed" })
            .set("max.poll.interval.ms", self.max_poll_interval_ms.to_string())
            .set(
                "auto.offset.reset",
                match self.auto_offset_reset {
                    OffsetReset::Earliest => "earliest",
                    OffsetReset::Latest => "latest",
                    OffsetReset::Error => "error",
                },
            );
        match self.assignor {
            Assignor::Consumer => config.set("group.protocol", "consumer"),
            Assignor::Cooperative => config.set("partition.assignment.strategy", "cooperative-sticky"),
            Assignor::Eager => config.set("partition.assignment.strategy", "range,roundrobin"),
        };
        // With KIP-848 the broker says it, and a client that says it is refused.
        if self.assignor != Assignor::Consumer {
            config.set("session.timeout.ms", self.session_timeout_ms.to_string());
            config.set("heartbeat.interval.ms", (self.session_timeout_ms / 5).clamp(100, 3_000).to_string());
        }
        if let Some(id) = &self.group_instance_id {
            config.set("group.instance.id", id);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

/// Properties of librdkafka that have a variable of their own.
const FREQUENT: &[&str] = &[
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "client.rack",
    "statistics.interval.ms",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "fetch.min.bytes",
    "fetch.message.max.bytes",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "check.crcs",
];

/// Whether a property must not be printed.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "key.pem", "sasl.oauthbearer", "ssl_key"].iter().any(|part| name.contains(part))
}

impl fmt::Debug for FastConsumerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { "…".to_owned() } else { value.clone() })
        };
        f.debug_struct("FastConsumerConfig")
            .field("brokers", &self.brokers)
            .field("group_id", &self.group_id)
            .field("tier", &self.tier())
            .field("topics", &self.topics)
            .field("client_id", &self.client_id)
            .field("assignor", &self.assignor)
            .field("group_instance_id", &self.group_instance_id)
            .field("auto_offset_reset", &self.auto_offset_reset)
            .field("read_uncommitted", &self.read_uncommitted)
            .field("batch_size", &self.batch())
            .field("max_in_hand_records", &self.max_records())
            .field("max_in_hand_bytes", &self.max_bytes())
            .field("lanes", &self.lanes)
            .field("commit_interval_ms", &self.commit_interval_ms)
            .field("patience_ms", &self.patience_ms)
            .field("redelivery_delay_ms", &self.redelivery_delay_ms)
            .field("tick_ms", &self.tick_ms)
            .field("wake_up", &self.wake_up)
            .field("session_timeout_ms", &self.session_timeout_ms)
            .field("max_poll_interval_ms", &self.max_poll_interval_ms)
            .field("properties", &self.properties.iter().map(shown).collect::<BTreeMap<_, _>>())
            .field("tokens", &self.tokens.is_some())
            .finish()
    }
}

/// Builds a [`FastConsumerConfig`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FastConsumerConfigBuilder {
    config: FastConsumerConfig,
}

impl FastConsumerConfigBuilder {
    /// The tier; without it stream.
    pub fn tier(mut self, tier: ConsumerTier) -> Self {
        self.config.performance_tier = Some(tier);
        self
    }

    /// Topics that are subscribed to from the beginning.
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// How partitions are shared.
    pub fn assignor(mut self, assignor: Assignor) -> Self {
        self.config.assignor = assignor;
        self
    }

    /// Static membership.
    pub fn group_instance_id(mut self, id: impl Into<String>) -> Self {
        self.config.group_instance_id = Some(id.into());
        self
    }

    /// Where a partition begins of which nothing was committed.
    pub fn auto_offset_reset(mut self, reset: OffsetReset) -> Self {
        self.config.auto_offset_reset = reset;
        self
    }

    /// Records and bytes in hand, at most.
    pub fn in_hand(mut self, records: usize, bytes: usize) -> Self {
        (self.config.max_in_hand_records, self.config.max_in_hand_bytes) = (Some(records), Some(bytes));
        self
    }

    /// Lanes of the dedicated tier.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.config.lanes = lanes;
        self
    }

    /// A property of librdkafka.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.properties.insert(name.into(), value.into());
        self
    }

    /// Tokens for `OAUTHBEARER`.
    pub fn tokens(mut self, tokens: Arc<dyn Tokens>) -> Self {
        self.config.tokens = Some(tokens);
        self
    }

    /// Anything else, by its field.
    pub fn with(mut self, change: impl FnOnce(&mut FastConsumerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// As of [`FastConsumerConfig::check`].
    pub fn build(self) -> Result<FastConsumerConfig, WrongConfig> {
        self.config.check()?;
        Ok(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "consumer:\n  brokers: \"localhost:9092\"\n  group_id: \"my-group\"\n";

    #[test]
    fn the_tier_is_written_in_yaml_as_the_guide_says() {
        let tier = |line: &str| FastConsumerConfig::from_yaml(&format!("{HEAD}{line}")).unwrap().tier();
        assert_eq!(tier(""), ConsumerTier::Stream);
        assert_eq!(tier("  performance_tier: \"stream\"\n"), ConsumerTier::Stream);
        assert_eq!(tier("  performance_tier: \"standard\"\n"), ConsumerTier::Standard);
        assert_eq!(
            tier("  performance_tier: {buffered: {batch_size: 128}}\n"),
            ConsumerTier::Buffered { batch_size: 128 }
        );
        assert_eq!(
            tier("  performance_tier:\n    buffered:\n      batch_size: 128\n"),
            ConsumerTier::Buffered { batch_size: 128 }
        );
        assert_eq!(tier("  performance_tier: \"dedicated\"\n"), ConsumerTier::Dedicated);
    }

    #[test]
    fn yaml_code_and_environment_say_the_same() {
        let yaml = FastConsumerConfig::from_yaml(&format!(
            "{HEAD}  performance_tier: {{buffered: {{batch_size: 128}}}}\n  topics: [a, b]\n  assignor: consumer\n  \
             commit_interval_ms: 250\n  properties: {{ssl.ca.location: /ca.pem, fetch.wait.max.ms: \"50\"}}\nother: 1\n"
        ));
        let code = FastConsumerConfig::builder("localhost:9092", "my-group")
            .tier(ConsumerTier::Buffered { batch_size: 128 })
            .topics(["a", "b"])
            .assignor(Assignor::Consumer)
            .property("ssl.ca.location", "/ca.pem")
            .property("fetch.wait.max.ms", "50")
            .with(|config| config.commit_interval_ms = 250)
            .build();
        let variables = [
            ("CONSUMER_BROKERS", "localhost:9092"),
            ("CONSUMER_GROUP_ID", "my-group"),
            ("CONSUMER_PERFORMANCE_TIER", "{buffered: {batch_size: 128}}"),
            ("CONSUMER_TOPICS", "a, b"),
            ("CONSUMER_ASSIGNOR", "consumer"),
            ("CONSUMER_COMMIT_INTERVAL_MS", "250"),
            ("CONSUMER_PROPERTY_SSL_CA_LOCATION", "/ca.pem"),
            ("CONSUMER_PROPERTIES", "{fetch.wait.max.ms: '50'}"),
        ];
        let environment = FastConsumerConfig::from_environment(|name| {
            variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
        });
        let [yaml, code, environment] = [yaml, code, environment].map(|config| format!("{:?}", config.unwrap()));
        assert_eq!(yaml, code);
        assert_eq!(yaml, environment);
    }

    #[test]
    fn every_wrong_value_is_named_at_once_with_its_variable() {
        let variables =
            [("CONSUMER_BROKERS", "nowhere"), ("CONSUMER_TICK_MS", "often"), ("CONSUMER_PERFORMANCE_TIER", "fast")];
        let wrong = FastConsumerConfig::from_environment(|name| {
            variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
        });
        let wrong = wrong.unwrap_err();
        for part in ["nowhere", "CONSUMER_TICK_MS", "CONSUMER_PERFORMANCE_TIER", "CONSUMER_GROUP_ID"] {
            assert!(wrong.0.iter().any(|line| line.contains(part)), "{part}: {wrong}");
        }
        assert_eq!(wrong.0.len(), 4, "{wrong}");
    }

    #[test]
    fn what_would_lose_records_cannot_be_set_and_passwords_are_not_printed() {
        let build = |name: &str| FastConsumerConfig::builder("a:1", "g").property(name, "x").build();
        assert!(build("enable.auto.commit").unwrap_err().to_string().contains("settled"));
        let shown = format!("{:?}", build("sasl.password").unwrap());
        assert!(shown.contains("sasl.password") && !shown.contains("\"x\""), "{shown}");
        assert!(FastConsumerConfig::from_yaml(&format!("{HEAD}  batchsize: 3\n")).is_err());
    }

    #[test]
    fn librdkafka_accepts_the_settings_of_every_tier_and_assignor() {
        for tier in [
            ConsumerTier::Stream,
            ConsumerTier::Standard,
            ConsumerTier::Buffered { batch_size: 7 },
            ConsumerTier::Dedicated,
        ] {
            for assignor in [Assignor::Cooperative, Assignor::Eager, Assignor::Consumer] {
                let config = FastConsumerConfig::builder("a:1", "g").tier(tier).assignor(assignor).build().unwrap();
                config.client_config().create_native_config().unwrap();
            }
        }
    }
}
