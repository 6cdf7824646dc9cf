//! Families and reactions with one rule changed each, to show that the fold and the other checks of this world notice.

use std::marker::PhantomData;
use std::sync::Arc;

use lyceum_core::catalog::{Catalog, FamilySpec};
use lyceum_core::effects::Reaction;
use lyceum_core::family::{Decision, EnvelopeOf, Family, FollowUp, Occurrence, StatefulFamily};
use lyceum_core::formats::Stored;
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::process::{ProcessConfig, Services, StatefulProcessor, Subscriber};
use lyceum_core::record::Record;
use lyceum_core::states::States;
use lyceum_core::subscription::Subscription;
use lyceum_course::Courses;
use lyceum_governance::Governance;
use lyceum_intake_distribution::{Course, INTAKE, Intake, What};
use lyceum_staging_course::{Distributed, STAGING};

use crate::stage::Stage;
use crate::subject::{Fact, Folded, Of, Subject};

/// What a family is made to forget about a state before it decides.
pub(super) trait Rule: Send + Sync + 'static {
    type Of: StatefulFamily;

    fn forget(state: &mut <Self::Of as StatefulFamily>::State, event: &<Self::Of as Family>::Event);
}

/// Nobody remembers that an approval was consumed.
pub(super) struct ConsumedOnce;

impl Rule for ConsumedOnce {
    type Of = Governance;

    fn forget(state: &mut lyceum_governance::state::State, event: &lyceum_governance::events::Event) {
        use lyceum_governance::{events::What, state::State};
        if let (State::Approval(approval), What::Consumed) = (state, &event.what)
            && let Some(own) = &mut approval.own
        {
            own.ended = None;
        }
    }
}

/// Nobody asks how far a course was when it is completed.
pub(super) struct CompletedFromGenerating;

impl Rule for CompletedFromGenerating {
    type Of = Courses;

    fn forget(course: &mut lyceum_course::state::Course, event: &lyceum_course::events::Event) {
        use lyceum_course::{events::What, state::Status};
        if matches!(event.what, What::Completed) {
            course.status = Status::Generating;
        }
    }
}

/// The family without that rule.
struct Without<R>(PhantomData<fn() -> R>);

impl<R: Rule> Family for Without<R> {
    const SPEC: &'static FamilySpec = <R::Of as Family>::SPEC;
    const SUBSCRIPTION: &'static Subscription = <R::Of as Family>::SUBSCRIPTION;
    type Event = <R::Of as Family>::Event;

    fn document(envelope: &EnvelopeOf<'_, Self::Event>, event: &Self::Event, stored: &Stored<'_>) -> StatementDocument {
        R::Of::document(envelope, event, stored)
    }
}

impl<R: Rule> StatefulFamily for Without<R> {
    type State = <R::Of as StatefulFamily>::State;

    fn decide(
        states: &States<'_, Self::State>,
        event: &Self::Event,
        at: &Occurrence,
    ) -> Result<Decision<Self::State>, Refusal> {
        let mut held: Vec<_> = states.iter().map(|(kind, id, state)| (kind, id, state.cloned())).collect();
        held.iter_mut().filter_map(|(_, _, state)| state.as_mut()).for_each(|state| R::forget(state, event));
        R::Of::decide(&States::new(held.iter().map(|(kind, id, state)| (*kind, *id, state.as_ref()))), event, at)
    }
}

/// The family whose workers lack that rule, beside a fold that has it.
pub(super) struct Lacking<R: Rule> {
    whole: Of<R::Of>,
    catalog: Arc<Catalog>,
}

impl<R: Rule> Lacking<R> {
    pub(super) fn new(catalog: &Arc<Catalog>) -> Self {
        Self { whole: Of::new(Arc::clone(catalog)), catalog: Arc::clone(catalog) }
    }
}

impl<R: Rule> Subject for Lacking<R> {
    fn subscription(&self) -> &'static Subscription {
        self.whole.subscription()
    }

    fn processor(&self, _: &Arc<Stage>, _: &str, services: Services, config: ProcessConfig) -> Box<dyn Subscriber> {
        Box::new(StatefulProcessor::<Without<R>>::new(services, Arc::clone(&self.catalog), config))
    }

    fn read(&self, record: &Record) -> Fact {
        self.whole.read(record)
    }

    fn fold(&self, records: &[Record], now_ms: i64) -> Folded {
        self.whole.fold(records, now_ms)
    }
}

/// Staging that tells nobody.
pub(super) struct Silent;

impl Reaction for Silent {
    const SUBSCRIPTION: &'static Subscription = &STAGING;
    type Event = Distributed;

    fn react(_: &Distributed, _: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        Ok(Vec::new())
    }
}

/// An intake that takes a deployment for a completion: what it answers is answered by another deployment, and so on.
pub(super) struct Circling;

impl Reaction for Circling {
    const SUBSCRIPTION: &'static Subscription = &INTAKE;
    type Event = Course;

    fn react(Course { course_id, .. }: &Course, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        Intake::react(&Course { course_id: course_id.clone(), what: What::Completed { title: None } }, at)
    }
}
