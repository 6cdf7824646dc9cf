//! What an event family is: it owns topics and event types, and tells how an event is read and, where it keeps state, decided.
//!
//! A family is a folder in `functions/` that implements [`Family`], and a line in the registry (`functions/src/lib.rs`).
//! Everything that is data about a family stands in its [`FamilySpec`]; the event table of the documentation is tested
//! against it. Who reads its topics, and with which effect, is a [`Subscription`]: its own, and those of others.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::envelope::Envelope;
use crate::formats::Format;
use crate::outcome::{Anomaly, Finding};
use crate::ports::statements::StatementDocument;
use crate::record::Position;
use crate::states::{Changes, States};
use crate::subscription::Subscription;
use lyceum_xapi::statement::{Activity, Object, Statement};

/// Where the platform's extensions live: this and a snake_case name.
pub const EXTENSIONS: &str = "http://nlj.platform/extensions/";
/// Where the platform's activities live: this, a kind, `/` and an id.
pub const ACTIVITIES: &str = "http://nlj.platform/activities/";
/// Activity type of an interaction (xAPI-Data 2.4.4.1).
pub const CMI_INTERACTION: &str = "http://adlnet.gov/expapi/activities/cmi.interaction";
/// Activity type of a question, as ADL's vocabulary has it.
pub const QUESTION_TYPE: &str = "http://adlnet.gov/expapi/activities/question";
/// Activity type of a survey, as tools of the field send it.
pub const SURVEY_TYPE: &str = "http://id.tincanapi.com/activitytype/survey";

/// A family as data.
#[derive(Debug)]
pub struct FamilySpec {
    /// `training`, `survey` … also the function's name and the subscriber that owns the effect.
    pub name: &'static str,
    /// The topics that it consumes.
    pub topics: &'static [TopicOf],
    /// What it understands. A family without any takes every statement that no other family claims.
    pub event_types: &'static [EventType],
    /// Where its dead letters go.
    pub dead_letters: DeadLetterTopics,
    /// The kinds of aggregate that it keeps.
    pub kinds: &'static [&'static str],
}

/// A topic of a family.
#[derive(Debug)]
pub struct TopicOf {
    /// Its name.
    pub name: &'static str,
    /// How many partitions it is created with.
    pub partitions: i32,
    /// What its records are keyed by, for the documentation.
    pub key: &'static str,
}

/// One event type of a family.
#[derive(Debug, PartialEq)]
pub struct EventType {
    /// `program.created` …
    pub name: &'static str,
    /// The one topic that carries it.
    pub topic: &'static str,
    /// The verbs of a bare statement that means it.
    pub verbs: &'static [&'static str],
    /// The object of a bare statement that means it.
    pub object: ObjectIs,
    /// What it does, for the documentation.
    pub effect: &'static str,
}

/// The object by which a bare statement's event type is recognised.
#[derive(Debug, PartialEq)]
pub enum ObjectIs {
    /// An activity `http://nlj.platform/activities/<kind>/<id>`.
    Kind(&'static str),
    /// An activity of kind `question`, or a `cmi.interaction` whose parent is a survey of the platform.
    SurveyQuestion,
}

/// The topics for dead letters, by kind of failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeadLetterTopics {
    /// For decode, validation, rejected, conflict, unknown-type, oversized.
    pub validation: &'static str,
    /// For attempts spent, and for what was applied but cannot be delivered.
    pub processing: &'static str,
    /// For a store that failed for good.
    pub database: &'static str,
}

/// The dead-letter topics of the platform's families (statements in JSON).
pub const PLATFORM_DEAD_LETTERS: DeadLetterTopics = DeadLetterTopics {
    validation: "nlj.errors.validation",
    processing: "nlj.errors.processing",
    database: "nlj.errors.database",
};

/// Names an aggregate within the tenant of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AggregateRef {
    /// One of the family's [`FamilySpec::kinds`].
    pub kind: &'static str,
    /// The sender's id.
    pub id: String,
}

/// What the decision may know of the event beside its content.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// The event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: &'static str,
    /// The record that brought it first (a replay names the original).
    pub source: Position,
    /// The statement's timestamp, else the record's; milliseconds since 1970 UTC.
    pub occurred_at_ms: i64,
    /// Milliseconds since 1970 UTC, read once a batch.
    pub now_ms: i64,
}

/// What a family decided.
#[derive(Debug)]
pub struct Decision<S> {
    /// What becomes of each aggregate that the event names.
    pub changes: Changes<S>,
    /// Events to be published.
    pub follow_ups: Vec<FollowUp>,
    /// What is odd about the state now.
    pub anomalies: Vec<Anomaly>,
}

impl<S> Decision<S> {
    /// Nothing changes, and this is published.
    pub fn of_follow_ups(follow_ups: Vec<FollowUp>) -> Self {
        Self { changes: Changes::new(), follow_ups, anomalies: Vec::new() }
    }
}

/// An event that follows from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUp {
    /// Where it goes.
    pub topic: &'static str,
    /// Its type; with the source event's id and its place among the follow-ups it makes its own id.
    pub event_type: &'static str,
    /// Its Kafka key.
    pub key: String,
    /// Its value: a pure function of the source event and the decision.
    pub value: Vec<u8>,
}

/// Why an event was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The state machine does not allow it; a decision like any other.
    Rejected {
        /// The rule, `booking.confirm.from-requested-or-waitlisted`.
        rule: &'static str,
        /// A sentence that says what the state was.
        message: String,
    },
    /// This record's own work failed, and may succeed at a later attempt.
    Transient {
        /// What failed.
        reason: String,
    },
    /// The family itself is wrong: it asked for, or decided about, an aggregate that the event does not name, or forgot one
    /// that it names. The record becomes a letter of kind `processing`, and waits there for a family that is mended.
    Faulty {
        /// What it did.
        message: String,
    },
}

impl Refusal {
    /// A rejection by a rule of the state machine.
    pub fn rejected<T>(rule: &'static str, message: impl Into<String>) -> Result<T, Self> {
        Err(Self::Rejected { rule, message: message.into() })
    }
}

/// An event with its fields read. Serialised it is a part of the event's content: the same id with other fields is a conflict,
/// also where xAPI calls the statements equal (a title in `definition.name`).
pub trait TypedEvent: Serialize + Sized + Send + Sync + 'static {
    /// The wire form that it comes in.
    type Format: Format;

    /// Reads the event's own fields from a valid body.
    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>>;

    /// The Kafka key under which the event keeps its order.
    fn key(&self, envelope: &EnvelopeOf<'_, Self>) -> String;

    /// The aggregates that the event reads or changes; none where no state is kept.
    fn aggregates(&self) -> Vec<AggregateRef> {
        Vec::new()
    }
}

/// What is kept of any of a family's aggregates.
pub trait AggregateState: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The aggregates whose state [`AggregateState::view`] wants beside this one.
    fn related(&self) -> Vec<AggregateRef> {
        Vec::new()
    }

    /// What a person is shown of it: with everything that is derived when it is read.
    fn view(&self, related: &[Option<Self>]) -> Value;
}

/// One family of events. Everything here is pure.
pub trait Family: Send + Sync + 'static {
    /// The family as data.
    const SPEC: &'static FamilySpec;

    /// Its own subscription.
    const SUBSCRIPTION: &'static Subscription;

    /// Its events.
    type Event: TypedEvent;

    /// What a store keeps of an accepted event: a pure function of it, so that a second run makes the same.
    fn document(envelope: &EnvelopeOf<'_, Self::Event>, event: &Self::Event, stored: &Stored<'_>) -> StatementDocument;
}

/// A family that keeps state, which its events change.
pub trait StatefulFamily: Family {
    /// The state of any of its aggregates.
    type State: AggregateState;

    /// Decides, given the states of [`TypedEvent::aggregates`].
    fn decide(
        states: &States<'_, Self::State>,
        event: &Self::Event,
        at: &Occurrence,
    ) -> Result<Decision<Self::State>, Refusal>;
}

/// The envelope of an event, as its format reads it.
pub type EnvelopeOf<'a, E> = Envelope<'a, <<E as TypedEvent>::Format as Format>::Body<'a>>;

/// What a document says beside its event.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'e> {
    /// Whose event it is.
    pub family: &'static str,
    /// The record's value, which the envelope borrows from.
    pub value: &'e Bytes,
    /// The record that was decided on.
    pub source: &'e Position,
    /// Its timestamp; milliseconds since 1970 UTC.
    pub stored_ms: i64,
}

/// What an event of a survey is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SurveyFields {
    /// The survey, by its [`survey_id`].
    pub survey: String,
    /// The question, by its [`question_id`].
    pub question: Option<String>,
}

impl SurveyFields {
    /// What a statement of any tool is about, by the types of the field: a survey, or a question whose parent or grouping
    /// is one.
    pub fn of(statement: &Statement<'_>) -> Option<Self> {
        let Object::Activity(activity) = &statement.object else { return None };
        if is_survey(&activity.id, activity.kind.as_deref()) {
            return Some(Self { survey: survey_id(&activity.id).to_owned(), question: None });
        }
        let is_question = activity_kind(&activity.id) == Some("question")
            || matches!(activity.kind.as_deref(), Some(CMI_INTERACTION | QUESTION_TYPE))
            || activity.interaction_type.is_some();
        let survey = is_question.then(|| survey_of(statement)).flatten()?;
        Some(Self { survey: survey_id(survey).to_owned(), question: Some(question_id(&activity.id).to_owned()) })
    }
}

/// The IRI of the survey among a statement's parents and groupings; one of the platform comes before others.
pub fn survey_of<'s>(statement: &'s Statement<'_>) -> Option<&'s str> {
    let around = || statement.context.parents.iter().chain(&statement.context.groupings);
    let of_platform = around().find(|(id, _)| activity_kind(id) == Some("survey"));
    of_platform.or_else(|| around().find(|(id, kind)| is_survey(id, kind.as_deref()))).map(|(id, _)| &**id)
}

/// All families of a deployment: which event type belongs where.
#[derive(Clone, Debug)]
pub struct Catalog {
    families: Vec<&'static FamilySpec>,
}

/// What an event type's name means.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The family that takes it.
    pub family: &'static FamilySpec,
    /// Its name, from the closed set.
    pub name: &'static str,
    /// The topic that carries it.
    pub topic: &'static str,
}

/// The event type of a statement that no family claims.
pub const STATEMENT: &str = "statement";

impl Catalog {
    /// The catalog of these families.
    pub fn new(families: Vec<&'static FamilySpec>) -> Self {
        Self { families }
    }

    /// The families, in the registry's order.
    pub fn families(&self) -> &[&'static FamilySpec] {
        &self.families
    }

    /// Every dead-letter topic of the families, each once.
    pub fn dead_letter_topics(&self) -> Vec<&'static str> {
        let mut topics = Vec::new();
        for DeadLetterTopics { validation, processing, database } in self.families.iter().map(|of| of.dead_letters) {
            for topic in [validation, processing, database] {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
        }
        topics
    }

    /// Every kind of aggregate that a family keeps.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.families.iter().flat_map(|family| family.kinds).copied()
    }

    /// The event type of that name.
    pub fn event_type(&self, name: &str) -> Option<Known> {
        if name == STATEMENT {
            return self.plain_statement();
        }
        self.all().find(|(_, event_type)| event_type.name == name).map(known)
    }

    /// The event type that a statement means by its verb and object, where a family claims it.
    pub fn recognise(&self, statement: &Statement<'_>) -> Option<Known> {
        let Object::Activity(activity) = &statement.object else { return None };
        self.all()
            .find(|(_, event_type)| {
                event_type.verbs.contains(&statement.verb.as_ref()) && event_type.object.matches(activity, statement)
            })
            .map(known)
    }

    /// Where a statement goes that no family claims.
    pub fn plain_statement(&self) -> Option<Known> {
        let family = self.families.iter().find(|family| family.event_types.is_empty())?;
        Some(Known { family, name: STATEMENT, topic: family.topics.first()?.name })
    }

    /// The family that consumes a topic.
    pub fn family_of_topic(&self, topic: &str) -> Option<&'static FamilySpec> {
        self.families.iter().copied().find(|family| family.topics.iter().any(|of| of.name == topic))
    }

    fn all(&self) -> impl Iterator<Item = (&'static FamilySpec, &'static EventType)> {
        self.families.iter().flat_map(|family| family.event_types.iter().map(|event_type| (*family, event_type)))
    }
}

fn known((family, event_type): (&'static FamilySpec, &'static EventType)) -> Known {
    Known { family, name: event_type.name, topic: event_type.topic }
}

impl ObjectIs {
    fn matches(&self, activity: &Activity<'_>, statement: &Statement<'_>) -> bool {
        match self {
            Self::Kind(kind) => activity_kind(&activity.id) == Some(kind),
            Self::SurveyQuestion => {
                activity_kind(&activity.id) == Some("question")
                    || (activity.kind.as_deref() == Some(CMI_INTERACTION)
                        && statement.context.parents.iter().any(|(id, _)| activity_kind(id) == Some("survey")))
            }
        }
    }
}

/// Whether an activity is a survey: by the platform's IRI, or by the type that tools of the field use.
pub fn is_survey(id: &str, kind: Option<&str>) -> bool {
    activity_kind(id) == Some("survey") || kind == Some(SURVEY_TYPE)
}

/// By what a survey is kept and counted: the `<id>` of the platform's own form, of every other survey the whole IRI, since
/// a part of it is another site's, too.
pub fn survey_id(iri: &str) -> &str {
    id_of_kind(iri, "survey")
}

/// By what a question is kept and counted, as [`survey_id`] is for surveys.
pub fn question_id(iri: &str) -> &str {
    id_of_kind(iri, "question")
}

/// No two IRIs give the same id: one of the platform's has no colon, and an absolute IRI has one.
fn id_of_kind<'i>(iri: &'i str, kind: &str) -> &'i str {
    let of_kind = iri.strip_prefix(ACTIVITIES).and_then(|rest| rest.strip_prefix(kind)?.strip_prefix('/'));
    let id = of_kind.map(|id| id.strip_suffix('/').unwrap_or(id));
    id.filter(|id| !id.is_empty() && !id.contains(['/', '?', '#', ':'])).unwrap_or(iri)
}

/// The kind in `http://nlj.platform/activities/<kind>/<id>`.
pub fn activity_kind(iri: &str) -> Option<&str> {
    let (kind, id) = iri.strip_prefix(ACTIVITIES)?.split_once('/')?;
    (!kind.is_empty() && !id.is_empty()).then_some(kind)
}

/// The last segment of an IRI's path, without query and fragment.
pub fn last_segment(iri: &str) -> Option<&str> {
    let path = iri.split(['?', '#']).next().unwrap_or(iri).trim_end_matches('/');
    let segment = path.rsplit(['/', ':']).next()?;
    (!segment.is_empty()).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activitys_kind_is_read_from_the_platforms_iri_only() {
        assert_eq!(activity_kind("http://nlj.platform/activities/program/p1"), Some("program"));
        assert_eq!(activity_kind("http://nlj.platform/activities/program/"), None);
        assert_eq!(activity_kind("http://elsewhere.example/activities/program/p1"), None);
    }

    #[test]
    fn an_id_is_the_last_segment_of_an_iri() {
        assert_eq!(last_segment("http://nlj.platform/activities/program/p1"), Some("p1"));
        assert_eq!(last_segment("http://lms.example/course/42/?tab=1#top"), Some("42"));
        assert_eq!(last_segment("urn:uuid:7"), Some("7"));
        assert_eq!(last_segment("http://"), None);
    }

    #[test]
    fn a_surveys_id_is_short_in_the_platforms_own_form_only() {
        for own in ["http://nlj.platform/activities/survey/pulse", "http://nlj.platform/activities/survey/pulse/"] {
            assert_eq!(survey_id(own), "pulse");
        }
        assert_eq!(question_id("http://nlj.platform/activities/question/q1"), "q1");
        for whole in [
            "https://lms.example/mod/survey/view.php?id=1",
            "https://lms.example/survey#a",
            "https://elsewhere.example/activities/survey/pulse",
            "urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001",
            "http://nlj.platform/activities/survey/2026/pulse",
            "http://nlj.platform/activities/survey/pulse?wave=2",
            "http://nlj.platform/activities/survey/urn:pulse",
            "http://nlj.platform/activities/survey//",
            "http://nlj.platform/activities/question/q1",
        ] {
            assert_eq!(survey_id(whole), whole);
        }
    }
}
