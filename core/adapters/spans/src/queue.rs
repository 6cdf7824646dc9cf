//! Spans that wait for being sent: as many as have room, and whoever ends one waits for nothing.
//!
//! OpenTelemetry's own queues send from a thread of theirs, which Lambda freezes with the process, and tell nobody what they lost.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lyceum_core::metrics::Metrics;
use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// So many are sent at once.
pub(crate) const TOGETHER: usize = 512;

/// How often it is told that spans are lost.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Why spans are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// There was no room where they wait.
    Full,
    /// Where they went did not take them.
    Refused,
    /// Where they went did not answer in time.
    Late,
}

impl Lost {
    /// Its name in `lyceum_spans_lost_total`.
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Late => "late",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    most: usize,
    waiting: Mutex<Vec<SpanData>>,
    losses: Mutex<Losses>,
    metrics: OnceLock<Arc<Metrics>>,
    /// Is told when there are enough to be sent together.
    pub(crate) many: Notify,
}

/// What nobody was told of yet.
#[derive(Debug, Default)]
struct Losses {
    spans: usize,
    why: String,
    told: Option<Instant>,
}

impl Losses {
    /// How many were lost since it was told last, and why, where it is time to tell.
    fn due(&mut self, now: Instant) -> Option<(usize, String)> {
        let is_time = self.told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY);
        if self.spans == 0 || !is_time {
            return None;
        }
        self.told = Some(now);
        Some((std::mem::take(&mut self.spans), std::mem::take(&mut self.why)))
    }
}

impl Queue {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            waiting: Mutex::default(),
            losses: Mutex::default(),
            metrics: OnceLock::new(),
            many: Notify::new(),
        }
    }

    /// Losses are counted there from now on.
    pub(crate) fn count_in(&self, metrics: Arc<Metrics>) {
        // Whoever comes second has another process's metrics, as only tests do.
        let _ = self.metrics.set(metrics);
    }

    /// Nothing is logged here: spans end within the log's own machinery.
    pub(crate) fn push(&self, span: SpanData) {
        let waiting = {
            let mut waiting = self.waiting.lock();
            if waiting.len() < self.most {
                waiting.push(span);
                Some(waiting.len())
            } else {
                None
            }
        };
        match waiting {
            Some(TOGETHER) => self.many.notify_one(),
            Some(_) => {}
            None => self.lose(1, Lost::Full, "more spans wait than OTEL_BSP_MAX_QUEUE_SIZE has room for"),
        }
    }

    /// The next that go together, the oldest first.
    pub(crate) fn take(&self) -> Vec<SpanData> {
        let mut waiting = self.waiting.lock();
        let together = waiting.len().min(TOGETHER);
        let left = waiting.split_off(together);
        std::mem::replace(&mut waiting, left)
    }

    pub(crate) fn lose(&self, spans: usize, how: Lost, why: impl Into<String>) {
        if let Some(metrics) = self.metrics.get() {
            metrics.count_spans_lost(how.name(), spans);
        }
        let mut losses = self.losses.lock();
        losses.spans += spans;
        losses.why = why.into();
    }

    /// Tells what was lost, once a minute at most.
    pub(crate) fn tell(&self) {
        let due = self.losses.lock().due(Instant::now());
        if let Some((spans, why)) = due {
            tracing::warn!(spans, why, "spans are lost; events are processed all the same");
        }
    }
}

/// Takes spans as they end.
#[derive(Debug)]
pub(crate) struct Intake(pub(crate) Arc<Queue>);

impl SpanProcessor for Intake {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;

    #[test]
    fn what_has_no_room_is_lost_and_counted_and_the_rest_goes_out_in_order() {
        let (queue, metrics) = (Queue::new(TOGETHER + 2), Arc::new(Metrics::new()));
        queue.count_in(metrics.clone());
        for number in 0..TOGETHER + 5 {
            queue.push(span(number as u64 + 1));
        }
        let (first, second) = (queue.take(), queue.take());
        assert_eq!((first.len(), second.len(), queue.take().len()), (TOGETHER, 2, 0));
        assert_eq!(first[0].span_context.span_id(), span(1).span_context.span_id());
        assert_eq!(second[1].span_context.span_id(), span(TOGETHER as u64 + 2).span_context.span_id());
        let told = metrics.encode();
        assert!(told.contains(r#"lyceum_spans_lost_total{reason="full"} 3"#), "{told}");
    }

    #[test]
    fn losses_are_told_together_and_once_a_minute() {
        let mut losses = Losses::default();
        let begun = Instant::now();
        assert_eq!(losses.due(begun), None);
        (losses.spans, losses.why) = (3, "away".to_owned());
        assert_eq!(losses.due(begun), Some((3, "away".to_owned())));
        (losses.spans, losses.why) = (2, "away".to_owned());
        assert_eq!(losses.due(begun + TOLD_EVERY / 2), None);
        losses.spans += 5;
        assert_eq!(losses.due(begun + TOLD_EVERY), Some((7, "away".to_owned())));
        assert_eq!(losses.due(begun + TOLD_EVERY * 2), None);
    }
}
