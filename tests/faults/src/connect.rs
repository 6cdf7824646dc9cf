//! The production adapters, where a row wants them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
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
use lyceum_kafka::event_log::KafkaEventLog;
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
}

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
        variables
    }

    fn settings(&self) -> Result<ProductionSettings> {
        let environment = self.environment();
        let variable = |name: &str| environment.get(name).cloned();
        let mut reading = Reading::new(&variable);
        let settings = ProductionSettings::read(&mut reading);
        Ok(reading.finish(settings)?)
    }

    /// As a function connects them: each by its first call, each behind its guard.
    ///
    /// # Errors
    /// Where a setting is wrong.
    pub fn connect(&self) -> Result<Connected> {
        let metrics = Arc::new(Metrics::new());
        let lyceum_connect::Connected { event_log, ledger, statements, .. } =
            lyceum_connect::connect(&self.settings()?, Arc::new(Nobody), &metrics, &[]);
        Ok(Connected { log: Arc::new(Prefixed::new(&self.prefix, event_log)), ledger, statements })
    }

    /// A log as an event source mapping uses it: without a guard.
    ///
    /// # Errors
    /// Where a setting is wrong.
    pub fn connect_log(&self) -> Result<Arc<dyn EventLog>> {
        let settings = self.settings()?.kafka.ok_or_else(|| anyhow::anyhow!("no broker is named"))?;
        Ok(Arc::new(Prefixed::new(&self.prefix, Arc::new(KafkaEventLog::connect(&settings)?))))
    }

    /// Without guards, for whoever counts; table and index are created.
    ///
    /// # Errors
    /// Where a service does not do it.
    pub async fn prepare(&self, clock: Arc<dyn Clock>) -> Result<Connected> {
        let settings = self.settings()?;
        let dynamodb = settings.ledger;
        let client = aws_sdk_dynamodb::Client::new(&aws::config(&self.dynamodb).await);
        let ledger = DynamoDbLedger::new(&client, dynamodb.table.as_str(), LedgerOptions::default(), clock);
        ledger.ensure_table().await?;
        let mut elasticsearch = settings.elasticsearch;
        elasticsearch.timeout = Duration::from_secs(30);
        let statements = Elasticsearch::connect(&elasticsearch, equality::same)?;
        statements.prepare().await?;
        Ok(Connected { log: self.connect_log()?, ledger: Arc::new(ledger), statements: Arc::new(statements) })
    }
}

/// The ports are wanted here, and told are others.
struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &[Report]) {}
}
