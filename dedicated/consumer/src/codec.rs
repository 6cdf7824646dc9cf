//! From bytes to keys and values.

use std::convert::Infallible;
use std::error::Error;
use std::marker::PhantomData;
use std::str::Utf8Error;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Reads a key or a value. What it gives may borrow from the record, where the type allows.
pub trait Serde: Send + Sync + 'static {
    /// What is read, as long as the record lives.
    type Item<'a>;
    /// Why it cannot be read.
    type Error: Error + Send + Sync + 'static;

    /// Reads it.
    ///
    /// # Errors
    /// Where the bytes are none of it: the record stays as it is, with its place, and can be settled.
    fn read<'a>(&self, bytes: &'a [u8]) -> Result<Self::Item<'a>, Self::Error>;
}

/// The bytes themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Serde for Raw {
    type Item<'a> = &'a [u8];
    type Error = Infallible;

    fn read<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Infallible> {
        Ok(bytes)
    }
}

/// Text in UTF-8, borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8;

impl Serde for Utf8 {
    type Item<'a> = &'a str;
    type Error = Utf8Error;

    fn read<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, Utf8Error> {
        std::str::from_utf8(bytes)
    }
}

/// JSON, as a type that owns what it has.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: DeserializeOwned + 'static> Serde for Json<T> {
    type Item<'a> = T;
    type Error = serde_json::Error;

    fn read(&self, bytes: &[u8]) -> Result<T, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// JSON that is proved to be some, and borrowed as its text. A type that borrows is read from it, or by a [`Serde`] of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonText;

impl Serde for JsonText {
    type Item<'a> = &'a RawValue;
    type Error = serde_json::Error;

    fn read<'a>(&self, bytes: &'a [u8]) -> Result<&'a RawValue, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_borrows_and_what_cannot_be_read_is_a_value() {
        let bytes = br#" {"a": "b"} "#.to_vec();
        assert_eq!(Raw.read(&bytes).unwrap().as_ptr(), bytes.as_ptr());
        assert_eq!(Utf8.read(&bytes).unwrap().as_ptr(), bytes.as_ptr());
        assert_eq!(JsonText.read(&bytes).unwrap().get().as_ptr(), bytes[1..].as_ptr());
        let map = Json::<std::collections::BTreeMap<String, String>>::default().read(&bytes).unwrap();
        assert_eq!(map["a"], "b");
        assert!(Utf8.read(b"\xff").is_err());
        assert!(JsonText.read(b"{").is_err());
        assert!(Json::<u8>::default().read(b"{}").is_err());
    }
}
