//! The event log on a real Kafka keeps the port's contract, the very list that its twin and its model keep; and what only a
//! real one can do: refuse credentials, certificates and records, go away in the middle, and leave gaps in its offsets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lyceum_core::ports::event_log::{
    Administer, Change, EventLog, EventLogError, Follow, Publish, Retention, TopicSpec,
};
use lyceum_core::record::NewRecord;
use lyceum_kafka::event_log::KafkaEventLog;
use lyceum_kafka::settings::{ClientCertificate, Encryption, KafkaSettings, Pem, Sasl, Secret};
use lyceum_proxies::tcp::{Heard, Line, TcpProxy};
use lyceum_services::{Endpoints, KafkaEndpoint, Service, Suite};
use lyceum_testing::event_log_contract::CHECKS;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use uuid::Uuid;

mod iam;

/// The API key of a question for records. Source: Kafka's protocol, "API keys".
const FETCH: [u8; 2] = 1_i16.to_be_bytes();
/// That of the question which mechanism is to authenticate.
const SASL_HANDSHAKE: [u8; 2] = 17_i16.to_be_bytes();

type Test = fn(&Endpoints);

const TESTS: &[(&str, Test)] = &[
    ("an_authority_that_is_no_file_is_named", an_authority_that_is_no_file_is_named),
    ("an_unknown_host_is_named", an_unknown_host_is_named),
    ("a_broker_that_does_not_listen_is_transient", a_broker_that_does_not_listen_is_transient),
    ("a_record_that_the_topic_does_not_take_is_too_large", a_record_that_the_topic_does_not_take_is_too_large),
    ("what_a_cluster_has_too_few_brokers_for_is_refused", what_a_cluster_has_too_few_brokers_for_is_refused),
    ("a_record_of_another_time_is_refused_by_the_topic_s_limits", a_record_of_another_time_is_refused),
    ("records_that_fit_alone_need_not_fit_together", records_that_fit_alone_need_not_fit_together),
    ("a_connection_cut_while_producing_loses_and_doubles_nothing", a_connection_cut_while_producing),
    ("a_broker_that_stays_away_is_transient_and_comes_back", a_broker_that_stays_away),
    ("a_reader_goes_on_after_its_connection_was_cut", a_reader_goes_on_after_its_connection_was_cut),
    ("an_end_that_is_told_late_hides_no_record", an_end_that_is_told_late_hides_no_record),
    ("transactions_leave_gaps_that_no_reader_waits_for", transactions_leave_gaps_that_no_reader_waits_for),
    ("more_readers_than_lanes_read_all_the_same", more_readers_than_lanes_read_all_the_same),
    ("two_clients_share_the_partitions_of_a_group", two_clients_share_the_partitions_of_a_group),
    ("a_member_that_does_not_release_loses_its_partitions", a_member_that_does_not_release_loses_its_partitions),
    ("what_others_configured_of_a_topic_stays", what_others_configured_of_a_topic_stays),
    ("a_topic_that_another_client_grows_is_written_in_full", a_topic_that_another_client_grows_is_written_in_full),
];

/// A listener that not every Kafka has: its name, what names one, and whether it is there with all that it takes.
struct Listener {
    name: &'static str,
    variables: &'static str,
    find: fn(&KafkaEndpoint) -> Option<&str>,
}

const SASL_PLAINTEXT: Listener = Listener {
    name: "SASL_PLAINTEXT",
    variables: "LYCEUM_TEST_KAFKA_SASL_PLAINTEXT",
    find: |kafka| kafka.sasl_plaintext.as_deref(),
};
const SASL_SSL: Listener = Listener {
    name: "SASL_SSL",
    variables: "LYCEUM_TEST_KAFKA_SASL_SSL and LYCEUM_TEST_KAFKA_CA",
    find: |kafka| kafka.sasl_ssl.as_deref().filter(|_| kafka.ca_file.is_some()),
};
const MUTUAL_TLS: Listener = Listener {
    name: "mutual TLS",
    variables: "LYCEUM_TEST_KAFKA_MUTUAL_TLS, LYCEUM_TEST_KAFKA_CA, LYCEUM_TEST_KAFKA_CERTIFICATE and LYCEUM_TEST_KAFKA_KEY",
    find: |kafka| kafka.mutual_tls.as_deref().filter(|_| kafka.ca_file.is_some() && kafka.client_certificate.is_some()),
};

impl Listener {
    fn missing(&self, endpoints: &Endpoints) -> Option<String> {
        let Self { name, variables, find } = self;
        let why = format!(
            "the Kafka in use has no listener for {name}: start the project's own where Java and Maven are, or name one by {variables}"
        );
        find(endpoints.kafka()).is_none().then_some(why)
    }

    /// Where it is.
    fn of<'a>(&self, endpoints: &'a Endpoints) -> &'a str {
        (self.find)(endpoints.kafka()).expect("its tests run where it is there")
    }
}

/// Tests of clients that have to say who they are.
const SECURED: &[(&str, Listener, Test)] = &[
    (
        "scram_and_plain_are_accepted_without_encryption",
        SASL_PLAINTEXT,
        scram_and_plain_are_accepted_without_encryption,
    ),
    ("scram_and_plain_are_accepted_with_encryption", SASL_SSL, scram_and_plain_are_accepted_with_encryption),
    ("a_client_certificate_is_accepted", MUTUAL_TLS, a_client_certificate_is_accepted),
    ("a_missing_client_certificate_is_named", MUTUAL_TLS, a_missing_client_certificate_is_named),
    ("a_wrong_password_is_named_at_once", SASL_PLAINTEXT, a_wrong_password_is_named_at_once),
    ("an_authority_that_does_not_match_is_named", SASL_SSL, an_authority_that_does_not_match_is_named),
    (
        "a_broker_that_goes_away_at_the_handshake_is_no_wrong_password",
        SASL_PLAINTEXT,
        a_broker_that_goes_away_at_the_handshake_is_no_wrong_password,
    ),
    (
        "a_key_with_a_password_is_read_with_it_and_with_no_other",
        MUTUAL_TLS,
        a_key_with_a_password_is_read_with_it_and_with_no_other,
    ),
];

fn main() {
    if let Ok(story) = std::env::var(iam::STORY) {
        return iam::tell(&story);
    }
    let mut suite = Suite::default();
    for &(name, check) in CHECKS {
        suite.test(format!("kafka::{name}"), &[Service::Kafka], move |endpoints| {
            let log = connect(&KafkaSettings::plaintext(&endpoints.kafka().plaintext));
            run(async move { check(&log).await });
        });
    }
    for &(name, test) in TESTS {
        suite.test(name, &[Service::Kafka], test);
    }
    for (name, listener, test) in SECURED {
        suite.test_where(*name, &[Service::Kafka], |endpoints| listener.missing(endpoints), test);
    }
    iam::add(&mut suite);
    suite.run();
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work)
}

fn connect(settings: &KafkaSettings) -> KafkaEventLog {
    KafkaEventLog::connect(settings).unwrap()
}

fn plaintext(endpoints: &Endpoints) -> KafkaSettings {
    KafkaSettings::plaintext(&endpoints.kafka().plaintext)
}

fn name_topic() -> String {
    format!("services.{}", Uuid::new_v4().simple())
}

async fn create(log: &dyn EventLog, partitions: i32) -> String {
    let name = name_topic();
    let spec = TopicSpec { name: name.clone(), partitions, retention: Retention::default() };
    log.create_topic(spec).await.unwrap();
    name
}

fn record(value: impl Into<bytes::Bytes>) -> NewRecord {
    NewRecord { value: Some(value.into()), partition: Some(0), ..NewRecord::default() }
}

async fn read_all(log: &dyn EventLog, topic: &str, partition: i32) -> Vec<String> {
    let (mut values, mut offset) = (Vec::new(), 0);
    loop {
        let records = log.fetch(topic, partition, offset, 1000, 1 << 20).await.unwrap();
        let Some(last) = records.last() else { return values };
        offset = last.position.offset + 1;
        values
            .extend(records.iter().map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()).into_owned()));
    }
}

/// Writes and reads one record, as somebody who may.
async fn assert_usable(settings: &KafkaSettings) {
    let log = connect(settings);
    let topic = create(&log, 1).await;
    log.produce(&topic, vec![record("hello")]).await.unwrap();
    assert_eq!(read_all(&log, &topic, 0).await, ["hello"]);
    log.commit("services", &topic, &[(0, 1)]).await.unwrap();
}

fn tls(kafka: &KafkaEndpoint) -> Encryption {
    let ca = kafka.ca_file.as_ref().expect("Kafka has an authority");
    Encryption::Tls { authorities: Some(Pem::File(text_of(ca))), certificate: None }
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn alice(mechanism: &str, password: &str) -> Option<Sasl> {
    let (mechanism, username, password) = (mechanism.to_owned(), "alice".to_owned(), Secret::new(password));
    Some(Sasl::Password { mechanism, username, password })
}

const MECHANISMS: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];

fn scram_and_plain_are_accepted_without_encryption(endpoints: &Endpoints) {
    let servers = SASL_PLAINTEXT.of(endpoints);
    for mechanism in MECHANISMS {
        let sasl = alice(mechanism, "alice-secret");
        run(assert_usable(&KafkaSettings { sasl, ..KafkaSettings::plaintext(servers) }));
    }
}

fn scram_and_plain_are_accepted_with_encryption(endpoints: &Endpoints) {
    let servers = SASL_SSL.of(endpoints);
    for mechanism in MECHANISMS {
        let sasl = alice(mechanism, "alice-secret");
        run(assert_usable(&KafkaSettings {
            sasl,
            encryption: tls(endpoints.kafka()),
            ..KafkaSettings::plaintext(servers)
        }));
    }
}

fn a_client_certificate_is_accepted(endpoints: &Endpoints) {
    let kafka = endpoints.kafka();
    let servers = MUTUAL_TLS.of(endpoints);
    let (certificate, key) = kafka.client_certificate.as_ref().expect("Kafka has a client's certificate");
    let ca = kafka.ca_file.as_deref().expect("Kafka has an authority");
    // As files, and as text, as a function has them from a secret.
    let in_file = |path: &Path| Pem::File(text_of(path));
    let as_text = |path: &Path| Pem::Text(Secret::new(fs::read_to_string(path).unwrap()));
    for pem in [&in_file as &dyn Fn(&Path) -> Pem, &as_text] {
        let certificate = ClientCertificate { certificate: pem(certificate), key: pem(key), key_password: None };
        let encryption = Encryption::Tls { authorities: Some(pem(ca)), certificate: Some(certificate) };
        run(assert_usable(&KafkaSettings { encryption, ..KafkaSettings::plaintext(servers) }));
    }
}

fn a_key_with_a_password_is_read_with_it_and_with_no_other(endpoints: &Endpoints) {
    let servers = MUTUAL_TLS.of(endpoints);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    let with = |password: Option<&str>| {
        let certificate = ClientCertificate {
            certificate: Pem::File(text_of(&folder.join("stranger.pem"))),
            key: Pem::File(text_of(&folder.join("stranger.key"))),
            key_password: password.map(Secret::new),
        };
        let authorities = endpoints.kafka().ca_file.as_deref().map(text_of).map(Pem::File);
        let encryption = Encryption::Tls { authorities, certificate: Some(certificate) };
        run(refusal(KafkaSettings { encryption, ..KafkaSettings::plaintext(servers) }))
    };
    // The key is read: what is refused is the certificate, by a broker whose authority did not sign it.
    assert_unauthorized(&with(Some("stranger-secret")), "KAFKA_SSL_CERTIFICATE_LOCATION");
    for password in [Some("another-secret"), None] {
        let error = with(password);
        assert!(
            matches!(&error, EventLogError::Refused(why) if why.contains("KAFKA_SSL_KEY_PASSWORD") && !why.contains("another-secret")),
            "{error:?}"
        );
    }
}

/// A client that is refused learns it long before its limit is over.
async fn refusal(settings: KafkaSettings) -> EventLogError {
    let settings = KafkaSettings { timeout: Duration::from_secs(120), ..settings };
    let begun = Instant::now();
    let error = connect(&settings).offsets("nothing").await.unwrap_err();
    assert!(begun.elapsed() < settings.timeout / 2, "it took {:?} to say: {error}", begun.elapsed());
    error
}

fn assert_unauthorized(error: &EventLogError, hint: &str) {
    assert!(matches!(error, EventLogError::Unauthorized(why) if why.contains(hint)), "{error:?}");
    assert!(!error.is_transient());
}

/// A broker that is unavailable is reported as that, and the same call may be made again.
fn assert_disconnected(error: &EventLogError) {
    assert!(
        matches!(error, EventLogError::Unavailable(why) if why.starts_with("no connection to Kafka (") && why.contains("--kafka names it")),
        "{error:?}"
    );
    assert!(error.is_transient());
}

fn a_missing_client_certificate_is_named(endpoints: &Endpoints) {
    let servers = MUTUAL_TLS.of(endpoints);
    let settings = KafkaSettings { encryption: tls(endpoints.kafka()), ..KafkaSettings::plaintext(servers) };
    assert_unauthorized(&run(refusal(settings)), "KAFKA_SSL_CERTIFICATE_LOCATION");
}

fn a_wrong_password_is_named_at_once(endpoints: &Endpoints) {
    let servers = SASL_PLAINTEXT.of(endpoints);
    for mechanism in MECHANISMS {
        let settings = KafkaSettings { sasl: alice(mechanism, "another-secret"), ..KafkaSettings::plaintext(servers) };
        let error = run(refusal(settings));
        assert_unauthorized(&error, "KAFKA_SASL_PASSWORD");
        assert!(!format!("{error} {error:?}").contains("another-secret"));
    }
}

fn a_broker_that_goes_away_at_the_handshake_is_no_wrong_password(endpoints: &Endpoints) {
    run(async {
        let (left, cut) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (to_cut, counted) = (left.clone(), cut.clone());
        let hears = move |question: &[u8]| {
            let begins = question.starts_with(&SASL_HANDSHAKE);
            if !begins || to_cut.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
                return Heard::Pass;
            }
            counted.fetch_add(1, Relaxed);
            Heard::Cut
        };
        let proxy = TcpProxy::to_broker_hearing(SASL_PLAINTEXT.of(endpoints), hears).await.unwrap();
        for mechanism in MECHANISMS {
            let sasl = alice(mechanism, "alice-secret");
            let settings = KafkaSettings { sasl, ..KafkaSettings::plaintext(proxy.address()) };
            left.store(3, Relaxed);
            assert_usable(&settings).await;
            let before = cut.load(Relaxed);
            left.store(u64::MAX, Relaxed);
            let log = connect(&KafkaSettings { timeout: Duration::from_secs(2), ..settings });
            let error = log.offsets("nothing").await.unwrap_err();
            assert_disconnected(&error);
            assert!(cut.load(Relaxed) > before);
        }
    });
}

fn an_authority_that_does_not_match_is_named(endpoints: &Endpoints) {
    let servers = SASL_SSL.of(endpoints);
    let other = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates/another-authority.pem");
    let text = Secret::new(fs::read_to_string(&other).unwrap());
    for authority in [Pem::File(text_of(&other)), Pem::Text(text)] {
        let encryption = Encryption::Tls { authorities: Some(authority), certificate: None };
        let settings =
            KafkaSettings { encryption, sasl: alice("PLAIN", "alice-secret"), ..KafkaSettings::plaintext(servers) };
        assert_unauthorized(&run(refusal(settings)), "KAFKA_SSL_CA_LOCATION");
    }
}

fn an_authority_that_is_no_file_is_named(endpoints: &Endpoints) {
    for authority in [Pem::File("/no/such/authority.pem".to_owned()), Pem::Text(Secret::new("hush"))] {
        let encryption = Encryption::Tls { authorities: Some(authority), certificate: None };
        let error = run(refusal(KafkaSettings { encryption, ..plaintext(endpoints) }));
        assert!(matches!(&error, EventLogError::Refused(why) if why.contains("KAFKA_")), "{error:?}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

fn an_unknown_host_is_named(_: &Endpoints) {
    let settings =
        KafkaSettings { timeout: Duration::from_secs(3), ..KafkaSettings::plaintext("no.such.host.invalid:9092") };
    let error = run(async { connect(&settings).topics().await.unwrap_err() });
    assert!(error.to_string().contains("KAFKA_BOOTSTRAP_SERVERS"), "{error}");
    assert!(error.is_transient(), "a name server may be away, too");
}

fn a_broker_that_does_not_listen_is_transient(_: &Endpoints) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = KafkaSettings { timeout: Duration::from_secs(2), ..KafkaSettings::plaintext(free.to_string()) };
    let error = run(async { connect(&settings).offsets("nothing").await.unwrap_err() });
    assert!(matches!(error, EventLogError::Unavailable(_)), "{error:?}");
}

fn a_record_that_the_topic_does_not_take_is_too_large(endpoints: &Endpoints) {
    run(async {
        let small = connect(&KafkaSettings { max_record_bytes: 200_000, ..plaintext(endpoints) });
        let topic = create(&small, 1).await;
        let log = connect(&plaintext(endpoints));
        // Bytes that do not compress.
        let noise: Vec<u8> = (0..20_000).flat_map(|_| *Uuid::new_v4().as_bytes()).collect();
        let error = log.produce(&topic, vec![record(noise.clone())]).await.unwrap_err();
        let EventLogError::TooLarge { bytes, limit_bytes } = error else { panic!("{error:?}") };
        assert_eq!((bytes, limit_bytes), (noise.len(), 200_000));
        log.produce(&topic, vec![record("small")]).await.unwrap();
        assert_eq!(read_all(&log, &topic, 0).await, ["small"]);
    });
}

fn what_a_cluster_has_too_few_brokers_for_is_refused(endpoints: &Endpoints) {
    let log = connect(&KafkaSettings { replication_factor: Some(100), ..plaintext(endpoints) });
    let spec = TopicSpec { name: name_topic(), partitions: 1, retention: Retention::default() };
    let error = run(log.create_topic(spec)).unwrap_err();
    assert!(matches!(&error, EventLogError::Refused(why) if why.contains("KAFKA_REPLICATION_FACTOR")), "{error:?}");
}

fn a_record_of_another_time_is_refused(endpoints: &Endpoints) {
    run(async {
        let log = connect(&plaintext(endpoints));
        let topic = create(&log, 1).await;
        let in_the_year_2200 = NewRecord { timestamp_ms: Some(7_258_118_400_000), ..record("early") };
        let error = log.produce(&topic, vec![in_the_year_2200]).await.unwrap_err();
        assert!(matches!(&error, EventLogError::Refused(why) if why.contains("message.timestamp")), "{error:?}");
    });
}

fn records_that_fit_alone_need_not_fit_together(endpoints: &Endpoints) {
    run(async {
        let small = connect(&KafkaSettings { max_record_bytes: 200_000, ..plaintext(endpoints) });
        let topic = create(&small, 1).await;
        let noise = || record((0..8_000).flat_map(|_| *Uuid::new_v4().as_bytes()).collect::<Vec<u8>>());
        let positions = small.produce(&topic, (0..12).map(|_| noise()).collect()).await.unwrap();
        assert_eq!(positions.len(), 12);
    });
}

fn a_connection_cut_while_producing(endpoints: &Endpoints) {
    const CALLS: usize = 60;
    run(async {
        let proxy = Arc::new(TcpProxy::to_broker(&endpoints.kafka().plaintext).await.unwrap());
        let log = Arc::new(connect(&KafkaSettings::plaintext(proxy.address())));
        let topic = create(&*log, 1).await;
        let cutter = {
            let (proxy, log, topic) = (proxy.clone(), log.clone(), topic.clone());
            tokio::spawn(async move {
                for cut in 1..=3 {
                    // Each cut comes while records are on their way.
                    while log.offsets(&topic).await.unwrap()[0].end < cut * 200 {}
                    proxy.set(Line::Refuse);
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    proxy.set(Line::Pass);
                }
            })
        };
        let mut expected = Vec::new();
        for call in 0..CALLS {
            let names: Vec<String> = (0..20).map(|n| format!("{call}-{n}")).collect();
            log.produce(&topic, names.iter().map(|name| record(name.clone())).collect()).await.unwrap();
            expected.extend(names);
        }
        cutter.await.unwrap();
        assert_eq!(read_all(&*log, &topic, 0).await, expected);
    });
}

fn a_broker_that_stays_away(endpoints: &Endpoints) {
    run(async {
        let proxy = TcpProxy::to_broker(&endpoints.kafka().plaintext).await.unwrap();
        let settings = KafkaSettings { timeout: Duration::from_secs(2), ..KafkaSettings::plaintext(proxy.address()) };
        let log = connect(&settings);
        let topic = create(&log, 1).await;
        log.produce(&topic, vec![record("before")]).await.unwrap();
        let group = name_topic();
        let member = log.join(&group, &topic, Duration::from_secs(30)).await.unwrap();
        assert_eq!(member.change().await.unwrap(), Change::Assigned([0].into()));
        proxy.set(Line::Refuse);
        for error in [
            log.produce(&topic, vec![record("meanwhile")]).await.map(drop).unwrap_err(),
            log.offsets(&topic).await.map(drop).unwrap_err(),
            log.fetch(&topic, 0, 0, 1, 1).await.map(drop).unwrap_err(),
            log.commit(&group, &topic, &[(0, 1)]).await.unwrap_err(),
            member.commit(&[(0, 1)]).await.unwrap_err(),
        ] {
            assert_disconnected(&error);
        }
        proxy.set(Line::Pass);
        let begun = Instant::now();
        while let Err(error) = log.produce(&topic, vec![record("after")]).await {
            assert!(error.is_transient() && begun.elapsed() < Duration::from_secs(600), "{error:?}");
        }
        let read = read_all(&log, &topic, 0).await;
        assert_eq!((read.first().unwrap().as_str(), read.last().unwrap().as_str()), ("before", "after"), "{read:?}");
    });
}

/// What a reader behind a proxy is about: the proxy, the reader, a writer beside it, and a topic of one partition.
async fn reader_behind(
    endpoints: &Endpoints,
    hears: impl Fn(&[u8]) -> Heard + Send + Sync + 'static,
) -> (TcpProxy, KafkaEventLog, KafkaEventLog, String) {
    let proxy = TcpProxy::to_broker_hearing(&endpoints.kafka().plaintext, hears).await.unwrap();
    let reader = connect(&KafkaSettings::plaintext(proxy.address()));
    let writer = connect(&plaintext(endpoints));
    let topic = create(&writer, 1).await;
    (proxy, reader, writer, topic)
}

fn a_reader_goes_on_after_its_connection_was_cut(endpoints: &Endpoints) {
    run(async {
        let (proxy, reader, writer, topic) = reader_behind(endpoints, |_| Heard::Pass).await;
        for round in 0..3_i64 {
            writer.produce(&topic, vec![record(round.to_string())]).await.unwrap();
            let read = reader.fetch(&topic, 0, round, 10, 1000).await.unwrap();
            assert_eq!(read[0].value.as_deref(), Some(round.to_string().as_bytes()));
            proxy.cut();
        }
    });
}

fn an_end_that_is_told_late_hides_no_record(endpoints: &Endpoints) {
    run(async {
        let hears = |question: &[u8]| match question.starts_with(&FETCH) {
            true => Heard::Late(Duration::from_millis(400)),
            false => Heard::Pass,
        };
        let (_proxy, reader, writer, topic) = reader_behind(endpoints, hears).await;
        for round in 0..6_i64 {
            writer.produce(&topic, vec![record(round.to_string())]).await.unwrap();
            // The word that the reader is at the end is on its way, while the end, asked elsewhere, is behind the record.
            let read = reader.fetch(&topic, 0, round, 10, 1000).await.unwrap();
            let values: Vec<_> = read.iter().map(|record| record.value.as_deref()).collect();
            assert_eq!(values, [Some(round.to_string().as_bytes())], "round {round}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}

fn transactions_leave_gaps_that_no_reader_waits_for(endpoints: &Endpoints) {
    let settings = plaintext(endpoints);
    let topic = run(async { create(&connect(&settings), 1).await });
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("transactional.id", &topic)
        .create()
        .unwrap();
    let limit = Duration::from_secs(60);
    producer.init_transactions(limit).unwrap();
    for (value, is_committed) in [("one", true), ("never", false), ("two", true)] {
        producer.begin_transaction().unwrap();
        producer
            .send(BaseRecord::<(), str>::to(&topic).partition(0).payload(value))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(limit).unwrap();
        if is_committed { producer.commit_transaction(limit) } else { producer.abort_transaction(limit) }.unwrap();
    }
    run(async {
        let log = connect(&settings);
        assert_eq!(read_all(&log, &topic, 0).await, ["one", "two"], "what was taken back is never read");
        let end = log.offsets(&topic).await.unwrap()[0].end;
        assert_eq!(end, 6, "three records and a mark behind each");
        // By now another reader has been told that it is at the end, before it asks where the end is.
        let other = connect(&settings);
        assert_eq!(other.fetch(&topic, 0, 4, 1, 1000).await.unwrap()[0].position.offset, 4);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(other.fetch(&topic, 0, 5, 10, 1000).await.unwrap(), []);
        for offset in [5, 6] {
            assert_eq!(log.fetch(&topic, 0, offset, 10, 1000).await.unwrap(), [], "from {offset}");
            assert_eq!(log.fetch(&topic, 0, offset, 10, 1000).await.unwrap(), [], "from {offset} again");
        }
        log.produce(&topic, vec![record("three")]).await.unwrap();
        assert_eq!(log.fetch(&topic, 0, 5, 10, 1000).await.unwrap()[0].position.offset, 6);
    });
}

fn more_readers_than_lanes_read_all_the_same(endpoints: &Endpoints) {
    run(async {
        let log = connect(&plaintext(endpoints));
        let topic = create(&log, 1).await;
        let values: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        log.produce(&topic, values.iter().map(|value| record(value.clone())).collect()).await.unwrap();
        let read = |first: i64| {
            let (log, topic, values) = (&log, &topic, &values);
            async move {
                for offset in (first..500).step_by(50) {
                    let records = log.fetch(topic, 0, offset, 5, 1 << 20).await.unwrap();
                    let expected: Vec<_> = values[offset as usize..].iter().take(records.len()).collect();
                    let read: Vec<_> = records
                        .iter()
                        .map(|record| std::str::from_utf8(record.value.as_ref().unwrap()).unwrap())
                        .collect();
                    assert_eq!(read, expected, "from {offset}");
                    assert!(!read.is_empty());
                }
            }
        };
        futures::future::join_all((0..12).map(read)).await;
    });
}

fn two_clients_share_the_partitions_of_a_group(endpoints: &Endpoints) {
    run(async {
        let (one, other) = (connect(&plaintext(endpoints)), connect(&plaintext(endpoints)));
        let (topic, group) = (create(&one, 6).await, name_topic());
        let join = async |log: &KafkaEventLog| log.join(&group, &topic, Duration::from_secs(30)).await.unwrap();
        let members = [join(&one).await, join(&other).await];
        let mut owned = [const { std::collections::BTreeSet::new() }; 2];
        while owned.each_ref().map(std::collections::BTreeSet::len) != [3, 3] {
            let (change, index, _) = futures::future::select_all(members.iter().map(|member| member.change())).await;
            match change.unwrap() {
                Change::Assigned(partitions) => owned[index].extend(partitions),
                Change::Revoked(partitions) => {
                    owned[index].retain(|partition| !partitions.contains(partition));
                    members[index].release(&partitions);
                }
                Change::Lost(partitions) => panic!("{partitions:?} were lost"),
            }
            assert!(owned[0].is_disjoint(&owned[1]), "{owned:?}");
        }
        for member in &members {
            member.leave().await;
        }
    });
}

fn a_member_that_does_not_release_loses_its_partitions(endpoints: &Endpoints) {
    run(async {
        let log = connect(&plaintext(endpoints));
        let (topic, group) = (create(&log, 2).await, name_topic());
        let slow = log.join(&group, &topic, Duration::from_millis(200)).await.unwrap();
        assert!(matches!(slow.change().await.unwrap(), Change::Assigned(all) if all.len() == 2));
        let other = log.join(&group, &topic, Duration::from_secs(30)).await.unwrap();
        let Change::Revoked(asked) = slow.change().await.unwrap() else { panic!("nothing was asked for") };
        let Change::Lost(lost) = slow.change().await.unwrap() else { panic!("nothing was taken") };
        assert_eq!(asked, lost);
        assert_eq!(other.change().await.unwrap(), Change::Assigned(lost.clone()));
        let partition = *lost.first().unwrap();
        other.commit(&[(partition, 9)]).await.unwrap();
        let late = slow.commit(&[(partition, 1)]).await;
        assert!(matches!(late, Err(EventLogError::NotAssigned { .. })), "{late:?}");
        assert_eq!(log.committed(&group, &topic).await.unwrap(), [(partition, 9)].into());
        slow.leave().await;
        other.leave().await;
    });
}

fn what_others_configured_of_a_topic_stays(endpoints: &Endpoints) {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
    run(async {
        let settings = plaintext(endpoints);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &settings.bootstrap_servers);
        let admin: AdminClient<rdkafka::client::DefaultClientContext> = config.create().unwrap();
        let name = name_topic();
        let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("min.cleanable.dirty.ratio", "0.25");
        admin.create_topics([&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        let retention = Retention { age: Some(Duration::from_secs(7200)), bytes: Some(1 << 30) };
        let spec = TopicSpec { name: name.clone(), partitions: 2, retention };
        let log = connect(&settings);
        log.create_topic(spec.clone()).await.unwrap();
        assert!(log.topics().await.unwrap().contains(&spec));
        let configs = admin.describe_configs([&ResourceSpecifier::Topic(&name)], &AdminOptions::new()).await.unwrap();
        let ratio = configs[0].as_ref().unwrap().get("min.cleanable.dirty.ratio").unwrap().value.clone();
        assert_eq!(ratio.as_deref(), Some("0.25"));
    });
}

fn a_topic_that_another_client_grows_is_written_in_full(endpoints: &Endpoints) {
    run(async {
        let (log, other) = (connect(&plaintext(endpoints)), connect(&plaintext(endpoints)));
        let topic = create(&log, 1).await;
        log.produce(&topic, vec![record("one")]).await.unwrap();
        let spec = TopicSpec { name: topic.clone(), partitions: 3, retention: Retention::default() };
        other.create_topic(spec).await.unwrap();
        log.produce(&topic, vec![NewRecord { partition: Some(2), ..record("two") }]).await.unwrap();
        assert_eq!(read_all(&log, &topic, 2).await, ["two"]);
    });
}
