//! The governance family as data: topic, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
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

/// Its own subscription. An id that comes again for another approval must change nothing.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Apart });
