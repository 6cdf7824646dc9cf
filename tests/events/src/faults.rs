//! Ports that fail on demand: the models, with a switch around their calls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use lyceum_around::around::{Around, Call, StoreError, Wrapped};

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing happened.
    Before,
    /// It happened, and its answer is lost.
    After,
}

/// Decides which calls fail, and counts them.
#[derive(Debug, Default)]
pub struct Switch {
    down: AtomicBool,
    hanging: AtomicBool,
    next: Mutex<VecDeque<Option<Fault>>>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

/// The writes that a script is for, one a port.
const SCRIPTED: [&str; 3] = ["produce", "commit", "store"];

impl Switch {
    /// From now on every call is refused, or none.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, SeqCst);
    }

    /// From now on no call is answered, nor has an effect.
    pub fn set_hanging(&self, hanging: bool) {
        self.hanging.store(hanging, SeqCst);
    }

    /// The next writes end like this, one each; `None` is a success.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// How often that method of the port was called.
    pub fn calls(&self, operation: &str) -> usize {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).get(operation).copied().unwrap_or_default()
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(call.operation).or_default() += 1;
        if self.down.load(SeqCst) {
            return Some(Fault::Before);
        }
        if !SCRIPTED.contains(&call.operation) {
            return None;
        }
        self.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten()
    }
}

impl Around for Switch {
    async fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        _: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        let fault = self.fault(call);
        if self.hanging.load(SeqCst) {
            return std::future::pending().await;
        }
        match fault {
            None => work.await,
            Some(Fault::Before) => Err(E::not_made("switched off".to_owned())),
            Some(Fault::After) => {
                work.await?;
                Err(E::not_answered(call.effect, "the answer was lost".to_owned()))
            }
        }
    }
}

/// The model of a port with a switch around it.
pub struct Faulty<T> {
    /// The model.
    pub model: Arc<T>,
    /// Which calls fail.
    pub switch: Arc<Switch>,
}

impl<T> Faulty<T> {
    /// Nothing fails yet.
    pub fn new(model: T) -> Self {
        Self { model: Arc::new(model), switch: Arc::default() }
    }

    /// What the processing calls.
    pub fn port(&self) -> Arc<Wrapped<Arc<T>, Arc<Switch>>> {
        Arc::new(Wrapped::around(self.model.clone(), self.switch.clone()))
    }
}
