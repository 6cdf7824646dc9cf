//! The subscription of the audit log as data: it reads every topic, those of dead letters too.

use lyceum_core::catalog::MODULE_DEAD_LETTERS;
use lyceum_core::subscription::{Effect, Reads, Subscription, Wanted};

/// All that is on a topic.
const fn all_of(topic: &'static str) -> Wanted {
    Wanted { topic, event_types: &[] }
}

/// Every topic of the catalog, those of dead letters last.
const EVERYTHING: &[Wanted] = &[
    all_of("nlj.training.programs"),
    all_of("nlj.training.sessions"),
    all_of("nlj.training.bookings"),
    all_of("nlj.content.generation"),
    all_of("nlj.survey.responses"),
    all_of("nlj.xapi.statements"),
    all_of("learning.events.v1"),
    all_of("content.events.v1"),
    all_of("engagement.events.v1"),
    all_of("course.events.v1"),
    all_of("distribution.events.v1"),
    all_of("governance.events.v1"),
    all_of("security.alerts.v1"),
    all_of("mission.events.v1"),
    all_of("nlj.errors.validation"),
    all_of("nlj.errors.processing"),
    all_of("nlj.errors.database"),
    all_of("analytics.dlq.v1"),
    all_of("modules.dlq.v1"),
];

/// It writes entries, and no letters: whatever a record is, it has an entry.
pub const SUBSCRIPTION: Subscription = Subscription {
    name: "audit",
    reads: Reads::Others(EVERYTHING),
    dead_letters: MODULE_DEAD_LETTERS,
    publishes: &[],
    effect: Effect::Audit,
};
