//! An index of a test's own on a real engine, and statements to put there.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use lyceum_core::ports::statements::{Filter, StatementDocument, Statements, StoreOutcome};
use lyceum_elasticsearch::{Elasticsearch, ElasticsearchSettings};
use lyceum_services::Service;
use lyceum_testing::analytics::{self, same_json};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const ENGINES: [(&str, Service); 2] =
    [("elasticsearch", Service::Elasticsearch), ("opensearch", Service::OpenSearch)];

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a test with an index of its own, which is gone afterwards, also where the test failed.
pub(crate) fn on_engine(url: &str, test: impl AsyncFnOnce(&Place)) {
    runtime().block_on(async {
        let settings = ElasticsearchSettings {
            index: format!("lyceum-test-{}", Uuid::new_v4()),
            replicas: 0,
            ..ElasticsearchSettings::at(url)
        };
        let place = Place { settings, http: lyceum_https::client() };
        let ended = AssertUnwindSafe(test(&place)).catch_unwind().await;
        for name in ["v1", "v1-wide", "v1-1", "v1-2", "v1-3", "v1-4"] {
            place.engine("DELETE", &format!("/{}-{name}", place.settings.index), None).await;
        }
        place.engine("DELETE", &format!("/{}", place.settings.index), None).await;
        place.engine("DELETE", &format!("/_index_template/{}", place.settings.index), None).await;
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
    });
}

/// Where a test works.
pub(crate) struct Place {
    pub(crate) settings: ElasticsearchSettings,
    http: reqwest::Client,
}

impl Place {
    /// A client with other settings; the index may not be there.
    pub(crate) fn client(&self, change: impl FnOnce(&mut ElasticsearchSettings)) -> Elasticsearch {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Elasticsearch::connect(&settings, same_json).unwrap()
    }

    /// A client whose index is there.
    pub(crate) async fn prepared(&self) -> Elasticsearch {
        let client = self.client(|_| {});
        client.prepare().await.unwrap();
        client
    }

    /// Asks the engine directly; status and JSON.
    pub(crate) async fn engine(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.settings.url);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// The same, which must succeed.
    pub(crate) async fn tell(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.engine(method, path, Some(body)).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) async fn set_block(&self, name: &str, value: Value) {
        let path = format!("/{}/_settings", self.settings.index);
        self.tell("PUT", &path, json!({format!("index.blocks.{name}"): value})).await;
    }
}

/// A statement of the tenant `academy` whose id, offset and second are `number`.
pub(crate) fn numbered(number: u64) -> StatementDocument {
    analytics::numbered("academy", number)
}

/// A statement that voids the one of the number `target`.
pub(crate) fn voiding(number: u64, target: u64) -> StatementDocument {
    let mut document = numbered(number);
    document.fields.voids = Some(numbered(target).id);
    document
}

pub(crate) fn everything() -> Filter {
    Filter { include_voided: true, ..Filter::default() }
}

pub(crate) async fn count(statements: &dyn Statements) -> u64 {
    statements.search(&everything(), 1, None).await.unwrap().total
}

pub(crate) fn all_created(outcomes: &[StoreOutcome]) -> bool {
    outcomes.iter().all(|outcome| *outcome == StoreOutcome::Created)
}
