//! The registry of event families: a line a family.

use std::sync::Arc;

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{Catalog, Family, FamilySpec};
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

const fn entry<F: Family>() -> Entry {
    let key: fn(&Envelope<'_>) -> Option<String> =
        |envelope| F::read(envelope).ok().map(|event| F::key(envelope, &event));
    Entry {
        spec: F::SPEC,
        key,
        build: |services, catalog, config| Arc::new(Processor::<F>::new(services, catalog, config)),
    }
}

/// Which event type belongs where.
pub fn catalog() -> Catalog {
    Catalog::new(REGISTRY.iter().map(|entry| entry.spec).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_topic_kind_and_event_type_belongs_to_one_family() {
        for names in [
            REGISTRY.iter().flat_map(|entry| entry.spec.topics.iter().map(|topic| topic.name)).collect::<Vec<_>>(),
            REGISTRY.iter().flat_map(|entry| entry.spec.kinds.iter().copied()).collect(),
            REGISTRY.iter().flat_map(|entry| entry.spec.event_types.iter().map(|of| of.name)).collect(),
        ] {
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn every_event_type_names_a_topic_of_its_own_family() {
        for spec in REGISTRY.iter().map(|entry| entry.spec) {
            for event_type in spec.event_types {
                assert!(spec.topics.iter().any(|topic| topic.name == event_type.topic), "{}", event_type.name);
            }
        }
    }
}
