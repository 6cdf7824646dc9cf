//! The distribution function on AWS Lambda: wiring. It keeps state, so that it has a ledger.

use std::process::ExitCode;

use lyceum_core::process::StatefulProcessor;
use lyceum_distribution::Distributions;

fn main() -> ExitCode {
    lyceum_lambda::serve(StatefulProcessor::<Distributions>::new)
}
