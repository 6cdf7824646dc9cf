//! Event family: every valid xAPI statement that no other family claims, stored for search and analytics.
//!
//! It keeps no state: the effect is the document, made once by its id.

pub use lyceum_catalog::statement::SPEC;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, Decision, Family, FamilySpec, Occurrence, Refusal};
use lyceum_core::outcome::Finding;
use lyceum_core::states::{Changes, States};
use serde_json::Value;

/// The statement family.
#[derive(Debug)]
pub struct Statement;

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
