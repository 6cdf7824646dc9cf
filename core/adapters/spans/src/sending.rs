//! The spans of a process on their way: from where they wait to where they go, one sending after the other.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::queue::{Lost, Queue, TOGETHER};
use crate::settings::SpansSettings;
use crate::xray;

/// So long nothing is sent after a sending that failed: a function would wait for each.
const PAUSE: Duration = Duration::from_secs(30);

pub(crate) struct Sending {
    pub(crate) queue: Arc<Queue>,
    exporter: Exporter,
    pub(crate) tracer: SdkTracer,
    pub(crate) settings: SpansSettings,
    /// Held while spans are sent.
    turn: tokio::sync::Mutex<()>,
    paused_until: Mutex<Option<Instant>>,
    /// Spans are made as long as it is there.
    _provider: SdkTracerProvider,
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("settings", &self.settings).finish_non_exhaustive()
    }
}

pub(crate) enum Exporter {
    Otlp(Box<opentelemetry_otlp::SpanExporter>),
    XRay(xray::Daemon),
}

impl Sending {
    pub(crate) fn new(
        queue: Arc<Queue>,
        exporter: Exporter,
        tracer: SdkTracer,
        settings: SpansSettings,
        provider: SdkTracerProvider,
    ) -> Self {
        let (turn, paused_until) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { queue, exporter, tracer, settings, turn, paused_until, _provider: provider }
    }

    /// Sends what waits, in the order in which it ended, unless the last sending failed a moment ago.
    pub(crate) async fn send(&self) {
        let _turn = self.turn.lock().await;
        if self.paused_until.lock().is_some_and(|until| Instant::now() < until) {
            return;
        }
        loop {
            let spans = self.queue.take();
            let number = spans.len();
            if number == 0 {
                return;
            }
            // Lost as well where whoever flushes does not wait any longer.
            let unanswered = Unanswered { sending: self, number };
            let sent = timeout(self.settings.timeout, self.exporter.send(spans)).await;
            match sent {
                Err(_) => return,
                Ok(Err((lost, why))) => {
                    unanswered.end();
                    return self.fail(lost, Lost::Refused, why);
                }
                Ok(Ok(())) => unanswered.end(),
            }
            if number < TOGETHER {
                return;
            }
        }
    }

    fn fail(&self, spans: usize, how: Lost, why: impl Into<String>) {
        self.queue.lose(spans, how, why);
        *self.paused_until.lock() = Some(Instant::now() + PAUSE);
    }
}

/// Spans on their way, until there is an answer.
struct Unanswered<'a> {
    sending: &'a Sending,
    number: usize,
}

impl Unanswered<'_> {
    fn end(mut self) {
        self.number = 0;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.number > 0 {
            self.sending.fail(self.number, Lost::Late, "where they go does not answer in time");
        }
    }
}

impl Exporter {
    /// How many were not taken, and why.
    async fn send(&self, spans: Vec<SpanData>) -> Result<(), (usize, String)> {
        match self {
            Self::Otlp(exporter) => {
                let number = spans.len();
                exporter.export(spans).await.map_err(|error| (number, error.to_string()))
            }
            Self::XRay(daemon) => daemon.send(&spans),
        }
    }
}
