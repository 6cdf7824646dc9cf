//! `lyceum`: see `lyceum --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lyceum::cli::main()
}
