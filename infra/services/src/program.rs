//! This program, started again as another part of itself: the keeper, a guard, the DynamoDB server. A test binary can
//! be all of them, so that nothing has to be built or found for a test to start what it needs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

use crate::cli;

/// The first argument of a binary that is to be this program.
const MARK: &str = "lyceum-services";

static TAKES_OVER: AtomicBool = AtomicBool::new(false);

/// Becomes the program that the arguments name, where this process was started as one; else returns. Called first in
/// `main`, before any argument is read.
pub fn take_over() {
    TAKES_OVER.store(true, Ordering::Relaxed);
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if arguments.next().is_some_and(|argument| argument == MARK) {
        std::process::exit(cli::run(std::iter::once(name).chain(arguments)));
    }
}

/// Refuses where the main function does not begin with [`take_over`].
pub(crate) fn must_take_over() -> Result<()> {
    if TAKES_OVER.load(Ordering::Relaxed) {
        return Ok(());
    }
    bail!("services are started by a test binary whose tests stand in a lyceum_services::Suite (harness = false)")
}

/// Program and arguments that start this binary again.
pub(crate) fn again() -> (PathBuf, Vec<OsString>) {
    // The link still works when the file was replaced by a build in the meantime. By number, since the one that reads it
    // may be a program in between.
    let link = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let program = if link.exists() { link } else { std::env::current_exe().unwrap_or(link) };
    (program, vec![MARK.into()])
}
