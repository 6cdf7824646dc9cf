//! The events of the mission family, and how each is read from an envelope.

use lyceum_core::family::{AggregateRef, EnvelopeOf, TypedEvent};
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::{Fields, MAX_TEXT_BYTES};
use lyceum_core::outcome::Finding;
use serde::Serialize;
use smol_str::SmolStr;

use crate::state::MISSION;

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The mission, which is also the Kafka key.
    pub mission_id: SmolStr,
    /// What happened.
    pub what: What,
}

/// What happened to a mission.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `mission.created`
    Created {
        /// What it is called, where that is sent.
        title: Option<String>,
    },
    /// `mission.started`
    Started,
    /// `mission.completed`
    Completed,
    /// `mission.failed`
    Failed {
        /// Why.
        error: String,
    },
    /// `task.created`
    Task {
        /// The task.
        task_id: SmolStr,
        /// What it is called, where that is sent.
        title: Option<String>,
    },
}

impl TypedEvent for Event {
    type Format = CharterFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let mission_id = fields.id("mission_id");
        let what = match envelope.event_type {
            "mission.created" => What::Created { title: fields.optional_text("title", MAX_TEXT_BYTES) },
            "mission.started" => What::Started,
            "mission.completed" => What::Completed,
            "mission.failed" => What::Failed { error: fields.text("error", MAX_TEXT_BYTES) },
            _ => {
                let task_id = fields.id("task_id");
                What::Task { task_id, title: fields.optional_text("title", MAX_TEXT_BYTES) }
            }
        };
        fields.finish(Event { mission_id, what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.mission_id.to_string()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: MISSION, id: self.mission_id.clone() }]
    }
}
