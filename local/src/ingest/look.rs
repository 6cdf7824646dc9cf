//! A look at a file before anything of it is sent: whoever names a table, a picture or another document by mistake is told,
//! instead of getting a dead letter for each of its lines.

use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use super::reader::{Event, Events};
use super::record_line;
use crate::routing::Router;

/// So many events are looked at.
const LOOKED_AT: usize = 5;
/// What separates the columns of a table, and what such a table is called.
const SEPARATORS: [(u8, &str); 3] = [(b',', "CSV"), (b';', "CSV with semicolons"), (b'\t', "a table with tabs")];

/// What a file looks like that holds no events of any family; `None` where it may. What goes to a topic that was named may be any JSON.
pub(super) fn suspect(path: &Path, router: &Router, has_topic: bool) -> Option<String> {
    let events = Events::open(path).ok()?;
    let first: Vec<Bytes> =
        events.take(LOOKED_AT).map_while(Result::ok).filter_map(|Event { value, .. }| value.ok()).collect();
    suspect_first(&first, router, has_topic)
}

fn suspect_first(first: &[Bytes], router: &Router, has_topic: bool) -> Option<String> {
    let parsed: Vec<Option<Value>> = first.iter().map(|event| serde_json::from_slice(event).ok()).collect();
    // What begins as JSON and is broken is an event that is wrong, and its dead letter says where.
    let is_json = |(event, value): (&Bytes, &Option<Value>)| {
        value.is_some() || event.starts_with(b"{") || event.starts_with(b"[")
    };
    if first.iter().any(|event| router.is_like_an_event(event) || record_line::is_one(event)) || first.is_empty() {
        return None;
    }
    if !first.iter().zip(&parsed).any(is_json) {
        return Some(describe(first));
    }
    let is_broken = first.iter().zip(&parsed).any(|of| is_json(of) && of.1.is_none());
    let is_foreign = !has_topic && !is_broken;
    is_foreign.then(|| format!("JSON without events ({})", router.looks()))
}

/// What lines are that are no JSON.
fn describe(lines: &[Bytes]) -> String {
    if lines.iter().any(|line| line.contains(&0) || std::str::from_utf8(line).is_err()) {
        return "binary data".to_owned();
    }
    if lines[0].starts_with(b"<") {
        return "XML or HTML".to_owned();
    }
    let columns = |line: &Bytes, separator: u8| line.iter().filter(|byte| **byte == separator).count();
    let is_table = |(separator, _): &&(u8, &str)| {
        let of_head = columns(&lines[0], *separator);
        of_head > 0 && lines.len() > 1 && lines.iter().all(|line| columns(line, *separator) >= of_head)
    };
    match SEPARATORS.iter().find(is_table) {
        Some((_, name)) => (*name).to_owned(),
        None => "text, not JSON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(lines: &[&str]) -> Option<String> {
        let lines: Vec<Bytes> = lines.iter().map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
        suspect_first(&lines, &Router::default(), false)
    }

    #[test]
    fn a_file_of_events_is_taken_also_where_some_are_wrong() {
        for lines in [
            &[r#"{"actor": {}}"#][..],
            &[r#"{"Verb": 1}"#],
            &[r#"{"id": 1}"#, r#"{"xapi_data": {}}"#],
            &["garbage", r#"{"actor": {}}"#],
            &[r#"{"actor": {"#],
            &[],
        ] {
            assert_eq!(look(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_event_is_called_by_what_it_looks_like() {
        let other_json = format!("JSON without events ({})", Router::default().looks());
        assert!(other_json.contains("an xAPI statement has") && other_json.contains("an event of analytics has"));
        for (lines, what) in [
            (&["id,name,score", "1,Ada,9", "2,\"Blaise, P.\",7"][..], "CSV"),
            (&["id;name", "1;Ada"], "CSV with semicolons"),
            (&["id\tname", "1\tAda"], "a table with tabs"),
            (&["<html>", "<p>a,b</p>"], "XML or HTML"),
            (&["# Title", "Words, words."], "text, not JSON"),
            (&["PK\u{0}\u{3}"], "binary data"),
            (&[r#"{"after": [], "shows": []}"#], &*other_json),
            (&["42"], &*other_json),
        ] {
            assert_eq!(look(lines).as_deref(), Some(what), "{lines:?}");
        }
    }

    #[test]
    fn of_another_wire_form_only_json_is_asked() {
        let event = [Bytes::from_static(br#"{"after": []}"#)];
        assert_eq!(suspect_first(&event, &Router::default(), true), None);
    }
}
