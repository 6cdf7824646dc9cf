//! Spans for this crate's own tests.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// A root span with this id.
pub(crate) fn span(id: u64) -> SpanData {
    let trace_id = TraceId::from(0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793_u128);
    SpanData {
        span_context: SpanContext::new(trace_id, SpanId::from(id), TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Consumer,
        name: "span".into(),
        start_time: UNIX_EPOCH + Duration::from_millis(1_500),
        end_time: UNIX_EPOCH + Duration::from_millis(2_250),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: Default::default(),
    }
}
