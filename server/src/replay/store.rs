//! Where runs are kept: an aggregate of the ledger each, written under the version that was read. So a process that dies loses nothing of a
//! run, and two that think it theirs cannot both write it.

use std::sync::Arc;

use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Claim, Commit, Content, KeyId, Ledger, LedgerError, StoredAggregate,
};
use lyceum_core::replay::{Plan, Progress, Request, State};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::questions::AskError;

/// Whose the aggregates are: runs may be of every tenant. No family has aggregates of this kind.
const TENANT: &str = "*";
const KIND: &str = "replay";
/// So many runs are looked through.
const LISTED: usize = 10_000;

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was asked for.
    pub request: Request,
    /// Which steps that is.
    pub plan: Plan,
    /// How far it has come.
    pub progress: Progress,
    /// The how-manieth run of this request it is, from 1.
    pub run: u32,
    /// Whose credential asked for it; `None`: of every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Who asked for it, in words.
    pub by: String,
}

/// A run, and the version under which it was read.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) id: Uuid,
    pub(super) run: Run,
    pub(super) version: u64,
}

/// What came of a write.
pub(super) enum Written {
    /// It is kept, under this version.
    Kept(u64),
    /// Something else was written meanwhile: look again.
    Changed,
}

#[derive(Clone)]
pub(super) struct Runs {
    pub(super) ledger: Arc<dyn Ledger>,
}

fn aggregate(id: Uuid) -> AggregateId {
    AggregateId { tenant: TENANT.into(), kind: KIND.into(), id: id.to_string().into() }
}

fn failed(error: LedgerError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}

fn read(id: Uuid, stored: &StoredAggregate) -> Result<Kept, AskError> {
    let state = stored.content.state.as_deref().unwrap_or_default();
    let run = serde_json::from_slice(state).map_err(|error| {
        AskError::Failed(format!("the replay {id} cannot be read, perhaps a newer release wrote it: {error}"))
    })?;
    Ok(Kept { id, run, version: stored.version })
}

impl Runs {
    pub(super) async fn load(&self, id: Uuid) -> Result<Option<Kept>, AskError> {
        let loaded = self.ledger.load(&[aggregate(id)], &[]).await.map_err(failed)?;
        loaded.aggregates.into_iter().next().flatten().map(|stored| read(id, &stored)).transpose()
    }

    /// Every run that can be read, the one that came further last first.
    pub(super) async fn list(&self) -> Result<Vec<Kept>, AskError> {
        let stored = self.ledger.list(TENANT, KIND, LISTED).await.map_err(failed)?;
        let mut runs: Vec<Kept> = stored
            .into_iter()
            .filter_map(|(of, stored)| {
                let id: Uuid = of.id.parse().ok()?;
                read(id, &stored).inspect_err(|error| tracing::warn!(%error, "a replay is left out")).ok()
            })
            .collect();
        runs.sort_by_key(|kept| (std::cmp::Reverse(kept.run.progress.updated_ms), kept.id));
        Ok(runs)
    }

    /// Writes a run under the version that was read; `None`: there is none yet.
    pub(super) async fn write(&self, id: Uuid, run: &Run, expected: Option<u64>) -> Result<Written, AskError> {
        let state = serde_json::to_vec(run).map_err(|error| AskError::Failed(error.to_string()))?;
        let write = AggregateWrite { id: aggregate(id), expected, content: Some(Content::of(state)) };
        match self.ledger.commit(Commit { aggregates: vec![write], keys: vec![] }).await {
            Ok(()) => Ok(Written::Kept(expected.unwrap_or(0) + 1)),
            Err(LedgerError::Conflict) => Ok(Written::Changed),
            Err(LedgerError::Uncertain(reason)) => match self.load(id).await? {
                Some(kept) if kept.run == *run => Ok(Written::Kept(kept.version)),
                Some(kept) if Some(kept.version) == expected => Err(AskError::Unavailable(reason)),
                None if expected.is_none() => Err(AskError::Unavailable(reason)),
                _ => Ok(Written::Changed),
            },
            Err(error) => Err(failed(error)),
        }
    }

    /// Changes a run, however often somebody else writes it meanwhile. `change` says what is wrong where it cannot be.
    pub(super) async fn change(
        &self,
        id: Uuid,
        mut change: impl FnMut(Kept) -> Result<Run, AskError>,
    ) -> Result<Run, AskError> {
        loop {
            let kept = self.load(id).await?.ok_or_else(|| no_run(id))?;
            let version = kept.version;
            let run = change(kept)?;
            match self.write(id, &run, Some(version)).await? {
                Written::Kept(_) => return Ok(run),
                Written::Changed => {}
            }
        }
    }

    /// Takes or prolongs the lease on a run; whose it is meanwhile, where it is another's.
    pub(super) async fn claim(&self, id: Uuid, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, AskError> {
        self.ledger.claim(&KeyId::of(TENANT, KIND, id), holder, now_ms, until_ms).await.map_err(failed)
    }
}

/// There is no such run.
pub(super) fn no_run(id: Uuid) -> AskError {
    AskError::NotFound(format!("there is no replay {id} of yours; `lyceum replay list` and GET /api/replays list them"))
}

impl Run {
    /// Whether a process is to go on with it.
    pub fn is_running(&self) -> bool {
        self.progress.state == State::Running
    }
}
