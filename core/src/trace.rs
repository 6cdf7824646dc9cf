//! Trace context: what ties a record to the request that its sender was serving, carried and never invented.
//!
//! Two headers are understood: `traceparent` (W3C Trace Context, "traceparent Header Field Values") and
//! `X-Amzn-Trace-Id` (AWS X-Ray developer guide, "Tracing header"). They go into the log, onto follow-ups and, as every
//! header does, onto dead letters.

use crate::record::{Header, header_text};

/// W3C's header.
pub const TRACEPARENT: &str = "traceparent";
/// W3C's header of what vendors add.
pub const TRACESTATE: &str = "tracestate";
/// X-Ray's header.
pub const XRAY: &str = "X-Amzn-Trace-Id";

/// No trace context is longer: W3C lets `tracestate` have 512 characters, and the others are shorter.
const LONGEST: usize = 512;

/// The headers of a record that are carried on, as they came.
pub fn context_of(headers: &[Header]) -> impl Iterator<Item = &Header> {
    headers.iter().filter(|header| {
        [TRACEPARENT, TRACESTATE, XRAY].contains(&header.name.as_str())
            && header.value.as_deref().is_some_and(|value| value.len() <= LONGEST)
    })
}

/// The trace id of a record: 32 hex digits, from W3C's header or else X-Ray's.
pub fn trace_id(headers: &[Header]) -> Option<String> {
    header_text(headers, TRACEPARENT)
        .and_then(w3c_trace_id)
        .map(str::to_ascii_lowercase)
        .or_else(|| header_text(headers, XRAY).and_then(xray_trace_id))
}

/// The trace id of a `traceparent`: `version-traceid-parentid-flags`.
pub fn w3c_trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1).filter(|id| is_hex(id, 32))
}

/// The trace id of X-Ray's header, as W3C writes it: `Root=1-5759e988-bd862e3fe1be46a994272793` is those two parts joined.
pub fn xray_trace_id(header: &str) -> Option<String> {
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root="))?;
    let (seconds, rest) = root.strip_prefix("1-")?.split_once('-')?;
    (is_hex(seconds, 8) && is_hex(rest, 24)).then(|| format!("{seconds}{rest}").to_ascii_lowercase())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn both_headers_give_one_form_of_trace_id() {
        assert_eq!(w3c_trace_id(W3C), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        let xray = "Self=1-67891234-12456789abcdef012345678;Root=1-5759e988-BD862e3fe1be46a994272793;Sampled=1";
        assert_eq!(xray_trace_id(xray).as_deref(), Some("5759e988bd862e3fe1be46a994272793"));
        let headers = [Header::new(XRAY, xray), Header::new(TRACEPARENT, W3C)];
        assert_eq!(trace_id(&headers).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace_id(&headers[..1]).as_deref(), Some("5759e988bd862e3fe1be46a994272793"));
    }

    #[test]
    fn what_is_no_trace_context_is_no_trace() {
        for text in ["", "00", "00-xyz-1-01", "Root=", "Root=1-5759e988", "Root=1-5759e98g-bd862e3fe1be46a994272793"] {
            assert_eq!((w3c_trace_id(text), xray_trace_id(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn the_context_is_carried_as_it_came_and_nothing_else_is() {
        let headers = [
            Header::new("event-id", "x"),
            Header::new(TRACEPARENT, W3C),
            Header::new(TRACESTATE, "a=b"),
            Header { name: XRAY.to_owned(), value: None },
            Header::new(TRACESTATE, vec![b'x'; LONGEST + 1]),
        ];
        assert_eq!(context_of(&headers).collect::<Vec<_>>(), [&headers[1], &headers[2]]);
    }
}
