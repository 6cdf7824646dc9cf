//! Why a test cannot have what it needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cache::NotFetched;

/// Why a service is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unavailable {
    /// The machine has nothing to run it with: the test is reported as ignored.
    Missing(String),
    /// A repository did not hand out its program, and nothing is known of the service: the test fails, and says that.
    NotFetched(String),
    /// It should have run and did not: the test fails.
    Broken(String),
}

impl Unavailable {
    /// All of them as one, which is as bad as the worst.
    pub(crate) fn all(mut these: Vec<Self>) -> Option<Self> {
        these.sort();
        let worst = these.pop()?;
        let why: Vec<String> = these.iter().chain([&worst]).map(ToString::to_string).collect();
        let why = why.join("\n");
        Some(match worst {
            Self::Missing(_) => Self::Missing(why),
            Self::NotFetched(_) => Self::NotFetched(why),
            Self::Broken(_) => Self::Broken(why),
        })
    }
}

impl From<anyhow::Error> for Unavailable {
    fn from(error: anyhow::Error) -> Self {
        let why = format!("{error:#}");
        if error.is::<NotFetched>() { Self::NotFetched(why) } else { Self::Broken(why) }
    }
}

impl std::error::Error for Unavailable {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) | Self::Broken(why) | Self::NotFetched(why) => f.write_str(why),
        }
    }
}
