//! How far the consumers of a process have come: what the page, the API and the metrics show of them.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::questions::AskError;

/// What a consumer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerState {
    /// It polls, or a batch is under way.
    Running,
    /// The last batch failed; it waits before it sends it again.
    BackingOff,
    /// It is not polling.
    Stopped,
}

impl ConsumerState {
    /// For a person.
    pub fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::BackingOff => "backing off",
            Self::Stopped => "stopped",
        }
    }
}

/// How far a consumer has come in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionProgress {
    /// Counted from 0.
    pub partition: i32,
    /// The offset of the next record that it wants; `None` before the first commit.
    pub committed: Option<i64>,
    /// The offset that the next record will get.
    pub end: i64,
    /// Records not yet settled.
    pub lag: i64,
    /// For how long the oldest of them has waited, in milliseconds.
    pub lag_ms: u64,
}

/// One consumer: a function behind a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerStatus {
    /// Unique among the consumers.
    pub name: String,
    /// What it reads.
    pub topic: String,
    /// Whose offsets it commits.
    pub group: String,
    /// What it calls.
    pub function: String,
    /// What it is doing.
    pub state: ConsumerState,
    /// For how long it has not been able to read its topic, in milliseconds; 0 where it can. The lag is that of before.
    pub silent_ms: u64,
    /// In the order of partitions.
    pub partitions: Vec<PartitionProgress>,
    /// Since the start of the process, over all tenants; not shown to a caller that sees one tenant.
    pub work: Option<ConsumerWork>,
}

impl ConsumerStatus {
    /// Records not yet settled, over all partitions.
    pub fn lag(&self) -> i64 {
        self.partitions.iter().map(|partition| partition.lag).sum()
    }

    /// For how long it has not been able to read its topic.
    pub fn silent(&self) -> Duration {
        Duration::from_millis(self.silent_ms)
    }

    /// For how long the oldest record has waited that is not settled.
    pub fn waited(&self) -> Duration {
        let longest = self.partitions.iter().map(|partition| partition.lag_ms).max();
        Duration::from_millis(longest.unwrap_or_default())
    }
}

/// What a consumer has done since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConsumerWork {
    /// Batches that were handed to the function.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Batches that came back with at least one failure.
    pub failed_batches: u64,
    /// Why the last of them failed.
    pub last_error: Option<String>,
}

/// The consumers of the process, which are event source mappings where it runs those.
#[async_trait]
pub trait Consumers: Send + Sync {
    /// Every consumer, by name.
    async fn status(&self) -> Result<Vec<ConsumerStatus>, AskError>;
}
