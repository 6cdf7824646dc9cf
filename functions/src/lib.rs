//! The registry of event families: a line a family.

use std::sync::Arc;

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{Catalog, Family, FamilySpec, StatefulFamily, TypedEvent};
use lyceum_core::formats::statement::StatementFormat;
use lyceum_core::process::{DocumentProcessor, ProcessConfig, Services, StatefulProcessor, Subscriber};
use lyceum_core::subscription::Subscription;

/// Every family of this release.
pub const REGISTRY: &[Entry] = &[
    stateful::<lyceum_training::Training>(statement_key::<lyceum_training::Training>),
    stateful::<lyceum_survey::Survey>(statement_key::<lyceum_survey::Survey>),
    documents::<lyceum_statement::Statement>(statement_key::<lyceum_statement::Statement>),
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
    /// Makes its function.
    pub build: fn(Services, Arc<Catalog>, ProcessConfig) -> Arc<dyn Subscriber>,
}

/// See [`Entry::key`].
pub type StatementKey = fn(&Envelope<'_>) -> Option<String>;

const fn stateful<F: StatefulFamily>(key: StatementKey) -> Entry {
    let build = |services, catalog, config| Arc::new(StatefulProcessor::<F>::new(services, catalog, config)) as _;
    Entry { spec: F::SPEC, subscription: F::SUBSCRIPTION, key, build }
}

const fn documents<F: Family>(key: StatementKey) -> Entry {
    let build =
        |services: Services, catalog, config| Arc::new(DocumentProcessor::<F>::new(services, catalog, config)) as _;
    Entry { spec: F::SPEC, subscription: F::SUBSCRIPTION, key, build }
}

fn statement_key<F: Family<Event: TypedEvent<Format = StatementFormat>>>(envelope: &Envelope<'_>) -> Option<String> {
    F::Event::read(envelope).ok().map(|event| event.key(envelope))
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
