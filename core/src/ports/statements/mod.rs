//! The statement store: every accepted xAPI statement once, as it was sent, with typed fields to search and count by. The events
//! of families of other wire forms are documents beside them, which no question about statements counts.
//!
//! Production: Elasticsearch or OpenSearch. Twin: tantivy. Model: memory, for the simulation.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Value;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::record::Position;

pub mod aggregation;
pub mod bucket;
pub mod form;
pub mod reindex;
pub mod semantics;

pub use reindex::{Current, IndexedStatements, Indices, Next, Reindex};

/// One statement, ready to be stored under (tenant, id).
#[derive(Clone, Debug, PartialEq)]
pub struct StatementDocument {
    /// Part of the stored id and of every query.
    pub tenant: SmolStr,
    /// The statement's id, or the derived one where it has none.
    pub id: Uuid,
    /// The statement's bytes exactly as they were sent (for a wrapped message, the bytes of `xapi_data`).
    pub raw: Bytes,
    /// When it came, milliseconds since 1970 UTC; for a derived document the record's timestamp, so that a second run
    /// makes the same bytes (xAPI's `stored`).
    pub stored_ms: i64,
    /// The record that it came from.
    pub source: Position,
    /// Travels with the event.
    pub correlation_id: SmolStr,
    /// What is searched and counted by.
    pub fields: StatementFields,
}

impl StatementDocument {
    /// Bytes of what can be long in it. A store gives the response back beside the statement that it was read from.
    pub fn size(&self) -> usize {
        self.raw.len() + self.fields.response.as_ref().map_or(0, |response| response.len())
    }
}

/// The typed fields of a statement; names as in the index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatementFields {
    /// The catalog's event type, `statement` for any other.
    pub event_type: Cow<'static, str>,
    /// The family that stored it.
    pub family: Cow<'static, str>,
    /// The statement's timestamp in milliseconds since 1970 UTC; where it has none, `stored_ms`.
    pub timestamp_ms: i64,
    /// The UTC day of the timestamp, `2021-11-29`. A typed field of its own: engines differ in date histograms.
    pub day: SmolStr,
    /// The actor's canonical inverse functional identifier: `mbox:…`, `sha1:…`, `openid:…`, `account:<homePage>|<name>`;
    /// empty for an anonymous group.
    pub actor: String,
    /// For an mbox, the lower-case hex SHA-1 of `mailto:…`; for an `mbox_sha1sum`, itself: so that one finds the other.
    pub actor_sha1: Option<String>,
    /// Verb IRI.
    pub verb: ByteString,
    /// One of [`OBJECT_TYPES`]; empty in a document of a family whose events are no statements.
    pub object_type: Cow<'static, str>,
    /// The activity's IRI, the StatementRef's id (lower case), the agent's canonical identifier; empty for a SubStatement.
    pub object: ByteString,
    /// `definition.type`.
    pub activity_type: Option<ByteString>,
    /// `context.registration`, lower case.
    pub registration: Option<String>,
    /// IRIs of `contextActivities.parent`.
    pub parents: Vec<ByteString>,
    /// The survey that it is about or belongs to: `<id>` of `http://nlj.platform/activities/survey/<id>`, of any other the
    /// whole IRI.
    pub survey: Option<ByteString>,
    /// The question of that survey that it is about, likewise.
    pub question: Option<ByteString>,
    /// `result.response`.
    pub response: Option<ByteString>,
    /// `result.score.raw`.
    pub score_raw: Option<f64>,
    /// `result.score.scaled`.
    pub score_scaled: Option<f64>,
    /// `result.success`.
    pub success: Option<bool>,
    /// `result.completion`.
    pub completion: Option<bool>,
    /// The statement that this one voids.
    pub voids: Option<Uuid>,
}

/// The kinds of object that a statement may have. By them statements are told from the documents of other families beside them.
pub const OBJECT_TYPES: [&str; 5] = ["Activity", "Agent", "Group", "StatementRef", "SubStatement"];

/// A statement as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredStatement {
    /// What was stored.
    pub document: StatementDocument,
    /// Whether a voiding statement names it (also one that came before it).
    pub voided: bool,
}

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is new, or it is there already from this very record.
    Created,
    /// The same statement by xAPI's equality came from another record before.
    Duplicate {
        /// That record.
        first: Position,
    },
    /// Another statement has this id.
    Conflict {
        /// The record that brought it.
        first: Position,
    },
    /// The store will never take this one; the others are stored.
    Refused {
        /// Why.
        reason: String,
    },
    /// The store could not take this one now; the others are stored.
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// A store that answers for fewer documents than it was given has answered for none: which one is missing is not known.
///
/// # Errors
/// `Unavailable` where it has not answered for each.
pub fn complete(given: usize, outcomes: Vec<StoreOutcome>) -> Result<Vec<StoreOutcome>, StatementsError> {
    match outcomes.len() {
        answered if answered == given => Ok(outcomes),
        answered => {
            Err(StatementsError::Unavailable(format!("it was given {given} documents and answered for {answered}")))
        }
    }
}

/// Why the store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementsError {
    /// Unavailable, overloaded, disk full: it may work later. Some of the documents may have been stored.
    #[error("the statement store is unavailable: {0}")]
    Unavailable(String),
    /// The store does not accept the credentials, or they lack a right: a person has to act, unless there are others by now.
    #[error("the statement store refused: {0}")]
    Unauthorized(String),
    /// What no repetition mends (a query that the engine refuses, a newer schema version).
    #[error("the statement store refused: {0}")]
    Refused(String),
}

impl StatementsError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Which documents are meant. Every part that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Always given, but by an operator who looks at all tenants.
    pub tenant: Option<String>,
    /// Statement timestamps from here on (inclusive), milliseconds.
    pub from_ms: Option<i64>,
    /// Statement timestamps before this (exclusive), milliseconds.
    pub to_ms: Option<i64>,
    /// Any of these verbs.
    pub verbs: Vec<String>,
    /// Any of these event types.
    pub event_types: Vec<String>,
    /// The learner: any statement whose actor is one of these canonical identifiers, or whose SHA-1 is `actor_sha1`.
    pub actors: Vec<String>,
    /// See `actors`.
    pub actor_sha1: Option<String>,
    /// Any of these kinds of object. See [`Filter::of_statements`] and [`Filter::of_others`].
    pub object_types: Vec<String>,
    /// The object's IRI.
    pub object: Option<String>,
    /// The survey's last segment.
    pub survey: Option<String>,
    /// A registration, lower case.
    pub registration: Option<String>,
    /// Voided statements too. Without it they are left out, as xAPI asks (voiding statements themselves count).
    pub include_voided: bool,
}

impl Filter {
    /// The same of statements alone: families whose events are no statements have documents in the store, too.
    #[must_use]
    pub fn of_statements(self) -> Self {
        Self { object_types: OBJECT_TYPES.map(str::to_owned).to_vec(), ..self }
    }

    /// The same of what is no statement.
    #[must_use]
    pub fn of_others(self) -> Self {
        Self { object_types: vec![String::new()], ..self }
    }
}

/// One page of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Ordered by timestamp, newest first, then by id.
    pub statements: Vec<StoredStatement>,
    /// How many there are in all.
    pub total: u64,
    /// Hand it back for the next page; `None` on the last one.
    pub next: Option<String>,
}

/// How much one part of a scan holds: so many statements, or so many bytes of them ([`StatementDocument::size`]) and one more statement.
pub const SCAN_STATEMENTS: usize = 5_000;
/// See [`SCAN_STATEMENTS`].
pub const SCAN_BYTES: usize = 4 << 20;

/// A part of a scan.
#[derive(Debug)]
pub struct ScanPart {
    /// In no order.
    pub statements: Vec<StoredStatement>,
    /// Hand it back for the next part; `None` behind the last one.
    pub next: Option<ScanPlace>,
}

/// Where a scan goes on. Only the store that made it can read it.
pub struct ScanPlace(Box<dyn Any + Send + Sync>);

impl ScanPlace {
    /// A place in whatever form a store keeps it.
    pub fn new(place: impl Any + Send + Sync) -> Self {
        Self(Box::new(place))
    }

    /// The place in the store's own form.
    ///
    /// # Errors
    /// `Refused` where another store made it.
    pub fn read<T: Any>(self) -> Result<T, StatementsError> {
        let read = self.0.downcast().map(|place| *place);
        read.map_err(|_| StatementsError::Refused("the scan was begun in another store: begin it anew".to_owned()))
    }
}

impl fmt::Debug for ScanPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanPlace")
    }
}

/// A scan's place in pages of a search.
struct PagePlace {
    after: String,
    limit: usize,
}

impl PagePlace {
    const FIRST_LIMIT: usize = 20;

    /// So many statements of the size of those that came fit into a part.
    fn limit_after(statements: &[StoredStatement]) -> usize {
        let bytes: usize = statements.iter().map(|found| found.document.size()).sum();
        (statements.len() * SCAN_BYTES / bytes.max(1)).clamp(10, 1_000)
    }
}

/// Stores each document once.
#[async_trait]
pub trait StoreDocuments: Send + Sync {
    /// Stores each document unless its (tenant, id) is taken; durable and visible when it returns. One outcome each, in
    /// order. Storing twice is harmless. Two documents of one call may have the same id: the first one counts as first.
    /// A statement that voids another hides it, whether that one is there already or comes later; a voiding statement
    /// is never hidden (xAPI-Data 2.3.2).
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError>;
}

/// Finds and counts what is stored.
#[async_trait]
pub trait QueryDocuments: Send + Sync {
    /// The statement under that id, voided or not.
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError>;

    /// A page of at most `limit` (1 to 1,000) statements; `after` is the last page's `next`.
    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError>;

    /// A part of all that the filter leaves, in whatever order is cheapest; without a place the first part. At most
    /// [`SCAN_STATEMENTS`], and only a few times [`SCAN_BYTES`], are in memory at once, however many there are in all.
    async fn scan(&self, filter: &Filter, place: Option<ScanPlace>) -> Result<ScanPart, StatementsError> {
        let (after, limit) = match place.map(ScanPlace::read::<PagePlace>).transpose()? {
            Some(PagePlace { after, limit }) => (Some(after), limit),
            None => (None, PagePlace::FIRST_LIMIT),
        };
        let page = self.search(filter, limit, after.as_deref()).await?;
        let limit = PagePlace::limit_after(&page.statements);
        let next = page.next.map(|after| ScanPlace::new(PagePlace { after, limit }));
        Ok(ScanPart { statements: page.statements, next })
    }

    /// Runs aggregations in the JSON of Elasticsearch (`terms`, `cardinality`, `min`, `max`, `avg`, `stats`, `filter`, `missing`, sub-aggregations; fields by
    /// the names of [`StatementFields`], `timestamp_ms` a number of milliseconds, booleans as `true`/`false`) over what the filter leaves, and
    /// returns `{"hits": n, "aggregations": {…}}`, also in the shape of Elasticsearch.
    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError>;

    /// A cheap call that tells whether the store answers.
    async fn ping(&self) -> Result<(), StatementsError>;
}

/// All of the statement store. Whoever only stores asks for [`StoreDocuments`], whoever only asks questions for [`QueryDocuments`].
pub trait Statements: StoreDocuments + QueryDocuments {}

impl<T: StoreDocuments + QueryDocuments + ?Sized> Statements for T {}
