//! The learning function on AWS Lambda: wiring. It counts, so that it has a ledger.

use std::process::ExitCode;

use lyceum_core::process::CountedProcessor;
use lyceum_learning::Learning;

fn main() -> ExitCode {
    lyceum_lambda::serve(CountedProcessor::<Learning>::new)
}
