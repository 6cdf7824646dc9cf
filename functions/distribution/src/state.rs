//! What is kept of a distribution, and what a person is shown of it.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use lyceum_core::family::AggregateState;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use smol_str::SmolStr;

pub use lyceum_catalog::distribution::DISTRIBUTION;

/// Where a distribution is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody outside sees it yet.
    Draft,
    /// Who may see it does.
    Published,
    /// Nobody outside sees it any more.
    Unpublished,
    /// It is gone.
    Deleted,
}

impl Status {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "in draft",
            Self::Published => "published",
            Self::Unpublished => "unpublished",
            Self::Deleted => "deleted",
        }
    }
}

/// Who sees a distribution that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Who has its address.
    Unlisted,
    /// Who is let in.
    Private,
}

impl Visibility {
    /// As events name them.
    pub const NAMES: [&'static str; 3] = ["public", "unlisted", "private"];

    /// The one of that name; the last one for any other, which a reader has found out before.
    pub fn named(name: &str) -> Self {
        match name {
            "public" => Self::Public,
            "unlisted" => Self::Unlisted,
            _ => Self::Private,
        }
    }
}

/// One to four numbers: `2`, `1.4.0`. What a shorter one lacks is 0.
#[derive(Clone, Debug, Default)]
pub struct Version(Vec<u64>);

/// A text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoVersion;

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|of| of.is_ascii_digit());
        let number = |part| Some(part).filter(is_number)?.parse().ok();
        let numbers: Option<Vec<u64>> = text.split('.').map(number).collect();
        numbers.filter(|numbers| numbers.len() <= 4).map(Self).ok_or(NoVersion)
    }
}

impl Version {
    fn numbers(&self) -> [u64; 4] {
        std::array::from_fn(|at| self.0.get(at).copied().unwrap_or(0))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers().cmp(&other.numbers())
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.numbers() == other.numbers()
    }
}

impl Eq for Version {}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|NoVersion| serde::de::Error::custom("it is no version"))
    }
}

/// A distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Where it is on its way.
    pub status: Status,
    /// What it distributes.
    pub course_id: SmolStr,
    /// Its name in addresses.
    pub slug: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Who sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// Where its course can be looked at before it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging_url: Option<String>,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub niches: BTreeSet<String>,
    /// Its version; `None` until the first one is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// How often it was viewed.
    #[serde(default)]
    pub views: u64,
    /// How often somebody clicked to enrol.
    #[serde(default)]
    pub clicks: u64,
    /// When the last event happened, milliseconds since 1970 UTC.
    pub changed_at_ms: i64,
}

impl Aggregate for Distribution {
    type State = Self;
    const KIND: &'static str = DISTRIBUTION;

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

impl AggregateState for Distribution {
    fn view(&self, _: &[Option<Self>]) -> Value {
        json!({
            "status": self.status,
            "course_id": self.course_id,
            "slug": self.slug,
            "title": self.title,
            "visibility": self.visibility,
            "staging_url": self.staging_url,
            "niches": self.niches,
            "version": self.version,
            "views": self.views,
            "clicks": self.clicks,
            "changed_at": UtcTime::from_millis(self.changed_at_ms),
        })
    }
}
