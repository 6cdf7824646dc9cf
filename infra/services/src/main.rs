//! `lyceum-services up|down|status`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lyceum_services::main()
}
