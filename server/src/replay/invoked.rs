//! Replays of a process that lives by its invocations: it begins runs, and has somebody else go on with them.

use std::sync::Arc;

use async_trait::async_trait;
use lyceum_core::replay::{File, Sink, SinkError, Sinks};
use serde_json::Value;
use uuid::Uuid;

use super::{Run, Runner};
use crate::questions::AskError;

/// Has somebody else go on with a run.
#[async_trait]
pub trait HandOver: Send + Sync {
    /// Whether there is somebody: asked before anything is kept.
    ///
    /// # Errors
    /// There is nobody, and what to do about it.
    fn check(&self) -> Result<(), AskError>;

    /// Has a run gone on with. Of two calls with the same `turn` the second one does nothing.
    ///
    /// # Errors
    /// Nobody was told; or nobody knows whether somebody was.
    async fn hand_over(&self, run: Uuid, turn: &str) -> Result<(), AskError>;
}

impl Runner {
    /// The same for a process that lives by its invocations: no folder of it stays, so that files go to buckets alone. Where somebody else
    /// goes on with runs, that one looks at the bucket, by rights that this process need not have.
    #[must_use]
    pub fn by_invocation(mut self, hand_over: Option<Arc<dyn HandOver>>) -> Self {
        let looks = hand_over.is_none();
        self.sources.sinks = self.sources.sinks.map(|sinks| Arc::new(InBuckets { sinks, looks }) as Arc<dyn Sinks>);
        self.hand_over = hand_over;
        self
    }

    /// Has a run gone on with: here, or by whom this process tells. Where nobody could be told it is kept as failed, so that it can be resumed.
    pub(super) async fn see_to_it(&self, id: Uuid, run: &Run) -> Result<(), AskError> {
        let Some(to) = self.hand_over.as_ref().filter(|_| run.is_running()) else {
            self.wake.notify_one();
            return Ok(());
        };
        let turn = format!("{id}-{}-{}", run.run, run.progress.updated_ms);
        let Err(error) = to.hand_over(id, &turn).await else { return Ok(()) };
        let reason = format!("nobody could be told to go on with it: {error}");
        let fail = |kept: super::store::Kept| {
            let mut run = kept.run;
            run.progress.fail(&reason, self.sources.clock.now_ms());
            Ok(run)
        };
        self.runs.change(id, fail).await?;
        let told = format!("{reason}; the replay is kept as {id}, and resuming it tries again");
        Err(if matches!(error, AskError::Unavailable(_)) {
            AskError::Unavailable(told)
        } else {
            AskError::Failed(told)
        })
    }

    /// Whether somebody will go on with a run, before it is kept.
    pub(super) fn check_hand_over(&self) -> Result<(), AskError> {
        self.hand_over.as_ref().map_or(Ok(()), |to| to.check())
    }
}

/// Files in buckets alone.
struct InBuckets {
    sinks: Arc<dyn Sinks>,
    /// Whether this process looks at a bucket before a run begins.
    looks: bool,
}

fn in_a_bucket(file: &File) -> Result<(), SinkError> {
    if file.place.starts_with("s3://") {
        return Ok(());
    }
    Err(SinkError::Refused(format!(
        "{:?} is a folder, and no folder of a function stays: name s3://bucket/prefix",
        file.place
    )))
}

#[async_trait]
impl Sinks for InBuckets {
    async fn check(&self, file: &File) -> Result<(), SinkError> {
        in_a_bucket(file)?;
        if self.looks { self.sinks.check(file).await } else { Ok(()) }
    }

    async fn begin(&self, file: &File) -> Result<Box<dyn Sink>, SinkError> {
        in_a_bucket(file)?;
        self.sinks.begin(file).await
    }

    async fn resume(&self, file: &File, checkpoint: &Value) -> Result<Box<dyn Sink>, SinkError> {
        in_a_bucket(file)?;
        self.sinks.resume(file, checkpoint).await
    }
}
