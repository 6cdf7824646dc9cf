//! The events of the governance family, and how each is read from an envelope. A token is named by its fingerprint alone; what is none may
//! be the token, and its letter goes without the value.

use lyceum_core::family::{AggregateRef, EnvelopeOf, TypedEvent};
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::Fields;
use lyceum_core::outcome::Finding;
use serde::Serialize;
use smol_str::SmolStr;

use crate::state::{APPROVAL, IR, Reason, Verdict};

/// The highest tier of risk.
const MAX_RISK_TIER: u64 = 3;

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The approval, where it is about one; then it is the Kafka key.
    pub approval_id: Option<SmolStr>,
    /// The IR, where it is named; the Kafka key of what is about no approval.
    pub ir_id: Option<SmolStr>,
    /// From 0 to 3.
    pub risk_tier: Option<u64>,
    /// Who did it.
    pub actor: Option<SmolStr>,
    /// Of the approval's token.
    pub token_fingerprint: Option<String>,
    /// For people.
    pub reasons: Vec<String>,
    /// What happened.
    pub what: What,
}

/// What happened to an approval, or was judged of an IR.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `ir.approval_created`
    Created,
    /// `ir.approval_consumed`
    Consumed,
    /// `ir.approval_expired`
    Expired,
    /// `ir.approval_invalid`
    Invalid(Reason),
    /// `ir.validated_pass`, `ir.validated_escalate`, `ir.validated_reject`
    Validated(Verdict),
    /// `ir.dag_diff_ok`, `ir.dag_diff_failed`
    Diffed {
        /// Whether the two are the same.
        ok: bool,
        /// What was approved.
        before_hash: String,
        /// What was found.
        after_hash: String,
    },
}

impl TypedEvent for Event {
    type Format = CharterFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        fields.same_tenant();
        let approval_id = fields.optional_id("approval_id");
        let ir_id = fields.optional_id("ir_id");
        let risk_tier = fields.optional_whole("risk_tier", 0..=MAX_RISK_TIER);
        let actor = fields.optional_id("actor");
        let token_fingerprint = fields.optional_fingerprint("token_fingerprint");
        let reasons = fields.texts("reasons");
        let mut needs = |name, is_there: bool| {
            fields.required(name, is_there.then_some(()));
        };
        let what = match envelope.event_type {
            "ir.approval_created" => {
                needs("approval_id", approval_id.is_some());
                needs("risk_tier", risk_tier.is_some());
                needs("token_fingerprint", token_fingerprint.is_some());
                What::Created
            }
            "ir.approval_consumed" => {
                needs("approval_id", approval_id.is_some());
                What::Consumed
            }
            "ir.approval_expired" => {
                needs("approval_id", approval_id.is_some());
                What::Expired
            }
            "ir.approval_invalid" => {
                fields.one_of_them("approval_id", "ir_id");
                What::Invalid(Reason::named(fields.word("reason", &Reason::NAMES)))
            }
            "ir.dag_diff_ok" | "ir.dag_diff_failed" => {
                needs("ir_id", ir_id.is_some());
                let mut hash = |name| {
                    let hash = fields.optional_hash(name);
                    fields.required(name, hash)
                };
                let (before_hash, after_hash) = (hash("before_hash"), hash("after_hash"));
                What::Diffed { ok: envelope.event_type == "ir.dag_diff_ok", before_hash, after_hash }
            }
            verdict => {
                needs("ir_id", ir_id.is_some());
                What::Validated(match verdict {
                    "ir.validated_pass" => Verdict::Pass,
                    "ir.validated_escalate" => Verdict::Escalate,
                    _ => Verdict::Reject,
                })
            }
        };
        fields.finish(Event { approval_id, ir_id, risk_tier, actor, token_fingerprint, reasons, what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.subject().1.to_string()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        let (kind, id) = self.subject();
        vec![AggregateRef { kind, id }]
    }
}

impl Event {
    /// Whom it is kept with: verdicts and diffs with their IR, everything else with its approval, else with the IR.
    pub fn subject(&self) -> (&'static str, SmolStr) {
        let is_of_ir = matches!(self.what, What::Validated(_) | What::Diffed { .. });
        let (approval, ir) = (self.approval_id.as_ref().filter(|_| !is_of_ir), self.ir_id.as_ref());
        match approval {
            Some(id) => (APPROVAL, id.clone()),
            None => (IR, ir.cloned().unwrap_or_default()),
        }
    }
}
