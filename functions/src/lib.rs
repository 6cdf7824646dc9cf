//! The registry of event families: a line a family.

use std::sync::Arc;

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, Catalog, Family, FamilySpec, StatefulFamily, TypedEvent};
use lyceum_core::formats::statement::StatementFormat;
use lyceum_core::outcome::Finding;
use lyceum_core::process::{DocumentProcessor, ProcessConfig, Services, StatefulProcessor, Subscriber};
use lyceum_core::subscription::Subscription;
use lyceum_statement::Statement;
use lyceum_survey::Survey;
use lyceum_training::Training;
use serde_json::Value;

/// Every family of this release.
pub const REGISTRY: &[Entry] = &[
    stateful::<Training>(statement_key::<Training>, read_statement::<Training>),
    stateful::<Survey>(statement_key::<Survey>, read_statement::<Survey>),
    documents::<Statement>(statement_key::<Statement>, read_statement::<Statement>),
];

/// A family and how its function is made.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The family as data.
    pub spec: &'static FamilySpec,
    /// Its own subscription.
    pub subscription: &'static Subscription,
    /// The Kafka key of a statement of this family; `None` where a field is missing that the key is made of, and of a family
    /// whose events are no statements.
    pub key: StatementKey,
    /// What the family reads of a statement of its own, or what is wrong with that.
    pub read: ReadStatement,
    /// Makes its function.
    pub build: fn(Services, Arc<Catalog>, ProcessConfig) -> Arc<dyn Subscriber>,
}

/// See [`Entry::key`].
pub type StatementKey = fn(&Envelope<'_>) -> Option<String>;

/// See [`Entry::read`].
pub type ReadStatement = fn(&Envelope<'_>) -> Result<Reading, Vec<Finding>>;

/// What a family reads of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Its own fields, serialised.
    pub fields: Value,
    /// The aggregates that the event reads or changes.
    pub aggregates: Vec<AggregateRef>,
}

const fn stateful<F: StatefulFamily>(key: StatementKey, read: ReadStatement) -> Entry {
    let build = |services, catalog, config| Arc::new(StatefulProcessor::<F>::new(services, catalog, config)) as _;
    Entry { spec: F::SPEC, subscription: F::SUBSCRIPTION, key, read, build }
}

const fn documents<F: Family>(key: StatementKey, read: ReadStatement) -> Entry {
    let build =
        |services: Services, catalog, config| Arc::new(DocumentProcessor::<F>::new(services, catalog, config)) as _;
    Entry { spec: F::SPEC, subscription: F::SUBSCRIPTION, key, read, build }
}

fn statement_key<F: Family<Event: TypedEvent<Format = StatementFormat>>>(envelope: &Envelope<'_>) -> Option<String> {
    F::Event::read(envelope).ok().map(|event| event.key(envelope))
}

fn read_statement<F: Family<Event: TypedEvent<Format = StatementFormat>>>(
    envelope: &Envelope<'_>,
) -> Result<Reading, Vec<Finding>> {
    let event = F::Event::read(envelope)?;
    // What cannot be written as JSON has no fields to tell; that is for whoever looks, and nothing depends on it.
    Ok(Reading { fields: serde_json::to_value(&event).unwrap_or_default(), aggregates: event.aggregates() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_has_the_families_of_the_catalog() {
        let registered: Vec<&str> = REGISTRY.iter().map(|entry| entry.spec.name).collect();
        assert_eq!(registered, lyceum_catalog::FAMILIES.iter().map(|spec| spec.name).collect::<Vec<_>>());
    }
}
