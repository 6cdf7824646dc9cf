//! Random schedules and faults: nothing is lost, nothing happens twice, order holds.
//!
//! `LYCEUM_SIMULATION_SEEDS=20000` runs more of them; `LYCEUM_SIMULATION_SEED=7` replays one and prints its trace.

use lyceum_simulation::fault::Fault;
use lyceum_simulation::run::{Order, World};

/// Beyond the first thousand, seeds that found something once.
const REMEMBERED: [u64; 2] = [1_981, 3_899];

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a whole number")))
}

fn how_to_replay(seed: u64) -> String {
    format!("LYCEUM_SIMULATION_SEED={seed} cargo test -p lyceum-simulation --test seeds -- --nocapture")
}

/// Runs the seeds in their worlds, or replays the one that is asked for; `filter` names this test to whoever replays.
fn every_seed_of(world: impl Fn(u64) -> World, filter: &str) {
    let of_seed = |seed| Order { world: Some(world(seed)), ..Order::of_seed(seed) };
    if let Some(seed) = variable("LYCEUM_SIMULATION_SEED") {
        let outcome = Order { keep_trace: true, ..of_seed(seed) }.run();
        println!("seed {seed}\n{}", outcome.trace.join("\n"));
        assert_eq!(outcome.violation, None, "seed {seed}");
        return;
    }
    for seed in 0..variable("LYCEUM_SIMULATION_SEEDS").unwrap_or(1_000) {
        if let Some(violation) = of_seed(seed).run().violation {
            panic!("seed {seed}: {violation}\nreplay it with\n{} {filter}", how_to_replay(seed));
        }
    }
}

#[test]
fn every_schedule_ends_as_if_each_event_had_happened_once() {
    if let Some(seed) = variable("LYCEUM_SIMULATION_SEED") {
        let outcome = Order { keep_trace: true, ..Order::of_seed(seed) }.run();
        println!("seed {seed}\n{}", outcome.trace.join("\n"));
        assert_eq!(outcome.violation, None, "seed {seed}");
        return;
    }
    let mut struck = [0; Fault::ALL.len()];
    let first = variable("LYCEUM_SIMULATION_SEEDS").unwrap_or(1_000);
    for seed in (0..first).chain(REMEMBERED) {
        let outcome = Order::of_seed(seed).run();
        if let Some(violation) = outcome.violation {
            panic!("seed {seed}: {violation}\nreplay it with\n{}", how_to_replay(seed));
        }
        struck.iter_mut().zip(outcome.struck).for_each(|(all, of_seed)| *all += of_seed);
    }
    println!("{:?}", Fault::ALL.iter().zip(struck).collect::<Vec<_>>());
}

#[test]
fn every_effect_without_aggregates_ends_as_if_each_event_had_happened_once() {
    let world = |seed: u64| match seed % 4 {
        3 => World::Crowded,
        1 => World::Content,
        _ => World::Toys,
    };
    every_seed_of(world, "toys");
}

#[test]
fn the_modules_with_their_reactions_end_as_if_each_event_had_happened_once() {
    every_seed_of(|_| World::Modules, "modules");
}

#[test]
fn the_audit_log_has_every_record_once_and_is_whole() {
    every_seed_of(|_| World::Audit, "audit");
}

#[test]
fn who_spends_an_events_attempts_while_another_applies_it_does_not_end_it_twice() {
    for seed in 0..200 {
        let outcome = Order { world: Some(World::Spent), ..Order::of_seed(seed) }.run();
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn a_seed_makes_the_same_steps_each_time_whether_its_trace_is_kept_or_not() {
    for seed in 0..20 {
        let (once, again) = (Order::of_seed(seed).run(), Order { keep_trace: true, ..Order::of_seed(seed) }.run());
        assert_eq!((once.hash, once.struck), (again.hash, again.struck), "seed {seed}");
        assert!(!again.trace.is_empty());
    }
}

#[test]
fn two_seeds_differ() {
    assert_ne!(Order::of_seed(1).run().hash, Order::of_seed(3).run().hash);
}

#[test]
fn every_fault_strikes_within_a_hundred_seeds() {
    let struck = (0..100).map(|seed| Order::of_seed(seed).run().struck);
    let sum = struck.fold([0; Fault::ALL.len()], |mut all, of_seed| {
        all.iter_mut().zip(of_seed).for_each(|(all, of_seed)| *all += of_seed);
        all
    });
    for (fault, times) in Fault::ALL.iter().zip(sum) {
        assert!(times > 0, "{fault:?} never struck");
    }
}
