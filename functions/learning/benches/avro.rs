//! How fast an event in Avro is read and judged, beside apache-avro and serde_avro_fast on the same bytes in the same run.
//!
//! `cargo bench -p lyceum-learning --bench avro`, with `-- 3` for three rounds under a profiler. Rounds of the contestants alternate, and the fastest of each is compared:
//! what else the machine does makes a round slower, and none faster. apache-avro reads into its `Value`, resolved against the newest schema or not; serde_avro_fast, which
//! resolves nothing, into the like of the family's own types. Only `open` and `open and read` do what a function needs: the envelope
//! with id, tenant and type judged, and the family's fields with their bounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use lyceum_catalog::learning::{SCHEMAS, SPEC};
use lyceum_core::envelope::{EnvelopeConfig, Hint};
use lyceum_core::family::TypedEvent;
use lyceum_core::formats::avro::Schema;
use lyceum_core::formats::{Format, Opened};
use lyceum_core::ports::schemas::Schemas;
use lyceum_core::record::{Position, Record};
use lyceum_learning::events::Event;
use serde::Deserialize;
use uuid::Uuid;

const EVENTS: u128 = 2_000;
const ROUNDS: usize = 301;
/// A single object's framing, which only ours reads.
const FRAMING_BYTES: usize = 10;

type Learning = <Event as TypedEvent>::Format;

/// What serde_avro_fast reads into: the fields of the newest schema.
#[derive(Deserialize)]
#[allow(dead_code, reason = "it is only read into")]
struct Typed<'a> {
    event_id: &'a str,
    event_type: Kind,
    occurred_at: i64,
    user_id: &'a str,
    tenant_id: &'a str,
    correlation_id: Option<&'a str>,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    QuestionAnswered,
    SessionStarted,
    SessionEnded,
    MasteryUpdated,
    Unknown,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "it is only read into")]
enum Payload<'a> {
    #[serde(rename = "nlj.learning.QuestionAnswered")]
    QuestionAnswered {
        question_id: &'a str,
        #[serde(borrow)]
        concept_ids: Vec<&'a str>,
        correct: bool,
        response_ms: i64,
        attempt: i32,
        score: Option<f64>,
    },
    #[serde(rename = "nlj.learning.Session")]
    Session { session_id: &'a str, activity_id: Option<&'a str>, duration_ms: Option<i64> },
    #[serde(rename = "nlj.learning.MasteryUpdated")]
    MasteryUpdated { concept_id: &'a str, before: f64, after: f64 },
}

fn record(fields: Vec<(&str, Avro)>) -> Avro {
    Avro::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn some(value: Avro) -> Avro {
    Avro::Union(1, Box::new(value))
}

/// Half of the events are answers, a quarter each the end of a session and a mastery.
fn events() -> Vec<Avro> {
    let text = |text: String| Avro::String(text);
    let one = |number: u128| {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, &number.to_be_bytes());
        let (kind, payload) = match number % 4 {
            0 | 1 => {
                let concepts = (0..2).map(|at| text(format!("concept-{}", (number + at) % 40))).collect();
                let fields = vec![
                    ("question_id", text(format!("question-{}", number % 300))),
                    ("concept_ids", Avro::Array(concepts)),
                    ("correct", Avro::Boolean(!number.is_multiple_of(3))),
                    ("response_ms", Avro::Long(1_000 + (number * 7919 % 30_000) as i64)),
                    ("attempt", Avro::Int(1 + (number % 3) as i32)),
                    ("score", some(Avro::Double(0.5))),
                ];
                ((0, "question_answered"), (0, record(fields)))
            }
            2 => {
                let fields = vec![
                    ("session_id", text(format!("session-{number}"))),
                    ("activity_id", some(text("algebra-1".to_owned()))),
                    ("duration_ms", some(Avro::Long(1_500_000))),
                ];
                ((2, "session_ended"), (1, record(fields)))
            }
            _ => {
                let fields = vec![
                    ("concept_id", text(format!("concept-{}", number % 40))),
                    ("before", Avro::Double(0.25)),
                    ("after", Avro::Double(0.5)),
                ];
                ((3, "mastery_updated"), (2, record(fields)))
            }
        };
        record(vec![
            ("event_id", Avro::Uuid(id)),
            ("event_type", Avro::Enum(kind.0, kind.1.to_owned())),
            ("occurred_at", Avro::TimestampMillis(1_772_439_300_000 + number as i64)),
            ("user_id", text(format!("u-{}", number % 1_000))),
            ("tenant_id", text("academy".to_owned())),
            ("correlation_id", some(text("week-9".to_owned()))),
            ("payload", Avro::Union(payload.0, Box::new(payload.1))),
        ])
    };
    (0..EVENTS).map(one).collect()
}

fn main() {
    let schema = apache_avro::Schema::parse_str(SCHEMAS[1]).expect("a schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    let print = Schema::parse(SCHEMAS[1]).expect("a schema").fingerprint().to_le_bytes();
    let single = |event: Avro| [&[0xC3, 1], &print[..], &writer.write_value_to_vec(event).expect("an event")].concat();
    let fast: serde_avro_fast::Schema = SCHEMAS[1].parse().expect("a schema");
    let resolving = GenericDatumReader::builder(&schema).reader_schema(&schema).build().expect("a reader");
    let plain = GenericDatumReader::builder(&schema).build().expect("a reader");
    let records: Vec<Record> = (0..)
        .zip(events())
        .map(|(offset, event)| Record {
            position: Position::new("learning.events.v1", 0, offset),
            timestamp_ms: 5,
            key: None,
            value: Some(Bytes::from(single(event))),
            headers: Vec::new(),
        })
        .collect();
    let bytes: usize = records.iter().map(|record| record.value.as_deref().unwrap_or_default().len()).sum();
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    println!("{} events, {} bytes each, {rounds} rounds", records.len(), bytes / records.len());

    let (catalog, config, schemas) = (lyceum_catalog::catalog(), EnvelopeConfig::default(), Schemas::default());
    let hint = Hint { family: Some(&SPEC), catalog: &catalog, config: &config };
    let datum = |record: &Record| record.value.as_ref().map(|value| value.slice(FRAMING_BYTES..)).unwrap_or_default();
    let data: Vec<Bytes> = records.iter().map(datum).collect();

    if let Err(error) = serde_avro_fast::from_datum_slice::<Typed<'_>>(&data[0], &fast) {
        panic!("serde_avro_fast reads none of them: {error}");
    }

    let open = |at: usize| matches!(Learning::open(black_box(&records[at]), hint, &schemas), Opened::Event(_));
    let read = |at: usize| match Learning::open(black_box(&records[at]), hint, &schemas) {
        Opened::Event(envelope) => Event::read(&envelope).is_ok(),
        _ => false,
    };
    let typed = |at: usize| serde_avro_fast::from_datum_slice::<Typed<'_>>(black_box(&data[at]), &fast).is_ok();
    let value = |at: usize| plain.read_value(&mut black_box(&data[at][..])).is_ok();
    let resolved = |at: usize| resolving.read_value(&mut black_box(&data[at][..])).is_ok();
    let contestants: [(&str, &dyn Fn(usize) -> bool); 5] = [
        ("open and read", &read),
        ("open", &open),
        ("serde_avro_fast", &typed),
        ("apache-avro Value", &value),
        ("apache-avro Value, resolved", &resolved),
    ];
    let mut times = contestants.map(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for ((name, run), times) in contestants.iter().zip(&mut times) {
            let start = Instant::now();
            let accepted = (0..records.len()).filter(|at| run(*at)).count();
            times.push(start.elapsed());
            assert_eq!(accepted, records.len(), "{name}");
        }
    }
    let fastest: [Duration; 5] = times.map(|times| times.into_iter().min().unwrap_or_default());
    for ((name, _), time) in contestants.iter().zip(fastest) {
        let ns = time.as_nanos() as f64 / records.len() as f64;
        println!("{name:>28}: {ns:>6.0} ns an event, {:>9.0} events/s", 1e9 / ns);
    }
    let times = |other: usize, own: usize| fastest[other].as_secs_f64() / fastest[own].as_secs_f64();
    println!(
        "decode + validate: {:.1} × the speed of apache-avro's Value ({:.1} × resolved), {:.2} × that of serde_avro_fast",
        times(3, 0),
        times(4, 0),
        times(2, 0)
    );
}
