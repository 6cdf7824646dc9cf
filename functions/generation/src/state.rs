//! What is kept of a generation, and what a person is shown of it.

use lyceum_core::family::AggregateState;
use lyceum_core::record::Position;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;
use uuid::Uuid;

pub use lyceum_catalog::generation::GENERATION;

/// A generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// What kind of content was asked for last.
    pub kind: SmolStr,
    /// The event that asked for it last.
    pub request_id: Uuid,
    /// How far it is.
    pub status: Status,
    /// How much of it is written, 0 to 100; begins anew with each request.
    pub percent: u8,
    /// How often progress came that was none: not more than before, or after the end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stale: u32,
    /// The events that changed the status, as they came.
    pub history: Vec<Change>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where a generation is in its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Somebody writes.
    Requested,
    /// It is written.
    Completed {
        /// Where the content is.
        content_reference: SmolStr,
        /// Who wrote it, and what that took.
        usage: Usage,
    },
    /// It was not written.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Status {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}

/// Who wrote content, and what that took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<SmolStr>,
    /// Tokens that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens that were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// One change of the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it was from then on.
    pub to: SmolStr,
    /// When; milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// By which event.
    pub id: Uuid,
    /// The record that brought it.
    pub source: Position,
}

impl Aggregate for Generation {
    type State = Self;
    const KIND: &'static str = GENERATION;

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

impl AggregateState for Generation {
    fn view(&self, _: &[Option<Self>]) -> Value {
        let (mut reference, mut usage, mut reason) = (None, Usage::default(), None);
        match &self.status {
            Status::Requested => {}
            Status::Completed { content_reference, usage: of } => {
                (reference, usage) = (Some(content_reference), of.clone())
            }
            Status::Failed { reason: why } => reason = Some(why),
        }
        let change =
            |of: &Change| json!({"to": of.to, "at": UtcTime::from_millis(of.at_ms), "id": of.id, "source": of.source});
        json!({
            "status": self.status.name(),
            "kind_of_content": self.kind,
            "request_id": self.request_id,
            "percent": self.percent,
            "content_reference": reference,
            "model": usage.model,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "reason": reason,
            "stale_progress": self.stale,
            "history": self.history.iter().map(change).collect::<Vec<_>>(),
        })
    }
}
