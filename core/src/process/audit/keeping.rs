//! What the ledger has of the audit log: heads, the logs of each day, and seals.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::audit::entry::LogId;
use crate::audit::hash::Hash;
use crate::audit::seal::{DAYS_LOOKED_BACK, LastSeal, StoredSeal, next};
use crate::audit::tree::Tree;
use crate::ports::ledger::{AggregateId, AggregateWrite, Commit, Content, Ledger, LedgerError, StoredAggregate};

const HEAD: &str = "audit-log";
const DAY: &str = "audit-day";
const SEAL: &str = "audit-seal";
const SEALS: &str = "audit-seals";

/// So many aggregates are read at once.
const READ_AT_ONCE: usize = 100;

/// A log as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The offset up to which it holds.
    pub through: i64,
    /// The tree over its entries.
    pub tree: Tree,
}

impl Default for Head {
    fn default() -> Self {
        Self { through: -1, tree: Tree::default() }
    }
}

/// The logs of one day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Day {
    /// `day/topic/partition`
    logs: Vec<String>,
}

/// A seal that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub number: u64,
    /// The last day that it is about.
    pub day: SmolStr,
    /// Its hash.
    pub hash: Hash,
}

fn id(tenant: &str, kind: &str, id: impl Into<SmolStr>) -> AggregateId {
    AggregateId { tenant: tenant.into(), kind: kind.into(), id: id.into() }
}

pub(super) fn head_id(log: &LogId) -> AggregateId {
    id(&log.tenant, HEAD, log.name())
}

fn seal_id(tenant: &str, number: u64) -> AggregateId {
    id(tenant, SEAL, format_smolstr!("{number:08}"))
}

pub(super) fn write(
    id: AggregateId,
    expected: Option<u64>,
    state: &impl Serialize,
) -> Result<AggregateWrite, LedgerError> {
    let written = serde_json::to_vec(state);
    let written = written.map_err(|error| LedgerError::Refused(format!("{id} cannot be written: {error}")))?;
    Ok(AggregateWrite { id, expected, content: Some(Content::of(written)) })
}

fn read<S: DeserializeOwned>(
    id: &AggregateId,
    stored: Option<StoredAggregate>,
) -> Result<Option<(u64, S)>, LedgerError> {
    let Some(StoredAggregate { version, content }) = stored else { return Ok(None) };
    let state = super::super::keyed::read_state(id, content.state.as_ref())?;
    Ok(state.map(|state| (version, state)))
}

async fn load<S: DeserializeOwned>(
    ledger: &dyn Ledger,
    ids: &[AggregateId],
) -> Result<Vec<Option<(u64, S)>>, LedgerError> {
    let mut loaded = Vec::with_capacity(ids.len());
    for some in ids.chunks(READ_AT_ONCE) {
        let stored = ledger.load(some, &[]).await?.aggregates;
        if stored.len() != some.len() {
            let reason = format!("it was asked for {} aggregates and answered for {}", some.len(), stored.len());
            return Err(LedgerError::Unavailable(reason));
        }
        for (id, stored) in some.iter().zip(stored) {
            loaded.push(read(id, stored)?);
        }
    }
    Ok(loaded)
}

async fn load_one<S: DeserializeOwned>(ledger: &dyn Ledger, id: AggregateId) -> Result<Option<(u64, S)>, LedgerError> {
    Ok(load(ledger, &[id]).await?.pop().flatten())
}

/// The heads of logs, with their versions.
///
/// # Errors
/// The ledger's own; `Refused` where what it has cannot be read.
pub(super) async fn heads(ledger: &dyn Ledger, logs: &[LogId]) -> Result<Vec<Option<(u64, Head)>>, LedgerError> {
    let ids: Vec<AggregateId> = logs.iter().map(head_id).collect();
    load(ledger, &ids).await
}

/// The logs of a tenant, day by day, in the order of their names.
///
/// # Errors
/// As [`heads`].
pub(super) async fn days(ledger: &dyn Ledger, tenant: &str) -> Result<BTreeMap<SmolStr, Vec<LogId>>, LedgerError> {
    let mut days = BTreeMap::new();
    for (of, stored) in ledger.list(tenant, DAY, usize::MAX).await? {
        let Some((_, Day { mut logs })) = read::<Day>(&of, Some(stored))? else { continue };
        logs.sort_unstable();
        days.insert(of.id, logs.iter().filter_map(|log| LogId::named(tenant, log)).collect());
    }
    Ok(days)
}

/// The last seal of a tenant.
///
/// # Errors
/// As [`heads`].
pub(super) async fn last_seal(ledger: &dyn Ledger, tenant: &str) -> Result<LastSeal, LedgerError> {
    Ok(load_one(ledger, id(tenant, SEALS, "last")).await?.map(|(_, last)| last).unwrap_or_default())
}

/// The seals of a tenant that are there, up to that number, by their numbers.
///
/// # Errors
/// As [`heads`].
pub(super) async fn seals(
    ledger: &dyn Ledger,
    tenant: &str,
    count: u64,
) -> Result<BTreeMap<u64, StoredSeal>, LedgerError> {
    let ids: Vec<AggregateId> = (0..count).map(|number| seal_id(tenant, number)).collect();
    let found = load::<StoredSeal>(ledger, &ids).await?;
    Ok((0..).zip(found).filter_map(|(number, seal)| Some((number, seal?.1))).collect())
}

/// Notes logs that begin. Whether their day is newer than any of the tenant before, and there was one before.
pub(super) async fn register(
    ledger: &dyn Ledger,
    tenant: &str,
    day: &str,
    logs: &[&LogId],
) -> Result<bool, LedgerError> {
    let day_id = id(tenant, DAY, day);
    let stored = load_one::<Day>(ledger, day_id.clone()).await?;
    let is_new = stored.is_none();
    let (version, mut of_day) = stored.map_or((None, Day::default()), |(version, of_day)| (Some(version), of_day));
    let before = of_day.logs.len();
    for log in logs {
        let name = log.name();
        if !of_day.logs.contains(&name) {
            of_day.logs.push(name);
        }
    }
    if of_day.logs.len() == before {
        return Ok(false);
    }
    let mut aggregates = vec![write(day_id, version, &of_day)?];
    let mut is_newest = false;
    if is_new {
        let last_id = id(tenant, SEALS, "last");
        let stored = load_one::<LastSeal>(ledger, last_id.clone()).await?;
        let (version, mut last) = stored.map_or((None, LastSeal::default()), |(version, last)| (Some(version), last));
        is_newest = !last.day.is_empty() && *day > *last.day;
        if *day > *last.day {
            last.day = day.into();
        }
        if let Err(at) = last.open.binary_search_by(|open| (**open).cmp(day)) {
            last.open.insert(at, day.into());
        }
        aggregates.push(write(last_id, version, &last)?);
    }
    ledger.commit(Commit { aggregates, keys: Vec::new() }).await?;
    Ok(is_newest)
}

/// Seals the logs of a tenant that have grown: those of the days before the newest one, or of all days. What was sealed, where
/// anything was.
///
/// # Errors
/// As [`heads`]; `Conflict` where another one seals at the same time, or a day begins.
pub(super) async fn seal(ledger: &dyn Ledger, tenant: &str, with_today: bool) -> Result<Option<Sealed>, LedgerError> {
    let last_id = id(tenant, SEALS, "last");
    let Some((version, mut last)) = load_one::<LastSeal>(ledger, last_id.clone()).await? else { return Ok(None) };
    let days: Vec<SmolStr> = last.open.iter().filter(|day| with_today || **day < last.day).cloned().collect();
    let Some(newest) = days.last().cloned() else { return Ok(None) };
    let day_ids: Vec<AggregateId> = days.iter().map(|day| id(tenant, DAY, day.clone())).collect();
    let of_days = load::<Day>(ledger, &day_ids).await?;
    let names = of_days.into_iter().flatten().flat_map(|(_, day)| day.logs);
    let logs: Vec<LogId> = names.filter_map(|name| LogId::named(tenant, &name)).collect();
    let heads = heads(ledger, &logs).await?;
    let grown = logs.iter().zip(&heads).filter_map(|(log, head)| Some((log, &head.as_ref()?.1.tree)));
    let Some(seal) = next(&last, tenant, &newest, grown, |log| last.sizes.get(log).copied().unwrap_or(0)) else {
        return Ok(None);
    };
    let text = serde_json::to_string(&seal);
    let text = text.map_err(|error| LedgerError::Refused(format!("a seal cannot be written: {error}")))?;
    let stored = StoredSeal { seal: text };
    let sealed = Sealed { number: seal.number, day: newest, hash: stored.hash() };
    last.count += 1;
    last.hash = Some(sealed.hash);
    last.sizes.extend(seal.logs.into_iter().map(|of| (of.log, of.size)));
    // What is older gets no records any more, or so few that the ledger's head is enough.
    let oldest = last.open.len().saturating_sub(DAYS_LOOKED_BACK);
    last.open.drain(..oldest);
    let first = last.open.first().cloned().unwrap_or_default();
    last.sizes.retain(|log, _| log.as_str() >= first.as_str());
    let aggregates = vec![write(seal_id(tenant, sealed.number), None, &stored)?, write(last_id, Some(version), &last)?];
    ledger.commit(Commit { aggregates, keys: Vec::new() }).await?;
    Ok(Some(sealed))
}
