//! Avro's binary encoding, read by a plan straight into a type of serde: nothing is held in between, text is borrowed from the
//! record. What is wrong with one value and leaves the next one findable (a text that is no UTF-8, an unknown symbol) is noted, and
//! reading goes on; what does not, ends it. No number of the sender's decides how much memory is taken.
//!
//! Source: Apache Avro 1.12 specification, "Binary encoding".

use std::fmt;
use std::marker::PhantomData;
use std::str::Utf8Error;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::json::JsonAt;
use super::plan::{Op, OpId, Plan, Step, Symbol};
use super::schema::{MAX_DEPTH, Schema, Type};
use super::seen::{Path, Seen, Stop, Variant};

/// So many items may arrays and maps of one record have together: an item may take no byte at all.
const MAX_ITEMS: usize = 100_000;

/// So many bytes has a long that needs all of its 64 bits, seven a byte.
const MAX_LONG_BYTES: usize = 10;

/// Of each byte of a word the one that is no part of ASCII, and says in a number that it goes on.
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The number that ends within these eight bytes, and how many of them it has: their lower seven bits each, pushed together by
/// pairs, which needs no turn for each byte.
fn long_in_word(word: u64) -> Option<(u64, usize)> {
    let end = !word & HIGH_BITS;
    if end == 0 {
        return None;
    }
    let ones = word & (end ^ (end - 1)) & !HIGH_BITS;
    let twos = (ones & 0x007f_007f_007f_007f) | ((ones & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (twos & 0x0000_3fff_0000_3fff) | ((twos & 0x3fff_0000_3fff_0000) >> 2);
    let eight = (fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4);
    Some((eight, end.trailing_zeros() as usize / 8 + 1))
}

/// A text of so many bytes is looked at by itself.
const LONG_TEXT_BYTES: usize = 32;

/// How many of these bytes, from the first on, are ASCII.
fn ascii_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let high_bits = u64::from_le_bytes(*word) & HIGH_BITS;
        if high_bits != 0 {
            return at * 8 + high_bits.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().take_while(|byte| byte.is_ascii()).count()
}

/// The bytes of a record, and how far they are read.
pub(super) struct Bytes<'d, 's> {
    whole: &'d [u8],
    left: &'d [u8],
    /// Of what follows one another in ASCII, texts and what stands between them, the last that was looked at.
    ascii: &'d str,
    /// How many bytes were left where it begins.
    ascii_left: usize,
    items: usize,
    fields: usize,
    pub(super) seen: &'s mut Seen,
}

/// How texts and bytes that lie in `'d` are given to a type that may borrow for `'a`.
pub(super) trait Lend<'a, 'd> {
    fn text<V: Visitor<'a>>(text: &'d str, visitor: V) -> Result<V::Value, Stop>;
    fn bytes<V: Visitor<'a>>(bytes: &'d [u8], visitor: V) -> Result<V::Value, Stop>;
}

/// They are borrowed.
pub(super) struct Lent;

impl<'a> Lend<'a, 'a> for Lent {
    fn text<V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_borrowed_str(text)
    }

    fn bytes<V: Visitor<'a>>(bytes: &'a [u8], visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_borrowed_bytes(bytes)
    }
}

/// They are copied: what was decompressed is gone when it was read.
pub(super) struct Copied;

impl<'a, 'd> Lend<'a, 'd> for Copied {
    fn text<V: Visitor<'a>>(text: &'d str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_str(text)
    }

    fn bytes<V: Visitor<'a>>(bytes: &'d [u8], visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_bytes(bytes)
    }
}

impl<'d, 's> Bytes<'d, 's> {
    pub(super) fn of(bytes: &'d [u8], seen: &'s mut Seen) -> Self {
        Self { whole: bytes, left: bytes, ascii: "", ascii_left: bytes.len(), items: 0, fields: 0, seen }
    }

    /// Bytes behind the value.
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    #[cold]
    fn ended(&mut self, path: &Path<'_>, expected: &str) -> Stop {
        let message = format!("expected {expected}, and the value ends after {} bytes", self.whole.len());
        self.seen.note("record.malformed", path, message);
        Stop::Noted
    }

    #[cold]
    fn malformed(&mut self, path: &Path<'_>, message: String) -> Stop {
        self.seen.note("record.malformed", path, message);
        Stop::Noted
    }

    #[inline]
    fn byte(&mut self, path: &Path<'_>, expected: &str) -> Result<u8, Stop> {
        let Some((byte, rest)) = self.left.split_first() else { return Err(self.ended(path, expected)) };
        self.left = rest;
        Ok(*byte)
    }

    #[inline]
    fn long(&mut self, path: &Path<'_>, expected: &str) -> Result<i64, Stop> {
        // Most are of one byte.
        if let Some((byte @ ..0x80, rest)) = self.left.split_first() {
            self.left = rest;
            return Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1));
        }
        self.long_of_more(path, expected)
    }

    fn long_of_more(&mut self, path: &Path<'_>, expected: &str) -> Result<i64, Stop> {
        if let Some((raw, length)) = self.left.first_chunk().and_then(|word| long_in_word(u64::from_le_bytes(*word))) {
            self.left = &self.left[length..];
            return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
        let mut raw = 0u64;
        for (at, byte) in self.left.iter().take(MAX_LONG_BYTES).enumerate() {
            raw |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 && (at + 1 < MAX_LONG_BYTES || *byte <= 1) {
                self.left = &self.left[at + 1..];
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(self.no_long(path, expected))
    }

    #[cold]
    fn no_long(&mut self, path: &Path<'_>, expected: &str) -> Stop {
        match self.left.len() < MAX_LONG_BYTES {
            true => self.ended(path, expected),
            false => self.malformed(path, format!("expected {expected}, found a number of more than 64 bits")),
        }
    }

    /// A number outside of an int leaves the next value findable.
    #[inline]
    fn int(&mut self, path: &Path<'_>) -> Result<i32, Stop> {
        let number = self.long(path, "an int")?;
        Ok(i32::try_from(number).unwrap_or_else(|_| {
            self.odd(path, "an int", format_args!("{number}"));
            0
        }))
    }

    #[inline]
    fn exact<const N: usize>(&mut self, path: &Path<'_>, expected: &str) -> Result<[u8; N], Stop> {
        let Some((bytes, rest)) = self.left.split_first_chunk::<N>() else { return Err(self.ended(path, expected)) };
        self.left = rest;
        Ok(*bytes)
    }

    #[inline]
    fn take(&mut self, length: usize, path: &Path<'_>, expected: &str) -> Result<&'d [u8], Stop> {
        let Some((bytes, rest)) = self.left.split_at_checked(length) else {
            return Err(self.too_few(path, expected, length));
        };
        self.left = rest;
        Ok(bytes)
    }

    #[cold]
    fn too_few(&mut self, path: &Path<'_>, expected: &str, length: usize) -> Stop {
        let message = format!("expected {expected} of {length} bytes, and the value has {} more", self.left.len());
        self.malformed(path, message)
    }

    #[inline]
    fn with_length(&mut self, path: &Path<'_>, expected: &str) -> Result<&'d [u8], Stop> {
        let length = self.long(path, expected)?;
        match usize::try_from(length) {
            Ok(length) => self.take(length, path, expected),
            Err(_) => Err(self.no_length(path, expected, length)),
        }
    }

    #[cold]
    fn no_length(&mut self, path: &Path<'_>, expected: &str, length: i64) -> Stop {
        self.malformed(path, format!("expected {expected}, found the length {length}"))
    }

    #[inline]
    fn text(&mut self, path: &Path<'_>) -> Result<&'d str, Stop> {
        match self.text_in_ascii() {
            Some(text) => Ok(text),
            None => self.text_ahead(path),
        }
    }

    /// The next text, where it lies with its length in what was looked at.
    #[inline]
    fn text_in_ascii(&mut self) -> Option<&'d str> {
        let from = self.ascii_left - self.left.len();
        // A byte of ASCII is the whole of a number; an odd one is a negative number's.
        let length = self.ascii.as_bytes().get(from).filter(|length| **length & 1 == 0)? >> 1;
        let text = self.ascii.get(from + 1..from + 1 + usize::from(length))?;
        self.left = self.left.get(1 + text.len()..)?;
        Some(text)
    }

    /// A text that was not looked at yet. Most texts are short and stand side by side: to look at all that follows one in ASCII
    /// costs less than to look at each.
    #[inline(never)]
    fn text_ahead(&mut self, path: &Path<'_>) -> Result<&'d str, Stop> {
        let bytes = self.with_length(path, "a string")?;
        if bytes.len() >= LONG_TEXT_BYTES {
            return Ok(self.utf8(bytes, path));
        }
        let left = self.left.len() + bytes.len();
        let ahead = &self.whole[self.whole.len() - left..];
        let ascii = ascii_len(ahead);
        if ascii >= bytes.len()
            && let Ok(ascii) = std::str::from_utf8(&ahead[..ascii])
        {
            (self.ascii, self.ascii_left) = (ascii, left);
            return Ok(&ascii[..bytes.len()]);
        }
        Ok(self.utf8(bytes, path))
    }

    #[inline]
    fn utf8(&mut self, bytes: &'d [u8], path: &Path<'_>) -> &'d str {
        std::str::from_utf8(bytes).unwrap_or_else(|error| self.no_utf8(path, error))
    }

    #[cold]
    fn no_utf8(&mut self, path: &Path<'_>, error: Utf8Error) -> &'d str {
        let message = format!("expected a string, found bytes that are no UTF-8 from byte {}", error.valid_up_to());
        self.seen.note("field.type", path, message);
        ""
    }

    #[inline]
    fn boolean(&mut self, path: &Path<'_>) -> Result<bool, Stop> {
        let byte = self.byte(path, "a boolean")?;
        if byte > 1 {
            self.odd(path, "a boolean", format_args!("the byte {byte}"));
        }
        Ok(byte == 1)
    }

    /// What is wrong and leaves the next value findable.
    #[cold]
    fn odd(&mut self, path: &Path<'_>, expected: &str, found: fmt::Arguments<'_>) {
        self.seen.note("field.type", path, format!("expected {expected}, found {found}"));
    }

    #[inline]
    fn branch<'p>(&mut self, branches: &'p [OpId], path: &Path<'_>) -> Result<&'p OpId, Stop> {
        let at = self.long(path, "the branch of a union")?;
        let branch = usize::try_from(at).ok().and_then(|at| branches.get(at));
        branch.ok_or_else(|| self.no_branch(path, branches.len(), at))
    }

    #[cold]
    fn no_branch(&mut self, path: &Path<'_>, branches: usize, at: i64) -> Stop {
        self.malformed(path, format!("expected the branch of a union, 0 to {}, found {at}", branches - 1))
    }

    #[inline]
    fn symbol(&mut self, symbols: &[Symbol], path: &Path<'_>) -> Result<u32, Stop> {
        let at = self.long(path, "an enum")?;
        match usize::try_from(at).ok().and_then(|at| symbols.get(at)) {
            Some(Symbol { is: Some(is), is_default: false, .. }) => Ok(*is),
            symbol => Ok(self.odd_symbol(path, symbol, symbols.len(), at)),
        }
    }

    /// What stands for a symbol that the reader does not know.
    #[cold]
    fn odd_symbol(&mut self, path: &Path<'_>, symbol: Option<&Symbol>, symbols: usize, at: i64) -> u32 {
        let Some(symbol) = symbol else {
            self.seen.note("field.type", path, format!("expected an enum of {symbols} symbols, found {at}"));
            return 0;
        };
        if symbol.is_default {
            self.seen.unknown_symbol = Some((path.pointer(), symbol.name.clone()));
        }
        symbol.is.unwrap_or_else(|| {
            self.seen.note("field.type", path, format!("the symbol {:?} is not known", symbol.name));
            0
        })
    }

    /// How many items a block of an array or a map has; 0 ends it.
    fn block(&mut self, path: &Path<'_>) -> Result<usize, Stop> {
        let count = self.long(path, "the number of items")?;
        if count < 0 {
            // The block's length in bytes, for whoever skips it.
            self.long(path, "the length of items")?;
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        self.items = self.items.saturating_add(count);
        if self.items > MAX_ITEMS {
            let message = format!("expected at most {MAX_ITEMS} items in all arrays and maps, found {}", self.items);
            return Err(self.malformed(path, message));
        }
        Ok(count)
    }

    /// Before the fields of a record: neither how deep it lies in others nor how many fields there are without a byte is the
    /// schema's to say, which a registry may have of anyone.
    #[inline]
    fn enter(&mut self, fields: usize, path: &Path<'_>) -> Result<(), Stop> {
        if path.depth() > MAX_DEPTH {
            return Err(self.too_deep(path));
        }
        self.fields += fields;
        // What has a byte lies in no more records than that.
        if self.fields > MAX_ITEMS + MAX_DEPTH * self.whole.len() {
            return Err(self.many_fields(path));
        }
        Ok(())
    }

    #[cold]
    fn too_deep(&mut self, path: &Path<'_>) -> Stop {
        self.malformed(path, format!("expected at most {MAX_DEPTH} records in each other"))
    }

    #[cold]
    fn many_fields(&mut self, path: &Path<'_>) -> Stop {
        self.malformed(path, format!("expected at most {MAX_ITEMS} fields that take no byte, found more"))
    }

    fn skip(&mut self, plan: &Plan, op: &Op, path: &Path<'_>) -> Result<(), Stop> {
        match op {
            Op::Null | Op::Unfinished => {}
            Op::Boolean => drop(self.byte(path, "a boolean")?),
            Op::Int | Op::Long | Op::IntToLong | Op::IntToDouble | Op::LongToDouble => {
                self.long(path, "a number")?;
            }
            Op::Float | Op::FloatToDouble => drop(self.exact::<4>(path, "a float")?),
            Op::Double => drop(self.exact::<8>(path, "a double")?),
            Op::Bytes | Op::String | Op::BytesToString | Op::StringToBytes => {
                self.with_length(path, "bytes")?;
            }
            Op::Fixed(size) => drop(self.take(*size, path, "bytes")?),
            Op::Enum(_) => drop(self.long(path, "an enum")?),
            Op::Array(items) | Op::Map(items) => loop {
                let count = self.block(path)?;
                if count == 0 {
                    return Ok(());
                }
                for at in 0..count {
                    if matches!(op, Op::Map(_)) {
                        self.with_length(path, "a key")?;
                    }
                    self.skip(plan, plan.get(*items), &Path::Item(path, at))?;
                }
            },
            Op::Record { steps, .. } => {
                self.enter(steps.len(), path)?;
                for step in steps {
                    if let Step::Read { name, op, .. } | Step::Skip { name, op } = step {
                        self.skip(plan, plan.get(*op), &Path::Member(path, name))?;
                    }
                }
            }
            Op::Branches(branches) => {
                let branch = *self.branch(branches, path)?;
                self.skip(plan, plan.get(branch), path)?;
            }
            Op::Branch { inner, .. } => self.skip(plan, plan.get(*inner), path)?,
            Op::Never(why) => return Err(self.never(why, path)),
        }
        Ok(())
    }

    #[cold]
    fn never(&mut self, why: &str, path: &Path<'_>) -> Stop {
        self.seen.note("schema.mismatch", path, why);
        Stop::Noted
    }
}

/// The tenant, where it was read before reading ended: whose the record's letter is.
pub(super) fn tenant(seen: &Seen, bytes: &[u8]) -> Option<String> {
    let at = bytes.len().checked_sub(seen.tenant_at?)?;
    let mut again = Seen::default();
    let tenant = Bytes::of(&bytes[at..], &mut again).text(&Path::Whole).ok()?.to_owned();
    again.findings.is_empty().then_some(tenant)
}

/// What is read, and how.
pub(super) struct Source<'d, 's, 'p> {
    pub(super) bytes: Bytes<'d, 's>,
    pub(super) plan: &'p Plan,
    pub(super) reader: &'p Schema,
}

/// The value that is read next.
pub(super) struct At<'b, 's, 'd, 'p, L> {
    pub(super) source: &'b mut Source<'d, 's, 'p>,
    pub(super) op: &'p Op,
    pub(super) path: &'b Path<'b>,
    pub(super) lend: PhantomData<L>,
}

impl<L> At<'_, '_, '_, '_, L> {
    /// The operation behind the writer's branch.
    #[inline(always)]
    fn chosen(mut self) -> Result<Self, Stop> {
        while let Op::Branches(branches) = self.op {
            self.op = self.source.plan.get(*self.source.bytes.branch(branches, self.path)?);
        }
        Ok(self)
    }

    #[inline(always)]
    fn inner(self, op: OpId) -> Self {
        Self { op: self.source.plan.get(op), ..self }
    }
}

impl<'a, 'd, L: Lend<'a, 'd>> de::Deserializer<'a> for At<'_, '_, 'd, '_, L> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        let path = self.path;
        match self.op {
            Op::Null => visitor.visit_unit(),
            Op::Boolean => visitor.visit_bool(self.source.bytes.boolean(path)?),
            Op::Int => visitor.visit_i32(self.source.bytes.int(path)?),
            Op::Long => visitor.visit_i64(self.source.bytes.long(path, "a long")?),
            Op::IntToLong => visitor.visit_i64(self.source.bytes.int(path)?.into()),
            Op::IntToDouble => visitor.visit_f64(self.source.bytes.int(path)?.into()),
            Op::LongToDouble => visitor.visit_f64(self.source.bytes.long(path, "a long")? as f64),
            Op::Float | Op::FloatToDouble => {
                visitor.visit_f64(f32::from_le_bytes(self.source.bytes.exact(path, "a float")?).into())
            }
            Op::Double => visitor.visit_f64(f64::from_le_bytes(self.source.bytes.exact(path, "a double")?)),
            Op::String => {
                let text = self.source.bytes.text(path)?;
                L::text(text, visitor)
            }
            Op::BytesToString => {
                let bytes = self.source.bytes.with_length(path, "bytes")?;
                let text = self.source.bytes.utf8(bytes, path);
                L::text(text, visitor)
            }
            Op::Bytes => {
                let bytes = self.source.bytes.with_length(path, "bytes")?;
                L::bytes(bytes, visitor)
            }
            Op::StringToBytes => {
                let text = self.source.bytes.text(path)?;
                L::bytes(text.as_bytes(), visitor)
            }
            Op::Fixed(size) => {
                let bytes = self.source.bytes.take(*size, path, "bytes")?;
                L::bytes(bytes, visitor)
            }
            Op::Enum(symbols) => visitor.visit_u32(self.source.bytes.symbol(symbols, path)?),
            Op::Array(items) => {
                let op = self.source.plan.get(*items);
                visitor.visit_seq(Items { at: self, op, in_block: 0, next: 0 })
            }
            Op::Map(values) => {
                let op = self.source.plan.get(*values);
                visitor.visit_map(Items { at: self, op, in_block: 0, next: 0 })
            }
            Op::Record { steps, .. } => {
                self.source.bytes.enter(steps.len(), path)?;
                visitor.visit_map(Fields { at: self, steps, current: None })
            }
            Op::Branches(_) => self.chosen()?.deserialize_any(visitor),
            Op::Branch { inner, .. } => {
                let inner = *inner;
                self.inner(inner).deserialize_any(visitor)
            }
            Op::Never(why) => Err(self.source.bytes.never(why, path)),
            Op::Unfinished => Err(self.source.bytes.never("the schema cannot be read", path)),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        // A text is most often one that was written as such.
        match self.op {
            Op::String => L::text(self.source.bytes.text(self.path)?, visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_i64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.op {
            Op::Long => visitor.visit_i64(self.source.bytes.long(self.path, "a long")?),
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.op {
            Op::Boolean => visitor.visit_bool(self.source.bytes.boolean(self.path)?),
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.op {
            Op::Int => visitor.visit_i32(self.source.bytes.int(self.path)?),
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.op {
            Op::Enum(symbols) => visitor.visit_u32(self.source.bytes.symbol(symbols, self.path)?),
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.op {
            Op::Array(items) => {
                let op = self.source.plan.get(*items);
                visitor.visit_seq(Items { at: self, op, in_block: 0, next: 0 })
            }
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.op {
            Op::Double => visitor.visit_f64(f64::from_le_bytes(self.source.bytes.exact(self.path, "a double")?)),
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        let chosen = self.chosen()?;
        match chosen.op {
            Op::Null => visitor.visit_none(),
            Op::Branch { inner, .. } => match chosen.source.plan.get(*inner) {
                Op::Null => visitor.visit_none(),
                _ => {
                    let inner = *inner;
                    visitor.visit_some(chosen.inner(inner))
                }
            },
            _ => visitor.visit_some(chosen),
        }
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let chosen = self.chosen()?;
        match chosen.op {
            Op::Branch { at, inner } => {
                let (at, inner) = (*at, *inner);
                visitor.visit_enum(Variant { at, inner: Some(chosen.inner(inner)) })
            }
            Op::Enum(symbols) => {
                let at = chosen.source.bytes.symbol(symbols, chosen.path)?;
                visitor.visit_enum(Variant::<Self> { at, inner: None })
            }
            Op::Never(why) => Err(chosen.source.bytes.never(why, chosen.path)),
            _ => Err(de::Error::custom("a union or an enum is read of something else")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        mut self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self = self.chosen()?;
        while let Op::Branch { inner, .. } = self.op {
            self = self.inner(*inner);
        }
        let Op::Record { steps, is_in_order: true } = self.op else { return self.deserialize_any(visitor) };
        self.source.bytes.enter(steps.len(), self.path)?;
        // A struct has the reader's fields in their order, so that no field needs to be told by its place.
        let mut fields = InOrder { at: self, steps: steps.iter() };
        let value = visitor.visit_seq(&mut fields);
        if value.is_ok() && !fields.steps.as_slice().is_empty() {
            let mut rest = &mut fields;
            while rest.next_element::<de::IgnoredAny>()?.is_some() {}
        }
        value
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        i8 i16 i128 u8 u16 u64 u128 f32 char string bytes byte_buf unit unit_struct tuple tuple_struct map identifier
        ignored_any
    }
}

/// The fields of a record, all of the reader's in their order.
struct InOrder<'b, 's, 'd, 'p, L> {
    at: At<'b, 's, 'd, 'p, L>,
    steps: std::slice::Iter<'p, Step>,
}

impl<'a, 'd, L: Lend<'a, 'd>> SeqAccess<'a> for &mut InOrder<'_, '_, 'd, '_, L> {
    type Error = Stop;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        let Some(Step::Read { name, op, is_tenant, .. }) = self.steps.next() else { return Ok(None) };
        let At { source, path, .. } = &mut self.at;
        if *is_tenant {
            source.bytes.seen.tenant_at = Some(source.bytes.left.len());
        }
        let (op, path) = (source.plan.get(*op), Path::Member(path, name));
        seed.deserialize(At { source, op, path: &path, lend: PhantomData::<L> }).map(Some)
    }
}

/// The fields of a record, by their places among the reader's.
struct Fields<'b, 's, 'd, 'p, L> {
    at: At<'b, 's, 'd, 'p, L>,
    steps: &'p [Step],
    current: Option<&'p Step>,
}

impl<'a, 'd, L: Lend<'a, 'd>> MapAccess<'a> for Fields<'_, '_, 'd, '_, L> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        while let Some((step, rest)) = self.steps.split_first() {
            self.steps = rest;
            let place = match step {
                Step::Skip { name, op } => {
                    let path = Path::Member(self.at.path, name);
                    self.at.source.bytes.skip(self.at.source.plan, self.at.source.plan.get(*op), &path)?;
                    continue;
                }
                Step::Read { at, .. } | Step::Default { at, .. } => *at,
            };
            self.current = Some(step);
            let place: U32Deserializer<Stop> = place.into_deserializer();
            return seed.deserialize(place).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let At { source, path, .. } = &mut self.at;
        match self.current.take() {
            Some(Step::Read { name, op, is_tenant, .. }) => {
                if *is_tenant {
                    source.bytes.seen.tenant_at = Some(source.bytes.left.len());
                }
                let (op, path) = (source.plan.get(*op), Path::Member(path, name));
                seed.deserialize(At { source, op, path: &path, lend: PhantomData::<L> })
            }
            Some(Step::Default { at, name, record }) => {
                let path = Path::Member(path, name);
                let field = match source.reader.get(*record) {
                    Type::Record { fields, .. } => fields.get(*at as usize),
                    _ => None,
                };
                match field.and_then(|field| Some((field, field.default.as_ref()?))) {
                    Some((field, default)) => {
                        let (schema, of, seen) = (source.reader, field.of, &mut *source.bytes.seen);
                        seed.deserialize(JsonAt { value: Some(default), schema, of, path: &path, seen })
                    }
                    None => Err(de::Error::custom("a default is missing")),
                }
            }
            Some(Step::Skip { .. }) | None => Err(de::Error::custom("a value without a field")),
        }
    }
}

/// The items of an array or a map.
struct Items<'b, 's, 'd, 'p, L> {
    at: At<'b, 's, 'd, 'p, L>,
    op: &'p Op,
    in_block: usize,
    next: usize,
}

impl<'d, L> Items<'_, '_, 'd, '_, L> {
    fn has_next(&mut self) -> Result<bool, Stop> {
        if self.in_block == 0 {
            self.in_block = self.at.source.bytes.block(self.at.path)?;
        }
        Ok(self.in_block > 0)
    }

    fn read<'a, V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Stop>
    where
        L: Lend<'a, 'd>,
    {
        let path = Path::Item(self.at.path, self.next);
        (self.in_block, self.next) = (self.in_block - 1, self.next + 1);
        seed.deserialize(At { source: self.at.source, op: self.op, path: &path, lend: PhantomData::<L> })
    }
}

impl<'a, 'd, L: Lend<'a, 'd>> SeqAccess<'a> for Items<'_, '_, 'd, '_, L> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        if !self.has_next()? {
            return Ok(None);
        }
        self.read(seed).map(Some)
    }
}

impl<'a, 'd, L: Lend<'a, 'd>> MapAccess<'a> for Items<'_, '_, 'd, '_, L> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        if !self.has_next()? {
            return Ok(None);
        }
        let text = self.at.source.bytes.text(self.at.path)?;
        let key: de::value::StrDeserializer<'_, Stop> = text.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        self.read(seed)
    }
}
