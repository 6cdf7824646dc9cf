//! Subscription: what is distributed is deployed to staging.
//!
//! It answers `distribution.created` with `course.deployed.staging`, which the intake of distributions answers with
//! `distribution.updated`; nobody answers that, so that it ends.

use lyceum_catalog::course::COURSES;
pub use lyceum_catalog::course::STAGING;
use lyceum_core::effects::Reaction;
use lyceum_core::family::{EnvelopeOf, FollowUp, Occurrence, TypedEvent};
use lyceum_core::follow_up::{Answer, answer};
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::Fields;
use lyceum_core::outcome::{Finding, Refusal};
use lyceum_core::subscription::Subscription;
use serde::Serialize;
use serde_json::json;
use smol_str::SmolStr;

/// What is read of `distribution.created`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distributed {
    /// The course.
    pub course_id: SmolStr,
    /// Its distribution.
    pub distribution_id: SmolStr,
    /// The distribution's name in addresses.
    pub slug: String,
}

impl TypedEvent for Distributed {
    type Format = CharterFormat;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let (course_id, distribution_id) = (fields.id("course_id"), fields.id("distribution_id"));
        let slug = fields.slug("slug");
        fields.finish(Self { course_id, distribution_id, slug })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.distribution_id.to_string()
    }
}

/// Deploys what is distributed.
#[derive(Debug)]
pub struct Staging;

impl Reaction for Staging {
    const SUBSCRIPTION: &'static Subscription = &STAGING;
    type Event = Distributed;

    fn react(event: &Distributed, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        let Distributed { course_id, distribution_id, slug } = event;
        let deployed = Answer {
            topic: COURSES,
            event_type: "course.deployed.staging",
            key: course_id.to_string(),
            source: "course",
            target: Some("distribution"),
            // The host is staging's own affair.
            payload: json!({
                "course_id": course_id, "distribution_id": distribution_id, "url": format!("/staging/{slug}"),
            }),
        };
        Ok(answer(at, [deployed]))
    }
}
