//! The events of the course family, and how each is read from an envelope.

use lyceum_core::family::{AggregateRef, EnvelopeOf, TypedEvent};
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::{Fields, MAX_TEXT_BYTES};
use lyceum_core::outcome::Finding;
use serde::Serialize;
use smol_str::SmolStr;

use crate::state::{COURSE, Status};

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The course, which is also the Kafka key.
    pub course_id: SmolStr,
    /// Its title, where it is sent.
    pub title: Option<String>,
    /// Its language, where it is sent: a language tag.
    pub language: Option<String>,
    /// What happened.
    pub what: What,
}

/// What happened to a course.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `course.generation.requested`
    Requested,
    /// `course.outline.created`
    Outlined,
    /// `course.lesson.generated`
    Lesson {
        /// The lesson.
        lesson_id: SmolStr,
    },
    /// `course.quiz.created`
    Quiz {
        /// The quiz.
        quiz_id: SmolStr,
    },
    /// `course.landing_page.created`
    LandingPage {
        /// Where it is.
        page_url: String,
    },
    /// `course.generation.completed`
    Completed,
    /// `course.generation.failed`
    Failed {
        /// Why.
        error: String,
    },
    /// `course.workflow.transitioned`
    Transitioned {
        /// The status before.
        from: Status,
        /// The status after.
        to: Status,
    },
    /// `course.deployed.staging`
    Deployed {
        /// Where it is.
        url: String,
        /// The distribution that it was deployed for, where it was for one.
        distribution_id: Option<SmolStr>,
    },
}

impl TypedEvent for Event {
    type Format = CharterFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let course_id = fields.id("course_id");
        let title = fields.optional_text("title", MAX_TEXT_BYTES);
        let language = fields.optional_text("language", 35);
        let what = match envelope.event_type {
            "course.generation.requested" => What::Requested,
            "course.outline.created" => What::Outlined,
            "course.lesson.generated" => What::Lesson { lesson_id: fields.id("lesson_id") },
            "course.quiz.created" => What::Quiz { quiz_id: fields.id("quiz_id") },
            "course.landing_page.created" => What::LandingPage { page_url: fields.location("page_url") },
            "course.generation.completed" => What::Completed,
            "course.generation.failed" => What::Failed { error: fields.text("error", MAX_TEXT_BYTES) },
            "course.workflow.transitioned" => {
                let mut status = |name| Status::named(fields.word(name, &Status::NAMES));
                let (from, to) = (status("from"), status("to"));
                What::Transitioned { from, to }
            }
            _ => {
                let url = fields.location("url");
                What::Deployed { url, distribution_id: fields.optional_id("distribution_id") }
            }
        };
        fields.finish(Event { course_id, title, language, what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.course_id.to_string()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: COURSE, id: self.course_id.clone() }]
    }
}
