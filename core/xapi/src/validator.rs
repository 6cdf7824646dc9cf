//! What every part of a statement is judged with: typed values, keys, free values, and the list of violations.

use std::borrow::Cow;
use std::collections::HashSet;
use std::marker::PhantomData;

use ::uuid::Uuid;

use super::json::{Kind, Read, Reader};
use super::keys::{Key, KeySet};
use super::limits::Limits;
use super::path::Path;
use super::rules::{self, Rule};
use super::verdict::Violation;
use super::version::Version;
use super::{iri, uuid};

/// One pass over one statement. The parts of a statement add their own methods, each in its file.
pub(super) struct Validator<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) version: Version,
    /// Whether the statement's own version may still decide by which one it is judged.
    pub(super) version_is_open: bool,
    /// Whether something was judged that another version would judge otherwise.
    pub(super) version_mattered: bool,
    pub(super) violations: Vec<Violation>,
    pub(super) further: usize,
    max_violations: usize,
}

/// The members of an object with known keys, while it is read.
pub(super) struct Members<'a, K> {
    first: bool,
    seen: u32,
    miswritten: u32,
    unknown: Option<HashSet<Cow<'a, str>>>,
    keys: PhantomData<K>,
}

impl<K: Key> Members<'_, K> {
    /// Whether the key was there, if only in the wrong letter case: then nothing is missing but its case.
    pub(super) fn has(&self, key: K) -> bool {
        (self.seen | self.miswritten) >> key.place() & 1 == 1
    }

    /// Whether the key was there in the wrong letter case only, so that its value is unknown.
    pub(super) fn is_miswritten(&self, key: K) -> bool {
        (self.miswritten & !self.seen) >> key.place() & 1 == 1
    }
}

/// The members of an object with free keys, while it is read. They are large: whoever reads them makes them in their place.
pub(super) struct FreeMembers<'a> {
    first: bool,
    keys: KeySet<'a>,
}

impl Default for FreeMembers<'_> {
    #[inline]
    fn default() -> Self {
        Self { first: true, keys: KeySet::default() }
    }
}

/// A place to come back to, so that an object can be judged anew as something else.
pub(super) struct Mark<'a> {
    reader: Reader<'a>,
    violations: usize,
    further: usize,
}

impl<'a> Validator<'a> {
    pub(super) fn new(text: &'a str, mode: Option<Version>, limits: &Limits) -> Self {
        Self {
            reader: Reader::new(text, limits.depth.min(Limits::MAX_DEPTH), limits.string_bytes),
            version: mode.unwrap_or_default(),
            version_is_open: mode.is_none(),
            version_mattered: false,
            violations: Vec::new(),
            further: 0,
            max_violations: limits.violations,
        }
    }

    /// Writes down that the value at `path` breaks the rule. The message is a sentence about it.
    #[cold]
    pub(super) fn report(&mut self, rule: &'static Rule, path: &Path<'_>, message: impl Into<String>) {
        if self.violations.len() == self.max_violations {
            self.further += 1;
        } else {
            let (pointer, message) = (path.pointer(), message.into());
            self.violations.push(Violation { rule: rule.id, pointer, message, requirement: rule.requirement });
        }
    }

    pub(super) fn mark(&self) -> Mark<'a> {
        Mark { reader: self.reader, violations: self.violations.len(), further: self.further }
    }

    /// Whether nothing was reported since.
    pub(super) fn is_clean_since(&self, mark: &Mark<'_>) -> bool {
        self.violations.len() == mark.violations && self.further == mark.further
    }

    pub(super) fn rewind(&mut self, mark: &Mark<'a>) {
        self.reader = mark.reader;
        self.violations.truncate(mark.violations);
        self.further = mark.further;
    }

    /// Whether the next value is of that kind; if not, reports it and steps over it.
    #[inline(always)]
    pub(super) fn expect(&mut self, kind: Kind, path: &Path<'_>) -> Read<bool> {
        if self.reader.is_at(kind) { Ok(true) } else { self.step_over_other(kind, path) }
    }

    #[cold]
    fn step_over_other(&mut self, kind: Kind, path: &Path<'_>) -> Read<bool> {
        let found = self.reader.peek()?;
        if found == Kind::Null {
            self.report(
                &rules::VALUE_NULL,
                path,
                format!("This is null; leave the key out, or give it {}.", kind.name()),
            );
        } else {
            let message = format!("This is {}, but {} belongs here.", found.name(), kind.name());
            self.report(&rules::VALUE_TYPE, path, message);
        }
        self.free_value(path)?;
        Ok(false)
    }

    /// A string; `None` if it is none, which is then reported.
    #[inline]
    pub(super) fn text(&mut self, path: &Path<'_>) -> Read<Option<Cow<'a, str>>> {
        Ok(if self.expect(Kind::String, path)? { Some(self.reader.string()?) } else { None })
    }

    /// A boolean; `None` if it is none, which is then reported.
    pub(super) fn boolean(&mut self, path: &Path<'_>) -> Read<Option<bool>> {
        Ok(if self.expect(Kind::Boolean, path)? { Some(self.reader.boolean()?) } else { None })
    }

    /// A number as it is written; `None` if it is none, which is then reported.
    pub(super) fn number(&mut self, path: &Path<'_>) -> Read<Option<&'a str>> {
        Ok(if self.expect(Kind::Number, path)? { Some(self.reader.number()?) } else { None })
    }

    /// An absolute IRI; reported under `rule` if it is none.
    #[inline]
    pub(super) fn iri(&mut self, rule: &'static Rule, path: &Path<'_>) -> Read<Option<Cow<'a, str>>> {
        if !self.expect(Kind::String, path)? {
            return Ok(None);
        }
        let (text, is_harmless) = self.reader.string_of(iri::is_harmless)?;
        let fault = if is_harmless { iri::find_fault_of_scheme(&text) } else { iri::find_fault(&text) };
        if let Some(fault) = fault {
            self.report(rule, path, format!("The IRI {text:?} {fault}."));
        }
        Ok(Some(text))
    }

    /// A UUID; reported under `rule` if it is none.
    pub(super) fn uuid(&mut self, rule: &'static Rule, path: &Path<'_>) -> Read<Option<Uuid>> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        let uuid = uuid::parse(&text);
        if uuid.is_none() {
            let message = format!("{text:?} is no UUID: write 32 hex digits in groups of 8-4-4-4-12.");
            self.report(rule, path, message);
        }
        Ok(uuid)
    }

    /// Enters an object with known keys; `None` if it is none, which is then reported.
    #[inline]
    pub(super) fn members<K: Key>(&mut self, path: &Path<'_>) -> Read<Option<Members<'a, K>>> {
        if !self.expect(Kind::Object, path)? {
            return Ok(None);
        }
        self.reader.enter()?;
        Ok(Some(Members { first: true, seen: 0, miswritten: 0, unknown: None, keys: PhantomData }))
    }

    /// The next known key; `None` at the object's end. All other keys are reported and their values stepped over.
    #[inline]
    pub(super) fn next<K: Key>(&mut self, members: &mut Members<'a, K>, path: &Path<'_>) -> Read<Option<K>> {
        while let Some(found) = self.reader.next_known_key(&mut members.first, K::begins)? {
            match found {
                Ok(key) if members.seen >> key.place() & 1 == 0 => {
                    members.seen |= 1 << key.place();
                    return Ok(Some(key));
                }
                Ok(key) => self.step_over_odd_key(members, Cow::Borrowed(K::NAMES[key.place()]), path)?,
                Err(name) => match K::find(&name) {
                    Some(key) if members.seen >> key.place() & 1 == 0 => {
                        members.seen |= 1 << key.place();
                        return Ok(Some(key));
                    }
                    _ => self.step_over_odd_key(members, name, path)?,
                },
            }
        }
        Ok(None)
    }

    /// Reports a key that is not known or was there before, and steps over its value.
    #[cold]
    fn step_over_odd_key<K: Key>(
        &mut self,
        members: &mut Members<'a, K>,
        name: Cow<'a, str>,
        path: &Path<'_>,
    ) -> Read<()> {
        match K::find(&name) {
            Some(_) => self.report_duplicate(&path.key(&name)),
            None => self.report_unknown(members, name.clone(), path),
        }
        self.free_value(&path.key(&name))
    }

    fn report_duplicate(&mut self, path: &Path<'_>) {
        self.report(&rules::KEY_DUPLICATE, path, "This key is here more than once: keep one of them.");
    }

    #[cold]
    fn report_unknown<K: Key>(&mut self, members: &mut Members<'a, K>, name: Cow<'a, str>, path: &Path<'_>) {
        let path = &path.key(&name);
        if !members.unknown.get_or_insert_default().insert(name.clone()) {
            self.report_duplicate(path);
        } else if let Some(place) = K::NAMES.iter().position(|key| key.eq_ignore_ascii_case(&name)) {
            members.miswritten |= 1 << place;
            self.report(&rules::KEY_CASE, path, format!("The key {name:?} is written {:?}.", K::NAMES[place]));
        } else {
            let message = format!("The key {name:?} is not allowed here; allowed are {}.", K::NAMES.join(", "));
            self.report(&rules::KEY_UNKNOWN, path, message);
        }
    }

    /// Enters an object with free keys; false if it is none, which is then reported.
    #[inline]
    pub(super) fn enters_free(&mut self, path: &Path<'_>) -> Read<bool> {
        if !self.expect(Kind::Object, path)? {
            return Ok(false);
        }
        self.reader.enter()?;
        Ok(true)
    }

    /// The next key, whatever it is; `None` at the object's end. A key that was there before is reported.
    #[inline]
    pub(super) fn next_free(&mut self, members: &mut FreeMembers<'a>, path: &Path<'_>) -> Read<Option<Cow<'a, str>>> {
        let key = self.reader.next_key(&mut members.first)?;
        if let Some(key) = &key
            && !members.keys.insert(key)
        {
            self.report_duplicate(&path.key(key));
        }
        Ok(key)
    }

    /// As `next_free`, for a key that is to be an IRI; and why it is none.
    #[inline]
    pub(super) fn next_iri(
        &mut self,
        members: &mut FreeMembers<'a>,
        path: &Path<'_>,
    ) -> Read<Option<(Cow<'a, str>, Option<&'static str>)>> {
        let Some((key, is_harmless)) = self.reader.next_key_of(&mut members.first, iri::is_harmless)? else {
            return Ok(None);
        };
        if !members.keys.insert(&key) {
            self.report_duplicate(&path.key(&key));
        }
        let fault = if is_harmless { iri::find_fault_of_scheme(&key) } else { iri::find_fault(&key) };
        Ok(Some((key, fault)))
    }

    /// Steps through an array, `element` judging each; their number, or `None` if it is no array, which is then reported.
    pub(super) fn elements(
        &mut self,
        path: &Path<'_>,
        mut element: impl FnMut(&mut Self, &Path<'_>) -> Read<()>,
    ) -> Read<Option<usize>> {
        if !self.expect(Kind::Array, path)? {
            return Ok(None);
        }
        self.reader.enter()?;
        let (mut first, mut length) = (true, 0);
        while self.reader.next_element(&mut first)? {
            element(self, &path.index(length))?;
            length += 1;
        }
        Ok(Some(length))
    }

    /// Steps over any value; only keys that are there twice are reported.
    pub(super) fn free_value(&mut self, path: &Path<'_>) -> Read<()> {
        match self.reader.peek()? {
            Kind::Object => {
                let mut members = FreeMembers::default();
                if self.enters_free(path)? {
                    while let Some(key) = self.next_free(&mut members, path)? {
                        self.free_value(&path.key(&key))?;
                    }
                }
            }
            Kind::Array => {
                self.elements(path, |validator, path| validator.free_value(path))?;
            }
            Kind::String => {
                self.reader.string()?;
            }
            Kind::Number => {
                self.reader.number()?;
            }
            Kind::Boolean => {
                self.reader.boolean()?;
            }
            Kind::Null => self.reader.null()?,
        }
        Ok(())
    }
}
