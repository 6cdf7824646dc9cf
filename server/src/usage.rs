//! What this process takes of its machine, or of the part of one that its container may have.

use std::time::Duration;

use parking_lot::Mutex;
use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What it takes at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The time of processors since its start.
    pub cpu: Duration,
    /// What is in memory of it, pages of its files included.
    pub memory_bytes: u64,
    /// What it may have: its container's limit, else all that there is.
    pub memory_limit_bytes: u64,
}

impl Usage {
    /// Percent of the memory that it may have.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit_bytes == 0 {
            0.0
        } else {
            self.memory_bytes as f64 * 100.0 / self.memory_limit_bytes as f64
        }
    }

    /// Percent of so many processors since an earlier moment; `None` where no time passed.
    pub fn cpu_percent(&self, earlier: &Self, passed: Duration, processors: usize) -> Option<f64> {
        let could = passed.as_secs_f64() * processors as f64;
        let used = self.cpu.saturating_sub(earlier.cpu).as_secs_f64();
        (could > 0.0).then(|| (used * 100.0 / could).min(100.0))
    }
}

/// Reads it.
#[derive(Debug)]
pub struct ThisProcess {
    /// `None` where the system does not tell processes apart.
    id: Option<Pid>,
    system: Mutex<System>,
}

impl Default for ThisProcess {
    fn default() -> Self {
        Self { id: sysinfo::get_current_pid().ok(), system: Mutex::new(System::new()) }
    }
}

impl ThisProcess {
    /// `None` where the system does not say.
    pub fn usage(&self) -> Option<Usage> {
        let id = self.id?;
        let mut system = self.system.lock();
        let asked = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), false, asked);
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory).min(system.total_memory());
        let process = system.process(id)?;
        Some(Usage {
            cpu: Duration::from_millis(process.accumulated_cpu_time()),
            memory_bytes: process.memory(),
            memory_limit_bytes: limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_takes_and_what_it_may_have() {
        let process = ThisProcess::default();
        let before = process.usage().expect("this system tells");
        let held = vec![1_u8; 32 << 20];
        let after = process.usage().expect("this system tells");
        assert!(after.memory_bytes >= before.memory_bytes + (16 << 20), "{before:?} {after:?} with {}", held.len());
        assert!(after.cpu >= before.cpu && after.memory_limit_bytes > after.memory_bytes, "{after:?}");
        assert!((0.0..100.0).contains(&after.memory_percent()), "{after:?}");
    }

    #[test]
    fn the_part_of_the_processors_is_that_of_the_time_that_passed() {
        let at = |seconds| Usage { cpu: Duration::from_secs(seconds), memory_bytes: 1, memory_limit_bytes: 0 };
        assert_eq!(at(16).cpu_percent(&at(10), Duration::from_secs(10), 2), Some(30.0));
        assert_eq!(at(99).cpu_percent(&at(10), Duration::from_secs(10), 2), Some(100.0));
        assert_eq!(at(16).cpu_percent(&at(10), Duration::ZERO, 2), None);
        assert_eq!(at(16).memory_percent().to_bits(), 0.0_f64.to_bits());
    }
}
