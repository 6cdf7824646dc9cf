//! What is known of the letters on the topics: small, and bounded however many there are.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lyceum_core::dead_letter::DeadLetter;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use uuid::Uuid;

use super::letters::{CountOfKinds, Cursor, DeadLetterCount, DeadLetterFilter, LetterState, Order, UpTo};
use super::value;
use super::violations::{Broken, Series, is_violation};
use names::{Names, Symbol};

mod names;

/// A partition of a dead-letter topic: the topic's place in the list of topics, and the partition.
pub(super) type Place = (usize, i32);

/// To look letters up one by one takes about so many times as long as to go through all of them.
const FEW: usize = 8;

/// Where a letter stands.
type Spot = (Place, i64);

/// Letters that were forgotten are counted for so many offsets together, and so long as one of these is on the topic.
const BUCKET: i64 = 1_000;
/// So many counts of forgotten letters are kept apart; what comes then is counted as nobody's.
const FORGOTTEN_COUNTS: usize = 65_536;

/// The letters that stand on the topics, as far as they were read.
///
/// At most `limit` are held. While there is room every tenant may use all of it. Where there is none, the tenant with the
/// most loses one: the oldest of those that are done with, else the oldest. What is lost is counted, and read anew once
/// there is room for half of the limit.
pub(super) struct Index {
    topics: Vec<String>,
    limit: usize,
    names: Names,
    letters: BTreeMap<Spot, Known>,
    /// The next offset to read.
    next: BTreeMap<Place, i64>,
    /// Where each letter stands; by it the second copy of a letter is known.
    spots: HashMap<Uuid, Spot>,
    /// Each tenant's letters in the order in which it loses them.
    by_age: HashMap<Symbol, BTreeSet<Age>>,
    /// How many each tenant has.
    sizes: BTreeSet<(usize, Symbol)>,
    /// How many are not done with.
    open: usize,
    forgotten: Forgotten,
    /// Whether letters that are done with are passed by: they would take the room of those that wait.
    is_refilling: bool,
    /// Where looking for events that were applied since goes on.
    checked: Option<Spot>,
}

/// By what a tenant's letters are lost: those that are done with first, and the oldest first.
type Age = (bool, i64, Spot);

/// A letter, in few bytes.
#[derive(Clone, Copy, Debug)]
struct Known {
    at_ms: i64,
    id: Uuid,
    /// Nil where it could not be read.
    event_id: Uuid,
    cause: Cause,
    family: Symbol,
    sender: Symbol,
    mark: Mark,
    is_parked: bool,
    is_resolved: bool,
    /// Its event was sent again, and failed again.
    is_replay: bool,
    /// It does not hold its original, or what should be it is not there.
    is_unsendable: bool,
}

/// Letters that have these in common are likely to have one cause. A name is a symbol of the index, or as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Cause<N = Symbol> {
    tenant: N,
    topic: N,
    /// The first that was broken.
    rule: N,
    kind: DeadLetterKind,
}

impl<'a> Cause<Option<&'a str>> {
    fn of(letter: &'a DeadLetter) -> Self {
        Self {
            tenant: letter.tenant.as_deref(),
            topic: Some(&letter.source.topic),
            rule: Some(first_rule(letter)),
            kind: letter.kind,
        }
    }
}

/// What a person did with a letter, as the ledger remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    None,
    Sent,
    Discarded,
}

/// A letter as it comes into the index.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) offset: i64,
    /// When it was written, milliseconds since 1970 UTC.
    pub(super) at_ms: i64,
    pub(super) id: Uuid,
    pub(super) event_id: Option<Uuid>,
    pub(super) tenant: Option<String>,
    pub(super) topic: String,
    pub(super) rule: String,
    pub(super) family: String,
    pub(super) sender: Option<String>,
    pub(super) kind: DeadLetterKind,
    pub(super) is_parked: bool,
    pub(super) is_replay: bool,
    pub(super) is_unsendable: bool,
    pub(super) mark: Mark,
    /// Whether its event was applied since, where that was looked up.
    pub(super) is_resolved: bool,
}

impl Found {
    pub(super) fn of(letter: &DeadLetter, at_ms: i64, event_id: Option<Uuid>, mark: Mark) -> Self {
        Self {
            offset: letter.position.offset,
            at_ms,
            id: letter.id,
            event_id,
            tenant: letter.tenant.clone(),
            topic: letter.source.topic.to_string(),
            rule: first_rule(letter).to_owned(),
            family: letter.family.clone(),
            sender: value::sender(&letter.original),
            kind: letter.kind,
            is_parked: letter.is_parked(),
            is_replay: letter.replay_count > 0,
            // The original of an entry that could not be read may still stand at its source.
            is_unsendable: letter.value_omitted,
            mark,
            is_resolved: false,
        }
    }

    /// The event, where it may have been applied since.
    pub(super) fn to_check(&self) -> Option<ToCheck> {
        if self.mark != Mark::None || !may_be_applied(self.kind) {
            return None;
        }
        Some(ToCheck {
            position: Position::new("", 0, self.offset),
            tenant: self.tenant.clone()?,
            family: self.family.clone(),
            event_id: self.event_id?,
            at_ms: self.at_ms,
        })
    }
}

/// Whether an event of such a letter may be applied later; of the others it, or another one of its id, was applied before, or
/// it has no id.
fn may_be_applied(kind: DeadLetterKind) -> bool {
    !matches!(kind, DeadLetterKind::Conflict | DeadLetterKind::Decode | DeadLetterKind::Undelivered)
}

/// The first rule that was broken; of a letter without findings its kind.
pub(super) fn first_rule(letter: &DeadLetter) -> &str {
    letter.findings.first().map_or(letter.kind.name(), |finding| &finding.rule)
}

impl Known {
    fn state(&self) -> LetterState {
        LetterState::of(self.mark, self.is_resolved, self.is_parked)
    }

    fn is_open(&self) -> bool {
        self.state().is_open()
    }

    fn age(&self, spot: Spot) -> Age {
        (self.is_open(), self.at_ms, spot)
    }
}

/// A filter, made ready for comparing: with letters of the index by symbols and places of topics, with others by names.
pub(super) struct Matching<N = Symbol, T = usize> {
    tenant: Option<N>,
    /// Of the record, or of the letter.
    topic: Option<(N, Option<T>)>,
    rule: Option<N>,
    kind: Option<DeadLetterKind>,
    state: Option<LetterState>,
    since_ms: i64,
    until_ms: i64,
}

impl<N: PartialEq + Copy, T: PartialEq> Matching<N, T> {
    fn of<'a>(filter: &'a DeadLetterFilter, name: impl Fn(&'a str) -> N, topic: impl Fn(&'a str) -> Option<T>) -> Self {
        let DeadLetterFilter { tenant, topic: of_topic, kind, rule, state, since_ms, until_ms } = filter;
        Self {
            tenant: tenant.as_deref().map(&name),
            topic: of_topic.as_deref().map(|of| (name(of), topic(of))),
            rule: rule.as_deref().map(&name),
            kind: *kind,
            state: *state,
            since_ms: since_ms.unwrap_or(i64::MIN),
            until_ms: until_ms.unwrap_or(i64::MAX),
        }
    }

    fn fits_cause(&self, topic: &T, cause: &Cause<N>) -> bool {
        let of_topic = |(name, place): &(N, Option<T>)| *name == cause.topic || place.as_ref() == Some(topic);
        self.tenant.is_none_or(|tenant| tenant == cause.tenant)
            && self.topic.as_ref().is_none_or(of_topic)
            && self.rule.is_none_or(|rule| rule == cause.rule)
            && self.kind.is_none_or(|kind| kind == cause.kind)
    }

    fn fits_time(&self, first_ms: i64, last_ms: i64) -> bool {
        last_ms >= self.since_ms && first_ms < self.until_ms
    }

    fn fits_state(&self, state: LetterState) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
    }
}

impl<'a> Matching<Option<&'a str>, &'a str> {
    /// For letters that are not in the index.
    pub(super) fn by_name(filter: &'a DeadLetterFilter) -> Self {
        Self::of(filter, Some, Some)
    }

    /// Whether such a letter fits, but for its state.
    pub(super) fn fits_letter(&self, letter: &'a DeadLetter, at_ms: i64) -> bool {
        let topic: &str = &letter.position.topic;
        self.fits_cause(&topic, &Cause::of(letter)) && self.fits_time(at_ms, at_ms)
    }
}

impl Matching {
    fn fits_but_for_state(&self, place: Place, known: &Known) -> bool {
        self.fits_cause(&place.0, &known.cause) && self.fits_time(known.at_ms, known.at_ms)
    }

    fn fits(&self, place: Place, known: &Known) -> bool {
        self.fits_but_for_state(place, known) && self.fits_state(known.state())
    }
}

/// The state of a letter that is not done with.
fn state_of(is_parked: bool) -> LetterState {
    if is_parked { LetterState::Parked } else { LetterState::Waiting }
}

/// How many letters were lost for want of room, by what they have in common.
#[derive(Default)]
struct Forgotten {
    counts: BTreeMap<(Place, i64), HashMap<(Cause, bool), Lost>>,
    kept_apart: usize,
    total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    count: u64,
    first_ms: i64,
    last_ms: i64,
}

/// One page of letters.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) listed: Vec<Position>,
    /// How many match in all, of those that are held.
    pub(super) total: u64,
    /// How many of them are not done with, those that were lost for want of room included.
    pub(super) open: DeadLetterCount,
    pub(super) next: Option<Cursor>,
}

/// What a replay of all that match would do.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Oldest first; within a partition in its order.
    pub(super) waiting: Vec<Position>,
    /// How many more there are than were asked for.
    pub(super) further: u64,
    /// Letters that match and stay.
    pub(super) parked: u64,
    /// Letters that cannot be sent again.
    pub(super) unsendable: Vec<Position>,
}

/// Letters by what they have in common.
#[derive(Debug)]
pub(super) struct Grouping {
    /// Those of which the most wait first.
    pub(super) groups: Vec<Group>,
    /// How many there are in all.
    pub(super) total: usize,
    /// How many of each kind are not done with, in whatever state the groups are asked for; those that were lost for want of
    /// room included.
    pub(super) kinds: CountOfKinds,
}

/// Letters that have one cause, as they are shown.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) tenant: Option<String>,
    pub(super) topic: String,
    pub(super) rule: String,
    pub(super) kind: DeadLetterKind,
    pub(super) count: u64,
    pub(super) waiting: u64,
    pub(super) parked: u64,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    /// The newest of those that wait, else the newest; `None` where all of them were lost.
    pub(super) example: Option<Position>,
}

#[derive(Default)]
struct Grouped {
    count: u64,
    waiting: u64,
    parked: u64,
    times_ms: Option<(i64, i64)>,
    example: Option<(bool, i64, Spot)>,
}

impl Grouped {
    fn spans(&mut self, first_ms: i64, last_ms: i64) {
        let (first, last) = self.times_ms.unwrap_or((first_ms, last_ms));
        self.times_ms = Some((first.min(first_ms), last.max(last_ms)));
    }
}

/// An event that a letter is about, to be looked up.
#[derive(Clone, Debug)]
pub(super) struct ToCheck {
    pub(super) position: Position,
    pub(super) tenant: String,
    pub(super) family: String,
    pub(super) event_id: Uuid,
    pub(super) at_ms: i64,
}

impl Index {
    pub(super) fn new(topics: Vec<String>, limit: usize) -> Self {
        Self {
            topics,
            limit,
            names: Names::default(),
            letters: BTreeMap::new(),
            next: BTreeMap::new(),
            spots: HashMap::new(),
            by_age: HashMap::new(),
            sizes: BTreeSet::new(),
            open: 0,
            forgotten: Forgotten::default(),
            is_refilling: false,
            checked: None,
        }
    }

    pub(super) fn topics(&self) -> &[String] {
        &self.topics
    }

    pub(super) fn matching(&self, filter: &DeadLetterFilter) -> Matching {
        let place = |topic: &str| self.topics.iter().position(|of| of == topic);
        Matching::of(filter, |text| self.names.find(text), place)
    }

    /// Where to read on in a partition that holds `start..`; what stood before that is no more.
    pub(super) fn next(&mut self, place: Place, start: i64) -> i64 {
        while let Some((&spot, _)) = self.letters.range((place, i64::MIN)..(place, start)).next() {
            self.remove(spot);
        }
        self.drop_counts((place, i64::MIN), (place, start.div_euclid(BUCKET)));
        let next = self.next.entry(place).or_insert(start);
        *next = (*next).max(start);
        *next
    }

    /// The topic was made anew: what was known of the partition is forgotten.
    pub(super) fn reset(&mut self, place: Place) {
        self.next(place, i64::MAX);
        self.drop_counts((place, i64::MIN), (place, i64::MAX));
        self.next.remove(&place);
    }

    fn drop_counts(&mut self, from: (Place, i64), to: (Place, i64)) {
        while let Some((&bucket, _)) = self.forgotten.counts.range(from..to).next() {
            for ((cause, _), lost) in self.forgotten.counts.remove(&bucket).into_iter().flatten() {
                self.forgotten.total -= lost.count;
                self.forgotten.kept_apart -= 1;
                self.release(&cause);
            }
        }
    }

    pub(super) fn is_known(&self, id: Uuid) -> bool {
        self.spots.contains_key(&id)
    }

    /// Takes in letters of a partition that was read up to `next`.
    pub(super) fn take_in(&mut self, place: Place, letters: impl IntoIterator<Item = Found>, next: i64) {
        for found in letters {
            // The same letter may be there more than once: it is published at least once, under one id.
            let is_passed_by = self.is_refilling && (found.mark != Mark::None || found.is_resolved);
            if !is_passed_by && !self.is_known(found.id) {
                self.insert((place, found.offset), found);
                if self.letters.len() > self.limit {
                    self.lose_one();
                }
            }
        }
        let known = self.next.entry(place).or_insert(next);
        *known = (*known).max(next);
    }

    fn insert(&mut self, spot: Spot, found: Found) {
        let Entry::Vacant(free) = self.letters.entry(spot) else { return };
        let cause = Cause {
            tenant: found.tenant.as_deref().map_or(Symbol::NONE, |tenant| self.names.take(tenant)),
            topic: self.names.take(&found.topic),
            rule: self.names.take(&found.rule),
            kind: found.kind,
        };
        let known = Known {
            at_ms: found.at_ms,
            id: found.id,
            event_id: found.event_id.unwrap_or_default(),
            cause,
            family: self.names.take(&found.family),
            sender: found.sender.as_deref().map_or(Symbol::NONE, |sender| self.names.take(sender)),
            mark: found.mark,
            is_parked: found.is_parked,
            is_replay: found.is_replay,
            is_resolved: found.is_resolved,
            is_unsendable: found.is_unsendable,
        };
        free.insert(known);
        self.spots.insert(known.id, spot);
        self.open += usize::from(known.is_open());
        let ages = self.by_age.entry(cause.tenant).or_default();
        self.sizes.remove(&(ages.len(), cause.tenant));
        ages.insert(known.age(spot));
        self.sizes.insert((ages.len(), cause.tenant));
    }

    fn remove(&mut self, spot: Spot) -> Option<Known> {
        let known = self.letters.remove(&spot)?;
        self.spots.remove(&known.id);
        self.open -= usize::from(known.is_open());
        let tenant = known.cause.tenant;
        if let Some(ages) = self.by_age.get_mut(&tenant) {
            self.sizes.remove(&(ages.len(), tenant));
            ages.remove(&known.age(spot));
            match ages.len() {
                0 => drop(self.by_age.remove(&tenant)),
                left => drop(self.sizes.insert((left, tenant))),
            }
        }
        self.names.release(known.family);
        self.names.release(known.sender);
        self.release(&known.cause);
        Some(known)
    }

    fn release(&mut self, cause: &Cause) {
        for symbol in [cause.tenant, cause.topic, cause.rule] {
            self.names.release(symbol);
        }
    }

    /// The tenant with the most loses a letter.
    fn lose_one(&mut self) {
        let most = self.sizes.last().and_then(|(_, tenant)| self.by_age.get(tenant));
        let Some(&(is_open, _, spot)) = most.and_then(BTreeSet::first) else { return };
        let Some(known) = self.letters.get(&spot).copied() else { return };
        if is_open {
            self.count_forgotten(spot, &known);
        }
        self.remove(spot);
    }

    fn count_forgotten(&mut self, ((topic, partition), offset): Spot, known: &Known) {
        let counts = self.forgotten.counts.entry(((topic, partition), offset.div_euclid(BUCKET))).or_default();
        let mut of = (known.cause, known.is_parked);
        if self.forgotten.kept_apart >= FORGOTTEN_COUNTS && !counts.contains_key(&of) {
            of.0 = Cause { tenant: Symbol::NONE, topic: Symbol::NONE, rule: Symbol::NONE, kind: known.cause.kind };
        }
        let mut is_new = false;
        let lost = counts.entry(of).or_insert_with(|| {
            is_new = true;
            Lost { count: 0, first_ms: known.at_ms, last_ms: known.at_ms }
        });
        lost.count += 1;
        lost.first_ms = lost.first_ms.min(known.at_ms);
        lost.last_ms = lost.last_ms.max(known.at_ms);
        self.forgotten.total += 1;
        if is_new {
            self.forgotten.kept_apart += 1;
            for symbol in [of.0.tenant, of.0.topic, of.0.rule] {
                self.names.keep(symbol);
            }
        }
    }

    fn lost_in_any_state<'a>(&'a self, matching: &'a Matching) -> impl Iterator<Item = (&'a Cause, bool, &'a Lost)> {
        let counts = self.forgotten.counts.iter();
        let counts = counts.flat_map(|((place, _), counts)| counts.iter().map(move |(of, lost)| (*place, of, lost)));
        let fits = |(place, (cause, _), lost): &(Place, &(Cause, bool), &Lost)| {
            matching.fits_cause(&place.0, cause) && matching.fits_time(lost.first_ms, lost.last_ms)
        };
        counts.filter(fits).map(|(_, (cause, is_parked), lost)| (cause, *is_parked, lost))
    }

    fn lost<'a>(&'a self, matching: &'a Matching) -> impl Iterator<Item = (&'a Cause, bool, &'a Lost)> {
        self.lost_in_any_state(matching).filter(|(_, is_parked, _)| matching.fits_state(state_of(*is_parked)))
    }

    /// How many that match and are not done with were lost for want of room. Of a time this counts some that lie beside it.
    pub(super) fn not_indexed(&self, matching: &Matching) -> u64 {
        self.lost(matching).map(|(_, _, lost)| lost.count).sum()
    }

    /// Whether it was emptied, to be read anew: half of the room is free, and letters that wait were lost.
    pub(super) fn begin_again(&mut self) -> bool {
        if self.forgotten.total == 0 || self.open > self.limit / 2 || self.is_refilling {
            return false;
        }
        *self = Self { is_refilling: true, ..Self::new(std::mem::take(&mut self.topics), self.limit) };
        true
    }

    /// Whether it is read anew, for letters that are not done with.
    pub(super) fn is_refilling(&self) -> bool {
        self.is_refilling
    }

    /// Everything on the topics was read.
    pub(super) fn complete(&mut self) {
        self.is_refilling = false;
    }

    /// The position of the letter with that id.
    pub(super) fn find(&self, id: Uuid) -> Option<Position> {
        self.spots.get(&id).map(|spot| self.position(*spot))
    }

    fn spot(&self, position: &Position) -> Option<Spot> {
        let topic = self.topics.iter().position(|topic| **topic == *position.topic)?;
        Some(((topic, position.partition), position.offset))
    }

    fn position(&self, ((topic, partition), offset): Spot) -> Position {
        Position::new(self.topics[topic].as_str(), partition, offset)
    }

    fn change(&mut self, position: &Position, change: impl FnOnce(&mut Known)) {
        let Some((spot, known)) = self.spot(position).and_then(|spot| Some((spot, self.letters.get_mut(&spot)?)))
        else {
            return;
        };
        let before = *known;
        change(known);
        let after = *known;
        if let Some(ages) = self.by_age.get_mut(&after.cause.tenant) {
            ages.remove(&before.age(spot));
            ages.insert(after.age(spot));
        }
        self.open = self.open + usize::from(after.is_open()) - usize::from(before.is_open());
    }

    /// Notes what the ledger says of a letter.
    pub(super) fn mark(&mut self, position: &Position, mark: Mark) {
        self.change(position, |known| known.mark = mark);
    }

    /// Notes that the letter's event was applied after it was refused.
    pub(super) fn resolve(&mut self, position: &Position) {
        self.change(position, |known| known.is_resolved = true);
    }

    /// Notes what was looked up of a letter; what was known stays, where that says nothing.
    pub(super) fn note(&mut self, position: &Position, mark: Mark, is_applied: bool) {
        if mark != Mark::None {
            self.mark(position, mark);
        }
        if is_applied {
            self.resolve(position);
        }
    }

    /// Notes that the letter's original is nowhere.
    pub(super) fn cannot_send(&mut self, position: &Position) {
        self.change(position, |known| known.is_unsendable = true);
    }

    /// Those of a tenant, or all of them, in no order. Of one with few letters the others' are not looked at.
    fn of_tenant(&self, tenant: Option<Symbol>) -> impl Iterator<Item = (&Spot, &Known)> {
        self.these(tenant, self.few_of(tenant))
    }

    /// The same, partition by partition in its order.
    fn in_order(&self, tenant: Option<Symbol>) -> impl Iterator<Item = (&Spot, &Known)> {
        let mut few: Option<Vec<Spot>> = self.few_of(tenant).map(Iterator::collect);
        few.iter_mut().for_each(|spots| spots.sort_unstable());
        self.these(tenant, few)
    }

    /// Where a tenant's letters stand, if they are few.
    fn few_of(&self, tenant: Option<Symbol>) -> Option<impl Iterator<Item = Spot>> {
        let ages = self.by_age.get(&tenant?);
        let is_few = ages.map_or(0, BTreeSet::len) < self.letters.len() / FEW;
        is_few.then(|| ages.into_iter().flatten().map(|(_, _, spot)| *spot))
    }

    /// Those at these spots; without spots, those of the tenant among all.
    fn these(
        &self,
        tenant: Option<Symbol>,
        spots: Option<impl IntoIterator<Item = Spot>>,
    ) -> impl Iterator<Item = (&Spot, &Known)> {
        let all = spots.is_none().then(|| self.letters.iter()).into_iter().flatten();
        let few = spots.into_iter().flatten().filter_map(|spot| self.letters.get_key_value(&spot));
        all.chain(few).filter(move |(_, known)| tenant.is_none_or(|tenant| tenant == known.cause.tenant))
    }

    /// Those that match, in no order.
    fn fitting<'a>(&'a self, matching: &'a Matching) -> impl Iterator<Item = (&'a Spot, &'a Known)> {
        self.of_tenant(matching.tenant).filter(|(spot, known)| matching.fits(spot.0, known))
    }

    /// Those that match in an order, of those behind the cursor.
    pub(super) fn page(&self, matching: &Matching, order: Order, limit: usize, after: Option<&Cursor>) -> Page {
        let after = after.and_then(|cursor| Some((cursor.at_ms, self.spot(&cursor.position)?)));
        let is_behind = |at: (i64, Spot)| match (after, order) {
            (None, _) => true,
            (Some(after), Order::NewestFirst) => at < after,
            (Some(after), Order::OldestFirst) => at > after,
        };
        let compare = |one: &(i64, Spot), other: &(i64, Spot)| match order {
            Order::NewestFirst => other.cmp(one),
            Order::OldestFirst => one.cmp(other),
        };
        let (mut total, mut open) = (0, DeadLetterCount::default());
        let mut found: Vec<(i64, Spot)> = Vec::new();
        for (spot, known) in self.fitting(matching) {
            total += 1;
            if known.is_open() {
                open.add(known.is_parked, 1);
            }
            if is_behind((known.at_ms, *spot)) {
                found.push((known.at_ms, *spot));
            }
        }
        self.lost(matching).for_each(|(_, is_parked, lost)| open.add(is_parked, lost.count));
        let is_last = found.len() <= limit;
        if !is_last && limit > 0 {
            found.select_nth_unstable_by(limit - 1, compare);
        }
        found.truncate(limit);
        found.sort_unstable_by(compare);
        let last = if is_last { None } else { found.last() };
        let next = last.map(|(at_ms, spot)| Cursor { at_ms: *at_ms, position: self.position(*spot) });
        Page { listed: found.iter().map(|(_, spot)| self.position(*spot)).collect(), total, open, next }
    }

    /// The letters that match by what they have in common: those of which the most wait first, at most `limit`.
    pub(super) fn groups(&self, matching: &Matching, limit: usize) -> Grouping {
        let mut kinds = CountOfKinds::new();
        let mut grouped: HashMap<Cause, Grouped> = HashMap::new();
        for (spot, known) in self.of_tenant(matching.tenant) {
            if !matching.fits_but_for_state(spot.0, known) {
                continue;
            }
            let state = known.state();
            if state.is_open() {
                kinds.entry(known.cause.kind).or_default().add(known.is_parked, 1);
            }
            if matching.fits_state(state) {
                let group = grouped.entry(known.cause).or_default();
                group.count += 1;
                group.waiting += u64::from(state == LetterState::Waiting);
                group.parked += u64::from(state == LetterState::Parked);
                group.spans(known.at_ms, known.at_ms);
                group.example = group.example.max(Some(known.age(*spot)));
            }
        }
        for (cause, is_parked, lost) in self.lost_in_any_state(matching) {
            kinds.entry(cause.kind).or_default().add(is_parked, lost.count);
            if matching.fits_state(state_of(is_parked)) {
                let group = grouped.entry(*cause).or_default();
                group.count += lost.count;
                *(if is_parked { &mut group.parked } else { &mut group.waiting }) += lost.count;
                group.spans(lost.first_ms, lost.last_ms);
            }
        }
        let total = grouped.len();
        let mut groups: Vec<(Cause, Grouped)> = grouped.into_iter().collect();
        groups.sort_unstable_by_key(|(cause, group)| {
            (Reverse((group.waiting, group.parked, group.count)), Reverse(group.times_ms), *cause)
        });
        groups.truncate(limit);
        let name = |symbol: Symbol| self.names.text(symbol).unwrap_or("-").to_owned();
        let shown = groups.into_iter().map(|(cause, group)| {
            let (first_ms, last_ms) = group.times_ms.unwrap_or_default();
            Group {
                tenant: self.names.text(cause.tenant).map(str::to_owned),
                topic: name(cause.topic),
                rule: name(cause.rule),
                kind: cause.kind,
                count: group.count,
                waiting: group.waiting,
                parked: group.parked,
                first_ms,
                last_ms,
                example: group.example.map(|(_, _, spot)| self.position(spot)),
            }
        });
        Grouping { groups: shown.collect(), total, kinds }
    }

    /// When each rule was broken, by whom and where, of a tenant or of all, before `until_ms`. What was sent again and failed again
    /// is told once.
    pub(super) fn violations(&self, tenant: Option<&str>, until_ms: i64) -> Vec<Series> {
        let tenant = tenant.map(|tenant| self.names.find(tenant));
        /// When, and the newest letter.
        type Times = (Vec<i64>, Option<(i64, Spot)>);
        let mut grouped: HashMap<(Cause, Symbol, Symbol), Times> = HashMap::new();
        for (spot, known) in self.of_tenant(tenant) {
            if known.is_replay || known.at_ms >= until_ms || !is_violation(known.cause.kind) {
                continue;
            }
            let (times_ms, example) = grouped.entry((known.cause, known.sender, known.family)).or_default();
            times_ms.push(known.at_ms);
            *example = (*example).max(Some((known.at_ms, *spot)));
        }
        let named = |symbol: Symbol| self.names.text(symbol).map(str::to_owned);
        let series = grouped.into_iter().map(|((cause, sender, family), (times_ms, example))| Series {
            of: Broken {
                rule: named(cause.rule).unwrap_or_default(),
                kind: cause.kind,
                sender: named(sender),
                tenant: named(cause.tenant),
                topic: named(cause.topic).unwrap_or_default(),
                family: named(family).unwrap_or_default(),
            },
            times_ms,
            example: example.map(|(_, spot)| self.position(spot)),
        });
        series.collect()
    }

    /// How far each partition was read: what came later is none of a replay's that begins now.
    pub(super) fn up_to(&self) -> UpTo {
        self.next.iter().map(|(place, next)| (self.partition(*place), *next)).collect()
    }

    /// `topic/partition`.
    pub(super) fn partition(&self, (topic, partition): Place) -> String {
        format!("{}/{partition}", self.topics[topic])
    }

    /// The oldest that wait and match, below `up_to`. Each partition's order is kept; between partitions the time counts.
    pub(super) fn choose(&self, matching: &Matching, up_to: Option<&UpTo>, limit: usize) -> Chosen {
        let mut chosen = Chosen::default();
        let mut queues: BTreeMap<Place, Vec<(i64, Spot)>> = BTreeMap::new();
        let mut ends: HashMap<Place, i64> = HashMap::new();
        for (spot, known) in self.in_order(matching.tenant) {
            if !known.is_open() || !matching.fits(spot.0, known) {
                continue;
            }
            let end = *ends.entry(spot.0).or_insert_with(|| match up_to {
                Some(up_to) => up_to.get(&self.partition(spot.0)).copied().unwrap_or(0),
                None => i64::MAX,
            });
            if spot.1 >= end {
                continue;
            }
            let queue = queues.entry(spot.0).or_default();
            if known.is_parked {
                chosen.parked += 1;
            } else if known.is_unsendable {
                chosen.unsendable.push(self.position(*spot));
            } else if queue.len() < limit {
                queue.push((known.at_ms, *spot));
            } else {
                chosen.further += 1;
            }
        }
        let (oldest, left) = merge(queues.into_values().collect(), limit);
        chosen.waiting = oldest.into_iter().map(|spot| self.position(spot)).collect();
        chosen.further += left;
        chosen
    }

    /// Those that match and are not done with, parked or not, the oldest first within each partition; and how many more.
    pub(super) fn open(&self, matching: &Matching, up_to: Option<&UpTo>, limit: usize) -> (Vec<Position>, u64) {
        let mut open = Vec::new();
        let mut further = 0;
        for (spot, known) in self.in_order(matching.tenant) {
            let is_before =
                up_to.is_none_or(|up_to| up_to.get(&self.partition(spot.0)).is_some_and(|end| spot.1 < *end));
            if !known.is_open() || !matching.fits(spot.0, known) || !is_before {
                continue;
            }
            if open.len() < limit { open.push(self.position(*spot)) } else { further += 1 }
        }
        (open, further)
    }

    /// Letters whose event may have been applied since, at most `limit`: each call goes on where the last one stopped.
    pub(super) fn next_to_check(&mut self, limit: usize) -> Vec<ToCheck> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = self.checked.map_or(Unbounded, Excluded);
        let mut found = Vec::new();
        let mut looked = 0;
        let mut last = None;
        for (spot, known) in self.letters.range((start, Unbounded)) {
            // A flood of letters without an id is passed by in parts, too.
            if found.len() == limit || looked == limit * 100 {
                break;
            }
            looked += 1;
            last = Some(*spot);
            found.extend(self.event_of(*spot, known));
        }
        let is_at_end = found.len() < limit && looked < limit * 100;
        self.checked = if is_at_end { None } else { last };
        found
    }

    fn event_of(&self, spot: Spot, known: &Known) -> Option<ToCheck> {
        if !known.is_open() || known.event_id.is_nil() || !may_be_applied(known.cause.kind) {
            return None;
        }
        Some(ToCheck {
            position: self.position(spot),
            tenant: self.names.text(known.cause.tenant)?.to_owned(),
            family: self.names.text(known.family)?.to_owned(),
            event_id: known.event_id,
            at_ms: known.at_ms,
        })
    }

    /// The letters about these events that are not done with, the newest of each.
    pub(super) fn about(&self, tenant: Option<&str>, events: &HashSet<Uuid>) -> HashMap<Uuid, Position> {
        let tenant = tenant.map(|tenant| self.names.find(tenant));
        let of = |(spot, known): (&Spot, &Known)| Some((known.event_id, (known.at_ms, *spot)));
        let open = self.of_tenant(tenant);
        let open = open.filter(|(_, known)| known.is_open() && events.contains(&known.event_id));
        let mut newest: HashMap<Uuid, (i64, Spot)> = HashMap::new();
        for (event_id, at) in open.filter_map(of) {
            let kept = newest.entry(event_id).or_insert(at);
            *kept = (*kept).max(at);
        }
        newest.into_iter().map(|(event_id, (_, spot))| (event_id, self.position(spot))).collect()
    }
}

/// The oldest of several queues, at most `limit`, each queue's order kept; and how many are left.
pub(super) fn merge<T: Copy>(queues: Vec<Vec<(i64, T)>>, limit: usize) -> (Vec<T>, u64) {
    let mut queues: Vec<_> = queues.into_iter().map(|queue| queue.into_iter().peekable()).collect();
    let mut merged = Vec::new();
    while merged.len() < limit {
        let oldest = queues.iter_mut().filter_map(|queue| Some((queue.peek()?.0, queue)));
        let Some((_, queue)) = oldest.min_by_key(|(at_ms, _)| *at_ms) else { break };
        merged.extend(queue.next().map(|(_, of)| of));
    }
    (merged, queues.into_iter().map(|queue| queue.len() as u64).sum())
}

#[cfg(test)]
mod tests;
