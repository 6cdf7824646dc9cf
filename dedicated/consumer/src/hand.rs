//! What is in hand: records that were handed out and are not settled, bounded in number and bytes; and who may still settle.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Instant;

use parking_lot::Mutex;

use crate::native::Bell;
use crate::settled::Settled;

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub number: i32,
}

impl Partition {
    /// Of a topic.
    pub fn new(topic: impl Into<Arc<str>>, number: i32) -> Self {
        Self { topic: topic.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// What is in hand of one partition, from its assignment on.
struct Held {
    partition: Partition,
    /// Which assignment it is; 0 while it is not assigned. Whoever settles names the one under which it got the record.
    epoch: u64,
    /// It is being revoked: nothing more is handed out.
    is_leaving: bool,
    settled: Settled,
    /// Records handed out that are neither settled nor given back.
    open: usize,
    /// What the broker has confirmed.
    committed: Option<i64>,
    /// When something was given back, that is to be read again.
    returned_at: Option<Instant>,
    /// From where all is to be read again; nothing is handed out before.
    rewound_to: Option<i64>,
}

#[derive(Default)]
struct State {
    held: Vec<Held>,
    places: HashMap<Partition, usize>,
    epochs: u64,
    /// Records in hand, over all partitions.
    records: usize,
    /// Their bytes, as long as they are kept.
    bytes: usize,
    /// The member waits for room, or for a partition to be settled: it wants to be woken.
    is_awaited: bool,
}

/// Shared by the member, who hands out, and by those who settle.
pub(crate) struct Hand {
    state: Mutex<State>,
    bell: Arc<Bell>,
    /// Counts whatever makes a place no longer current, so that who holds many asks only then.
    changes: AtomicU64,
    max_records: usize,
    max_bytes: usize,
}

/// Where a run of records goes to.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) partition: Partition,
    slot: usize,
    epoch: u64,
}

impl Hand {
    pub(crate) fn new(bell: &Arc<Bell>, max_records: usize, max_bytes: usize) -> Arc<Self> {
        let (state, bell) = (Mutex::default(), Arc::clone(bell));
        Arc::new(Self { state, bell, changes: AtomicU64::new(0), max_records, max_bytes })
    }

    /// Grows whenever a place that was current is no more.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    fn has_changed(&self) {
        self.changes.fetch_add(1, Release);
    }

    /// How many records may be taken; 0 where there is no room. Whoever gets 0 is woken once there is.
    pub(crate) fn room(&self) -> usize {
        let mut state = self.state.lock();
        let is_full = state.records >= self.max_records || state.bytes >= self.max_bytes;
        if is_full {
            state.is_awaited = true;
            return 0;
        }
        self.max_records - state.records
    }

    /// A partition is assigned: a new epoch begins.
    pub(crate) fn assign(&self, partition: &Partition) {
        let mut state = self.state.lock();
        self.has_changed();
        let state = &mut *state;
        state.epochs += 1;
        let slot = *state.places.entry(partition.clone()).or_insert(state.held.len());
        let held = Held {
            partition: partition.clone(),
            epoch: state.epochs,
            is_leaving: false,
            settled: Settled::default(),
            open: 0,
            committed: None,
            returned_at: None,
            rewound_to: None,
        };
        match state.held.get_mut(slot) {
            Some(old) => {
                state.records -= old.open;
                *old = held;
            }
            None => state.held.push(held),
        }
    }

    /// Reading goes on elsewhere: what is in hand is no longer acknowledged. `false` where it is not assigned.
    pub(crate) fn move_to(&self, partition: &Partition) -> bool {
        let is_assigned = self.with(partition, |held| !held.is_leaving).unwrap_or(false);
        if is_assigned {
            self.assign(partition);
        }
        is_assigned
    }

    fn with<T>(&self, partition: &Partition, what: impl FnOnce(&mut Held) -> T) -> Option<T> {
        let mut state = self.state.lock();
        let slot = *state.places.get(partition)?;
        let held = &mut state.held[slot];
        (held.epoch > 0).then(|| what(held))
    }

    /// Nothing more is handed out of these.
    pub(crate) fn leave(&self, partitions: &[Partition]) {
        for partition in partitions {
            self.with(partition, |held| held.is_leaving = true);
        }
        self.has_changed();
    }

    /// What is in hand of these is no longer acknowledged; what was settled may still be committed.
    pub(crate) fn freeze(&self, partitions: &[Partition]) {
        self.let_go(partitions, |epochs| {
            *epochs += 1;
            *epochs
        });
    }

    /// Records in hand of these; where there are some, the member is woken as they are settled.
    pub(crate) fn open(&self, partitions: &[Partition]) -> usize {
        let open = partitions.iter().filter_map(|partition| self.with(partition, |held| held.open)).sum();
        self.state.lock().is_awaited |= open > 0;
        open
    }

    /// Their epoch ends: nothing of them is acknowledged any more.
    pub(crate) fn end(&self, partitions: &[Partition]) {
        self.let_go(partitions, |_| 0);
    }

    /// What is in hand of these is of no epoch that counts; the one that follows is made of the last number that was given.
    fn let_go(&self, partitions: &[Partition], next: impl Fn(&mut u64) -> u64) {
        let mut state = self.state.lock();
        self.has_changed();
        let state = &mut *state;
        for partition in partitions {
            let Some(&slot) = state.places.get(partition) else { continue };
            let held = &mut state.held[slot];
            held.epoch = next(&mut state.epochs);
            state.records -= std::mem::take(&mut held.open);
        }
    }

    /// Where records of a partition go; `None` where none may be handed out.
    pub(crate) fn place(&self, topic: &str, number: i32) -> Option<Place> {
        let partition = Partition::new(topic, number);
        let state = self.state.lock();
        let slot = *state.places.get(&partition)?;
        let held = &state.held[slot];
        let may = held.epoch > 0 && !held.is_leaving && held.rewound_to.is_none();
        may.then(|| Place { partition: held.partition.clone(), slot, epoch: held.epoch })
    }

    /// Hands out records of one partition, in order: for each where it begins to cover offsets, or `None` where it is in hand or
    /// settled already. Counts those that go out.
    pub(crate) fn hand_out(&self, place: &Place, offsets: impl Iterator<Item = i64>, starts: &mut Vec<Option<i64>>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let held = &mut state.held[place.slot];
        if held.epoch != place.epoch {
            starts.extend(offsets.map(|_| None));
            return;
        }
        let before = starts.len();
        starts.extend(offsets.map(|offset| held.settled.hand_out(offset)));
        let count = starts[before..].iter().flatten().count();
        held.open += count;
        state.records += count;
    }

    pub(crate) fn keep(self: &Arc<Self>, bytes: usize) -> Kept {
        self.state.lock().bytes += bytes;
        Kept { hand: Arc::clone(self), bytes }
    }

    /// Whether this is still the partition's assignment, and nobody takes it away.
    pub(crate) fn is_current(&self, place: &Place) -> bool {
        let state = self.state.lock();
        let held = &state.held[place.slot];
        held.epoch == place.epoch && !held.is_leaving
    }

    /// Settles `count` records that cover these offsets; `false` where the partition has been taken away since.
    fn settle(&self, place: &Place, range: Range<i64>, count: usize) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        let held = &mut state.held[place.slot];
        if held.epoch != place.epoch {
            return false;
        }
        held.settled.settle(range);
        held.open -= count;
        state.records -= count;
        self.wake(state);
        true
    }

    /// Where the watermark would be if these were settled, too, and whether that is behind all of them. `None` where the
    /// partition was taken away.
    fn watermark_with(&self, place: &Place, ranges: &[Range<i64>]) -> Option<(i64, bool)> {
        let state = self.state.lock();
        let held = &state.held[place.slot];
        if held.epoch != place.epoch {
            return None;
        }
        let mut settled = held.settled.clone();
        for range in ranges {
            settled.settle(range.clone());
        }
        let watermark = settled.watermark()?;
        Some((watermark, ranges.iter().all(|range| range.end <= watermark)))
    }

    /// What a transaction has committed needs no commit of its own.
    fn note_committed(&self, place: &Place, offset: i64) {
        let mut state = self.state.lock();
        let held = &mut state.held[place.slot];
        if held.epoch == place.epoch {
            held.committed = held.committed.max(Some(offset));
        }
    }

    fn give_back(&self, place: &Place, range: Range<i64>, count: usize) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let held = &mut state.held[place.slot];
        if held.epoch != place.epoch {
            return;
        }
        if held.settled.give_back(range) {
            held.returned_at.get_or_insert_with(Instant::now);
        }
        held.open -= count;
        state.records -= count;
        // It has to be read again.
        state.is_awaited = true;
        self.wake(state);
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.is_awaited) {
            self.bell.ring();
        }
    }

    /// Partitions of which something was given back, since when, and from where it is to be read again.
    pub(crate) fn returned(&self) -> Vec<(Partition, Instant, i64)> {
        let state = self.state.lock();
        let assigned = state.held.iter().filter(|held| held.epoch > 0 && !held.is_leaving);
        assigned
            .filter_map(|held| Some((held.partition.clone(), held.returned_at?, held.settled.first_returned()?)))
            .collect()
    }

    /// Partitions that are to be read again from their first record that is not settled.
    pub(crate) fn rewound(&self) -> Vec<(Partition, i64)> {
        let state = self.state.lock();
        let assigned = state.held.iter().filter(|held| held.epoch > 0 && !held.is_leaving);
        assigned.filter_map(|held| Some((held.partition.clone(), held.rewound_to?))).collect()
    }

    /// Begins a new epoch at the low watermark: whatever is in hand of the partition comes again, and in order.
    fn rewind(&self, place: &Place) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let held = &mut state.held[place.slot];
        let Some(watermark) = held.settled.watermark().filter(|_| held.epoch == place.epoch) else { return };
        self.has_changed();
        state.epochs += 1;
        held.epoch = state.epochs;
        held.settled = Settled::default();
        (held.returned_at, held.rewound_to) = (None, Some(watermark));
        state.records -= std::mem::take(&mut held.open);
        state.is_awaited = true;
        self.wake(state);
    }

    /// It is being read again.
    pub(crate) fn is_read_again(&self, partition: &Partition) {
        self.with(partition, |held| (held.returned_at, held.rewound_to) = (None, None));
    }

    /// What is to be committed: low watermarks that the broker has not confirmed, with the epochs that they are of.
    pub(crate) fn to_commit(&self) -> Vec<(Partition, u64, i64)> {
        let state = self.state.lock();
        let assigned = state.held.iter().filter(|held| held.epoch > 0);
        assigned
            .filter_map(|held| {
                let watermark = held.settled.watermark()?;
                // Nothing was settled yet: what is committed is as good.
                let is_new = held.settled.has_settled() && held.committed.is_none_or(|committed| watermark > committed);
                is_new.then(|| (held.partition.clone(), held.epoch, watermark))
            })
            .collect()
    }

    pub(crate) fn is_committed(&self, partition: &Partition, epoch: u64, offset: i64) {
        self.with(partition, |held| {
            if held.epoch == epoch {
                held.committed = Some(offset);
            }
        });
    }

    /// Behind the last record that was handed out, by partition; of one without such a record `None`.
    pub(crate) fn positions(&self) -> Vec<(Partition, Option<i64>)> {
        let state = self.state.lock();
        let assigned = state.held.iter().filter(|held| held.epoch > 0);
        assigned.map(|held| (held.partition.clone(), held.settled.next())).collect()
    }

    /// The partitions that are assigned.
    pub(crate) fn assigned(&self) -> Vec<Partition> {
        self.positions().into_iter().map(|(partition, _)| partition).collect()
    }

    /// Records and bytes in hand.
    pub(crate) fn in_hand(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.records, state.bytes)
    }
}

/// Bytes that are kept, until this is dropped.
pub(crate) struct Kept {
    hand: Arc<Hand>,
    bytes: usize,
}

impl Kept {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives a part of them to another.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        self.bytes -= bytes;
        Self { hand: Arc::clone(&self.hand), bytes }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.hand.state.lock();
        state.bytes -= self.bytes;
        self.hand.wake(&mut state);
    }
}

/// The duty to settle records that were handed out together: offsets of one partition without a hole.
///
/// What is not settled when it is dropped is given back: it is read again and handed out anew, after the configured delay.
#[must_use = "records whose receipt is dropped are handed out again"]
pub struct Receipt {
    hand: Arc<Hand>,
    place: Place,
    /// What is covered and not yet settled by this.
    range: Range<i64>,
    /// For each record its offset; empty once all are settled.
    offsets: Box<[i64]>,
    /// The records before this one are settled.
    settled_to: usize,
    /// Which of the others are; as long as the offsets, or empty as long as none is.
    settled: Box<[bool]>,
    open: usize,
}

impl Receipt {
    pub(crate) fn new(hand: &Arc<Hand>, place: Place, start: i64, offsets: Box<[i64]>) -> Self {
        let end = offsets.last().map_or(start, |last| last + 1);
        let open = offsets.len();
        let hand = Arc::clone(hand);
        Self { hand, place, range: start..end, offsets, settled_to: 0, settled: Box::default(), open }
    }

    /// Whose records they are.
    pub fn partition(&self) -> &Partition {
        &self.place.partition
    }

    /// How many records are not settled.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether the partition is still this member's: `false` from the moment when it is being revoked. What is in hand may be
    /// finished and settled then, quickly; nothing new should be begun.
    pub fn is_current(&self) -> bool {
        self.hand.is_current(&self.place)
    }

    /// All are settled: their effects are confirmed. `false` where the partition was taken away before: then they are not
    /// acknowledged, and its next owner gets them.
    pub fn settle_all(mut self) -> bool {
        self.settle_to(self.offsets.len())
    }

    /// The first `count` records are settled, by their place in the batch. `false` as of [`Receipt::settle_all`].
    pub fn settle_to(&mut self, count: usize) -> bool {
        let count = count.min(self.offsets.len());
        if count <= self.settled_to {
            return true;
        }
        let newly = match self.settled.get(self.settled_to..count) {
            Some(settled) => settled.iter().filter(|settled| !**settled).count(),
            None => count - self.settled_to,
        };
        let end = self.offsets[count - 1] + 1;
        let is_acknowledged = self.hand.settle(&self.place, self.range.start..end, newly);
        self.settled_to = count;
        self.range.start = end;
        self.open -= newly;
        is_acknowledged
    }

    /// One record is settled, by its place in the batch; in any order. `false` as of [`Receipt::settle_all`].
    ///
    /// # Panics
    /// Where the batch has no such record.
    pub fn settle(&mut self, index: usize) -> bool {
        assert!(index < self.offsets.len(), "the batch has {} records, and none at {index}", self.offsets.len());
        if index == self.settled_to {
            return self.settle_to(index + 1);
        }
        if index < self.settled_to {
            return true;
        }
        if self.settled.is_empty() {
            self.settled = vec![false; self.offsets.len()].into();
        }
        if std::mem::replace(&mut self.settled[index], true) {
            return true;
        }
        self.open -= 1;
        self.hand.settle(&self.place, self.offsets[index - 1] + 1..self.offsets[index] + 1, 1)
    }

    /// The partition goes back to its first record that is not settled: all that is in hand of it, in this receipt and in
    /// others, is handed out again, in order, and no longer acknowledged by them.
    pub fn rewind(mut self) {
        self.hand.rewind(&self.place);
        self.open = 0;
    }

    /// What a transaction with all of these commits. The partition where it may not: `true` where records before these are not
    /// settled, `false` where it was taken away.
    pub(crate) fn offsets_of_all(receipts: &[Receipt]) -> Result<Vec<(Partition, i64)>, (Partition, bool)> {
        let mut offsets: Vec<(Partition, i64)> = Vec::new();
        for receipt in receipts {
            let partition = receipt.partition();
            if offsets.iter().any(|(of, _)| of == partition) {
                continue;
            }
            let same = receipts.iter().filter(|other| other.partition() == partition);
            if same.clone().any(|other| other.place.epoch != receipt.place.epoch) {
                return Err((partition.clone(), false));
            }
            let ranges: Vec<_> = same.map(|other| other.range.clone()).collect();
            match receipt.hand.watermark_with(&receipt.place, &ranges) {
                None => return Err((partition.clone(), false)),
                Some((_, false)) => return Err((partition.clone(), true)),
                Some((watermark, true)) => offsets.push((partition.clone(), watermark)),
            }
        }
        Ok(offsets)
    }

    /// Settled by a transaction that has committed the offsets, too.
    pub(crate) fn settle_committed(self) {
        self.hand.note_committed(&self.place, self.range.end);
        self.settle_all();
    }

    /// Leaves the first `count` records to this receipt, and gives one for those behind; of a fresh one.
    pub(crate) fn split_off(&mut self, count: usize) -> Receipt {
        debug_assert!(self.settled_to == 0 && self.settled.is_empty(), "a fresh one is split");
        let mut offsets = std::mem::take(&mut self.offsets).into_vec();
        let behind = offsets.split_off(count);
        let start = offsets.last().map_or(self.range.start, |last| last + 1);
        (self.range.end, self.open, self.offsets) = (start, offsets.len(), offsets.into());
        Receipt::new(&self.hand, self.place.clone(), start, behind.into())
    }

    /// What single records need of it, each of which is then settled by [`Duty`].
    pub(crate) fn into_duties(mut self) -> (Arc<Hand>, Place, Vec<Duty>) {
        debug_assert!(self.settled_to == 0 && self.settled.is_empty(), "a fresh one is split");
        let offsets = std::mem::take(&mut self.offsets);
        self.open = 0;
        let mut start = self.range.start;
        let duty = |&offset: &i64| {
            let duty = Duty { start, end: offset + 1 };
            start = offset + 1;
            duty
        };
        let duties = offsets.iter().map(duty).collect();
        (Arc::clone(&self.hand), self.place.clone(), duties)
    }
}

/// What one record covers, until it is settled or given back.
pub(crate) struct Duty {
    start: i64,
    end: i64,
}

impl Duty {
    pub(crate) fn settle(self, hand: &Hand, place: &Place) -> bool {
        hand.settle(place, self.start..self.end, 1)
    }

    pub(crate) fn give_back(self, hand: &Hand, place: &Place) {
        hand.give_back(place, self.start..self.end, 1);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.open > 0 {
            self.hand.give_back(&self.place, self.range.clone(), self.open);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, range, open, .. } = self;
        write!(f, "Receipt({}, {}..{}, {open} open)", place.partition, range.start, range.end)
    }
}
