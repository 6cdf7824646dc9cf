//! How many events became what.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// How many events became what since the publisher began; `waiting` and `spill_bytes` are of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged by the stream; those that were resent among them.
    pub sent: u64,
    /// Written to the spill file, durably.
    pub spilled: u64,
    /// Acknowledged by the stream from the spill file.
    pub resent: u64,
    /// Lost, since neither memory nor the spill file had room.
    pub dropped: u64,
    /// Not sent, since it was wrong, or the stream will never take it.
    pub refused: u64,
    /// Sent though it was wrong, since the check only warns.
    pub warned: u64,
    /// Written to the log alone, since no stream is configured.
    pub logged: u64,
    /// Calls of the stream that failed.
    pub failures: u64,
    /// Neither sent, refused nor dropped so far: in memory, or in the spill file.
    pub waiting: u64,
    /// The size of the spill file.
    pub spill_bytes: u64,
}

impl Counts {
    /// As Prometheus reads it, without an end mark, so that a program adds it to its own.
    pub fn prometheus(&self) -> String {
        let mut text = String::from(
            "# HELP lyceum_publisher_events_total Events by what became of them.\n# TYPE lyceum_publisher_events_total counter\n",
        );
        for (outcome, count) in [
            ("sent", self.sent),
            ("spilled", self.spilled),
            ("resent", self.resent),
            ("dropped", self.dropped),
            ("refused", self.refused),
            ("warned", self.warned),
            ("logged", self.logged),
        ] {
            // Writing to a text never fails.
            let _ = writeln!(text, "lyceum_publisher_events_total{{outcome=\"{outcome}\"}} {count}");
        }
        for (name, kind, help, value) in [
            ("failures_total", "counter", "Calls of the stream that failed.", self.failures),
            ("waiting", "gauge", "Events in memory or in the spill file.", self.waiting),
            ("spill_bytes", "gauge", "The size of the spill file.", self.spill_bytes),
        ] {
            let name = format!("lyceum_publisher_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }
}

/// The counters themselves.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) spilled: AtomicU64,
    pub(crate) resent: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) warned: AtomicU64,
    pub(crate) logged: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) spill_bytes: AtomicU64,
    /// Of those that wait, the ones in the spill file.
    pub(crate) on_disk: AtomicU64,
}

impl Counters {
    /// All of them, given how many events are in memory alone.
    pub(crate) fn read(&self, in_memory: u64) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            sent: of(&self.sent),
            spilled: of(&self.spilled),
            resent: of(&self.resent),
            dropped: of(&self.dropped),
            refused: of(&self.refused),
            warned: of(&self.warned),
            logged: of(&self.logged),
            failures: of(&self.failures),
            waiting: in_memory + of(&self.on_disk),
            spill_bytes: of(&self.spill_bytes),
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_text_for_prometheus_under_a_name_of_its_own() {
        let counts = Counts {
            sent: 11,
            spilled: 12,
            resent: 13,
            dropped: 14,
            refused: 15,
            warned: 16,
            logged: 17,
            failures: 18,
            waiting: 19,
            spill_bytes: 20,
        };
        let text = counts.prometheus();
        for line in [
            "lyceum_publisher_events_total{outcome=\"sent\"} 11",
            "lyceum_publisher_events_total{outcome=\"logged\"} 17",
            "lyceum_publisher_failures_total 18",
            "lyceum_publisher_waiting 19",
            "lyceum_publisher_spill_bytes 20",
        ] {
            assert!(text.lines().any(|of| of == line), "{line}\n{text}");
        }
        let numbers = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit(' ').next().unwrap());
        assert_eq!(numbers.collect::<Vec<_>>(), ["11", "12", "13", "14", "15", "16", "17", "18", "19", "20"]);
    }
}
