//! Answers the page's and the API's questions from the stores of this process.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::analytics::learner_id::LearnerId;
use lyceum_core::analytics::{learner, platform, survey};
use lyceum_core::ports::ledger::LedgerError;
use lyceum_core::ports::statements::{Filter, StatementsError};
use lyceum_event_source_mapping as esm;
use serde::Serialize;
use serde_json::Value;

use super::Runtime;
use crate::http::ports::{
    Analytics, AskError, Keys, MappingState, MappingStatus, MappingWork, Mappings, PartitionStatus, Span, State,
};
use crate::http::work::Work;
use crate::ingest::{Prepared, Summary, ingest_prepared};

/// The runtime, as the page and the API ask it.
#[derive(Clone)]
pub struct Answers(pub Arc<Runtime>);

#[async_trait]
impl Mappings for Answers {
    async fn status(&self) -> Result<Vec<MappingStatus>, AskError> {
        let mut mappings: Vec<MappingStatus> = self.0.mappings.iter().map(|mapping| shown(mapping.status())).collect();
        mappings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(mappings)
    }
}

fn shown(status: esm::MappingStatus) -> MappingStatus {
    let partition = |of: &esm::PartitionStatus| PartitionStatus {
        partition: of.partition,
        committed: Some(of.committed),
        end: of.end,
        lag: of.lag,
    };
    MappingStatus {
        state: match status.state {
            esm::MappingState::Starting | esm::MappingState::Running => MappingState::Running,
            esm::MappingState::Failing { .. } => MappingState::BackingOff,
            esm::MappingState::Paused | esm::MappingState::Stopped => MappingState::Stopped,
        },
        partitions: status.partitions.iter().map(partition).collect(),
        work: Some(MappingWork {
            batches: status.counts.batches,
            records: status.counts.records_delivered,
            failed_batches: status.counts.failed_again + status.counts.function_errors,
            last_error: status.last_error.map(|error| error.message),
        }),
        name: status.name,
        topic: status.topic,
        group: status.group,
        function: status.function,
    }
}

#[async_trait]
impl Analytics for Answers {
    async fn platform(&self, span: &Span) -> Result<Value, AskError> {
        let filter =
            Filter { tenant: span.tenant.clone(), from_ms: span.from_ms, to_ms: span.to_ms, ..Filter::default() };
        json(platform::overview(&*self.0.statements, &filter).await)
    }

    async fn survey(&self, survey_id: &str, span: &Span) -> Result<Option<Value>, AskError> {
        let (statements, tenant) = (&*self.0.statements, span.tenant.as_deref());
        let answers = survey::survey(statements, tenant, survey_id, span.from_ms, span.to_ms).await.map_err(failed)?;
        if answers.started == 0 && answers.completed == 0 && answers.questions.is_empty() {
            return Ok(None);
        }
        json(Ok(answers)).map(Some)
    }

    async fn learner(&self, who: &str, span: &Span) -> Result<Option<Value>, AskError> {
        let (statements, tenant) = (&*self.0.statements, span.tenant.as_deref());
        let id = self.learner_id(who);
        let activity = learner::learner(statements, tenant, &id, span.from_ms, span.to_ms).await.map_err(failed)?;
        if activity.statements == 0 {
            return Err(AskError::NotFound(looked_for(who, &activity.learner)));
        }
        json(Ok(activity)).map(Some)
    }
}

impl Answers {
    /// A bare name is the name of an account under `LEARNER_HOME_PAGE`.
    fn learner_id(&self, who: &str) -> String {
        if who.contains(['@', ':', '|']) {
            return who.to_owned();
        }
        format!("account:{}|{who}", self.0.config.learner_home_page)
    }
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
        StatementsError::Unavailable(_) => AskError::Unavailable(error.to_string()),
        StatementsError::Refused(why) => AskError::Invalid(why),
    }
}

#[async_trait]
impl State for Answers {
    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, AskError> {
        let functions = &self.0.functions;
        let Some(function) = functions.values().find(|function| function.spec().kinds.contains(&kind)) else {
            let kinds: Vec<&str> = functions.values().flat_map(|function| function.spec().kinds).copied().collect();
            return Err(AskError::Invalid(format!("no state is kept of {kind:?}; there is {}", kinds.join(", "))));
        };
        function.show(tenant, kind, id).await.map_err(|error| match error {
            LedgerError::Refused(_) => AskError::Failed(error.to_string()),
            _ => AskError::Unavailable(error.to_string()),
        })
    }
}

#[async_trait]
impl Work for Answers {
    async fn ingest(&self, events: Vec<Prepared>) -> Result<Summary, AskError> {
        let topics = || self.0.mappings.iter().map(|mapping| mapping.config().topic.as_str());
        if let Some(event) = events.iter().find(|event| topics().all(|topic| topic != event.topic)) {
            let names = topics().collect::<Vec<_>>().join(", ");
            return Err(AskError::Invalid(format!("no function reads topic {:?}; there are {names}", event.topic)));
        }
        ingest_prepared(&self.0, events).await.map_err(|error| AskError::Unavailable(format!("{error:#}")))
    }

    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Option<Bytes>, AskError> {
        let Some(function) = self.0.invoked.get(function) else { return Ok(None) };
        function.invoke(payload).await.map(Some).map_err(|error| AskError::Invalid(error.to_string()))
    }
}

impl Keys for Answers {
    fn key_of(&self, _topic: &str, value: &[u8]) -> Option<Bytes> {
        self.0.router.route(&Bytes::copy_from_slice(value))?.key.map(Bytes::from)
    }
}
