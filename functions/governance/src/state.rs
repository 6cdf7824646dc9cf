//! What is kept of approvals and IRs, and what a person is shown of it.

use std::collections::BTreeMap;

use lyceum_core::family::AggregateState;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;
use uuid::Uuid;

pub use lyceum_catalog::governance::{APPROVAL, IR};

/// The state of any of the family's aggregates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// An approval.
    Approval(Approval),
    /// What was judged of an IR.
    Ir(Ir),
}

impl Aggregate for Approval {
    type State = State;
    const KIND: &'static str = APPROVAL;

    fn of(state: &State) -> Option<&Self> {
        if let State::Approval(approval) = state { Some(approval) } else { None }
    }

    fn into_state(self) -> State {
        State::Approval(self)
    }
}

impl Aggregate for Ir {
    type State = State;
    const KIND: &'static str = IR;

    fn of(state: &State) -> Option<&Self> {
        if let State::Ir(ir) = state { Some(ir) } else { None }
    }

    fn into_state(self) -> State {
        State::Ir(self)
    }
}

/// An approval. One of which only invalid uses were seen is a placeholder, without [`Self::own`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What its creation said, and what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Own>,
    /// How often it was used in vain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub invalid: BTreeMap<Reason, u32>,
}

/// An approval that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Its IR, where that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ir_id: Option<SmolStr>,
    /// From 0 to 3.
    pub risk_tier: u64,
    /// Of its token, which nobody here knows.
    pub token_fingerprint: String,
    /// Who asked for it, and when.
    pub created: Moment,
    /// Whether and how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How an approval ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was used.
    Consumed(Moment),
    /// Nobody used it in time.
    Expired(Moment),
}

impl Ended {
    /// As it is told, with when.
    pub fn told(&self) -> (&'static str, &Moment) {
        match self {
            Self::Consumed(moment) => ("consumed", moment),
            Self::Expired(moment) => ("expired", moment),
        }
    }
}

/// By which event, when, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The event.
    pub id: Uuid,
    /// Where somebody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<SmolStr>,
}

/// Why an approval could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There is none of that id.
    NotFound,
    /// It ended by itself before.
    Expired,
    /// It was used before.
    AlreadyUsed,
    /// Its token is another one.
    TokenMismatch,
}

impl Reason {
    /// As events name them.
    pub const NAMES: [&'static str; 4] = ["not_found", "expired", "already_used", "token_mismatch"];

    /// The one of that name; the last one for any other, which a reader has found out before.
    pub fn named(name: &str) -> Self {
        match name {
            "not_found" => Self::NotFound,
            "expired" => Self::Expired,
            "already_used" => Self::AlreadyUsed,
            _ => Self::TokenMismatch,
        }
    }
}

/// What a validation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may be done.
    Pass,
    /// Somebody has to look at it.
    Escalate,
    /// It must not be done.
    Reject,
}

/// What was judged of an IR: how often, and what came last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ir {
    /// By verdict.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verdicts: BTreeMap<Verdict, u32>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated: Option<Validated>,
    /// Diffs that were the same.
    #[serde(default)]
    pub diffs_ok: u32,
    /// Diffs that were not.
    #[serde(default)]
    pub diffs_failed: u32,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diffed: Option<Diffed>,
    /// How often an approval was used in vain that nobody named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub invalid: BTreeMap<Reason, u32>,
}

/// A validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    /// What it came to.
    pub verdict: Verdict,
    /// From 0 to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_tier: Option<u64>,
    /// For people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// By which event.
    pub by: Moment,
}

/// A diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diffed {
    /// Whether the two are the same.
    pub ok: bool,
    /// What was approved.
    pub before_hash: String,
    /// What was found.
    pub after_hash: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// By which event.
    pub by: Moment,
}

fn moment(moment: &Moment) -> Value {
    json!({"at": UtcTime::from_millis(moment.at_ms), "id": moment.id, "actor": moment.actor})
}

impl AggregateState for State {
    fn view(&self, _: &[Option<Self>]) -> Value {
        match self {
            Self::Approval(approval) => view_approval(approval),
            Self::Ir(ir) => view_ir(ir),
        }
    }
}

fn view_approval(Approval { own, invalid }: &Approval) -> Value {
    let ended = own.as_ref().and_then(|own| own.ended.as_ref()).map(Ended::told);
    json!({
        "known": own.is_some(),
        "status": own.as_ref().map(|_| ended.map_or("created", |(status, _)| status)),
        "ir_id": own.as_ref().map(|own| &own.ir_id),
        "risk_tier": own.as_ref().map(|own| own.risk_tier),
        "token_fingerprint": own.as_ref().map(|own| &own.token_fingerprint),
        "created": own.as_ref().map(|own| moment(&own.created)),
        "ended": ended.map(|(_, by)| moment(by)),
        "invalid": invalid,
    })
}

fn view_ir(ir: &Ir) -> Value {
    let validated = |of: &Validated| json!({"verdict": of.verdict, "risk_tier": of.risk_tier, "reasons": of.reasons, "by": moment(&of.by)});
    let diffed = |of: &Diffed| {
        json!({
            "ok": of.ok, "before_hash": of.before_hash, "after_hash": of.after_hash, "reasons": of.reasons,
            "by": moment(&of.by),
        })
    };
    json!({
        "verdicts": ir.verdicts,
        "validated": ir.validated.as_ref().map(validated),
        "diffs_ok": ir.diffs_ok,
        "diffs_failed": ir.diffs_failed,
        "diffed": ir.diffed.as_ref().map(diffed),
        "invalid": ir.invalid,
    })
}
