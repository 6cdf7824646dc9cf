//! Thrift's compact protocol, as much of it as Parquet's metadata needs to be written. Pure.
//!
//! Source: Apache Thrift, `doc/specs/thrift-compact-protocol.md`.

/// The type of a field or of a list's elements, as it stands in their header.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Type {
    I32 = 5,
    Binary = 8,
    Struct = 12,
}

/// Writes one struct, field by field, in ascending order of their ids.
pub(super) struct Struct<'o> {
    out: &'o mut Vec<u8>,
    last: u8,
}

/// A struct with these fields, behind what is there.
pub(super) fn write(out: &mut Vec<u8>, fields: impl FnOnce(&mut Struct<'_>)) {
    let mut of = Struct { out, last: 0 };
    fields(&mut of);
    of.out.push(0);
}

impl Struct<'_> {
    fn header(&mut self, id: u8, type_number: u8) {
        // No struct of Parquet's has a gap of more than 15 between the ids that are written here.
        self.out.push((id - self.last) << 4 | type_number);
        self.last = id;
    }

    pub(super) fn bool(&mut self, id: u8, value: bool) {
        self.header(id, if value { 1 } else { 2 });
    }

    pub(super) fn i32(&mut self, id: u8, value: i32) {
        self.header(id, Type::I32 as u8);
        integer(self.out, value.into());
    }

    pub(super) fn i64(&mut self, id: u8, value: i64) {
        self.header(id, 6);
        integer(self.out, value);
    }

    pub(super) fn binary(&mut self, id: u8, value: &[u8]) {
        self.header(id, Type::Binary as u8);
        binary(self.out, value);
    }

    pub(super) fn structure(&mut self, id: u8, fields: impl FnOnce(&mut Struct<'_>)) {
        self.header(id, Type::Struct as u8);
        write(self.out, fields);
    }

    /// A list whose elements are written by `element`, as values without headers.
    pub(super) fn list<T>(
        &mut self,
        id: u8,
        of: Type,
        elements: impl ExactSizeIterator<Item = T>,
        mut element: impl FnMut(&mut Vec<u8>, T),
    ) {
        self.header(id, 9);
        match u8::try_from(elements.len()) {
            Ok(count @ 0..15) => self.out.push(count << 4 | of as u8),
            _ => {
                self.out.push(0xf0 | of as u8);
                varint(self.out, elements.len() as u64);
            }
        }
        for value in elements {
            element(self.out, value);
        }
    }
}

/// Zigzag: small numbers of either sign are short.
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    varint(out, (value << 1 ^ value >> 63) as u64);
}

pub(super) fn binary(out: &mut Vec<u8>, value: &[u8]) {
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Seven bits a byte, the lowest first.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
