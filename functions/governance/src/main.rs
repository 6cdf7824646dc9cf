//! The governance function on AWS Lambda: wiring. It keeps state, so that it has a ledger.

use std::process::ExitCode;

use lyceum_core::process::StatefulProcessor;
use lyceum_governance::Governance;

fn main() -> ExitCode {
    lyceum_lambda::serve(StatefulProcessor::<Governance>::new)
}
