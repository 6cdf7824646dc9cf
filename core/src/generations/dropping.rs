//! Generations that nobody needs any more are dropped: their states and numbers go, and what is left of each is a small item that
//! expires when its keys do.
//!
//! What is dropped is said by one item of the ledger, written in one transaction with the conditions that make it safe: that none of
//! these generations is live, is built, or can be gone back to, and that none can become so. They stay as they are until every batch
//! has ended that may have begun in one of them ([`LAST_BATCHES`]): it would else decide on what is missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::OfGeneration;
use super::building::{self, BuildError, LEASE_MS};
use super::marker::{self, NOBODYS, Read};
use crate::clock::Clock;
use crate::ports::ledger::{AggregateId, AggregateWrite, Commit, Content, Ledger, LedgerError};
use crate::subscription::Subscription;

/// So long after the last swap nothing is dropped. AWS Lambda ends an invocation after 15 minutes, a container's batch ends earlier; the
/// rest is for clocks that differ.
pub const LAST_BATCHES: Duration = Duration::from_secs(20 * 60);

const KIND: &str = "lyceum-drop";
/// Who holds leases on the work.
const SUBSCRIBER: &str = "drop";
/// So many states are listed together: each list passes what was dropped before.
const PAGE: usize = 5_000;
/// So many are written at once.
const AT_ONCE: usize = 16;
/// How often what somebody else writes, too, is read and written again.
const TRIES: u32 = 20;

/// Which generations of a subscription are dropped, and how far that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropping {
    /// Whose.
    pub subscription: String,
    /// Those of which something may be left.
    pub generations: BTreeSet<u32>,
    /// Those of which nothing is.
    pub dropped: BTreeSet<u32>,
    /// So many states and numbers are gone, of all of them.
    pub states: u64,
    /// Since when none of them is live or built, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// When this was written.
    pub updated_ms: i64,
    /// Why it did not go on when it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Dropping {
    /// When it begins, milliseconds since 1970 UTC; `None` where nothing is left to be done. A process that has had the ledger to itself
    /// since `alone_since_ms` knows that whoever began a batch before then has ended.
    pub fn begins_ms(&self, alone_since_ms: Option<i64>) -> Option<i64> {
        if self.generations.is_empty() {
            return None;
        }
        let last_batches = i64::try_from(LAST_BATCHES.as_millis()).unwrap_or(i64::MAX);
        let is_over = alone_since_ms.is_some_and(|alone_ms| alone_ms > self.since_ms);
        Some(if is_over { self.since_ms } else { self.since_ms.saturating_add(last_batches) })
    }
}

fn id_of(subscription: &str) -> AggregateId {
    AggregateId { tenant: NOBODYS.into(), kind: KIND.into(), id: subscription.into() }
}

/// What is dropped of a subscription; nothing where nobody ever asked for that.
///
/// # Errors
/// The ledger's, or that a newer release wrote it.
pub async fn read(ledger: &dyn Ledger, subscription: &str) -> Result<Dropping, BuildError> {
    Ok(read_version(ledger, subscription).await?.0)
}

async fn read_version(ledger: &dyn Ledger, subscription: &str) -> Result<(Dropping, Option<u64>), BuildError> {
    let loaded = ledger.load(&[id_of(subscription)], &[]).await?;
    let Some(stored) = loaded.aggregates.into_iter().next().flatten() else {
        return Ok((Dropping { subscription: subscription.to_owned(), ..Dropping::default() }, None));
    };
    let dropping = serde_json::from_slice(stored.content.state.as_deref().unwrap_or_default());
    let dropping = dropping.map_err(|error| {
        BuildError::Refused(format!(
            "which generations of {subscription} are dropped cannot be read, a newer release wrote it: {error}"
        ))
    })?;
    Ok((dropping, Some(stored.version)))
}

fn to_write(dropping: &Dropping, expected: Option<u64>) -> Result<AggregateWrite, BuildError> {
    let state = serde_json::to_vec(dropping).map_err(|error| BuildError::Refused(error.to_string()))?;
    Ok(AggregateWrite { id: id_of(&dropping.subscription), expected, content: Some(Content::of(state)) })
}

/// Has all generations dropped that nobody can need: neither the one that is live, nor one that is built, nor the one before the last
/// swap; that one, too, where `and_before`: from then on there is no way back. Nothing is gone when it returns.
///
/// # Errors
/// `Refused` where the subscription was never rebuilt.
pub async fn begin(
    ledger: &dyn Ledger,
    subscription: &str,
    and_before: bool,
    now_ms: i64,
) -> Result<Dropping, BuildError> {
    for _ in 0..TRIES {
        let Read { marker, version } = marker::read(ledger, subscription).await?;
        let build = building::read_version(ledger, subscription).await?;
        let (mut dropping, dropping_version) = read_version(ledger, subscription).await?;
        let (Some((mut build, build_version)), Some(_)) = (build, version) else {
            let why = format!("{subscription} was never rebuilt: it has one generation, and nothing to be dropped");
            return Err(BuildError::Refused(why));
        };
        let is_open = build.stage.is_open();
        let before = build.before.as_ref().map(|before| before.generation);
        let mut needed = BTreeSet::from([marker.live]);
        if is_open {
            needed.insert(build.generation);
        }
        // An open build may be behind its swap already, and not say so yet: then that one can be gone back to.
        needed.extend(before.filter(|_| is_open || !and_before));
        let all = 0..=marker.newest.max(marker.live);
        let new: BTreeSet<u32> = all
            .filter(|of| ![&needed, &dropping.generations, &dropping.dropped].iter().any(|in_| in_.contains(of)))
            .collect();
        if new.is_empty() {
            return Ok(dropping);
        }
        let since_ms = if is_open { build.started_ms } else { build.updated_ms };
        dropping.since_ms = dropping.since_ms.max(since_ms);
        dropping.generations.extend(new);
        (dropping.updated_ms, dropping.failed) = (now_ms, None);
        let mut aggregates = vec![to_write(&dropping, dropping_version)?];
        // Nobody begins to go back meanwhile, or a build.
        let goes = !is_open && before.is_some_and(|before| dropping.generations.contains(&before));
        build.before = build.before.filter(|_| !goes);
        aggregates.push(building::to_write(&build, Some(build_version), goes)?);
        // Whoever was about to make one of them live finds the marker written since; a build that is open has written it since itself.
        aggregates.push(marker::to_write(subscription, version, &marker, !is_open)?);
        match ledger.commit(Commit { aggregates, keys: Vec::new() }).await {
            Ok(()) => return Ok(dropping),
            // After a lost answer it is found as done.
            Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(BuildError::Unavailable(format!("what is known of {subscription} is written too often; try again")))
}

/// Nothing is kept of it from then on: such an item expires.
async fn drop_state(ledger: Arc<dyn Ledger>, id: AggregateId, version: u64) -> Result<(), LedgerError> {
    let write = AggregateWrite { id, expected: Some(version), content: Some(Content::default()) };
    ledger.commit(Commit { aggregates: vec![write], keys: Vec::new() }).await
}

/// Who drops what.
pub struct Dropper {
    /// The ledger, by its own names.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose generations.
    pub subscription: &'static Subscription,
    /// Whose states: of a tenant that is not among them they stay.
    pub tenants: Vec<String>,
    /// As in [`Dropping::begins_ms`].
    pub alone_since_ms: Option<i64>,
    /// Who works: another one in each process.
    pub holder: Uuid,
}

impl Dropper {
    /// Drops what is to be dropped, as far as it can be until `deadline_ms` (milliseconds since 1970 UTC); nothing before its time.
    /// Whoever goes on after a kill finds what is left by itself.
    ///
    /// # Errors
    /// `Elsewhere` where another process works at it, `Unavailable` where the ledger does not answer, which is noted.
    pub async fn work(&self, deadline_ms: i64) -> Result<Dropping, BuildError> {
        let dropping = read(&*self.ledger, self.subscription.name).await?;
        if dropping.begins_ms(self.alone_since_ms).is_none_or(|begins_ms| begins_ms > self.clock.now_ms()) {
            return Ok(dropping);
        }
        self.claim(LEASE_MS).await?;
        for generation in dropping.generations {
            if let Err(error) = self.drop_one(generation, deadline_ms).await {
                if matches!(error, BuildError::Elsewhere { .. }) {
                    return Err(error);
                }
                let why = error.to_string();
                // It is told; where that fails, too, the next one says why.
                let _ = self.note(&|dropping| dropping.failed = Some(why.clone())).await;
                return Err(error);
            }
            if self.clock.now_ms() >= deadline_ms {
                break;
            }
        }
        read(&*self.ledger, self.subscription.name).await
    }

    async fn drop_one(&self, generation: u32, deadline_ms: i64) -> Result<(), BuildError> {
        let name = self.subscription.name;
        // That cannot be; if it is, nothing is touched.
        if marker::read(&*self.ledger, name).await?.marker.live == generation {
            return Err(BuildError::Refused(format!("generation {generation} of {name} is live, and is not dropped")));
        }
        let ledger = OfGeneration::of(&self.ledger, generation);
        for tenant in &self.tenants {
            for kind in self.subscription.kinds() {
                while self.drop_page(&ledger, tenant, kind).await? {
                    if self.clock.now_ms() >= deadline_ms {
                        return Ok(());
                    }
                }
            }
        }
        self.note(&|dropping| {
            dropping.generations.remove(&generation);
            dropping.dropped.insert(generation);
        })
        .await
    }

    /// Drops the states that are listed first; `false` where there are none.
    async fn drop_page(&self, ledger: &Arc<dyn Ledger>, tenant: &str, kind: &str) -> Result<bool, BuildError> {
        let found = ledger.list(tenant, kind, PAGE).await?;
        if found.is_empty() {
            return Ok(false);
        }
        let writes: Vec<_> =
            found.into_iter().map(|(id, stored)| drop_state(Arc::clone(ledger), id, stored.version)).collect();
        let written: Vec<_> = futures::stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let gone = written.iter().filter(|written| written.is_ok()).count() as u64;
        self.note(&|dropping| (dropping.states, dropping.failed) = (dropping.states + gone, None)).await?;
        self.claim(LEASE_MS).await?;
        for written in written {
            match written {
                // What another one did, or may have done, is seen by the next list.
                Ok(()) | Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Writes how far it is, whoever else writes it, too.
    async fn note(&self, change: &(dyn Fn(&mut Dropping) + Sync)) -> Result<(), BuildError> {
        for _ in 0..TRIES {
            let (mut dropping, version) = read_version(&*self.ledger, self.subscription.name).await?;
            change(&mut dropping);
            dropping.updated_ms = self.clock.now_ms();
            let commit = Commit { aggregates: vec![to_write(&dropping, version)?], keys: Vec::new() };
            match self.ledger.commit(commit).await {
                Ok(()) => return Ok(()),
                Err(LedgerError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let name = self.subscription.name;
        Err(BuildError::Unavailable(format!(
            "how far the dropping of {name} is cannot be written; it goes on by itself"
        )))
    }

    async fn claim(&self, for_ms: i64) -> Result<(), BuildError> {
        building::claim(&*self.ledger, SUBSCRIBER, self.subscription.name, self.holder, self.clock.now_ms(), for_ms)
            .await
    }

    /// Gives the lease back, so that another process need not wait for its end.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn give_back(&self) -> Result<(), BuildError> {
        self.claim(0).await
    }
}
