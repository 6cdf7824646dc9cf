//! The events of the learning family: how their payloads stand in Avro, and what is read of them.

use std::sync::LazyLock;

use lyceum_core::family::{EnvelopeOf, TypedEvent};
use lyceum_core::formats::avro::field::Bounds;
use lyceum_core::formats::avro::{Avro, AvroEvents, BuiltIn, Text};
use lyceum_core::outcome::Finding;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// So many concepts may a question be about.
pub const MAX_CONCEPTS: usize = 32;

/// The form of the family's events.
#[derive(Debug)]
pub struct LearningEvents;

/// A payload; branches and fields as in the newest schema, in its order.
#[derive(Debug, Deserialize)]
pub enum Payload<'a> {
    /// `question.answered`
    #[serde(borrow)]
    QuestionAnswered(QuestionAnswered<'a>),
    /// `session.started`, `session.ended`
    #[serde(borrow)]
    Session(Session<'a>),
    /// `mastery.updated`
    #[serde(borrow)]
    MasteryUpdated(MasteryUpdated<'a>),
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct QuestionAnswered<'a> {
    #[serde(borrow)]
    pub question_id: Text<'a>,
    #[serde(borrow)]
    pub concept_ids: Vec<Text<'a>>,
    pub correct: bool,
    pub response_ms: i64,
    pub attempt: i32,
    pub score: Option<f64>,
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct Session<'a> {
    #[serde(borrow)]
    pub session_id: Text<'a>,
    #[serde(borrow)]
    pub activity_id: Option<Text<'a>>,
    pub duration_ms: Option<i64>,
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct MasteryUpdated<'a> {
    #[serde(borrow)]
    pub concept_id: Text<'a>,
    pub before: f64,
    pub after: f64,
}

impl AvroEvents for LearningEvents {
    type Payload<'a> = Payload<'a>;

    const TYPES: &'static [&'static [&'static str]] =
        &[&["question.answered"], &["session.started", "session.ended"], &["mastery.updated"]];

    fn schemas() -> &'static BuiltIn {
        static SCHEMAS: LazyLock<BuiltIn> =
            LazyLock::new(|| BuiltIn::of(&lyceum_catalog::learning::SCHEMAS).expect("the schemas are tested"));
        &SCHEMAS
    }

    fn branch(payload: &Payload<'_>) -> usize {
        match payload {
            Payload::QuestionAnswered(_) => 0,
            Payload::Session(_) => 1,
            Payload::MasteryUpdated(_) => 2,
        }
    }
}

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The sender's id of the learner.
    pub user_id: SmolStr,
    /// What happened.
    pub what: What,
}

/// What happened to a learner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `question.answered`
    Answered {
        /// Which question.
        question_id: SmolStr,
        /// What it is about; each once.
        concept_ids: Vec<SmolStr>,
        /// Whether the answer is right.
        correct: bool,
        /// From the question to the answer, milliseconds.
        response_ms: i64,
        /// The how manieth answer of the learner it is, from 1.
        attempt: i32,
        /// 0 to 1.
        score: Option<f64>,
    },
    /// `session.started`, `session.ended`
    Session {
        /// Which session.
        session_id: SmolStr,
        /// What is learned in it.
        activity_id: Option<SmolStr>,
        /// How long it took, milliseconds.
        duration_ms: Option<i64>,
        /// Whether it ended.
        is_end: bool,
    },
    /// `mastery.updated`
    Mastery {
        /// Of what.
        concept_id: SmolStr,
        /// 0 to 1.
        before: f64,
        /// 0 to 1.
        after: f64,
    },
}

impl TypedEvent for Event {
    type Format = Avro<LearningEvents>;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut bounds = Bounds::new();
        let what = match &envelope.body.payload {
            Payload::QuestionAnswered(of) => What::Answered {
                question_id: bounds.id("question_id", &of.question_id),
                concept_ids: bounds.ids("concept_ids", &of.concept_ids, MAX_CONCEPTS),
                correct: of.correct,
                response_ms: bounds.at_least("response_ms", of.response_ms, 0),
                attempt: bounds.at_least("attempt", of.attempt.into(), 1) as i32,
                score: of.score.map(|score| bounds.between("score", score, 0.0, 1.0)),
            },
            Payload::Session(of) => What::Session {
                session_id: bounds.id("session_id", &of.session_id),
                activity_id: bounds.id_if_given("activity_id", of.activity_id.as_ref()),
                duration_ms: of.duration_ms.map(|duration| bounds.at_least("duration_ms", duration, 0)),
                is_end: envelope.event_type == "session.ended",
            },
            Payload::MasteryUpdated(of) => What::Mastery {
                concept_id: bounds.id("concept_id", &of.concept_id),
                before: bounds.between("before", of.before, 0.0, 1.0),
                after: bounds.between("after", of.after, 0.0, 1.0),
            },
        };
        bounds.finish(Event { user_id: envelope.body.user_id.as_str().into(), what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.user_id.to_string()
    }
}
