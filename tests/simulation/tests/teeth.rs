//! Every defect that can be planted is found by some seed: the simulation would notice if the protocol lost a sentence.
//!
//! `LYCEUM_SIMULATION_DEFECT=14c` looks for those alone whose name begins so.

use std::thread;

use lyceum_simulation::defect::{DEFECTS, Defect};
use lyceum_simulation::run::{Order, Outcome};

/// Within so many seeds each is found.
const SEEDS: u64 = 6_000;
/// And those of the families of the release within the seeds that every run of the tests has.
const SEEDS_OF_A_RUN: u64 = 1_000;

fn planted(defect: Defect, seed: u64) -> Order {
    Order { defect: Some(defect), ..Order::of_seed(seed) }
}

#[test]
fn every_planted_defect_is_found() {
    let mut missed = Vec::new();
    let wanted = std::env::var("LYCEUM_SIMULATION_DEFECT").unwrap_or_default();
    let named: Vec<_> = DEFECTS.iter().filter(|(name, _)| name.starts_with(&wanted)).collect();
    assert!(!named.is_empty(), "no defect's name begins with {wanted:?}");
    let found: Vec<_> = thread::scope(|scope| {
        let search = |defect: Defect| {
            let is_of_a_run = defect.is_of_content() || defect.is_of_the_modules();
            let seeds = if is_of_a_run { SEEDS_OF_A_RUN } else { SEEDS };
            move || (0..seeds).find_map(|seed| Some((seed, planted(defect, seed).run().violation?)))
        };
        let searches: Vec<_> = named.iter().map(|(_, defect)| scope.spawn(search(*defect))).collect();
        searches.into_iter().map(|search| search.join().expect("a search ends")).collect()
    });
    for ((name, _), found) in named.into_iter().zip(found) {
        match found {
            Some((seed, violation)) => println!("| {name} | {:?} | {} |", violation.check, seed + 1),
            None => missed.push(*name),
        }
    }
    assert!(
        missed.is_empty(),
        "not found within {SEEDS} seeds, or {SEEDS_OF_A_RUN} of the families of the release: {missed:?}"
    );
}

#[test]
fn a_found_defect_is_found_again_by_its_seed_with_the_same_steps() {
    let (_, defect) = DEFECTS[0];
    let order = (0..SEEDS)
        .map(|seed| planted(defect, seed))
        .find(|order| order.run().violation.is_some())
        .expect("some seed finds it");
    let (Outcome { violation, hash, .. }, again) = (order.run(), order.run());
    assert!(violation.is_some());
    assert_eq!((violation, hash), (again.violation, again.hash));
}
