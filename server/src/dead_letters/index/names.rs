//! Names that senders wrote, each kept once for as long as something has it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// A longer name is kept as its beginning and its digest.
const NAME_BYTES: usize = 256;

/// Stands for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::dead_letters) struct Symbol(u32);

impl Symbol {
    /// No name.
    pub(super) const NONE: Self = Self(0);
    /// A name that nothing has.
    const UNKNOWN: Self = Self(u32::MAX);
}

/// The names, by symbol and by text.
#[derive(Default)]
pub(super) struct Names {
    by_text: HashMap<Arc<str>, Symbol>,
    /// The name and how many have it, at its symbol less one.
    kept: Vec<(Arc<str>, usize)>,
    free: Vec<Symbol>,
}

impl Names {
    /// The symbol of a name, which one more has from now on.
    pub(super) fn take(&mut self, text: &str) -> Symbol {
        let text = shorten(text);
        if let Some(&symbol) = self.by_text.get(&*text) {
            self.keep(symbol);
            return symbol;
        }
        let text: Arc<str> = text.into();
        let entry = (text.clone(), 1);
        let symbol = match self.free.pop() {
            Some(symbol) => {
                self.kept[symbol.0 as usize - 1] = entry;
                symbol
            }
            None => {
                self.kept.push(entry);
                Symbol(u32::try_from(self.kept.len()).unwrap_or(u32::MAX))
            }
        };
        self.by_text.insert(text, symbol);
        symbol
    }

    fn entry(&mut self, symbol: Symbol) -> Option<&mut (Arc<str>, usize)> {
        self.kept.get_mut((symbol.0 as usize).checked_sub(1)?)
    }

    /// One more has it.
    pub(super) fn keep(&mut self, symbol: Symbol) {
        if let Some((_, count)) = self.entry(symbol) {
            *count += 1;
        }
    }

    /// One has it no more.
    pub(super) fn release(&mut self, symbol: Symbol) {
        let Some((text, count)) = self.entry(symbol) else { return };
        *count -= 1;
        if *count == 0 {
            let text = std::mem::replace(text, "".into());
            self.by_text.remove(&text);
            self.free.push(symbol);
        }
    }

    /// The symbol of a name; one that equals no other where nothing has it.
    pub(super) fn find(&self, text: &str) -> Symbol {
        self.by_text.get(&*shorten(text)).copied().unwrap_or(Symbol::UNKNOWN)
    }

    /// The name of a symbol.
    pub(super) fn text(&self, symbol: Symbol) -> Option<&str> {
        Some(&self.kept.get((symbol.0 as usize).checked_sub(1)?)?.0)
    }
}

/// The name as it is kept; of the kept form it is the same.
fn shorten(text: &str) -> Cow<'_, str> {
    if text.len() <= NAME_BYTES {
        return text.into();
    }
    let digest: String = Sha256::digest(text)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let end = (0..=NAME_BYTES / 2).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…{digest}", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_only_while_something_has_it() {
        let mut names = Names::default();
        let (first, second) = (names.take("acme"), names.take("acme"));
        assert_eq!((first, names.text(first)), (second, Some("acme")));
        names.release(first);
        assert_eq!(names.find("acme"), first);
        names.release(first);
        assert_eq!((names.find("acme"), names.by_text.len()), (Symbol::UNKNOWN, 0));
        assert_eq!(names.take("globex"), first, "its place is used again");
        names.release(Symbol::NONE);
        assert_eq!(names.text(Symbol::NONE), None);
    }

    #[test]
    fn a_long_name_is_short_and_found_by_itself() {
        let mut names = Names::default();
        let long = |end: &str| format!("{}{end}", "ü".repeat(5_000));
        let (one, other) = (names.take(&long("one")), names.take(&long("other")));
        assert_ne!(one, other);
        assert_eq!(names.find(&long("one")), one);
        let kept = names.text(one).unwrap().to_owned();
        assert!(kept.len() <= NAME_BYTES, "{}", kept.len());
        assert_eq!(names.find(&kept), one);
    }
}
