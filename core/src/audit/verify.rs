//! Whether the logs are still what they were: each entry against its id, all of a log against its tree's root, the roots of the past
//! against the seals, and each seal against the one before.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use smol_str::SmolStr;

use super::entry::{Entry, LogId, id_of, place};
use super::hash::Hash;
use super::seal::{SealedLog, StoredSeal};
use super::tree::{Tree, leaf};
use crate::ports::statements::StatementDocument;
use crate::record::Position;

/// So many ways of choosing among entries that claim one place are tried.
const MOST_CHOICES: usize = 64;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// An entry is not what it was.
    Changed,
    /// An entry is not there any more.
    Missing,
    /// An entry is there that was not written by the log.
    Added,
    /// Entries stand in another order than their records, or in another log than their own.
    Moved,
    /// A seal is not what the next one says, or is missing.
    Seal,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub wrong: Wrong,
    /// Whose log or seal.
    pub tenant: SmolStr,
    /// `day/topic/partition`; `None` where it is about a seal.
    pub log: Option<String>,
    /// The entry's number.
    pub number: Option<u64>,
    /// The record.
    pub position: Option<Position>,
    /// A sentence for a person.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(log) = &self.log {
            write!(f, "{log}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// What came out about one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The log.
    pub log: LogId,
    /// How many entries it has.
    pub entries: u64,
    /// The root over them, as the ledger has it.
    pub root: Hash,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// A log as the ledger has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its tree.
    pub tree: Tree,
    /// What seals say of it, with their numbers.
    pub sealed: Vec<(u64, SealedLog)>,
}

/// An entry as it was found.
#[derive(Clone, Debug)]
struct Found {
    leaf: Hash,
    position: Position,
}

/// A log whose entries come one after another, in no order.
#[derive(Debug)]
pub struct Verifying {
    log: LogId,
    name: String,
    found: BTreeMap<u64, Vec<Found>>,
    findings: Vec<Finding>,
}

impl Verifying {
    /// Nothing of it is there yet.
    pub fn of(log: LogId) -> Self {
        Self { name: log.name(), log, found: BTreeMap::new(), findings: Vec::new() }
    }

    /// Takes a document that was found under the log's name.
    pub fn add(&mut self, document: &StatementDocument) {
        let entry = match Entry::read(&document.raw) {
            Ok(entry) => entry,
            Err(error) => {
                let message = format!("{} is no entry: {error}", document.source);
                return self.wrong(Wrong::Changed, None, Some(document.source.clone()), message);
            }
        };
        let (number, position) = (entry.number, entry.position.clone());
        if entry.log != self.log {
            let message = format!("entry {number}, {position}, belongs into {}", entry.log);
            return self.wrong(Wrong::Moved, Some(number), Some(position), message);
        }
        let leaf = leaf(&document.raw);
        let is_of_its_id = document.id == id_of(&self.name, number, leaf);
        if !is_of_its_id {
            let message = format!("entry {number}, {position}, has other bytes than it was written with");
            self.wrong(Wrong::Changed, Some(number), Some(position.clone()), message);
        } else if !entry
            .document()
            .is_ok_and(|(written, _)| is_found_as(document, &written, &place(&self.name, number)))
        {
            let message = format!("entry {number}, {position}, is found by other fields than its own");
            self.wrong(Wrong::Changed, Some(number), Some(position.clone()), message);
        }
        self.found.entry(number).or_default().push(Found { leaf, position });
    }

    /// What is wrong, given what the ledger has.
    pub fn finish(mut self, expected: &Expected) -> Verified {
        let size = expected.tree.size();
        for (number, found) in self.found.split_off(&size) {
            for Found { position, .. } in found {
                let message = format!("entry {number}, {position}, is none of the {size} of the log");
                self.wrong(Wrong::Added, Some(number), Some(position), message);
            }
        }
        self.find_missing(size);
        self.find_order();
        self.find_roots(expected);
        if !expected.tree.is_sound() {
            self.wrong(Wrong::Changed, None, None, "the ledger's tree of the log is none".to_owned());
        }
        self.findings.sort_by_key(|of| (of.number, of.wrong));
        Verified { log: self.log, entries: size, root: expected.tree.root(), findings: self.findings }
    }

    fn find_missing(&mut self, size: u64) {
        let mut next = 0;
        let there: Vec<u64> = self.found.keys().copied().chain([size]).collect();
        for number in there {
            if number > next {
                let last = number - 1;
                let which =
                    if last == next { format!("entry {next} is") } else { format!("entries {next} to {last} are") };
                self.wrong(Wrong::Missing, Some(next), None, format!("{which} missing"));
            }
            next = number + 1;
        }
    }

    fn find_order(&mut self) {
        let mut wrong = Vec::new();
        let mut last: Option<&Position> = None;
        for (number, found) in &self.found {
            // Of several one is the right one: which, the root tells.
            let [Found { position, .. }] = &found[..] else { continue };
            if let Some(before) = last.filter(|before| before.offset >= position.offset) {
                wrong.push((*number, position.clone(), format!("entry {number}, {position}, stands behind {before}")));
            }
            last = Some(position);
        }
        for (number, position, message) in wrong {
            self.wrong(Wrong::Moved, Some(number), Some(position), message);
        }
    }

    /// Compares the roots, where an entry is at each place.
    fn find_roots(&mut self, expected: &Expected) {
        let size = expected.tree.size();
        let mut sealed: Vec<_> = expected.sealed.iter().collect();
        sealed.sort_by_key(|(_, of)| of.size);
        for (seal, of) in &sealed {
            if of.size > size {
                let message = format!("seal {seal} has {} entries, and the ledger {size}", of.size);
                self.wrong(Wrong::Missing, Some(size), None, message);
            }
        }
        if self.found.len() as u64 != size {
            return;
        }
        let (chosen, added) = self.choose(expected);
        for (number, position) in added {
            let message = format!("entry {number}, {position}, stands at the place of another one");
            self.wrong(Wrong::Added, Some(number), Some(position), message);
        }
        let mut tree = Tree::default();
        let mut sealed = sealed.into_iter().filter(|(_, of)| of.size <= size).peekable();
        let mut good = 0;
        for leaf in chosen {
            tree.push(leaf);
            while let Some((seal, of)) = sealed.next_if(|(_, of)| of.size == tree.size()) {
                if of.root == tree.root() {
                    good = of.size;
                } else {
                    let last = of.size - 1;
                    let message = format!("entries {good} to {last} are not those of which seal {seal} has the root");
                    self.wrong(Wrong::Changed, Some(good), None, message);
                }
            }
        }
        if tree.root() != expected.tree.root() {
            let last = size.saturating_sub(1);
            let message = format!("entries {good} to {last} are not those of which the ledger has the root");
            self.wrong(Wrong::Changed, Some(good), None, message);
        }
    }

    /// An entry for each place: where several claim one, those by which the root is right, if any are.
    fn choose(&self, expected: &Expected) -> (Vec<Hash>, Vec<(u64, Position)>) {
        let several: Vec<(u64, usize)> =
            self.found.iter().filter(|(_, of)| of.len() > 1).map(|(number, of)| (*number, of.len())).collect();
        let ways = several.iter().try_fold(1_usize, |ways, (_, of)| ways.checked_mul(*of)).unwrap_or(usize::MAX);
        let chosen = |mut way: usize| -> BTreeMap<u64, usize> {
            let mut of_place = |(number, of): &(u64, usize)| {
                let which = way % of;
                way /= of;
                (*number, which)
            };
            several.iter().map(&mut of_place).collect()
        };
        let leaves = |which: &BTreeMap<u64, usize>| -> Vec<Hash> {
            let leaf = |(number, of): (&u64, &Vec<Found>)| of[which.get(number).copied().unwrap_or(0)].leaf;
            self.found.iter().map(leaf).collect()
        };
        let is_right = |which: &BTreeMap<u64, usize>| super::tree::root(&leaves(which)) == expected.tree.root();
        let which = (0..ways.min(MOST_CHOICES)).map(chosen).find(is_right).unwrap_or_else(|| chosen(0));
        let mut added = Vec::new();
        for (number, which) in &which {
            let others = self.found[number].iter().enumerate().filter(|(at, _)| at != which);
            added.extend(others.map(|(_, found)| (*number, found.position.clone())));
        }
        (leaves(&which), added)
    }

    fn wrong(&mut self, wrong: Wrong, number: Option<u64>, position: Option<Position>, message: String) {
        let (tenant, log) = (self.log.tenant.clone(), Some(self.name.clone()));
        self.findings.push(Finding { wrong, tenant, log, number, position, message });
    }
}

/// Whether a document is found by what it was stored with. Earlier builds stored the name of its place with an entry, too, by which
/// nobody looks for one.
fn is_found_as(found: &StatementDocument, written: &StatementDocument, place: &str) -> bool {
    let key = |of: &StatementDocument| (of.tenant.clone(), of.id, of.source.clone());
    let mut fields = found.fields.clone();
    fields.survey.take_if(|of| **of == *place);
    key(found) == key(written) && fields == written.fields
}

/// What is wrong with the seals of a tenant, by their numbers; `known` is the hash of one of them that was kept elsewhere.
pub fn seals(
    tenant: &str,
    count: u64,
    stored: &BTreeMap<u64, StoredSeal>,
    last: Option<Hash>,
    known: Option<Hash>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut wrong = |message: String| {
        findings.push(Finding {
            wrong: Wrong::Seal,
            tenant: tenant.into(),
            log: None,
            number: None,
            position: None,
            message,
        });
    };
    let mut previous = None;
    for number in 0..count {
        let Some(stored) = stored.get(&number) else {
            wrong(format!("seal {number} is missing"));
            previous = None;
            continue;
        };
        match stored.read() {
            Ok(seal) if seal.number != number || seal.tenant != tenant => {
                wrong(format!("seal {number} is one of another number or tenant"));
            }
            Ok(seal) if number > 0 && previous.is_some() && seal.previous != previous => {
                wrong(format!("seal {} is not the one that seal {number} names", number - 1));
            }
            Ok(_) => {}
            Err(error) => wrong(format!("seal {number} is none: {error}")),
        }
        previous = Some(stored.hash());
    }
    if previous.is_some() && previous != last {
        wrong(format!(
            "the last seal is not {}, as the ledger has it",
            last.map_or("any".to_owned(), |hash| hash.to_string())
        ));
    }
    if let Some(known) = known
        && !stored.values().any(|stored| stored.hash() == known)
    {
        wrong(format!("no seal is {known}, which was kept elsewhere"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::entry::{Kind, Labels};
    use super::super::seal::{LastSeal, next};
    use super::*;
    use crate::record::Record;

    const SIZE: u64 = 9;

    fn log() -> LogId {
        LogId { tenant: "acme".into(), day: "1970-01-01".into(), topic: "t".into(), partition: 0 }
    }

    fn written(number: u64, offset: i64, value: &'static str) -> StatementDocument {
        let record = Record {
            position: Position::new("t", 0, offset),
            timestamp_ms: 1_000 + offset,
            key: None,
            value: Some(Bytes::from_static(value.as_bytes())),
            headers: Vec::new(),
        };
        let labels = Labels {
            kind: Kind::Event,
            event_type: "a.b",
            family: "a".into(),
            event_id: Some(Uuid::from_u128(number.into())),
            tenant: Some("acme".into()),
            correlation_id: Some("c".into()),
            letter: None,
            holds_secret: false,
        };
        Entry::of(&record, &labels, log(), number).document().unwrap().0
    }

    fn entries() -> Vec<StatementDocument> {
        // Between two of its records stand some of other tenants.
        (0..SIZE).map(|number| written(number, 3 * number as i64, "{}")).collect()
    }

    fn expected() -> Expected {
        let mut expected = Expected::default();
        for (number, document) in entries().iter().enumerate() {
            expected.tree.push(leaf(&document.raw));
            if number == 3 || number == 6 {
                let (size, root) = (expected.tree.size(), expected.tree.root());
                expected.sealed.push((size, SealedLog { log: log().name(), size, root }));
            }
        }
        expected
    }

    fn verify(documents: &[StatementDocument], expected: &Expected) -> Vec<Finding> {
        let mut verifying = Verifying::of(log());
        documents.iter().rev().for_each(|document| verifying.add(document));
        verifying.finish(expected).findings
    }

    fn kinds(findings: &[Finding]) -> Vec<(Wrong, Option<u64>)> {
        findings.iter().map(|finding| (finding.wrong, finding.number)).collect()
    }

    #[test]
    fn a_log_as_it_was_written_is_whole() {
        assert_eq!(verify(&entries(), &expected()), []);
        assert_eq!(verify(&[], &Expected::default()), []);
    }

    #[test]
    fn an_entry_whose_bytes_are_changed_is_named() {
        let mut entries = entries();
        entries[4].raw = written(4, 12, "[]").raw;
        let found = kinds(&verify(&entries, &expected()));
        assert_eq!(found, [(Wrong::Changed, Some(4)), (Wrong::Changed, Some(4)), (Wrong::Changed, Some(4))]);
    }

    #[test]
    fn an_entry_that_is_changed_with_all_that_belongs_to_it_is_found_between_two_seals() {
        let mut entries = entries();
        entries[5] = written(5, 15, "[]");
        let found = verify(&entries, &expected());
        assert_eq!(found[0].message, "entries 4 to 6 are not those of which seal 7 has the root");
    }

    #[test]
    fn an_entry_that_is_found_by_something_else_is_named() {
        let mut entries = entries();
        entries[2].fields.registration = Some("another".into());
        assert_eq!(kinds(&verify(&entries, &expected())), [(Wrong::Changed, Some(2))]);
    }

    #[test]
    fn an_entry_that_an_earlier_build_stored_with_the_name_of_its_place_is_whole_and_with_anothers_is_not() {
        let mut entries = entries();
        let log = log().name();
        entries[2].fields.survey = Some(place(&log, 2).into());
        assert_eq!(verify(&entries, &expected()), []);
        entries[2].fields.survey = Some(place(&log, 3).into());
        assert_eq!(kinds(&verify(&entries, &expected())), [(Wrong::Changed, Some(2))]);
    }

    #[test]
    fn entries_that_are_missing_are_named_wherever_they_stood() {
        for (gone, message) in
            [(0..1, "entry 0 is missing"), (3..6, "entries 3 to 5 are missing"), (7..9, "entries 7 to 8 are missing")]
        {
            let mut entries = entries();
            entries.drain(gone);
            assert_eq!(verify(&entries, &expected())[0].message, message);
        }
    }

    #[test]
    fn a_log_and_its_head_that_are_cut_off_are_shorter_than_a_seal() {
        let mut short = Expected { sealed: expected().sealed, ..Expected::default() };
        entries()[..5].iter().for_each(|document| short.tree.push(leaf(&document.raw)));
        assert_eq!(kinds(&verify(&entries()[..5], &short)), [(Wrong::Missing, Some(5))]);
    }

    #[test]
    fn an_entry_that_is_added_is_named_at_the_end_and_beside_another_one() {
        for (added, number) in [(written(SIZE, 99, "{}"), SIZE), (written(4, 12, "[]"), 4), (written(4, 13, "{}"), 4)] {
            for place in [0, entries().len()] {
                let mut entries = entries();
                entries.insert(place, added.clone());
                let found = verify(&entries, &expected());
                assert_eq!(kinds(&found), [(Wrong::Added, Some(number))], "{found:?}");
                assert_eq!(found[0].position, Some(added.source.clone()));
            }
        }
    }

    #[test]
    fn an_entry_of_another_log_and_what_is_no_entry_are_named() {
        let mut other = written(1, 3, "{}");
        other.raw = String::from_utf8(other.raw.to_vec()).unwrap().replace("\"partition\":0", "\"partition\":1").into();
        let mut none = written(1, 3, "{}");
        none.raw = Bytes::from_static(b"{}");
        for (document, wrong) in [(other, Wrong::Moved), (none, Wrong::Changed)] {
            let mut entries = entries();
            entries.push(document);
            assert_eq!(verify(&entries, &expected())[0].wrong, wrong);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn entries_that_changed_places_are_found(one in 0..SIZE, other in 0..SIZE) {
            prop_assume!(one != other);
            let mut entries = entries();
            entries[one as usize] = written(one, 3 * other as i64, "{}");
            entries[other as usize] = written(other, 3 * one as i64, "{}");
            let found = verify(&entries, &expected());
            prop_assert!(found.iter().any(|finding| finding.wrong == Wrong::Moved), "{:?}", found);
        }
    }

    fn three_seals() -> (BTreeMap<u64, StoredSeal>, LastSeal) {
        let (mut last, mut tree, mut stored) = (LastSeal::default(), Tree::default(), BTreeMap::new());
        let mut sealed = 0;
        for document in &entries()[..3] {
            tree.push(leaf(&document.raw));
            let seal = next(&last, "acme", "1970-01-01", [(&log(), &tree)], |_| sealed).unwrap();
            sealed = tree.size();
            let seal = StoredSeal { seal: serde_json::to_string(&seal).unwrap() };
            (last.count, last.hash) = (last.count + 1, Some(seal.hash()));
            stored.insert(last.count - 1, seal);
        }
        assert_eq!(next(&last, "acme", "1970-01-01", [(&log(), &tree)], |_| sealed), None);
        (stored, last)
    }

    #[test]
    fn a_seal_that_is_changed_or_missing_is_found_and_so_is_one_that_was_kept_elsewhere() {
        let (stored, last) = three_seals();
        let check = |stored: &BTreeMap<u64, StoredSeal>, known| seals("acme", last.count, stored, last.hash, known);
        let one = stored[&1].hash();
        assert_eq!(check(&stored, Some(one)), []);
        assert_eq!(check(&stored, Some(leaf(b"another"))).len(), 1);
        for number in 0..3 {
            let mut gone = stored.clone();
            gone.remove(&number);
            assert!(!check(&gone, None).is_empty(), "seal {number} is gone");
            let mut changed = stored.clone();
            let text = &mut changed.get_mut(&number).unwrap().seal;
            *text = text.replace("\"day\":\"1970-01-01\"", "\"day\":\"1970-01-02\"");
            assert!(!check(&changed, None).is_empty(), "seal {number} is changed");
        }
    }
}
