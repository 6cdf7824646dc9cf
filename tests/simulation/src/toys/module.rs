//! A module's envelope: `{"id", "type", "payload": {…}, "meta": {"tenant_id", "correlation_id"?}}`; two families have it, and two
//! subscriptions read the topic of the first without owning it.
//!
//! `requested` → the generator asks a port and publishes `generated` → the distributor reacts with `created` on the second
//! family's topic.

use std::convert::Infallible;

use async_trait::async_trait;
use lyceum_core::catalog::{FamilySpec, Known, PLATFORM_DEAD_LETTERS, TopicOf};
use lyceum_core::effects::{Calling, Reaction};
use lyceum_core::envelope::{Hint, Invalid, Opening, follow_up_id};
use lyceum_core::family::{
    AggregateRef, AggregateState, Decision, EnvelopeOf, Family, FollowUp, Occurrence, StatefulFamily, TypedEvent,
};
use lyceum_core::formats::{Format, Opened, Stored, document, has_member};
use lyceum_core::outcome::{DeadLetterKind, Finding, Refusal};
use lyceum_core::ports::call::{CallError, CallPort, Progress};
use lyceum_core::ports::schemas::Schemas;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::record::Record;
use lyceum_core::states::{Aggregate, Changes, States};
use lyceum_core::subscription::{Effect, KeyPlace, Reads, Subscription, Wanted};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{hash, named};

/// Where courses' events come.
pub const COURSES: &str = "toy.courses.v1";
/// Where distributions' events come.
pub const DISTRIBUTIONS: &str = "toy.distributions.v1";
/// Somebody wants a course.
pub const REQUESTED: &str = "toy.course.requested";
/// A course was generated.
pub const GENERATED: &str = "toy.course.generated";
/// A course is distributed.
pub const CREATED: &str = "toy.distribution.created";
/// The course that the generator does not ask about.
pub const REFUSED: &str = "refused";
/// The course that is not distributed.
pub const UNWANTED: &str = "unwanted";

/// The family of courses as data.
pub static COURSE_SPEC: FamilySpec = FamilySpec {
    name: "toy-courses",
    topics: &[TopicOf { name: COURSES, partitions: 2, key: "course id" }],
    event_types: &[named(REQUESTED, COURSES), named(GENERATED, COURSES)],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &["course"],
};

/// The family of distributions as data.
pub static DISTRIBUTION_SPEC: FamilySpec = FamilySpec {
    name: "toy-distributions",
    topics: &[TopicOf { name: DISTRIBUTIONS, partitions: 1, key: "course id" }],
    event_types: &[named(CREATED, DISTRIBUTIONS)],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &["distribution"],
};

/// What a module sends.
#[derive(Deserialize)]
pub struct Charter<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    payload: Payload,
    meta: Meta<'a>,
}

/// What happened to a course.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Payload {
    course_id: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Meta<'a> {
    tenant_id: &'a str,
    correlation_id: Option<&'a str>,
}

/// The wire form.
pub struct Module;

impl Format for Module {
    type Body<'a> = Charter<'a>;
    type Schema = Infallible;

    const LOOKS: &'static str = "a module's event has id, type, payload and meta";

    fn looks_like(value: &[u8]) -> bool {
        has_member(value, |name| name == "payload" || name == "meta")
    }

    fn parse(_: &str) -> Result<Infallible, String> {
        Err("a module's envelope is read by no schema".to_owned())
    }

    fn open<'a>(record: &'a Record, hint: Hint<'_>, _: &Schemas<Infallible>) -> Opened<'a, Charter<'a>> {
        let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
        read(record, value, hint).into()
    }

    fn sameness(envelope: &EnvelopeOf<'_, Event>, fields: &[u8]) -> [u8; 32] {
        hash([envelope.raw, fields])
    }
}

fn read<'a>(
    record: &'a Record,
    value: &'a [u8],
    hint: Hint<'_>,
) -> Result<(Known, Box<EnvelopeOf<'a, Event>>), Box<Invalid>> {
    let mut opening = Opening::of(record, value, hint)?;
    let charter: Charter<'a> = match serde_json::from_slice(value) {
        Ok(charter) => charter,
        Err(error) => {
            opening.finding("record.malformed", "", error.to_string());
            return Err(opening.invalid(DeadLetterKind::Decode));
        }
    };
    opening.find_tenant([("/meta/tenant_id", Some(charter.meta.tenant_id.into())), ("", None)]);
    opening.judge_tenant("/meta/tenant_id");
    opening.find_correlation_id(("/meta/correlation_id", charter.meta.correlation_id.map(Into::into)));
    opening.find_id(None, ("/id", Some(charter.id.into())));
    match opening.find_type(("/type", Some(charter.event_type.into())), None, None) {
        Ok(()) => opening.finish(charter, value, "", None),
        Err(kind) => Err(opening.invalid(kind)),
    }
}

/// An event with its fields.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    event_type: &'static str,
    payload: Payload,
}

impl TypedEvent for Event {
    type Format = Module;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let payload = envelope.body.payload.clone();
        if payload.course_id.is_empty() {
            let (rule, pointer) = ("toy.course".into(), "/payload/course_id".to_owned());
            let message = "it names no course".to_owned();
            return Err(vec![Finding { rule, pointer, message, requirement: "catalog".into() }]);
        }
        Ok(Self { event_type: envelope.event_type, payload })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.payload.course_id.clone()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        let kind = if self.event_type == CREATED { "distribution" } else { "course" };
        vec![AggregateRef { kind, id: self.payload.course_id.as_str().into() }]
    }
}

/// What is kept of a course.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// The requests.
    pub requested: Vec<Uuid>,
    /// What was generated.
    pub generated: Vec<(Uuid, String)>,
}

/// What is kept of a course's distribution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The events that made it.
    pub created: Vec<Uuid>,
}

macro_rules! one_kind {
    ($state:ty, $kind:literal) => {
        impl Aggregate for $state {
            type State = Self;
            const KIND: &'static str = $kind;

            fn of(state: &Self) -> Option<&Self> {
                Some(state)
            }

            fn into_state(self) -> Self {
                self
            }
        }

        impl AggregateState for $state {
            fn view(&self, _: &[Option<Self>]) -> Value {
                json!(self)
            }
        }
    };
}

one_kind!(Course, "course");
one_kind!(Distribution, "distribution");

/// The family of courses.
pub struct Courses;

impl Family for Courses {
    const SPEC: &'static FamilySpec = &COURSE_SPEC;
    const SUBSCRIPTION: &'static Subscription =
        &Subscription::own(&COURSE_SPEC, Effect::Stateful { keys: KeyPlace::Home });
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl StatefulFamily for Courses {
    type State = Course;

    fn decide(states: &States<'_, Course>, event: &Event, at: &Occurrence) -> Result<Decision<Course>, Refusal> {
        let id = &event.payload.course_id;
        let mut course = states.get::<Course>(id)?.cloned().unwrap_or_default();
        match event.event_type {
            REQUESTED => course.requested.push(at.event_id),
            _ => course.generated.push((at.event_id, event.payload.text.clone())),
        }
        let changes = Changes::new().put(&**id, course);
        Ok(Decision { changes, follow_ups: Vec::new(), anomalies: Vec::new() })
    }
}

/// The family of distributions.
pub struct Distributions;

impl Family for Distributions {
    const SPEC: &'static FamilySpec = &DISTRIBUTION_SPEC;
    const SUBSCRIPTION: &'static Subscription =
        &Subscription::own(&DISTRIBUTION_SPEC, Effect::Stateful { keys: KeyPlace::Apart });
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl StatefulFamily for Distributions {
    type State = Distribution;

    fn decide(
        states: &States<'_, Distribution>,
        event: &Event,
        at: &Occurrence,
    ) -> Result<Decision<Distribution>, Refusal> {
        let id = &event.payload.course_id;
        let mut distribution = states.get::<Distribution>(id)?.cloned().unwrap_or_default();
        distribution.created.push(at.event_id);
        let changes = Changes::new().put(&**id, distribution);
        Ok(Decision { changes, follow_ups: Vec::new(), anomalies: Vec::new() })
    }
}

fn follow_up(topic: &'static str, event_type: &'static str, course: &str, text: &str, at: &Occurrence) -> FollowUp {
    let value = value(follow_up_id(at.event_id, None, event_type, 0), event_type, course, text);
    FollowUp { topic, event_type, key: course.to_owned(), value }
}

/// Answers a generated course with its distribution.
pub struct Distributor;

impl Reaction for Distributor {
    const SUBSCRIPTION: &'static Subscription = &Subscription {
        name: "toy-distributor",
        reads: Reads::Others(&[Wanted { topic: COURSES, event_types: &[GENERATED] }]),
        dead_letters: PLATFORM_DEAD_LETTERS,
        publishes: &[DISTRIBUTIONS],
        effect: Effect::Reaction,
    };
    type Event = Event;

    fn react(event: &Event, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        let course = &*event.payload.course_id;
        if course == UNWANTED {
            return Refusal::rejected("toy.unwanted", "this course is not distributed");
        }
        Ok(vec![follow_up(DISTRIBUTIONS, CREATED, course, "", at)])
    }
}

/// Answers a request with what a port generates.
pub struct Generator;

/// What the port is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The event that asks.
    pub event_id: Uuid,
    /// What for.
    pub course: String,
}

impl Calling for Generator {
    const SUBSCRIPTION: &'static Subscription = &Subscription {
        name: "toy-generator",
        reads: Reads::Others(&[Wanted { topic: COURSES, event_types: &[REQUESTED] }]),
        dead_letters: PLATFORM_DEAD_LETTERS,
        publishes: &[COURSES],
        effect: Effect::Calling,
    };
    type Event = Event;
    type Request = Request;
    type Answer = String;

    fn request(event: &Event, at: &Occurrence) -> Result<Request, Refusal> {
        let course = event.payload.course_id.clone();
        match course == REFUSED {
            true => Refusal::rejected("toy.refused", "nobody generates this course"),
            false => Ok(Request { event_id: at.event_id, course }),
        }
    }

    fn answered(event: &Event, answer: &String, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        Ok(vec![follow_up(COURSES, GENERATED, &event.payload.course_id, answer, at)])
    }
}

/// A port whose answers are scripted by a function.
pub struct Scripted<F>(pub F);

#[async_trait]
impl<F: Fn(&Request) -> Result<String, CallError> + Send + Sync> CallPort<Request, String> for Scripted<F> {
    async fn call(&self, request: &Request, _: &dyn Progress) -> Result<String, CallError> {
        (self.0)(request)
    }
}

/// A record's value.
pub fn value(id: Uuid, event_type: &str, course: &str, text: &str) -> Vec<u8> {
    let meta = json!({"tenant_id": "acme", "correlation_id": "c-1"});
    let payload = json!({"course_id": course, "text": text});
    json!({"id": id, "type": event_type, "payload": payload, "meta": meta}).to_string().into_bytes()
}
