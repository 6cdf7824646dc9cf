//! What events carry, as data: a family's `catalog.rs` lists it, schemas and documents are made of it, and tests hold it to what the
//! family's own reader takes. Pure data, which no function links.

/// What the events of a family carry.
#[derive(Debug)]
pub struct Payloads {
    /// Their wire form.
    pub form: Form,
    /// One an event type, in the catalog's order.
    pub of: &'static [Payload],
}

/// A wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An xAPI statement, bare or in a wrapped message.
    Statement,
    /// A module's envelope, Charter v1.0.
    Charter,
    /// Avro, or the same in JSON, by the family's schemas.
    Avro,
}

/// What the events of one type carry.
#[derive(Debug)]
pub struct Payload {
    /// `program.created` …
    pub event_type: &'static str,
    /// What it is for: who says it, and why, in a sentence.
    pub purpose: &'static str,
    /// How bad it is when one is late or lost.
    pub criticality: Criticality,
    /// Its fields, beside those that its wire form asks for.
    pub fields: &'static [Field],
}

/// How bad it is when an event is late or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criticality {
    /// A number is a little wrong.
    Low,
    /// Somebody sees something later than they could.
    Normal,
    /// What somebody relies on is wrong: a seat, an answer, a course that is not there.
    High,
    /// Security, or what was approved: somebody is to look at once.
    Critical,
}

impl Criticality {
    /// Every one, from the least.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// As documents have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Low => "a number is a little wrong when one is missing",
            Self::Normal => "somebody sees something later than they could",
            Self::High => "what somebody relies on is wrong: a seat, an answer, a course that is not there",
            Self::Critical => "security, or what was approved: somebody is to look at once",
        }
    }
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name; of a statement the one that documents have for it.
    pub name: &'static str,
    /// What it holds, and in a statement where.
    pub kind: Kind,
    /// Whether it has to be there.
    pub presence: Presence,
    /// What it means, for people.
    pub about: &'static str,
}

/// Whether a field has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has to.
    Required,
    /// It may be left out.
    Optional,
    /// It, or another one of these.
    OneOfThese,
}

impl Presence {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Required => "yes",
            Self::Optional => "no",
            Self::OneOfThese => "one of these",
        }
    }
}

impl Field {
    /// One that has to be there.
    pub const fn required(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, presence: Presence::Required, about }
    }

    /// One that may be left out.
    pub const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, presence: Presence::Optional, about }
    }

    /// One of several of which one has to be there.
    pub const fn one_of_these(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, presence: Presence::OneOfThese, about }
    }
}

/// What a field holds. Texts are bounded in bytes, which a schema can only say as characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A statement's `object.id`: an activity IRI whose last segment is the id.
    ActivityId,
    /// A statement's `object.id`: the IRI is the id, or the platform's own form has it.
    ActivityIri,
    /// A statement's `object.definition.name`.
    ActivityName,
    /// A statement's `actor`, who must be identified.
    Learner,
    /// A statement's `actor`, identified or not.
    Actor,
    /// A statement's `context.registration`.
    Registration,
    /// A statement's `result.response`.
    Response,
    /// A statement's `result.score`: `raw`, else `scaled`.
    Score,
    /// A text of 1 to 512 bytes, or a whole number; not needed where a parent or grouping of the statement's object is a survey.
    SurveyOfQuestion,
    /// A text of 1 to 512 bytes, or a whole number.
    IdOrNumber,
    /// A text of 1 to 512 bytes that is not blank.
    Id,
    /// A text of 1 to 512 bytes.
    Name,
    /// A text, even an empty one.
    AnyText,
    /// A text that is not blank, of at most so many bytes.
    Text(usize),
    /// A text that is not blank, of whatever length its record may have.
    LongText,
    /// Texts for people: at most 100, each of 1 to 2,048 bytes.
    Texts,
    /// At most so many texts of 1 to 512 bytes; each counts once.
    Names(usize),
    /// A UUID.
    Uuid,
    /// An RFC 3339 timestamp with a zone.
    Timestamp,
    /// A whole number within these, both included.
    Whole(u64, u64),
    /// A whole number of at least so much.
    AtLeast(u64),
    /// A number within these, both included.
    Number(f64, f64),
    /// True or false.
    Boolean,
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these words; another one is taken for the last of them.
    OpenWords(&'static [&'static str]),
    /// An http or https URL, or a path with a slash before it.
    Location,
    /// Lower-case letters, digits and hyphens: at most 128.
    Slug,
    /// `sha256:` and 64 hexadecimal digits in lower case.
    Hash,
    /// A version of one to four numbers, or a whole number.
    Version,
    /// Any JSON.
    Any,
}

impl Kind {
    /// The members of a statement by which a field is reached; `None` of one that is an extension.
    pub fn path(self) -> Option<&'static [&'static str]> {
        Some(match self {
            Self::ActivityId | Self::ActivityIri => &["object", "id"],
            Self::ActivityName => &["object", "definition", "name"],
            Self::Learner | Self::Actor => &["actor"],
            Self::Registration => &["context", "registration"],
            Self::Response => &["result", "response"],
            Self::Score => &["result", "score"],
            _ => return None,
        })
    }
}
