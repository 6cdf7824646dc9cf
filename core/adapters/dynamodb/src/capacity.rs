//! What the table's use costs, counted from what DynamoDB says of each call.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::types::ConsumedCapacity;

use lyceum_core::capacity::Access;
use lyceum_core::catalog::FamilySpec;
use lyceum_core::metrics::Metrics;

/// The operations that the ledger uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// One item read.
    GetItem,
    /// Up to 100 items read.
    BatchGetItem,
    /// Up to 100 items read as one.
    TransactGetItems,
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
    pub const ALL: [Self; 7] = [
        Self::GetItem,
        Self::BatchGetItem,
        Self::TransactGetItems,
        Self::Query,
        Self::PutItem,
        Self::UpdateItem,
        Self::TransactWriteItems,
    ];

    /// AWS's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetItem => "GetItem",
            Self::BatchGetItem => "BatchGetItem",
            Self::TransactGetItems => "TransactGetItems",
            Self::Query => "Query",
            Self::PutItem => "PutItem",
            Self::UpdateItem => "UpdateItem",
            Self::TransactWriteItems => "TransactWriteItems",
        }
    }

    /// Whether it consumes write units or read units.
    pub fn access(self) -> Access {
        match self {
            Self::GetItem | Self::BatchGetItem | Self::TransactGetItems | Self::Query => Access::Read,
            Self::PutItem | Self::UpdateItem | Self::TransactWriteItems => Access::Write,
        }
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
        self.units(Access::Read)
    }

    /// Write units of all operations.
    pub fn write_units(&self) -> f64 {
        self.units(Access::Write)
    }

    /// What was consumed since an earlier look.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self::default();
        for operation in Operation::ALL {
            let (now, then) = (self.of(operation), earlier.of(operation));
            since.by_operation[operation as usize] =
                Consumed { calls: now.calls - then.calls, units: now.units - then.units };
        }
        since
    }

    fn add(&mut self, operation: Operation, units: f64) {
        let consumed = &mut self.by_operation[operation as usize];
        consumed.calls += 1;
        // Capacity comes in halves, which add exactly.
        consumed.units += units;
    }

    fn units(&self, access: Access) -> f64 {
        Operation::ALL.into_iter().filter(|op| op.access() == access).map(|op| self.of(op).units).sum()
    }
}

/// Counts, from any number of threads, and tells the metrics.
#[derive(Debug, Default)]
pub(super) struct CapacityCounter {
    counted: Mutex<Counted>,
    metrics: Option<Arc<Metrics>>,
    /// By kind of aggregate.
    families: HashMap<&'static str, &'static str>,
}

#[derive(Debug, Default)]
struct Counted {
    all: CapacitySnapshot,
    by_family: BTreeMap<String, CapacitySnapshot>,
}

impl CapacityCounter {
    /// Tells the metrics, also for which of these families.
    pub(super) fn telling(metrics: Arc<Metrics>, families: &[&'static FamilySpec]) -> Self {
        let kinds = families.iter().flat_map(|family| family.kinds.iter().map(|kind| (*kind, family.name)));
        Self { metrics: Some(metrics), families: kinds.collect(), ..Self::default() }
    }

    /// The family that has aggregates of that kind, where it is known.
    pub(super) fn family_of(&self, kind: &str) -> Option<&'static str> {
        self.families.get(kind).copied()
    }

    /// Counts one answered call, for a family where it concerns one.
    pub(super) fn count<'a>(
        &self,
        operation: Operation,
        family: Option<&str>,
        consumed: impl IntoIterator<Item = &'a ConsumedCapacity>,
    ) {
        let units: f64 = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        if let Some(metrics) = &self.metrics {
            metrics.add_capacity_units(operation.name(), operation.access(), family, units);
        }
        let mut counted = self.counted();
        counted.all.add(operation, units);
        let Some(family) = family else { return };
        match counted.by_family.get_mut(family) {
            Some(known) => known.add(operation, units),
            None => counted.by_family.entry(family.to_owned()).or_default().add(operation, units),
        }
    }

    /// What was counted so far.
    pub(super) fn all(&self) -> CapacitySnapshot {
        self.counted().all.clone()
    }

    /// What was counted so far, by family.
    pub(super) fn by_family(&self) -> BTreeMap<String, CapacitySnapshot> {
        self.counted().by_family.clone()
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
