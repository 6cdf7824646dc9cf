//! What is sent to the counters: few records that have much to do with each other.

use bytes::Bytes;
use lyceum_core::record::{Header, NewRecord};
use serde_json::{Value, json};
use uuid::Uuid;

use super::family::{COUNTERS, Kind};
use crate::fault::Fault;
use crate::random::Random;
use crate::stage::{BEGINNING_MS, Stage};

/// Creates the topic and fills it.
pub(super) fn fill(stage: &Stage, random: &mut Random) {
    let partitions = random.between(1, 2) as i32;
    stage.create_topic(COUNTERS, partitions);
    // Few kinds a run: their combinations are what breaks things, and rare ones would drown among eight.
    let mut kinds: Vec<Kind> = (0..random.between(1, 4)).map(|_| random.pick(&Kind::ALL).0).collect();
    let flaky = random.one_in(4);
    if flaky {
        // Who fails while another succeeds: too rare where each of the three is left to chance.
        stage.state().plan.allow(Fault::OwnWork, 2);
        stage.state().plan.allow(Fault::Zombie, 8);
        kinds = vec![Kind::Flaky, Kind::Flaky, kinds[0]];
    }
    let counters: Vec<&str> = ["a", "b", "c"][..random.between(1, 3)].to_vec();
    // Now and then more events than one transaction takes actions.
    let count = if random.one_in(60) { random.between(101, 140) } else { random.between(1, if flaky { 3 } else { 7 }) };
    let mut sent: Vec<(NewRecord, Uuid)> = Vec::new();
    for at in 0..count {
        let fresh = random.uuid();
        let next = match random.below(12) {
            0 | 1 if !sent.is_empty() => random.pick(&sent).clone(),
            2 if !sent.is_empty() => {
                let id = random.pick(&sent).1;
                (event(random, &kinds, &counters, id, at), id)
            }
            3 if random.one_in(2) => (poison(random, &counters), fresh),
            _ => (event(random, &kinds, &counters, fresh, at), fresh),
        };
        stage.append(COUNTERS, next.0.clone());
        sent.push(next);
    }
}

/// The same with a rejected event and one or two whose own work may fail, of one counter.
pub(super) fn fill_to_spend(stage: &Stage, random: &mut Random) {
    stage.create_topic(COUNTERS, 1);
    stage.state().plan.calm();
    stage.state().plan.allow(Fault::OwnWork, 6);
    stage.state().plan.allow(Fault::Zombie, 20);
    let flaky = random.between(1, 2);
    for at in 0..=flaky {
        let (id, kind) = (random.uuid(), if at == 0 { Kind::Need } else { Kind::Flaky });
        stage.append(COUNTERS, event(random, &[kind], &["a"], id, at));
    }
}

fn event(random: &mut Random, kinds: &[Kind], counters: &[&str], id: Uuid, note: usize) -> NewRecord {
    let kind = *random.pick(kinds);
    let counter = *random.pick(counters);
    let extension = |name: &str| format!("http://nlj.platform/extensions/{name}");
    let mut extensions = json!({
        extension("kind"): kind.name(),
        extension("limit"): random.between(1, 2),
        extension("note"): note,
    });
    if random.one_in(4) && counters.len() > 1 {
        let others: Vec<_> = counters.iter().filter(|other| **other != counter).collect();
        extensions[extension("also")] = json!(random.pick(&others));
    }
    let statement = json!({
        "id": id,
        "actor": {"mbox": "mailto:somebody@lyceum.example"},
        "verb": {"id": "http://nlj.platform/verbs/counted"},
        "object": {"id": format!("http://nlj.platform/activities/counter/{counter}")},
        "context": {"extensions": extensions},
    });
    let wrapped = random.one_in(3);
    let value: Value =
        if wrapped { json!({"event_type": "counter.counted", "xapi_data": statement}) } else { statement };
    record(Some(counter), Some(value.to_string().into()), vec![Header::new("correlation-id", id.to_string())])
}

fn poison(random: &mut Random, counters: &[&str]) -> NewRecord {
    let value = *random.pick(&[Some(&b"\xff\x00"[..]), Some(b"{\"verb\": 1}"), Some(b""), None]);
    record(Some(*random.pick(counters)), value.map(Bytes::from_static), Vec::new())
}

fn record(key: Option<&str>, value: Option<Bytes>, headers: Vec<Header>) -> NewRecord {
    let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    NewRecord { partition: None, key, value, headers, timestamp_ms: Some(BEGINNING_MS) }
}
