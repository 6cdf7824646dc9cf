//! What the validator learned of a valid statement on its way through the bytes; everything borrows from them.

use std::borrow::Cow;

use uuid::Uuid;

/// The parts of a valid statement that routing, deciding, searching and counting need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statement<'a> {
    /// `id`; `None` where the sender left it to us.
    pub id: Option<Uuid>,
    /// Who did it.
    pub actor: Actor<'a>,
    /// `verb.id`.
    pub verb: Cow<'a, str>,
    /// What it was done to.
    pub object: Object<'a>,
    /// `result`, all `None` where it is absent.
    pub result: Outcome<'a>,
    /// `context`, empty where it is absent.
    pub context: Context<'a>,
    /// `timestamp` as an instant, milliseconds since 1970 UTC (finer digits dropped here, kept in the bytes).
    pub timestamp_ms: Option<i64>,
}

/// An Agent or a Group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actor<'a> {
    /// Whether `objectType` is `Group`.
    pub is_group: bool,
    /// `name`.
    pub name: Option<Cow<'a, str>>,
    /// Its one inverse functional identifier; `None` only for an anonymous group.
    pub ifi: Option<Ifi<'a>>,
}

/// An inverse functional identifier (xAPI-Data 2.4.2.3).
#[derive(Clone, Debug, PartialEq)]
pub enum Ifi<'a> {
    /// `mailto:` and an address.
    Mbox(Cow<'a, str>),
    /// Hex SHA-1 of a `mailto:` IRI.
    MboxSha1(Cow<'a, str>),
    /// A URI.
    OpenId(Cow<'a, str>),
    /// An account on a system.
    Account {
        /// The system.
        home_page: Cow<'a, str>,
        /// The account there.
        name: Cow<'a, str>,
    },
}

/// The object of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Object<'a> {
    /// An activity.
    Activity(Activity<'a>),
    /// An Agent or a Group.
    Actor(Actor<'a>),
    /// Another statement.
    StatementRef(Uuid),
    /// A statement within the statement.
    SubStatement,
}

impl Default for Object<'_> {
    fn default() -> Self {
        Self::Activity(Activity::default())
    }
}

/// An activity, with what we use of its definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity<'a> {
    /// Its IRI.
    pub id: Cow<'a, str>,
    /// `definition.type`.
    pub kind: Option<Cow<'a, str>>,
    /// `definition.name`: the text of the first tag that is `en` or begins with `en-`, else the first text.
    pub name: Option<Cow<'a, str>>,
    /// `definition.interactionType`.
    pub interaction_type: Option<Cow<'a, str>>,
    /// `definition.extensions`: key and raw JSON value, in the order of the bytes.
    pub extensions: Extensions<'a>,
}

/// Extension keys with their raw JSON values.
pub type Extensions<'a> = Vec<(Cow<'a, str>, &'a [u8])>;

/// The `result` of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome<'a> {
    /// `score.raw`.
    pub score_raw: Option<f64>,
    /// `score.min`.
    pub score_min: Option<f64>,
    /// `score.max`.
    pub score_max: Option<f64>,
    /// `score.scaled`.
    pub score_scaled: Option<f64>,
    /// `success`.
    pub success: Option<bool>,
    /// `completion`.
    pub completion: Option<bool>,
    /// `response`.
    pub response: Option<Cow<'a, str>>,
    /// `duration`.
    pub duration: Option<Cow<'a, str>>,
    /// `extensions`.
    pub extensions: Extensions<'a>,
}

/// The `context` of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context<'a> {
    /// `registration`.
    pub registration: Option<Uuid>,
    /// `contextActivities.parent`: id and `definition.type` of each.
    pub parents: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    /// `contextActivities.grouping`, likewise.
    pub groupings: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    /// `extensions`.
    pub extensions: Extensions<'a>,
}
