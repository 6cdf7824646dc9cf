//! The governance family as data: topic, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
use lyceum_core::subscription::{Effect, KeyPlace, Subscription};

/// Kind of the aggregate that keeps an approval.
pub const APPROVAL: &str = "approval";
/// Kind of the aggregate that keeps what was judged of an IR.
pub const IR: &str = "ir";

/// Its topic.
pub const GOVERNANCE: &str = "governance.events.v1";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: GOVERNANCE, partitions: 3, key: "approval id, else ir id" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType { name: "ir.approval_created", topic: GOVERNANCE, statement: None, effect: "approval created" },
    EventType {
        name: "ir.approval_consumed", topic: GOVERNANCE, statement: None, effect: "created → consumed, once"
    },
    EventType { name: "ir.approval_expired", topic: GOVERNANCE, statement: None, effect: "created → expired" },
    EventType {
        name: "ir.approval_invalid",
        topic: GOVERNANCE,
        statement: None,
        effect: "counted by its reason; leads to an alert",
    },
    EventType { name: "ir.validated_pass", topic: GOVERNANCE, statement: None, effect: "verdict on the IR: pass" },
    EventType {
        name: "ir.validated_escalate",
        topic: GOVERNANCE,
        statement: None,
        effect: "verdict on the IR: escalate",
    },
    EventType { name: "ir.validated_reject", topic: GOVERNANCE, statement: None, effect: "verdict on the IR: reject" },
    EventType { name: "ir.dag_diff_ok", topic: GOVERNANCE, statement: None, effect: "diff of the IR: ok" },
    EventType {
        name: "ir.dag_diff_failed",
        topic: GOVERNANCE,
        statement: None,
        effect: "diff of the IR: failed; leads to an alert",
    },
];

/// The governance family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "governance",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: MODULE_DEAD_LETTERS,
    kinds: &[APPROVAL, IR],
};

const THE_APPROVAL: Field = Field::required("approval_id", Kind::Id, "The approval");
const AN_APPROVAL: Field = Field::optional("approval_id", Kind::Id, "The approval");
const EITHER_APPROVAL: Field = Field::one_of_these("approval_id", Kind::Id, "The approval");
const THE_IR: Field = Field::required("ir_id", Kind::Id, "The IR: what is to be run");
const AN_IR: Field = Field::optional("ir_id", Kind::Id, "The IR: what is to be run");
const EITHER_IR: Field = Field::one_of_these("ir_id", Kind::Id, "The IR: what is to be run");
const RISK_TIER: Field = Field::optional("risk_tier", Kind::Whole(0, 3), "How much is at stake");
const ACTOR: Field = Field::optional("actor", Kind::Id, "Who did it");
const TOKEN_FINGERPRINT: Field =
    Field::optional("token_fingerprint", Kind::Hash, "Of the token of the approval, never the token itself");
const REASONS: Field = Field::optional("reasons", Kind::Texts, "For people");
const TENANT: Field = Field::optional("tenant", Kind::Text(128), "That of the envelope, meta.tenant_id");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Charter,
    of: &[
        Payload {
            event_type: "ir.approval_created",
            purpose: "Somebody may do something once, with a token.",
            criticality: Criticality::High,
            fields: &[
                THE_APPROVAL,
                AN_IR,
                Field::required("risk_tier", Kind::Whole(0, 3), "How much is at stake"),
                ACTOR,
                Field::required(
                    "token_fingerprint",
                    Kind::Hash,
                    "Of the token of the approval, never the token itself",
                ),
                REASONS,
                TENANT,
            ],
        },
        Payload {
            event_type: "ir.approval_consumed",
            purpose: "The approval was used.",
            criticality: Criticality::High,
            fields: &[THE_APPROVAL, AN_IR, RISK_TIER, ACTOR, TOKEN_FINGERPRINT, REASONS, TENANT],
        },
        Payload {
            event_type: "ir.approval_expired",
            purpose: "The approval was never used, and cannot be any more.",
            criticality: Criticality::Normal,
            fields: &[THE_APPROVAL, AN_IR, RISK_TIER, ACTOR, TOKEN_FINGERPRINT, REASONS, TENANT],
        },
        Payload {
            event_type: "ir.approval_invalid",
            purpose: "Somebody tried to use an approval that is none: security watches for it.",
            criticality: Criticality::Critical,
            fields: &[
                EITHER_APPROVAL,
                EITHER_IR,
                RISK_TIER,
                ACTOR,
                TOKEN_FINGERPRINT,
                REASONS,
                TENANT,
                Field::required(
                    "reason",
                    Kind::Words(&["not_found", "expired", "already_used", "token_mismatch"]),
                    "What was wrong with it",
                ),
            ],
        },
        Payload {
            event_type: "ir.validated_pass",
            purpose: "The IR keeps the rules.",
            criticality: Criticality::Normal,
            fields: &[AN_APPROVAL, THE_IR, RISK_TIER, ACTOR, TOKEN_FINGERPRINT, REASONS, TENANT],
        },
        Payload {
            event_type: "ir.validated_escalate",
            purpose: "A person has to look at the IR.",
            criticality: Criticality::High,
            fields: &[AN_APPROVAL, THE_IR, RISK_TIER, ACTOR, TOKEN_FINGERPRINT, REASONS, TENANT],
        },
        Payload {
            event_type: "ir.validated_reject",
            purpose: "The IR breaks a rule, and is not run.",
            criticality: Criticality::High,
            fields: &[AN_APPROVAL, THE_IR, RISK_TIER, ACTOR, TOKEN_FINGERPRINT, REASONS, TENANT],
        },
        Payload {
            event_type: "ir.dag_diff_ok",
            purpose: "What is run is what was approved.",
            criticality: Criticality::Normal,
            fields: &[
                AN_APPROVAL,
                THE_IR,
                RISK_TIER,
                ACTOR,
                TOKEN_FINGERPRINT,
                REASONS,
                TENANT,
                Field::required("before_hash", Kind::Hash, "Of what was approved"),
                Field::required("after_hash", Kind::Hash, "Of what was found"),
            ],
        },
        Payload {
            event_type: "ir.dag_diff_failed",
            purpose: "What is run is not what was approved: security watches for it.",
            criticality: Criticality::Critical,
            fields: &[
                AN_APPROVAL,
                THE_IR,
                RISK_TIER,
                ACTOR,
                TOKEN_FINGERPRINT,
                REASONS,
                TENANT,
                Field::required("before_hash", Kind::Hash, "Of what was approved"),
                Field::required("after_hash", Kind::Hash, "Of what was found"),
            ],
        },
    ],
};

/// Its own subscription. An id that comes again for another approval must change nothing.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Apart });
