//! The span of a batch, and those of its records.
//!
//! Names of attributes: OpenTelemetry's semantic conventions of messaging, of Kafka, and of functions. A span of a record stands below
//! the trace that the record came with, and is linked to the batch's; where a batch has one record, they are one span. The batch's is
//! linked to each record's trace.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use lyceum_core::outcome::{Outcome, Report};
use lyceum_core::ports::ledger::{KeyStatus, LedgerError};
use lyceum_core::process::{Delivery, Held, Invocation, Subscriber};
use lyceum_core::record::Record;
use lyceum_core::subscription::Subscription;
use lyceum_core::trace::{INVOCATION, Parent, SPANS};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use serde_json::Value;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::sending::Sending;
use crate::settings::Way;

tokio::task_local! {
    /// Who called the function that the current task runs.
    static CALLER: Caller;
}

/// What a function was called with beside its batch.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Lambda's id of the invocation.
    pub request_id: String,
    /// X-Ray's header, by which the invocation belongs to a trace of Lambda's.
    pub xray: Option<String>,
    /// Whether it is the first of its environment, and somebody waited for that.
    pub is_cold: bool,
}

impl Caller {
    /// Runs what it called.
    pub async fn calls<T>(self, work: impl Future<Output = T>) -> T {
        CALLER.scope(self, work).await
    }
}

/// A function with a span around each of its batches.
pub(crate) struct Spanned {
    pub(crate) function: Arc<dyn Subscriber>,
    pub(crate) sending: Arc<Sending>,
}

#[async_trait]
impl Subscriber for Spanned {
    fn subscription(&self) -> &'static Subscription {
        self.function.subscription()
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        self.function.invocation(deadline_ms)
    }

    async fn process(&self, batch: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        let begun = SystemTime::now();
        let parents: Vec<Option<SpanContext>> = batch.iter().map(|of| self.sending.parent_of(of)).collect();
        let span = self.sending.begin(batch, &parents, self.subscription().name);
        let reports = self.function.process(batch, invocation).instrument(span.clone()).await;
        self.sending.end(&span, begun, &parents, &reports);
        reports
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        self.function.show(tenant, kind, id).await
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.function.ended(records).await
    }

    async fn held(&self, records: &[Record], invocation: &Invocation) -> Result<Vec<Held>, LedgerError> {
        self.function.held(records, invocation).await
    }

    async fn made(&self, records: &[Record], invocation: &Invocation) -> Vec<Held> {
        self.function.made(records, invocation).await
    }
}

impl Sending {
    fn is_xray(&self) -> bool {
        matches!(self.settings.way, Way::XRay { .. })
    }

    fn parent_of(&self, delivery: &Delivery) -> Option<SpanContext> {
        let Delivery::Record(record) = delivery else { return None };
        Parent::of(&record.headers, self.is_xray()).map(|parent| self.context_of(parent))
    }

    fn context_of(&self, Parent { trace_id, span_id, is_sampled }: Parent) -> SpanContext {
        let trace_id = TraceId::from(trace_id);
        // Who leaves it to others leaves it to us.
        let is_sampled = is_sampled.unwrap_or_else(|| is_in(self.settings.ratio, trace_id));
        let flags = TraceFlags::default().with_sampled(is_sampled);
        SpanContext::new(trace_id, SpanId::from(span_id), flags, true, TraceState::NONE)
    }

    fn begin(&self, batch: &[Delivery], parents: &[Option<SpanContext>], subscription: &'static str) -> Span {
        let topic = batch.first().map(|first| match first {
            Delivery::Record(record) => &*record.position.topic,
            Delivery::Malformed { position, .. } => &*position.topic,
        });
        let caller = CALLER.try_with(Caller::clone).ok();
        let span = tracing::info_span!(
            target: SPANS,
            parent: None,
            INVOCATION,
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.operation.name = "process",
            messaging.operation.r#type = "process",
            messaging.destination.name = topic,
            messaging.batch.message_count = batch.len() as i64,
            lyceum.subscription = subscription,
            faas.invocation_id = caller.as_ref().map(|of| of.request_id.as_str()),
            faas.coldstart = caller.as_ref().map(|of| of.is_cold),
            faas.trigger = caller.as_ref().map(|_| "pubsub"),
            messaging.destination.partition.id = Empty,
            messaging.kafka.offset = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
            error.r#type = Empty,
        );
        let lambdas = caller.and_then(|of| Parent::from_xray(&of.xray?)).map(|parent| self.context_of(parent));
        let only = match parents {
            [only] => only.clone(),
            _ => None,
        };
        // Lambda's own segment is in X-Ray alone: elsewhere it would be a parent that nobody has.
        let parent = if self.is_xray() { lambdas.clone().or(only) } else { only };
        let links = parents.iter().flatten().chain(&lambdas).filter(|of| Some(*of) != parent.as_ref());
        for link in links {
            span.add_link(link.clone());
        }
        if let Some(parent) = parent {
            // Refused only of a span that is not made.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        span
    }

    fn end(&self, span: &Span, begun: SystemTime, parents: &[Option<SpanContext>], reports: &[Report]) {
        if let [report] = reports {
            for KeyValue { key, value, .. } in attributes(report) {
                span.set_attribute(key, value);
            }
        }
        let again = reports.iter().filter(|of| !of.outcome.is_settled()).count();
        if let [Report { outcome: Outcome::DeadLettered { kind }, .. }] = reports {
            span.set_attribute("error.type", kind.name());
            span.set_status(Status::error("dead-lettered"));
        } else if again > 0 {
            span.set_status(Status::error(format!("{again} of {} records are to come again", reports.len())));
        }
        if let [_, _, ..] = reports {
            let of_batch = span.context().span().span_context().clone();
            for (parent, report) in parents.iter().zip(reports) {
                if let Some(parent) = parent {
                    self.record(parent, report, begun, &of_batch);
                }
            }
        }
    }

    /// The span of a record of several, below its own trace; it lasts as long as the batch does.
    fn record(&self, parent: &SpanContext, report: &Report, begun: SystemTime, of_batch: &SpanContext) {
        let mut builder = SpanBuilder::from_name("process record")
            .with_kind(SpanKind::Consumer)
            .with_start_time(begun)
            .with_attributes(attributes(report));
        if of_batch.is_valid() {
            builder = builder.with_links(vec![Link::with_context(of_batch.clone())]);
        }
        let below = Context::new().with_remote_span_context(parent.clone());
        let mut span = self.tracer.build_with_context(builder, &below);
        match &report.outcome {
            Outcome::DeadLettered { kind } => {
                span.set_attribute(KeyValue::new("error.type", kind.name()));
                span.set_status(Status::error("dead-lettered"));
            }
            Outcome::RetryLater { reason } => span.set_status(Status::error(reason.to_string())),
            _ => {}
        }
        span.end();
    }
}

/// What is told of a record: nothing that its sender wrote but its event's id.
fn attributes(report: &Report) -> Vec<KeyValue> {
    let position = &report.position;
    let mut attributes = vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.destination.name", position.topic.to_string()),
        KeyValue::new("messaging.destination.partition.id", position.partition.to_string()),
        KeyValue::new("messaging.kafka.offset", position.offset),
        KeyValue::new("lyceum.subscription", report.family),
        KeyValue::new("lyceum.event_type", report.event_type),
        KeyValue::new("lyceum.outcome", report.outcome.name()),
    ];
    attributes.extend(report.event_id.map(|id| KeyValue::new("messaging.message.id", id.to_string())));
    attributes
}

/// Whether a trace is among the part that is kept.
fn is_in(ratio: f64, trace_id: TraceId) -> bool {
    let sampler = Sampler::TraceIdRatioBased(ratio);
    let sampled = sampler.should_sample(None, trace_id, INVOCATION, &SpanKind::Consumer, &[], &[]);
    sampled.decision == SamplingDecision::RecordAndSample
}
