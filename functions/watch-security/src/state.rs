//! What is kept of a tenant: what was noticed in the window that is open, and what a person is shown of it.

use std::collections::{BTreeMap, BTreeSet};

use lyceum_core::family::AggregateState;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;

pub use lyceum_catalog::security::WATCH;

/// The window of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// When it began, milliseconds since 1970 UTC.
    pub window_start_ms: i64,
    /// What alerts were raised about: no other one is raised about the same.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub alerts: BTreeSet<String>,
    /// Events about which an alert was raised before.
    #[serde(default)]
    pub repeats: u64,
    /// Alerts that were not raised.
    #[serde(default)]
    pub held_back: u64,
    /// Invalid approvals.
    #[serde(default)]
    pub invalid: u64,
    /// Invalid approvals by who used them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actors: BTreeMap<SmolStr, u64>,
    /// Actors about whom an alert of brute force was raised.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accused: BTreeSet<SmolStr>,
}

impl Watch {
    /// An empty window.
    pub fn of_window(window_start_ms: i64) -> Self {
        Self { window_start_ms, ..Self::default() }
    }
}

impl Aggregate for Watch {
    type State = Self;
    const KIND: &'static str = WATCH;

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

impl AggregateState for Watch {
    fn view(&self, _: &[Option<Self>]) -> Value {
        json!({
            "window_start": UtcTime::from_millis(self.window_start_ms),
            "raised": self.alerts.len() + self.accused.len(),
            "repeats": self.repeats,
            "held_back": self.held_back,
            "invalid_approvals": self.invalid,
            "actors": self.actors,
            "brute_force": self.accused,
        })
    }
}
