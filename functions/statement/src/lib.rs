//! Event family: every valid xAPI statement that no other family claims, stored for search and analytics.
//!
//! It keeps no state: the effect is the document, made once by its id.

pub use lyceum_catalog::statement::SPEC;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, Decision, Family, FamilySpec, Occurrence, Refusal, SurveyFields};
use lyceum_core::outcome::Finding;
use lyceum_core::states::{Changes, States};
use serde_json::Value;

/// The statement family.
#[derive(Debug)]
pub struct Statement;

impl Family for Statement {
    const SPEC: &'static FamilySpec = &SPEC;
    /// What it is about, where that is a survey or a question of one: analytics answer for other tools' surveys, too.
    type Event = Option<SurveyFields>;
    type State = ();

    fn read(envelope: &Envelope<'_>) -> Result<Option<SurveyFields>, Vec<Finding>> {
        Ok(SurveyFields::of(&envelope.statement))
    }

    fn key(envelope: &Envelope<'_>, _: &Option<SurveyFields>) -> String {
        envelope.statement.actor.ifi.as_ref().map(|ifi| ifi.canonical()).unwrap_or_default()
    }

    fn aggregates(_: &Option<SurveyFields>) -> Vec<AggregateRef> {
        Vec::new()
    }

    fn decide(_: &States<'_, ()>, _: &Option<SurveyFields>, _: &Occurrence) -> Result<Decision<()>, Refusal> {
        Ok(Decision { changes: Changes::new(), follow_ups: Vec::new(), anomalies: Vec::new() })
    }

    fn survey_fields(about: &Option<SurveyFields>) -> Option<SurveyFields> {
        about.clone()
    }

    fn view((): &(), _: &[Option<()>]) -> Value {
        Value::Null
    }
}
