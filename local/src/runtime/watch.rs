//! Looks every few seconds whether something is wrong, and has it told.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use lyceum_core::clock::Clock;
use lyceum_server::alerts::webhook::{Outbox, Tell};
use lyceum_server::alerts::window::Window;
use lyceum_server::alerts::{Alerts, Limits, Reading, Watched};
use lyceum_server::consumers::Consumers;
use lyceum_server::usage::{ThisProcess, Usage};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is looked at, and who is told.
pub(super) struct Watch {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) consumers: Arc<dyn Consumers>,
    pub(super) window: Arc<Window>,
    pub(super) process: Arc<ThisProcess>,
    pub(super) tell: Arc<dyn Tell>,
}

impl Watch {
    /// Goes on for ever.
    pub(super) async fn run(&self, limits: Limits) {
        let mut alerts = Alerts::new(limits);
        let mut outbox = Outbox::default();
        let mut earlier = None;
        loop {
            let readings = self.readings(&mut earlier).await;
            outbox.put(alerts.judge(self.clock.now_ms(), &readings));
            outbox.send(&*self.tell).await;
            self.clock.sleep(INTERVAL).await;
        }
    }

    async fn readings(&self, earlier: &mut Option<(i64, Usage)>) -> Vec<Reading> {
        let mut readings = self.window.readings();
        let now_ms = self.clock.now_ms();
        if let Some(usage) = self.process.usage() {
            readings.push(Reading { watched: Watched::Memory, value: usage.memory_percent() });
            let cpu = earlier.and_then(|(then_ms, before)| {
                let passed = Duration::from_millis((now_ms - then_ms).max(0) as u64);
                usage.cpu_percent(&before, passed, available_parallelism().map_or(1, usize::from))
            });
            readings.extend(cpu.map(|value| Reading { watched: Watched::Cpu, value }));
            *earlier = Some((now_ms, usage));
        }
        match self.consumers.status().await {
            Ok(consumers) => readings.extend(consumers.into_iter().flat_map(|consumer| {
                let (lag, silent) = (consumer.waited(), consumer.silent());
                let (subscription, topic) = (consumer.function, consumer.topic);
                let of_lag = Watched::Lag { subscription: subscription.clone(), topic: topic.clone() };
                [(of_lag, lag), (Watched::Silent { subscription, topic }, silent)]
                    .map(|(watched, of)| Reading { watched, value: of.as_secs_f64() })
            })),
            Err(error) => tracing::debug!(%error, "how far consumers are behind is not known now"),
        }
        readings
    }
}
