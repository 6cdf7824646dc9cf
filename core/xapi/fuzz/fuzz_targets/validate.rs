//! Any bytes are judged without a panic, and a statement that is judged valid is JSON, stays valid when its keys are
//! written in another order, and stays the same statement.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use lyceum_xapi::{Limits, Version, equality, validate};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| {
    let hash = equality::content_hash(bytes, b"");
    for mode in [None, Some(Version::V1_0_3), Some(Version::V2_0)] {
        let verdict = validate(bytes, mode, &Limits::default());
        assert_eq!(verdict.is_valid(), verdict.violations.is_empty() && verdict.further == 0);
        if verdict.is_valid() {
            serde_json::from_slice::<IgnoredAny>(bytes).expect("a valid statement is JSON");
            let text = reverse_keys(std::str::from_utf8(bytes).expect("a valid statement is UTF-8"));
            let again = validate(text.as_bytes(), mode, &Limits::default());
            assert!(again.is_valid(), "{text}: {:?}", again.violations);
            assert!(equality::same(bytes, text.as_bytes()), "{text}");
            assert_eq!(hash, equality::content_hash(text.as_bytes(), b""));
        }
    }
});

/// The same JSON with the keys of every object in falling order; numbers stay as they are written.
fn reverse_keys(text: &str) -> String {
    if let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
        let members = members.into_iter().rev().map(|(key, value)| {
            format!("{}:{}", serde_json::to_string(&key).expect("a key"), reverse_keys(value.get()))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    } else if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) {
        format!("[{}]", elements.into_iter().map(|element| reverse_keys(element.get())).collect::<Vec<_>>().join(" ,"))
    } else {
        text.to_owned()
    }
}
