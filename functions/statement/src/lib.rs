//! Event family: every valid xAPI statement that no other family claims, stored for search and analytics.
//!
//! It keeps no state: the effect is the document, made once by its id.

pub use lyceum_catalog::statement::SPEC;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, Decision, Family, FamilySpec, Occurrence, Refusal, Stored, SurveyFields};
use lyceum_core::formats::statement::{StatementFormat, document};
use lyceum_core::outcome::Finding;
use lyceum_core::ports::statements::StatementDocument;
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
    type Format = StatementFormat;

    fn read(envelope: &Envelope<'_>) -> Result<Option<SurveyFields>, Vec<Finding>> {
        Ok(SurveyFields::of(&envelope.body))
    }

    fn key(envelope: &Envelope<'_>, _: &Option<SurveyFields>) -> String {
        envelope.body.actor.ifi.as_ref().map(|ifi| ifi.canonical()).unwrap_or_default()
    }

    fn aggregates(_: &Option<SurveyFields>) -> Vec<AggregateRef> {
        Vec::new()
    }

    fn decide(_: &States<'_, ()>, _: &Option<SurveyFields>, _: &Occurrence) -> Result<Decision<()>, Refusal> {
        Ok(Decision { changes: Changes::new(), follow_ups: Vec::new(), anomalies: Vec::new() })
    }

    fn document(envelope: &Envelope<'_>, about: &Option<SurveyFields>, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, about.clone(), stored)
    }

    fn view((): &(), _: &[Option<()>]) -> Value {
        Value::Null
    }
}
