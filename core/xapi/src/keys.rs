//! The keys of objects: the fixed ones of the specification, and sets of free ones.

use std::borrow::Cow;
use std::collections::HashSet;

/// The keys that one kind of object may have; made by `keys!`.
pub(super) trait Key: Copy {
    /// Every key, as it is written.
    const NAMES: &'static [&'static str];
    /// The key of that name.
    fn find(name: &str) -> Option<Self>;
    /// The key whose name and a quote the text begins with, and the length of both; near the end of a text it may not
    /// be seen.
    fn begins(text: &[u8]) -> Option<(Self, usize)>;
    /// Its place in `NAMES`.
    fn place(self) -> usize;
}

/// Declares an enum of keys: `keys! { AccountKey { HomePage = "homePage", Name = "name" } }`.
macro_rules! keys {
    ($keys:ident { $($key:ident = $name:literal),+ $(,)? }) => {
        #[derive(Clone, Copy)]
        enum $keys { $($key),+ }

        impl $keys {
            /// As it is written.
            fn name(self) -> &'static str {
                match self {
                    $(Self::$key => $name),+
                }
            }
        }

        impl $crate::keys::Key for $keys {
            const NAMES: &'static [&'static str] = &[$($name),+];

            #[inline]
            fn find(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$key),)+
                    _ => None,
                }
            }

            #[inline]
            fn begins(text: &[u8]) -> Option<(Self, usize)> {
                let first = u64::from_le_bytes(*text.first_chunk()?);
                $({
                    const FIRST: $crate::keys::First = $crate::keys::First::of($name);
                    if first & FIRST.mask == FIRST.bytes
                        && ($name.len() < 8 || text.starts_with(concat!($name, "\"").as_bytes()))
                    {
                        return Some((Self::$key, $name.len() + 1));
                    }
                })+
                None
            }

            #[inline]
            fn place(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use keys;

/// The first eight bytes of a key and its quote, by which most keys differ.
pub(super) struct First {
    pub(super) bytes: u64,
    /// Which of the bytes belong to them.
    pub(super) mask: u64,
}

impl First {
    pub(super) const fn of(name: &str) -> Self {
        let (mut bytes, mut mask, mut at) = ([0; 8], [0; 8], 0);
        while at < 8 && at <= name.len() {
            bytes[at] = if at < name.len() { name.as_bytes()[at] } else { b'"' };
            mask[at] = u8::MAX;
            at += 1;
        }
        Self { bytes: u64::from_le_bytes(bytes), mask: u64::from_le_bytes(mask) }
    }
}

/// A set of free keys: the first few side by side, since most objects have no more, all others hashed.
#[derive(Default)]
pub(super) struct KeySet<'a> {
    few: [&'a str; 8],
    length: usize,
    rest: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> KeySet<'a> {
    /// Adds the key; false if it was there.
    #[expect(clippy::ptr_arg, reason = "a key that borrows from the statement is kept as it is, longer than this call")]
    #[inline(always)]
    pub(super) fn insert(&mut self, key: &Cow<'a, str>) -> bool {
        // Most keys differ in their length or end, those of one vocabulary in nothing before it.
        let is_it =
            |few: &&str| few.len() == key.len() && few.as_bytes().last() == key.as_bytes().last() && **few == **key;
        if self.few.iter().take(self.length).any(is_it) {
            return false;
        }
        match key {
            Cow::Borrowed(key) if self.length < self.few.len() && self.rest.is_none() => {
                self.few[self.length] = key;
                self.length += 1;
                true
            }
            key => self.insert_further(key.clone()),
        }
    }

    #[cold]
    fn insert_further(&mut self, key: Cow<'a, str>) -> bool {
        self.rest.get_or_insert_default().insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_every_key_that_it_was_given() {
        let keys: Vec<Cow<'static, str>> = (0..100)
            .map(|n| if n % 7 == 3 { format!("k{n}").into() } else { Cow::Borrowed(&*format!("k{n}").leak()) })
            .collect();
        let mut set = KeySet::default();
        assert!(keys.iter().all(|key| set.insert(key)));
        assert!(!keys.iter().any(|key| set.insert(key)));
        assert!(!keys.iter().any(|key| set.insert(&Cow::Owned(key.to_string()))));
    }
}
