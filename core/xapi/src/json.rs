//! A pull reader of JSON text (RFC 8259), strict and borrowing: a string is a slice of the input unless it has escapes.
//!
//! It holds the grammar and the limits of depth and length; what a value means is for its callers.

use std::borrow::Cow;

/// Why reading cannot go on. It is then the only violation that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON: at this byte, this was to come.
    Syntax { at: usize, expected: &'static str },
    /// Objects and arrays within each other, more than the limit.
    Depth { at: usize },
    /// A string longer than the limit.
    String { at: usize },
    /// The statement states another version than the one it was judged by so far.
    OtherVersion,
}

/// A fault is rare and large, a box keeps what is read in registers.
pub(super) type Read<T> = Result<T, Box<Fault>>;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// With its article, for sentences.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        }
    }
}

/// A place in the text. Copying it is remembering the place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    max_depth: usize,
    max_string: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, max_depth: usize, max_string: usize) -> Self {
        Self { text, at: 0, depth: 0, max_depth, max_string }
    }

    /// The byte offset.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The raw bytes from `start` up to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.text.as_bytes()[start..self.at]
    }

    /// What comes next, white space skipped.
    #[inline]
    pub(super) fn peek(&mut self) -> Read<Kind> {
        self.skip_space();
        match self.byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.expected("a value")),
        }
    }

    /// Whether a value of that kind comes next, white space skipped.
    #[inline(always)]
    pub(super) fn is_at(&mut self, kind: Kind) -> bool {
        self.skip_space();
        matches!(
            (kind, self.byte()),
            (Kind::Object, Some(b'{'))
                | (Kind::Array, Some(b'['))
                | (Kind::String, Some(b'"'))
                | (Kind::Number, Some(b'-' | b'0'..=b'9'))
                | (Kind::Boolean, Some(b't' | b'f'))
                | (Kind::Null, Some(b'n'))
        )
    }

    /// Steps over the `{` or `[` that `peek` saw.
    #[inline]
    pub(super) fn enter(&mut self) -> Read<()> {
        if self.depth == self.max_depth {
            return Err(Box::new(Fault::Depth { at: self.at }));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// The next key of the object entered, its colon read; `None` at its end. `first` starts as true.
    #[inline]
    pub(super) fn next_key(&mut self, first: &mut bool) -> Read<Option<Cow<'a, str>>> {
        if !self.reaches_key(first)? {
            return Ok(None);
        }
        let key = self.string()?;
        self.colon()?;
        Ok(Some(key))
    }

    /// As `next_key`, and whether the key is `harmless` from end to end.
    #[inline(always)]
    pub(super) fn next_key_of(
        &mut self,
        first: &mut bool,
        harmless: impl Fn(u8) -> bool,
    ) -> Read<Option<(Cow<'a, str>, bool)>> {
        if !self.reaches_key(first)? {
            return Ok(None);
        }
        let key = self.string_of(harmless)?;
        self.colon()?;
        Ok(Some(key))
    }

    /// As `next_key`, for a key that is probably known: `find` looks for one at the beginning of the text behind the
    /// quote, and returns it with the length of its name and the quote behind that.
    #[inline]
    pub(super) fn next_known_key<K>(
        &mut self,
        first: &mut bool,
        find: impl FnOnce(&[u8]) -> Option<(K, usize)>,
    ) -> Read<Option<Result<K, Cow<'a, str>>>> {
        if !self.reaches_key(first)? {
            return Ok(None);
        }
        let behind_quote = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        let key = match find(behind_quote) {
            Some((key, length)) if length <= self.max_string => {
                self.at += 1 + length;
                Ok(key)
            }
            _ => Err(self.string()?),
        };
        self.colon()?;
        Ok(Some(key))
    }

    /// Whether the object entered has another key, whose quote is then the next byte; steps over its end.
    #[inline(always)]
    fn reaches_key(&mut self, first: &mut bool) -> Read<bool> {
        self.skip_space();
        match self.byte() {
            Some(b'}') => {
                self.leave();
                return Ok(false);
            }
            Some(b',') if !*first => {
                self.at += 1;
                self.skip_space();
            }
            Some(_) if *first => {}
            _ => return Err(self.expected("',' or '}'")),
        }
        *first = false;
        if self.byte() != Some(b'"') {
            return Err(self.expected("a key in double quotes"));
        }
        Ok(true)
    }

    #[inline(always)]
    fn colon(&mut self) -> Read<()> {
        self.skip_space();
        if self.byte() != Some(b':') {
            return Err(self.expected("':'"));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether the array entered has another element; steps over its end. `first` starts as true.
    #[inline]
    pub(super) fn next_element(&mut self, first: &mut bool) -> Read<bool> {
        self.skip_space();
        match self.byte() {
            Some(b']') => {
                self.leave();
                return Ok(false);
            }
            Some(b',') if !*first => self.at += 1,
            Some(_) if *first => {}
            _ => return Err(self.expected("',' or ']'")),
        }
        *first = false;
        Ok(true)
    }

    /// The string that `peek` saw, unescaped.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Read<Cow<'a, str>> {
        match self.plain_string() {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => self.odd_string(),
        }
    }

    /// The string that `peek` saw, unescaped, and whether it is `harmless` from end to end, which saves another look at it.
    #[inline(always)]
    pub(super) fn string_of(&mut self, harmless: impl Fn(u8) -> bool) -> Read<(Cow<'a, str>, bool)> {
        match self.string_up_to(|byte| !harmless(byte)) {
            Some(text) => Ok((Cow::Borrowed(text), true)),
            None => Ok((self.string()?, false)),
        }
    }

    /// The string that `peek` saw, if it has no escapes and nothing is wrong with it.
    fn plain_string(&mut self) -> Option<&'a str> {
        self.string_up_to(is_special)
    }

    /// The string that `peek` saw, if the first byte to stop at is the quote behind it.
    #[inline(always)]
    fn string_up_to(&mut self, stops: impl Fn(u8) -> bool) -> Option<&'a str> {
        let start = self.at + 1;
        let end = find_first(self.text.as_bytes(), start, stops);
        if self.text.as_bytes().get(end) != Some(&b'"') || end - start > self.max_string {
            return None;
        }
        self.at = end + 1;
        Some(&self.text[start..end])
    }

    #[cold]
    fn odd_string(&mut self) -> Read<Cow<'a, str>> {
        let (raw, escaped) = self.scan_string()?;
        Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// The number that `peek` saw, as it is written.
    pub(super) fn number(&mut self) -> Read<&'a str> {
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// The `true` or `false` that `peek` saw.
    pub(super) fn boolean(&mut self) -> Read<bool> {
        let value = self.byte() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// The `null` that `peek` saw.
    pub(super) fn null(&mut self) -> Read<()> {
        self.literal("null")
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Read<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[cold]
    fn expected(&self, expected: &'static str) -> Box<Fault> {
        Box::new(Fault::Syntax { at: self.at, expected })
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    #[inline]
    fn digits(&mut self) -> Read<()> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut at = start;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        self.at = at;
        if at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static str) -> Read<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("true, false or null"));
        }
        self.at += word.len();
        Ok(())
    }

    /// What stands between the quotes, and whether it has escapes, which are then known to be sound.
    fn scan_string(&mut self) -> Read<(&'a str, bool)> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut escaped = false;
        let mut at = start;
        loop {
            at = find_first(bytes, at, is_special);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at = skip_escape(bytes, at)?;
                }
                Some(_) => return Err(syntax(at, "control characters in a string to be escaped")),
                None => return Err(syntax(at, "'\"' at the end of the string")),
            }
        }
        if at - start > self.max_string {
            return Err(Box::new(Fault::String { at: self.at }));
        }
        self.at = at + 1;
        Ok((&self.text[start..at], escaped))
    }
}

#[cold]
fn syntax(at: usize, expected: &'static str) -> Box<Fault> {
    Box::new(Fault::Syntax { at, expected })
}

/// What may not stand in a string as it is.
#[inline(always)]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Where the first byte sought from `at` on is; sixteen bytes at a time, in a form that compiles to vector instructions.
#[inline(always)]
fn find_first(bytes: &[u8], at: usize, is_sought: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((chunk, behind)) = rest.split_first_chunk::<16>() {
        let mut marks = [0; 16];
        for (mark, &byte) in marks.iter_mut().zip(chunk) {
            *mark = if is_sought(byte) { u8::MAX } else { 0 };
        }
        if marks.iter().fold(0, |any, mark| any | mark) != 0 {
            let place = u128::from_le_bytes(marks).trailing_zeros() / 8;
            return bytes.len() - rest.len() + place as usize;
        }
        rest = behind;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|&&byte| !is_sought(byte)).count()
}

/// Where the escape that begins at `at` ends; surrogates must come in pairs.
fn skip_escape(bytes: &[u8], at: usize) -> Read<usize> {
    let surrogates = || syntax(at, "surrogates in pairs, the high one first");
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match code_unit(bytes, at)? {
            0xD800..=0xDBFF => {
                if bytes.get(at + 6..at + 8) != Some(b"\\u") {
                    return Err(surrogates());
                }
                match code_unit(bytes, at + 6)? {
                    0xDC00..=0xDFFF => Ok(at + 12),
                    _ => Err(surrogates()),
                }
            }
            0xDC00..=0xDFFF => Err(surrogates()),
            _ => Ok(at + 6),
        },
        _ => Err(syntax(at, "one of the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX")),
    }
}

/// The four hex digits of the `\uXXXX` at `at`.
fn code_unit(bytes: &[u8], at: usize) -> Read<u32> {
    let digits = bytes.get(at + 2..at + 6).unwrap_or_default();
    let unit = digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?));
    unit.filter(|_| digits.len() == 4).ok_or_else(|| syntax(at, "four hex digits after \\u"))
}

/// The text of a string whose escapes were found sound.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let unit = |at: usize| code_unit(rest.as_bytes(), at).unwrap_or_default();
        let (character, length) = match rest.as_bytes().get(at + 1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => {
                let (code, length) = match unit(at) {
                    high @ 0xD800..=0xDBFF => {
                        (0x10000 + ((high - 0xD800) << 10) + unit(at + 6).saturating_sub(0xDC00), 12)
                    }
                    code => (code, 6),
                };
                (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), length)
            }
            other => (other.copied().map_or('\\', char::from), 2),
        };
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Read<Cow<'_, str>> {
        let mut reader = Reader::new(text, 8, 1000);
        reader.peek()?;
        reader.string()
    }

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(read(r#""seeked at 12 s""#), Ok(Cow::Borrowed("seeked at 12 s"))));
    }

    #[test]
    fn every_escape_is_read() {
        assert_eq!(read(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 end""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\té😀 end");
    }

    #[test]
    fn the_special_byte_is_found_at_every_place_of_a_word() {
        for special in [b'"', b'\\', 0x1f, 0x00] {
            for place in 0..24 {
                let mut bytes = "é¿~ !#[]".repeat(4).into_bytes();
                bytes[place] = special;
                assert_eq!(find_first(&bytes, 0, is_special), place);
            }
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83dx""#, r#""\ud83d\ud83d""#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
