//! Seals: what the roots of a tenant's logs were at the end of a day. Each names the one before it, so that whoever knows one of them
//! (from the log of the process that made it, from a print-out) can tell whether anything before it was changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::entry::LogId;
use super::hash::Hash;
use super::tree::Tree;

/// So many days behind a sealed one are looked at for logs that grew since: records may come late.
pub const DAYS_LOOKED_BACK: usize = 8;

/// The logs of one tenant that have grown since the seal before, and that seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Whose logs.
    pub tenant: SmolStr,
    /// Counted from 0 for each tenant.
    pub number: u64,
    /// The last day that it is about.
    pub day: SmolStr,
    /// The hash of the seal before; `null` in the first one.
    pub previous: Option<Hash>,
    /// In the order of their names.
    pub logs: Vec<SealedLog>,
}

/// A log as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedLog {
    /// `day/topic/partition`
    pub log: String,
    /// How many entries it had.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// A seal as it is kept: its hash is that of the JSON text in `seal`, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSeal {
    /// The seal's JSON.
    pub seal: String,
}

/// The last seal of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeal {
    /// How many there are.
    pub count: u64,
    /// Its hash.
    pub hash: Option<Hash>,
    /// The newest day that was opened.
    pub day: SmolStr,
    /// The days, oldest first, whose logs the next one looks at.
    pub open: Vec<SmolStr>,
    /// Of each of their logs, by its name, how many entries are sealed.
    pub sizes: BTreeMap<String, u64>,
}

impl StoredSeal {
    /// Its hash.
    pub fn hash(&self) -> Hash {
        Hash::of(&[self.seal.as_bytes()])
    }

    /// What it says.
    ///
    /// # Errors
    /// Where it is no seal.
    pub fn read(&self) -> Result<Seal, serde_json::Error> {
        serde_json::from_str(&self.seal)
    }
}

/// The next seal of a tenant: of these logs as they are, without those that the seals before have in this size. `None` where none
/// of them has grown.
pub fn next<'l>(
    last: &LastSeal,
    tenant: &str,
    day: &str,
    logs: impl IntoIterator<Item = (&'l LogId, &'l Tree)>,
    sealed_size: impl Fn(&str) -> u64,
) -> Option<Seal> {
    let mut grown: Vec<SealedLog> = logs
        .into_iter()
        .map(|(log, tree)| SealedLog { log: log.name(), size: tree.size(), root: tree.root() })
        .filter(|of| of.size > sealed_size(&of.log))
        .collect();
    grown.sort_by(|one, other| one.log.cmp(&other.log));
    (!grown.is_empty()).then(|| Seal {
        tenant: tenant.into(),
        number: last.count,
        day: day.into(),
        previous: last.hash,
        logs: grown,
    })
}
