//! How fast an event in Avro is read and judged, beside apache-avro and serde_avro_fast on the same bytes in the same run.
//!
//! `cargo bench -p lyceum-events-tests --bench avro`. Rounds of the contestants alternate, so that all of them meet the same noise,
//! and medians are compared. apache-avro reads into its `Value`, resolved against the newest schema or not; serde_avro_fast, which
//! resolves nothing, into the like of the family's own types. Only `open` and `open and read` do what a function needs: the envelope
//! with id, tenant and type judged, and the family's fields with their bounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use bytes::Bytes;
use lyceum_catalog::learning::{SCHEMAS, SPEC};
use lyceum_core::envelope::{EnvelopeConfig, Hint};
use lyceum_core::family::TypedEvent;
use lyceum_core::formats::{Format, Opened};
use lyceum_core::ports::schemas::Schemas;
use lyceum_core::record::{Position, Record};
use lyceum_events_tests::avro::{Writer, event, or_null, record};
use lyceum_learning::events::Event;
use serde::Deserialize;
use uuid::Uuid;

const EVENTS: u128 = 2_000;
const ROUNDS: usize = 31;
/// A single object's framing, which only ours reads.
const FRAMING_BYTES: usize = 10;

type Learning = <Event as TypedEvent>::Format;

/// What serde_avro_fast reads into: the fields of the newest schema.
#[derive(Deserialize)]
#[allow(dead_code, reason = "it is only read into")]
struct Typed<'a> {
    event_id: &'a str,
    event_type: &'a str,
    occurred_at: i64,
    user_id: &'a str,
    tenant_id: &'a str,
    correlation_id: Option<&'a str>,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "it is only read into")]
enum Payload<'a> {
    QuestionAnswered {
        question_id: &'a str,
        #[serde(borrow)]
        concept_ids: Vec<&'a str>,
        correct: bool,
        response_ms: i64,
        attempt: i32,
        score: Option<f64>,
    },
    Session {
        session_id: &'a str,
        activity_id: Option<&'a str>,
        duration_ms: Option<i64>,
    },
    MasteryUpdated {
        concept_id: &'a str,
        before: f64,
        after: f64,
    },
}

/// Half of the events are answers, a quarter each the end of a session and a mastery.
fn events() -> Vec<Avro> {
    let text = |text: String| Avro::String(text);
    let one = |number: u128| {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, &number.to_be_bytes()).to_string();
        let (kind, payload) = match number % 4 {
            0 | 1 => {
                let concepts = (0..2).map(|at| text(format!("concept-{}", (number + at) % 40))).collect();
                let fields = vec![
                    ("question_id", text(format!("question-{}", number % 300))),
                    ("concept_ids", Avro::Array(concepts)),
                    ("correct", Avro::Boolean(number % 3 > 0)),
                    ("response_ms", Avro::Long(1_000 + (number * 7919 % 30_000) as i64)),
                    ("attempt", Avro::Int(1 + (number % 3) as i32)),
                    ("score", or_null(Some(Avro::Double(0.5)))),
                ];
                ((0, "question_answered"), (0, record(fields)))
            }
            2 => {
                let fields = vec![
                    ("session_id", text(format!("session-{number}"))),
                    ("activity_id", or_null(Some(text("algebra-1".to_owned())))),
                    ("duration_ms", or_null(Some(Avro::Long(1_500_000)))),
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
        event(&id, kind, 1_772_439_300_000 + number as i64, &format!("u-{}", number % 1_000), payload)
    };
    (0..EVENTS).map(one).collect()
}

fn main() {
    let writer = Writer::of(SCHEMAS[1]);
    let fast: serde_avro_fast::Schema = SCHEMAS[1].parse().expect("a schema");
    let resolving =
        GenericDatumReader::builder(&writer.schema).reader_schema(&writer.schema).build().expect("a reader");
    let plain = GenericDatumReader::builder(&writer.schema).build().expect("a reader");
    let records: Vec<Record> = (0..)
        .zip(events())
        .map(|(offset, event)| Record {
            position: Position::new("learning.events.v1", 0, offset),
            timestamp_ms: 5,
            key: None,
            value: Some(Bytes::from(writer.single(event))),
            headers: Vec::new(),
        })
        .collect();
    let bytes: usize = records.iter().map(|record| record.value.as_deref().unwrap_or_default().len()).sum();
    println!("{} events, {} bytes each, {ROUNDS} rounds", records.len(), bytes / records.len());

    let (catalog, config, schemas) = (lyceum_catalog::catalog(), EnvelopeConfig::default(), Schemas::default());
    let hint = Hint { family: Some(&SPEC), catalog: &catalog, config: &config };
    let datum = |record: &Record| record.value.as_ref().map(|value| value.slice(FRAMING_BYTES..)).unwrap_or_default();
    let data: Vec<Bytes> = records.iter().map(datum).collect();

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
    let mut times = contestants.map(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for ((name, run), times) in contestants.iter().zip(&mut times) {
            let start = Instant::now();
            let accepted = (0..records.len()).filter(|at| run(*at)).count();
            times.push(start.elapsed());
            assert_eq!(accepted, records.len(), "{name}");
        }
    }
    let medians: [Duration; 5] = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    });
    for ((name, _), median) in contestants.iter().zip(medians) {
        let ns = median.as_nanos() as f64 / records.len() as f64;
        println!("{name:>28}: {ns:>6.0} ns an event, {:>9.0} events/s", 1e9 / ns);
    }
    let times = |other: usize, own: usize| medians[other].as_secs_f64() / medians[own].as_secs_f64();
    println!(
        "decode + validate: {:.1} × the speed of apache-avro's Value ({:.1} × resolved), {:.2} × that of serde_avro_fast",
        times(3, 0),
        times(4, 0),
        times(2, 0)
    );
}
