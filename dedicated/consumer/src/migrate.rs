//! From rdkafka's consumers to one of this crate.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::util::AsyncRuntime;

use crate::codec::Serde;
use crate::config::{Assignor, ConsumerTier, FastConsumerConfig, OffsetReset};
use crate::consumer::Consumer;
use crate::error::ConsumerError;
use crate::native;

/// Makes a fast consumer of one of rdkafka's.
///
/// A `StreamConsumer` cannot be unwrapped: its `BaseConsumer` is private and shared with a task of its own, and its context answers
/// rebalances inside the callback, before partitions could be forwarded. So this reads what the client was set to and
/// subscribed to, has it leave the group, and joins the same group anew. What is committed counts; records that the old consumer
/// had fetched and not committed come again. Callbacks of its context, and assignments without a group, are not carried over.
pub trait IntoFastConsumer: Sized {
    /// What a fast consumer would be told: the settings of this one, where they are not librdkafka's defaults, and its topics.
    ///
    /// # Errors
    /// Where it has no group, or a setting that cannot be.
    fn fast_config(&self, tier: ConsumerTier) -> Result<FastConsumerConfig, ConsumerError>;

    /// The fast consumer. Waits until the old one has left the group.
    ///
    /// # Errors
    /// As of [`IntoFastConsumer::fast_config`], and of [`Consumer::with_config`].
    fn into_fast_consumer<K: Serde, V: Serde>(
        self,
        tier: ConsumerTier,
        key: K,
        value: V,
    ) -> Result<Consumer<K, V>, ConsumerError> {
        let config = self.fast_config(tier)?;
        drop(self);
        Consumer::with_config(&config, key, value)
    }
}

impl<C: ConsumerContext + 'static, R: AsyncRuntime> IntoFastConsumer for StreamConsumer<C, R> {
    fn fast_config(&self, tier: ConsumerTier) -> Result<FastConsumerConfig, ConsumerError> {
        config_of(native::settings_of(self.client()), topics_of(self.subscription())?, tier)
    }
}

impl<C: ConsumerContext + 'static> IntoFastConsumer for BaseConsumer<C> {
    fn fast_config(&self, tier: ConsumerTier) -> Result<FastConsumerConfig, ConsumerError> {
        config_of(native::settings_of(self.client()), topics_of(self.subscription())?, tier)
    }
}

fn topics_of(subscription: KafkaResult<TopicPartitionList>) -> Result<Vec<String>, ConsumerError> {
    match subscription {
        Ok(list) => Ok(list.elements().iter().map(|topic| topic.topic().to_owned()).collect()),
        // One without a group is refused with the rest of what is wrong.
        Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownGroup)) => Ok(Vec::new()),
        Err(error) => Err(ConsumerError::kafka("to read the subscription")(error)),
    }
}

/// The settings of a client in this crate's words. Pure.
fn config_of(
    settings: Vec<(String, String)>,
    topics: Vec<String>,
    tier: ConsumerTier,
) -> Result<FastConsumerConfig, ConsumerError> {
    let mut config = FastConsumerConfig::new("", "");
    config.performance_tier = Some(tier);
    config.topics = topics;
    // librdkafka's own defaults, which a setting that is not given stands for.
    config.auto_offset_reset = OffsetReset::Latest;
    config.assignor = Assignor::Eager;
    config.session_timeout_ms = 45_000;
    for (name, value) in settings {
        let whole = || value.parse::<u64>().unwrap_or_default();
        match name.as_str() {
            "bootstrap.servers" | "metadata.broker.list" => config.brokers = value,
            "group.id" => config.group_id = value,
            "group.instance.id" => config.group_instance_id = Some(value),
            "client.id" => config.client_id = value,
            "group.protocol" if value == "consumer" => config.assignor = Assignor::Consumer,
            "partition.assignment.strategy" => {
                if value.contains("cooperative") && config.assignor != Assignor::Consumer {
                    config.assignor = Assignor::Cooperative;
                }
            }
            "auto.offset.reset" => {
                config.auto_offset_reset = match value.as_str() {
                    "smallest" | "earliest" | "beginning" => OffsetReset::Earliest,
                    "error" => OffsetReset::Error,
                    _ => OffsetReset::Latest,
                };
            }
            "isolation.level" => config.read_uncommitted = value == "read_uncommitted",
            "session.timeout.ms" => config.session_timeout_ms = whole(),
            "max.poll.interval.ms" => config.max_poll_interval_ms = whole(),
            "auto.commit.interval.ms" => config.commit_interval_ms = whole(),
            // What this crate says itself, and what only callbacks have a use for.
            "enable.auto.commit"
            | "enable.auto.offset.store"
            | "enable.partition.eof"
            | "group.protocol"
            | "heartbeat.interval.ms"
            | "allow.auto.create.topics"
            | "auto.commit.enable"
            | "client.software.name"
            | "client.software.version"
            | "log_level" => {}
            _ => {
                config.properties.insert(name, value);
            }
        }
    }
    if config.patience_ms >= config.max_poll_interval_ms {
        config.patience_ms = config.max_poll_interval_ms / 2;
    }
    config.check()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn what_a_client_was_set_to_is_carried_over() {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", "localhost:1")
            .set("group.id", "old")
            .set("client.id", "mine")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "true")
            .set("session.timeout.ms", "7000")
            .set("max.poll.interval.ms", "8000")
            .set("isolation.level", "read_uncommitted")
            .set("sasl.username", "alice")
            .set("fetch.wait.max.ms", "77")
            .create()
            .unwrap();
        client.subscribe(&["a", "b"]).unwrap();
        let config = client.fast_config(ConsumerTier::Standard).unwrap();
        assert_eq!((config.brokers.as_str(), config.group_id.as_str()), ("localhost:1", "old"));
        assert_eq!(config.client_id, "mine");
        assert_eq!(config.topics, ["a", "b"]);
        assert_eq!((config.assignor, config.auto_offset_reset), (Assignor::Cooperative, OffsetReset::Earliest));
        assert_eq!((config.session_timeout_ms, config.max_poll_interval_ms, config.patience_ms), (7_000, 8_000, 4_000));
        assert!(config.read_uncommitted);
        let properties: Vec<_> =
            config.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(properties, [("fetch.wait.max.ms", "77"), ("sasl.username", "alice")]);
        // librdkafka accepts it all again.
        let again: BaseConsumer = config.client_config().create().unwrap();
        drop(again);
    }

    #[test]
    fn a_client_without_a_group_has_no_fast_one() {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", "localhost:1").create().unwrap();
        let wrong = client.fast_config(ConsumerTier::Standard).unwrap_err();
        assert!(wrong.to_string().contains("group_id"), "{wrong}");
    }
}
