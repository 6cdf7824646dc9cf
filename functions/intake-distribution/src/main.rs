//! The function of the subscription intake-distribution on AWS Lambda: wiring. Its keys are in a ledger.

use std::process::ExitCode;

use lyceum_core::process::ReactionProcessor;
use lyceum_intake_distribution::Intake;

fn main() -> ExitCode {
    lyceum_lambda::serve(ReactionProcessor::<Intake>::new)
}
