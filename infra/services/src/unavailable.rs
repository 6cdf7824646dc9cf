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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use anyhow::Context as _;

    use super::*;
    use crate::cache::fetch;

    #[test]
    fn what_a_repository_did_not_hand_out_is_told_apart_whatever_is_said_around_it() {
        let refused =
            || fetch(&mut Command::new("false")).context("Maven failed").context("kafka could not be fetched");
        let why = Unavailable::from(refused().expect_err("it ends with 1"));
        assert!(
            matches!(&why, Unavailable::NotFetched(why) if why.starts_with("kafka could not be fetched: Maven")),
            "{why:?}"
        );
        assert_eq!(Unavailable::from(anyhow::anyhow!("it ended")), Unavailable::Broken("it ended".to_owned()));
    }

    #[test]
    fn several_services_are_as_bad_as_the_worst_and_each_is_told() {
        let these = vec![Unavailable::Broken("it ended".to_owned()), Unavailable::NotFetched("no jar".to_owned())];
        assert_eq!(Unavailable::all(these), Some(Unavailable::Broken("no jar\nit ended".to_owned())));
        assert_eq!(Unavailable::all(Vec::new()), None);
    }
}
