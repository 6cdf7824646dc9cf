//! Events that can never be applied, of every kind of dead letter that an event's own bytes, type, place and history can earn; and
//! records without a value. What only a failing service earns (`processing`, `database`, `undelivered`) is not made here.

use lyceum_core::outcome::{DeadLetterKind, Outcome, UNKNOWN};

use crate::random::Random;
use crate::stories::Event;
use crate::wire::{Body, Field, Form, Statement, account, activity, adl, extensions, platform, quoted};

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// It breaks off, or begins as nothing does.
    Undecodable,
    /// It breaks a rule of its wire form.
    Invalid,
    /// A field of its own is missing or out of bounds.
    InvalidField,
    /// It says a token.
    Secret,
    /// Its family's state machine does not allow it.
    Rejected,
    /// Its id is taken by another content.
    Conflict,
    /// No family has its type.
    UnknownType,
    /// It is on a topic of others.
    WrongTopic,
    /// Its headers are too many.
    ManyHeaders,
    /// It is larger than an event that changes state may be.
    Large,
    /// It has no value.
    Tombstone,
}

impl Broken {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Undecodable,
        Self::Invalid,
        Self::InvalidField,
        Self::Secret,
        Self::Rejected,
        Self::Conflict,
        Self::UnknownType,
        Self::WrongTopic,
        Self::ManyHeaders,
        Self::Large,
        Self::Tombstone,
    ];

    /// How such an event ends.
    pub fn outcome(self) -> Outcome {
        let kind = match self {
            Self::Undecodable => DeadLetterKind::Decode,
            Self::Invalid | Self::InvalidField | Self::Secret => DeadLetterKind::Validation,
            Self::Rejected => DeadLetterKind::Rejected,
            Self::Conflict => DeadLetterKind::Conflict,
            Self::UnknownType | Self::WrongTopic => DeadLetterKind::UnknownType,
            Self::ManyHeaders | Self::Large => DeadLetterKind::Oversized,
            Self::Tombstone => return Outcome::SkippedTombstone,
        };
        Outcome::DeadLettered { kind }
    }

    /// Whether events of a family can be broken so.
    pub(crate) fn suits(self, family: &str) -> bool {
        let is_statement = matches!(family, "training" | "survey" | "generation" | "statement");
        let is_avro = matches!(family, "learning" | "content" | "engagement");
        match self {
            Self::Secret => family == "governance",
            // A type that Avro's enum lacks is one of a newer schema.
            Self::UnknownType => !is_avro,
            // The family's own bounds are what Avro has beside its schema.
            Self::Invalid => !is_avro,
            Self::InvalidField => family != "statement",
            Self::Rejected => !is_avro && family != "statement",
            Self::Large => !is_avro && family != "statement",
            Self::ManyHeaders | Self::Undecodable | Self::Conflict | Self::WrongTopic | Self::Tombstone => {
                is_statement || is_avro || matches!(family, "course" | "distribution" | "governance" | "mission")
            }
        }
    }

    /// The type that is reported of it: what cannot be read so far has none.
    pub(crate) fn reported(self, family: &str, event_type: &'static str) -> &'static str {
        let is_statement = matches!(family, "training" | "survey" | "generation" | "statement");
        match self {
            Self::Undecodable | Self::UnknownType | Self::ManyHeaders | Self::Large | Self::Tombstone => UNKNOWN,
            // A statement that is none is not asked what it means.
            Self::Invalid if is_statement => UNKNOWN,
            _ => event_type,
        }
    }
}

/// Where an event of a family does not belong: a topic of the same wire form, and its family.
pub(crate) fn wrong_topic(family: &str) -> (&'static str, &'static str) {
    match family {
        "survey" => ("training", "nlj.training.programs"),
        "training" | "generation" | "statement" => ("survey", "nlj.survey.responses"),
        "content" => ("engagement", "engagement.events.v1"),
        "learning" | "engagement" => ("content", "content.events.v1"),
        "mission" => ("governance", "governance.events.v1"),
        _ => ("mission", "mission.events.v1"),
    }
}

/// Breaks what an event says, where that is what is wrong with it; its type is the one that it then names.
pub(crate) fn break_body(broken: Broken, family: &str, event: &mut Event, random: &mut Random) {
    match (broken, &mut event.body) {
        (Broken::Invalid, Body::Statement(said)) => match random.below(3) {
            0 => "no IRI".clone_into(&mut said.verb),
            1 => r#"{"name":"somebody"}"#.clone_into(&mut said.actor),
            _ => said.result = Some(r#"{"score":{"raw":12,"min":0,"max":10}}"#.to_owned()),
        },
        (Broken::Invalid, Body::Module { source, .. }) => *source = "",
        (Broken::InvalidField, Body::Statement(said)) => match event.event_type {
            "program.created" => said.object = activity("program", &event.key, None),
            "survey.started" => said.context = None,
            _ => said.context = Some(format!("{{{}}}", extensions(&[("prompt", quoted("Write something."))]))),
        },
        (Broken::InvalidField, Body::Module { payload, .. }) => "{}".clone_into(payload),
        (Broken::InvalidField, Body::Avro { fields, .. }) => {
            if let Some((_, Field::Text(id))) = fields.first_mut() {
                id.clear();
            }
        }
        (Broken::Secret, Body::Module { payload, .. }) => {
            *payload = with_member(payload, r#""token":"made-up-and-worth-nothing""#);
        }
        (Broken::Conflict, Body::Statement(said)) => {
            let context = said.context.as_deref().unwrap_or("{}");
            said.context = Some(with_member(context, r#""platform":"another one""#));
        }
        (Broken::Conflict, Body::Module { payload, .. }) => *payload = with_member(payload, r#""note":"another one""#),
        (Broken::Large, Body::Statement(said)) => {
            said.result = Some(format!(r#"{{"response":"{}"}}"#, "long ".repeat(56_000)));
        }
        (Broken::Large, Body::Module { payload, .. }) => {
            *payload = with_member(payload, &format!(r#""note":"{}""#, "long ".repeat(56_000)));
        }
        (Broken::Rejected, _) => reject(family, event),
        _ => {}
    }
}

/// The same event about something that nobody ever began.
fn reject(family: &str, event: &mut Event) {
    let nobody = format!("never-{}", event.key);
    let statement = |verb: String, kind: &str, extension: (&str, String)| {
        Body::Statement(Statement {
            actor: account("training-office"),
            verb,
            object: activity(kind, &nobody, None),
            context: Some(format!("{{{}}}", extensions(&[extension]))),
            ..Statement::default()
        })
    };
    let module = |source, payload: String| Body::Module { source, payload };
    let (event_type, body) = match family {
        "training" => {
            let session = ("session_id", quoted(&nobody));
            ("booking.confirmed", statement(platform("confirmed"), "booking", session))
        }
        "generation" => {
            ("content.generation.failed", statement(adl("failed"), "generation", ("reason", quoted("nobody asked"))))
        }
        "course" => ("course.outline.created", module("course", format!(r#"{{"course_id":"{nobody}"}}"#))),
        "distribution" => {
            ("distribution.published", module("distribution", format!(r#"{{"distribution_id":"{nobody}"}}"#)))
        }
        "governance" => ("ir.approval_consumed", module("governance", format!(r#"{{"approval_id":"{nobody}"}}"#))),
        "mission" => ("mission.started", module("mission", format!(r#"{{"mission_id":"{nobody}"}}"#))),
        // A response that is completed once more, which is taken from those that are.
        _ => return,
    };
    (event.event_type, event.body, event.key) = (event_type, body, nobody);
}

/// An object with one member more, in front.
fn with_member(object: &str, member: &str) -> String {
    match object.strip_prefix('{') {
        Some("}") | None => format!("{{{member}}}"),
        Some(rest) => format!("{{{member},{rest}"),
    }
}

/// Breaks the bytes, where they are what is wrong.
pub(crate) fn break_bytes(value: &mut Vec<u8>, form: Form, is_avro: bool, random: &mut Random) {
    let is_binary = is_avro && form != Form::Plain;
    if is_binary && form == Form::Framed && random.happens(0.5) {
        value[0] = 0x07;
    } else {
        // Behind the frame, and in the middle of what must be there.
        value.truncate(value.len() / 2);
    }
}
