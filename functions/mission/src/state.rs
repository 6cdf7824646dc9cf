//! What is kept of a mission, and what a person is shown of it.

use std::collections::BTreeMap;

use lyceum_core::family::AggregateState;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;

pub use lyceum_catalog::mission::MISSION;

/// How far a mission is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody is at it yet.
    Created,
    /// Somebody is at it.
    Started,
    /// It is done.
    Completed,
    /// It will not be done.
    Failed,
}

impl Status {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A mission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mission {
    /// How far it is.
    pub status: Status,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its tasks, with what each is called.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<SmolStr, Option<String>>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the last event happened, milliseconds since 1970 UTC.
    pub changed_at_ms: i64,
}

impl Aggregate for Mission {
    type State = Self;
    const KIND: &'static str = MISSION;

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

impl AggregateState for Mission {
    fn view(&self, _: &[Option<Self>]) -> Value {
        json!({
            "status": self.status,
            "title": self.title,
            "tasks": self.tasks,
            "error": self.error,
            "changed_at": UtcTime::from_millis(self.changed_at_ms),
        })
    }
}
