//! How often an applied event allocates memory, from the JSON of its batch to the answer, by family; what the models of the
//! ports allocate is not counted. Once more with the stores measured, as every process has them, and with spans of all that.
//!
//! `cargo bench -p lyceum-events-tests --bench allocations`. The figures depend on no machine and no other work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::FutureExt;
use futures::executor::block_on;
use lyceum_around::around::{Around, Call, StoreError, Wrapped};
use lyceum_around::measured::Measured;
use lyceum_core::clock::Clock;
use lyceum_core::environment::Reading;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::ports::event_log::Publish;
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::statements::StoreDocuments;
use lyceum_core::process::{ProcessConfig, Services};
use lyceum_core::record::Record;
use lyceum_events_tests::statements::{BOOKINGS, RESPONSES, STATEMENTS, event, record};
use lyceum_events_tests::world::{INVOCATION, World};
use lyceum_functions::REGISTRY;
use lyceum_lambda_event::event::{EventSource, write_event};
use lyceum_lambda_event::handler::handle;
use lyceum_spans::{Spans, SpansSettings};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use uuid::Uuid;

const EVENTS: u128 = 1_000;
const BATCH: usize = 100;

struct Load {
    family: &'static str,
    what: &'static str,
    topic: &'static str,
    /// Not measured.
    before: Vec<Record>,
    event: fn(u128) -> Value,
}

fn main() {
    let loads = [
        Load { family: "statement", what: "plain statements", topic: STATEMENTS, before: Vec::new(), event: plain },
        Load {
            family: "training",
            what: "bookings of 10 sessions",
            topic: BOOKINGS,
            before: (0..10).map(session).collect(),
            event: booking,
        },
        Load { family: "survey", what: "answers to 10 surveys", topic: RESPONSES, before: Vec::new(), event: answer },
    ];
    println!("{EVENTS} events a family, in batches of {BATCH}");
    for load in &loads {
        measure(load, "", false, &Spans::default());
    }
    for load in &loads {
        measure(load, "stores measured", true, &Spans::default());
    }
    // Nobody sends them: what is measured is their making.
    let collector = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_BSP_MAX_QUEUE_SIZE", "1000000")];
    let variable = |name: &str| collector.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
    let mut reading = Reading::new(&variable);
    let settings = SpansSettings::read(&mut reading);
    let settings = reading.finish(settings).expect("they are right");
    let (spans, layer) = Spans::start(settings, None).expect("nothing is sent yet");
    tracing_subscriber::registry().with(layer.expect("spans are on")).init();
    for load in &loads {
        measure(load, "with spans", true, &spans);
    }
}

fn measure(load: &Load, how: &str, is_measured: bool, spans: &Spans) {
    let world = World::new();
    let applied = Arc::new(Applied::default());
    let metrics = Arc::new(Metrics::new());
    let event_log = Arc::new(Wrapped::around(world.event_log.model.clone(), Arc::new(Uncounted)));
    let ledger = Arc::new(Wrapped::around(world.ledger.model.clone(), Arc::new(Uncounted)));
    let statements = Arc::new(Wrapped::around(world.statements.model.clone(), Arc::new(Uncounted)));
    let (event_log, ledger, statements): (Arc<dyn Publish>, Arc<dyn Ledger>, Arc<dyn StoreDocuments>) = if is_measured {
        (
            Arc::new(Measured::new(event_log, metrics.clone())),
            Arc::new(Measured::new(ledger, metrics.clone())),
            Arc::new(Measured::new(statements, metrics)),
        )
    } else {
        (event_log, ledger, statements)
    };
    let services = Services {
        event_log,
        ledger,
        statements,
        schemas: None,
        clock: world.clock.clone(),
        observer: applied.clone(),
    };
    let entry = REGISTRY.iter().find(|entry| entry.spec.name == load.family).expect("a family of the registry");
    let function = (entry.build)(services, world.catalog.clone(), ProcessConfig::default());
    let function = spans.around(function);
    let deadline_ms = world.clock.now_ms() + INVOCATION.as_millis() as i64;
    let invoke = |records: &[Record]| {
        let mut payload = Vec::new();
        write_event(&EventSource::default(), records.iter(), &mut payload);
        allocation_counter::measure(|| {
            block_on(handle(&*function, &payload, deadline_ms)).expect("the batch is one of Kafka's");
        })
    };
    if !load.before.is_empty() {
        invoke(&load.before);
        applied.0.store(0, Relaxed);
    }
    let events: Vec<Record> =
        (0..EVENTS).map(|number| record(load.topic, number as i64, &(load.event)(number))).collect();
    let (mut allocations, mut bytes) = (0, 0);
    for batch in events.chunks(BATCH) {
        let allocated = invoke(batch);
        allocations += allocated.count_total;
        bytes += allocated.bytes_total;
    }
    let count = applied.0.load(Relaxed);
    assert_eq!(count as u128, EVENTS, "every event is to be applied");
    let (allocations, bytes) = (allocations as f64 / count as f64, bytes as f64 / count as f64);
    println!(
        "{:>9}, {:<24} {allocations:>6.1} allocations of {bytes:>6.0} bytes an event {how}",
        load.family, load.what
    );
}

#[derive(Default)]
struct Applied(AtomicUsize);

impl Observer for Applied {
    fn observe(&self, reports: &[Report]) {
        self.0.fetch_add(reports.iter().filter(|report| report.outcome == Outcome::Applied).count(), Relaxed);
    }
}

/// What a model does in a call is no part of the figures.
struct Uncounted;

impl Around for Uncounted {
    async fn call<A: Send, E: StoreError>(
        &self,
        _: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        _: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        let mut answer = None;
        allocation_counter::opt_out(|| answer = work.now_or_never());
        answer.expect("a model answers at once")
    }
}

/// As a video player sends it.
fn plain(number: u128) -> Value {
    let extension = |name: &str| format!("https://w3id.org/xapi/video/extensions/{name}");
    json!({
        "id": Uuid::from_u128(0x9dc9_9b37_e920_4a68_a066_0000_0000_0000 + number),
        "actor": {
            "objectType": "Agent",
            "account": {"name": format!("learner-{number}"), "homePage": "https://lms.example.org"},
        },
        "verb": {"id": "https://w3id.org/xapi/video/verbs/seeked", "display": {"en-US": "seeked"}},
        "object": {
            "definition": {"type": "https://w3id.org/xapi/video/activity-type/video", "name": {"en-US": "Lecture 1"}},
            "id": "https://lms.example.org/videos/1",
            "objectType": "Activity",
        },
        "result": {"extensions": {
            extension("time-from"): 124.692,
            extension("time-to"): 176.4,
            extension("progress"): 0.472,
            extension("played-segments"): "0[.]42.608[,]43.168[.]124.692",
        }},
        "context": {
            "contextActivities": {
                "category": [{"id": "https://w3id.org/xapi/video"}],
                "parent": [{
                    "id": "https://lms.example.org/courses/1",
                    "definition": {"type": "http://adlnet.gov/expapi/activities/course"},
                }],
            },
            "extensions": {extension("session-id"): "abb32c5b-ab8f-5f00-9718-267b6e6ba727"},
        },
        "timestamp": "2024-11-29T23:09:00.867219+00:00",
    })
}

fn session(number: i64) -> Record {
    let fields = [
        ("program_id", json!("p1")),
        ("starts_at", json!("2026-04-02T08:15:00Z")),
        ("ends_at", json!("2026-04-02T10:15:00Z")),
        ("capacity", json!(1_000)),
    ];
    let scheduled = event(9_000_000 + number as u128, "scheduled", "session", &format!("s{number}"), &fields);
    record("nlj.training.sessions", number, &scheduled)
}

fn booking(number: u128) -> Value {
    let session = json!(format!("s{}", number % 10));
    event(number, "requested", "booking", &format!("b{number}"), &[("session_id", session)])
}

fn answer(number: u128) -> Value {
    let survey = [("survey_id", json!(format!("survey-{}", number % 10)))];
    let mut sent = event(number, "answered", "question", &format!("q{number}"), &survey);
    sent["context"]["registration"] = json!(Uuid::from_u128(0xabcd_0000_0000_4000_8000_0000_0000_0000 + number));
    sent["result"] = json!({"response": "4", "score": {"raw": 4}});
    sent
}
