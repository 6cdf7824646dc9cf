//! The registry of event families: a line a family.

use std::sync::Arc;

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{Catalog, Family, FamilySpec};
use lyceum_core::formats::statement::StatementFormat;
use lyceum_core::process::{ProcessConfig, Processor, Services};
use lyceum_lambda_event::handler::FamilyFunction;

/// Every family of this release.
pub const REGISTRY: &[Entry] =
    &[entry::<lyceum_training::Training>(), entry::<lyceum_survey::Survey>(), entry::<lyceum_statement::Statement>()];

/// A family and how its function is made.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The family as data.
    pub spec: &'static FamilySpec,
    /// The Kafka key of an event of this family; `None` where a field is missing that the key is made of.
    pub key: fn(&Envelope<'_>) -> Option<String>,
    /// Makes its function.
    pub build: fn(Services, Arc<Catalog>, ProcessConfig) -> Arc<dyn FamilyFunction>,
}

const fn entry<F: Family<Format = StatementFormat>>() -> Entry {
    let key: fn(&Envelope<'_>) -> Option<String> =
        |envelope| F::read(envelope).ok().map(|event| F::key(envelope, &event));
    Entry {
        spec: F::SPEC,
        key,
        build: |services, catalog, config| Arc::new(Processor::<F>::new(services, catalog, config)),
    }
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
