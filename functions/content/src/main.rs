//! The content function on AWS Lambda: wiring. It counts, so that it has a ledger.

use std::process::ExitCode;

use lyceum_content::Content;
use lyceum_core::process::CountedProcessor;

fn main() -> ExitCode {
    lyceum_lambda::serve(CountedProcessor::<Content>::new)
}
