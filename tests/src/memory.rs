//! What a process takes of the machine's memory, as Linux counts it.

use std::path::PathBuf;

use crate::workplace::Running;

/// The memory of a process, from now on.
#[derive(Debug)]
pub struct Memory {
    status: PathBuf,
    before_mb: u64,
}

impl Memory {
    /// Counts the peak anew.
    pub fn of(running: &Running) -> Self {
        let process = PathBuf::from(format!("/proc/{}", running.process()));
        // Linux: 5 resets the peak.
        std::fs::write(process.join("clear_refs"), "5").expect("the peak can be reset");
        let mut memory = Self { status: process.join("status"), before_mb: 0 };
        memory.before_mb = memory.megabytes("VmRSS:");
        memory
    }

    /// The most that a process ever took, files that are in memory included.
    pub fn peak_mb_of(running: &Running) -> u64 {
        let status = PathBuf::from(format!("/proc/{}/status", running.process()));
        Self { status, before_mb: 0 }.peak_mb()
    }

    /// The most that it took since then, files that are in memory included.
    pub fn peak_mb(&self) -> u64 {
        self.megabytes("VmHWM:")
    }

    /// What it has now of its own; pages of files, which the system takes back whenever it needs them, not included.
    pub fn own_mb(&self) -> u64 {
        self.megabytes("RssAnon:")
    }

    fn megabytes(&self, of: &str) -> u64 {
        let status = std::fs::read_to_string(&self.status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() / 1024
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "memory {} MB before, {} MB at the peak", self.before_mb, self.peak_mb())
    }
}
