//! Any adapter, connected when it is first called, and again where what it was made of has changed: a process that may not
//! need it does not pay for it at its start, and one that runs for long goes on when its credentials are rotated.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::around::{Source, StoreError};

/// What an adapter is made of, where that may change while the process runs: secrets are among it.
#[async_trait]
pub trait Settings<S>: Send + Sync {
    /// What holds now. The same `Arc` as long as nothing has changed.
    async fn current(&self) -> Arc<S>;

    /// The service did not accept the credentials among these: whether others hold now.
    async fn have_others(&self, refused: &Arc<S>) -> bool;
}

/// What does not change.
#[derive(Clone, Debug, Default)]
pub struct Fixed<S>(pub Arc<S>);

#[async_trait]
impl<S: Send + Sync> Settings<S> for Fixed<S> {
    async fn current(&self) -> Arc<S> {
        self.0.clone()
    }

    async fn have_others(&self, _: &Arc<S>) -> bool {
        false
    }
}

/// How an adapter is made. Its failure is the port's own error, so that a setting that is wrong stays refused, and only
/// what may pass counts as unavailable.
type Connect<T, E, S> = dyn Fn(Arc<S>) -> BoxFuture<'static, Result<Arc<T>, E>> + Send + Sync;

/// An adapter that is made by its first call; where it cannot be made, the next call tries again. Whoever calls the one
/// before meanwhile keeps it to the end of that call.
pub struct Lazily<T: ?Sized, E, S = ()> {
    settings: Box<dyn Settings<S>>,
    connect: Box<Connect<T, E, S>>,
    made: Mutex<Option<Made<T, S>>>,
    /// Held while one is made: calls at once share it.
    making: tokio::sync::Mutex<()>,
}

struct Made<T: ?Sized, S> {
    of: Arc<S>,
    adapter: Arc<T>,
}

impl<T: ?Sized, E, S> fmt::Debug for Lazily<T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazily").field("is_made", &self.made.lock().is_some()).finish()
    }
}

impl<T: ?Sized, E> Lazily<T, E> {
    /// Makes the adapter by `connect` when it is first called, and never again.
    pub fn new<C>(connect: impl Fn() -> C + Send + Sync + 'static) -> Self
    where
        C: Future<Output = Result<Arc<T>, E>> + Send + 'static,
    {
        Self::of(Box::new(Fixed::default()), move |_| connect())
    }
}

impl<T: ?Sized, E, S> Lazily<T, E, S> {
    /// Makes the adapter by `connect` of the settings when it is first called, and anew once they have changed.
    pub fn of<C>(settings: Box<dyn Settings<S>>, connect: impl Fn(Arc<S>) -> C + Send + Sync + 'static) -> Self
    where
        C: Future<Output = Result<Arc<T>, E>> + Send + 'static,
    {
        Self {
            settings,
            connect: Box::new(move |of| Box::pin(connect(of))),
            made: Mutex::new(None),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// The adapter, where it was made of these.
    fn made_of(&self, settings: &Arc<S>) -> Option<Arc<T>> {
        let made = self.made.lock();
        made.as_ref().filter(|made| Arc::ptr_eq(&made.of, settings)).map(|made| made.adapter.clone())
    }
}

impl<T: ?Sized + Send + Sync + 'static, E: StoreError + 'static, S: Send + Sync + 'static> Source<E>
    for Lazily<T, E, S>
{
    type Adapter = T;

    async fn adapter(&self) -> Result<Arc<T>, E> {
        let settings = self.settings.current().await;
        if let Some(adapter) = self.made_of(&settings) {
            return Ok(adapter);
        }
        let _making = self.making.lock().await;
        let mut of = self.settings.current().await;
        if let Some(adapter) = self.made_of(&of) {
            return Ok(adapter);
        }
        let mut made = (self.connect)(of.clone()).await;
        if made.as_ref().is_err_and(StoreError::is_of_credentials) && self.settings.have_others(&of).await {
            of = self.settings.current().await;
            made = (self.connect)(of.clone()).await;
        }
        let adapter = made?;
        let before = self.made.lock().replace(Made { of, adapter: adapter.clone() });
        // Not under the lock: an adapter may take its time to end.
        drop(before);
        Ok(adapter)
    }

    async fn has_others(&self, refused: &Arc<T>) -> bool {
        let of = {
            let made = self.made.lock();
            made.as_ref().filter(|made| Arc::ptr_eq(&made.adapter, refused)).map(|made| made.of.clone())
        };
        match of {
            Some(of) => self.settings.have_others(&of).await,
            // Another call was refused before, and the adapter was made anew since.
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::measured::Measured;
    use lyceum_core::metrics::Metrics;
    use lyceum_core::ports::ledger::{Commit, Ledger, LedgerError};
    use lyceum_core::ports::statements::{Filter, QueryDocuments, StatementsError};
    use lyceum_testing::memory::ledger::MemoryLedger;
    use serde_json::Value;
    use uuid::Uuid;

    use lyceum_core::ports::statements::{Page, StoredStatement};

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

    /// A store with a password, and what its clients are told of that: the password that they hold, and one that lies ready.
    #[derive(Default)]
    struct Vault {
        of_the_store: Mutex<u32>,
        held: Mutex<Arc<u32>>,
        ready: Mutex<Option<u32>>,
        connected: AtomicUsize,
        is_checked_at_once: AtomicBool,
    }

    struct Told(Arc<Vault>);

    #[async_trait]
    impl Settings<u32> for Told {
        async fn current(&self) -> Arc<u32> {
            self.0.held.lock().clone()
        }

        async fn have_others(&self, refused: &Arc<u32>) -> bool {
            if let Some(ready) = self.0.ready.lock().take() {
                *self.0.held.lock() = Arc::new(ready);
            }
            !Arc::ptr_eq(&self.0.held.lock(), refused)
        }
    }

    struct Client(Arc<Vault>, u32);

    #[async_trait]
    impl QueryDocuments for Client {
        async fn get(&self, _: &str, _: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
            Ok(None)
        }

        async fn search(&self, _: &Filter, _: usize, _: Option<&str>) -> Result<Page, StatementsError> {
            Err(StatementsError::Refused("none".to_owned()))
        }

        async fn aggregate(&self, _: &Filter, _: &Value) -> Result<Value, StatementsError> {
            Ok(Value::Null)
        }

        async fn ping(&self) -> Result<(), StatementsError> {
            let of_the_store = *self.0.of_the_store.lock();
            if self.1 == of_the_store { Ok(()) } else { Err(StatementsError::Unauthorized("wrong".to_owned())) }
        }
    }

    fn store(vault: &Arc<Vault>) -> impl QueryDocuments {
        let by = vault.clone();
        let connect = move |password: Arc<u32>| {
            let vault = by.clone();
            async move {
                vault.connected.fetch_add(1, SeqCst);
                let client = Client(vault.clone(), *password);
                if vault.is_checked_at_once.load(SeqCst) {
                    client.ping().await?;
                }
                Ok(Arc::new(client))
            }
        };
        Measured::new(Lazily::of(Box::new(Told(vault.clone())), connect), Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn a_refusal_is_passed_on_where_there_are_no_other_credentials_and_may_pass_where_there_are() {
        let vault = Arc::new(Vault::default());
        let store = store(&vault);
        assert_eq!(store.ping().await, Ok(()));
        *vault.of_the_store.lock() = 7;
        assert!(!store.ping().await.unwrap_err().is_transient());
        assert_eq!(vault.connected.load(SeqCst), 1, "of the same credentials nothing is made anew");
        *vault.ready.lock() = Some(7);
        let refused = store.ping().await.unwrap_err();
        assert!(refused.is_transient() && refused.to_string().contains("other credentials"), "{refused}");
        assert_eq!((store.ping().await, vault.connected.load(SeqCst)), (Ok(()), 2));
    }

    #[tokio::test]
    async fn settings_that_changed_by_themselves_make_a_new_adapter() {
        let vault = Arc::new(Vault::default());
        let store = store(&vault);
        assert_eq!(store.ping().await, Ok(()));
        (*vault.of_the_store.lock(), *vault.held.lock()) = (8, Arc::new(8));
        assert_eq!((store.ping().await, store.ping().await, vault.connected.load(SeqCst)), (Ok(()), Ok(()), 2));
    }

    #[tokio::test]
    async fn what_is_refused_while_it_connects_connects_with_other_credentials_in_the_same_call() {
        let vault = Arc::new(Vault::default());
        vault.is_checked_at_once.store(true, SeqCst);
        (*vault.of_the_store.lock(), *vault.ready.lock()) = (9, Some(9));
        assert_eq!((store(&vault).ping().await, vault.connected.load(SeqCst)), (Ok(()), 2));
    }
}
