//! The event catalog: what every family of this release says of itself, as data. A function needs it to know an event that
//! belongs elsewhere from a plain statement, and links no other family's code for it.

use lyceum_core::catalog::{Catalog, FamilySpec};
use lyceum_core::payload::Payloads;

#[path = "../../audit/catalog.rs"]
pub mod audit;
#[path = "../../content/catalog.rs"]
pub mod content;
#[path = "../../course/catalog.rs"]
pub mod course;
#[path = "../../distribution/catalog.rs"]
pub mod distribution;
#[path = "../../engagement/catalog.rs"]
pub mod engagement;
#[path = "../../generation/catalog.rs"]
pub mod generation;
#[path = "../../governance/catalog.rs"]
pub mod governance;
#[path = "../../learning/catalog.rs"]
pub mod learning;
#[path = "../../mission/catalog.rs"]
pub mod mission;
#[path = "../../security/catalog.rs"]
pub mod security;
#[path = "../../statement/catalog.rs"]
pub mod statement;
#[path = "../../survey/catalog.rs"]
pub mod survey;
#[path = "../../training/catalog.rs"]
pub mod training;

/// Every family of this release.
pub const FAMILIES: &[&FamilySpec] = &[
    &training::SPEC,
    &generation::SPEC,
    &survey::SPEC,
    &statement::SPEC,
    &learning::SPEC,
    &content::SPEC,
    &engagement::SPEC,
    &course::SPEC,
    &distribution::SPEC,
    &governance::SPEC,
    &security::SPEC,
    &mission::SPEC,
];

/// The schemas of what each topic of Avro carries, oldest first.
pub const SCHEMAS: &[(&FamilySpec, &[&str])] = &[
    (&learning::SPEC, &learning::SCHEMAS),
    (&content::SPEC, &content::SCHEMAS),
    (&engagement::SPEC, &engagement::SCHEMAS),
];

/// What the events of each family carry.
pub const PAYLOADS: &[(&FamilySpec, &Payloads)] = &[
    (&training::SPEC, &training::PAYLOADS),
    (&generation::SPEC, &generation::PAYLOADS),
    (&survey::SPEC, &survey::PAYLOADS),
    (&statement::SPEC, &statement::PAYLOADS),
    (&learning::SPEC, &learning::PAYLOADS),
    (&content::SPEC, &content::PAYLOADS),
    (&engagement::SPEC, &engagement::PAYLOADS),
    (&course::SPEC, &course::PAYLOADS),
    (&distribution::SPEC, &distribution::PAYLOADS),
    (&governance::SPEC, &governance::PAYLOADS),
    (&security::SPEC, &security::PAYLOADS),
    (&mission::SPEC, &mission::PAYLOADS),
];

/// Which event type belongs where.
pub fn catalog() -> Catalog {
    Catalog::new(FAMILIES.to_vec())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_topic_kind_and_event_type_belongs_to_one_family() {
        for names in [
            FAMILIES.iter().flat_map(|spec| spec.topics.iter().map(|topic| topic.name)).collect::<Vec<_>>(),
            FAMILIES.iter().flat_map(|spec| spec.kinds.iter().copied()).collect(),
            FAMILIES.iter().flat_map(|spec| spec.event_types.iter().map(|of| of.name)).collect(),
        ] {
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn the_audit_log_reads_every_topic_and_every_dead_letter() {
        let catalog = catalog();
        let mut every: Vec<&str> = FAMILIES.iter().flat_map(|spec| spec.topics).map(|topic| topic.name).collect();
        every.extend(catalog.dead_letter_topics());
        assert_eq!(audit::SUBSCRIPTION.topics().collect::<Vec<_>>(), every);
    }

    #[test]
    fn every_event_type_says_what_it_carries() {
        let families: Vec<&str> = PAYLOADS.iter().map(|(spec, _)| spec.name).collect();
        assert_eq!(families, FAMILIES.iter().map(|spec| spec.name).collect::<Vec<_>>());
        for (spec, payloads) in PAYLOADS {
            let carried: Vec<&str> = payloads.of.iter().map(|of| of.event_type).collect();
            let mut known: Vec<&str> = spec.event_types.iter().map(|of| of.name).collect();
            if known.is_empty() {
                known.push(lyceum_core::catalog::STATEMENT);
            }
            assert_eq!(carried, known, "PAYLOADS of functions/{}/catalog.rs", spec.name);
        }
    }

    #[test]
    fn every_event_type_names_a_topic_of_its_own_family() {
        for spec in FAMILIES {
            for event_type in spec.event_types {
                assert!(spec.topics.iter().any(|topic| topic.name == event_type.topic), "{}", event_type.name);
            }
        }
    }
}
