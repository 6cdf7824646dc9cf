//! A topic as its row in the file has it.

use std::time::Duration;

use redb::ReadableTable;

use super::store::{Failure, TopicRow};
use lyceum_core::ports::event_log::{EventLogError, Retention, TopicSpec, rules};

#[derive(Clone, Copy)]
pub(super) struct Topic {
    pub(super) id: u32,
    pub(super) partitions: i32,
    pub(super) retention: Retention,
}

impl From<TopicRow> for Topic {
    fn from((id, partitions, age_ns, bytes): TopicRow) -> Self {
        Self { id, partitions, retention: Retention { age: age_ns.map(Duration::from_nanos_u128), bytes } }
    }
}

impl Topic {
    /// The topic of that name.
    pub(super) fn find(topics: &impl ReadableTable<&'static str, TopicRow>, name: &str) -> Result<Self, Failure> {
        match topics.get(name)? {
            Some(row) => Ok(row.value().into()),
            None => Err(EventLogError::UnknownTopic(name.to_owned()).into()),
        }
    }

    /// The topic of that name, if it has that partition.
    pub(super) fn find_partition(
        topics: &impl ReadableTable<&'static str, TopicRow>,
        name: &str,
        partition: i32,
    ) -> Result<Self, Failure> {
        let topic = Self::find(topics, name)?;
        rules::check_partition(name, partition, topic.partitions)?;
        Ok(topic)
    }

    pub(super) fn into_spec(self, name: &str) -> TopicSpec {
        TopicSpec { name: name.to_owned(), partitions: self.partitions, retention: self.retention }
    }
}
