//! How much of a process's time and room a dependency may take. Pure.

use std::time::Duration;

use super::{BreakerLimits, GuardLimits};
use lyceum_core::environment::{Reading, Table, Variable, milliseconds, whole};

const CIRCUIT_FAILURES: Variable<u32> = whole(
    "CIRCUIT_FAILURES",
    5,
    1..=1_000,
    "after so many failures in a row no call is made to a service that is unavailable",
);
const CIRCUIT_OPEN: Variable<Duration> =
    milliseconds("CIRCUIT_OPEN_MS", 5_000, 1..=600_000, "for how long; then one call tries it again");
const SERVICE_CALLS_AT_ONCE: Variable<usize> =
    whole("SERVICE_CALLS_AT_ONCE", 64, 1..=10_000, "calls to each service that may be under way at once");
const SERVICE_TIMEOUT: Variable<Duration> = milliseconds(
    "SERVICE_TIMEOUT_MS",
    40_000,
    100..=900_000,
    "how long a call to a service may take, its repeated requests included; longer than `ELASTICSEARCH_TIMEOUT` and `KAFKA_TIMEOUT_MS`, or it ends before their errors are reported",
);

/// Of every dependency that is a service; what one of them needs beside is a variable of its own.
pub const GUARD_VARIABLES: Table = &[&CIRCUIT_FAILURES, &CIRCUIT_OPEN, &SERVICE_CALLS_AT_ONCE, &SERVICE_TIMEOUT];

impl GuardLimits {
    /// Reads [`GUARD_VARIABLES`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        Self {
            call_time: reading.read(&SERVICE_TIMEOUT),
            calls_at_once: reading.read(&SERVICE_CALLS_AT_ONCE),
            breaker: BreakerLimits {
                failures: reading.read(&CIRCUIT_FAILURES),
                open_for: reading.read(&CIRCUIT_OPEN),
                ..BreakerLimits::default()
            },
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lyceum_core::environment::WrongEnvironment;

    fn read(variables: &[(&str, &str)]) -> Result<GuardLimits, WrongEnvironment> {
        lyceum_testing::environment::read(variables, GuardLimits::read)
    }

    #[test]
    fn an_empty_environment_has_the_defaults_of_the_table() {
        assert_eq!(read(&[]).unwrap(), GuardLimits::default());
    }

    #[test]
    fn each_limit_is_told_by_its_variable() {
        let limits = read(&[
            ("CIRCUIT_FAILURES", "9"),
            ("CIRCUIT_OPEN_MS", "250"),
            ("SERVICE_CALLS_AT_ONCE", "2"),
            ("SERVICE_TIMEOUT_MS", "60000"),
        ]);
        let breaker = BreakerLimits { failures: 9, open_for: Duration::from_millis(250), ..BreakerLimits::default() };
        let call_time = Duration::from_secs(60);
        assert_eq!(limits.unwrap(), GuardLimits { call_time, calls_at_once: 2, breaker, ..GuardLimits::default() });
    }

    #[test]
    fn every_wrong_value_is_reported_with_its_variable() {
        let none = GUARD_VARIABLES.iter().map(|of| (of.row().name, "0")).collect::<Vec<_>>();
        let wrong = read(&none).unwrap_err().to_string();
        for name in GUARD_VARIABLES.iter().map(|of| of.row().name) {
            assert!(wrong.contains(name), "{name}: {wrong}");
        }
    }
}
