//! What can be asked of the audit log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::keeping::{self, Head, Sealed};
use crate::audit::entry::{Entry, LogId, Wanted};
use crate::audit::hash::Hash;
use crate::audit::proof::{self, Inclusion};
use crate::audit::seal::{LastSeal, SealedLog, StoredSeal};
use crate::audit::tree::leaf;
use crate::audit::verify::{self, Expected, Finding, Verified, Verifying, Wrong};
use crate::clock::Clock;
use crate::ports::ledger::{Ledger, LedgerError};
use crate::ports::statements::{QueryDocuments, StatementDocument, StatementsError};

/// An entry that is not in its log yet may be on its way: it is looked for so often.
const LOOKS: u32 = 5;
/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// So many tenants are told apart.
const TENANTS: u32 = 10_000;

/// The audit log, to be looked at.
#[derive(Clone)]
pub struct AuditLog {
    /// Where entries are.
    pub entries: Arc<dyn QueryDocuments>,
    /// Where heads and seals are.
    pub ledger: Arc<dyn Ledger>,
    /// Waits for what is on its way.
    pub clock: Arc<dyn Clock>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The store's.
    #[error("{0}")]
    Entries(#[from] StatementsError),
    /// The ledger's.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

/// Some entries, the newest first.
#[derive(Debug)]
pub struct Found {
    /// As they stand in their logs: the JSON text, and what it says.
    pub entries: Vec<(StatementDocument, Entry<'static>)>,
    /// How many there are in all.
    pub total: u64,
    /// Hand it back for more.
    pub next: Option<String>,
}

/// The logs of a tenant, and its seals.
#[derive(Clone, Debug)]
pub struct Logs {
    /// Those that the ledger has, in the order of their names.
    pub known: Vec<(LogId, Head)>,
    /// Names of those that the ledger has not, and the store has entries of.
    pub unknown: Vec<String>,
    /// Its seals.
    pub seals: Seals,
}

/// The seals of a tenant.
#[derive(Clone, Debug)]
pub struct Seals {
    /// The last one.
    pub last: LastSeal,
    /// All of them that are there, by number.
    pub stored: BTreeMap<u64, StoredSeal>,
}

impl Logs {
    /// What is wrong with the seals, and logs that nobody began; `known` is the hash of a seal that was kept elsewhere.
    pub fn findings(&self, tenant: &str, known: Option<Hash>) -> Vec<Finding> {
        let mut findings =
            verify::seals(tenant, self.seals.last.count, &self.seals.stored, self.seals.last.hash, known);
        findings.extend(self.unknown.iter().map(|log| Finding {
            wrong: Wrong::Added,
            tenant: tenant.into(),
            log: Some(log.clone()),
            number: None,
            position: None,
            message: "it has entries, and nobody began it".to_owned(),
        }));
        let known: BTreeSet<String> = self.known.iter().map(|(log, _)| log.name()).collect();
        let sealed = self.seals.stored.values().filter_map(|seal| seal.read().ok()).flat_map(|seal| seal.logs);
        let gone: BTreeSet<String> = sealed.map(|of| of.log).filter(|log| !known.contains(log)).collect();
        findings.extend(gone.into_iter().map(|log| Finding {
            wrong: Wrong::Missing,
            tenant: tenant.into(),
            log: Some(log),
            number: None,
            position: None,
            message: "it is sealed, and the ledger has it no more".to_owned(),
        }));
        findings
    }
}

impl Seals {
    /// What they say of a log, with their numbers.
    fn sealed(&self, log: &str) -> Vec<(u64, SealedLog, StoredSeal)> {
        let mut sealed = Vec::new();
        for (number, stored) in &self.stored {
            let Ok(seal) = stored.read() else { continue };
            let of_log = seal.logs.into_iter().filter(|of| of.log == log);
            sealed.extend(of_log.map(|of| (*number, of, stored.clone())));
        }
        sealed
    }
}

impl AuditLog {
    /// Entries that are wanted, the newest first; `after` is the last answer's `next`.
    ///
    /// # Errors
    /// The store's. What is no entry in the store is left out here, and found by [`AuditLog::verify`].
    pub async fn search(&self, wanted: Wanted, limit: usize, after: Option<&str>) -> Result<Found, AuditError> {
        let page = self.entries.search(&wanted.filter(), limit, after).await?;
        let entry = |document: StatementDocument| Entry::read(&document.raw).ok().map(|entry| (document, entry));
        let entries = page.statements.into_iter().filter_map(|stored| entry(stored.document)).collect();
        Ok(Found { entries, total: page.total, next: page.next })
    }

    /// The tenants that have entries, [`NOBODY`](crate::audit::entry::NOBODY) for what tells none; by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants(&self) -> Result<Vec<String>, AuditError> {
        let asked = json!({"of": {"terms": {"field": "tenant", "size": TENANTS}}});
        let answer = self.entries.aggregate(&Wanted::default().filter(), &asked).await?;
        let mut tenants: Vec<String> = keys(&answer).collect();
        tenants.sort_unstable();
        Ok(tenants)
    }

    /// The logs of a tenant.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn logs(&self, tenant: &str) -> Result<Logs, AuditError> {
        let ids: Vec<LogId> = keeping::days(&*self.ledger, tenant).await?.into_values().flatten().collect();
        let heads = keeping::heads(&*self.ledger, &ids).await?;
        let head = |head: Option<(u64, Head)>| head.map(|(_, head)| head).unwrap_or_default();
        let known: Vec<(LogId, Head)> = ids.into_iter().zip(heads).map(|(log, of)| (log, head(of))).collect();
        let wanted = Wanted { tenant: Some(tenant.to_owned()), ..Wanted::default() };
        let asked = json!({"of": {"terms": {"field": "verb", "size": known.len() + 1_000}}});
        let answer = self.entries.aggregate(&wanted.filter(), &asked).await?;
        let names: BTreeSet<String> = known.iter().map(|(log, _)| log.name()).collect();
        let unknown = keys(&answer).filter(|name| !names.contains(name)).collect();
        Ok(Logs { known, unknown, seals: self.seals(tenant).await? })
    }

    /// The seals of a tenant, which are all that verifying one log needs of [`AuditLog::logs`].
    ///
    /// # Errors
    /// The ledger's.
    pub async fn seals(&self, tenant: &str) -> Result<Seals, AuditError> {
        let last = keeping::last_seal(&*self.ledger, tenant).await?;
        let stored = keeping::seals(&*self.ledger, tenant, last.count).await?;
        Ok(Seals { last, stored })
    }

    /// What is wrong with one log. Of it a few dozen bytes for each entry are in memory.
    ///
    /// # Errors
    /// The store's, and the ledger's.
    pub async fn verify(&self, log: &LogId, seals: &Seals) -> Result<Verified, AuditError> {
        // The head first: what is stored behind it meanwhile is no entry too many.
        let head = self.head(log).await?;
        let mut verifying = Verifying::of(log.clone());
        self.for_each(log, |document| verifying.add(document)).await?;
        let sealed = seals.sealed(&log.name()).into_iter().map(|(number, of, _)| (number, of)).collect();
        let mut verified = verifying.finish(&Expected { tree: head.tree, sealed });
        self.forgive(&mut verified).await?;
        Ok(verified)
    }

    /// Entries behind the head that are on their way are none that somebody added.
    async fn forgive(&self, verified: &mut Verified) -> Result<(), AuditError> {
        let size = verified.entries;
        let is_behind = |of: &Finding| of.wrong == Wrong::Added && of.number.is_some_and(|number| number >= size);
        for look in 0..LOOKS {
            if !verified.findings.iter().any(is_behind) {
                break;
            }
            if look > 0 {
                self.clock.sleep(PAUSE).await;
            }
            let now = self.head(&verified.log).await?.tree.size();
            verified.findings.retain(|of| !(is_behind(of) && of.number.is_some_and(|number| number < now)));
        }
        Ok(())
    }

    /// What entries of a tenant are proved by, as the logs are now.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn proofs(&self, tenant: &str) -> Result<Proofs<'_>, AuditError> {
        Ok(Proofs { log: self, seals: self.seals(tenant).await?, leaves: HashMap::new() })
    }

    /// The leaves of a log up to its head, of each entry by its number; fewer where it has not all that it must have.
    async fn leaves(&self, log: &LogId) -> Result<(u64, Vec<Hash>), AuditError> {
        let size = self.head(log).await?.tree.size();
        let mut leaves: BTreeMap<u64, Hash> = BTreeMap::new();
        self.for_each(log, |document| {
            if let Ok(entry) = Entry::read(&document.raw) {
                leaves.insert(entry.number, leaf(&document.raw));
            }
        })
        .await?;
        drop(leaves.split_off(&size));
        Ok((size, leaves.into_values().collect()))
    }

    /// Seals what has grown, today's logs too.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn seal(&self, tenant: &str) -> Result<Option<Sealed>, AuditError> {
        for _ in 0..LOOKS {
            match keeping::seal(&*self.ledger, tenant, true).await {
                Err(LedgerError::Conflict) => self.clock.sleep(PAUSE).await,
                answer => return Ok(answer?),
            }
        }
        Ok(keeping::seal(&*self.ledger, tenant, true).await?)
    }

    async fn head(&self, log: &LogId) -> Result<Head, AuditError> {
        let mut heads = keeping::heads(&*self.ledger, std::slice::from_ref(log)).await?;
        Ok(heads.pop().flatten().map(|(_, head)| head).unwrap_or_default())
    }

    async fn for_each(&self, log: &LogId, mut each: impl FnMut(&StatementDocument)) -> Result<(), AuditError> {
        let tenant = Some(log.tenant.to_string());
        let filter = Wanted { tenant, log: Some(log.name()), ..Wanted::default() }.filter();
        let mut place = None;
        loop {
            let part = self.entries.scan(&filter, place).await?;
            part.statements.iter().for_each(|stored| each(&stored.document));
            match part.next {
                Some(next) => place = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Shows of entries of one tenant that they are in their logs: its seals, and each log, are read once. Of an entry of a log a few dozen
/// bytes are in memory.
pub struct Proofs<'l> {
    log: &'l AuditLog,
    seals: Seals,
    /// Of each log that was read, how many entries it must have, and their leaves.
    leaves: HashMap<LogId, (u64, Vec<Hash>)>,
}

impl Proofs<'_> {
    /// Shows that an entry is in its log; `None` where it is not in it, or was not when the log was read.
    ///
    /// # Errors
    /// The store's, and the ledger's.
    pub async fn prove(
        &mut self,
        document: &StatementDocument,
        entry: &Entry<'_>,
    ) -> Result<Option<Inclusion>, AuditError> {
        if !self.leaves.contains_key(&entry.log) {
            self.leaves.insert(entry.log.clone(), self.log.leaves(&entry.log).await?);
        }
        let Some((size, leaves)) = self.leaves.get(&entry.log) else { return Ok(None) };
        let at = usize::try_from(entry.number).ok().and_then(|number| leaves.get(number));
        // Where one is missing, those behind it have other places.
        if leaves.len() as u64 != *size || at != Some(&leaf(&document.raw)) {
            return Ok(None);
        }
        let seals = self.seals.sealed(&entry.log.name()).into_iter().map(|(_, of, stored)| (of, stored));
        let text = String::from_utf8_lossy(&document.raw).into_owned();
        Ok(proof::of_entry(entry.log.clone(), entry.number, text, leaves, &seals.collect::<Vec<_>>()))
    }
}

/// The values of the terms that were asked for.
fn keys(answer: &Value) -> impl Iterator<Item = String> {
    let buckets = answer["aggregations"]["of"]["buckets"].as_array().map_or(&[][..], Vec::as_slice);
    buckets.iter().filter_map(|bucket| bucket["key"].as_str()).map(str::to_owned)
}
