//! Subscription: what governance reports of approvals and diffs leads to alerts.
//!
//! [`state`] is what is kept of each tenant, [`decide`] when an alert is raised, and when it is held back.

pub use lyceum_catalog::security::SECURITY_WATCH;
use lyceum_core::effects::Watching;
use lyceum_core::family::{AggregateRef, Decision, EnvelopeOf, Occurrence, TypedEvent};
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::Fields;
use lyceum_core::outcome::{Finding, Refusal};
use lyceum_core::states::States;
use lyceum_core::subscription::Subscription;
use serde::Serialize;
use smol_str::SmolStr;

pub mod decide;
pub mod state;

use state::{WATCH, Watch};

/// What is read of `ir.approval_invalid` and `ir.dag_diff_failed`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reported {
    /// Whose it is: each tenant has a window of its own.
    pub tenant: SmolStr,
    /// The approval, else the IR.
    pub subject: Option<SmolStr>,
    /// Who did it, where somebody is named.
    pub actor: Option<SmolStr>,
    /// Of the token that was shown; what is no fingerprint may be the token, and is left out. No part of what makes two events the same,
    /// so that one whose key was written before this was read is known again.
    #[serde(skip)]
    pub token_fingerprint: Option<String>,
    /// What happened.
    pub what: What,
}

/// What governance reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum What {
    /// `ir.approval_invalid`, with its reason.
    ApprovalInvalid(&'static str),
    /// `ir.dag_diff_failed`
    DagDiffFailed,
}

/// Why an approval was invalid.
pub const REASONS: [&str; 4] = ["not_found", "expired", "already_used", "token_mismatch"];

impl TypedEvent for Reported {
    type Format = CharterFormat;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let (approval_id, ir_id) = (fields.optional_id("approval_id"), fields.optional_id("ir_id"));
        let actor = fields.optional_id("actor");
        let (subject, what) = match envelope.event_type {
            "ir.approval_invalid" => (approval_id.or(ir_id), What::ApprovalInvalid(fields.word("reason", &REASONS))),
            _ => (ir_id, What::DagDiffFailed),
        };
        // An event that governance refuses for it is still one to alert of.
        let mut aside = Fields::of(envelope);
        let fingerprint = aside.optional_fingerprint("token_fingerprint");
        let token_fingerprint = aside.finish(fingerprint).ok().flatten();
        fields.finish(Self { tenant: envelope.tenant.clone(), subject, actor, token_fingerprint, what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.subject.clone().unwrap_or_default().to_string()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: WATCH, id: self.tenant.clone() }]
    }
}

/// Watches what governance reports.
#[derive(Debug)]
pub struct SecurityWatch;

impl Watching for SecurityWatch {
    const SUBSCRIPTION: &'static Subscription = &SECURITY_WATCH;
    type Event = Reported;
    type State = Watch;

    fn decide(states: &States<'_, Watch>, event: &Reported, at: &Occurrence) -> Result<Decision<Watch>, Refusal> {
        decide::decide(states, event, at)
    }
}
