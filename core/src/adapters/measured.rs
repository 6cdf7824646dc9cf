//! Any adapter, with the time of each call in the metrics: `lyceum_store_duration_seconds{store,operation}`.

use std::sync::Arc;
use std::time::Instant;

use crate::adapters::around::{Around, Call, StoreError, Wrapped};
use crate::metrics::Metrics;

/// An adapter whose calls are measured.
pub type Measured<S> = Wrapped<S, Meter>;

/// Measures calls.
pub struct Meter(Arc<Metrics>);

impl<S> Measured<S> {
    /// Measures the calls of the adapter that comes from there.
    pub fn new(source: S, metrics: Arc<Metrics>) -> Self {
        Self::around(source, Meter(metrics))
    }
}

impl Around for Meter {
    async fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        _: impl Fn(&A) -> bool + Send,
    ) -> Result<A, E> {
        let started = Instant::now();
        let answer = work.await;
        self.0.observe_store_duration(call.store, call.operation, started.elapsed());
        if let Err(error) = &answer {
            self.0.count_store_error(call.store, error.kind());
        }
        answer
    }
}
