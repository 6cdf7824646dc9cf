//! The security family as data: the topic of its alerts, and who watches for what they are about.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::subscription::{Effect, Reads, Subscription, Wanted};

/// Kind of the aggregate that keeps what was noticed of a tenant lately.
pub const WATCH: &str = "security_watch";

/// Its topic.
pub const ALERTS: &str = "security.alerts.v1";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: ALERTS, partitions: 1, key: "tenant" }];

/// The event types.
pub const EVENT_TYPES: &[EventType] = &[
    EventType { name: "security.alert.raised", topic: ALERTS, statement: None, effect: "stored, for whoever looks" },
    EventType {
        name: "security.alerts.held_back",
        topic: ALERTS,
        statement: None,
        effect: "stored: how many alerts of a window were not raised",
    },
];

/// The security family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "security",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: MODULE_DEAD_LETTERS,
    kinds: &[WATCH],
};

/// Its own subscription, which stores the alerts.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Documents);

/// What governance reports is watched, and leads to alerts.
pub const SECURITY_WATCH: Subscription = Subscription {
    name: "watch-security",
    reads: Reads::Others(&[Wanted {
        topic: "governance.events.v1",
        event_types: &["ir.approval_invalid", "ir.dag_diff_failed"],
    }]),
    dead_letters: MODULE_DEAD_LETTERS,
    publishes: &[ALERTS],
    effect: Effect::Watching { kinds: &[WATCH] },
};
