//! Topics: made, grown and listed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::client::Context;
use super::settings::KafkaSettings;
use lyceum_core::ports::event_log::{Retention, TopicSpec};

const AGE: &str = "retention.ms";
const BYTES: &str = "retention.bytes";
const RECORD: &str = "max.message.bytes";
/// Between two looks at what was changed.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The client that may change the cluster.
pub(super) struct Administration {
    client: AdminClient<Context>,
    replication_factor: i32,
    max_record_bytes: String,
    limit: Duration,
}

impl Administration {
    pub(super) fn start(config: &ClientConfig, settings: &KafkaSettings, context: Context) -> KafkaResult<Self> {
        Ok(Self {
            client: AdminClient::from_config_and_context(config, context)?,
            // -1 is the brokers' default.
            replication_factor: settings.replication_factor.map_or(-1, i32::from),
            max_record_bytes: settings.max_record_bytes.to_string(),
            limit: settings.timeout,
        })
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.limit)).operation_timeout(Some(self.limit))
    }

    /// Makes a topic; false where there is one of that name.
    pub(super) async fn create(&self, spec: &TopicSpec) -> KafkaResult<bool> {
        let (age, bytes) = (age_of(spec.retention), bytes_of(spec.retention));
        let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(self.replication_factor))
            .set(AGE, &age)
            .set(BYTES, &bytes)
            .set(RECORD, &self.max_record_bytes);
        match single(self.client.create_topics([&topic], &self.options()).await?) {
            Ok(()) => Ok(true),
            Err(Code::TopicAlreadyExists) => Ok(false),
            Err(code) => Err(KafkaError::AdminOp(code)),
        }
    }

    /// Adds partitions up to that number.
    pub(super) async fn grow(&self, topic: &str, partitions: i32) -> KafkaResult<()> {
        let partitions = NewPartitions::new(topic, partitions.unsigned_abs() as usize);
        single(self.client.create_partitions([&partitions], &self.options()).await?).map_err(KafkaError::AdminOp)
    }

    /// Takes over the retention, where it is another one, and waits until the broker tells it: it answers a change before it
    /// has applied it, and what it tells meanwhile is the old one.
    pub(super) async fn retain(&self, topic: &str, retention: Retention) -> KafkaResult<()> {
        let configs = self.describe(&[topic]).await?;
        let Some(config) = configs.get(topic) else { return Ok(()) };
        if retention_of(config) == retention {
            return Ok(());
        }
        // This request sets everything that a topic has of its own: what is not named here would be reset.
        let (age, bytes) = (age_of(retention), bytes_of(retention));
        let own = config.entries.iter().filter(|entry| {
            matches!(entry.source, ConfigSource::DynamicTopic) && entry.name != AGE && entry.name != BYTES
        });
        let own = own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)));
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(AGE, &age).set(BYTES, &bytes);
        let change = own.fold(change, |change, (name, value)| change.set(name, value));
        for altered in self.client.alter_configs([&change], &self.options()).await? {
            altered.map_err(|(_, code)| KafkaError::AdminOp(code))?;
        }
        let deadline = Instant::now() + self.limit;
        while self.retentions(&[topic]).await?.get(topic).is_some_and(|told| *told != retention) {
            if Instant::now() >= deadline {
                return Err(KafkaError::AdminOp(Code::OperationTimedOut));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// The retention of each of the topics.
    pub(super) async fn retentions(&self, topics: &[&str]) -> KafkaResult<HashMap<String, Retention>> {
        let configs = self.describe(topics).await?;
        Ok(configs.into_iter().map(|(name, config)| (name, retention_of(&config))).collect())
    }

    /// The largest batch of records that the topic takes.
    pub(super) async fn max_batch_bytes(&self, topic: &str) -> KafkaResult<Option<usize>> {
        let configs = self.describe(&[topic]).await?;
        let value = configs.get(topic).and_then(|config| config.get(RECORD)?.value.clone());
        Ok(value.and_then(|value| value.parse().ok()))
    }

    async fn describe(&self, topics: &[&str]) -> KafkaResult<HashMap<String, ConfigResource>> {
        let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        if resources.is_empty() {
            return Ok(HashMap::new());
        }
        let mut found = HashMap::new();
        for resource in self.client.describe_configs(&resources, &self.options()).await? {
            let resource = match resource {
                Ok(resource) => resource,
                // A topic that was deleted meanwhile.
                Err(Code::UnknownTopicOrPartition) => continue,
                Err(code) => return Err(KafkaError::AdminOp(code)),
            };
            if let OwnedResourceSpecifier::Topic(name) = &resource.specifier {
                found.insert(name.clone(), resource);
            }
        }
        Ok(found)
    }
}

fn single(results: Vec<Result<String, (String, Code)>>) -> Result<(), Code> {
    results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code))
}

/// Milliseconds; -1 is for ever.
fn age_of(retention: Retention) -> String {
    let age = retention.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    age.unwrap_or(-1).to_string()
}

/// Bytes; -1 is without limit.
fn bytes_of(retention: Retention) -> String {
    retention.bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)).to_string()
}

fn retention_of(config: &ConfigResource) -> Retention {
    let number = |name| {
        let value = config.get(name).and_then(|entry| entry.value.as_deref()?.parse::<i64>().ok());
        value.and_then(|value| u64::try_from(value).ok())
    };
    Retention { age: number(AGE).map(Duration::from_millis), bytes: number(BYTES) }
}
