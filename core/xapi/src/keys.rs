//! The keys of objects: the fixed ones of the specification, and sets of free ones.

use std::borrow::Cow;
use std::collections::HashSet;

/// The keys that one kind of object may have; made by `keys!`.
pub(super) trait Key: Copy {
    /// Every key, as it is written.
    const NAMES: &'static [&'static str];
    /// The key of that name.
    fn find(name: &str) -> Option<Self>;
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
            fn place(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use keys;

/// A set of free keys: the first few side by side, since most objects have no more, all others hashed.
#[derive(Default)]
pub(super) struct KeySet<'a> {
    few: [&'a str; 8],
    length: usize,
    rest: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> KeySet<'a> {
    /// Adds the key; false if it was there.
    #[inline]
    pub(super) fn insert(&mut self, key: Cow<'a, str>) -> bool {
        if self.few[..self.length].iter().any(|few| *few == key) {
            return false;
        }
        match key {
            Cow::Borrowed(key) if self.length < self.few.len() && self.rest.is_none() => {
                self.few[self.length] = key;
                self.length += 1;
                true
            }
            key => self.rest.get_or_insert_default().insert(key),
        }
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
        assert!(keys.iter().all(|key| set.insert(key.clone())));
        assert!(!keys.iter().any(|key| set.insert(key.clone())));
        assert!(!keys.iter().any(|key| set.insert(Cow::Owned(key.to_string()))));
    }
}
