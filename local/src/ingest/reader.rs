//! Splits a file into events: JSON lines, a JSON array, or one JSON value over many lines; each plain or gzipped.
//!
//! Memory stays at one event, whatever the file's size: what is longer than the limit is passed over and reported.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// Kafka's default for the largest record is 1 MiB; what is larger is not published.
pub const EVENT_LIMIT_BYTES: usize = 8 << 20;

/// One event of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// The line on which it begins, from 1; in an array, the element, from 1.
    pub line: u64,
    /// Its bytes, or how many there are where there are too many.
    pub value: Result<Bytes, u64>,
}

/// Why a file cannot be read (any further).
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, or may not be read.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading it failed in the middle.
    #[error("cannot read {} after {events} events: {source}{}", path.display(), hint(source))]
    Read {
        /// Which.
        path: PathBuf,
        /// How many were read before.
        events: u64,
        /// Why.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => " (the file ends in the middle; the events before it were taken)",
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            " (it is no intact gzip file; what came before was taken)"
        }
        _ => "",
    }
}

/// How a file holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One event a line.
    Lines,
    /// The elements of one array.
    Array,
    /// Whole values, over as many lines as they like.
    Values,
}

/// The events of one file.
pub struct Events {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    form: Option<Form>,
    line: u64,
    events: u64,
    ended: bool,
}

impl Events {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let fail = |source| ReadError::Open { path: path.to_owned(), source };
        if path == Path::new("-") {
            return Self::of(path, Box::new(BufReader::new(io::stdin()))).map_err(fail);
        }
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(fail(io::Error::other("it is a folder; name the files in it")));
        }
        Self::of(path, Box::new(BufReader::with_capacity(1 << 16, file))).map_err(fail)
    }

    fn of(path: &Path, mut input: Box<dyn BufRead + Send>) -> io::Result<Self> {
        // Two magic bytes tell gzip, whatever the file is called (RFC 1952).
        if input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            input = Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input)));
        }
        Ok(Self { path: path.to_owned(), input, form: None, line: 0, events: 0, ended: false })
    }

    fn read_next(&mut self) -> io::Result<Option<Event>> {
        let form = match self.form {
            Some(form) => form,
            None => {
                let form = self.detect_form()?;
                *self.form.insert(form)
            }
        };
        loop {
            let event = match form {
                Form::Lines => self.next_line()?,
                Form::Array | Form::Values => self.next_value(form == Form::Array)?,
            };
            match event {
                Some(Event { value: Ok(value), .. }) if value.trim_ascii().is_empty() => {}
                event => return Ok(event),
            }
        }
    }

    /// `[` begins an array; an object whose first line does not end it is one value over many lines; else lines.
    fn detect_form(&mut self) -> io::Result<Form> {
        loop {
            let buffer = self.input.fill_buf()?;
            let blank = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let lines = buffer[..blank].iter().filter(|byte| **byte == b'\n').count() as u64;
            if blank < buffer.len() {
                let rest = &buffer[blank..];
                let form = match rest[0] {
                    b'[' => Form::Array,
                    b'{' if !first_line_is_whole(rest) => Form::Values,
                    _ => Form::Lines,
                };
                self.line += lines;
                self.input.consume(blank + usize::from(form == Form::Array));
                return Ok(form);
            }
            if blank == 0 {
                return Ok(Form::Lines);
            }
            self.line += lines;
            self.input.consume(blank);
        }
    }

    fn next_line(&mut self) -> io::Result<Option<Event>> {
        let mut line = Vec::new();
        let limit = EVENT_LIMIT_BYTES as u64 + 1;
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if read as u64 == limit && line.last() != Some(&b'\n') {
            let rest = self.skip_line()?;
            return Ok(Some(Event { line: self.line, value: Err(read as u64 + rest) }));
        }
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        Ok(Some(Event { line: self.line, value: Ok(line.into()) }))
    }

    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = self.input.fill_buf()?;
            let (used, found) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            skipped += used as u64;
            self.input.consume(used);
            if found {
                return Ok(skipped);
            }
        }
    }

    /// The next element of an array, or the next value of a row of values. Only brackets and strings are understood:
    /// whether the element is JSON is for the validator to say.
    fn next_value(&mut self, is_array: bool) -> io::Result<Option<Event>> {
        let mut value = Vec::new();
        let (mut bytes, mut nesting, mut started) = (0_u64, Nesting::default(), false);
        let mut line = self.line + 1;
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                if !started {
                    return Ok(None);
                }
                break;
            }
            let mut used = 0;
            let mut ended = false;
            let mut closed = false;
            for &byte in buffer {
                used += 1;
                self.line += u64::from(byte == b'\n');
                if !started {
                    match byte {
                        b' ' | b'\t' | b'\r' | b'\n' => continue,
                        b',' if is_array => continue,
                        b']' if is_array => {
                            closed = true;
                            break;
                        }
                        _ => {
                            started = true;
                            line = self.line + 1;
                        }
                    }
                }
                if is_array && nesting.is_outside() && matches!(byte, b',' | b']') {
                    ended = true;
                    closed = byte == b']';
                    break;
                }
                bytes += 1;
                if bytes <= EVENT_LIMIT_BYTES as u64 {
                    value.push(byte);
                }
                nesting.take_in(byte);
                if nesting.is_outside() && matches!(byte, b'}' | b']') && !is_array {
                    ended = true;
                    break;
                }
            }
            self.input.consume(used);
            if closed {
                self.ended = true;
            }
            if closed && !started {
                return Ok(None);
            }
            if ended {
                break;
            }
        }
        while value.last().is_some_and(u8::is_ascii_whitespace) {
            value.pop();
        }
        let number = if is_array { self.events + 1 } else { line };
        let value = if bytes > EVENT_LIMIT_BYTES as u64 { Err(bytes) } else { Ok(value.into()) };
        Ok(Some(Event { line: number, value }))
    }
}

impl Iterator for Events {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read_next() {
            Ok(None) => {
                self.ended = true;
                None
            }
            Ok(Some(event)) => {
                self.events += 1;
                Some(Ok(event))
            }
            Err(source) => {
                self.ended = true;
                Some(Err(ReadError::Read { path: self.path.clone(), events: self.events, source }))
            }
        }
    }
}

/// How deep in brackets a text is. Those within strings are none.
#[derive(Default)]
struct Nesting {
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    fn take_in(&mut self, byte: u8) {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

/// Whether the first line holds a whole value, or is too long to tell.
fn first_line_is_whole(buffer: &[u8]) -> bool {
    let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else { return true };
    let mut nesting = Nesting::default();
    buffer[..end].iter().for_each(|byte| nesting.take_in(*byte));
    nesting.depth == 0
}

/// SHA-256 of a file's bytes: with the line it makes the id of a statement that has none.
pub fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(digest.finalize().into());
        }
        digest.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn read(input: &[u8]) -> Vec<(u64, String)> {
        let events = Events::of(Path::new("test"), Box::new(Cursor::new(input.to_vec()))).unwrap();
        let text = |value: Result<Bytes, u64>| match value {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(bytes) => format!("{bytes} bytes"),
        };
        events.map(|event| event.map(|event| (event.line, text(event.value))).unwrap()).collect()
    }

    fn of(events: &[(u64, &str)]) -> Vec<(u64, String)> {
        events.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn each_line_is_an_event_whatever_it_holds() {
        let lines = b"{\"a\":1}\r\n\n  garbage\n{\"b\":2}";
        assert_eq!(read(lines), of(&[(1, "{\"a\":1}"), (3, "  garbage"), (4, "{\"b\":2}")]));
    }

    #[test]
    fn each_element_of_an_array_is_an_event() {
        let array = b" [\n {\"a\": \"]},\\\"\"},\n [1, 2],\"x\", 3\n]\n";
        assert_eq!(read(array), of(&[(1, "{\"a\": \"]},\\\"\"}"), (2, "[1, 2]"), (3, "\"x\""), (4, "3")]));
    }

    #[test]
    fn a_value_over_many_lines_is_one_event() {
        assert_eq!(read(b"{\n \"a\": 1\n}\n{\n}\n"), of(&[(1, "{\n \"a\": 1\n}"), (4, "{\n}")]));
    }

    #[test]
    fn an_empty_file_has_no_events() {
        for input in [&b""[..], b"\n\n \n", b"[]", b"[ ]"] {
            assert_eq!(read(input), [], "{input:?}");
        }
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"{\"a\":1}\n{\"a\":2}\n").unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(read(&gzip).len(), 2);
    }

    #[test]
    fn a_truncated_gzip_file_gives_what_came_before_and_an_error() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        gzip.write_all("{\"a\":1}\n".repeat(100_000).as_bytes()).unwrap();
        let mut gzip = gzip.finish().unwrap();
        gzip.truncate(gzip.len() / 2);
        let events = Events::of(Path::new("half.gz"), Box::new(Cursor::new(gzip))).unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = events.partition(Result::is_ok);
        assert!(good.len() > 40_000, "{}", good.len());
        assert!(bad[0].as_ref().unwrap_err().to_string().contains("half.gz"));
    }

    #[test]
    fn a_line_over_the_limit_is_passed_over_and_the_next_one_is_read() {
        let mut input = vec![b'x'; EVENT_LIMIT_BYTES + 10];
        input.extend_from_slice(b"\n{\"a\":1}\n");
        let bytes = format!("{} bytes", EVENT_LIMIT_BYTES + 11);
        assert_eq!(read(&input), of(&[(1, &bytes), (2, "{\"a\":1}")]));
    }
}
