//! What is kept of a course, and what a person is shown of it.

use std::collections::BTreeSet;

use lyceum_core::family::AggregateState;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;

pub use lyceum_catalog::course::COURSE;

/// How far a course is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Somebody wants it.
    Requested,
    /// Its outline is there.
    Outlined,
    /// Its parts are being made.
    Generating,
    /// All of it is there.
    Completed,
    /// It could not be made.
    Failed,
    /// It can be looked at.
    DeployedStaging,
}

impl Status {
    /// As events name them.
    pub const NAMES: [&'static str; 6] =
        ["requested", "outlined", "generating", "completed", "failed", "deployed_staging"];

    const ALL: [Self; 6] =
        [Self::Requested, Self::Outlined, Self::Generating, Self::Completed, Self::Failed, Self::DeployedStaging];

    /// As events name it.
    pub fn name(self) -> &'static str {
        let at = Self::ALL.iter().position(|of| *of == self).unwrap_or_default();
        Self::NAMES[at]
    }

    /// The one of that name; the first one for any other, which a reader has found out before.
    pub fn named(name: &str) -> Self {
        let at = Self::NAMES.iter().position(|of| *of == name).unwrap_or_default();
        Self::ALL[at]
    }

    /// Whether the state machine has this arrow.
    pub fn leads_to(self, to: Self) -> bool {
        matches!(
            (self, to),
            (Self::Requested, Self::Outlined)
                | (Self::Outlined, Self::Generating)
                | (Self::Generating, Self::Completed | Self::Failed)
                | (Self::Completed, Self::DeployedStaging)
                | (Self::Failed, Self::Requested)
        )
    }
}

/// A course.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// How far it is.
    pub status: Status,
    /// Whether that was announced by a transition, and the event that belongs to it was not seen yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announced: bool,
    /// As the last event that has one says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// As the last event that has one says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Since it was requested last.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lessons: BTreeSet<SmolStr>,
    /// Since it was requested last.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub quizzes: BTreeSet<SmolStr>,
    /// Its landing page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_url: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where it is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How often it was requested.
    pub requests: u32,
    /// How often it was deployed.
    #[serde(default)]
    pub deployments: u32,
    /// When the last event happened, milliseconds since 1970 UTC.
    pub changed_at_ms: i64,
}

impl Aggregate for Course {
    type State = Self;
    const KIND: &'static str = COURSE;

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

impl AggregateState for Course {
    fn view(&self, _: &[Option<Self>]) -> Value {
        json!({
            "status": self.status,
            "title": self.title,
            "language": self.language,
            "lessons": self.lessons,
            "quizzes": self.quizzes,
            "page_url": self.page_url,
            "error": self.error,
            "url": self.url,
            "requests": self.requests,
            "deployments": self.deployments,
            "changed_at": UtcTime::from_millis(self.changed_at_ms),
        })
    }
}
