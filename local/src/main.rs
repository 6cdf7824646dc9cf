//! `lyceum`: see `lyceum --help`.

use std::process::ExitCode;

/// The system's own keeps what is freed, in an arena for each of many threads: under the soak of docs/reliability.md it took three
/// times as much memory.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    lyceum::cli::main()
}
