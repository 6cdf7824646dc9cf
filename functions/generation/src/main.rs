//! The generation function on AWS Lambda: wiring. It keeps state, so that it has a ledger.

use std::process::ExitCode;

use lyceum_core::process::StatefulProcessor;
use lyceum_generation::Generations;

fn main() -> ExitCode {
    lyceum_lambda::serve(StatefulProcessor::<Generations>::new)
}
