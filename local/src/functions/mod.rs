//! The functions that the mappings call: in this process, or elsewhere (`remote`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::process::Subscriber;
use lyceum_core::subscription::{Effect, Subscription};
use lyceum_event_source_mapping::{Invoke, InvokeError};
use lyceum_lambda_event::handler::handle;

pub(crate) mod remote;

pub use remote::RemoteFunctions;

/// A function's time limit, as on Lambda: one that asks somebody has as long as a mapping of Kafka lets one run.
pub(crate) fn time_limit(subscription: &Subscription) -> Duration {
    Duration::from_secs(if subscription.effect == Effect::Calling { 840 } else { 60 })
}

/// A function in this process; it gets the JSON of the batch and nothing else, as on Lambda.
pub struct InProcess {
    /// The function.
    pub function: Arc<dyn Subscriber>,
    /// For its time limit.
    pub clock: Arc<dyn Clock>,
    /// For the duration of its batches.
    pub metrics: Arc<Metrics>,
}

#[async_trait::async_trait]
impl Invoke for InProcess {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let started = std::time::Instant::now();
        let deadline_ms = self.clock.now_ms() + time_limit(self.function.subscription()).as_millis() as i64;
        let answer = handle(&*self.function, &payload, deadline_ms).await;
        self.metrics.observe_event_duration(self.function.subscription().name, started.elapsed());
        let answer = answer.map_err(|error| InvokeError::function("HandlerError", error.to_string()))?;
        let answer =
            serde_json::to_vec(&answer).map_err(|error| InvokeError::function("Serialize", error.to_string()))?;
        Ok(answer.into())
    }
}
