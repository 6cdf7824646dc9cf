//! Trace context: what ties a record to the request that its sender was serving, carried and never invented. Where spans are on,
//! they stand below it ([`Parent`]).
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

/// The target of the spans of this program: no line of a log has it.
pub const SPANS: &str = "spans";
/// The span of a batch; those of its steps and calls stand below it.
pub const INVOCATION: &str = "invocation";

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

/// The span that a record's sender was at: what a span about the record has as its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Of its trace.
    pub trace_id: u128,
    /// Its own.
    pub span_id: u64,
    /// Whether its sender keeps the trace; `None` where it leaves that to others, as only X-Ray's header may.
    pub is_sampled: Option<bool>,
}

impl Parent {
    /// What a record's headers name, W3C's before X-Ray's, or the other way round.
    pub fn of(headers: &[Header], xray_first: bool) -> Option<Self> {
        let w3c = || header_text(headers, TRACEPARENT).and_then(Self::from_w3c);
        let xray = || header_text(headers, XRAY).and_then(Self::from_xray);
        if xray_first { xray().or_else(w3c) } else { w3c().or_else(xray) }
    }

    /// What a `traceparent` names. Source: W3C Trace Context, "Versioning of traceparent": a later version may have more behind
    /// the flags.
    pub fn from_w3c(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let mut hex = |digits| parts.next().filter(|part| is_hex(part, digits));
        let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let has_more = parts.next().is_some();
        if version.eq_ignore_ascii_case("ff") || (version == "00" && has_more) {
            return None;
        }
        Self::new(trace_id, span_id, Some(u8::from_str_radix(flags, 16).ok()? & 1 == 1))
    }

    /// What X-Ray's header names: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
    pub fn from_xray(header: &str) -> Option<Self> {
        let field = |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let is_sampled = match field("Sampled") {
            Some("1") => Some(true),
            Some("0") => Some(false),
            _ => None,
        };
        let span_id = field("Parent").filter(|id| is_hex(id, 16))?;
        Self::new(&xray_trace_id(header)?, span_id, is_sampled)
    }

    fn new(trace_id: &str, span_id: &str, is_sampled: Option<bool>) -> Option<Self> {
        let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span_id, 16).ok().filter(|id| *id != 0)?;
        Some(Self { trace_id, span_id, is_sampled })
    }
}

/// A trace id as X-Ray writes it: `1-5759e988-bd862e3fe1be46a994272793`.
pub fn xray_form(trace_id: u128) -> String {
    let hex = format!("{trace_id:032x}");
    let (seconds, rest) = hex.split_at(8);
    format!("1-{seconds}-{rest}")
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
    fn a_parent_is_named_by_either_header_and_its_trace_id_has_both_forms() {
        let (trace_id, span_id) = (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
        let w3c = Parent { trace_id, span_id, is_sampled: Some(true) };
        assert_eq!(Parent::from_w3c(W3C), Some(w3c));
        let xray = format!("Root={};Parent=00f067aa0ba902b7;Sampled=1;Lineage=a:0", xray_form(trace_id));
        assert_eq!(Parent::from_xray(&xray), Some(w3c));
        assert_eq!(xray_form(trace_id), "1-4bf92f35-77b34da6a3ce929d0e0e4736");
        for (sampled, is_sampled) in [(";Sampled=0", Some(false)), (";Sampled=?", None), ("", None)] {
            let header = format!("Parent=53995c3f42cd8ad8;Root={}{sampled}", xray_form(7));
            assert_eq!(Parent::from_xray(&header).unwrap().is_sampled, is_sampled, "{header}");
        }
        let headers = [
            Header::new(XRAY, format!("Root={};Parent=53995c3f42cd8ad8", xray_form(7))),
            Header::new(TRACEPARENT, W3C),
        ];
        assert_eq!(Parent::of(&headers, false), Some(w3c));
        assert_eq!(Parent::of(&headers, true).unwrap().trace_id, 7);
        assert_eq!(Parent::of(&headers[1..], true), Some(w3c));
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what-comes";
        assert_eq!(Parent::from_w3c(later), Some(Parent { is_sampled: Some(false), ..w3c }));
    }

    #[test]
    fn what_names_no_parent_is_none() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000000;Sampled=1",
            "Parent=53995c3f42cd8ad8;Sampled=1",
        ] {
            assert_eq!((Parent::from_w3c(text), Parent::from_xray(text)), (None, None), "{text}");
        }
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
