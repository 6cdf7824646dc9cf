//! What this process does for others: it ingests, and calls its functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_event_source_mapping::Invoke;
use lyceum_server::questions::AskError;
use lyceum_server::work::{Prepared, Summary, Watch, Work};

use crate::ingest::{Pipeline, Watching, ingest_prepared};
use crate::routing::is_only_audited;

pub(super) struct Here {
    pub(super) pipeline: Pipeline,
    pub(super) invoked: BTreeMap<&'static str, Arc<dyn Invoke>>,
}

#[async_trait]
impl Work for Here {
    async fn ingest(&self, events: Vec<Prepared>) -> Result<Summary, AskError> {
        let topics = || {
            let mappings = self.pipeline.mappings.iter();
            mappings.map(|mapping| mapping.config().topic.as_str()).filter(|topic| !is_only_audited(topic))
        };
        if let Some(event) = events.iter().find(|event| topics().all(|topic| topic != event.topic)) {
            let names = topics().collect::<Vec<_>>().join(", ");
            return Err(AskError::Invalid(format!("no function reads topic {:?}; there are {names}", event.topic)));
        }
        ingest_prepared(&self.pipeline, events).await.map_err(|error| AskError::Unavailable(format!("{error:#}")))
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::begin(&self.pipeline))
    }

    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Option<Bytes>, AskError> {
        let Some(function) = self.invoked.get(function) else { return Ok(None) };
        function.invoke(payload).await.map(Some).map_err(|error| AskError::Invalid(error.to_string()))
    }
}
