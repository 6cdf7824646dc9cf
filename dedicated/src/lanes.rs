//! What is processed next: lanes that keep order per key while different keys go in parallel. Pure: time comes as an argument.
//!
//! A record belongs to a *strand*, within which order is kept: its partition and key or, for effects that count a partition's offsets,
//! its partition alone ([`Order`]). A strand belongs to one *lane*, and of a lane one batch is in flight; so records of a strand never
//! overtake each other, and to a function a lane is what one more partition would be. A batch takes records of any partition of its
//! lane, as many as there are up to its limits, once it is full or the first of them has waited for long enough.
//!
//! What a batch leaves unsettled is redelivered after a wait that grows, and its strand waits with it; other strands of the lane go on. Where a batch
//! with new records settled nothing at all, the lane waits: something is unavailable that all of them need.
//!
//! Per partition it is known which records are settled ([`Watermark`]), so that nothing is committed over a record that is to be redelivered, and how
//! many bytes are in hand: where there is no room, no more is taken; but a partition that stands still is paused, and does not take the
//! others' room. A partition that is to go is not begun further, but for the records before one that was begun: whatever settled
//! beyond a gap would be delivered again to the next member.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::retry::Backoff;
use lyceum_core::subscription::Effect;

use crate::watermark::Watermark;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Counted from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// That partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Within what records keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Partition and key. Records without a key are one strand of their partition.
    Key,
    /// Partition.
    Partition,
}

impl Order {
    /// What an effect asks for. Numbers and logs are kept with the offset up to which they hold, so that a partition is one strand; what watches
    /// keeps one state of a tenant, over which the strands of its keys would only meet.
    pub fn of(effect: Effect) -> Self {
        match effect {
            Effect::Counted | Effect::Audit | Effect::Watching { .. } => Self::Partition,
            Effect::Stateful { .. } | Effect::Documents | Effect::Reaction | Effect::Calling => Self::Key,
        }
    }
}

/// How batches are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lanes, each with one batch in flight: at least 1.
    pub lanes: usize,
    /// Records a batch: at least 1.
    pub records: usize,
    /// Bytes of keys, values and headers a batch, unless its first record alone has more.
    pub bytes: usize,
    /// How long a batch that is not full waits for more.
    pub delay: Duration,
    /// Bytes in hand beyond which no more is taken; a partition that stands still may hold its part of as many.
    pub in_hand_bytes: usize,
    /// When what was left unsettled is redelivered.
    pub backoff: Backoff,
}

/// A record that was received.
#[derive(Clone, Debug)]
pub struct Received<'k, T> {
    /// Its partition.
    pub of: &'k TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<&'k [u8]>,
    /// Its time, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Bytes of key, value and headers.
    pub bytes: usize,
    /// The record itself.
    pub item: T,
}

/// Where a record in hand belongs.
#[derive(Clone, Debug)]
struct Tag {
    of: TopicPartition,
    offset: i64,
    /// Tells apart what was assigned twice: between the two others may have read the partition.
    assignment: u64,
    strand: u64,
    bytes: usize,
    since_ms: i64,
    is_new: bool,
}

#[derive(Debug)]
struct Entry<T> {
    tag: Tag,
    item: T,
}

/// What is processed together.
#[derive(Debug)]
pub struct Batch<T> {
    lane: usize,
    tags: Vec<Tag>,
    /// The records, per partition in the order of offsets.
    pub items: Vec<T>,
}

impl<T> Batch<T> {
    /// Where each of the records stands, in their order.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.tags.iter().map(|tag| (&tag.of, tag.offset))
    }

    /// How many of the records are of each topic.
    pub fn topics(&self) -> BTreeMap<&str, u64> {
        let mut topics = BTreeMap::new();
        self.tags.iter().for_each(|tag| *topics.entry(&*tag.of.topic).or_default() += 1);
        topics
    }

    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.tags.iter().map(|tag| tag.bytes).sum()
    }
}

/// A strand whose records wait until they are delivered again.
#[derive(Debug)]
struct Delayed<T> {
    entries: VecDeque<Entry<T>>,
    until_ms: i64,
    failures: u32,
}

#[derive(Debug)]
struct Lane<T> {
    new: VecDeque<Entry<T>>,
    new_bytes: usize,
    delayed: BTreeMap<u64, Delayed<T>>,
    is_busy: bool,
    /// Batches in a row with new records that settled nothing.
    fruitless: u32,
    rests_until_ms: i64,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            new: VecDeque::new(),
            new_bytes: 0,
            delayed: BTreeMap::new(),
            is_busy: false,
            fruitless: 0,
            rests_until_ms: i64::MIN,
        }
    }
}

/// A partition that is assigned.
#[derive(Debug)]
struct Held {
    assignment: u64,
    watermark: Watermark,
    committed: Option<i64>,
    /// Of records in hand that are not settled.
    bytes: usize,
    in_flight: usize,
    /// The last offset of which a batch began.
    begun: Option<i64>,
    is_withdrawn: bool,
    is_paused: bool,
}

/// How far a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Every record before this offset is settled; `None` before the first record.
    pub mark: Option<i64>,
    /// The offset behind the last record that was received.
    pub next: Option<i64>,
    /// The time of the oldest record in hand that is not settled, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// Whether something of it failed and waits to be redelivered.
    pub is_held_back: bool,
}

/// The lanes of one subscription.
#[derive(Debug)]
pub struct Lanes<T> {
    order: Order,
    limits: Limits,
    lanes: Vec<Lane<T>>,
    held: BTreeMap<TopicPartition, Held>,
    assignments: u64,
    /// The lane that is asked first.
    turn: usize,
    bytes: usize,
}

impl<T> Lanes<T> {
    /// Empty lanes.
    pub fn new(order: Order, limits: Limits) -> Self {
        let lanes = (0..limits.lanes.max(1)).map(|_| Lane::default()).collect();
        Self { order, limits, lanes, held: BTreeMap::new(), assignments: 0, turn: 0, bytes: 0 }
    }

    /// A partition is read from now on, from that offset where it is known.
    pub fn assign(&mut self, of: TopicPartition, start: Option<i64>) {
        self.drop_waiting(|tag| tag.of == of);
        self.assignments += 1;
        let held = Held {
            assignment: self.assignments,
            watermark: Watermark::starting_at(start),
            committed: start,
            bytes: 0,
            in_flight: 0,
            begun: None,
            is_withdrawn: false,
            is_paused: false,
        };
        if let Some(before) = self.held.insert(of, held) {
            self.bytes -= before.bytes;
        }
    }

    /// These partitions are to go: nothing of them is begun that lies behind the last record that was, nor what has failed, and what waits behind it.
    pub fn withdraw(&mut self, is_meant: impl Fn(&TopicPartition) -> bool) {
        for (_, held) in self.held.iter_mut().filter(|(of, _)| is_meant(of)) {
            held.is_withdrawn = true;
        }
        let held = &self.held;
        let is_behind = |tag: &Tag| held.get(&tag.of).is_none_or(|held| held.begun < Some(tag.offset));
        for lane in &mut self.lanes {
            let mut failed = BTreeSet::new();
            for (strand, delayed) in &mut lane.delayed {
                if delayed.failures > 0 && delayed.entries.iter().any(|entry| is_meant(&entry.tag.of)) {
                    failed.insert(*strand);
                }
            }
            lane.drop_waiting(|tag| is_meant(&tag.of) && (is_behind(tag) || failed.contains(&tag.strand)));
        }
    }

    /// Records of these partitions that are in flight, or are still to be begun.
    pub fn open(&self, is_meant: impl Fn(&TopicPartition) -> bool) -> usize {
        let in_flight: usize = self.held.iter().filter(|(of, _)| is_meant(of)).map(|(_, held)| held.in_flight).sum();
        let waiting = |lane: &Lane<T>| {
            let delayed = lane.delayed.values().flat_map(|delayed| &delayed.entries);
            lane.new.iter().chain(delayed).filter(|entry| is_meant(&entry.tag.of)).count()
        };
        in_flight + self.lanes.iter().map(waiting).sum::<usize>()
    }

    /// Others have these partitions: however what is in flight of them ends, nothing of it counts.
    pub fn forget(&mut self, is_meant: impl Fn(&TopicPartition) -> bool) {
        self.drop_waiting(|tag| is_meant(&tag.of));
        let bytes = &mut self.bytes;
        self.held.retain(|of, held| {
            let stays = !is_meant(of);
            *bytes -= if stays { 0 } else { held.bytes };
            stays
        });
    }

    fn drop_waiting(&mut self, is_meant: impl Fn(&Tag) -> bool) {
        self.lanes.iter_mut().for_each(|lane| lane.drop_waiting(&is_meant));
    }

    /// Takes a record in; `false` where its partition is not assigned, or it was received before.
    pub fn receive(&mut self, received: Received<'_, T>, now_ms: i64) -> bool {
        let Received { of, offset, key, timestamp_ms, bytes, item } = received;
        let Some((name, held)) = self.held.get_key_value(of).map(|(name, _)| name.clone()).zip(self.held.get_mut(of))
        else {
            return false;
        };
        if held.is_withdrawn || !held.watermark.receive(offset, timestamp_ms) {
            return false;
        }
        held.bytes += bytes;
        self.bytes += bytes;
        let strand = strand(&name, key.filter(|_| self.order == Order::Key));
        let tag = Tag { of: name, offset, assignment: held.assignment, strand, bytes, since_ms: now_ms, is_new: true };
        let at = (strand % self.lanes.len() as u64) as usize;
        let lane = &mut self.lanes[at];
        lane.new.push_back(Entry { tag, item });
        lane.new_bytes += bytes;
        true
    }

    /// The next batch of a lane that has none in flight, where one is to begin now.
    pub fn next(&mut self, now_ms: i64) -> Option<Batch<T>> {
        let count = self.lanes.len();
        for turn in 0..count {
            let at = (self.turn + turn) % count;
            if self.lanes[at].is_ready(&self.limits, now_ms)
                && let Some(batch) = self.take(at, now_ms)
            {
                self.turn = at + 1;
                return Some(batch);
            }
        }
        None
    }

    /// Whether [`Lanes::next`] has a batch.
    pub fn is_ready(&self, now_ms: i64) -> bool {
        self.lanes.iter().any(|lane| lane.is_ready(&self.limits, now_ms))
    }

    /// When [`Lanes::next`] is to be asked again if nothing else happens.
    pub fn wakes_at_ms(&self) -> Option<i64> {
        self.lanes.iter().filter_map(|lane| lane.wakes_at_ms(&self.limits)).min()
    }

    fn take(&mut self, at: usize, now_ms: i64) -> Option<Batch<T>> {
        let Limits { records, bytes: most, .. } = self.limits;
        let lane = &mut self.lanes[at];
        let mut taken: Vec<Entry<T>> = Vec::new();
        let mut bytes = 0;
        let mut fits = |taken: &[Entry<T>], entry: &Entry<T>, part: usize| {
            let has_room = taken.is_empty()
                || taken.len() < records.div_ceil(part).max(1) && bytes + entry.tag.bytes <= most / part;
            bytes += if has_room { entry.tag.bytes } else { 0 };
            has_room
        };
        // What is redelivered takes no more than half, so that it never keeps others from their turn.
        let part = if lane.new.is_empty() { 1 } else { 2 };
        for delayed in lane.delayed.values_mut().filter(|delayed| delayed.until_ms <= now_ms) {
            while let Some(entry) = delayed.entries.pop_front() {
                if !fits(&taken, &entry, part) {
                    delayed.entries.push_front(entry);
                    break;
                }
                taken.push(entry);
            }
        }
        while let Some(entry) = lane.new.pop_front() {
            // What is behind a record that is to be redelivered waits with it.
            if let Some(delayed) = lane.delayed.get_mut(&entry.tag.strand)
                && (delayed.until_ms > now_ms || !delayed.entries.is_empty())
            {
                lane.new_bytes -= entry.tag.bytes;
                delayed.entries.push_back(entry);
                continue;
            }
            if !fits(&taken, &entry, 1) {
                lane.new.push_front(entry);
                break;
            }
            lane.new_bytes -= entry.tag.bytes;
            taken.push(entry);
        }
        if taken.is_empty() {
            return None;
        }
        lane.is_busy = true;
        taken.sort_by(|a, b| (&a.tag.of, a.tag.offset).cmp(&(&b.tag.of, b.tag.offset)));
        for Entry { tag, .. } in &taken {
            if let Some(held) = self.held.get_mut(&tag.of) {
                held.in_flight += 1;
                held.begun = held.begun.max(Some(tag.offset));
            }
        }
        let (tags, items) = taken.into_iter().map(|entry| (entry.tag, entry.item)).unzip();
        Some(Batch { lane: at, tags, items })
    }

    /// A batch has ended; `settled` says of each of its records, in their order, whether it is done with (of those that it says nothing about,
    /// nothing is). `jitter` in `[0, 1)`.
    pub fn end(&mut self, batch: Batch<T>, settled: &[bool], now_ms: i64, jitter: f64) {
        let Batch { lane: at, tags, items } = batch;
        let mut left: BTreeMap<u64, VecDeque<Entry<T>>> = BTreeMap::new();
        let mut abandoned = BTreeSet::new();
        let mut progressed = BTreeSet::new();
        let mut strands = BTreeSet::new();
        let mut had_new = false;
        for (place, (mut tag, item)) in tags.into_iter().zip(items).enumerate() {
            strands.insert(tag.strand);
            had_new |= tag.is_new;
            let held = self.held.get_mut(&tag.of).filter(|held| held.assignment == tag.assignment);
            let Some(held) = held else { continue };
            held.in_flight -= 1;
            if settled.get(place).copied().unwrap_or(false) {
                held.watermark.settle(tag.offset);
                held.bytes -= tag.bytes;
                self.bytes -= tag.bytes;
                progressed.insert(tag.strand);
            } else if held.is_withdrawn {
                abandoned.insert((tag.of, tag.strand));
            } else {
                tag.is_new = false;
                left.entry(tag.strand).or_default().push_back(Entry { tag, item });
            }
        }
        let lane = &mut self.lanes[at];
        lane.is_busy = false;
        if !abandoned.is_empty() {
            lane.drop_waiting(|tag| abandoned.contains(&(tag.of.clone(), tag.strand)));
        }
        let is_fruitless = progressed.is_empty() && !left.is_empty();
        let backoff = self.limits.backoff;
        let after = |failures: u32| now_ms.saturating_add(as_ms(backoff.delay(failures, jitter)));
        for strand in strands {
            match left.remove(&strand) {
                Some(mut entries) => {
                    let delayed = lane.delayed.entry(strand).or_insert_with(|| Delayed {
                        entries: VecDeque::new(),
                        until_ms: now_ms,
                        failures: 0,
                    });
                    delayed.failures =
                        if progressed.contains(&strand) { 1 } else { delayed.failures.saturating_add(1) };
                    delayed.until_ms = after(delayed.failures);
                    entries.append(&mut delayed.entries);
                    delayed.entries = entries;
                }
                // What was behind them goes at once.
                None if lane.delayed.get(&strand).is_some_and(|delayed| delayed.entries.is_empty()) => {
                    lane.delayed.remove(&strand);
                }
                None => {}
            }
        }
        if !is_fruitless {
            lane.fruitless = 0;
        } else if had_new {
            lane.fruitless = lane.fruitless.saturating_add(1);
            lane.rests_until_ms = after(lane.fruitless);
        }
    }

    /// What is settled and not committed.
    pub fn to_commit(&self) -> Vec<(TopicPartition, i64)> {
        let moved = |(of, held): (&TopicPartition, &Held)| {
            let mark = held.watermark.mark()?;
            (held.committed != Some(mark)).then(|| (of.clone(), mark))
        };
        self.held.iter().filter_map(moved).collect()
    }

    /// These offsets are committed.
    pub fn committed(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (of, offset) in offsets {
            if let Some(held) = self.held.get_mut(of) {
                held.committed = Some(*offset);
            }
        }
    }

    /// Partitions of which no more is to be fetched for now, and those of which it may go on; each is told once. Only one that stands still is
    /// paused: what is merely slow is not taken further ([`Lanes::has_room`]), and a pause would throw away what was fetched ahead.
    pub fn to_pause_and_resume(&mut self) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        let most = self.limits.in_hand_bytes / self.held.len().max(1);
        let failed = self.failed();
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (of, held) in self.held.iter_mut().filter(|(_, held)| !held.is_withdrawn) {
            if !held.is_paused && held.bytes > most && failed.contains(of) {
                held.is_paused = true;
                pause.push(of.clone());
            } else if held.is_paused && (held.bytes <= most / 2 || !failed.contains(of)) {
                held.is_paused = false;
                resume.push(of.clone());
            }
        }
        (pause, resume)
    }

    /// The partitions of which something failed and waits to be redelivered.
    fn failed(&self) -> BTreeSet<TopicPartition> {
        let failed = self.lanes.iter().flat_map(|lane| lane.delayed.values()).filter(|delayed| delayed.failures > 0);
        let mut of = BTreeSet::new();
        for entry in failed.flat_map(|delayed| &delayed.entries) {
            if !of.contains(&entry.tag.of) {
                of.insert(entry.tag.of.clone());
            }
        }
        of
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        let bytes: usize = self.held.values().filter(|held| !held.is_paused).map(|held| held.bytes).sum();
        bytes < self.limits.in_hand_bytes
    }

    /// Bytes in hand.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that wait for their batch, those apart that wait to be redelivered.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.new.len()).sum()
    }

    /// The partitions that are assigned, and how far each is.
    pub fn progress(&self) -> BTreeMap<TopicPartition, Progress> {
        let failed = self.failed();
        let progress = |(of, held): (&TopicPartition, &Held)| {
            let Held { watermark, .. } = held;
            let progress = Progress {
                mark: watermark.mark(),
                next: watermark.next(),
                oldest_ms: watermark.oldest_ms(),
                is_held_back: failed.contains(of),
            };
            (of.clone(), progress)
        };
        self.held.iter().map(progress).collect()
    }
}

impl<T> Lane<T> {
    fn drop_waiting(&mut self, is_meant: impl Fn(&Tag) -> bool) {
        self.new.retain(|entry| !is_meant(&entry.tag));
        self.new_bytes = self.new.iter().map(|entry| entry.tag.bytes).sum();
        self.delayed.retain(|_, delayed| {
            delayed.entries.retain(|entry| !is_meant(&entry.tag));
            // Those of a strand in flight are known by their failures.
            !delayed.entries.is_empty()
        });
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.new.len() >= limits.records.max(1) || self.new_bytes >= limits.bytes
    }

    fn is_ready(&self, limits: &Limits, now_ms: i64) -> bool {
        self.wakes_at_ms(limits).is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// When its next batch begins; `None` while one is in flight, or where nothing waits.
    fn wakes_at_ms(&self, limits: &Limits) -> Option<i64> {
        if self.is_busy {
            return None;
        }
        let new = self.new.front().map(|first| match self.is_full(limits) {
            true => i64::MIN,
            false => first.tag.since_ms.saturating_add(as_ms(limits.delay)),
        });
        let again = self.delayed.values().map(|delayed| delayed.until_ms).min();
        let first = new.into_iter().chain(again).min()?;
        Some(first.max(self.rests_until_ms))
    }
}

fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Two strands may share a number: then they keep order between them, too.
fn strand(of: &TopicPartition, key: Option<&[u8]>) -> u64 {
    // Not the hash by which Kafka chooses a partition: within one, that one would choose few of the lanes.
    let mut hasher = DefaultHasher::new();
    (of, key).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
