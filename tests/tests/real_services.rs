//! The `lyceum` binary on services that are there for others, too: Kafka, DynamoDB, OpenSearch, and AWS's storage.
//!
//! Topics are shared by every test on one Kafka, so each has a consumer group, a table, an index and a tenant of its own.
//! A test that counts what becomes of its replays has a Kafka of its own: a neighbour's process takes them, too.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lyceum_core::ports::event_log::{Administer, Publish, Retention, TopicSpec};
use lyceum_core::record::NewRecord;
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use lyceum_proxies::http::{Act, HttpProxy, ProxiedRequest};
use lyceum_proxies::signature::Account;
use lyceum_services::{Endpoints, Service, Suite};
use lyceum_tests::academy::{Academy, Size, booking};
use lyceum_tests::webhook::{approval_invalid, next_of, receiver, security_alone};
use lyceum_tests::workplace::{Finished, Running, Server, Workplace, until};
use lyceum_tests::{aws, binary, block_on};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

const STORES: &[Service] = &[Service::Kafka, Service::DynamoDb, Service::OpenSearch];
const BOOKINGS: &str = "nlj.training.bookings";
/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn add(suite: &mut Suite) {
    suite.test("every_command_answers_on_real_services_and_a_killed_process_goes_on", STORES, every_command);
    suite.test("two_processes_share_a_group_and_every_event_counts_once", STORES, two_processes);
    suite.test("each_security_alert_on_kafka_is_posted_once_whichever_process_tells_it", STORES, security_alerts);
    suite.test_private(
        "a_replay_that_is_killed_goes_on_and_sends_nothing_twice_but_the_one_in_flight",
        &[Service::Kafka],
        &[Service::DynamoDb, Service::OpenSearch],
        killed_replay,
    );
    suite.test("functions_elsewhere_are_driven_from_the_embedded_log_and_from_kafka", STORES, functions_elsewhere);
    suite.test("each_store_is_embedded_or_real_by_itself", &[Service::OpenSearch], one_real_store);
    suite.test(
        "a_store_that_takes_signed_requests_alone_takes_those_of_a_process",
        &[Service::OpenSearch],
        signed_requests,
    );
    suite.test(
        "an_event_is_read_by_the_schema_that_a_registry_has_of_its_id_and_is_a_letter_where_it_has_none",
        &[Service::Registry],
        schemas_of_a_registry,
    );
    suite.test("what_lambda_gave_up_is_imported_from_s3_and_sqs", &[Service::Aws], given_up);
    suite.test_private("what_lambda_gave_up_is_imported_from_a_topic", &[Service::Kafka], &[], given_up_to_a_topic);
}

/// A tenant with stores of its own.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    variables: Vec<(String, String)>,
}

impl Tenant {
    pub(crate) fn new() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let tenant = Self { name: format!("tenant-{id}"), variables: Vec::new() };
        let with_aws = aws::VARIABLES.iter().fold(tenant, |tenant, (name, value)| tenant.with(name, value));
        with_aws.with("KAFKA_GROUP_ID", &format!("group-{id}"))
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn on_kafka(self, endpoints: &Endpoints) -> Self {
        self.with("KAFKA_BOOTSTRAP_SERVERS", &endpoints.kafka().plaintext)
    }

    fn on_search(self, endpoints: &Endpoints) -> Self {
        let index = format!("index-{}", self.name);
        self.with("ELASTICSEARCH_URL", endpoints.url(Service::OpenSearch))
            .with("ELASTICSEARCH_INDEX", &index)
            .with("ELASTICSEARCH_REPLICAS", "0")
    }

    fn on_dynamodb(self, endpoints: &Endpoints) -> Self {
        let table = self.name.clone();
        self.with("AWS_ENDPOINT_URL_DYNAMODB", endpoints.url(Service::DynamoDb)).with("DYNAMODB_TABLE", &table)
    }

    fn on_all(endpoints: &Endpoints) -> Self {
        Self::new().on_kafka(endpoints).on_search(endpoints).on_dynamodb(endpoints)
    }

    pub(crate) fn variables(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn run(&self, workplace: &Workplace, arguments: &[&str]) -> Finished {
        workplace.run_with(&self.variables(), arguments)
    }

    /// A command with the tenant's name behind it.
    fn own(&self, workplace: &Workplace, arguments: &[&str]) -> Finished {
        self.run(workplace, &[arguments, &["--tenant", &self.name]].concat())
    }

    fn total(&self, workplace: &Workplace) -> u64 {
        let answer = self.own(workplace, &["query", "platform", "--format", "json"]).expect_code(0).json();
        answer["total"].as_u64().expect("a number")
    }

    pub(crate) fn letters(&self, workplace: &Workplace) -> Vec<Value> {
        let list = ["dead-letters", "list", "--limit", "1000", "--format", "json"];
        let answer = self.own(workplace, &list).expect_code(0).json();
        answer["dead_letters"].as_array().expect("a list").clone()
    }
}

fn ask(server: &Server, path: &str) -> Value {
    block_on(server.get(path, None)).1
}

/// Bookings that are confirmed though nobody requested them: each is rejected.
pub(crate) fn rejected(count: usize, seed: u64) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|number| booking(&mut random, "confirmed", &format!("b-{seed}-{number}"), "s")).collect()
}

fn every_command(endpoints: &Endpoints) {
    let tenant = Tenant::on_all(endpoints);
    let workplace = Workplace::new();
    let academy = Academy::new(11, Size { programs: 2, bookings: 6, responses: 5 });
    let (first, second) = academy.events.split_at(academy.events.len() / 2);
    workplace.write_lines("first.jsonl", first);
    workplace.write_lines("second.jsonl", second);
    workplace.write_lines("rejected.jsonl", &rejected(3, 1));

    let server = workplace.up(&tenant.variables());
    let places = server.running.wait_for_line("Event log:");
    for place in
        [endpoints.kafka().plaintext.as_str(), endpoints.url(Service::DynamoDb), endpoints.url(Service::OpenSearch)]
    {
        assert!(places.contains(place), "{place}: {places}");
    }
    let health = ask(&server, "/health");
    assert_eq!(health["status"], "healthy", "{health}");
    for part in ["kafka", "dynamodb", "elasticsearch"] {
        assert_eq!(health["components"][part]["circuit"], "closed", "{health}");
    }
    tenant.own(&workplace, &["ingest", "first.jsonl"]).expect_code(0);
    tenant.own(&workplace, &["ingest", "rejected.jsonl"]).expect_code(3);
    tenant.run(&workplace, &["status"]).expect_code(0).expect_print(&[
        "the running process is healthy",
        "kafka",
        "closed",
    ]);
    assert!(server.running.kill(), "it ran until it was killed");

    // Nobody runs: the command consumes by itself, once the group has noticed that its member is gone.
    tenant.own(&workplace, &["ingest", "second.jsonl"]).expect_code(0);
    let server = workplace.up(&tenant.variables());
    assert_eq!(tenant.total(&workplace), academy.events.len() as u64);
    for (id, expected) in &academy.sessions {
        let shown = tenant.own(&workplace, &["show", "session", id]).expect_code(0).json();
        let (requested, confirmed) = (expected.requested, expected.confirmed);
        let waitlisted = expected.waiting.len();
        let numbers = json!({"requested": requested, "confirmed": confirmed, "waitlisted": waitlisted});
        assert_eq!(shown["bookings"], numbers, "{id}");
    }
    tenant.own(&workplace, &["query", "survey", "course-feedback"]).expect_code(0).expect_print(&["recommend", "NPS"]);
    tenant.run(&workplace, &["topics"]).expect_code(0).expect_print(&[BOOKINGS, "nlj.errors.validation", "training"]);
    let tail = ["tail", BOOKINGS, "--from", "beginning", "--count", "3"];
    assert_eq!(tenant.run(&workplace, &tail).expect_code(0).json_lines().len(), 3);
    let letters = tenant.letters(&workplace);
    assert_eq!(letters.len(), 3, "{letters:?}");
    let position = letters[0]["position"].as_str().expect("a position");
    tenant.run(&workplace, &["dead-letters", "show", position]).expect_code(0).expect_print(&["rejected"]);
    let dry = tenant.own(&workplace, &["dead-letters", "replay", "--dry-run"]).expect_code(0);
    dry.expect_print(&["would go to nlj.training.bookings", "3 would be sent again"]);
    server.stop().expect_code(0);
    // And without a running process, on the same services.
    assert_eq!(tenant.total(&workplace), academy.events.len() as u64);
    tenant.run(&workplace, &["status"]).expect_code(0).expect_print(&["no process is running; the stores are healthy"]);
}

fn two_processes(endpoints: &Endpoints) {
    let tenant = Tenant::on_all(endpoints);
    let (one, other) = (Workplace::new(), Workplace::new());
    let academy = Academy::new(12, Size { programs: 2, bookings: 12, responses: 20 });
    let (first, second) = academy.events.split_at(academy.events.len() / 2);
    one.write_lines("events.jsonl", first);
    other.write_lines("events.jsonl", second);
    let servers = [one.up(&tenant.variables()), other.up(&tenant.variables())];
    // Each half begins after the other one has ended, since it goes on where that stopped.
    for workplace in [&one, &other] {
        let summary = tenant.own(workplace, &["ingest", "events.jsonl", "--format", "json"]).expect_code(0).json();
        let settled = ["applied", "elsewhere"].iter().filter_map(|name| summary[*name].as_u64()).sum::<u64>();
        assert_eq!(Some(settled), summary["read"].as_u64(), "{summary}");
    }
    assert_eq!(tenant.total(&one), academy.events.len() as u64);
    let mut verbs = BTreeMap::new();
    let answer = tenant.own(&other, &["query", "platform", "--format", "json"]).expect_code(0).json();
    for row in answer["verbs"].as_array().expect("a list") {
        verbs.insert(row["verb"].as_str().expect("a text").to_owned(), row["count"].as_u64().expect("a number"));
    }
    assert_eq!(verbs, academy.verbs);
    assert!(tenant.letters(&one).is_empty(), "order per key is kept, so that nothing was rejected");
    for server in servers {
        server.stop().expect_code(0);
    }
}

/// Two processes share a group, one after the other ends, and a third one goes on: each alert is told once.
fn security_alerts(endpoints: &Endpoints) {
    const FINGERPRINT: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    let (url, posted) = receiver(&[503, 200]);
    let tenant = security_alone(&url).iter().fold(Tenant::on_all(endpoints), |of, (name, value)| of.with(name, value));
    let (one, other) = (Workplace::new(), Workplace::new());
    let publish = |server: &Server, number: u32| {
        let event = approval_invalid(&tenant.name, number, FINGERPRINT);
        assert_eq!(block_on(server.post("/events/governance.events.v1", &event, None)).0, 202);
    };
    // Topics are shared, and whoever processes another one's events raises the same alert: it has the same key.
    let next = || next_of(&posted, &tenant.name).1;
    let (first, second) = (one.up(&tenant.variables()), other.up(&tenant.variables()));
    publish(&first, 1);
    let told = next();
    let mut keys = vec![told["key"].clone()];
    assert_eq!((&told["about"], &told["severity"]), (&json!("ap-1"), &json!("high")));
    // The first attempt of all was refused; if that was of this tenant, it comes again.
    let mut until_told = |about: &str| loop {
        let told = next();
        if told["about"] == about {
            keys.push(told["key"].clone());
            return;
        }
        assert_eq!(Some(&told["key"]), keys.last(), "{about}: {told}");
    };
    publish(&second, 2);
    until_told("ap-2");
    first.stop().expect_code(0);
    publish(&second, 3);
    until_told("ap-3");
    second.stop().expect_code(0);
    let third = one.up(&tenant.variables());
    publish(&third, 4);
    until_told("ap-4");
    // What was told may take a second until it is found.
    until("four alerts", || ask(&third, &format!("/api/security?tenant={}", tenant.name))["total"] == 4);
    third.stop().expect_code(0);
    let different: std::collections::BTreeSet<_> = keys.iter().map(Value::to_string).collect();
    assert_eq!(different.len(), 4);
}

fn killed_replay(endpoints: &Endpoints) {
    const LETTERS: usize = 60;
    let kafka = lyceum_services::private(Service::Kafka).expect("a broker of its own");
    let tenant = Tenant::new().on_kafka(kafka.endpoints()).on_search(endpoints).on_dynamodb(endpoints);
    let workplace = Workplace::new();
    workplace.write_lines("rejected.jsonl", &rejected(LETTERS, 3));
    tenant.own(&workplace, &["ingest", "rejected.jsonl"]).expect_code(3);
    let replay = ["dead-letters", "replay", "--per-second", "10", "--tenant", &tenant.name];
    let running = Running::start(workplace.command(&replay).envs(tenant.variables()));
    running.wait_for_line("→");
    assert!(running.kill(), "it was killed in the middle");
    let rest = tenant.own(&workplace, &["dead-letters", "replay"]).expect_code(0);
    rest.expect_print(&["0 left for the next call"]);
    tenant.own(&workplace, &["dead-letters", "replay"]).expect_code(0).expect_print(&["0 sent again"]);

    let sent = replays_on_topic(&tenant, &workplace);
    let different: std::collections::BTreeSet<_> = sent.iter().collect();
    assert_eq!(different.len(), LETTERS, "each was sent");
    assert!(sent.len() <= LETTERS + 1, "{} were sent", sent.len());

    // They fail again, each under the same source, and the first failure is reported.
    let server = workplace.up(&tenant.variables());
    until("every replay failed again", || tenant.letters(&workplace).len() >= 2 * LETTERS);
    let again: Vec<Value> =
        tenant.letters(&workplace).into_iter().filter(|letter| letter["replay_count"] == 1).collect();
    assert_eq!(again.len(), LETTERS);
    for letter in &again {
        assert!(letter["first_failed_at"].as_str() < letter["last_failed_at"].as_str(), "{letter}");
    }
    server.stop().expect_code(0);
}

/// Where the replays of a tenant came from, as the topic has them.
fn replays_on_topic(tenant: &Tenant, workplace: &Workplace) -> Vec<String> {
    let tail = tenant.run(workplace, &["tail", BOOKINGS, "--from", "beginning"]).expect_code(0);
    let header = |record: &Value, name: &str| {
        let headers = record["headers"].as_array().expect("a list");
        headers.iter().find(|header| header[0] == name).and_then(|header| header[1].as_str().map(str::to_owned))
    };
    let own = tail.json_lines().into_iter().filter(|record| header(record, "tenant-id").as_ref() == Some(&tenant.name));
    own.filter_map(|record| header(&record, "lyceum-source")).collect()
}

fn functions_elsewhere(endpoints: &Endpoints) {
    let host_of_functions = Workplace::new();
    for on_kafka in [false, true] {
        let stores = Tenant::new().on_search(endpoints).on_dynamodb(endpoints);
        let tenant = if on_kafka { stores.on_kafka(endpoints) } else { stores };
        // A process of the same stores answers at Lambda's invoke endpoint; its own log is embedded and empty.
        let mut its_variables = tenant.variables();
        its_variables.retain(|(name, _)| *name != "KAFKA_BOOTSTRAP_SERVERS");
        let functions = host_of_functions.up(&its_variables);
        let workplace = Workplace::new();
        let academy = Academy::new(13, Size { programs: 1, bookings: 4, responses: 4 });
        workplace.write_lines("events.jsonl", &academy.events);
        let driver = workplace.up_with(&tenant.variables(), &["--functions", &functions.base]);
        let summary = tenant.own(&workplace, &["ingest", "events.jsonl", "--format", "json"]).expect_code(0).json();
        assert_eq!(summary["elsewhere"].as_u64(), Some(academy.events.len() as u64), "{summary}");
        assert_eq!(tenant.total(&workplace), academy.events.len() as u64);
        driver.stop().expect_code(0);
        functions.stop().expect_code(0);
    }
}

fn one_real_store(endpoints: &Endpoints) {
    let tenant = Tenant::new().on_search(endpoints);
    let workplace = Workplace::new();
    let academy = Academy::new(14, Size { programs: 1, bookings: 3, responses: 1 });
    workplace.write_lines("events.jsonl", &academy.events);
    let server = workplace.up(&tenant.variables());
    let places = server.running.wait_for_line("Event log:");
    assert!(places.contains("Event log: embedded") && places.contains(endpoints.url(Service::OpenSearch)), "{places}");
    tenant.own(&workplace, &["ingest", "events.jsonl"]).expect_code(0);
    assert_eq!(tenant.total(&workplace), academy.events.len() as u64);
    let components = ask(&server, "/health")["components"].clone();
    assert!(components["event_log"].is_object() && components["elasticsearch"]["circuit"] == "closed", "{components}");
    server.stop().expect_code(0);
}

fn schemas_of_a_registry(endpoints: &Endpoints) {
    let variables = [("SCHEMA_REGISTRY_URL", endpoints.url(Service::Registry))];
    let workplace = Workplace::new();
    workplace.run(&["schemas", "list"]).expect_code(0).expect_print(&["learning.events.v1", "No registry is named"]);
    workplace.run(&["schemas", "register"]).expect_code(1).expect_report(&["SCHEMA_REGISTRY_URL"]);
    workplace.run_with(&variables, &["schemas", "register", "--dry-run"]).expect_code(0).expect_print(&["A trial"]);
    workplace.run_with(&variables, &["schemas", "register"]).expect_code(0);
    let listed = workplace.run_with(&variables, &["schemas", "list", "--format", "json"]).expect_code(0).json();
    let schemas = listed["schemas"].as_array().expect("schemas");
    assert!(
        schemas.iter().all(|of| of["registry"].as_str().is_some_and(|of| of.starts_with("there: id "))),
        "{listed}"
    );

    // As single object: C3 01, the fingerprint, the event.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/aws/learning-single-msk.json");
    let sample = std::fs::read(sample).expect("a sample");
    let sample: Value = serde_json::from_slice(&sample).expect("JSON");
    let value = sample["records"]["learning.events.v1-0"][0]["value"].as_str().expect("a value");
    let value = BASE64.decode(value).expect("base64");
    let print = format!("{:016x}", u64::from_le_bytes(value[2..10].try_into().expect("eight bytes")));
    let of_sample = schemas.iter().find(|of| of["fingerprint"] == print).expect("its schema is built in");
    let said = of_sample["registry"].as_str().and_then(|of| of.strip_prefix("there: id ")).expect("an id");
    let id: i32 = said.split(',').next().and_then(|id| id.parse().ok()).expect("a number");
    let server = workplace.up(&variables);
    server.running.wait_for_line("schemas: registry http://");
    let health = ask(&server, "/health");
    assert_eq!(health["components"]["schema_registry"]["circuit"], "closed", "{health}");
    for id in [id, i32::MAX] {
        let framed = [&[0][..], &id.to_be_bytes(), &value[10..]].concat();
        let body = json!({"value": {"base64": BASE64.encode(framed)}});
        let (status, answer) = block_on(server.post("/events/learning.events.v1", &body, None));
        assert!((200..300).contains(&status), "{answer}");
    }
    let told = |wanted: &str| ask(&server, "/metrics").as_str().is_some_and(|of| of.contains(wanted));
    let began = Instant::now();
    let applied = r#"lyceum_events_total{family="learning",event_type="question.answered",outcome="applied"} 1"#;
    while !told(applied) {
        assert!(began.elapsed() < PATIENCE, "{}", ask(&server, "/metrics"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let letters = workplace.run(&["dead-letters", "list", "--rule", "schema.unknown", "--tenant", "*"]);
    letters.expect_code(0).expect_print(&["learning.events.v1"]);
    assert!(
        told(r#"lyceum_store_duration_seconds_count{store="schemas",operation="find"} 2"#),
        "{}",
        ask(&server, "/metrics")
    );
    server.stop().expect_code(0);
}

fn given_up(endpoints: &Endpoints) {
    let tenant = Tenant::new().with("AWS_ENDPOINT_URL", endpoints.url(Service::Aws));
    let workplace = Workplace::new();
    workplace.write_lines("rejected.jsonl", &rejected(1, 5));
    tenant.own(&workplace, &["ingest", "rejected.jsonl"]).expect_code(3);
    let record = &tenant.run(&workplace, &["tail", BOOKINGS, "--from", "beginning"]).expect_code(0).json_lines()[0];
    let place = record["position"].as_str().expect("a position").to_owned();
    let mut parts = place.rsplitn(3, '/');
    let (offset, partition) = (parts.next().expect("an offset"), parts.next().expect("a partition"));
    let batch = format!("{BOOKINGS}-{partition}");
    let condition = json!({"requestId": "r", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 4});
    let range = json!({&batch: {"firstRecordOffset": offset, "lastRecordOffset": "4711"}});
    let of_sqs = json!({"requestContext": condition, "version": "1.0", "KafkaBatchInfo": {"recordsInfo": range}});
    // A statement that was never seen here: its record comes with the object.
    let mut random = StdRng::seed_from_u64(6);
    let value = BASE64.encode(booking(&mut random, "confirmed", "b-of-s3", "s").to_string());
    let entry =
        json!({"topic": BOOKINGS, "partition": 0, "offset": 99_000, "timestamp": 1, "value": value, "headers": []});
    let event = json!({"eventSource": "aws:kafka", "records": {format!("{BOOKINGS}-0"): [entry]}}).to_string();
    let of_s3 = json!({"requestContext": condition, "version": "1.0", "KafkaBatchInfo": {}, "payload": event});

    let name = format!("failed-{}", Uuid::new_v4().simple());
    let queue_url = put(endpoints.url(Service::Aws), &name, &of_s3, &of_sqs);
    let from_s3 = format!("s3://{name}/aws/lambda");
    let imported = tenant.run(&workplace, &["dead-letters", "import", &from_s3]).expect_code(0);
    imported.expect_print(&["1 on-failure records: 1 dead letters written", "no order is promised"]);
    let once_more = tenant.run(&workplace, &["dead-letters", "import", &from_s3]).expect_code(0);
    once_more.expect_print(&["0 dead letters written; 1 have one already"]);

    // The queue names a record that has a letter, and many that are not on the topic.
    let from_sqs = format!("sqs://{queue_url}");
    let imported = tenant.run(&workplace, &["dead-letters", "import", &from_sqs]).expect_code(1);
    imported.expect_print(&["1 have one already", "not on the topic any more", "it stays in the queue"]);

    let list =
        tenant.run(&workplace, &["dead-letters", "list", "--kind", "processing", "--tenant", "*"]).expect_code(0);
    list.expect_print(&["AWS Lambda gave the record up: RetryAttemptsExhausted, after 4 invocations"]);
    let replay =
        tenant.run(&workplace, &["dead-letters", "replay", "--kind", "processing", "--tenant", "*"]).expect_code(0);
    replay.expect_print(&["1 sent again"]);
}

fn given_up_to_a_topic(_: &Endpoints) {
    const FAILED: &str = "nlj.failed";
    let kafka = lyceum_services::private(Service::Kafka).expect("a broker of its own");
    let tenant = Tenant::new().on_kafka(kafka.endpoints());
    let workplace = Workplace::new();
    // It makes the topics of letters, which an import writes to.
    let server = workplace.up(&tenant.variables());
    // AWS's sample, with an event of ours in it.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/on-failure/kafka-message-of-one-record.json");
    let sample = std::fs::read(sample).expect("the sample is read");
    let mut message: Value = serde_json::from_slice(&sample).expect("the sample is JSON");
    let requested = booking(&mut StdRng::seed_from_u64(8), "requested", "b-of-kafka", "s-of-kafka");
    let entry = json!({
        "topic": BOOKINGS, "partition": 0, "offset": 99_000, "timestamp": 1,
        "key": BASE64.encode("s-of-kafka"), "value": BASE64.encode(requested.to_string()), "headers": []
    });
    message["payload"]["records"] = json!({format!("{BOOKINGS}-0"): [entry]});
    let log = KafkaEventLog::connect(&KafkaSettings::plaintext(kafka.endpoint())).expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let write = |value: String| {
        let record = NewRecord { value: Some(value.into()), ..NewRecord::default() };
        runtime.block_on(log.produce(FAILED, vec![record])).expect("a record is written");
    };
    let spec = TopicSpec { name: FAILED.to_owned(), partitions: 2, retention: Retention::default() };
    runtime.block_on(log.create_topic(spec)).expect("a topic");
    write(message.to_string());

    let import = ["dead-letters", "import", "kafka://nlj.failed"];
    let imported = tenant.run(&workplace, &import).expect_code(0);
    imported.expect_print(&["1 on-failure records: 1 dead letters written", "no order is promised"]);
    tenant.run(&workplace, &import).expect_code(0).expect_print(&["0 dead letters written; 1 have one already"]);
    write(json!({"none": "of AWS's"}).to_string());
    let imported = tenant.run(&workplace, &import).expect_code(1);
    imported.expect_print(&["2 on-failure records: 0 dead letters written", "it is no on-failure record"]);
    let missing = tenant.run(&workplace, &["dead-letters", "import", "kafka://nlj.nothing"]).expect_code(1);
    missing.expect_report(&["there is no topic nlj.nothing"]);

    let list =
        tenant.run(&workplace, &["dead-letters", "list", "--kind", "processing", "--tenant", "*"]).expect_code(0);
    list.expect_print(&["AWS Lambda gave the record up: RetriesExhausted, after 3 invocations"]);
    let replay =
        tenant.run(&workplace, &["dead-letters", "replay", "--kind", "processing", "--tenant", "*"]).expect_code(0);
    replay.expect_print(&["1 sent again"]);
    let show = ["show", "session", "s-of-kafka"];
    until("the booking counts", || {
        let shown = tenant.run(&workplace, &show);
        shown.code == Some(0) && shown.json()["bookings"]["requested"] == 1
    });
    server.stop().expect_code(0);
    tenant.run(&workplace, &["dead-letters", "replay"]).expect_code(0).expect_print(&["0 sent again"]);
}

/// Makes a bucket with an object and a queue with a message; returns the queue's URL.
fn put(endpoint: &str, name: &str, object: &Value, message: &Value) -> String {
    block_on(async {
        let config = aws::config(endpoint).await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder()
            .location_constraint(aws_sdk_s3::types::BucketLocationConstraint::EuCentral1)
            .build();
        s3.create_bucket().bucket(name).create_bucket_configuration(place).send().await.expect("a bucket");
        let key = "aws/lambda/mapping/2026/03/02/2026-03-02T08.16.05-object";
        let body = object.to_string().into_bytes();
        s3.put_object().bucket(name).key(key).body(body.into()).send().await.expect("an object");
        let sqs = aws_sdk_sqs::Client::new(&config);
        let queue = sqs.create_queue().queue_name(name).send().await.expect("a queue");
        let queue_url = queue.queue_url().expect("its URL").to_owned();
        sqs.send_message().queue_url(&queue_url).message_body(message.to_string()).send().await.expect("a message");
        queue_url
    })
}

/// A domain of Amazon OpenSearch Service takes everything that is signed for it; a collection of Serverless says neither who it
/// is nor refreshes, and takes no number of shards.
fn signed_requests(endpoints: &Endpoints) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for service in ["es", "aoss"] {
        let rule = move |asked: &ProxiedRequest<'_>, _: u64| {
            let account = Account { key: aws::KEY, secret: aws::KEY, region: aws::REGION, service };
            if let Some(why) = account.refusal(asked) {
                return Act::Answer(403, json!({"message": format!("refused: {why}")}).to_string());
            }
            let path = asked.uri.path();
            let body: Value = serde_json::from_slice(asked.body).unwrap_or_default();
            match service {
                "aoss" if path == "/" || path.ends_with("/_refresh") => Act::Answer(404, String::new()),
                "aoss" if !body["settings"].is_null() => Act::Answer(400, String::new()),
                _ => Act::Pass,
            }
        };
        let store = runtime.block_on(HttpProxy::to(endpoints.url(Service::OpenSearch), rule)).expect("a proxy");
        let tenant = Tenant::new();
        let index = format!("index-{}", tenant.name);
        let signed = tenant
            .with("ELASTICSEARCH_URL", store.url())
            .with("ELASTICSEARCH_INDEX", &index)
            .with("ELASTICSEARCH_REPLICAS", "0")
            .with("ELASTICSEARCH_AUTH", "aws")
            .with("ELASTICSEARCH_AWS_SERVICE", service);
        let workplace = Workplace::new();
        let sample = binary::workspace().join("events/statement/valid/full.json").display().to_string();
        signed.own(&workplace, &["ingest", &sample]).expect_code(0);
        until("the statements are found", || signed.total(&workplace) > 0);
        // Another secret signs otherwise, and a person is told what may be lacking.
        let ended = Workplace::new().run_with(
            &[signed.variables().as_slice(), &[("AWS_SECRET_ACCESS_KEY", "another")]].concat(),
            &["up", "--port", "0"],
        );
        let said = ended.expect_code(1).stderr;
        assert!(said.contains(&format!("requests are signed for {service} in {}", aws::REGION)), "{said}");
        assert!(said.contains("the signature is another one"), "{said}");
    }
}
