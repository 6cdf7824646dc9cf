//! A generation that is built beside the live one and swapped in, under random schedules, deaths and stale knowledge.
//!
//! `LYCEUM_SIMULATION_SEEDS=20000` runs more of them; `LYCEUM_SIMULATION_SEED=7` replays one.

use lyceum_simulation::swap::{PLANTED, run};

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a whole number")))
}

#[test]
fn whenever_a_generation_is_swapped_in_the_live_one_has_what_one_worker_alone_makes_of_the_log() {
    let seeds = match variable("LYCEUM_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("LYCEUM_SIMULATION_SEEDS").unwrap_or(600),
    };
    let (mut swaps, mut deaths, mut batches) = (0, 0, 0);
    for seed in seeds.clone() {
        let (happened, violation) = run(seed, None);
        let how = format!("LYCEUM_SIMULATION_SEED={seed} cargo test -p lyceum-simulation --test swap whenever");
        assert_eq!(violation, None, "seed {seed}; replay it with\n{how}");
        swaps += happened.swaps;
        deaths += happened.deaths;
        batches += happened.batches;
    }
    println!("{} seeds: {swaps} swaps, {deaths} deaths, {batches} batches", seeds.end - seeds.start);
    assert!(seeds.end - seeds.start == 1 || (deaths > 0 && batches > seeds.end), "{deaths} deaths, {batches} batches");
}

#[test]
fn a_swap_that_waits_for_nobody_or_begins_too_early_is_found() {
    for planted in PLANTED {
        let found = (0..600).find_map(|seed| Some((seed, run(seed, Some(planted)).1?)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
        println!("{planted:?}: seed {seed}: {}", violation.lines().next().unwrap_or_default());
    }
}
