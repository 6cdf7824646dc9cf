//! The questions that a process answers from its stores: numbers over statements, the state of an aggregate, an event's key.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::analytics::learner_id::LearnerId;
use lyceum_core::analytics::nps::Scale;
use lyceum_core::analytics::{learner, learning, platform, survey, tenants};
use lyceum_core::family::AggregateRef;
use lyceum_core::ports::ledger::LedgerError;
use lyceum_core::ports::statements::{Filter, Statements, StatementsError};
use lyceum_core::process::Subscriber;
use lyceum_core::record::Record;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::near::near;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The question makes no sense; the text tells which ones do.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing; the text says what was looked for.
    #[error("{0}")]
    NotFound(String),
    /// It does not fit what is under way, or how something stands; the text says what to do instead.
    #[error("{0}")]
    Conflict(String),
    /// Another tenant's, or for whoever sees every tenant alone.
    #[error("{0}")]
    Forbidden(String),
    /// A store is unavailable; the same question may be answered later.
    #[error("{0}")]
    Unavailable(String),
    /// More is asked for at once than is answered at once.
    #[error("{0}")]
    Busy(String),
    /// One tenant asks for more at once than one may have.
    #[error("{0}")]
    TooMany(String),
    /// What no repetition mends.
    #[error("{0}")]
    Failed(String),
}

/// Whose statements, of which time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// `None` is every tenant.
    pub tenant: Option<String>,
    /// From here on, milliseconds since 1970 UTC.
    pub from_ms: Option<i64>,
    /// Before this.
    pub to_ms: Option<i64>,
}

impl Span {
    fn filter(&self) -> Filter {
        Filter { tenant: self.tenant.clone(), from_ms: self.from_ms, to_ms: self.to_ms, ..Filter::default() }
    }
}

/// The questions of a learning team. The answers are the JSON of `lyceum query`.
#[async_trait]
pub trait Analytics: Send + Sync {
    /// All statements: how many, by verb, by day, active learners; and what other documents are stored beside them.
    async fn platform(&self, span: &Span) -> Result<Value, AskError>;

    /// People, completions, opinions, by day and by what they belong to.
    async fn learning(&self, span: &Span) -> Result<Value, AskError>;

    /// One survey, by its whole IRI or a last segment that names it alone; `scale` is that of answers that tell none. `None` or
    /// [`AskError::NotFound`], which tells of others, where nothing is known of it. [`AskError::Invalid`] lists the surveys
    /// that a segment names, where there are several.
    async fn survey(&self, survey: &str, span: &Span, scale: Option<Scale>) -> Result<Option<Value>, AskError>;

    /// One learner, by any of its identifiers; `None` or [`AskError::NotFound`] where nothing is known of it.
    async fn learner(&self, learner: &str, span: &Span) -> Result<Option<Value>, AskError>;

    /// The tenants that have statements or other documents, by name.
    async fn tenants(&self) -> Result<Vec<String>, AskError>;
}

/// The state kept of programs, sessions, bookings …
#[async_trait]
pub trait State: Send + Sync {
    /// One aggregate, as `lyceum show` prints it; `None` where there is none. A kind that does not exist is
    /// [`AskError::Invalid`], naming those that do.
    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, AskError>;
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whose it is; `None` where that could not be read, or its sources differ.
    pub tenant: Option<String>,
    /// What it travels with, where that could be read.
    pub correlation_id: Option<String>,
    /// Its id, the derived one where it has none of its own; `None` where the record could not be read.
    pub event_id: Option<Uuid>,
    /// The aggregates that it reads or changes.
    pub aggregates: Vec<AggregateRef>,
    /// What its family reads of a value that is no text, for a person to see; `None` of a text, which tells it itself.
    pub fields: Option<Value>,
}

/// Knows by which key a family keeps order, and what an event is about.
pub trait Keys: Send + Sync {
    /// What a record is about, of whatever wire form: as much of that as can be read.
    fn about(&self, record: &Record) -> About;

    /// The key of a record that was sent to a topic without one; `None` where the value does not tell.
    fn key_of(&self, topic: &str, value: &Bytes) -> Option<Bytes>;
}

/// Answers from the stored statements.
pub struct StatementAnalytics {
    /// Where they are.
    pub statements: Arc<dyn Statements>,
    /// `LEARNER_HOME_PAGE`
    pub learner_home_page: String,
}

#[async_trait]
impl Analytics for StatementAnalytics {
    async fn platform(&self, span: &Span) -> Result<Value, AskError> {
        json(platform::overview(&*self.statements, &span.filter()).await)
    }

    async fn learning(&self, span: &Span) -> Result<Value, AskError> {
        json(learning::learning(&*self.statements, &span.filter()).await)
    }

    async fn survey(&self, survey_id: &str, span: &Span, scale: Option<Scale>) -> Result<Option<Value>, AskError> {
        let (statements, tenant) = (&*self.statements, span.tenant.as_deref());
        let answers =
            survey::survey(statements, tenant, survey_id, span.from_ms, span.to_ms, scale).await.map_err(failed)?;
        if answers.started == 0 && answers.completed == 0 && answers.questions.is_empty() {
            let others = near(statements, tenant, "survey", survey_id).await.map_err(failed)?;
            let why =
                format!("no statement of survey {survey_id} in this time and tenant{}", there_are("surveys", &others));
            return Err(AskError::NotFound(why));
        }
        json(Ok(answers)).map(Some)
    }

    async fn learner(&self, who: &str, span: &Span) -> Result<Option<Value>, AskError> {
        let (statements, tenant) = (&*self.statements, span.tenant.as_deref());
        let id = self.learner_id(who);
        let activity = learner::learner(statements, tenant, &id, span.from_ms, span.to_ms).await.map_err(failed)?;
        if activity.statements == 0 {
            let others = near(statements, tenant, "actor", who).await.map_err(failed)?;
            let why = looked_for(who, &activity.learner);
            return Err(AskError::NotFound(format!("{why}{}", there_are("learners", &others))));
        }
        json(Ok(activity)).map(Some)
    }

    async fn tenants(&self) -> Result<Vec<String>, AskError> {
        tenants::tenants(&*self.statements).await.map_err(failed)
    }
}

impl StatementAnalytics {
    /// A bare name is the name of an account under `LEARNER_HOME_PAGE`.
    fn learner_id(&self, who: &str) -> String {
        if who.contains(['@', ':', '|']) {
            return who.to_owned();
        }
        format!("account:{}|{who}", self.learner_home_page)
    }
}

/// What there is instead of what was asked for.
fn there_are(what: &str, others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!(". There are the {what} {}", others.join(", ")) }
}

/// As what a learner was looked for without success, and how else one is named.
fn looked_for(who: &str, canonical: &str) -> String {
    let sha1 = LearnerId::parse(canonical).ok().and_then(|id| id.sha1()).filter(|_| canonical.starts_with("mbox:"));
    let also = sha1.map(|sha1| format!(" and sha1:{sha1}")).unwrap_or_default();
    format!(
        "no statement of learner {who} in this time and tenant; looked for {canonical}{also}. A learner is named by an \
         e-mail address, mbox:<address>, sha1:<40 hex digits>, openid:<URI>, account:<homePage>|<name>, or the name alone \
         of an account under LEARNER_HOME_PAGE"
    )
}

fn json(answer: Result<impl Serialize, StatementsError>) -> Result<Value, AskError> {
    serde_json::to_value(answer.map_err(failed)?).map_err(|error| AskError::Failed(error.to_string()))
}

fn failed(error: StatementsError) -> AskError {
    match error {
        StatementsError::Unavailable(_) | StatementsError::Unauthorized(_) => AskError::Unavailable(error.to_string()),
        StatementsError::Refused(why) => AskError::Invalid(why),
    }
}

/// Answers from the functions' own stores.
pub struct FamilyStates {
    /// By subscription.
    pub functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
}

#[async_trait]
impl State for FamilyStates {
    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, AskError> {
        let functions = &self.functions;
        let Some(function) = functions.values().find(|function| function.subscription().kinds().contains(&kind)) else {
            let kinds: Vec<&str> =
                functions.values().flat_map(|function| function.subscription().kinds()).copied().collect();
            return Err(AskError::Invalid(format!("no state is kept of {kind:?}; there is {}", kinds.join(", "))));
        };
        function.show(tenant, kind, id).await.map_err(|error| match error {
            LedgerError::Refused(_) | LedgerError::Unusable(_) => AskError::Failed(error.to_string()),
            _ => AskError::Unavailable(error.to_string()),
        })
    }
}
