//! The history of outcomes in the data folder: a file of lines, to which each saving adds those buckets that changed.
//!
//! A line that a crash cut off is left out; the last line of a bucket counts. The file is written anew, beside itself and then
//! renamed, at the start and whenever most of its lines are superseded, so that its size is bounded by what is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lyceum_server::live::history::{BucketKey, Buckets, KeepHistory, Width, drop_what_is_old};
use lyceum_server::live::{Counts, OUTCOMES};
use serde::{Deserialize, Serialize};

/// The file's name in the data folder.
pub(super) const FILE: &str = "history.jsonl";
const VERSION: u32 = 1;
/// So many superseded lines are a reason to write the file anew.
const SUPERSEDED_LINES: usize = 20_000;
/// Nothing that this program writes is larger.
const LIMIT_BYTES: u64 = 256 << 20;

/// The first line: what the numbers of all others count.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    outcomes: Vec<String>,
}

/// Any other line: tenant, width, where the bucket begins in units of its width, and the numbers.
#[derive(Serialize, Deserialize)]
struct Line(Option<String>, String, i64, Vec<u64>);

/// Keeps the history in a file.
pub(super) struct FileHistory {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Lines that were appended since the file was written whole.
    appended: usize,
    /// Whether the file is as this program writes it.
    is_whole: bool,
}

impl FileHistory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    /// Replaces the file.
    fn write_whole(&self, buckets: &Buckets) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = BufWriter::new(File::create(&beside)?);
        let outcomes = OUTCOMES.map(str::to_owned).to_vec();
        write_line(&mut file, &Head { version: VERSION, outcomes })?;
        for (key, counts) in buckets {
            write_line(&mut file, &line_of(key, counts))?;
        }
        file.into_inner()?.sync_data()?;
        fs::rename(&beside, &self.path)
    }

    /// Puts what cannot be read aside, so that a person may look at it.
    fn put_aside(&self, why: &str) -> io::Result<()> {
        let aside = self.path.with_extension("unreadable");
        tracing::warn!(
            file = %self.path.display(), kept_as = %aside.display(), why,
            "the history of outcomes cannot be read and begins anew; events, states and statements are elsewhere and whole"
        );
        fs::rename(&self.path, aside)
    }
}

impl KeepHistory for FileHistory {
    fn load(&self, now_ms: i64) -> io::Result<Buckets> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut buckets, unread) = match read_file(&self.path) {
            Ok(Some(read)) => read,
            Ok(None) => (Buckets::new(), 0),
            Err(error) => {
                self.put_aside(&error.to_string())?;
                (Buckets::new(), 0)
            }
        };
        if unread > 0 {
            let file = self.path.display();
            tracing::warn!(%file, unread, "lines of the history of outcomes cannot be read, as after a crash; the others are there");
        }
        drop_what_is_old(&mut buckets, now_ms);
        self.write_whole(&buckets)?;
        *state = State { appended: 0, is_whole: true };
        Ok(buckets)
    }

    fn save(&self, buckets: &Buckets, now_ms: i64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_whole || state.appended > SUPERSEDED_LINES {
            let (mut all, _) = read_file(&self.path).ok().flatten().unwrap_or_default();
            all.extend(buckets.iter().map(|(key, counts)| (key.clone(), *counts)));
            drop_what_is_old(&mut all, now_ms);
            self.write_whole(&all)?;
            *state = State { appended: 0, is_whole: true };
            return Ok(());
        }
        let mut lines = Vec::new();
        for (key, counts) in buckets {
            write_line(&mut lines, &line_of(key, counts))?;
        }
        // After a failure nobody knows where the last line ends.
        state.is_whole = false;
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(&lines)?;
        file.sync_data()?;
        state.is_whole = true;
        state.appended += buckets.len();
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

fn write_line(to: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

fn line_of(key: &BucketKey, counts: &Counts) -> Line {
    let BucketKey { tenant, width, start_ms } = key;
    Line(tenant.clone(), width.name().to_owned(), start_ms / width.ms(), counts.to_vec())
}

/// The buckets of a file, and how many lines could not be read; `None` where there is none.
fn read_file(path: &Path) -> io::Result<Option<(Buckets, usize)>> {
    let size = match fs::metadata(path) {
        Ok(about) => about.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if size > LIMIT_BYTES {
        return Err(io::Error::other(format!("it has {size} bytes, more than this program writes")));
    }
    read(&String::from_utf8_lossy(&fs::read(path)?)).map(Some).map_err(io::Error::other)
}

fn read(text: &str) -> Result<(Buckets, usize), String> {
    let (head, lines) = text.split_once('\n').unwrap_or((text, ""));
    let head: Head = serde_json::from_str(head).map_err(|error| format!("its first line is none of ours: {error}"))?;
    if head.version > VERSION {
        return Err(format!("it is of a newer release: version {}, and this one reads {VERSION}", head.version));
    }
    // Another release may count in another order.
    let columns: Vec<Option<usize>> =
        head.outcomes.iter().map(|name| OUTCOMES.iter().position(|known| known == name)).collect();
    let (mut buckets, mut unread) = (Buckets::new(), 0);
    for line in lines.split_terminator('\n') {
        match read_line(line, &columns) {
            Some((key, counts)) => drop(buckets.insert(key, counts)),
            None => unread += 1,
        }
    }
    Ok((buckets, unread))
}

fn read_line(line: &str, columns: &[Option<usize>]) -> Option<(BucketKey, Counts)> {
    let Line(tenant, width, start, numbers) = serde_json::from_str(line).ok()?;
    let width = Width::from_name(&width)?;
    let start_ms = start.checked_mul(width.ms())?;
    let mut counts = Counts::default();
    for (column, number) in columns.iter().zip(numbers) {
        if let Some(column) = column {
            counts[*column] = number;
        }
    }
    Some((BucketKey { tenant, width, start_ms }, counts))
}

#[cfg(test)]
mod tests {
    use lyceum_server::live::history::MemoryHistory;

    use super::*;

    const NOW_MS: i64 = 1_772_703_000_000;

    fn bucket(tenant: Option<&str>, width: Width, ago: i64, number: u64) -> (BucketKey, Counts) {
        let start_ms = (NOW_MS / width.ms() - ago) * width.ms();
        (BucketKey { tenant: tenant.map(str::to_owned), width, start_ms }, [number, 0, 0, 0, 0, 1])
    }

    /// What every place of a history does.
    fn keeps_what_it_is_given(open: impl Fn() -> Box<dyn KeepHistory>) {
        let history = open();
        assert_eq!(history.load(NOW_MS).unwrap(), Buckets::new());
        let first = Buckets::from([bucket(Some("a\n\"b\""), Width::Minute, 3, 1), bucket(None, Width::Hour, 9_599, 2)]);
        history.save(&first, NOW_MS).unwrap();
        history.save(&first, NOW_MS).unwrap();
        let later =
            Buckets::from([bucket(Some("a\n\"b\""), Width::Minute, 3, 7), bucket(None, Width::Minute, 2_000, 1)]);
        history.save(&later, NOW_MS).unwrap();
        let wanted =
            Buckets::from([bucket(Some("a\n\"b\""), Width::Minute, 3, 7), bucket(None, Width::Hour, 9_599, 2)]);
        assert_eq!(history.load(NOW_MS).unwrap(), wanted);
        let history = if history.is_durable() { open() } else { history };
        assert_eq!(history.load(NOW_MS).unwrap(), wanted, "also after a restart, where it outlives the process");
        assert_eq!(history.load(NOW_MS + 3_600_000).unwrap().len(), 1, "400 days are kept");
    }

    #[test]
    fn both_places_of_a_history_keep_what_they_are_given() {
        let folder = tempfile::tempdir().unwrap();
        keeps_what_it_is_given(|| Box::new(FileHistory::new(folder.path().join(FILE))));
        keeps_what_it_is_given(|| Box::new(MemoryHistory::default()));
    }

    #[test]
    fn a_file_that_was_cut_anywhere_loses_no_whole_line_and_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let history = FileHistory::new(path.clone());
        history.load(NOW_MS).unwrap();
        history.save(&Buckets::from([bucket(Some("acme"), Width::Hour, 1, 5)]), NOW_MS).unwrap();
        history.save(&Buckets::from([bucket(Some("acme"), Width::Hour, 0, 6)]), NOW_MS).unwrap();
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> = (1..=whole.len()).filter(|at| whole[at - 1] == b'\n').collect();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let history = FileHistory::new(path.clone());
            // The last byte of a line is its end, without which it may be whole all the same.
            let lines = ends.iter().filter(|end| **end <= length + 1).count();
            assert_eq!(history.load(NOW_MS).unwrap().len(), lines.saturating_sub(1), "{length} of {}", whole.len());
            history.save(&Buckets::from([bucket(None, Width::Hour, 0, 1)]), NOW_MS).unwrap();
            assert!(
                FileHistory::new(path.clone()).load(NOW_MS).unwrap().contains_key(&bucket(None, Width::Hour, 0, 1).0)
            );
        }
    }

    #[test]
    fn what_is_no_history_is_put_aside_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for garbage in [&b"\xff\xfe\x00"[..], b"{}\n", b"{\"version\": 99, \"outcomes\": []}\n", b"[1]\n[2]\n"] {
            fs::write(&path, garbage).unwrap();
            assert_eq!(FileHistory::new(path.clone()).load(NOW_MS).unwrap(), Buckets::new());
            assert_eq!(fs::read(path.with_extension("unreadable")).unwrap(), garbage);
        }
    }

    #[test]
    fn the_file_does_not_grow_with_every_saving() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let history = FileHistory::new(path.clone());
        history.load(NOW_MS).unwrap();
        let many: Buckets = (0..1_000).map(|ago| bucket(Some("acme"), Width::Hour, ago, 1)).collect();
        for _ in 0..100 {
            history.save(&many, NOW_MS).unwrap();
        }
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < SUPERSEDED_LINES + 3_000, "{lines} lines after 100,000");
    }

    #[test]
    fn numbers_of_another_order_go_to_their_outcome() {
        let text = "{\"version\":1,\"outcomes\":[\"dead_lettered\",\"of another release\",\"applied\"]}\n[null,\"hour\",492417,[4,5,6]]\n";
        let (buckets, unread) = read(text).unwrap();
        assert_eq!((buckets.into_values().next().unwrap(), unread), ([6, 0, 0, 0, 0, 4], 0));
    }
}
