//! World A: the families training and survey as they are, compared with a plain fold and with themselves under another
//! schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use lyceum_core::envelope::{letter_id, source_of};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::statements::QueryDocuments;
use lyceum_core::record::{NewRecord, Position, Record};
use lyceum_survey::Survey;
use lyceum_training::Training;
use uuid::Uuid;

use crate::check::{Check, Violation, fail};
use crate::defect::Defect;
use crate::executor::answer;
use crate::fault::{Fault, Plan};
use crate::random::Random;
use crate::run::{Order, at_rest};
use crate::schedule::play;
use crate::stage::Stage;
use crate::subject::{Fact, Folded, Of, Subject};

mod apart;
mod log;
mod mutant_family;

/// One run, and a second one of the same log under another schedule.
pub(crate) fn run(order: &Order) -> (Arc<Stage>, Result<(), Violation>) {
    let mut sends = Random::new(order.seed, 1);
    let mut schedule = Random::new(order.seed, 2);
    let plan = Plan::draw(&mut schedule);
    let mut stage = Stage::new(subjects(order.defect), schedule, plan, order.keep_trace, order.defect);
    stage.one_key_a_commit = sends.one_in(4);
    let stage = Arc::new(stage);
    log::fill(&stage, &mut sends);
    stage.create_dead_letter_topics();
    let workers = sends.between(2, 4);
    let result = play(&stage, workers).and_then(|()| check_fold(&stage)).and_then(|()| at_rest(&stage));
    let result = result.and_then(|()| if in_order(&stage) { check_again(order, &stage, workers) } else { Ok(()) });
    (stage, result)
}

fn subjects(defect: Option<Defect>) -> Vec<Arc<dyn Subject>> {
    let catalog = Arc::new(lyceum_catalog::catalog());
    if defect.is_some_and(Defect::is_of_keys_apart) {
        let training = Of::<apart::Apart<Training>>::new(Arc::clone(&catalog));
        return vec![Arc::new(training), Arc::new(Of::<apart::Apart<Survey>>::new(catalog))];
    }
    let training: Arc<dyn Subject> = match defect {
        Some(Defect::BreachesCounted) => {
            Arc::new(Of::<mutant_family::MutantFamily<{ mutant_family::BREACHES }>>::new(Arc::clone(&catalog)))
        }
        Some(Defect::PlaceholderPublished) => {
            Arc::new(Of::<mutant_family::MutantFamily<{ mutant_family::PLACEHOLDER }>>::new(Arc::clone(&catalog)))
        }
        Some(Defect::CapacityRejects) => {
            Arc::new(Of::<mutant_family::MutantFamily<{ mutant_family::CAPACITY }>>::new(Arc::clone(&catalog)))
        }
        _ => Arc::new(Of::<Training>::new(Arc::clone(&catalog))),
    };
    vec![training, Arc::new(Of::<Survey>::new(catalog))]
}

/// Of what the platform gave up, no order is promised.
fn in_order(stage: &Stage) -> bool {
    stage.state().given_up.is_empty()
}

/// Everything that a run leaves behind.
fn left_behind(stage: &Stage) -> Folded {
    let document = |of: lyceum_core::ports::statements::StoredStatement| {
        let of = of.document;
        ((of.tenant.to_string(), of.id), (of.raw, of.source, of.stored_ms))
    };
    // What others keep and refuse on these families' topics is no part of the fold.
    let owners = || stage.subjects.iter().map(|of| of.subscription()).filter(|of| of.family().is_some());
    let is_owners = |kind: &str| owners().any(|of| of.kinds().contains(&kind));
    let states = stage.ledger.aggregates().into_iter().filter(|(id, _)| is_owners(&id.kind));
    let state = stage.state();
    let letters = state.letters.iter().filter(|(_, of)| owners().any(|owner| owner.name == of.letter.family));
    Folded {
        states: states.filter_map(|(id, of)| Some((id, of.content.state?))).collect(),
        documents: stage.statements.documents().into_iter().map(document).collect(),
        letters: letters.map(|(id, of)| (*id, of.letter.kind)).collect(),
    }
}

/// The final log of each family: topic by topic, each partition in its order.
fn records(stage: &Stage, subject: &dyn Subject) -> Vec<Record> {
    let partitions = stage.partitions(subject).into_iter();
    partitions.flat_map(|(partition, range, _)| stage.records(&partition, range.start, usize::MAX)).collect()
}

/// States, documents and letters of the families are those of a plain fold.
pub(crate) fn check_fold(stage: &Stage) -> Result<(), Violation> {
    let ordered = in_order(stage);
    let mut expected = Folded::default();
    for subject in &stage.subjects {
        let mut records = records(stage, &**subject);
        if !ordered {
            // Then the order is that of the commits; what was never decided comes behind, and what was given up, not at all.
            let name = subject.subscription().name;
            let state = stage.state();
            let of_subject = state.committed.iter().filter(|of| of.id.subscriber == name);
            let committed: Vec<Position> = of_subject.map(|of| of.key.source.clone()).collect();
            drop(state);
            let place = |record: &Record| committed.iter().position(|at| *at == record.position).unwrap_or(usize::MAX);
            records.retain(|record| place(record) < usize::MAX || !stage.is_given_up(&record.position));
            records.sort_by_key(place);
        }
        let mut folded = subject.fold(&records, stage.now_ms());
        if !ordered {
            records.iter().for_each(|record| forget_unpublished(stage, record, &mut folded));
        }
        expected.states.extend(folded.states);
        expected.documents.extend(folded.documents);
        expected.letters.extend(folded.letters);
    }
    let found = left_behind(stage);
    compare(Check::Fold, &expected, &found)?;
    let surplus = found.letters.iter().find(|(id, _)| !expected.letters.contains_key(*id));
    if let (Some((id, kind)), true) = (surplus, ordered) {
        return fail(Check::Fold, format!("letter {id} ({}) was not to be", kind.name()));
    }
    let lost = expected.letters.iter().find(|(id, kind)| found.letters.get(*id) != Some(*kind));
    match lost {
        Some((id, kind)) => fail(Check::Fold, format!("letter {id} ({}) is missing", kind.name())),
        None => Ok(()),
    }
}

/// What the platform gave up may have been decided, and nothing of it have been published. Where its replay is decided
/// before a duplicate's letter is out, the replay's letter speaks for both.
fn forget_unpublished(stage: &Stage, record: &Record, folded: &mut Folded) {
    let Fact::Event(fact) = stage.fact(record) else { return };
    let given_up = stage.is_given_up(&record.position);
    let replayed = stage.current_key(&fact).is_some_and(|key| key.epoch > fact.epoch);
    let (source, count) = source_of(record);
    let letter = letter_id(&source, count);
    if (given_up || replayed) && !stage.state().letters.contains_key(&letter) {
        folded.letters.remove(&letter);
    }
    let id = (fact.key.tenant.to_string(), fact.event_id);
    let is_stored = answer(stage.statements.get(&id.0, id.1)).is_ok_and(|found| found.is_some());
    if given_up && !is_stored && folded.documents.get(&id).is_some_and(|(_, source, _)| *source == record.position) {
        folded.documents.remove(&id);
    }
}

/// States and documents are the same; the first difference is reported.
fn compare(check: Check, expected: &Folded, found: &Folded) -> Result<(), Violation> {
    if let Some(difference) = difference(&expected.states, &found.states) {
        return fail(check, format!("states differ: {difference}"));
    }
    match difference(&expected.documents, &found.documents) {
        Some(difference) => fail(check, format!("documents differ: {difference}")),
        None => Ok(()),
    }
}

fn difference<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) -> Option<String> {
    let differs = |key: &&K| expected.get(key) != found.get(key);
    let key = expected.keys().chain(found.keys()).find(differs)?;
    Some(format!("{key:?} is {:?} and was to be {:?}", found.get(key), expected.get(key)))
}

/// The same log, all of it there from the beginning, under another schedule.
fn check_again(order: &Order, first: &Arc<Stage>, workers: usize) -> Result<(), Violation> {
    let mut schedule = Random::new(order.seed, 3);
    let mut plan = Plan::draw(&mut schedule);
    [Fault::Replay, Fault::SentTwice, Fault::GivenUp].into_iter().for_each(|fault| plan.forbid(fault));
    let mut stage = Stage::new(subjects(order.defect), schedule, plan, order.keep_trace, order.defect);
    stage.one_key_a_commit = first.one_key_a_commit;
    let stage = Arc::new(stage);
    for subject in &first.subjects {
        for topic in subject.subscription().topics() {
            let partitions = first.partitions(&**subject).iter().filter(|((name, _), ..)| **name == *topic).count();
            stage.create_topic(topic, partitions as i32);
        }
        for record in records(first, &**subject) {
            let Record { position, timestamp_ms, key, value, headers } = record;
            let partition = Some(position.partition);
            let copy = NewRecord { partition, key, value, headers, timestamp_ms: Some(timestamp_ms) };
            stage.append(&position.topic, copy);
        }
    }
    stage.create_dead_letter_topics();
    first.tell("the same log under another schedule");
    let result = play(&stage, workers).and_then(|()| at_rest(&stage));
    let hash = stage.state().trace.hash();
    stage.state().trace.lines().iter().for_each(|line| first.state().trace.keep(line));
    first.tell(format!("ended with {hash:016x}"));
    result?;
    let (expected, found) = (left_behind(first), left_behind(&stage));
    compare(Check::Interleaving, &expected, &found)?;
    let differs = |(id, kind): &(&Uuid, &DeadLetterKind)| found.letters.get(*id) != Some(*kind) && !replayed(first, id);
    match expected.letters.iter().find(differs) {
        Some((id, kind)) => fail(Check::Interleaving, format!("letter {id} ({}) is missing", kind.name())),
        None => Ok(()),
    }
}

/// Whether a later epoch decided anew: with the replay in the log from the beginning, the earlier letter says nothing.
fn replayed(stage: &Stage, id: &Uuid) -> bool {
    let Some(letter) = stage.state().letters.get(id).map(|of| of.letter.clone()) else { return false };
    let Some(Fact::Event(fact)) = stage.fact_at(&letter.source) else { return false };
    stage.current_key(&fact).is_some_and(|key| key.epoch > letter.replay_count)
}
