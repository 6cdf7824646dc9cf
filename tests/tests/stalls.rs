//! What stands still on real services says so, to whoever is told, and goes on by itself with nothing lost.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use lyceum_core::ports::event_log::Publish;
use lyceum_core::record::{Header, NewRecord};
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use lyceum_proxies::tcp::{Line, TcpProxy};
use lyceum_services::{Endpoints, Service, Suite};
use lyceum_tests::webhook::receiver;
use lyceum_tests::workplace::{Workplace, until};
use serde_json::{Value, json};

use crate::real_services::{Tenant, rejected};

/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);
const BOOKINGS: &str = "nlj.training.bookings";

pub(crate) fn add(suite: &mut Suite) {
    suite.test_private(
        "a_subscription_that_falls_behind_and_one_that_cannot_read_tell_it_and_lose_nothing",
        &[Service::Kafka],
        &[Service::DynamoDb],
        behind_and_silent,
    );
}

/// The next that is told of bookings.
fn next(posted: &Receiver<(u16, Value)>, alert: &str) -> Value {
    loop {
        let (_, told) = posted.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody is told of {alert}"));
        if told["alert"] == alert && told["subject"] == format!("training on {BOOKINGS}") {
            return told;
        }
    }
}

fn behind_and_silent(endpoints: &Endpoints) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = lyceum_services::private(Service::Kafka).expect("a broker of its own");
    let store = endpoints.url(Service::DynamoDb);
    let address = store.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let (kafka, dynamodb) = runtime.block_on(async {
        let kafka = TcpProxy::to_broker(broker.endpoint().to_owned()).await.expect("a proxy");
        (kafka, TcpProxy::to(address).await.expect("a proxy"))
    });
    let (url, posted) = receiver(&[200]);
    let tenant = Tenant::new();
    let table = tenant.name.clone();
    let tenant = tenant.with("DYNAMODB_TABLE", &table);
    let with_stores = |tenant: &Tenant, kafka: &str, dynamodb: &str| {
        tenant.clone().with("KAFKA_BOOTSTRAP_SERVERS", kafka).with("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
    };
    let told = [
        ("ALERT_WEBHOOK_URL", url.as_str()),
        ("ALERT_AFTER_SECONDS", "0"),
        ("ALERT_LAG_SECONDS", "3"),
        ("ALERT_SILENT_SECONDS", "3"),
        ("ALERT_DEAD_LETTERS", "0"),
        ("ALERT_ERROR_PERCENT", "0"),
        ("ALERT_CPU_PERCENT", "0"),
        ("ALERT_MEMORY_PERCENT", "0"),
        // That a broker is gone is known when a call has had no answer for so long.
        ("KAFKA_TIMEOUT_MS", "3000"),
    ];
    let watched = told.iter().fold(tenant.clone(), |tenant, (name, value)| tenant.with(name, value));
    let watched = with_stores(&watched, &kafka.address(), &format!("http://{}", dynamodb.address()));
    // Whoever sends and whoever counts has lines of his own.
    let direct = with_stores(&tenant, broker.endpoint(), store);
    let workplace = Workplace::new();
    let server = workplace.up(&watched.variables());
    let log = KafkaEventLog::connect(&KafkaSettings::plaintext(broker.endpoint())).expect("a client");
    let send = |seed| {
        let record = |event: Value| NewRecord {
            key: Some("s".into()),
            value: Some(event.to_string().into()),
            headers: vec![Header::new("tenant-id", tenant.name.clone())],
            ..NewRecord::default()
        };
        let records = rejected(5, seed).into_iter().map(record).collect();
        runtime.block_on(log.produce(BOOKINGS, records)).expect("events are sent");
    };
    let counting = Workplace::new();
    let letters = || direct.letters(&counting).len();
    send(1);
    until("the first are rejected", || letters() == 5);

    dynamodb.set(Line::Refuse);
    send(2);
    let behind = next(&posted, "lag");
    assert_eq!([&behind["status"], &behind["unit"]], [&json!("firing"), &json!("seconds")], "{behind}");
    dynamodb.set(Line::Pass);
    assert_eq!(next(&posted, "lag")["status"], "resolved");

    kafka.set(Line::Refuse);
    send(3);
    let silent = next(&posted, "silent");
    assert_eq!(silent["status"], "firing", "{silent}");
    let text = silent["text"].as_str().unwrap_or_default();
    assert!(text.starts_with(&format!("training has not been able to read {BOOKINGS} for ")), "{silent}");
    kafka.set(Line::Pass);
    let over = next(&posted, "silent");
    assert_eq!(over["status"], "resolved", "{over}");
    assert!(over["text"].as_str().is_some_and(|text| text.starts_with("Over: training reads ")), "{over}");
    until("all are rejected, each once", || letters() == 15);
    server.stop().expect_code(0);
}
