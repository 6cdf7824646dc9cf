//! What happened in a run: a hash of it always, its lines where somebody reads them.

/// The steps of a run.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    steps: usize,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// An empty one; `keep` keeps its lines.
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, lines: keep.then(Vec::new) }
    }

    /// One more step.
    pub(crate) fn tell(&mut self, line: String) {
        // FNV-1a: the same on every machine, which the standard library's hashes do not promise.
        let mixed = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.hash = line.as_bytes().iter().chain(b"\n").fold(self.hash, mixed);
        self.steps += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:5} {line}", self.steps));
        }
    }

    /// Keeps a line of another trace, where lines are kept at all.
    pub(crate) fn keep(&mut self, line: &str) {
        if let Some(lines) = &mut self.lines {
            lines.push(line.to_owned());
        }
    }

    /// Two runs with the same steps have the same hash.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, where they were kept.
    pub(crate) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
