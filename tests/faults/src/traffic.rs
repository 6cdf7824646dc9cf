//! What is sent: statements and histories of the made-up academy, the same for the same seed, with what producers get
//! wrong among them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::record::{NewRecord, Position, Record};
use lyceum_functions::{Look, Seen};
use lyceum_given::academy::{Academy, Size, new_id, video_statements};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// The families whose events there are.
pub const FAMILIES: [&str; 3] = ["training", "survey", "statement"];

/// When the first record was sent: 2026-03-02T08:15:00Z. Each further one came a millisecond later.
const BEGINNING_MS: i64 = 1_772_439_300_000;
/// So many records are produced at once.
const CHUNK: usize = 1_000;

/// How much of what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Statements that keep no state.
    pub statements: usize,
    /// Events of programs, sessions, bookings and survey responses.
    pub histories: usize,
    /// Behind each so many records comes one that can never be read.
    pub poison_each: Option<usize>,
    /// Each so many records are sent once more, later.
    pub duplicate_each: Option<usize>,
    /// Behind each so many events that end a step of a history it is taken once more, under an id of its own: illegal.
    pub illegal_each: Option<usize>,
}

/// Records by topic, in the order in which they are sent.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    topics: BTreeMap<&'static str, Vec<NewRecord>>,
}

impl Traffic {
    /// Makes it up.
    ///
    /// # Panics
    /// Where an event of the academy belongs to no family.
    pub fn new(seed: u64, amount: Amount) -> Self {
        // Three sources: from one seed they would draw the same ids.
        let mut random = StdRng::seed_from_u64(!seed);
        let router = Router::default();
        let mut events = histories(seed, amount.histories);
        if let Some(each) = amount.illegal_each {
            events = with_illegal(&mut random, events, each);
        }
        // The statements come in between.
        for statement in video_statements(seed.wrapping_add(1), amount.statements) {
            events.push(statement);
        }
        let mut records: Vec<(&'static str, NewRecord)> = events.iter().map(|event| router.record(event)).collect();
        if let Some(each) = amount.duplicate_each {
            for at in (each..records.len()).step_by(each) {
                let again = records[random.random_range(0..at)].clone();
                records.push(again);
            }
        }
        let mut traffic = Self::default();
        for (number, (topic, record)) in records.into_iter().enumerate() {
            let poisoned = amount.poison_each.is_some_and(|each| number % each == each - 1);
            let key = record.key.clone();
            traffic.push(topic, record);
            if poisoned {
                traffic.push(topic, poison(number, key));
            }
        }
        traffic
    }

    /// The same for every row that asks for this amount: made once.
    pub fn once(amount: Amount) -> Arc<Self> {
        static MADE: Mutex<Vec<(Amount, Arc<Traffic>)>> = Mutex::new(Vec::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, traffic)) = made.iter().find(|(of, _)| *of == amount) {
            return traffic.clone();
        }
        let traffic = Arc::new(Self::new(7, amount));
        made.push((amount, traffic.clone()));
        traffic
    }

    fn push(&mut self, topic: &'static str, mut record: NewRecord) {
        record.timestamp_ms = Some(BEGINNING_MS + self.len() as i64);
        self.topics.entry(topic).or_default().push(record);
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.topics.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Produces everything, each topic in its order.
    ///
    /// # Errors
    /// The log's.
    pub async fn send(&self, log: &Arc<dyn EventLog>) -> Result<()> {
        for (topic, records) in &self.topics {
            for chunk in records.chunks(CHUNK) {
                log.produce(topic, chunk.to_vec()).await.with_context(|| format!("sending to {topic}"))?;
            }
        }
        Ok(())
    }
}

/// Knows topic and key of an event.
struct Router(Look);

impl Default for Router {
    fn default() -> Self {
        Self(Look::new(EnvelopeConfig::default()))
    }
}

impl Router {
    fn record(&self, event: &Value) -> (&'static str, NewRecord) {
        let value = Bytes::from(event.to_string());
        let record = Record {
            position: Position::new("unsent", 0, 0),
            timestamp_ms: BEGINNING_MS,
            key: None,
            value: Some(value.clone()),
            headers: Vec::new(),
        };
        let Seen { known, read, .. } = self.0.at(&record).event().expect("the academy's events are valid");
        let key = read.ok().map(|read| Bytes::from(read.key));
        (known.topic, NewRecord { key, value: Some(value), ..NewRecord::default() })
    }
}

fn histories(seed: u64, number: usize) -> Vec<Value> {
    if number == 0 {
        return Vec::new();
    }
    // About 40 events a program and 5.75 a response: half of the number each, and a little more.
    let size = Size { programs: number / 75 + 1, bookings: 10, responses: number / 11 + 1 };
    let mut events = Academy::new(seed, size).events;
    events.truncate(number);
    events
}

fn with_illegal(random: &mut StdRng, events: Vec<Value>, each: usize) -> Vec<Value> {
    let mut all = Vec::with_capacity(events.len());
    let mut ends = 0;
    for event in events {
        let verb = event["verb"]["id"].as_str().unwrap_or_default();
        let ends_a_step = ["published", "confirmed", "completed"].iter().any(|end| verb.ends_with(end));
        ends += usize::from(ends_a_step);
        let again = (ends_a_step && ends.is_multiple_of(each)).then(|| {
            let mut again = event.clone();
            again["id"] = json!(new_id(random));
            again
        });
        all.push(event);
        all.extend(again);
    }
    all
}

fn poison(number: usize, key: Option<Bytes>) -> NewRecord {
    let value: &[u8] = match number % 4 {
        0 => b"\xff\x00",
        1 => b"{\"verb\": 1}",
        2 => b"[]",
        _ => b"{\"id\": \"0191",
    };
    NewRecord { key, value: Some(Bytes::from_static(value)), ..NewRecord::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMOUNT: Amount = Amount {
        statements: 200,
        histories: 500,
        poison_each: Some(100),
        duplicate_each: Some(50),
        illegal_each: Some(10),
    };

    #[test]
    fn the_same_seed_sends_the_same() {
        let all = |seed| Traffic::new(seed, AMOUNT).topics;
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
    }

    #[test]
    fn there_is_as_much_as_was_asked_for_of_everything() {
        let traffic = Traffic::new(7, Amount { statements: 200, histories: 500, ..Amount::default() });
        assert_eq!(traffic.topics["nlj.xapi.statements"].len(), 200);
        assert_eq!(traffic.len(), 700);
        assert_eq!(traffic.topics.len(), 5);
        assert!(Traffic::new(7, AMOUNT).len() > 700);
    }
}
