//! Event family: every valid xAPI statement that no other family claims, stored for search and analytics.
//!
//! It keeps no state: the effect is the document, made once by its id.

pub use lyceum_catalog::statement::{SPEC, SUBSCRIPTION};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{Family, TypedEvent};
use lyceum_core::formats::Stored;
use lyceum_core::formats::statement::vocabulary::SurveyFields;
use lyceum_core::formats::statement::{StatementFormat, document};
use lyceum_core::outcome::Finding;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::subscription::Subscription;
use serde::Serialize;

/// The statement family.
#[derive(Debug)]
pub struct Statement;

/// What a statement is about, where that is a survey or a question of one: analytics answer for other tools' surveys, too.
#[derive(Clone, Debug, Serialize)]
pub struct About(Option<SurveyFields>);

impl TypedEvent for About {
    type Format = StatementFormat;

    fn read(envelope: &Envelope<'_>) -> Result<Self, Vec<Finding>> {
        Ok(Self(SurveyFields::of(&envelope.body)))
    }

    fn key(&self, envelope: &Envelope<'_>) -> String {
        envelope.body.actor.ifi.as_ref().map(|ifi| ifi.canonical()).unwrap_or_default()
    }
}

impl Family for Statement {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = About;

    fn document(envelope: &Envelope<'_>, About(survey): &About, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, survey.clone(), stored)
    }
}
