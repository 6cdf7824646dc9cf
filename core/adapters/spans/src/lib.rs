//! Spans of what a process does with a batch: one for it, one for each step and call within, and one for each of its records that
//! came with a trace, below that trace. They go to a collector by OTLP, or to the X-Ray daemon; off unless the environment says where.
//!
//! The core and what stands around adapters name their spans by `tracing`, under the target [`SPANS`]; only
//! here is known what becomes of them. Nobody waits for a span to be sent but a function that is about to be frozen, and that one not
//! long: see [`Spans::flush`].

use std::sync::Arc;
use std::time::Duration;

use lyceum_around::lazily::{Fixed, Settings};
use lyceum_core::metrics::Metrics;
use lyceum_core::process::Subscriber;
use lyceum_core::trace::{INVOCATION, SPANS};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter};
use tokio::time::{sleep, timeout};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::Registry;

mod invocation;
mod otlp;
mod queue;
mod sending;
mod settings;
#[cfg(test)]
mod testing;
mod xray;

pub use invocation::Caller;
use invocation::Spanned;
use queue::{Intake, Queue};
use sending::{Exporter, Sending};
pub use settings::{Headers, SPAN_VARIABLES, SpansSettings, Way};

/// How often a long-running process sends, where there are not enough to be sent together before.
const INTERVAL: Duration = Duration::from_secs(5);

/// Who gets what a process's log machinery is told.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The spans of a process; off, it does nothing.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Sending>>);

impl Spans {
    /// Begins to take spans, by a layer that goes into the process's log; nothing of it where there are no settings. A collector is
    /// shown what `shown` holds at the time, and without it always what the settings have.
    ///
    /// # Errors
    /// Where the settings name a place to which nothing can be sent.
    pub fn start(
        settings: Option<SpansSettings>,
        shown: Option<Box<dyn Settings<Headers>>>,
    ) -> anyhow::Result<(Self, Option<SpanLayer>)> {
        let Some(settings) = settings else { return Ok((Self(None), None)) };
        let attributes = settings.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        let resource =
            Resource::builder_empty().with_attributes(attributes).with_service_name(settings.service.clone());
        let resource = resource.build();
        let queue = Arc::new(Queue::new(settings.queue));
        let root = Sampler::TraceIdRatioBased(settings.ratio);
        let sampler = if settings.obeys_parent { Sampler::ParentBased(Box::new(root)) } else { root };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(sampler)
            .with_span_processor(Intake(queue.clone()));
        let (exporter, provider) = match &settings.way {
            Way::Otlp { url, headers } => {
                let shown = shown.unwrap_or_else(|| Box::new(Fixed(Arc::new(headers.clone()))));
                let mut exporter = otlp::exporter(url, shown)?;
                exporter.set_resource(&resource);
                (Exporter::Otlp(Box::new(exporter)), provider)
            }
            Way::XRay { daemon } => {
                let exporter = Exporter::XRay(xray::Daemon::new(daemon, &settings.service)?);
                (exporter, provider.with_id_generator(xray::TimedIds::default()))
            }
        };
        let provider = provider.build();
        let tracer = provider.tracer("lyceum");
        let layer = layer(tracer.clone());
        let sending = Sending::new(queue, exporter, tracer, settings, provider);
        Ok((Self(Some(Arc::new(sending))), Some(layer)))
    }

    /// Losses are counted there from now on.
    pub fn count_in(&self, metrics: &Arc<Metrics>) {
        if let Some(sending) = &self.0 {
            sending.queue.count_in(metrics.clone());
        }
    }

    /// The function with a span around each of its batches; where spans are off, the function itself.
    pub fn around(&self, function: Arc<dyn Subscriber>) -> Arc<dyn Subscriber> {
        match &self.0 {
            None => function,
            Some(sending) => Arc::new(Spanned { function, sending: sending.clone() }),
        }
    }

    /// Sends what waits, and comes back when all is sent or this time is over, whatever becomes of it.
    pub async fn flush(&self, within: Duration) {
        let Some(sending) = &self.0 else { return };
        let _ = timeout(within, sending.send()).await;
        sending.queue.tell();
    }

    /// Sends what comes, every few seconds, until nobody polls it any more.
    pub async fn send_for_ever(self) {
        let Some(sending) = self.0 else { return };
        loop {
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = sending.queue.many.notified() => {}
            }
            sending.send().await;
            sending.queue.tell();
        }
    }
}

fn layer(tracer: SdkTracer) -> SpanLayer {
    // A call that belongs to no batch, such as a mapping's look for records, is none.
    let wanted = dynamic_filter_fn(|of, cx| is_ours(of) && (of.name() == INVOCATION || cx.lookup_current().is_some()));
    let wanted = wanted
        .with_callsite_filter(|of| if is_ours(of) { Interest::sometimes() } else { Interest::never() })
        .with_max_level_hint(LevelFilter::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(wanted)
        .boxed()
}

fn is_ours(of: &Metadata<'_>) -> bool {
    of.is_span() && of.target() == SPANS
}
