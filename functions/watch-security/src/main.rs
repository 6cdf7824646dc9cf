//! The function of the subscription watch-security on AWS Lambda: wiring. It keeps state, so that it has a ledger.

use std::process::ExitCode;

use lyceum_core::process::WatchingProcessor;
use lyceum_watch_security::SecurityWatch;

fn main() -> ExitCode {
    lyceum_lambda::serve(WatchingProcessor::<SecurityWatch>::new)
}
