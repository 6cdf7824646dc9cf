//! How a record ended. One outcome, many translators: the Lambda trigger turns it into batch item failures, the container
//! into an offset, the local runner into a line on the screen.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::record::Position;

/// How one record ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Its effect is in the state and everything that it emits is out.
    Applied,
    /// The same event was applied before, from another record; what that one emits was emitted again.
    Duplicate,
    /// It can never succeed: it is on its family's dead-letter topic.
    DeadLettered {
        /// Why.
        kind: DeadLetterKind,
    },
    /// It has no value; there is nothing to do.
    SkippedTombstone,
    /// It is on a topic of another family, and no event that this subscription wants: its owner sees to it.
    Skipped,
    /// It may succeed later: it is to be delivered again.
    RetryLater {
        /// What failed.
        reason: Cow<'static, str>,
    },
}

impl Outcome {
    /// What holds of a record until something is decided about it.
    pub fn undecided() -> Self {
        Self::RetryLater {
            reason: "nothing was decided about this record; report it, with the log of this batch".into(),
        }
    }

    /// The closed set of names for labels and columns.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::DeadLettered { .. } => "dead_lettered",
            Self::SkippedTombstone => "skipped_tombstone",
            Self::Skipped => "skipped",
            Self::RetryLater { .. } => "retry_later",
        }
    }

    /// Whether the record is done with, so that its offset may be committed.
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::RetryLater { .. })
    }
}

/// Why a record was dead-lettered; the value of the header `lyceum-error-kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterKind {
    /// The bytes are not what the wire format asks for.
    Decode,
    /// The statement or the envelope breaks a rule.
    Validation,
    /// The family's state machine does not allow it.
    Rejected,
    /// The event's id is taken by another content.
    Conflict,
    /// Its attempts are spent.
    Processing,
    /// A store failed for good.
    Database,
    /// Over a limit of size.
    Oversized,
    /// An event type that this topic does not carry.
    UnknownType,
    /// It was applied, but a store will never take what it emits.
    Undelivered,
}

impl DeadLetterKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Decode,
        Self::Validation,
        Self::Rejected,
        Self::Conflict,
        Self::Processing,
        Self::Database,
        Self::Oversized,
        Self::UnknownType,
        Self::Undelivered,
    ];

    /// The value of the header `lyceum-error-kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Validation => "validation",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Processing => "processing",
            Self::Database => "database",
            Self::Oversized => "oversized",
            Self::UnknownType => "unknown-type",
            Self::Undelivered => "undelivered",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One thing that is wrong with a record: a rule of xAPI, of the envelope or of a family's state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable id from a closed set, `actor.ifi.exactly-one`.
    pub rule: Cow<'static, str>,
    /// JSON pointer (RFC 6901) of the offending value within the record's value; empty for the whole.
    pub pointer: String,
    /// A sentence that a person can act on.
    pub message: String,
    /// Where the rule comes from: `XAPI-00021`, a section of a specification, or the catalog.
    pub requirement: Cow<'static, str>,
}

impl From<lyceum_xapi::Violation> for Finding {
    fn from(violation: lyceum_xapi::Violation) -> Self {
        Self {
            rule: violation.rule.into(),
            pointer: violation.pointer,
            message: violation.message,
            requirement: violation.requirement.into(),
        }
    }
}
/// The event type of what the catalog lacks.
pub const UNKNOWN: &str = "unknown";

/// What is reported of one processed record: to the log, the metrics, the page, and `ingest`'s summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Where the record stands.
    pub position: Position,
    /// The subscription that processed it: a family's own has the family's name.
    pub family: &'static str,
    /// Whether that is the topic's own: an event is counted by its report, and not once more by those who read along.
    #[serde(skip)]
    pub is_owner: bool,
    /// The catalog's event type, `statement`, or `unknown`.
    pub event_type: &'static str,
    /// The event's id, where the record could be read so far.
    pub event_id: Option<Uuid>,
    /// The tenant, where the record could be read so far.
    pub tenant: Option<SmolStr>,
    /// The correlation id.
    pub correlation_id: Option<SmolStr>,
    /// The trace that its sender began, as W3C writes a trace id.
    pub trace_id: Option<String>,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Why it was dead-lettered.
    pub findings: Vec<Finding>,
    /// What is odd about the state after it, though it was applied: `overbooked` …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    /// Of a record that nothing was decided about yet: unless that changes it is redelivered.
    pub fn of(position: Position, family: &'static str) -> Self {
        Self {
            position,
            family,
            is_owner: true,
            event_type: UNKNOWN,
            event_id: None,
            tenant: None,
            correlation_id: None,
            trace_id: None,
            outcome: Outcome::undecided(),
            findings: Vec::new(),
            anomalies: Vec::new(),
        }
    }

    /// The same of a subscription to topics of others, where it is one.
    #[must_use]
    pub fn owned(mut self, is_owner: bool) -> Self {
        self.is_owner = is_owner;
        self
    }

    /// The same of an event as far as it could be read.
    #[must_use]
    pub fn about(mut self, event_type: &'static str, event_id: Option<Uuid>) -> Self {
        self.event_type = event_type;
        self.event_id = event_id;
        self
    }

    /// The same with whose it is and what it belongs to, as far as that could be read.
    #[must_use]
    pub fn belonging(mut self, tenant: Option<SmolStr>, correlation_id: Option<SmolStr>) -> Self {
        self.tenant = tenant;
        self.correlation_id = correlation_id;
        self
    }

    /// The same with its sender's trace.
    #[must_use]
    pub fn traced(mut self, trace_id: Option<String>) -> Self {
        self.trace_id = trace_id;
        self
    }
}

/// Something odd that is no error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// A stable name from a closed set: `overbooked`, `not-started` …
    pub name: Cow<'static, str>,
    /// A sentence for a person.
    pub message: String,
}

/// Who gets the reports of how records ended.
pub trait Observer: Send + Sync {
    /// Called once a batch, after it is settled.
    fn observe(&self, reports: &[Report]);

    /// Called before each attempt after the first.
    fn retried(&self, _family: &'static str) {}
}

/// Several observers, called one after the other.
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn observe(&self, reports: &[Report]) {
        self.0.iter().for_each(|observer| observer.observe(reports));
    }

    fn retried(&self, family: &'static str) {
        self.0.iter().for_each(|observer| observer.retried(family));
    }
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
