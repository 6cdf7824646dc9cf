//! What an event costs at DynamoDB: capacity units by family and batch size, through the real functions and the ledger's
//! twin, which counts capacity as AWS does; beside it what an idempotency table costs that is written before and after
//! each event. The table of docs/cost.md is tested against it.

use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use bytes::Bytes;
use lyceum_core::clock::Clock;
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::ports::ledger::{AggregateId, Commit, Ledger, LedgerError};
use lyceum_core::process::{ProcessConfig, Services};
use lyceum_core::record::Record;
use lyceum_dynamodb::{CapacitySnapshot, DynamoDbLedger, LedgerOptions, Operation};
use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_events_tests::statements::{BOOKINGS, PROGRAMS, RESPONSES, event, record};
use lyceum_events_tests::world::{BEGINNING_MS, World};
use lyceum_functions::REGISTRY;
use lyceum_lambda_event::event::{EventSource, write_event};
use lyceum_lambda_event::handler::handle;
use lyceum_testing::handing::{HandOn, Handing};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

const BATCHES: [usize; 3] = [1, 10, 100];
const QUESTIONS: usize = 8;

/// A hundred events and in which order they come.
struct Load {
    family: &'static str,
    what: &'static str,
    topic: &'static str,
    /// Not measured.
    before: Vec<Record>,
    events: Vec<Value>,
}

fn loads() -> Vec<Load> {
    let survey = |what, events| Load { family: "survey", what, topic: RESPONSES, before: Vec::new(), events };
    let sessions = (0..5u128).map(|n| session(n as i64, 9_000 + n)).collect();
    vec![
        survey("a response's 10 events one after the other", responses(true)),
        survey("events of 10 responses in turn", responses(false)),
        Load {
            family: "training",
            what: "50 programs created, then published",
            topic: PROGRAMS,
            before: Vec::new(),
            events: (0..100)
                .map(|n| {
                    event(n, if n < 50 { "created" } else { "published" }, "program", &format!("p{}", n % 50), &[])
                })
                .collect(),
        },
        Load {
            family: "training",
            what: "50 bookings of 5 sessions requested, then confirmed",
            topic: BOOKINGS,
            before: sessions,
            events: (0..100)
                .map(|n| {
                    let verb = if n < 50 { "requested" } else { "confirmed" };
                    let session = json!(format!("s{}", n % 5));
                    event(n, verb, "booking", &format!("b{}", n % 50), &[("session_id", session)])
                })
                .collect(),
        },
    ]
}

fn session(offset: i64, number: u128) -> Record {
    let fields = [
        ("program_id", json!("p1")),
        ("starts_at", json!("2026-04-02T08:15:00Z")),
        ("ends_at", json!("2026-04-02T10:15:00Z")),
        ("capacity", json!(30)),
    ];
    record("nlj.training.sessions", offset, &event(number, "scheduled", "session", &format!("s{offset}"), &fields))
}

/// Ten responses of ten events: the start, eight answers, the end.
fn responses(one_after_the_other: bool) -> Vec<Value> {
    let of = |response: usize, step: usize| {
        let number = (response * 100 + step) as u128;
        let survey = [("survey_id", json!("course-feedback"))];
        let mut sent = match step {
            0 => event(number, "initialized", "survey", "course-feedback", &[]),
            step if step <= QUESTIONS => event(number, "answered", "question", &format!("q{step}"), &survey),
            _ => event(number, "completed", "survey", "course-feedback", &[]),
        };
        sent["actor"]["mbox"] = json!(format!("mailto:learner-{response}@academy.example"));
        sent["context"]["registration"] =
            json!(Uuid::from_u128(0xabcd_0000_0000_4000_8000_0000_0000_0000 + response as u128));
        if (1..=QUESTIONS).contains(&step) {
            sent["result"] = json!({"response": "4", "score": {"raw": 4}});
        }
        sent
    };
    let steps = QUESTIONS + 2;
    match one_after_the_other {
        true => (0..10).flat_map(|response| (0..steps).map(move |step| of(response, step))).collect(),
        false => (0..steps).flat_map(|step| (0..10).map(move |response| of(response, step))).collect(),
    }
}

/// What was written last, so that the other way of doing it writes the same.
struct Written {
    ledger: Arc<DynamoDbLedger>,
    states: Mutex<Vec<Vec<(AggregateId, Bytes)>>>,
}

#[async_trait]
impl HandOn for Written {
    fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        let states =
            commit.aggregates.iter().filter_map(|of| Some((of.id.clone(), of.content.clone()?.state?))).collect();
        self.states.lock().unwrap().push(states);
        self.ledger.commit(commit).await
    }
}

struct AllApplied;

impl Observer for AllApplied {
    fn observe(&self, reports: &[Report]) {
        for report in reports {
            assert_eq!(report.outcome, Outcome::Applied, "{report:?}");
        }
    }
}

/// Stands still: no call fails, so nothing waits.
struct StoppedClock;

#[async_trait]
impl Clock for StoppedClock {
    fn now_ms(&self) -> i64 {
        BEGINNING_MS
    }

    async fn sleep(&self, _: Duration) {}

    async fn timeout(&self, _: Duration) {
        std::future::pending().await
    }

    fn jitter(&self) -> f64 {
        0.5
    }
}

fn open() -> (EmbeddedDynamoDb, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (EmbeddedDynamoDb::open(&folder.path().join("ledger.db")).unwrap(), folder)
}

/// Sends the load in batches of that size; what it consumed, and the states of each commit.
async fn measure(load: &Load, batch: usize) -> (CapacitySnapshot, Vec<Vec<(AggregateId, Bytes)>>) {
    let (database, _folder) = open();
    let world = World::new();
    let ledger = database.ledger(Arc::new(StoppedClock)).await.unwrap();
    let ledger = Arc::new(ledger.counting_in(Arc::default(), world.catalog.families()));
    let written = Arc::new(Handing(Written { ledger: ledger.clone(), states: Mutex::default() }));
    let services = Services {
        event_log: world.event_log.port(),
        ledger: written.clone(),
        statements: world.statements.port(),
        schemas: None,
        clock: Arc::new(StoppedClock),
        observer: Arc::new(AllApplied),
    };
    let entry = REGISTRY.iter().find(|entry| entry.spec.name == load.family).unwrap();
    let function = (entry.build)(services, world.catalog.clone(), ProcessConfig::default());
    let records: Vec<Record> =
        load.events.iter().enumerate().map(|(offset, event)| record(load.topic, offset as i64, event)).collect();
    let mut before = CapacitySnapshot::default();
    for (number, records) in [load.before.as_slice()].into_iter().chain(records.chunks(batch)).enumerate() {
        if !records.is_empty() {
            let mut payload = Vec::new();
            write_event(&EventSource::default(), records.iter(), &mut payload);
            handle(&*function, &payload, BEGINNING_MS + 60_000).await.unwrap();
        }
        if number == 0 {
            before = ledger.capacity();
            written.0.states.lock().unwrap().clear();
        }
    }
    let consumed = ledger.capacity().since(&before);
    let of_family = ledger.capacity_by_family().remove(load.family).unwrap().since(&before);
    assert_eq!(of_family, consumed, "all of it is the family's");
    let states = std::mem::take(&mut *written.0.states.lock().unwrap());
    (consumed, states)
}

/// The same events with an idempotency table as Powertools for AWS Lambda keeps one, and the states written by
/// themselves. Source: Powertools for AWS Lambda, "Idempotency", "Idempotency request flow": a conditional PutItem
/// (INPROGRESS), the function's own work, an UpdateItem (COMPLETED, with the result).
async fn measure_idempotency_table(states: &[Vec<(AggregateId, Bytes)>]) -> f64 {
    let (database, _folder) = open();
    let client = database.client();
    let table = "idempotency";
    let made = DynamoDbLedger::new(&client, table, LedgerOptions::default(), Arc::new(StoppedClock));
    made.ensure_table().await.unwrap();
    let mut units = 0.0;
    for (number, states) in states.iter().enumerate() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let id = format!("training.handler#{}", Uuid::from_u128(number as u128).simple());
        let (pk, sk) = (text(&id), text("i"));
        let begun = client
            .put_item()
            .table_name(table)
            .item("pk", pk.clone())
            .item("sk", sk.clone())
            .item("status", text("INPROGRESS"))
            .item("expiration", AttributeValue::N("1790000000".to_owned()))
            .item("in_progress_expiration", AttributeValue::N("1790000000000".to_owned()))
            .condition_expression("attribute_not_exists(pk)")
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .unwrap();
        units += begun.consumed_capacity().and_then(|of| of.capacity_units()).unwrap();
        for (aggregate, state) in states {
            let stored = client
                .put_item()
                .table_name(table)
                .item("pk", text(&format!("A/{}/{}", aggregate.tenant, aggregate.kind)))
                .item("sk", text(&aggregate.id))
                .item("d", text(std::str::from_utf8(state).unwrap()))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .unwrap();
            units += stored.consumed_capacity().and_then(|of| of.capacity_units()).unwrap();
        }
        let ended = client
            .update_item()
            .table_name(table)
            .key("pk", pk)
            .key("sk", sk)
            .update_expression("SET #status = :status, expiration = :expiration, #data = :data")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#data", "data")
            .expression_attribute_values(":status", text("COMPLETED"))
            .expression_attribute_values(":expiration", AttributeValue::N("1790003600".to_owned()))
            .expression_attribute_values(":data", text("null"))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .unwrap();
        units += ended.consumed_capacity().and_then(|of| of.capacity_units()).unwrap();
    }
    units
}

/// One row: the units of a load by batch size.
struct Row {
    family: &'static str,
    what: &'static str,
    /// Write units, read units and requests an event, by [`BATCHES`].
    by_batch: [[f64; 3]; BATCHES.len()],
    /// Write units an event with an idempotency table, whatever the batch.
    idempotency_table: f64,
}

async fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for load in loads() {
        let events = load.events.len() as f64;
        let mut by_batch = [[0.0; 3]; BATCHES.len()];
        let mut idempotency_table = 0.0;
        for (at, batch) in BATCHES.into_iter().enumerate() {
            let (consumed, states) = measure(&load, batch).await;
            let calls: u64 = Operation::ALL.into_iter().map(|of| consumed.of(of).calls).sum();
            by_batch[at] = [consumed.write_units(), consumed.read_units(), calls as f64].map(|of| of / events);
            if batch == 1 {
                assert_eq!(states.len(), load.events.len(), "one commit an event");
                idempotency_table = measure_idempotency_table(&states).await / events;
            }
        }
        rows.push(Row { family: load.family, what: load.what, by_batch, idempotency_table });
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let mut table = "\n| family | 100 events | write units, 1 a batch | 10 | 100 | read units, 1 a batch | 10 | 100 | requests, 1 a batch | 10 | 100 | an idempotency table: write units |\n".to_owned();
    table.push_str(&"|---".repeat(12));
    table.push_str("|\n");
    for Row { family, what, by_batch, idempotency_table } in rows {
        let _ = write!(table, "| {family} | {what} |");
        for of in 0..3 {
            for batch in by_batch {
                let _ = write!(table, " {:.2} |", batch[of]);
            }
        }
        let _ = writeln!(table, " {idempotency_table:.2} |");
    }
    table.push('\n');
    table
}

#[tokio::test]
async fn the_table_of_costs_is_what_was_measured() {
    let (begin, end) = ("<!-- begin cost table -->\n", "<!-- end cost table -->");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cost.md");
    let text = std::fs::read_to_string(&file).expect("docs/cost.md can be read");
    let (before, rest) = text.split_once(begin).expect("docs/cost.md has the mark of the table's beginning");
    let (found, after) = rest.split_once(end).expect("docs/cost.md has the mark of the table's end");
    let table = table(&rows().await);
    if std::env::var_os("LYCEUM_UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{before}{begin}{table}{end}{after}")).expect("docs/cost.md can be written");
        return;
    }
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-events-tests cost";
    assert!(found == table, "docs/cost.md is not what is measured; write it anew with {advice}\n{table}");
}
