//! Events that wait on disk: appended at the end, read from the front, and forgotten once they are settled.
//!
//! Which events are settled is appended, too, and costs no wait: where the machine ends before that is on disk, they are sent again. Once
//! everything is settled, the file is as at its beginning. What is cut off at the end, by a kill in the middle of a write, was never
//! reported as spilled: it is dropped when the file is opened. What is damaged elsewhere is stepped over.

mod frame;
mod medium;
#[cfg(test)]
pub(crate) mod model;

use std::collections::VecDeque;
use std::io;
use std::path::Path;

pub(crate) use frame::Spilled;
use frame::{ANY_HEAD, Frame, HEAD, Read, next_mark, read, write_event, write_settled};
use lyceum_core::record::NewRecord;
pub use medium::SpillError;
pub(crate) use medium::{FileMedium, Medium, beside, options};

/// So much is read at once.
const CHUNK_BYTES: usize = 1 << 20;
const HEAD_BYTES: u64 = HEAD.len() as u64;

/// The events that wait on disk.
pub(crate) struct Spill {
    medium: Box<dyn Medium>,
    most_bytes: u64,
    /// Behind the last whole frame.
    end: u64,
    /// What was read is before it.
    cursor: u64,
    /// The number of the last event.
    last: u64,
    /// Events that are not settled.
    count: u64,
    /// Of events that were read and are not settled: number, and where the next frame begins.
    read: VecDeque<(u64, u64)>,
    /// What is before it is settled.
    settled_to: u64,
}

/// What opening found beside whole frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bytes of a frame whose end is missing.
    pub(crate) cut_bytes: u64,
    /// Bytes between whole frames that are none.
    pub(crate) damaged_bytes: u64,
}

impl Spill {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path, most_bytes: u64) -> Result<(Self, Found), SpillError> {
        Self::on(Box::new(FileMedium::open(path)?), path, most_bytes)
    }

    /// The same on any medium; `path` is what errors call it.
    pub(crate) fn on(mut medium: Box<dyn Medium>, path: &Path, most_bytes: u64) -> Result<(Self, Found), SpillError> {
        let unusable = |why| SpillError::Unusable { path: path.to_owned(), why };
        let begin = medium.read(0, HEAD.len()).map_err(unusable)?;
        if begin != HEAD {
            if !HEAD.starts_with(&begin) {
                let path = path.to_owned();
                return Err(if begin.starts_with(ANY_HEAD) {
                    SpillError::Newer(path)
                } else {
                    SpillError::Foreign(path)
                });
            }
            // New, or killed before its head was written.
            medium.write(0, HEAD).and_then(|()| medium.sync()).map_err(unusable)?;
        }
        let mut spill = Self {
            medium,
            most_bytes,
            end: HEAD_BYTES,
            cursor: HEAD_BYTES,
            last: 0,
            count: 0,
            read: VecDeque::new(),
            settled_to: HEAD_BYTES,
        };
        let found = spill.scan().map_err(unusable)?;
        Ok((spill, found))
    }

    /// Reads all of the file, and finds what is not settled.
    fn scan(&mut self) -> io::Result<Found> {
        let mut found = Found::default();
        let mut waiting: VecDeque<(u64, u64)> = VecDeque::new();
        let length = self.medium.length()?;
        let (mut at, mut damaged) = (HEAD_BYTES, 0);
        let mut chunk = Chunk::default();
        while at < length {
            match chunk.frame(&mut *self.medium, at, length)? {
                Step::Frame(frame, next) => {
                    found.damaged_bytes += std::mem::take(&mut damaged);
                    match frame {
                        // What is repeated was written twice, the first time without success.
                        Frame::Event(event) if event.number > self.last => {
                            self.last = event.number;
                            waiting.push_back((event.number, at));
                        }
                        Frame::Event(_) => {}
                        Frame::Settled(number) => {
                            self.last = self.last.max(number);
                            while waiting.front().is_some_and(|(of, _)| *of <= number) {
                                waiting.pop_front();
                            }
                        }
                    }
                    at = next;
                    self.end = next;
                }
                Step::Damaged(next) => {
                    damaged += next - at;
                    at = next;
                }
            }
        }
        found.cut_bytes = damaged;
        if length > self.end {
            self.medium.cut(self.end)?;
            self.medium.sync()?;
        }
        self.count = waiting.len() as u64;
        self.cursor = waiting.front().map_or(self.end, |(_, at)| *at);
        self.settled_to = self.cursor;
        if self.count == 0 {
            self.forget();
        }
        Ok(found)
    }

    /// How many events wait.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// Whether there are events that were not read.
    pub(crate) fn has_unread(&self) -> bool {
        self.cursor < self.end
    }

    /// Appends events, as many as there is room for, but at least `least`, or none: how many, and the number of the first. They are
    /// durable when it returns.
    ///
    /// # Errors
    /// Where they are not. The file is as before.
    pub(crate) fn append<'e>(
        &mut self,
        events: impl Iterator<Item = (&'e str, &'e NewRecord)>,
        least: usize,
    ) -> io::Result<(usize, u64)> {
        let first = self.last + 1;
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (number, (topic, record)) in (first..).zip(events) {
            write_event(&mut bytes, number, topic, record);
            ends.push(bytes.len());
            if bytes.len() as u64 > self.most_bytes {
                break;
            }
        }
        let most_bytes = self.most_bytes;
        let fitting = |end: u64| ends.iter().take_while(|of| end + **of as u64 <= most_bytes).count();
        let mut count = fitting(self.end);
        let settled = self.settled_to - HEAD_BYTES;
        if count < ends.len() && settled * 2 >= self.end - HEAD_BYTES && settled > 0 {
            self.compact()?;
            count = fitting(self.end);
        }
        if count < least.max(1) {
            return Ok((0, first));
        }
        let bytes = &bytes[..ends[count - 1]];
        let written = self.medium.write(self.end, bytes).and_then(|()| self.medium.sync());
        if let Err(error) = written {
            // Where this fails, too, the bytes are overwritten by the next ones, and known by their numbers where they are not.
            let _ = self.medium.cut(self.end);
            return Err(error);
        }
        self.end += bytes.len() as u64;
        self.last += count as u64;
        self.count += count as u64;
        Ok((count, first))
    }

    /// The next events that were not read: so many, and no more than so many bytes of the file, but at least one where there is one.
    pub(crate) fn read(&mut self, most: usize, most_bytes: usize) -> io::Result<Vec<Spilled>> {
        let mut events = Vec::new();
        let (mut chunk, begin) = (Chunk::default(), self.cursor);
        while self.cursor < self.end && events.len() < most && self.cursor - begin < most_bytes as u64 {
            let next = match chunk.frame(&mut *self.medium, self.cursor, self.end)? {
                Step::Frame(Frame::Event(event), next) => {
                    if self.read.back().is_none_or(|(last, _)| *last < event.number) {
                        self.read.push_back((event.number, next));
                        events.push(event);
                    }
                    next
                }
                Step::Frame(Frame::Settled(_), next) => next,
                Step::Damaged(next) => {
                    let bytes = next - self.cursor;
                    tracing::error!(
                        bytes,
                        "the spill file is damaged: these bytes are stepped over, and the events in them are lost"
                    );
                    self.count = self.count.saturating_sub(1).max(events.len() as u64);
                    next
                }
            };
            self.cursor = next;
        }
        if events.is_empty() && self.read.is_empty() && self.cursor == self.end {
            self.count = 0;
            self.forget();
        }
        Ok(events)
    }

    /// Events up to a number that was read are settled. What of that cannot be written is sent again after a restart.
    pub(crate) fn settle(&mut self, number: u64) {
        while let Some((of, next)) = self.read.front().copied().filter(|(of, _)| *of <= number) {
            self.read.pop_front();
            self.settled_to = next;
            self.count = self.count.saturating_sub(1);
            debug_assert!(of <= self.last);
        }
        if self.read.is_empty() && !self.has_unread() {
            self.count = 0;
            return self.forget();
        }
        let mut bytes = Vec::new();
        write_settled(&mut bytes, number);
        if self.end + bytes.len() as u64 <= self.most_bytes && self.medium.write(self.end, &bytes).is_ok() {
            let is_all_read = !self.has_unread();
            self.end += bytes.len() as u64;
            if is_all_read {
                self.cursor = self.end;
            }
        }
    }

    /// Everything is settled: the file is as at its beginning.
    fn forget(&mut self) {
        if self.medium.cut(HEAD_BYTES).is_ok() {
            (self.end, self.cursor, self.settled_to) = (HEAD_BYTES, HEAD_BYTES, HEAD_BYTES);
        } else {
            // It stays as it is, and its events are known as settled by the next mark.
            (self.cursor, self.settled_to) = (self.end, self.end);
        }
    }

    /// Leaves out what is settled.
    fn compact(&mut self) -> io::Result<()> {
        self.medium.keep(HEAD, self.settled_to, self.end)?;
        let moved = self.settled_to - HEAD_BYTES;
        self.end -= moved;
        self.cursor -= moved;
        self.read.iter_mut().for_each(|(_, next)| *next -= moved);
        self.settled_to = HEAD_BYTES;
        Ok(())
    }
}

enum Step {
    Frame(Frame, u64),
    /// No frame; another one may begin there.
    Damaged(u64),
}

/// A part of the file that was read.
#[derive(Default)]
struct Chunk {
    at: u64,
    bytes: Vec<u8>,
}

impl Chunk {
    /// The frame at a place before `end`.
    fn frame(&mut self, medium: &mut dyn Medium, at: u64, end: u64) -> io::Result<Step> {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut wanted = 0;
        loop {
            let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
            let bytes = self.bytes.get(from..).unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(left)];
            if !bytes.is_empty() && bytes.len() >= wanted {
                match read(bytes) {
                    Read::Frame(frame, length) => return Ok(Step::Frame(frame, at + length as u64)),
                    // A mark may begin in the last three bytes that were read.
                    Read::Damaged => {
                        let step = next_mark(bytes).unwrap_or(bytes.len().saturating_sub(3).max(1));
                        return Ok(Step::Damaged(at + step as u64));
                    }
                    // It ends before its frame does; the mark may be a chance one.
                    Read::Short(length) if length > left => {
                        if bytes.len() == left {
                            return Ok(Step::Damaged(at + next_mark(bytes).unwrap_or(left) as u64));
                        }
                        wanted = left;
                    }
                    Read::Short(length) => wanted = length,
                }
            }
            let most = wanted.max(CHUNK_BYTES).min(left);
            (self.at, self.bytes) = (at, medium.read(at, most)?);
            if self.bytes.len() < wanted.max(1) {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
