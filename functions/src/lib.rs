//! The registry of event families: a line a family.

use std::any::Any;
use std::sync::Arc;

use lyceum_content::Content;
use lyceum_core::catalog::{Catalog, FamilySpec};
use lyceum_core::effects::Counted;
use lyceum_core::envelope::Hint;
use lyceum_core::family::{Family, StatefulFamily, TypedEvent};
use lyceum_core::formats::Format;
use lyceum_core::process::{
    CountedProcessor, DocumentProcessor, ProcessConfig, Services, StatefulProcessor, Subscriber,
};
use lyceum_core::record::Record;
use lyceum_core::subscription::Subscription;
use lyceum_engagement::Engagement;
use lyceum_learning::Learning;
use lyceum_statement::Statement;
use lyceum_survey::Survey;
use lyceum_training::Training;

mod look;

use look::Reader;
pub use look::{Look, Looked, Reading, Seen};

/// Every family of this release.
pub const REGISTRY: &[Entry] = &[
    stateful::<Training>(),
    stateful::<Survey>(),
    documents::<Statement>(),
    counted::<Learning>(),
    counted::<Content>(),
    counted::<Engagement>(),
];

/// A family and how its function is made.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The family as data.
    pub spec: &'static FamilySpec,
    /// Its own subscription.
    pub subscription: &'static Subscription,
    /// What events of its wire form have: [`Format::LOOKS`].
    pub looks: &'static str,
    /// Makes its function.
    pub build: fn(Services, Arc<Catalog>, ProcessConfig) -> Arc<dyn Subscriber>,
    looks_like: fn(&[u8]) -> bool,
    open: fn(&Record, Hint<'_>, &[Self]) -> Looked,
    /// The [`Reader`] of the family's wire form, by whose type those of other families of that form are known.
    reader: &'static (dyn Any + Send + Sync),
}

/// The entry of a family that keeps state.
pub const fn stateful<F: StatefulFamily>() -> Entry {
    let build = |services, catalog, config| Arc::new(StatefulProcessor::<F>::new(services, catalog, config)) as _;
    entry::<F>(build)
}

/// The entry of a family that only stores documents.
pub const fn documents<F: Family>() -> Entry {
    let build =
        |services: Services, catalog, config| Arc::new(DocumentProcessor::<F>::new(services, catalog, config)) as _;
    entry::<F>(build)
}

/// The entry of a family that stores documents and counts them.
pub const fn counted<F: Counted>() -> Entry {
    let build = |services, catalog, config| Arc::new(CountedProcessor::<F>::new(services, catalog, config)) as _;
    entry::<F>(build)
}

/// The entry of a family whose function is made so; for other effects than those above.
pub const fn entry<F: Family>(build: fn(Services, Arc<Catalog>, ProcessConfig) -> Arc<dyn Subscriber>) -> Entry {
    Entry {
        spec: F::SPEC,
        subscription: F::SUBSCRIPTION,
        looks: <FormatOf<F> as Format>::LOOKS,
        build,
        looks_like: <FormatOf<F> as Format>::looks_like,
        open: look::open::<FormatOf<F>>,
        reader: const { &Reader::<FormatOf<F>>::of::<F>() },
    }
}

/// The wire form of a family.
type FormatOf<F> = <<F as Family>::Event as TypedEvent>::Format;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_has_the_families_of_the_catalog() {
        let registered: Vec<&str> = REGISTRY.iter().map(|entry| entry.spec.name).collect();
        assert_eq!(registered, lyceum_catalog::FAMILIES.iter().map(|spec| spec.name).collect::<Vec<_>>());
    }
}
