//! What the table's use costs, counted from what DynamoDB says of each call.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// The operations that the ledger uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// One item read.
    GetItem,
    /// Up to 100 items read.
    BatchGetItem,
    /// A page of a list.
    Query,
    /// A commit of a single item.
    PutItem,
    /// A counted attempt.
    UpdateItem,
    /// A commit.
    TransactWriteItems,
}

impl Operation {
    /// Every one, reads first.
    pub const ALL: [Self; 6] =
        [Self::GetItem, Self::BatchGetItem, Self::Query, Self::PutItem, Self::UpdateItem, Self::TransactWriteItems];

    /// AWS's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetItem => "GetItem",
            Self::BatchGetItem => "BatchGetItem",
            Self::Query => "Query",
            Self::PutItem => "PutItem",
            Self::UpdateItem => "UpdateItem",
            Self::TransactWriteItems => "TransactWriteItems",
        }
    }

    /// Whether it consumes write units rather than read units.
    pub fn writes(self) -> bool {
        matches!(self, Self::PutItem | Self::UpdateItem | Self::TransactWriteItems)
    }
}

/// What one operation consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Consumed {
    /// Answered calls.
    pub calls: u64,
    /// Capacity units: read units for reads, write units for writes.
    pub units: f64,
}

/// What was consumed since the ledger was made. DynamoDB tells it of calls that succeed; a condition that fails costs a
/// write as well, which no answer tells, so the table's CloudWatch metric may be higher.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CapacitySnapshot {
    /// In the order of [`Operation::ALL`].
    by_operation: [Consumed; Operation::ALL.len()],
}

impl CapacitySnapshot {
    /// What one operation consumed.
    pub fn of(&self, operation: Operation) -> Consumed {
        self.by_operation[operation as usize]
    }

    /// Read units of all operations.
    pub fn read_units(&self) -> f64 {
        self.units(false)
    }

    /// Write units of all operations.
    pub fn write_units(&self) -> f64 {
        self.units(true)
    }

    fn units(&self, writes: bool) -> f64 {
        Operation::ALL.into_iter().filter(|op| op.writes() == writes).map(|op| self.of(op).units).sum()
    }
}

/// Counts, from any number of threads.
#[derive(Debug, Default)]
pub(super) struct CapacityCounter {
    by_operation: [(AtomicU64, AtomicU64); Operation::ALL.len()],
}

impl CapacityCounter {
    /// Counts one answered call.
    pub(super) fn count<'a>(&self, operation: Operation, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units: f64 = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        let (calls, tenths) = &self.by_operation[operation as usize];
        calls.fetch_add(1, Ordering::Relaxed);
        // Capacity comes in halves; a whole number of tenths holds them exactly and adds without a lock.
        tenths.fetch_add((units * 10.0).round() as u64, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(super) fn snapshot(&self) -> CapacitySnapshot {
        CapacitySnapshot {
            by_operation: Operation::ALL.map(|operation| {
                let (calls, tenths) = &self.by_operation[operation as usize];
                Consumed { calls: calls.load(Ordering::Relaxed), units: tenths.load(Ordering::Relaxed) as f64 / 10.0 }
            }),
        }
    }
}
