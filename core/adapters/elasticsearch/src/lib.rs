//! The statement store on Elasticsearch 8/9 and OpenSearch 2/3, by one client that sends plain JSON, which both take.
//!
//! # Documents
//!
//! One alias, one index behind it, one document a statement; while documents are made anew a second index with an alias of its own
//! (`reindex`). The index has as many shards as it was created with, and no
//! rollover by time: an id is unique only within one index, and it is the id that makes a statement once.
//!
//! | part | is |
//! |---|---|
//! | `_id` | `<statement id>/<tenant>`; a tenant of more than 400 bytes as `<statement id>~<its SHA-256>` |
//! | `raw` | the statement's bytes as text, not parsed, not indexed; `raw_base64` where they are not UTF-8 |
//! | `about` | everything else of the document, not indexed: what is read back |
//! | `id`, and each of [`FIELDS`](lyceum_core::ports::statements::semantics::FIELDS) | typed fields to search, sort and count by |
//! | `void_key` | of a voiding statement: the `_id` of the one that it names |
//! | `voided` | `true` where a voiding statement names it; of no meaning on a statement that voids |
//!
//! The mapping is fixed (`dynamic: false`) and nothing of a statement's own structure reaches it: extensions with ten
//! thousand keys, dots in keys, numbers that no `double` holds and deep nesting are text within `raw`. Extensions are not
//! indexed, since no question asks for them; the engines' types for them (`flattened`, `flat_object`) differ, compare
//! numbers as text, and OpenSearch counts wrong buckets by them.
//!
//! # Storing
//!
//! `_bulk` with `create`: the engine takes an id once. What is refused as taken is read back and compared, so that a call
//! whose answer was lost is simply made again. Bulks go by count and bytes; where a proxy finds one too large it is cut
//! in halves. After the last one the index is refreshed once, explicitly, together with whoever stores at the
//! same time (`refresh`): with `refresh=wait_for` a call waits for the
//! engine's own interval, half a second on average, and a refresh by a bulk is one too many where there are several. The
//! bench `statements_services` measures both.
//!
//! Nothing is retried here. What the engine could not take now is `Unavailable`, document by document, and who called
//! sends those again.
//!
//! # Voiding
//!
//! A statement and the one that voids it may be stored by two writers at once, in either order. Each of them first makes
//! its own document visible and then looks for the other's: the writer of a voiding statement marks its target where that
//! exists, and the writer of any other asks whether a voiding statement names it. Whichever comes second sees the first.
//! A writer that dies in between has not acknowledged its record, and does it again when the record is redelivered. That a
//! voiding statement cannot be voided is decided when it is read, so that no order of marks matters.
//!
//! # Limits
//!
//! Different values are counted by HyperLogLog++ with the highest precision, 40,000: in effect exact below that, within
//! some percent above. With several shards a `terms` aggregation asks each of them for at least 5,000 buckets; a value
//! rare enough to miss all of those is missing.
//!
//! Amazon OpenSearch Serverless has no refresh to ask for, and shows what was written by itself, up to a minute later. Of a
//! statement and the one that voids it, written within that time by two writers, neither may see the other: then it is not
//! marked. It says neither who it is nor takes a number of shards; both are left out there.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use self::requests::Requests;
use lyceum_core::ports::statements::semantics::StatementEquality;
use lyceum_core::ports::statements::{
    Current, Filter, Indices, Page, QueryDocuments, Reindex, StatementDocument, StatementsError, StoreDocuments,
    StoreOutcome, StoredStatement,
};

mod aggregate;
mod document;
mod failure;
mod index;
mod refresh;
mod reindex;
mod requests;
mod search;
mod settings;
mod store;

pub use document::document_id;
pub use index::SCHEMA_VERSION;
pub use settings::{AwsService, ELASTICSEARCH_VARIABLES, ElasticsearchSettings, SearchCredentials};
pub use store::{MAX_BULK_BYTES, MAX_BULK_DOCUMENTS};

/// A statement store on Elasticsearch or OpenSearch. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Elasticsearch {
    requests: Arc<Requests>,
    settings: Arc<ElasticsearchSettings>,
    same: StatementEquality,
    next: Arc<Mutex<NextClient>>,
}

/// The client of the index that is filled, by its number.
type NextClient = Option<(u32, Arc<Elasticsearch>)>;

impl Elasticsearch {
    /// Makes the client. Nothing is sent, and nothing read but the file of certificate authorities where one is named.
    ///
    /// # Errors
    /// `Refused` where that file cannot be read or used, or the URL is none.
    pub fn connect(settings: &ElasticsearchSettings, same: StatementEquality) -> Result<Self, StatementsError> {
        let settings = Arc::new(settings.clone());
        Ok(Self { requests: Arc::new(Requests::new(&settings)?), settings, same, next: Arc::default() })
    }

    /// Creates template, index and alias where they are not there; harmless at any time, and by several at once.
    ///
    /// # Errors
    /// `Refused` where the alias leads to an index of a newer schema, or to one that is none of ours.
    pub async fn prepare(&self) -> Result<(), StatementsError> {
        index::prepare(&self.requests, &self.settings).await
    }
}

#[async_trait]
impl StoreDocuments for Elasticsearch {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        store::store(&self.requests, self.same, &documents).await
    }
}

#[async_trait]
impl QueryDocuments for Elasticsearch {
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        search::get(&self.requests, tenant, id).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        search::search(&self.requests, filter, limit, after).await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        aggregate::aggregate(&self.requests, filter, aggregations).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        search::ping(&self.requests).await
    }
}

#[async_trait]
impl Reindex for Elasticsearch {
    async fn indices(&self) -> Result<Indices, StatementsError> {
        self.find_indices().await
    }

    async fn current(&self) -> Result<Current, StatementsError> {
        self.find_current().await
    }

    async fn create_next(&self, above: u32) -> Result<u32, StatementsError> {
        self.create_next_index(above).await
    }

    async fn swap(&self, number: u32) -> Result<(), StatementsError> {
        self.swap_in(number).await
    }

    async fn abandon(&self, number: u32) -> Result<(), StatementsError> {
        self.take_away(number).await
    }

    async fn drop_old(&self) -> Result<BTreeSet<u32>, StatementsError> {
        self.drop_old_indices().await
    }
}
