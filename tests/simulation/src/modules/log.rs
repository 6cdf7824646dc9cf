//! What is sent to the modules: courses on their way to completion, distributions, approvals that several consume at once, uses in
//! vain, of two tenants; and among them duplicates, conflicts, and what is none of it.

use bytes::Bytes;
use lyceum_core::record::NewRecord;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::random::Random;
use crate::stage::{BEGINNING_MS, Stage};

const COURSES: &str = "course.events.v1";
const DISTRIBUTIONS: &str = "distribution.events.v1";
const GOVERNANCE: &str = "governance.events.v1";
const ALERTS: &str = "security.alerts.v1";
const TENANTS: [&str; 2] = ["north", "south"];

/// An event's topic, key, type and payload.
type Draft = (&'static str, String, &'static str, Value);

/// Creates the topics and fills them; `watched` with what the watch reads alone, on several partitions.
pub(crate) fn fill(stage: &Stage, random: &mut Random, watched: bool) {
    for topic in [COURSES, DISTRIBUTIONS, GOVERNANCE] {
        stage.create_topic(topic, random.between(if watched { 2 } else { 1 }, 3) as i32);
    }
    stage.create_topic(ALERTS, 1);
    let mut sent: Vec<(&str, NewRecord)> = Vec::new();
    for _ in 0..random.between(1, 6) {
        let tenant = *random.pick(&TENANTS);
        for draft in story(random, watched) {
            let id = random.uuid();
            let next = match random.below(14) {
                0 if !sent.is_empty() => random.pick(&sent).clone(),
                1 => (draft.0, record(&draft.1, Some(b"{\"payload\": ".to_vec()))),
                2 => (draft.0, record(&draft.1, random.one_in(2).then(|| envelope(tenant, id, draft.2, &json!({}))))),
                3 => {
                    // Its id again, with other content.
                    let (topic, key, event_type, payload) = draft;
                    let first = (topic, record(&key, Some(envelope(tenant, id, event_type, &payload))));
                    append(stage, &first, &mut sent);
                    let mut other = payload;
                    other["more"] = json!("than before");
                    (topic, record(&key, Some(envelope(tenant, id, event_type, &other))))
                }
                _ => (draft.0, record(&draft.1, Some(envelope(tenant, id, draft.2, &draft.3)))),
            };
            append(stage, &next, &mut sent);
        }
    }
}

fn append(stage: &Stage, next: &(&'static str, NewRecord), sent: &mut Vec<(&'static str, NewRecord)>) {
    let at = stage.append(next.0, next.1.clone());
    stage.tell(format!("sent {at}"));
    sent.push(next.clone());
}

/// What happens to one course, distribution or approval, mostly as it should.
fn story(random: &mut Random, watched: bool) -> Vec<Draft> {
    let mut story: Vec<Draft> = match if watched { 3 } else { random.below(4) } {
        0 | 1 => {
            let course = *random.pick(&["rust", "sql"]);
            let of = |event_type, more: Value| {
                let mut payload = json!({"course_id": course});
                if let (Value::Object(payload), Value::Object(more)) = (&mut payload, more) {
                    payload.extend(more);
                }
                (COURSES, course.to_owned(), event_type, payload)
            };
            vec![
                of("course.generation.requested", json!({"title": course})),
                of("course.outline.created", json!({})),
                of("course.lesson.generated", json!({"lesson_id": "one"})),
                if random.one_in(4) {
                    of("course.generation.failed", json!({"error": "no"}))
                } else {
                    of("course.generation.completed", json!({}))
                },
            ]
        }
        2 => {
            let id = *random.pick(&["course-rust", "own"]);
            let of = |event_type, payload| (DISTRIBUTIONS, id.to_owned(), event_type, payload);
            let plain = || json!({"distribution_id": id});
            vec![
                of("distribution.created", json!({"distribution_id": id, "course_id": "rust", "slug": "rust"})),
                of("distribution.published", plain()),
                of("distribution.viewed", plain()),
                of("distribution.viewed", plain()),
                of("distribution.unpublished", plain()),
            ]
        }
        _ => {
            let id = *random.pick(&["a1", "a2"]);
            let fingerprint = format!("sha256:{}", "a".repeat(64));
            let of = |event_type, payload| (GOVERNANCE, id.to_owned(), event_type, payload);
            let mut all = vec![of(
                "ir.approval_created",
                json!({"approval_id": id, "risk_tier": 1, "token_fingerprint": fingerprint}),
            )];
            for _ in 0..random.between(1, 4) {
                all.push(of("ir.approval_consumed", json!({"approval_id": id})));
            }
            for _ in 0..random.below(7) {
                let actor = *random.pick(&["eve", "ada"]);
                let reason = *random.pick(&["already_used", "token_mismatch"]);
                let payload = json!({"approval_id": id, "reason": reason, "actor": actor});
                all.push(of("ir.approval_invalid", payload));
            }
            let hash = |of: &str| format!("sha256:{}", of.repeat(64));
            let diff = json!({"ir_id": id, "before_hash": hash("a"), "after_hash": hash("b")});
            all.push(of("ir.dag_diff_failed", diff));
            all
        }
    };
    // Some of it never comes.
    if random.one_in(3) {
        let length = random.between(1, story.len());
        story.truncate(length);
    }
    story
}

fn record(key: &str, value: Option<Vec<u8>>) -> NewRecord {
    let key = Bytes::copy_from_slice(key.as_bytes());
    NewRecord {
        key: Some(key),
        value: value.map(Bytes::from),
        timestamp_ms: Some(BEGINNING_MS),
        ..NewRecord::default()
    }
}

fn envelope(tenant: &str, id: Uuid, event_type: &str, payload: &Value) -> Vec<u8> {
    let meta = json!({
        "schema_version": "1.0", "producer": "simulation", "source_module": "simulation", "tenant_id": tenant,
        "correlation_id": "c-1",
    });
    json!({
        "id": id, "type": event_type, "source": "simulation", "target": null, "timestamp": "2027-01-15T08:00:00Z",
        "payload": payload, "meta": meta,
    })
    .to_string()
    .into_bytes()
}
