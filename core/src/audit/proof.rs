//! What shows that an entry is in its log, to somebody who has nothing but this.

use serde::Serialize;

use super::entry::LogId;
use super::hash::Hash;
use super::seal::{SealedLog, StoredSeal};
use super::tree::{leaf, path, root};

/// An entry, and how its hash leads to the roots that are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inclusion {
    /// The log.
    pub log: LogId,
    /// The entry's place in it, from 0.
    pub number: u64,
    /// The entry's JSON text, byte for byte.
    pub entry: String,
    /// SHA-256 of 00 and the entry.
    pub leaf: Hash,
    /// How it leads to the log's root as it is now.
    pub now: Way,
    /// How it leads to the root that the first seal behind it has; `None` where it is not sealed yet.
    pub sealed: Option<Sealed>,
}

/// A way to a root, as RFC 9162 has it (2.1.3).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    /// How many entries the root is over.
    pub size: u64,
    /// The root.
    pub root: Hash,
    /// The hashes beside the way, from the leaf up.
    pub path: Vec<Hash>,
}

/// The way to a root in a seal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sealed {
    /// The way.
    #[serde(flatten)]
    pub way: Way,
    /// The seal's JSON text, byte for byte.
    pub seal: String,
    /// SHA-256 of the seal: compare it with one that was kept elsewhere.
    pub seal_hash: Hash,
}

/// The proof of the entry at a place of a log with these leaves; `None` where there is no such place.
pub fn of_entry(
    log: LogId,
    number: u64,
    entry: String,
    leaves: &[Hash],
    seals: &[(SealedLog, StoredSeal)],
) -> Option<Inclusion> {
    let index = usize::try_from(number).ok()?;
    let way = |leaves: &[Hash]| Some(Way { size: leaves.len() as u64, root: root(leaves), path: path(leaves, index)? });
    let first = seals.iter().filter(|(of, _)| of.size > number).min_by_key(|(of, _)| of.size);
    let sealed = first.and_then(|(of, stored)| {
        let way = way(leaves.get(..usize::try_from(of.size).ok()?)?)?;
        Some(Sealed { way, seal: stored.seal.clone(), seal_hash: stored.hash() })
    });
    Some(Inclusion { leaf: leaf(entry.as_bytes()), now: way(leaves)?, log, number, entry, sealed })
}

#[cfg(test)]
mod tests {
    use super::super::tree::root_by;
    use super::*;

    #[test]
    fn a_proof_leads_to_the_root_of_the_log_and_to_that_of_the_first_seal_behind_it() {
        let entries: Vec<String> = (0..13).map(|number| format!("entry {number}")).collect();
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf(entry.as_bytes())).collect();
        let log = LogId { tenant: "acme".into(), day: "2026-11-29".into(), topic: "t".into(), partition: 0 };
        let seal = |size: usize| {
            let sealed = SealedLog { log: log.name(), size: size as u64, root: root(&leaves[..size]) };
            (sealed, StoredSeal { seal: format!("seal of {size}") })
        };
        let seals = [seal(11), seal(6)];
        for (number, entry) in entries.iter().enumerate() {
            let proof = of_entry(log.clone(), number as u64, entry.clone(), &leaves, &seals).unwrap();
            let leads = |way: &Way| root_by(&way.path, proof.leaf, proof.number, way.size) == Some(way.root);
            assert!(leads(&proof.now) && proof.now.size == 13);
            let sealed = proof.sealed.as_ref();
            assert!(sealed.is_none_or(|sealed| leads(&sealed.way)));
            let expected = match number {
                ..6 => Some("seal of 6"),
                6..11 => Some("seal of 11"),
                _ => None,
            };
            assert_eq!(sealed.map(|sealed| sealed.seal.as_str()), expected);
        }
        assert_eq!(of_entry(log, 13, String::new(), &leaves, &seals), None);
    }
}
