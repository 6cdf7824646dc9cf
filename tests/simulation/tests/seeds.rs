//! Random schedules and faults: nothing is lost, nothing happens twice, order holds.
//!
//! `LYCEUM_SIMULATION_SEEDS=20000` runs more of them; `LYCEUM_SIMULATION_SEED=7` replays one and prints its trace.

use lyceum_simulation::fault::Fault;
use lyceum_simulation::run::Order;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a whole number")))
}

fn how_to_replay(seed: u64) -> String {
    format!("LYCEUM_SIMULATION_SEED={seed} cargo test -p lyceum-simulation --test seeds -- --nocapture")
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
    for seed in 0..variable("LYCEUM_SIMULATION_SEEDS").unwrap_or(1_000) {
        let outcome = Order::of_seed(seed).run();
        if let Some(violation) = outcome.violation {
            panic!("seed {seed}: {violation}\nreplay it with\n{}", how_to_replay(seed));
        }
        struck.iter_mut().zip(outcome.struck).for_each(|(all, of_seed)| *all += of_seed);
    }
    println!("{:?}", Fault::ALL.iter().zip(struck).collect::<Vec<_>>());
}
