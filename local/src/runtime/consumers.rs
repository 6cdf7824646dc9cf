//! The event source mappings, as the page and the API ask for them.

use std::sync::Arc;

use async_trait::async_trait;
use lyceum_event_source_mapping::{EventSourceMapping, MappingState, MappingStatus, PartitionStatus};
use lyceum_server::consumers::{ConsumerState, ConsumerStatus, ConsumerWork, Consumers, PartitionProgress};
use lyceum_server::questions::AskError;

pub(super) struct Mappings(pub(super) Vec<Arc<EventSourceMapping>>);

#[async_trait]
impl Consumers for Mappings {
    async fn status(&self) -> Result<Vec<ConsumerStatus>, AskError> {
        let mut consumers: Vec<_> = self.0.iter().map(|mapping| shown(mapping.status())).collect();
        consumers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(consumers)
    }
}

fn shown(status: MappingStatus) -> ConsumerStatus {
    let partition = |of: &PartitionStatus| PartitionProgress {
        partition: of.partition,
        committed: Some(of.committed),
        end: of.end,
        lag: of.lag,
        lag_ms: of.lag_ms,
    };
    ConsumerStatus {
        state: match status.state {
            MappingState::Starting | MappingState::Running => ConsumerState::Running,
            MappingState::Failing { .. } => ConsumerState::BackingOff,
            MappingState::Paused | MappingState::Stopped => ConsumerState::Stopped,
        },
        silent_ms: status.silent_ms,
        partitions: status.partitions.iter().map(partition).collect(),
        work: Some(ConsumerWork {
            batches: status.counts.batches,
            records: status.counts.records_delivered,
            failed_batches: status.counts.failed_again + status.counts.function_errors,
            last_error: status.last_error.map(|error| error.message),
        }),
        name: status.name,
        topic: status.topic,
        group: status.group,
        function: status.function,
    }
}
