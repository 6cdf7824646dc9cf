//! The production adapters, where a row wants them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use lyceum_around::measured::Measured;
use lyceum_connect::{self, ProductionSettings};
use lyceum_core::clock::Clock;
use lyceum_core::environment::Reading;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Report};
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::statements::Statements;
use lyceum_dynamodb::{DynamoDbLedger, LedgerOptions};
use lyceum_elasticsearch::Elasticsearch;
use lyceum_kafka::KafkaSettings;
use lyceum_secrets::Secrets;
use lyceum_tests::aws;
use lyceum_xapi::equality;
use serde::{Deserialize, Serialize};

use crate::prefixed::Prefixed;

/// Where the services answer, and the names that a row has on them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// `host:port`
    pub kafka: String,
    /// `http://host:port`
    pub dynamodb: String,
    /// `http://host:port`
    pub search: String,
    /// Of topics and consumer groups.
    pub prefix: String,
    /// The ledger's table.
    pub table: String,
    /// The statements' index.
    pub index: String,
    /// How long one request to DynamoDB may take, milliseconds.
    pub dynamodb_timeout_ms: u64,
    /// Where the secrets are, `http://host:port`, that broker and store are shown; without it they ask for nothing.
    pub secrets: Option<String>,
}

/// The secret of the statement store.
pub const SEARCH_SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:search";
/// The secret of the broker.
pub const BROKER_SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:broker";

/// The ports.
pub struct Connected {
    /// Kafka.
    pub log: Arc<dyn EventLog>,
    /// DynamoDB.
    pub ledger: Arc<dyn Ledger>,
    /// Elasticsearch.
    pub statements: Arc<dyn Statements>,
}

impl Addresses {
    /// What the environment of a function with these services says.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        let mut variables = BTreeMap::from(aws::VARIABLES.map(|(name, value)| (name, value.to_owned())));
        variables.extend([
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.clone()),
            ("DYNAMODB_TABLE", self.table.clone()),
            ("DYNAMODB_TIMEOUT_MS", self.dynamodb_timeout_ms.to_string()),
            ("ELASTICSEARCH_INDEX", self.index.clone()),
            ("ELASTICSEARCH_REPLICAS", "0".to_owned()),
            ("ELASTICSEARCH_URL", self.search.clone()),
            ("ELASTICSEARCH_TIMEOUT", "5".to_owned()),
            ("KAFKA_BOOTSTRAP_SERVERS", self.kafka.clone()),
            ("KAFKA_TIMEOUT_MS", "10000".to_owned()),
        ]);
        if let Some(secrets) = &self.secrets {
            variables.extend([
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.clone()),
                ("ELASTICSEARCH_SECRET_ARN", SEARCH_SECRET.to_owned()),
                ("KAFKA_SASL_SECRET_ARN", BROKER_SECRET.to_owned()),
                ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT".to_owned()),
            ]);
        }
        variables
    }

    /// The secrets that this process's environment names, which is that of a worker.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn load_secrets(&self) -> Result<Option<Arc<Secrets>>> {
        Ok(match self.secrets {
            Some(_) => Some(Secrets::load().await?),
            None => None,
        })
    }

    fn settings(&self, secrets: Option<&Arc<Secrets>>) -> Result<ProductionSettings> {
        let environment = self.environment();
        let with_secrets = secrets.map(|secrets| secrets.environment());
        let variable = |name: &str| match &with_secrets {
            Some(with_secrets) => with_secrets.variable(name),
            None => environment.get(name).cloned(),
        };
        let mut reading = Reading::new(&variable);
        let settings = ProductionSettings::read(&mut reading);
        Ok(ProductionSettings { secrets: secrets.cloned(), ..reading.finish(settings)? })
    }

    /// As a function connects them: each by its first call, each behind its guard.
    ///
    /// # Errors
    /// Where a setting is wrong.
    pub fn connect(&self, secrets: Option<&Arc<Secrets>>) -> Result<Connected> {
        let metrics = Arc::new(Metrics::new());
        let lyceum_connect::Connected { event_log, ledger, statements, .. } =
            lyceum_connect::connect(&self.settings(secrets)?, Arc::new(Nobody), &metrics, &[]);
        Ok(Connected { log: Arc::new(Prefixed::new(&self.prefix, event_log)), ledger, statements })
    }

    /// Where the audit log has its entries.
    ///
    /// # Errors
    /// Where a setting is wrong.
    pub fn connect_audit(&self) -> Result<Arc<dyn Statements>> {
        Ok(lyceum_connect::audit_entries(&self.settings(None)?, &Arc::new(Metrics::new())))
    }

    /// Where Kafka is, for a member that is not of the event log's port.
    ///
    /// # Errors
    /// Where a setting is wrong.
    pub fn kafka(&self, secrets: Option<&Arc<Secrets>>) -> Result<KafkaSettings> {
        self.settings(secrets)?.kafka.ok_or_else(|| anyhow::anyhow!("no broker is named"))
    }

    /// A log as an event source mapping uses it: without a guard.
    ///
    /// # Errors
    /// Where a setting is wrong.
    pub fn connect_log(&self, secrets: Option<&Arc<Secrets>>) -> Result<Arc<dyn EventLog>> {
        let settings = self.kafka(secrets)?;
        let log = Measured::new(lyceum_connect::kafka(&settings, secrets), Arc::new(Metrics::new()));
        Ok(Arc::new(Prefixed::new(&self.prefix, Arc::new(log))))
    }

    /// Without guards, for whoever counts; table and index are created.
    ///
    /// # Errors
    /// Where a service does not do it.
    pub async fn prepare(&self, clock: Arc<dyn Clock>) -> Result<Connected> {
        let settings = self.settings(None)?;
        let dynamodb = settings.ledger;
        let client = aws_sdk_dynamodb::Client::new(&aws::config(&self.dynamodb).await);
        let ledger = DynamoDbLedger::new(&client, dynamodb.table.as_str(), LedgerOptions::default(), clock);
        ledger.ensure_table().await?;
        let mut elasticsearch = settings.elasticsearch;
        elasticsearch.timeout = Duration::from_secs(30);
        let statements = Elasticsearch::connect(&elasticsearch, equality::same)?;
        statements.prepare().await?;
        Ok(Connected { log: self.connect_log(None)?, ledger: Arc::new(ledger), statements: Arc::new(statements) })
    }
}

/// The ports are wanted here, and told are others.
struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &[Report]) {}
}
