//! Lines below the level of a process that answers invocations: of a sample of them they are written, of the others they may be
//! kept until it is known whether the invocation fails.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use lyceum_core::environment::FunctionLog;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;

tokio::task_local! {
    /// The invocation that the current task is at; several may be under way at once.
    static INVOCATION: Arc<Invocation>;
}

/// Down to which level an invocation's lines are looked at, and of whom: other libraries' would be without end.
const LOWEST: Level = Level::DEBUG;
const OURS: &str = "lyceum";

/// How the invocations of a process log.
#[derive(Clone, Copy, Debug)]
pub struct Invocations(pub(crate) FunctionLog);

/// What one invocation does with lines below the level.
#[derive(Debug)]
pub(crate) struct Invocation {
    is_sampled: bool,
    kept: Mutex<Kept>,
}

/// The latest lines, in no more bytes than are allowed.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    most_bytes: usize,
    dropped: usize,
}

impl Kept {
    fn keep(&mut self, line: &[u8]) {
        self.lines.push_back(line.to_vec());
        self.bytes += line.len();
        while self.bytes > self.most_bytes {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }
}

impl Invocations {
    /// Runs an invocation. `drawn` is a number in `[0, 1)`: below the sample rate all its lines are written. Where it fails, or
    /// panics, the lines that were kept are written, too.
    pub async fn run<T, E>(&self, drawn: f64, invocation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let FunctionLog { sample_rate, buffer_bytes } = self.0;
        let kept = Mutex::new(Kept { most_bytes: buffer_bytes, ..Kept::default() });
        let this = Arc::new(Invocation { is_sampled: drawn < sample_rate, kept });
        let mut unless_well = WrittenAtTheEnd(Some(this.clone()));
        let answer = INVOCATION.scope(this, invocation).await;
        if answer.is_ok() {
            unless_well.0 = None;
        }
        answer
    }
}

/// Writes what was kept of the current invocation now: it fails.
pub fn write_kept() {
    let _ = INVOCATION.try_with(|invocation| invocation.write_kept());
}

/// An invocation whose lines are written unless it ends well.
struct WrittenAtTheEnd(Option<Arc<Invocation>>);

impl Drop for WrittenAtTheEnd {
    fn drop(&mut self) {
        if let Some(invocation) = &self.0 {
            invocation.write_kept();
        }
    }
}

impl Invocation {
    fn write_kept(&self) {
        let (lines, dropped) = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes = 0;
            (std::mem::take(&mut kept.lines), std::mem::take(&mut kept.dropped))
        };
        if dropped > 0 {
            tracing::warn!(lines = dropped, "earlier lines of this invocation had no room in LOG_BUFFER_BYTES");
        }
        let text: Vec<u8> = lines.into_iter().flatten().collect();
        // Where standard error is gone, nobody reads the log.
        let _ = io::stderr().lock().write_all(&text);
    }
}

/// Whether lines of an invocation below the level may be wanted at all.
pub(crate) fn is_wanted(log: &FunctionLog) -> bool {
    log.sample_rate > 0.0 || log.buffer_bytes > 0
}

/// Decides for each line whether it is written, kept, or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Sieve {
    level: Targets,
    keeps: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Written,
    Kept,
    Nothing,
}

impl Sieve {
    pub(crate) fn new(level: Targets, log: &FunctionLog) -> Self {
        Self { level, keeps: log.buffer_bytes > 0 }
    }

    /// The most that it ever lets through.
    pub(crate) fn max_level(&self) -> LevelFilter {
        self.level.iter().map(|(_, level)| level).chain(self.level.default_level()).fold(LOWEST.into(), Ord::max)
    }

    pub(crate) fn lets_through(&self, of: &Metadata<'_>) -> bool {
        self.fate(of) != Fate::Nothing
    }

    fn fate(&self, of: &Metadata<'_>) -> Fate {
        if self.level.would_enable(of.target(), of.level()) {
            return Fate::Written;
        }
        // A span belongs to whatever lines it may have.
        if *of.level() > LOWEST || !of.target().starts_with(OURS) || of.is_span() {
            return Fate::Nothing;
        }
        let of_invocation = |invocation: &Arc<Invocation>| match invocation.is_sampled {
            true => Fate::Written,
            false if self.keeps => Fate::Kept,
            false => Fate::Nothing,
        };
        INVOCATION.try_with(of_invocation).unwrap_or(Fate::Nothing)
    }
}

/// Where a line goes.
pub(crate) enum Way {
    Out(io::Stderr),
    Kept(Arc<Invocation>),
    Nowhere,
}

impl Write for Way {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Out(stderr) => return stderr.write(line),
            Self::Kept(invocation) => invocation.kept.lock().unwrap_or_else(PoisonError::into_inner).keep(line),
            Self::Nowhere => {}
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Self::Out(stderr) = self { stderr.flush() } else { Ok(()) }
    }
}

impl<'a> MakeWriter<'a> for Sieve {
    type Writer = Way;

    fn make_writer(&'a self) -> Way {
        Way::Out(io::stderr())
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Way {
        match self.fate(of) {
            Fate::Written => Way::Out(io::stderr()),
            Fate::Kept => INVOCATION.try_with(|of| Way::Kept(of.clone())).unwrap_or(Way::Nowhere),
            Fate::Nothing => Way::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_kept_in_the_bytes_that_are_allowed() {
        let mut kept = Kept { most_bytes: 10, ..Kept::default() };
        for line in ["1234", "567", "89a", "b"] {
            kept.keep(line.as_bytes());
        }
        assert_eq!(kept.lines, [b"567".to_vec(), b"89a".to_vec(), b"b".to_vec()]);
        assert_eq!((kept.bytes, kept.dropped), (7, 1));
        kept.keep(&[b'x'; 11]);
        assert_eq!((kept.lines.len(), kept.bytes, kept.dropped), (0, 0, 5));
    }

    #[test]
    fn what_is_looked_at_reaches_down_to_debug_or_as_far_as_the_level_does() {
        let max = |level: &str| {
            let log = FunctionLog { sample_rate: 1.0, buffer_bytes: 0 };
            Sieve::new(level.parse().unwrap(), &log).max_level()
        };
        assert_eq!(
            [max("warn"), max("trace"), max("info,hyper=trace")].map(|of| of.to_string()),
            ["debug", "trace", "trace"]
        );
    }
}
