//! The registry: a line an event family, and a line a subscription to topics of others.

use std::any::Any;
use std::sync::Arc;

use lyceum_catalog::audit::SUBSCRIPTION as AUDIT;
use lyceum_content::Content;
use lyceum_core::catalog::{Catalog, FamilySpec};
use lyceum_core::effects::{Calling, Counted, Reaction, Watching};
use lyceum_core::envelope::Hint;
use lyceum_core::family::{Family, StatefulFamily, TypedEvent};
use lyceum_core::formats::Format;
use lyceum_core::ports::generator::ContentGenerator;
use lyceum_core::ports::statements::StoreDocuments;
use lyceum_core::process::{
    AuditProcessor, CallingProcessor, CountedProcessor, DocumentProcessor, ProcessConfig, ReactionProcessor, Services,
    StatefulProcessor, Subscriber, WatchingProcessor,
};
use lyceum_core::record::Record;
use lyceum_core::subscription::Subscription;
use lyceum_course::Courses;
use lyceum_distribution::Distributions;
use lyceum_engagement::Engagement;
use lyceum_generation::Generations;
use lyceum_generator::Generator;
use lyceum_governance::Governance;
use lyceum_intake_distribution::Intake;
use lyceum_learning::Learning;
use lyceum_mission::Missions;
use lyceum_security::Security;
use lyceum_staging_course::Staging;
use lyceum_statement::Statement;
use lyceum_survey::Survey;
use lyceum_training::Training;
use lyceum_watch_security::SecurityWatch;
use uuid::Uuid;

mod labels;
mod look;

use look::Reader;
pub use look::{Look, Looked, Reading, Seen};

/// Every family of this release.
pub const REGISTRY: &[Entry] = &[
    stateful::<Training>(),
    stateful::<Generations>(),
    stateful::<Survey>(),
    documents::<Statement>(),
    counted::<Learning>(),
    counted::<Content>(),
    counted::<Engagement>(),
    stateful::<Courses>(),
    stateful::<Distributions>(),
    stateful::<Governance>(),
    documents::<Security>(),
    stateful::<Missions>(),
];

/// The subscriptions of this release that read topics of others, each a function of its own.
pub const OTHERS: &[Function] =
    &[calling_generator(), reaction::<Staging>(), reaction::<Intake>(), watching::<SecurityWatch>(), audit()];

/// Every function of this release: the families' own, and the others.
pub fn functions() -> impl Iterator<Item = Function> {
    REGISTRY.iter().map(Entry::function).chain(OTHERS.iter().copied())
}

/// The function of that name, of these ports; `None` where there is none.
pub fn subscriber(
    name: &str,
    ports: Ports,
    catalog: Arc<Catalog>,
    config: ProcessConfig,
) -> Option<Arc<dyn Subscriber>> {
    functions().find(|of| of.subscription.name == name).map(|of| of.build(ports, catalog, config))
}

/// What functions are made of.
#[derive(Clone)]
pub struct Ports {
    /// What all of them use.
    pub services: Services,
    /// Asked by those that generate content.
    pub generator: Arc<ContentGenerator>,
    /// Where the audit log has its entries.
    pub audit: Arc<dyn StoreDocuments>,
}

/// A subscription and how its function is made.
#[derive(Clone, Copy)]
pub struct Function {
    /// The subscription, whose name is the function's.
    pub subscription: &'static Subscription,
    build: Build,
}

#[derive(Clone, Copy)]
enum Build {
    OfServices(fn(Services, Arc<Catalog>, ProcessConfig) -> Arc<dyn Subscriber>),
    OfPorts(fn(Ports, Arc<Catalog>, ProcessConfig) -> Arc<dyn Subscriber>),
}

impl Function {
    /// Makes the function.
    pub fn build(&self, ports: Ports, catalog: Arc<Catalog>, config: ProcessConfig) -> Arc<dyn Subscriber> {
        match self.build {
            Build::OfServices(build) => build(ports.services, catalog, config),
            Build::OfPorts(build) => build(ports, catalog, config),
        }
    }
}

/// The function of a subscription that answers events with others.
pub const fn reaction<R: Reaction>() -> Function {
    let build = |services, catalog, config| Arc::new(ReactionProcessor::<R>::new(services, catalog, config)) as _;
    Function { subscription: R::SUBSCRIPTION, build: Build::OfServices(build) }
}

/// The function of a subscription that keeps state of others' events.
pub const fn watching<W: Watching>() -> Function {
    let build = |services, catalog, config| Arc::new(WatchingProcessor::<W>::new(services, catalog, config)) as _;
    Function { subscription: W::SUBSCRIPTION, build: Build::OfServices(build) }
}

/// The function that asks the content generator.
const fn calling_generator() -> Function {
    let build = |Ports { services, generator, .. }, catalog, config| {
        // No two processes are one holder of a lease.
        Arc::new(CallingProcessor::<Generator>::new(services, generator, Uuid::new_v4(), catalog, config)) as _
    };
    Function { subscription: Generator::SUBSCRIPTION, build: Build::OfPorts(build) }
}

/// The function that keeps the audit log.
const fn audit() -> Function {
    let build = |Ports { services, audit, .. }, _, config: ProcessConfig| {
        let labels = Arc::new(Look::new(config.envelope.clone()));
        Arc::new(AuditProcessor::new(&AUDIT, services, audit, labels, &config)) as _
    };
    Function { subscription: &AUDIT, build: Build::OfPorts(build) }
}

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

impl Entry {
    /// The family's own function.
    pub fn function(&self) -> Function {
        Function { subscription: self.subscription, build: Build::OfServices(self.build) }
    }
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
    use lyceum_core::subscription::Reads;

    use super::*;

    #[test]
    fn the_registry_has_the_families_of_the_catalog() {
        let registered: Vec<&str> = REGISTRY.iter().map(|entry| entry.spec.name).collect();
        assert_eq!(registered, lyceum_catalog::FAMILIES.iter().map(|spec| spec.name).collect::<Vec<_>>());
    }

    #[test]
    fn every_function_has_a_name_of_its_own_and_reads_topics_of_the_catalog() {
        let catalog = lyceum_catalog::catalog();
        let mut names = std::collections::BTreeSet::new();
        for Function { subscription, .. } in functions() {
            assert!(names.insert(subscription.name), "two functions are called {}", subscription.name);
            for topic in subscription.topics() {
                assert!(
                    catalog.family_of_topic(topic).is_some() || catalog.dead_letter_topics().contains(&topic),
                    "{} reads {topic}, which nobody owns",
                    subscription.name
                );
            }
        }
    }

    #[test]
    fn what_reads_topics_of_others_owns_none_and_wants_types_of_the_topics_that_it_reads() {
        let catalog = lyceum_catalog::catalog();
        for Function { subscription, .. } in OTHERS {
            let Reads::Others(wanted) = subscription.reads else {
                panic!("{} reads its own topics: it belongs into REGISTRY", subscription.name)
            };
            for of in wanted {
                for event_type in of.event_types {
                    let known = catalog.event_type(event_type).map(|known| known.topic);
                    assert_eq!(known, Some(of.topic), "{} wants {event_type}", subscription.name);
                }
            }
        }
    }
}
