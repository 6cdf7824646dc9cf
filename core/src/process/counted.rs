//! The effect *counted*: documents, and numbers of those that are stored by their own record.
//!
//! A number is kept for each partition apart, as an aggregate of its own with the offset up to which it holds: what stands at or
//! before that offset is counted in it. It is committed on the condition that nobody wrote it since it was read, so that a
//! redelivery, or a worker that should be gone, counts nothing again. An event that came before from another record is no new
//! document, and is not counted. From the first record of a partition that is redelivered on, all are, so that no offset is passed
//! that is not counted.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::format_smolstr;

use super::batch::{Batch, Disposition};
use super::documents::applied;
use super::keyed::read_state;
use super::show::with_view;
use super::{Apply, Invocation, Item, ProcessConfig, Services, Shell};
use crate::catalog::Catalog;
use crate::effects::Counted;
use crate::family::{AggregateRef, AggregateState};
use crate::outcome::Outcome;
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{AggregateId, AggregateWrite, Content, LedgerError, MAX_ACTIONS, MAX_COMMIT_BYTES};
use crate::record::Position;

/// Numbers of topics with more partitions are not found again when they are read: such a record is held back, and says so.
pub(super) const MAX_PARTITIONS: i32 = 64;

/// So many transactions of one partition's rows are under way at once.
const PARTS_AT_ONCE: usize = 8;

const PANICKED: &str = "the program failed while counting this event; report it with the record's bytes";

/// Stores documents, and counts them.
pub struct CountedProcessor<C: Counted> {
    shell: Shell<C::Event>,
    ledger: PlacedLedger,
}

/// Numbers of one partition, as they are kept.
#[derive(Serialize, Deserialize)]
struct Row<N> {
    /// The offset up to which they hold.
    through: i64,
    numbers: N,
}

/// What is to be counted in one row: events by their places in the batch, in the order of their offsets.
type Rows = BTreeMap<AggregateId, (AggregateRef, Vec<usize>)>;

impl<C: Counted> CountedProcessor<C> {
    /// A processor of the family's records.
    pub fn new(services: Services, catalog: Arc<Catalog>, config: ProcessConfig) -> Self {
        let ledger = PlacedLedger::of(C::SUBSCRIPTION, &services.ledger, config.home_keys);
        Self { shell: Shell::new(C::SUBSCRIPTION, services.into(), catalog, config, Some(C::document)), ledger }
    }

    /// Counts what is stored, partition by partition.
    async fn count_batch(&self, batch: &mut Batch<'_, C::Event>, invocation: &Invocation) {
        let mut partitions: BTreeMap<(Arc<str>, i32), Vec<usize>> = BTreeMap::new();
        for (index, entry) in batch.entries.iter().enumerate() {
            let Position { topic, partition, .. } = &entry.report.position;
            partitions.entry((Arc::clone(topic), *partition)).or_default().push(index);
        }
        for mut indexes in partitions.into_values() {
            indexes.sort_by_key(|&index| batch.entries[index].report.position.offset);
            self.count_partition(batch, &indexes, invocation).await;
        }
    }

    async fn count_partition(&self, batch: &mut Batch<'_, C::Event>, indexes: &[usize], invocation: &Invocation) {
        let mut rows = Rows::new();
        let mut counted = 0;
        for &index in indexes {
            let entry = &batch.entries[index];
            let is_redelivered = match entry.disposition {
                Disposition::Redeliver { .. } | Disposition::Undecided | Disposition::Missing(_) => true,
                Disposition::Tombstone
                | Disposition::Unwanted
                | Disposition::Emit(_)
                | Disposition::LikeFirst { .. } => false,
            };
            if is_redelivered {
                break;
            }
            let is_new = matches!(&entry.disposition, Disposition::Emit(of) if of.outcome == Outcome::Applied);
            let Some(item) = entry.item.as_ref().filter(|_| is_new) else {
                counted += 1;
                continue;
            };
            if entry.report.position.partition >= MAX_PARTITIONS {
                let reason = format!("numbers are kept of {MAX_PARTITIONS} partitions of a topic");
                batch.entries[index].disposition = Disposition::redeliver(reason);
                break;
            }
            // What panics here holds its partition until a release counts it: nothing is passed over.
            let Ok(counters) = catch_unwind(AssertUnwindSafe(|| C::counters(&item.event))) else {
                batch.entries[index].disposition = Disposition::redeliver(PANICKED);
                break;
            };
            counted += 1;
            for counter in counters {
                let id = row_id(&item.envelope.tenant, &counter, &entry.report.position);
                let (_, events) = rows.entry(id).or_insert_with(|| (counter, Vec::new()));
                events.push(index);
            }
        }
        let failed = self.count_rows(batch, rows, invocation).await;
        // From the first failure on everything is redelivered; what is counted already is known by its row's offset.
        let offset = |index: usize| batch.entries[index].report.position.offset;
        if let Some((first, reason)) = failed.into_iter().min_by_key(|(index, _)| offset(*index)) {
            batch.entries[first].disposition = Disposition::redeliver(reason);
            counted = indexes.iter().position(|&index| index == first).unwrap_or(0);
        }
        let Some(&first) = indexes.get(counted) else { return };
        let behind = format!("waits behind {}", batch.entries[first].report.position);
        for &index in &indexes[counted + 1..] {
            batch.entries[index].disposition = Disposition::redeliver(&*behind);
        }
    }

    /// Counts in each row; of the rows that could not be written, the first event and why. Rows know nothing of each other, so that
    /// several transactions are under way at once.
    async fn count_rows(
        &self,
        batch: &Batch<'_, C::Event>,
        rows: Rows,
        invocation: &Invocation,
    ) -> Vec<(usize, String)> {
        let rows: Vec<_> = rows.into_iter().collect();
        let mut parts = Vec::with_capacity(rows.len().div_ceil(MAX_ACTIONS));
        for part in rows.chunks(MAX_ACTIONS) {
            parts.push(self.count_part(batch, part, invocation));
        }
        let failed: Vec<_> = futures::stream::iter(parts).buffer_unordered(PARTS_AT_ONCE).collect().await;
        failed.concat()
    }

    async fn count_part(
        &self,
        batch: &Batch<'_, C::Event>,
        mut left: &[(AggregateId, (AggregateRef, Vec<usize>))],
        invocation: &Invocation,
    ) -> Vec<(usize, String)> {
        let mut attempts = invocation.commit_attempts();
        while !left.is_empty() {
            match self.count_some(batch, left, invocation).await {
                Ok(covered) => left = &left[covered..],
                Err(error) if attempts.again_after(&error).await => {}
                Err(error) => {
                    let firsts = left.iter().filter_map(|(_, (_, events))| events.first());
                    return firsts.map(|&first| (first, error.to_string())).collect();
                }
            }
        }
        Vec::new()
    }

    /// Counts in as many of the rows, in order, as one transaction takes; how many these are.
    async fn count_some(
        &self,
        batch: &Batch<'_, C::Event>,
        rows: &[(AggregateId, (AggregateRef, Vec<usize>))],
        invocation: &Invocation,
    ) -> Result<usize, LedgerError> {
        let ids: Vec<AggregateId> = rows.iter().map(|(id, _)| id.clone()).collect();
        let stored = invocation.in_time(LedgerError::Unavailable, self.ledger.read(&ids)).await?;
        let (mut writes, mut bytes, mut covered) = (Vec::new(), 0, 0);
        for ((id, (counter, events)), stored) in rows.iter().zip(stored) {
            let expected = stored.as_ref().map(|of| of.version);
            let held = stored.and_then(|of| of.content.state);
            let items = events.iter().filter_map(|&index| batch.entries[index].item.as_ref());
            let row = self.count_row(id, held.as_ref(), counter, items, invocation)?;
            bytes += row.as_ref().map_or(0, Bytes::len);
            if !fits(bytes, covered) {
                break;
            }
            covered += 1;
            if let Some(row) = row {
                writes.push(AggregateWrite { id: id.clone(), expected, content: Some(Content::of(row)) });
            }
        }
        if !writes.is_empty() {
            invocation.in_time(LedgerError::Uncertain, self.ledger.commit_aggregates(writes)).await?;
        }
        Ok(covered)
    }

    /// The row with these events counted; `None` where it has them already.
    fn count_row<'b, 'a: 'b>(
        &self,
        id: &AggregateId,
        held: Option<&Bytes>,
        counter: &AggregateRef,
        items: impl Iterator<Item = &'b Item<'a, C::Event>>,
        invocation: &Invocation,
    ) -> Result<Option<Bytes>, LedgerError> {
        let mut row = read_state(id, held)?.unwrap_or(Row { through: -1, numbers: C::Numbers::default() });
        let before = row.through;
        for item in items {
            if item.record.position.offset > before {
                let at = item.occurrence(invocation.now_ms());
                catch_unwind(AssertUnwindSafe(|| C::count(&mut row.numbers, counter, &item.event, &at)))
                    .map_err(|_| LedgerError::Refused(PANICKED.into()))?;
                row.through = item.record.position.offset;
            }
        }
        if row.through == before {
            return Ok(None);
        }
        let written = serde_json::to_vec(&row)
            .map_err(|error| LedgerError::Refused(format!("the numbers of {id} cannot be written: {error}")))?;
        Ok(Some(written.into()))
    }
}

/// Where a counter's numbers of one tenant and partition are.
pub fn row_id(tenant: &str, counter: &AggregateRef, at: &Position) -> AggregateId {
    let id = format_smolstr!("{}/{}/{}", at.topic, at.partition, counter.id);
    AggregateId { tenant: tenant.into(), kind: counter.kind.into(), id }
}

#[async_trait]
impl<C: Counted> Apply for CountedProcessor<C> {
    type Event = C::Event;

    fn shell(&self) -> &Shell<C::Event> {
        &self.shell
    }

    async fn apply(&self, batch: &mut Batch<'_, C::Event>, invocation: &Invocation) {
        batch.decide_each(applied);
        self.shell.emit(batch, invocation).await;
        self.count_batch(batch, invocation).await;
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        let Some(&kind) = C::SPEC.kinds.iter().find(|of| **of == kind) else { return Ok(None) };
        let counter = AggregateRef { kind, id: id.into() };
        let partitions = self
            .shell
            .subscription
            .topics()
            .flat_map(|topic| (0..MAX_PARTITIONS).map(move |partition| Position::new(topic, partition, 0)));
        let ids: Vec<AggregateId> = partitions.map(|at| row_id(tenant, &counter, &at)).collect();
        let mut numbers: Option<C::Numbers> = None;
        for (id, stored) in ids.iter().zip(self.ledger.read(&ids).await?) {
            let Some(stored) = stored else { continue };
            let Some(row) = read_state::<Row<C::Numbers>>(id, stored.content.state.as_ref())? else { continue };
            match &mut numbers {
                Some(numbers) => C::merge(numbers, &row.numbers),
                None => numbers = Some(row.numbers),
            }
        }
        let shown = json!({"kind": kind, "id": id, "tenant": tenant});
        Ok(numbers.map(|numbers| with_view(shown, numbers.view(&[]))))
    }
}

/// Whether a further row, with which those of a transaction have so many bytes, stands beside those that it has already. The first
/// one always does: a row that is too large is the store's to refuse, or this would never end.
fn fits(bytes: usize, covered: usize) -> bool {
    covered == 0 || bytes <= MAX_COMMIT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_takes_rows_up_to_its_bytes_and_always_one() {
        assert!(fits(MAX_COMMIT_BYTES, 1) && !fits(MAX_COMMIT_BYTES + 1, 1) && fits(MAX_COMMIT_BYTES + 1, 0));
    }
}
