//! The engagement function on AWS Lambda: wiring. It counts, so that it has a ledger.

use std::process::ExitCode;

use lyceum_core::process::CountedProcessor;
use lyceum_engagement::Engagement;

fn main() -> ExitCode {
    lyceum_lambda::serve(CountedProcessor::<Engagement>::new)
}
