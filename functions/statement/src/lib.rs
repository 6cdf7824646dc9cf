//! Event family: every valid xAPI statement that no other family claims, stored for search and analytics.
//!
//! It keeps no state: the effect is the document, made once by its id.

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{
    AggregateRef, Decision, EffectPolicy, Family, FamilySpec, Occurrence, PLATFORM_DEAD_LETTERS, Refusal, TopicOf,
};
use lyceum_core::outcome::Finding;
use lyceum_core::states::{Changes, States};
use serde_json::Value;

/// The statement family.
#[derive(Debug)]
pub struct Statement;

/// The statement family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "statement",
    topics: &[TopicOf { name: "nlj.xapi.statements", partitions: 6, key: "actor" }],
    event_types: &[],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[],
    effect: EffectPolicy::DocumentById,
};

impl Family for Statement {
    const SPEC: &'static FamilySpec = &SPEC;
    type Event = ();
    type State = ();

    fn read(_: &Envelope<'_>) -> Result<(), Vec<Finding>> {
        Ok(())
    }

    fn key(envelope: &Envelope<'_>, (): &()) -> String {
        envelope.statement.actor.ifi.as_ref().map(|ifi| ifi.canonical()).unwrap_or_default()
    }

    fn aggregates((): &()) -> Vec<AggregateRef> {
        Vec::new()
    }

    fn decide(_: &States<'_, ()>, (): &(), _: &Occurrence) -> Result<Decision<()>, Refusal> {
        Ok(Decision { changes: Changes::new(), follow_ups: Vec::new(), anomalies: Vec::new() })
    }

    fn view((): &(), _: &[Option<()>]) -> Value {
        Value::Null
    }
}
