//! What the audit log has, beside what was published.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher};

use lyceum_core::audit::entry::{Data, Kind};
use lyceum_core::audit::hash::Hash;
use lyceum_core::outcome::{DeadLetterKind, Outcome, UNKNOWN};
use lyceum_generate::{Expected, Made, Mark};
use lyceum_tests::workplace::Server;
use serde::Deserialize;

use super::{Ended, ending};

const TOO_LARGE: Outcome = Outcome::DeadLettered { kind: DeadLetterKind::Oversized };

/// What was published: how many must end in which way, and a sum over all records that no order changes and that one lost, doubled or
/// altered record does.
#[derive(Default)]
pub(super) struct Published {
    ended: Ended,
    sum: u128,
    records: u64,
    /// Of those whose value the log may leave out: what stands for the record by its value's hash, and what by its value.
    broken: HashMap<u64, u64>,
}

fn mark_of(topic: &str, key: &[u8], value: Option<&[u8]>, headers: &[(&str, &[u8])]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, key, value, headers).hash(&mut hasher);
    hasher.finish()
}

impl Published {
    pub(super) fn add(&mut self, made: &Made) {
        let headers: Vec<(&str, &[u8])> = made.headers.iter().map(|(name, text)| (&**name, text.as_bytes())).collect();
        let of = |value| mark_of(made.topic, made.key.as_bytes(), value, &headers);
        let mark = of(made.value.as_deref());
        if let (Mark::Broken(_), Some(value)) = (made.mark, &made.value) {
            self.broken.insert(of(Some(Hash::of(&[value]).to_string().as_bytes())), mark);
        }
        self.sum = self.sum.wrapping_add(u128::from(mark));
        self.records += 1;
        let of = (made.family.to_owned(), made.event_type.to_owned(), ending(&made.outcome));
        *self.ended.entry(of).or_default() += 1;
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }
}

/// An entry as `GET /api/audit` shows it.
#[derive(Deserialize)]
struct Entry {
    position: String,
    kind: Kind,
    event_type: String,
    family: String,
    event_id: Option<String>,
    key: Option<Data<'static>>,
    value: Option<Data<'static>>,
    headers: Vec<(String, Option<Data<'static>>)>,
    dead_letters: Vec<Letter>,
}

#[derive(Deserialize)]
struct Letter {
    error: String,
}

#[derive(Deserialize)]
struct Page {
    entries: Vec<Entry>,
    next: Option<String>,
}

/// What is in the audit log.
#[derive(Default)]
pub(super) struct Audited {
    pub(super) entries: u64,
    ended: Ended,
    sum: u128,
    /// Of values that were left out.
    left_out: Vec<u64>,
    places: HashSet<String>,
    /// Events that Lyceum published, by type: one that was published twice is one.
    follow_ups: BTreeMap<String, HashSet<String>>,
}

impl Audited {
    /// Reads all of it.
    pub(super) async fn read(server: &Server) -> Self {
        let mut audited = Self::default();
        let mut cursor = String::new();
        loop {
            let page = server.get_text(&format!("/api/audit?limit=1000{cursor}")).await;
            let page: Page = serde_json::from_str(&page).unwrap_or_else(|error| panic!("{error} in {page:.300}"));
            page.entries.into_iter().for_each(|entry| audited.add(entry));
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return audited,
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        let Entry { position, kind, event_type, family, .. } = entry;
        self.entries += 1;
        assert!(self.places.insert(position.clone()), "{position} is there twice");
        let topic = position.split('/').next().unwrap_or_default();
        if kind == Kind::DeadLetter {
            return;
        }
        if entry.headers.iter().any(|(name, _)| name == "lyceum-hops") {
            let id = entry.event_id.expect("what Lyceum publishes can be read");
            self.follow_ups.entry(event_type).or_default().insert(id);
            return;
        }
        let errors: HashSet<&str> = entry.dead_letters.iter().map(|letter| &*letter.error).collect();
        let ended = match (errors.iter().next(), kind) {
            (Some(error), _) => format!("dead_lettered {error}"),
            (None, Kind::Tombstone) => "skipped_tombstone".to_owned(),
            (None, _) => "applied or duplicate".to_owned(),
        };
        assert!(errors.len() < 2, "{position} was dead-lettered for several reasons: {errors:?}");
        // Its owner did not read what it found too large; the audit log did.
        let event_type = if ended == ending(&TOO_LARGE) { UNKNOWN.to_owned() } else { event_type };
        *self.ended.entry((family, event_type, ended)).or_default() += 1;
        let key = entry.key.as_ref().and_then(Data::bytes).unwrap_or_default();
        let headers: Vec<(&str, &[u8])> = entry
            .headers
            .iter()
            .map(|(name, value)| (&**name, value.as_ref().and_then(Data::bytes).unwrap_or_default()))
            .collect();
        match &entry.value {
            Some(Data::LeftOut { sha256, .. }) => {
                self.left_out.push(mark_of(topic, key, Some(sha256.to_string().as_bytes()), &headers));
            }
            value => {
                let mark = mark_of(topic, key, value.as_ref().and_then(Data::bytes), &headers);
                self.sum = self.sum.wrapping_add(u128::from(mark));
            }
        }
    }

    /// That it is what was published, once each; and that what is no duplicate and was not given up has its document.
    pub(super) fn compare(&self, published: &Published, expected: &Expected, documents: &BTreeMap<String, u64>) {
        let mut wrong: Vec<String> = Vec::new();
        let all: HashSet<_> = self.ended.keys().chain(published.ended.keys()).collect();
        for of in all {
            let [must, is] = [&published.ended, &self.ended].map(|ended| ended.get(of).copied().unwrap_or(0));
            if must != is {
                wrong.push(format!("{} {} {}: {must} must be there, and {is} are", of.0, of.1, of.2));
            }
        }
        wrong.sort_unstable();
        assert!(wrong.is_empty(), "the audit log is not what was published:\n{}", wrong.join("\n"));
        let left_out = self.left_out.iter().map(|mark| {
            let known = published.broken.get(mark);
            u128::from(*known.expect("what is left out is the value of a record that can never be applied"))
        });
        let sum = left_out.fold(self.sum, u128::wrapping_add);
        assert_eq!(sum, published.sum, "a record of the audit log is not as it was published");

        // Of what follows there is an event for each document and for each letter.
        let mut must = BTreeMap::<&str, u64>::new();
        for (of, count) in expected.follow_ups() {
            *must.entry(of.event_type).or_default() += count;
        }
        expected.either().iter().for_each(|of| *must.entry(of.event_type).or_default() += of.count);
        for (event_type, events) in &self.follow_ups {
            let is = events.len() as u64;
            let must = match must.remove(&**event_type) {
                Some(must) => must,
                // Alerts, of which nobody can say how many there are: then each of them is kept.
                None => documents.get(event_type).copied().unwrap_or(0),
            };
            assert_eq!(is, must, "follow-ups {event_type}");
        }
        must.retain(|_, count| *count > 0);
        assert!(must.is_empty(), "follow-ups that are not there: {must:?}");
    }
}
