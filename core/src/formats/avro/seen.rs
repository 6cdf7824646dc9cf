//! What is seen of an event while it is read, whatever it is read from: where a value stands, what is wrong with it, and that reading
//! ends.

use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor};

use crate::envelope::finding;
use crate::outcome::Finding;

/// So many findings are listed.
const MAX_FINDINGS: usize = 50;

/// What is wrong with a record, and what was seen of it on the way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    further: usize,
    /// How many bytes were left where the tenant begins, where it was read before reading ended.
    pub(super) tenant_at: Option<usize>,
    /// The branch of `payload` that the event's type has, where that is known before.
    pub(super) payload_branch: Option<usize>,
    /// A symbol of the writer's for which the reader's default stands, and where.
    pub(super) unknown_symbol: Option<(String, String)>,
}

impl Seen {
    /// Of an event whose type, and by it the branch of its payload, is known before it is read.
    pub(super) fn of_branch(payload_branch: Option<usize>) -> Self {
        Self { payload_branch, ..Self::default() }
    }

    pub(super) fn note(&mut self, rule: &'static str, path: &Path<'_>, message: impl Into<String>) {
        match self.findings.len() < MAX_FINDINGS {
            true => self.findings.push(finding(rule, &path.pointer(), message)),
            false => self.further += 1,
        }
    }

    /// All that is wrong.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        if self.further > 0 {
            let message = format!("{} further violations are not listed", self.further);
            self.findings.push(finding("limit.violations", "", message));
        }
        self.findings
    }
}

/// Where a value stands in its record.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Whole,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// As a JSON pointer.
    pub(super) fn pointer(&self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Member(parent, name) => {
                format!("{}/{}", parent.pointer(), name.replace('~', "~0").replace('/', "~1"))
            }
            Self::Item(parent, at) => format!("{}/{at}", parent.pointer()),
        }
    }

    #[inline]
    pub(super) fn depth(&self) -> usize {
        let (mut at, mut depth) = (self, 0);
        while let Self::Member(parent, _) | Self::Item(parent, _) = at {
            (at, depth) = (*parent, depth + 1);
        }
        depth
    }
}

/// Reading ended: what is wrong is noted, or was said by the type that is read.
#[derive(Debug)]
pub(super) enum Stop {
    Noted,
    Said(Box<Said>),
}

/// The words of a type; behind a pointer, since each value that is read is given back beside room for them.
#[derive(Debug)]
pub(super) struct Said(pub(super) String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noted => f.write_str("it cannot be read further"),
            Self::Said(what) => f.write_str(&what.0),
        }
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Said(Box::new(Said(message.to_string())))
    }
}

/// A branch of a union with what stands in it, or a symbol of an enum.
pub(super) struct Variant<D> {
    pub(super) at: u32,
    pub(super) inner: Option<D>,
}

impl<'a, D: de::Deserializer<'a, Error = Stop>> EnumAccess<'a> for Variant<D> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Stop> {
        let name: U32Deserializer<Stop> = self.at.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'a, D: de::Deserializer<'a, Error = Stop>> VariantAccess<'a> for Variant<D> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Stop> {
        match self.inner {
            Some(inner) => seed.deserialize(inner),
            None => Err(de::Error::custom("a symbol has nothing in it")),
        }
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, _: V) -> Result<V::Value, Stop> {
        Err(de::Error::custom("a branch of a union is one value"))
    }

    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Stop> {
        Err(de::Error::custom("a branch of a union is one value"))
    }
}
