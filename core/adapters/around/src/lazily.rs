//! Any adapter, connected when it is first called: a process that may not need it does not pay for it at its start.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::around::Source;

/// How an adapter is made. Its failure is the port's own error, so that a setting that is wrong stays refused, and only
/// what may pass counts as unavailable.
type Connect<T, E> = dyn Fn() -> BoxFuture<'static, Result<Arc<T>, E>> + Send + Sync;

/// An adapter that is made by its first call, and once; where it cannot be made, the next call tries again.
pub struct Lazily<T: ?Sized, E> {
    made: OnceCell<Arc<T>>,
    connect: Box<Connect<T, E>>,
}

impl<T: ?Sized, E> Lazily<T, E> {
    /// Makes the adapter by `connect` when it is first called.
    pub fn new<C>(connect: impl Fn() -> C + Send + Sync + 'static) -> Self
    where
        C: Future<Output = Result<Arc<T>, E>> + Send + 'static,
    {
        Self { made: OnceCell::new(), connect: Box::new(move || Box::pin(connect())) }
    }
}

impl<T: ?Sized + Send + Sync + 'static, E: Send + 'static> Source<E> for Lazily<T, E> {
    type Adapter = T;

    async fn adapter(&self) -> Result<&T, E> {
        self.made.get_or_try_init(|| (self.connect)()).await.map(|made| &**made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::measured::Measured;
    use lyceum_core::metrics::Metrics;
    use lyceum_core::ports::ledger::{Commit, Ledger, LedgerError};
    use lyceum_testing::memory::ledger::MemoryLedger;

    /// A ledger whose first connection fails like this, and how often it was connected.
    fn ledger_after(first: LedgerError) -> (impl Ledger, Arc<AtomicUsize>, Arc<Metrics>) {
        let (tries, metrics) = (Arc::new(AtomicUsize::new(0)), Arc::new(Metrics::new()));
        let counted = tries.clone();
        let connect = move || {
            let is_first = counted.fetch_add(1, SeqCst) == 0;
            let first = first.clone();
            async move { if is_first { Err(first) } else { Ok(Arc::new(MemoryLedger::default())) } }
        };
        (Measured::new(Lazily::new(connect), metrics.clone()), tries, metrics)
    }

    #[tokio::test]
    async fn an_adapter_is_made_by_the_first_call_that_can_and_never_again() {
        let away = LedgerError::Unavailable("no route".to_owned());
        let (ledger, tries, _) = ledger_after(away.clone());
        assert_eq!(tries.load(SeqCst), 0);
        assert_eq!(ledger.ping().await, Err(away));
        assert_eq!((ledger.ping().await, ledger.ping().await, tries.load(SeqCst)), (Ok(()), Ok(()), 2));
    }

    #[tokio::test]
    async fn what_refuses_to_connect_is_refused_in_its_own_words_and_a_write_is_never_uncertain() {
        let refused = LedgerError::Refused("no region is set; set AWS_REGION".to_owned());
        let (ledger, _, metrics) = ledger_after(refused.clone());
        let answer = ledger.commit(Commit::default()).await;
        assert_eq!(answer, Err(refused));
        assert!(!answer.unwrap_err().is_transient());
        let counted = r#"lyceum_store_errors_total{store="ledger",kind="refused"} 1"#;
        assert!(metrics.encode().contains(counted), "{}", metrics.encode());
    }
}
