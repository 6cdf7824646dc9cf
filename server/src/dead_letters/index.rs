//! What is known of the letters on the topics: small, and bounded however many there are.

use std::collections::{BTreeMap, HashMap, VecDeque};

use lyceum_core::dead_letter::DeadLetter;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::letters::{DeadLetterCount, DeadLetterFilter, UpTo};

/// A partition of a dead-letter topic: the topic's place in the list of topics, and the partition.
pub(super) type Place = (usize, i32);

/// The letters that stand on the topics, as far as they were read.
///
/// At most `limit` are held. Where there are more, those that were sent again are forgotten first; then reading stops,
/// the oldest being held, and goes on when letters were sent again or have expired.
pub(super) struct Index {
    topics: Vec<String>,
    limit: usize,
    partitions: BTreeMap<Place, Partition>,
    /// Where each letter stands; by it the second copy of a letter is known.
    places: HashMap<Uuid, (Place, i64)>,
}

#[derive(Default)]
struct Partition {
    /// The next offset to read.
    next: i64,
    letters: VecDeque<Known>,
}

/// A letter, in 80 bytes.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) offset: i64,
    /// When it was written, milliseconds since 1970 UTC.
    pub(super) at_ms: i64,
    pub(super) id: Uuid,
    source_topic: Name,
    tenant: Option<Name>,
    kind: DeadLetterKind,
    is_parked: bool,
    pub(super) is_replayed: bool,
    /// It does not hold its original, or what should be it is not there.
    pub(super) is_unsendable: bool,
}

/// A name that a sender may have written, in 16 bytes.
type Name = [u8; 16];

fn name(text: &str) -> Name {
    let mut name = [0; 16];
    name.copy_from_slice(&Sha256::digest(text)[..16]);
    name
}

/// A filter, made ready for comparing.
pub(super) struct Matching {
    tenant: Option<Name>,
    topic: Option<(Name, Option<usize>)>,
    kind: Option<DeadLetterKind>,
}

impl Known {
    pub(super) fn of(letter: &DeadLetter, at_ms: i64, is_replayed: bool) -> Self {
        Self {
            offset: letter.position.offset,
            at_ms,
            id: letter.id,
            source_topic: name(&letter.source.topic),
            tenant: letter.tenant.as_deref().map(name),
            kind: letter.kind,
            is_parked: letter.is_parked(),
            is_replayed,
            // The original of an entry that could not be read may still stand at its source.
            is_unsendable: letter.value_omitted,
        }
    }

    fn matches(&self, place: Place, matching: &Matching) -> bool {
        let of_topic = |(name, index): &(Name, Option<usize>)| *name == self.source_topic || *index == Some(place.0);
        matching.tenant.is_none_or(|tenant| self.tenant == Some(tenant))
            && matching.topic.as_ref().is_none_or(of_topic)
            && matching.kind.is_none_or(|kind| kind == self.kind)
    }
}

/// What a replay of all that match would do.
#[derive(Default)]
pub(super) struct Chosen {
    /// Oldest first; within a partition in its order.
    pub(super) waiting: Vec<(Position, Uuid)>,
    /// How many more there are than were asked for.
    pub(super) further: u64,
    /// Letters that match and stay.
    pub(super) parked: u64,
    /// Letters that cannot be sent again.
    pub(super) unsendable: Vec<Position>,
}

impl Index {
    pub(super) fn new(topics: Vec<String>, limit: usize) -> Self {
        Self { topics, limit, partitions: BTreeMap::new(), places: HashMap::new() }
    }

    pub(super) fn topics(&self) -> &[String] {
        &self.topics
    }

    pub(super) fn matching(&self, filter: &DeadLetterFilter) -> Matching {
        let place = |topic: &String| self.topics.iter().position(|of| of == topic);
        Matching {
            tenant: filter.tenant.as_deref().map(name),
            topic: filter.topic.as_ref().map(|topic| (name(topic), place(topic))),
            kind: filter.kind,
        }
    }

    /// Where to read on in a partition that holds `start..`; what stood before that is forgotten.
    pub(super) fn next(&mut self, place: Place, start: i64) -> i64 {
        let partition = self.partitions.entry(place).or_default();
        while let Some(expired) = partition.letters.pop_front_if(|known| known.offset < start) {
            self.places.remove(&expired.id);
        }
        partition.next = partition.next.max(start);
        partition.next
    }

    /// The topic was made anew: what was known of the partition is forgotten.
    pub(super) fn reset(&mut self, place: Place) {
        if let Some(partition) = self.partitions.remove(&place) {
            for known in partition.letters {
                self.places.remove(&known.id);
            }
        }
    }

    /// How many letters there is room for.
    pub(super) fn room(&mut self) -> usize {
        if self.places.len() >= self.limit {
            for partition in self.partitions.values_mut() {
                partition.letters.retain(|known| {
                    if known.is_replayed {
                        self.places.remove(&known.id);
                    }
                    !known.is_replayed
                });
            }
        }
        self.limit.saturating_sub(self.places.len())
    }

    pub(super) fn is_known(&self, id: Uuid) -> bool {
        self.places.contains_key(&id)
    }

    /// Takes in letters of a partition that was read up to `next`.
    pub(super) fn take_in(&mut self, place: Place, letters: impl IntoIterator<Item = Known>, next: i64) {
        let partition = self.partitions.entry(place).or_default();
        for known in letters {
            // The same letter may be there more than once: it is published at least once, under one id.
            if let std::collections::hash_map::Entry::Vacant(free) = self.places.entry(known.id) {
                free.insert((place, known.offset));
                partition.letters.push_back(known);
            }
        }
        partition.next = next;
    }

    /// The position of the letter with that id.
    pub(super) fn find(&self, id: Uuid) -> Option<Position> {
        let ((topic, partition), offset) = self.places.get(&id)?;
        Some(Position::new(self.topics[*topic].as_str(), *partition, *offset))
    }

    /// The letter at a position, to be changed.
    pub(super) fn at(&mut self, position: &Position) -> Option<&mut Known> {
        let topic = self.topics.iter().position(|topic| **topic == *position.topic)?;
        let letters = &mut self.partitions.get_mut(&(topic, position.partition))?.letters;
        let at = letters.binary_search_by_key(&position.offset, |known| known.offset).ok()?;
        letters.get_mut(at)
    }

    fn position(&self, (topic, partition): Place, offset: i64) -> Position {
        Position::new(self.topics[topic].as_str(), partition, offset)
    }

    /// The newest that match, and whether each was sent again.
    pub(super) fn newest(&self, matching: &Matching, limit: usize) -> Vec<(Position, bool)> {
        let mut found: Vec<(i64, Place, &Known)> = Vec::new();
        for (place, partition) in &self.partitions {
            let newest = partition.letters.iter().rev().filter(|known| known.matches(*place, matching)).take(limit);
            found.extend(newest.map(|known| (known.at_ms, *place, known)));
        }
        found.sort_by_key(|(at_ms, place, known)| std::cmp::Reverse((*at_ms, *place, known.offset)));
        let newest = found.into_iter().take(limit);
        newest.map(|(_, place, known)| (self.position(place, known.offset), known.is_replayed)).collect()
    }

    pub(super) fn count(&self, matching: &Matching) -> BTreeMap<DeadLetterKind, DeadLetterCount> {
        let mut counts: BTreeMap<DeadLetterKind, DeadLetterCount> = BTreeMap::new();
        for (place, partition) in &self.partitions {
            for known in partition.letters.iter().filter(|known| known.matches(*place, matching)) {
                let count = counts.entry(known.kind).or_default();
                count.waiting += u64::from(!known.is_parked && !known.is_replayed);
                count.parked += u64::from(known.is_parked && !known.is_replayed);
            }
        }
        counts
    }

    /// How far each partition was read: what came later is none of a replay's that begins now.
    pub(super) fn up_to(&self) -> UpTo {
        let name =
            |((topic, partition), of): (&Place, &Partition)| (format!("{}/{partition}", self.topics[*topic]), of.next);
        self.partitions.iter().map(name).collect()
    }

    /// The oldest that wait and match, below `up_to`. Each partition's order is kept; between partitions the time counts.
    pub(super) fn choose(&self, matching: &Matching, up_to: Option<&UpTo>, limit: usize) -> Chosen {
        let mut chosen = Chosen::default();
        let mut queues = Vec::new();
        for (place, partition) in &self.partitions {
            let end = match up_to {
                Some(up_to) => up_to.get(&format!("{}/{}", self.topics[place.0], place.1)).copied().unwrap_or(0),
                None => i64::MAX,
            };
            let mut waiting = VecDeque::new();
            let letters = partition.letters.iter().take_while(|known| known.offset < end);
            for known in letters.filter(|known| known.matches(*place, matching) && !known.is_replayed) {
                if known.is_parked {
                    chosen.parked += 1;
                } else if known.is_unsendable {
                    chosen.unsendable.push(self.position(*place, known.offset));
                } else if waiting.len() < limit {
                    waiting.push_back(known);
                } else {
                    chosen.further += 1;
                }
            }
            queues.push((*place, waiting));
        }
        while chosen.waiting.len() < limit {
            let oldest = queues.iter_mut().filter(|(_, waiting)| !waiting.is_empty());
            let Some((place, waiting)) = oldest.min_by_key(|(_, waiting)| waiting.front().map(|known| known.at_ms))
            else {
                break;
            };
            if let Some(known) = waiting.pop_front() {
                chosen.waiting.push((self.position(*place, known.offset), known.id));
            }
        }
        chosen.further += queues.iter().map(|(_, waiting)| waiting.len() as u64).sum::<u64>();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(offset: i64, at_ms: i64) -> Known {
        Known {
            offset,
            at_ms,
            id: Uuid::new_v4(),
            source_topic: name("bookings"),
            tenant: None,
            kind: DeadLetterKind::Rejected,
            is_parked: false,
            is_replayed: false,
            is_unsendable: false,
        }
    }

    #[test]
    fn a_letter_is_small() {
        assert!(size_of::<Known>() <= 80, "{}", size_of::<Known>());
    }

    #[test]
    fn a_full_index_forgets_what_was_sent_again_and_keeps_the_oldest() {
        let mut index = Index::new(vec!["dead".to_owned()], 3);
        index.take_in((0, 0), (0..3).map(|offset| known(offset, 0)), 3);
        assert_eq!(index.room(), 0);
        index.at(&Position::new("dead", 0, 1)).unwrap().is_replayed = true;
        assert_eq!(index.room(), 1);
        let chosen = index.choose(&index.matching(&DeadLetterFilter::default()), None, 9);
        let offsets: Vec<i64> = chosen.waiting.iter().map(|(position, _)| position.offset).collect();
        assert_eq!(offsets, [0, 2]);
    }

    #[test]
    fn a_partitions_order_is_kept_whatever_its_timestamps_say() {
        let mut index = Index::new(vec!["dead".to_owned()], 9);
        index.take_in((0, 0), [known(0, 50), known(1, 10)], 2);
        index.take_in((0, 1), [known(0, 20), known(1, 60)], 2);
        let chosen = index.choose(&index.matching(&DeadLetterFilter::default()), None, 3);
        let places: Vec<(i32, i64)> = chosen.waiting.iter().map(|(at, _)| (at.partition, at.offset)).collect();
        assert_eq!((places, chosen.further), (vec![(1, 0), (0, 0), (0, 1)], 1));
    }

    #[test]
    fn what_came_after_the_beginning_is_no_part_of_a_replay() {
        let mut index = Index::new(vec!["dead".to_owned()], 9);
        index.take_in((0, 0), [known(0, 0)], 1);
        let up_to = index.up_to();
        index.take_in((0, 0), [known(1, 0)], 2);
        let everything = index.matching(&DeadLetterFilter::default());
        assert_eq!(index.choose(&everything, Some(&up_to), 9).waiting.len(), 1);
        assert_eq!(index.choose(&everything, None, 9).waiting.len(), 2);
    }

    #[test]
    fn what_expired_is_forgotten() {
        let mut index = Index::new(vec!["dead".to_owned()], 9);
        index.take_in((0, 0), (0..5).map(|offset| known(offset, 0)), 5);
        assert_eq!(index.next((0, 0), 3), 5);
        let chosen = index.choose(&index.matching(&DeadLetterFilter::default()), None, 9);
        assert_eq!((chosen.waiting.len(), index.room()), (2, 7));
    }
}
