//! The services of a deployment, connected by what the environment says: Kafka, DynamoDB, Elasticsearch or OpenSearch, and a registry
//! of schemas.
//!
//! Each is connected by its first call, so that a process that does not need one neither waits for it nor fails by it, and
//! each stands behind a [guard](lyceum_around::guarded) and is [measured](lyceum_around::measured).
//!
//! An effect that uses no ledger is connected by [`connect_stateless`]: then nothing of DynamoDB is linked.

use std::sync::Arc;

use lyceum_around::around::Source;
use lyceum_around::beside::Beside;
use lyceum_around::guarded::{Dependency, Guard, GuardLimits, Guarded};
use lyceum_around::lazily::{Lazily, Settings};
use lyceum_around::measured::Measured;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::catalog::FamilySpec;
use lyceum_core::clock::Clock;
use lyceum_core::environment::{LogConfig, Reading, process_config};
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::Observer;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::{Ledger, LedgerError};
use lyceum_core::ports::schemas::{FindSchema, SchemasError};
use lyceum_core::ports::statements::{IndexedStatements, Statements, StatementsError};
use lyceum_core::process::{DocumentServices, ProcessConfig, Services};
use lyceum_dynamodb::{DynamoDbLedger, DynamoDbSettings};
use lyceum_elasticsearch::{Elasticsearch, ElasticsearchSettings};
use lyceum_kafka::event_log::KafkaEventLog;
use lyceum_kafka::settings::KafkaSettings;
use lyceum_registry::{Cached, Registry, RegistrySettings};
use lyceum_secrets::Secrets;
use lyceum_spans::{Headers, SpansSettings, Way};
use lyceum_xapi::equality;

pub mod generator;
mod rotation;

use rotation::settings_with;

/// What a deployment's process reads from its environment. `L` is what it reads of a ledger: nothing where its effect uses none.
#[derive(Clone, Debug)]
pub struct ProductionSettings<L = DynamoDbSettings> {
    /// For follow-ups and dead letters; `None` where `KAFKA_BOOTSTRAP_SERVERS` is missing, which was refused.
    pub kafka: Option<KafkaSettings>,
    /// Where statements are kept.
    pub elasticsearch: ElasticsearchSettings,
    /// Where state is kept.
    pub ledger: L,
    /// Where senders register their schemas; `None` where no registry is named.
    pub registry: Option<RegistrySettings>,
    /// How much of the process's time and room each of them may take.
    pub guards: GuardLimits,
    /// How events are processed.
    pub process: ProcessConfig,
    /// How the process logs.
    pub log: LogConfig,
    /// Where the secrets among these come from, so that they are read again; `None` where there is none.
    pub secrets: Option<Arc<Secrets>>,
}

impl ProductionSettings {
    /// Reads the settings of an effect that uses a ledger. Every wrong value is reported together by [`Reading::finish`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let ledger = DynamoDbSettings::read(reading);
        let ProductionSettings { kafka, elasticsearch, ledger: (), registry, guards, process, log, secrets } =
            Self::read_stateless(reading);
        Self { kafka, elasticsearch, ledger, registry, guards, process, log, secrets }
    }

    /// Reads the settings of an effect that uses no ledger.
    pub fn read_stateless(reading: &mut Reading<'_>) -> ProductionSettings<()> {
        let kafka = KafkaSettings::read(reading);
        if kafka.is_none() {
            reading
                .refuse("KAFKA_BOOTSTRAP_SERVERS is missing: name the brokers, as host:port, that dead letters go to");
        }
        ProductionSettings {
            kafka,
            elasticsearch: ElasticsearchSettings::read(reading),
            ledger: (),
            registry: RegistrySettings::read(reading),
            guards: GuardLimits::read(reading),
            process: process_config(reading),
            log: LogConfig::read(reading),
            secrets: None,
        }
    }
}

/// Kafka, connected by its first call, and anew when other secrets hold.
pub fn kafka(
    settings: &KafkaSettings,
    secrets: Option<&Arc<Secrets>>,
) -> Lazily<KafkaEventLog, EventLogError, KafkaSettings> {
    // Who is reached was said at the start, on a command line perhaps; what a secret holds is only how.
    let first = settings.clone();
    let read = move |reading: &mut Reading<'_>| KafkaSettings {
        bootstrap_servers: first.bootstrap_servers.clone(),
        ..KafkaSettings::read(reading).unwrap_or_else(|| first.clone())
    };
    let brokers = ("KAFKA_BOOTSTRAP_SERVERS", settings.bootstrap_servers.clone());
    Lazily::of(settings_with(secrets, settings.clone(), Some(brokers), read), |settings| async move {
        KafkaEventLog::connect(&settings).map(Arc::new)
    })
}

/// What an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Statements, and the documents of families whose events are none.
    Statements,
    /// Entries of the audit log.
    Audit,
}

/// Elasticsearch or OpenSearch, connected by its first call, and anew when other secrets hold. One that prepares looks for
/// its index, and makes it where it is not there.
pub fn elasticsearch(
    settings: &ElasticsearchSettings,
    secrets: Option<&Arc<Secrets>>,
    prepares: bool,
    index: Index,
) -> Lazily<Beside<Elasticsearch>, StatementsError, ElasticsearchSettings> {
    let url = ("ELASTICSEARCH_URL", settings.url.clone());
    let of_index = move |settings: ElasticsearchSettings| match index {
        Index::Statements => settings,
        Index::Audit => settings.for_audit(),
    };
    let read = move |reading: &mut Reading<'_>| of_index(ElasticsearchSettings::read(reading));
    let settings = settings_with(secrets, of_index(settings.clone()), Some(url), read);
    Lazily::of(settings, move |settings| async move {
        let statements = Elasticsearch::connect(&settings, equality::same)?;
        if prepares {
            // One look, also where all is there: no write would tell that the index is of a newer schema, or somebody else's.
            statements.prepare().await?;
        }
        let (statements, clock) = (Arc::new(statements), Arc::new(SystemClock));
        Ok(Arc::new(match index {
            Index::Statements => Beside::of(statements, clock),
            // Evidence is not made anew.
            Index::Audit => Beside::never(statements, clock),
        }))
    })
}

/// The registry of schemas, connected by its first call, and anew when other secrets hold.
pub fn registry(
    settings: &RegistrySettings,
    secrets: Option<&Arc<Secrets>>,
) -> Lazily<Registry, SchemasError, RegistrySettings> {
    let first = settings.clone();
    let given = ("SCHEMA_REGISTRY_URL", settings.shown().to_owned());
    let read = move |reading: &mut Reading<'_>| RegistrySettings::read(reading).unwrap_or_else(|| first.clone());
    Lazily::of(settings_with(secrets, settings.clone(), Some(given), read), |settings| async move {
        Registry::connect(&settings).map(Arc::new)
    })
}

/// What a collector of spans is shown, which changes with its secret; `None` where no secret or no collector is named.
pub fn shown_to_collector(
    spans: Option<&SpansSettings>,
    secrets: Option<&Arc<Secrets>>,
) -> Option<Box<dyn Settings<Headers>>> {
    let Way::Otlp { headers, .. } = &spans?.way else { return None };
    Some(settings_with(Some(secrets?), headers.clone(), None, SpansSettings::headers))
}

/// What stands around each client, the same in every process: a guard, and around that the measuring, so that what the guard
/// gives up or refuses is measured, too.
#[derive(Debug)]
pub struct Wiring {
    limits: GuardLimits,
    metrics: Arc<Metrics>,
    guards: Vec<Arc<Guard>>,
}

impl Wiring {
    /// Nothing is wired yet.
    pub fn new(limits: GuardLimits, metrics: &Arc<Metrics>) -> Self {
        Self { limits, metrics: metrics.clone(), guards: Vec::new() }
    }

    /// An event log that is a service.
    pub fn event_log<C: Source<EventLogError, Adapter: EventLog> + 'static>(&mut self, client: C) -> Arc<dyn EventLog> {
        let guarded = Guarded::new(client, self.guard(Dependency::Kafka));
        Arc::new(Measured::new(Arc::new(guarded), self.metrics.clone()))
    }

    /// A ledger that is a service.
    pub fn ledger<C: Source<LedgerError, Adapter: Ledger> + 'static>(&mut self, client: C) -> Arc<dyn Ledger> {
        let guarded = Guarded::new(client, self.guard(Dependency::DynamoDb));
        Arc::new(Measured::new(Arc::new(guarded), self.metrics.clone()))
    }

    /// A statement store that is a service.
    pub fn statements<C: Source<StatementsError, Adapter: IndexedStatements> + 'static>(
        &mut self,
        client: C,
    ) -> Arc<dyn IndexedStatements> {
        let guarded = Guarded::new(client, self.guard(Dependency::Elasticsearch));
        Arc::new(Measured::new(Arc::new(guarded), self.metrics.clone()))
    }

    /// A registry of schemas, which is a service. What it said is kept outside of what is measured.
    pub fn schemas<C: Source<SchemasError, Adapter: FindSchema> + 'static>(
        &mut self,
        client: C,
    ) -> Arc<dyn FindSchema> {
        let guarded = Guarded::new(client, self.guard(Dependency::SchemaRegistry));
        Arc::new(Cached::new(Arc::new(Measured::new(Arc::new(guarded), self.metrics.clone()))))
    }

    /// The guards of what was wired: they know how each service is.
    pub fn into_guards(self) -> Vec<Arc<Guard>> {
        self.guards
    }

    fn guard(&mut self, dependency: Dependency) -> Arc<Guard> {
        let guard = Arc::new(Guard::new(dependency, self.limits, self.metrics.clone()));
        self.guards.push(guard.clone());
        guard
    }
}

/// A deployment's services, each with all that its port can do.
pub struct Connected {
    /// For follow-ups and dead letters.
    pub event_log: Arc<dyn EventLog>,
    /// State and idempotency keys.
    pub ledger: Arc<dyn Ledger>,
    /// Accepted statements.
    pub statements: Arc<dyn Statements>,
    /// The schemas that senders registered, where a registry is named.
    pub schemas: Option<Arc<dyn FindSchema>>,
    /// The machine's.
    pub clock: Arc<dyn Clock>,
    /// Gets the report of every record.
    pub observer: Arc<dyn Observer>,
}

impl From<Connected> for Services {
    fn from(Connected { event_log, ledger, statements, schemas, clock, observer }: Connected) -> Self {
        Self { event_log, ledger, statements, schemas, clock, observer }
    }
}

/// The services of an effect that uses no ledger, each with all that its port can do.
pub struct ConnectedDocuments {
    /// For dead letters.
    pub event_log: Arc<dyn EventLog>,
    /// Accepted statements.
    pub statements: Arc<dyn Statements>,
    /// The schemas that senders registered, where a registry is named.
    pub schemas: Option<Arc<dyn FindSchema>>,
    /// The machine's.
    pub clock: Arc<dyn Clock>,
    /// Gets the report of every record.
    pub observer: Arc<dyn Observer>,
}

impl From<ConnectedDocuments> for DocumentServices {
    fn from(ConnectedDocuments { event_log, statements, schemas, clock, observer }: ConnectedDocuments) -> Self {
        Self { event_log, statements, schemas, clock, observer }
    }
}

/// The services of effects that use a ledger. Nothing is called yet.
pub fn connect(
    settings: &ProductionSettings,
    observer: Arc<dyn Observer>,
    metrics: &Arc<Metrics>,
    families: &[&'static FamilySpec],
) -> Connected {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ConnectedDocuments { event_log, statements, schemas, observer, .. } =
        connect_stateless(settings, observer, metrics);
    let dynamodb = settings.ledger.clone();
    let (counting, families) = (metrics.clone(), families.to_vec());
    let connecting = clock.clone();
    let ledger = Lazily::new(move || {
        let (dynamodb, clock) = (dynamodb.clone(), connecting.clone());
        let (metrics, families) = (counting.clone(), families.clone());
        async move { Ok(Arc::new(DynamoDbLedger::connect(&dynamodb, clock).await?.counting_in(metrics, &families))) }
    });
    let ledger = Wiring::new(settings.guards, metrics).ledger(ledger);
    Connected { event_log, ledger, statements, schemas, clock, observer }
}

/// The services of an effect that uses no ledger. Nothing is called yet.
pub fn connect_stateless<L>(
    settings: &ProductionSettings<L>,
    observer: Arc<dyn Observer>,
    metrics: &Arc<Metrics>,
) -> ConnectedDocuments {
    let mut wiring = Wiring::new(settings.guards, metrics);
    let secrets = settings.secrets.as_ref();
    let event_log = match &settings.kafka {
        Some(named) => wiring.event_log(kafka(named, secrets)),
        None => wiring.event_log(Lazily::<KafkaEventLog, _>::new(|| async {
            let why = "no broker is named; set KAFKA_BOOTSTRAP_SERVERS to host:port of one or more";
            Err(EventLogError::Refused(why.to_owned()))
        })),
    };
    let statements = wiring.statements(elasticsearch(&settings.elasticsearch, secrets, true, Index::Statements));
    let schemas = settings.registry.as_ref().map(|named| wiring.schemas(registry(named, secrets)));
    ConnectedDocuments { event_log, statements, schemas, clock: Arc::new(SystemClock), observer }
}

/// Where the audit log has its entries. Nothing is called yet.
pub fn audit_entries<L>(settings: &ProductionSettings<L>, metrics: &Arc<Metrics>) -> Arc<dyn Statements> {
    let store = elasticsearch(&settings.elasticsearch, settings.secrets.as_ref(), true, Index::Audit);
    Wiring::new(settings.guards, metrics).statements(store)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use lyceum_core::environment::WrongEnvironment;
    use lyceum_core::ports::schemas::SchemaRef;
    use lyceum_core::record::NewRecord;

    fn read<L>(
        variables: &[(&str, &str)],
        read: fn(&mut Reading<'_>) -> ProductionSettings<L>,
    ) -> Result<ProductionSettings<L>, WrongEnvironment> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reading = Reading::new(&variable);
        let settings = read(&mut reading);
        reading.finish(settings)
    }

    #[test]
    fn every_wrong_value_of_every_concern_is_reported_at_once() {
        let wrong = read(
            &[
                ("LOG_FORMAT", "xml"),
                ("RETRY_ATTEMPTS", "many"),
                ("DYNAMODB_TABLE", "a table"),
                ("KAFKA_TIMEOUT_MS", "0"),
                ("CIRCUIT_OPEN_MS", "at once"),
            ],
            ProductionSettings::read,
        );
        let text = wrong.unwrap_err().to_string();
        let names = ["LOG_FORMAT", "RETRY_ATTEMPTS", "DYNAMODB_TABLE", "KAFKA_TIMEOUT_MS", "CIRCUIT_OPEN_MS"];
        for name in names.into_iter().chain(["KAFKA_BOOTSTRAP_SERVERS", "ELASTICSEARCH_URL"]) {
            assert!(text.contains(name), "{name}: {text}");
        }
    }

    #[test]
    fn a_family_without_state_is_asked_for_nothing_of_dynamodb() {
        let needed = [
            ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
            ("ELASTICSEARCH_URL", "http://127.0.0.1:1"),
            ("DYNAMODB_TABLE", "not a table"),
        ];
        assert!(read(&needed, ProductionSettings::read).is_err());
        assert!(read(&needed, ProductionSettings::read_stateless).is_ok());
    }

    struct Nobody;

    impl Observer for Nobody {
        fn observe(&self, _: &[lyceum_core::outcome::Report]) {}
    }

    #[tokio::test]
    async fn services_are_made_without_anything_that_answers() {
        let needed = [("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"), ("ELASTICSEARCH_URL", "http://127.0.0.1:1")];
        let mut settings = read(&needed, ProductionSettings::read_stateless).unwrap();
        settings.kafka.as_mut().unwrap().timeout = Duration::from_secs(1);
        let services = connect_stateless(&settings, Arc::new(Nobody), &Arc::new(Metrics::new()));
        assert!(services.event_log.topics().await.unwrap_err().is_transient(), "nobody answers there, now");
        assert!(services.statements.ping().await.unwrap_err().is_transient(), "nobody answers there, now");
    }

    #[tokio::test]
    async fn a_registry_that_is_named_is_guarded_and_measured_and_where_none_is_named_there_is_none() {
        let needed = [("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"), ("ELASTICSEARCH_URL", "http://127.0.0.1:1")];
        let metrics = Arc::new(Metrics::new());
        let settings = read(&needed, ProductionSettings::read_stateless).unwrap();
        assert!(connect_stateless(&settings, Arc::new(Nobody), &metrics).schemas.is_none());
        let named = [&needed[..], &[("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")]].concat();
        let settings = read(&named, ProductionSettings::read_stateless).unwrap();
        let services: DocumentServices = connect_stateless(&settings, Arc::new(Nobody), &metrics).into();
        let refused = services.schemas.unwrap().find(&SchemaRef::Id(1)).await.unwrap_err();
        assert!(refused.is_transient() && refused.to_string().contains("http://127.0.0.1:1"), "{refused}");
        let told = metrics.encode();
        for line in [
            r#"lyceum_store_errors_total{store="schemas",kind="unavailable"} 1"#,
            r#"lyceum_circuit_state{dependency="schema_registry"} 0"#,
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let wrong =
            read(&[&needed[..], &[("SCHEMA_REGISTRY_URL", "registry")]].concat(), ProductionSettings::read_stateless);
        assert!(wrong.unwrap_err().to_string().contains("SCHEMA_REGISTRY_URL"));
    }

    #[tokio::test]
    async fn the_clients_own_error_is_told_before_the_guard_gives_up() {
        let needed =
            [("KAFKA_BOOTSTRAP_SERVERS", "no-such-host.invalid:9092"), ("ELASTICSEARCH_URL", "http://127.0.0.1:1")];
        let mut settings = read(&needed, ProductionSettings::read_stateless).unwrap();
        let kafka = settings.kafka.as_mut().unwrap();
        assert!(
            kafka.timeout < settings.guards.call_time && settings.elasticsearch.timeout < settings.guards.call_time
        );
        (kafka.timeout, settings.guards.call_time) = (Duration::from_secs(1), Duration::from_secs(20));
        let services = connect_stateless(&settings, Arc::new(Nobody), &Arc::new(Metrics::new()));
        let error = services.event_log.produce("t", vec![NewRecord::default()]).await.unwrap_err().to_string();
        assert!(error.contains("KAFKA_BOOTSTRAP_SERVERS"), "{error}");
    }

    #[tokio::test]
    async fn a_setting_that_no_connection_can_come_of_is_refused_by_name_and_no_outage() {
        let needed = [
            ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
            ("KAFKA_SASL_SECRET_ARN", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_x"),
            ("ELASTICSEARCH_URL", "https://127.0.0.1:1"),
            ("ELASTICSEARCH_CA_FILE", "no-such-file.pem"),
        ];
        let settings = read(&needed, ProductionSettings::read_stateless).unwrap();
        let metrics = Arc::new(Metrics::new());
        let services = connect_stateless(&settings, Arc::new(Nobody), &metrics);
        for _ in 0..settings.guards.breaker.failures + 1 {
            let statements = services.statements.ping().await.unwrap_err();
            assert!(
                !statements.is_transient() && statements.to_string().contains("ELASTICSEARCH_CA_FILE"),
                "{statements}"
            );
            let log = services.event_log.topics().await.unwrap_err();
            assert!(!log.is_transient() && log.to_string().contains("AmazonMSK_x"), "{log}");
        }
        let closed = r#"lyceum_circuit_state{dependency="elasticsearch"} 0"#;
        assert!(metrics.encode().contains(closed), "{}", metrics.encode());
    }
}
