//! Splits a file into events: JSON values in lines, in arrays, over many lines, or side by side, in any mixture; plain or
//! gzipped, in one member or several.
//!
//! Only brackets, strings and commas are understood: whether a value is JSON is for the validator to say. What stands
//! between values and should not is reported with line and byte, and reading goes on behind it. Outside arrays, what does not
//! begin with a bracket is one event to the end of its line, and so is a value with garbage behind it.
//!
//! A value that breaks off must not take those behind it along: where a line begins with a bracket that cannot stand there,
//! the value before it has ended and the next one begins.
//!
//! Memory stays at one event, whatever the file's size: what is longer than the limit is passed over and reported.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memchr_iter, memchr3};
use sha2::{Digest, Sha256};

/// The longest event that is kept in memory to be judged. It is above what a log takes, so that a person learns what is
/// wrong with an event that is only somewhat too large.
pub const EVENT_LIMIT_BYTES: usize = 8 << 20;
/// So much is asked of a file at once.
const READ_BYTES: usize = 1 << 16;
/// Some editors and exporters write it before UTF-8; it is no part of a JSON text (RFC 8259, section 8.1).
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it begins.
    pub place: Place,
    /// Whether another event begins before it on its line, so that the line alone does not tell which one is meant.
    pub shares_line: bool,
    /// What distinguishes it from every other event of its file, whatever the program's version: part of the id of a statement that
    /// has none. The line; in a file that begins with an array, the place in the row; of a further event of a line, its byte.
    pub number: u64,
    /// Its bytes, or how many there are where there are too many.
    pub value: Result<Bytes, u64>,
}

impl Event {
    /// Its line, and its byte where the line alone does not say which event is meant.
    pub fn told_place(&self) -> String {
        if self.shares_line { self.place.to_string() } else { format!("line {}", self.place.line) }
    }
}

/// A place in a file's text; where it is gzipped, in the unpacked text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// From 0, and from the beginning of the file.
    pub byte: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "line {}, byte {}", self.line, self.byte)
    }
}

/// What of a file cannot be read. Reading goes on behind it where it can.
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
    #[error("cannot read {} after {events} events, from {place} on: {source}{}", path.display(), hint(source))]
    Read {
        /// Which.
        path: PathBuf,
        /// How many were read before.
        events: u64,
        /// Behind the last of them.
        place: Place,
        /// Why.
        source: io::Error,
    },
    /// Its values do not follow each other as they should.
    #[error("{}, {place}: {fault}", path.display())]
    Framing {
        /// Which.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong there.
        fault: Fault,
    },
}

/// What is wrong between the values of a file, or at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `[1 2]`
    #[error("a comma is missing before this value")]
    NoComma,
    /// `[,1]` or `[1,,2]`
    #[error("there is no value before this comma")]
    NoValue,
    /// `[1,]`
    #[error("there is no value between the last comma and this bracket")]
    CommaAtEnd,
    /// `[1],`
    #[error("this comma stands in no array")]
    StrayComma,
    /// `[1]]`
    #[error("this bracket closes no array")]
    StrayBracket,
    /// `[1,2`
    #[error(
        "the file ends here, and the array that begins on {0} is not closed; its values before this place were accepted"
    )]
    ArrayNotClosed(Place),
    /// `{"a":`
    #[error("the file ends in the middle of the value that begins here; the values before it were accepted")]
    ValueNotEnded,
    /// A text of two or four bytes a character.
    #[error(
        "this is UTF-16 or UTF-32, and only UTF-8 is read: convert the file, for example with `iconv -f UTF-16 -t UTF-8`"
    )]
    WideText,
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => " (the file ends in the middle; the events before it were accepted)",
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            " (it is no intact gzip file; what came before was taken)"
        }
        _ => "",
    }
}

/// What surrounds the next value.
#[derive(Clone, Copy, Debug)]
enum Within {
    Nothing,
    Array { begins: Place, expects: Expected },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The first value, or the end.
    First,
    /// The value behind a comma.
    Value,
    /// A comma, or the end.
    Comma,
}

/// The events of one file.
pub struct Events {
    path: PathBuf,
    text: Text,
    within: Within,
    /// Whether it begins with an array; nothing before the first event.
    begins_with_array: Option<bool>,
    last_line: u64,
    events: u64,
    ended: bool,
}

impl Events {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let fail = |source| ReadError::Open { path: path.to_owned(), source };
        if path == Path::new("-") {
            return Self::of(path, Box::new(io::stdin())).map_err(fail);
        }
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(fail(io::Error::other("it is a folder; name the files in it")));
        }
        Self::of(path, Box::new(file)).map_err(fail)
    }

    fn of(path: &Path, input: Box<dyn Read + Send>) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            text: Text::of(input)?,
            within: Within::Nothing,
            begins_with_array: None,
            last_line: 0,
            events: 0,
            ended: false,
        })
    }

    fn read_next(&mut self) -> Option<Result<Event, ReadError>> {
        if self.text.place.byte == 0 && self.text.is_wide(true) {
            return self.end_with(self.text.place, Fault::WideText);
        }
        loop {
            let Some(first) = self.text.skip_blank() else {
                let place = self.text.place;
                return match self.within {
                    Within::Array { begins, .. } => self.end_with(place, Fault::ArrayNotClosed(begins)),
                    Within::Nothing if self.text.failure.is_some() => self.end_with(place, Fault::ValueNotEnded),
                    Within::Nothing => None,
                };
            };
            match self.within {
                Within::Nothing => match first {
                    b'[' => {
                        self.begins_with_array.get_or_insert(true);
                        self.within = Within::Array { begins: self.text.place, expects: Expected::First };
                        self.text.pass(1);
                    }
                    b',' => return self.pass_commas(Fault::StrayComma),
                    b']' => {
                        let place = self.text.place;
                        self.text.pass(1);
                        return self.fault(place, Fault::StrayBracket);
                    }
                    b'{' => return self.value(),
                    _ if self.text.begins_with_mark() => self.text.pass(BYTE_ORDER_MARK.len()),
                    _ if self.text.is_wide(false) => return self.end_with(self.text.place, Fault::WideText),
                    _ if self.text.ends_within_mark() => {
                        return self.end_with(self.text.place, Fault::ValueNotEnded);
                    }
                    _ => return self.line(Span::at(self.text.place)),
                },
                Within::Array { begins, expects } => {
                    let expect = |expects| Within::Array { begins, expects };
                    match (first, expects) {
                        (b',', Expected::Comma) => {
                            self.text.pass(1);
                            self.within = expect(Expected::Value);
                        }
                        (b',', _) => {
                            self.within = expect(Expected::Value);
                            return self.pass_commas(Fault::NoValue);
                        }
                        (b']', _) => {
                            let place = self.text.place;
                            self.text.pass(1);
                            self.within = Within::Nothing;
                            if expects == Expected::Value {
                                return self.fault(place, Fault::CommaAtEnd);
                            }
                        }
                        (_, Expected::Comma) => {
                            self.within = expect(Expected::Value);
                            return self.fault(self.text.place, Fault::NoComma);
                        }
                        (_, _) => {
                            self.within = expect(Expected::Comma);
                            return if matches!(first, b'{' | b'[' | b'"') { self.value() } else { self.token() };
                        }
                    }
                }
            }
        }
    }

    /// A value in brackets, or an element in quotes.
    fn value(&mut self) -> Option<Result<Event, ReadError>> {
        let mut span = Span::at(self.text.place);
        let is_element = matches!(self.within, Within::Array { .. });
        if !is_element && let Some(length) = whole_line(self.text.rest()) {
            span.length = length;
            span.is_in_line = true;
            return self.event(span, 0);
        }
        let mut scan = Scan { is_element, ..Scan::default() };
        if !self.text.extend(&mut span, |bytes| scan.find_end(bytes)) {
            return self.end_with(span.begins, Fault::ValueNotEnded);
        }
        if is_element || scan.is_broken {
            return self.event(span, 0);
        }
        let whole = span;
        self.text
            .extend(&mut span, |bytes| bytes.iter().position(|byte| *byte == b'\n' || !byte.is_ascii_whitespace()));
        match self.text.rest().get(span.length) {
            Some(b'\n' | b'{' | b'[') | Some(0xef) | None if span.passed == whole.passed => self.event(whole, 0),
            Some(b'\n' | b'{' | b'[') | Some(0xef) | None => self.event(span, 0),
            Some(_) => self.line(span),
        }
    }

    /// An element that is neither in brackets nor in quotes.
    fn token(&mut self) -> Option<Result<Event, ReadError>> {
        let mut span = Span::at(self.text.place);
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'{' | b'[' | b'"');
        if self.text.extend(&mut span, |bytes| bytes.iter().position(ends)) {
            self.event(span, 0)
        } else {
            self.end_with(span.begins, Fault::ValueNotEnded)
        }
    }

    /// Everything to the end of the line.
    fn line(&mut self, mut span: Span) -> Option<Result<Event, ReadError>> {
        if self.text.extend(&mut span, |bytes| memchr(b'\n', bytes)) {
            return self.event(span, 1);
        }
        if self.text.failure.is_some() {
            return self.end_with(span.begins, Fault::ValueNotEnded);
        }
        self.event(span, 0)
    }

    /// Makes an event of what was measured; `end` bytes end it and count where there are too many.
    fn event(&mut self, span: Span, end: u64) -> Option<Result<Event, ReadError>> {
        let bytes = self.text.rest()[..span.length].trim_ascii_end();
        let value = if span.passed == 0 && bytes.len() <= EVENT_LIMIT_BYTES {
            Ok(Bytes::copy_from_slice(bytes))
        } else {
            Err(span.passed + span.length as u64 + end)
        };
        if span.is_in_line {
            self.text.pass_in_line(span.length);
        } else {
            self.text.pass(span.length);
        }
        self.events += 1;
        let place = span.begins;
        let shares_line = place.line == self.last_line;
        self.last_line = place.line;
        let number = match (*self.begins_with_array.get_or_insert(false), shares_line) {
            (true, _) => self.events,
            (false, false) => place.line,
            // No line has such a number.
            (false, true) => 1 << 63 | place.byte,
        };
        Some(Ok(Event { place, shares_line, number, value }))
    }

    /// Reports commas that stand side by side once.
    fn pass_commas(&mut self, fault: Fault) -> Option<Result<Event, ReadError>> {
        let place = self.text.place;
        while self.text.skip_blank() == Some(b',') {
            self.text.pass(1);
        }
        self.fault(place, fault)
    }

    fn fault(&self, place: Place, fault: Fault) -> Option<Result<Event, ReadError>> {
        Some(Err(ReadError::Framing { path: self.path.clone(), place, fault }))
    }

    /// Nothing can be read any further. Where reading failed, that is why.
    fn end_with(&mut self, place: Place, fault: Fault) -> Option<Result<Event, ReadError>> {
        self.ended = true;
        let Some(source) = self.text.failure.take() else { return self.fault(place, fault) };
        Some(Err(ReadError::Read { path: self.path.clone(), events: self.events, place, source }))
    }
}

impl Iterator for Events {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read_next();
        self.ended |= next.is_none();
        next
    }
}

/// How far something reaches from where it begins.
#[derive(Clone, Copy, Debug)]
struct Span {
    begins: Place,
    /// Bytes that were passed already, since they are too many to keep.
    passed: u64,
    /// Bytes behind them.
    length: usize,
    /// Whether it is known that no line ends in it.
    is_in_line: bool,
}

impl Span {
    fn at(begins: Place) -> Self {
        Self { begins, passed: 0, length: 0, is_in_line: false }
    }
}

/// What is read of a file, and not passed yet.
struct Text {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// So much of the buffer is passed,
    start: usize,
    /// and behind this nothing was read.
    end: usize,
    /// Where the rest begins.
    place: Place,
    at_end: bool,
    /// Why nothing more comes, where that is not the file's end.
    failure: Option<io::Error>,
}

impl Text {
    fn of(mut input: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut head = Vec::new();
        input.by_ref().take(2).read_to_end(&mut head)?;
        // Two magic bytes tell gzip, whatever the file is called (RFC 1952).
        if head == [0x1f, 0x8b] {
            let packed = io::Cursor::new(std::mem::take(&mut head)).chain(input);
            input = Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, packed)));
        }
        let place = Place { line: 1, byte: 0 };
        Ok(Self { input, end: head.len(), buffer: head, start: 0, place, at_end: false, failure: None })
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads on; `false` where nothing more comes.
    fn fill(&mut self) -> bool {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < self.end + READ_BYTES {
            self.buffer.resize(2 * self.end + READ_BYTES, 0);
        }
        while !self.at_end {
            match self.input.read(&mut self.buffer[self.end..][..READ_BYTES]) {
                Ok(0) => self.at_end = true,
                Ok(read) => {
                    self.end += read;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => (self.at_end, self.failure) = (true, Some(error)),
            }
        }
        false
    }

    /// Reads on until there are so many bytes, or no more come.
    fn head(&mut self, bytes: usize) -> &[u8] {
        while self.rest().len() < bytes && self.fill() {}
        &self.rest()[..bytes.min(self.rest().len())]
    }

    fn pass(&mut self, bytes: usize) {
        self.place.line += memchr_iter(b'\n', &self.rest()[..bytes]).count() as u64;
        self.pass_in_line(bytes);
    }

    /// Passes bytes of which none ends a line.
    fn pass_in_line(&mut self, bytes: usize) {
        self.place.byte += bytes as u64;
        self.start += bytes;
    }

    /// The first byte that is not blank.
    fn skip_blank(&mut self) -> Option<u8> {
        loop {
            let blank = self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.pass(blank);
            if let Some(byte) = self.rest().first() {
                return Some(*byte);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Lets something reach as far as `find` says; `false` where the text ends before. `find` sees every byte once.
    fn extend(&mut self, span: &mut Span, mut find: impl FnMut(&[u8]) -> Option<usize>) -> bool {
        loop {
            if let Some(found) = find(&self.rest()[span.length..]) {
                span.length += found;
                return true;
            }
            span.length = self.rest().len();
            if span.length > EVENT_LIMIT_BYTES {
                self.pass(span.length);
                span.passed += span.length as u64;
                span.length = 0;
            }
            if !self.fill() {
                return false;
            }
        }
    }

    fn begins_with_mark(&mut self) -> bool {
        self.rest().first() == BYTE_ORDER_MARK.first() && self.head(BYTE_ORDER_MARK.len()) == BYTE_ORDER_MARK
    }

    fn ends_within_mark(&mut self) -> bool {
        self.rest().first() == BYTE_ORDER_MARK.first() && BYTE_ORDER_MARK.starts_with(self.head(BYTE_ORDER_MARK.len()))
    }

    /// Whether a text of two or four bytes a character begins here: by its byte-order mark, and a file by its zeros, too.
    fn is_wide(&mut self, is_start: bool) -> bool {
        if !is_start && !matches!(self.rest().first(), Some(0xff | 0xfe | 0)) {
            return false;
        }
        match *self.head(4) {
            [0xff, 0xfe] | [0xfe, 0xff] => true,
            [0xff, 0xfe, ascii, 0] | [0xfe, 0xff, 0, ascii] => ascii.is_ascii(),
            [0, 0, 0xfe, 0xff] => true,
            [0, 0, 0, ascii] | [ascii, 0, _, 0] | [0, ascii, 0, _] => {
                is_start && (ascii.is_ascii_whitespace() || matches!(ascii, b'{' | b'['))
            }
            _ => false,
        }
    }
}

/// The length of a line that is one event beyond doubt, found without looking at each byte: nowhere in it does a value follow
/// a brace that closes, and the next line begins with a value. It is what [`Scan`] finds, only faster.
fn whole_line(rest: &[u8]) -> Option<usize> {
    let end = memchr(b'\n', rest)?;
    let line = rest[..end].trim_ascii_end();
    let next = rest[end..].iter().find(|byte| !byte.is_ascii_whitespace())?;
    // No branches, so that the compiler looks at many bytes at once; with 0x20, `]` is `}`.
    let goes_on = |(byte, next): (&u8, &u8)| (*byte == b'}') & (*next != b',') & (*next | 0x20 != b'}');
    let is_doubtful =
        || line.iter().zip(line.get(1..).unwrap_or_default()).fold(false, |any, pair| any | goes_on(pair));
    let is_whole = matches!(next, b'{' | b'[') && line.ends_with(b"}") && !is_doubtful();
    is_whole.then_some(line.len())
}

/// Looks for the end of a value by its brackets and quotes.
#[derive(Default)]
struct Scan {
    /// Whether the value is an array's, so that the array may end where it does not.
    is_element: bool,
    /// How deep in brackets.
    depth: u32,
    /// Which of the outermost 128 brackets are braces; what closes deeper than that closes anything.
    braces: u128,
    in_string: bool,
    escaped: bool,
    /// The last byte outside strings that is not blank.
    last: u8,
    /// Whether the line has been blank so far.
    is_line_start: bool,
    /// Whether the value ended before its brackets were closed.
    is_broken: bool,
}

impl Scan {
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.is_line_start && !byte.is_ascii_whitespace() {
                self.is_line_start = false;
                if matches!(byte, b'{' | b'[') && !self.may_nest() {
                    self.is_broken = true;
                    return Some(at);
                }
            }
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    self.is_line_start |= byte == b'\n';
                    at += 1;
                    continue;
                }
                if self.is_line_start {
                    at += 1;
                    continue;
                }
                at += memchr3(b'"', b'\\', b'\n', &bytes[at..])? + 1;
                match bytes[at - 1] {
                    b'"' => {
                        (self.in_string, self.last) = (false, b'"');
                        if self.depth == 0 {
                            return Some(at);
                        }
                    }
                    b'\\' => self.escaped = true,
                    _ => self.is_line_start = true,
                }
                continue;
            }
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.last = byte;
                    self.open(byte == b'{');
                }
                b'}' | b']' => {
                    self.last = byte;
                    let has_closed = self.close(byte == b'}');
                    if !has_closed && self.is_element && byte == b']' {
                        self.is_broken = true;
                        return Some(at - 1);
                    }
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                b'\n' => self.is_line_start = true,
                b' ' | b'\t' | b'\r' | b'\x0c' => {}
                _ => self.last = byte,
            }
        }
        None
    }

    fn open(&mut self, is_brace: bool) {
        if self.depth < u128::BITS {
            let bit = 1 << self.depth;
            self.braces = if is_brace { self.braces | bit } else { self.braces & !bit };
        }
        self.depth = self.depth.saturating_add(1);
    }

    /// Closes the innermost bracket of its kind, and those within that were left open.
    fn close(&mut self, is_brace: bool) -> bool {
        if self.depth > u128::BITS {
            self.depth -= 1;
            return true;
        }
        let open = u128::MAX.checked_shr(u128::BITS - self.depth).unwrap_or(0);
        let of_kind = if is_brace { self.braces & open } else { !self.braces & open };
        if of_kind != 0 {
            self.depth = u128::BITS - 1 - of_kind.leading_zeros();
        }
        of_kind != 0
    }

    /// Whether a value may begin here, within this one.
    fn may_nest(&self) -> bool {
        let is_in_object = (1..=u128::BITS).contains(&self.depth) && self.braces & (1 << (self.depth - 1)) != 0;
        !self.in_string && (matches!(self.last, b':' | b'[') || self.last == b',' && !is_in_object)
    }
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

    use proptest::prelude::*;

    use super::*;

    /// Gives only so many bytes at a time, as a pipe may.
    struct Slowly(Cursor<Vec<u8>>, usize);

    impl Read for Slowly {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = buffer.len().min(self.1);
            self.0.read(&mut buffer[..bytes])
        }
    }

    fn events_of(input: &[u8], step: usize) -> Events {
        Events::of(Path::new("test"), Box::new(Slowly(Cursor::new(input.to_vec()), step))).unwrap()
    }

    fn text(event: &Event) -> String {
        match &event.value {
            Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Err(bytes) => format!("{bytes} bytes"),
        }
    }

    /// Events and faults, in order. However the bytes come, they are the same.
    fn read(input: &[u8]) -> Vec<(u64, String)> {
        let read = |step| -> Vec<(u64, String)> {
            events_of(input, step)
                .map(|event| match event {
                    Ok(event) => (event.place.line, text(&event)),
                    Err(ReadError::Framing { place, fault, .. }) => {
                        (place.line, format!("{fault:?} at {}", place.byte))
                    }
                    Err(error) => (0, error.to_string()),
                })
                .collect()
        };
        let events = read(usize::MAX);
        for step in [1, 7] {
            assert!(input.len() > 10_000 || read(step) == events, "{step} bytes at a time");
        }
        events
    }

    fn of(events: &[(u64, &str)]) -> Vec<(u64, String)> {
        events.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn each_line_is_an_event_whatever_it_holds() {
        let lines = b"{\"a\":1}\r\n\n  garbage\n{\"b\":2} garbage\n{\"c\":3},\n{\"d\":4}";
        let expected =
            [(1, "{\"a\":1}"), (3, "garbage"), (4, "{\"b\":2} garbage"), (5, "{\"c\":3},"), (6, "{\"d\":4}")];
        assert_eq!(read(lines), of(&expected));
    }

    #[test]
    fn each_element_of_an_array_is_an_event() {
        let array = b" [\n {\"a\": \"]},\\\"\"},\n [1, 2],\"x\", 3\n]\n";
        assert_eq!(read(array), of(&[(2, "{\"a\": \"]},\\\"\"}"), (3, "[1, 2]"), (3, "\"x\""), (3, "3")]));
    }

    #[test]
    fn a_value_over_many_lines_is_one_event() {
        assert_eq!(read(b"{\n \"a\": 1\n}\n{\n}\n"), of(&[(1, "{\n \"a\": 1\n}"), (4, "{\n}")]));
        assert_eq!(
            read(b"{\"a\":\n{\"b\":[\n{},\n{}]}\n}\r\n{}"),
            of(&[(1, "{\"a\":\n{\"b\":[\n{},\n{}]}\n}"), (6, "{}")])
        );
    }

    #[test]
    fn an_empty_file_has_no_events() {
        for input in [&b""[..], b"\n\n \n", b"[]", b"[ ]", b"[]\r\n[\n]\n", BYTE_ORDER_MARK, b"\xef\xbb\xbf[]"] {
            assert_eq!(read(input), [], "{input:?}");
        }
        assert_eq!(read(&gzip(b"")), []);
    }

    #[test]
    fn what_follows_an_array_is_read_too() {
        let expected = of(&[(1, "{\"a\":1}"), (2, "{\"b\":2}"), (2, "{\"c\":3}")]);
        assert_eq!(read(b"[{\"a\":1}]\n[{\"b\":2}, {\"c\":3}]\n"), expected);
        assert_eq!(read(b"[{\"a\":1}]\n{\"b\":2}[{\"c\":3}]"), expected);
        assert_eq!(read(b"{\"a\":1}\n[{\"b\":2}]{\"c\":3}\n"), expected);
        assert_eq!(read(b"[{\"a\":1}] garbage\n{\"b\":2}"), of(&[(1, "{\"a\":1}"), (1, "garbage"), (2, "{\"b\":2}")]));
        let members =
            [gzip(b"[{\"a\":1}]"), gzip(b"\xef\xbb\xbf[{\"b\":2}]"), gzip(b"{\"c\":3}"), gzip(b"{\"d\":4}\n")];
        assert_eq!(
            read(&members.concat()),
            of(&[(1, "{\"a\":1}"), (1, "{\"b\":2}"), (1, "{\"c\":3}"), (1, "{\"d\":4}")])
        );
    }

    #[test]
    fn commas_and_brackets_that_are_missing_or_too_many_are_told_and_no_value_is_lost() {
        for (input, expected) in [
            ("[1 2]", vec![(1, "1"), (1, "NoComma at 3"), (1, "2")]),
            ("[{}\n{}]", vec![(1, "{}"), (2, "NoComma at 4"), (2, "{}")]),
            ("[\"a\"\"b\"]", vec![(1, "\"a\""), (1, "NoComma at 4"), (1, "\"b\"")]),
            ("[1,,2]", vec![(1, "1"), (1, "NoValue at 3"), (1, "2")]),
            ("[,,\n,1]", vec![(1, "NoValue at 1"), (2, "1")]),
            ("[1,]\n{}", vec![(1, "1"), (1, "CommaAtEnd at 3"), (2, "{}")]),
            ("[1],[2]", vec![(1, "1"), (1, "StrayComma at 3"), (1, "2")]),
            ("[1]]\n]\n{}", vec![(1, "1"), (1, "StrayBracket at 3"), (2, "StrayBracket at 5"), (3, "{}")]),
            ("{}\n,{}\n", vec![(1, "{}"), (2, "StrayComma at 3"), (2, "{}")]),
            ("[{},\n{}", vec![(1, "{}"), (2, "{}"), (2, "ArrayNotClosed(Place { line: 1, byte: 0 }) at 7")]),
            ("\n[", vec![(2, "ArrayNotClosed(Place { line: 2, byte: 1 }) at 2")]),
            ("[{}, {\"a\":", vec![(1, "{}"), (1, "ValueNotEnded at 5")]),
            ("[12", vec![(1, "ValueNotEnded at 1")]),
            ("{}\n{\"a\":\"}\n", vec![(1, "{}"), (2, "ValueNotEnded at 3")]),
        ] {
            assert_eq!(read(input.as_bytes()), of(&expected), "{input}");
        }
    }

    #[test]
    fn a_value_that_breaks_off_takes_none_behind_it_along() {
        for broken in
            ["{\"a\":1", "{\"a\":\"x", "{\"a\":[1}", "{\"a\":{\"b\":1}", "{\"a\":1,", "{\"a\":\"x}", "{", "{\"a\":1]"]
        {
            let lines = format!("{{}}\n{broken}\n{{\"b\":2}}\n[{{\"c\":3}}]\n");
            let expected = [(1, "{}"), (2, broken), (3, "{\"b\":2}"), (4, "{\"c\":3}")];
            assert_eq!(read(lines.as_bytes()), of(&expected), "{broken}");
        }
        let array = "[\n{\"a\":\"x},\n{\"b\":2},\n{\"c\":[3]\n]\n{\"d\":4}";
        let expected =
            [(2, "{\"a\":\"x},"), (3, "NoComma at 12"), (3, "{\"b\":2}"), (4, "{\"c\":[3]"), (6, "{\"d\":4}")];
        assert_eq!(read(array.as_bytes()), of(&expected));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_value() {
        assert_eq!(read(b"\xef\xbb\xbf[\n{\n\"a\": 1\n}\n]\n"), of(&[(2, "{\n\"a\": 1\n}")]));
        assert_eq!(
            read(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n{}\xef\xbb\xbf{}"),
            of(&[(1, "{}"), (2, "{}"), (3, "{}"), (3, "{}")])
        );
        assert_eq!(read("！\n{}".as_bytes()), of(&[(1, "！"), (2, "{}")]), "it begins like the mark");
    }

    #[test]
    fn text_of_two_or_four_bytes_a_character_is_named() {
        let text = "[\n{\"a\": 1}]";
        let little = |mark: &[u8]| [mark, &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat();
        let big = |mark: &[u8]| [mark, &text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>()].concat();
        let four: Vec<u8> = text.chars().flat_map(|char| u32::from(char).to_le_bytes()).collect();
        for wide in [little(b"\xff\xfe"), little(b""), big(b"\xfe\xff"), big(b""), four, b"\xff\xfe".to_vec()] {
            assert_eq!(read(&wide), of(&[(1, "WideText at 0")]), "{wide:?}");
            assert_eq!(read(&gzip(&wide)), of(&[(1, "WideText at 0")]));
        }
        let members = [gzip(b"{}\n"), gzip(&little(b"\xff\xfe"))].concat();
        assert_eq!(read(&members), of(&[(1, "{}"), (2, "WideText at 3")]));
    }

    #[test]
    fn numbers_of_events_are_lines_or_places_in_a_row_and_none_comes_twice() {
        let numbers = |input: &str| -> Vec<u64> {
            events_of(input.as_bytes(), usize::MAX).filter_map(Result::ok).map(|event| event.number).collect()
        };
        assert_eq!(numbers("{}\n\n{}\n{\n}\n{}"), [1, 3, 4, 6]);
        assert_eq!(numbers("[{},\n\n{}]\n{}\n"), [1, 2, 3]);
        assert_eq!(numbers("{}\n[{},{}]\n{}"), [1, 2, 1 << 63 | 7, 3]);
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes() {
        assert_eq!(read(&gzip(b"{\"a\":1}\n{\"a\":2}\n")).len(), 2);
    }

    #[test]
    fn a_truncated_gzip_file_gives_what_came_before_and_an_error() {
        for (text, line) in [("{\"a\":1}\n", true), ("[{\"a\":1}]", false)] {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
            gzip.write_all(text.repeat(100_000).as_bytes()).unwrap();
            let mut gzip = gzip.finish().unwrap();
            gzip.truncate(gzip.len() / 2 + 3);
            let (good, bad): (Vec<_>, Vec<_>) = events_of(&gzip, usize::MAX).partition(Result::is_ok);
            assert!(good.len() > 35_000, "{}", good.len());
            let told = bad[0].as_ref().unwrap_err().to_string();
            let place =
                if line { format!("from line {}, byte {} on", good.len() + 1, good.len() * 8) } else { "byte".into() };
            assert!(bad.len() == 1 && told.contains("cannot read test after") && told.contains(&place), "{told}");
        }
    }

    #[test]
    fn what_is_over_the_limit_is_passed_over_and_what_follows_is_read() {
        let long = "x".repeat(EVENT_LIMIT_BYTES);
        let bytes = |more| format!("{} bytes", EVENT_LIMIT_BYTES + more);
        let lines = format!("{long}xxxxxxxxxx\n{{\"a\":1}}\n{{\"b\":\"{long}\"}}\n{{}}\n");
        assert_eq!(read(lines.as_bytes()), of(&[(1, &bytes(11)), (2, "{\"a\":1}"), (3, &bytes(8)), (4, "{}")]));
        let array = format!("[{{\"b\":\n\"{long}\"}},\"{long}\",\n1{long},{{}}]\n{{}}");
        let expected = [(1, &*bytes(9)), (2, &bytes(2)), (3, &bytes(1)), (3, "{}"), (4, "{}")];
        assert_eq!(read(array.as_bytes()), of(&expected));
        assert_eq!(read(long.as_bytes()), of(&[(1, &long)]), "exactly at the limit");
        assert_eq!(read(format!("{{\"b\":\"{long}").as_bytes()), of(&[(1, "ValueNotEnded at 0")]));
    }

    /// A text of values, and where each of them and each array stands in it.
    #[derive(Clone, Debug, Default)]
    struct Written {
        text: Vec<u8>,
        values: Vec<(u64, usize, usize)>,
        arrays: Vec<(usize, usize)>,
        marks: Vec<usize>,
    }

    impl Written {
        fn value(&mut self, value: &str) {
            let begins = self.text.len();
            let line = memchr_iter(b'\n', &self.text).count() as u64 + 1;
            self.text.extend_from_slice(value.as_bytes());
            self.values.push((line, begins, self.text.len()));
        }

        fn found(&self, end: usize) -> Vec<(u64, u64, String)> {
            let found = |(line, begins, ends): &(u64, usize, usize)| {
                (*line, *begins as u64, String::from_utf8(self.text[*begins..*ends].to_vec()).unwrap())
            };
            // Where the text is cut behind a number, more digits may have followed.
            let is_whole = |ends: usize| ends < end || ends == end && matches!(self.text[ends - 1], b'}' | b']' | b'"');
            self.values.iter().filter(|(_, _, ends)| is_whole(*ends)).map(found).collect()
        }

        fn is_cut_within(&self, at: usize) -> bool {
            let within = |begins: usize, ends: usize| begins < at && at < ends;
            self.values.iter().any(|(_, begins, ends)| within(*begins, *ends))
                || self.arrays.iter().any(|(begins, ends)| within(*begins, *ends))
                || self.marks.iter().any(|begins| within(*begins, begins + BYTE_ORDER_MARK.len()))
        }
    }

    fn any_string() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z]{0,4}", r#"[\[\]{}",:\\ ü\n]{0,8}"#]
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            any_string().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                prop::collection::vec((any_string(), inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_object() -> impl Strategy<Value = serde_json::Value> {
        prop::collection::vec((any_string(), any_json()), 0..4)
            .prop_map(|members| serde_json::Value::Object(members.into_iter().collect()))
    }

    /// In one line, indented, or with a new line and no indentation between any two tokens.
    fn layout(value: &serde_json::Value, how: u8) -> String {
        let indented = serde_json::to_string_pretty(value).unwrap();
        match how {
            0 => value.to_string(),
            1 => indented,
            2 => indented.replace('\n', "\r\n"),
            _ => {
                let lines = indented.lines().map(str::trim_start);
                // A key's colon alone is followed by a bracket at the line's end.
                let split = |line: &str| match line.strip_suffix(['{', '[']).and_then(|rest| rest.strip_suffix(": ")) {
                    Some(rest) => format!("{rest}:\n{}", &line[line.len() - 1..]),
                    None => line.to_owned(),
                };
                lines.map(split).collect::<Vec<_>>().join("\n")
            }
        }
    }

    const BLANKS: [&str; 6] = ["", "\n", "\r\n", " ", "\n\n\t", "\n"];

    fn any_text() -> impl Strategy<Value = Written> {
        let object = (any_object(), 0..4_u8).prop_map(|value| (false, vec![value]));
        let array = prop::collection::vec((any_json(), 0..4_u8), 0..5).prop_map(|values| (true, values));
        let row = (prop_oneof![object, array], 0..BLANKS.len(), 0..BLANKS.len(), prop::bool::weighted(0.2));
        prop::collection::vec(row, 0..8).prop_map(|rows| {
            let mut written = Written::default();
            for ((is_array, values), blank, behind, has_mark) in rows {
                if has_mark {
                    written.marks.push(written.text.len());
                    written.text.extend_from_slice(BYTE_ORDER_MARK);
                }
                let begins = written.text.len();
                let last = values.len();
                if is_array {
                    written.text.push(b'[');
                }
                for (index, (value, how)) in (1..).zip(&values) {
                    written.text.extend_from_slice(if is_array { BLANKS[blank].as_bytes() } else { b"" });
                    written.value(&layout(value, *how));
                    written.text.extend_from_slice(if is_array && index < last { b"," } else { b"" });
                }
                if is_array {
                    written.text.extend_from_slice(BLANKS[blank].as_bytes());
                    written.text.push(b']');
                    written.arrays.push((begins, written.text.len()));
                }
                written.text.extend_from_slice(BLANKS[behind].as_bytes());
            }
            written
        })
    }

    fn values_and_errors(input: &[u8], step: usize) -> (Vec<(u64, u64, String)>, Vec<ReadError>) {
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for event in events_of(input, step) {
            match event {
                Ok(event) => values.push((event.place.line, event.place.byte, text(&event))),
                Err(error) => errors.push(error),
            }
        }
        (values, errors)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn values_in_any_framing_are_found_in_order_with_their_lines(
            written in any_text(),
            step in prop_oneof![Just(usize::MAX), 1..40_usize],
            members in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let (values, errors) = values_and_errors(&written.text, step);
            prop_assert_eq!(&values, &written.found(usize::MAX));
            prop_assert!(errors.is_empty(), "{:?}", errors);
            let mut ends: Vec<usize> = members.iter().map(|end| end.index(written.text.len() + 1)).collect();
            ends.extend([0, written.text.len()]);
            ends.sort_unstable();
            let packed: Vec<u8> = ends.windows(2).flat_map(|ends| gzip(&written.text[ends[0]..ends[1]])).collect();
            let (unpacked, errors) = values_and_errors(&packed, step);
            prop_assert_eq!(&unpacked, &values);
            prop_assert!(errors.is_empty(), "{:?}", errors);
        }

        #[test]
        fn of_a_file_that_was_cut_the_values_before_the_cut_are_found_and_the_cut_is_told(
            written in any_text(),
            cut in any::<prop::sample::Index>(),
            step in prop_oneof![Just(usize::MAX), 1..40_usize],
        ) {
            let cut = cut.index(written.text.len() + 1);
            let (values, errors) = values_and_errors(&written.text[..cut], step);
            prop_assert_eq!(&values, &written.found(cut));
            prop_assert_eq!(errors.len(), usize::from(written.is_cut_within(cut)), "{:?}", errors);
            let mut packed = gzip(&written.text);
            packed.truncate(packed.len() - 1 - cut % (packed.len() - 2));
            let (values, errors) = values_and_errors(&packed, step);
            prop_assert!(written.found(usize::MAX).starts_with(&values));
            prop_assert!(matches!(errors[..], [ReadError::Read { .. }]), "{:?}", errors);
        }

        #[test]
        fn a_line_that_is_an_event_beyond_doubt_is_what_its_brackets_say(
            line in r#"\{[{}\[\]",:a \\]{0,12}\}"#,
            next in prop_oneof![Just("{}"), Just("[]")],
        ) {
            let text = format!("{line}\n{next}");
            if let Some(length) = whole_line(text.as_bytes()) {
                // Without the line's end in sight nothing is beyond doubt.
                let (values, _) = values_and_errors(text.as_bytes(), 1);
                prop_assert_eq!(&values[0], &(1, 0, line[..length].to_owned()));
            }
        }

        #[test]
        fn no_input_makes_the_reader_fail_or_go_back(input in prop::collection::vec(prop_oneof![
            prop::sample::select(&b"{}[]\",:\n \\a1"[..]), any::<u8>(),
        ], 0..200)) {
            let (values, _) = values_and_errors(&input, usize::MAX);
            prop_assert_eq!(&values_and_errors(&input, 1).0, &values);
            prop_assert!(values.windows(2).all(|pair| pair[0].1 < pair[1].1));
        }
    }
}
