//! Programs: this one, started again as another part of itself, and those of the machine. A test binary can be a keeper and
//! the DynamoDB server, so that nothing has to be built or found for a test to start what it needs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

/// The first argument of a binary that is to be this program.
const MARK: &str = "lyceum-services";

static TAKES_OVER: AtomicBool = AtomicBool::new(false);

/// Whether this process was started by [`again`]. From now on it may start itself.
pub(crate) fn is_marked(argument: Option<&OsStr>) -> bool {
    TAKES_OVER.store(true, Ordering::Relaxed);
    argument.is_some_and(|argument| argument == MARK)
}

/// Starts this binary again; refused where its main function does not look for the mark.
pub(crate) fn again() -> Result<Command> {
    if !TAKES_OVER.load(Ordering::Relaxed) {
        bail!("services are started by a test binary whose tests stand in a lyceum_services::Suite (harness = false)");
    }
    // The link still works when the file was replaced by a build in the meantime. By number, since the one that reads it
    // may be a program in between.
    let link = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let program = if link.exists() { link } else { std::env::current_exe().unwrap_or(link) };
    let mut command = Command::new(program);
    command.arg(MARK);
    Ok(command)
}

/// Where a program stands in the path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs to the end; what it said, or, where it fails, the last lines of that as the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    bail!("{program} ended with {}: {}", output.status, last_lines(&said, 8))
}

/// The last lines of a log that say something, without a stack's frames.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let says = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("at ");
    let lines: Vec<&str> = text.lines().filter(says).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_log_are_its_lines_without_a_stacks_frames() {
        let log = "first\n\nFATAL it broke\n\tat some.Class.method(Class.java:1)\nlast\n";
        assert_eq!(last_lines(log, 2), "FATAL it broke\nlast");
    }
}
