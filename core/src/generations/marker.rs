//! Which generation of a subscription is live: one small item of the ledger, its marker. Every process reads it at most
//! each [`TTL`], and nobody processes by what was read longer ago.
//!
//! A swap is two writes of it, each on the condition of the version before. The first *holds* the subscription: whoever reads that
//! begins no batch. The second names the generation that is live from then on. In between the new generation gets whatever
//! stands on the topics. A hold whose maker died is let go by whoever waits for it: by a write of the same item, so that a maker
//! who was only slow finds its own second write refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::OfGeneration;
use crate::clock::Clock;
use crate::ports::ledger::{AggregateId, AggregateWrite, Commit, Content, Ledger, LedgerError};

/// So long a process goes by what it read of a marker.
pub const TTL: Duration = Duration::from_secs(3);

/// So long a maker of a swap waits after it began to hold: until nobody goes by an older marker, clocks that differ in their pace included.
pub const EFFECTIVE_AFTER: Duration = Duration::from_secs(6);

/// So long a hold lasts at most, by the clock of whoever waits for it.
pub const HOLD: Duration = Duration::from_secs(60);

/// The tenant of what belongs to none.
pub(super) const NOBODYS: &str = "lyceum";
const KIND: &str = "lyceum-generation";

/// What the marker of a subscription says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// The generation in which events are processed, and of which questions are answered.
    pub live: u32,
    /// The largest number that a generation was given.
    pub newest: u32,
    /// Until when no batch is begun, milliseconds since 1970 UTC; `None` where nobody swaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until_ms: Option<i64>,
}

/// A marker as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// What it says; generation 0 where there is none.
    pub marker: Marker,
    /// Its version; `None` where there is none.
    pub version: Option<u64>,
}

fn id_of(subscription: &str) -> AggregateId {
    AggregateId { tenant: NOBODYS.into(), kind: KIND.into(), id: subscription.into() }
}

/// Reads a subscription's marker.
///
/// # Errors
/// The ledger's; `Refused` where a newer release wrote it.
pub async fn read(ledger: &dyn Ledger, subscription: &str) -> Result<Read, LedgerError> {
    let loaded = ledger.load(&[id_of(subscription)], &[]).await?;
    let Some(stored) = loaded.aggregates.into_iter().next().flatten() else { return Ok(Read::default()) };
    let state = stored.content.state.unwrap_or_default();
    let marker = serde_json::from_slice(&state).map_err(|error| {
        let why =
            format!("which generation of {subscription} is live cannot be read, a newer release wrote it: {error}");
        LedgerError::Refused(why)
    })?;
    Ok(Read { marker, version: Some(stored.version) })
}

/// Writes it, where it is as it was read; as it is from then on.
///
/// # Errors
/// `Conflict` where it is not.
pub async fn write(
    ledger: &dyn Ledger,
    subscription: &str,
    expected: Option<u64>,
    marker: Marker,
) -> Result<Read, LedgerError> {
    let write = to_write(subscription, expected, &marker, true)?;
    ledger.commit(Commit { aggregates: vec![write], keys: Vec::new() }).await?;
    Ok(Read { marker, version: Some(expected.unwrap_or(0) + 1) })
}

/// The write of a marker, or only the condition that it is as it was read.
pub(super) fn to_write(
    subscription: &str,
    expected: Option<u64>,
    marker: &Marker,
    is_written: bool,
) -> Result<AggregateWrite, LedgerError> {
    let state = serde_json::to_vec(marker).map_err(|error| LedgerError::Refused(error.to_string()))?;
    Ok(AggregateWrite { id: id_of(subscription), expected, content: is_written.then(|| Content::of(state)) })
}

/// The markers as this process read them last.
pub struct Generations {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    ttl_ms: i64,
    seen: Mutex<BTreeMap<&'static str, (i64, Read)>>,
}

impl Generations {
    /// Reads each at most every [`TTL`].
    pub fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> Self {
        Self::with_ttl(ledger, clock, TTL)
    }

    /// Reads each at most so often, for tests.
    pub fn with_ttl(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, ttl: Duration) -> Self {
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        Self { ledger, clock, ttl_ms, seen: Mutex::default() }
    }

    /// The ledger, by its own names.
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// The time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What a marker says, read no longer ago than [`TTL`].
    ///
    /// # Errors
    /// Those of [`read`].
    pub async fn now(&self, subscription: &'static str) -> Result<Read, LedgerError> {
        // The wall clock, not one that stands while the machine sleeps; where it was set back nothing read before counts.
        let asked_ms = self.clock.now_ms();
        if let Some((read_ms, read)) = self.seen.lock().get(subscription)
            && (0..self.ttl_ms).contains(&(asked_ms - read_ms))
        {
            return Ok(read.clone());
        }
        // As old as the question, not as the answer.
        let read = read(&*self.ledger, subscription).await?;
        self.seen.lock().insert(subscription, (asked_ms, read.clone()));
        Ok(read)
    }

    /// The ledger of the generation that is live, of one subscription: for looking at what it keeps.
    ///
    /// # Errors
    /// Those of [`read`].
    pub async fn live(&self, subscription: &'static str) -> Result<Arc<dyn Ledger>, LedgerError> {
        Ok(OfGeneration::of(&self.ledger, self.now(subscription).await?.marker.live))
    }

    /// Lets a hold go that lasted too long; `false` where somebody else wrote the marker meanwhile.
    ///
    /// # Errors
    /// The ledger's, but for a conflict.
    pub async fn let_go(&self, subscription: &'static str, held: &Read) -> Result<bool, LedgerError> {
        let marker = Marker { held_until_ms: None, ..held.marker.clone() };
        let written = write(&*self.ledger, subscription, held.version, marker).await;
        self.seen.lock().remove(subscription);
        match written {
            Ok(_) => Ok(true),
            Err(LedgerError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
