//! The security family as data: the topic of its alerts, and who watches for what they are about.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const MOST_COUNTED: u64 = 1_000_000_000_000;
const WINDOW_START: Field =
    Field::required("window_start", Kind::Timestamp, "When the window began in which they are counted");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Charter,
    of: &[
        Payload {
            event_type: "security.alert.raised",
            purpose: "Somebody is to look at what somebody did.",
            criticality: Criticality::Critical,
            fields: &[
                Field::required("severity", Kind::Words(&["low", "medium", "high", "critical"]), "How bad it is"),
                Field::required(
                    "cause",
                    Kind::Words(&["approval_invalid", "dag_diff_failed", "brute_force"]),
                    "What it is about",
                ),
                Field::optional("subject", Kind::Id, "The approval or IR that it is about"),
                Field::optional("actor", Kind::Id, "Who did it"),
                Field::optional("reason", Kind::Text(2_048), "Why an approval was invalid"),
                Field::optional("token_fingerprint", Kind::Hash, "Of the token that was shown, never the token itself"),
                Field::required("count", Kind::Whole(1, MOST_COUNTED), "How many events led to it"),
                WINDOW_START,
            ],
        },
        Payload {
            event_type: "security.alerts.held_back",
            purpose: "So many more alerts were due than anybody could read.",
            criticality: Criticality::High,
            fields: &[
                Field::required("held_back", Kind::Whole(1, MOST_COUNTED), "How many so far"),
                Field::required("raised", Kind::Whole(0, MOST_COUNTED), "How many were raised"),
                Field::required("window", Kind::Words(&["open", "over"]), "Whether there may be more"),
                WINDOW_START,
            ],
        },
    ],
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
