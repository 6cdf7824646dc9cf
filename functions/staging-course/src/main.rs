//! The function of the subscription staging-course on AWS Lambda: wiring. Its keys are in a ledger.

use std::process::ExitCode;

use lyceum_core::process::ReactionProcessor;
use lyceum_staging_course::Staging;

fn main() -> ExitCode {
    lyceum_lambda::serve(ReactionProcessor::<Staging>::new)
}
