//! World B: counters, the model's log made real.

use std::sync::Arc;

use lyceum_core::catalog::Catalog;
use lyceum_core::family::Family;

use crate::check::Violation;
use crate::defect::Defect;
use crate::fault::Plan;
use crate::random::Random;
use crate::run::{Order, at_rest};
use crate::schedule::play;
use crate::stage::Stage;
use crate::subject::{Of, Subject};

pub mod family;
mod log;
mod oracle;

fn catalog<const HOME: bool>() -> Catalog {
    Catalog::new(vec![family::Counters::<HOME>::SPEC])
}

fn subject<const HOME: bool>() -> Arc<dyn Subject> {
    Arc::new(Of::<family::Counters<HOME>>::new(Arc::new(catalog::<HOME>())))
}

/// One run; where attempts are to be spent, of [`World::Spent`](crate::run::World::Spent).
pub(crate) fn run(order: &Order, is_spent: bool) -> (Arc<Stage>, Result<(), Violation>) {
    let mut sends = Random::new(order.seed, 1);
    let mut schedule = Random::new(order.seed, 2);
    let plan = Plan::draw(&mut schedule);
    let at_home = is_spent || !order.defect.is_some_and(Defect::is_of_keys_apart) && sends.one_in(2);
    let subject = if at_home { subject::<true>() } else { subject::<false>() };
    let mut stage = Stage::new(vec![subject], schedule, plan, order.keep_trace, order.defect);
    stage.one_key_a_commit = sends.one_in(4);
    let stage = Arc::new(stage);
    if is_spent {
        log::fill_to_spend(&stage, &mut sends)
    } else {
        log::fill(&stage, &mut sends)
    }
    stage.create_topic(family::FOLLOWED, 1);
    stage.create_dead_letter_topics();
    family::own_work_fails_by(Some(&stage));
    let workers = sends.between(2, 3);
    let result = play(&stage, workers).and_then(|()| oracle::check(&stage)).and_then(|()| at_rest(&stage));
    family::own_work_fails_by(None);
    (stage, result)
}
