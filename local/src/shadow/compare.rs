//! Two answers about the same record, field by field; and what differs, grouped by cause. Pure.
//!
//! A record differs where any of its judgements does. What differs of one judgement is one or more differences: where the outcomes
//! differ it is that alone, since everything else follows from it; else each field, by its JSON pointer. In the pointer that names a
//! cause, what is another thing in each record (ids, places in lists) is `*`, so that one change of the code is one cause, and few are many
//! records. A difference is a *consequence* where the event builds on an aggregate of which something differed before.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};

use lyceum_core::record::Position;
use serde::Serialize;
use serde_json::{Map, Value};

/// So many causes are told apart; what is beyond is counted together.
pub const MAX_CAUSES: usize = 1_000;

/// So many aggregates are known to differ.
const MAX_DIFFERING: usize = 1_000_000;

/// At most so many characters of a value are kept for an example.
const SHOWN_CHARS: usize = 300;

/// Of one judgement so many differences are told; more are the same change seen often.
const MAX_OF_ONE: usize = 64;

/// What there is in common between differences that one change of the code makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// The subscription.
    pub by: String,
    /// The type of the event, as the present release calls it.
    pub event_type: String,
    /// Which part of the judgement.
    pub part: Part,
    /// What differs of it: of an outcome both, of a field its pointer with `*` for what is another thing in each record.
    pub what: String,
}

/// The parts of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Who judges at all.
    Subscription,
    /// How it ended.
    Outcome,
    /// Type, id, tenant, correlation id: what the record is.
    Reading,
    /// Why it is not applied.
    Finding,
    /// What is odd about the state.
    Anomaly,
    /// What is kept, and how it is shown.
    State,
    /// By what the event is known again.
    Key,
    /// What is stored.
    Document,
    /// What is published.
    FollowUp,
    /// What is dead-lettered.
    Letter,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Subscription => "subscription",
            Self::Outcome => "outcome",
            Self::Reading => "reading",
            Self::Finding => "finding",
            Self::Anomaly => "anomaly",
            Self::State => "state",
            Self::Key => "key",
            Self::Document => "document",
            Self::FollowUp => "follow-up",
            Self::Letter => "letter",
        })
    }
}

/// What one cause did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The cause.
    #[serde(flatten)]
    pub cause: Cause,
    /// In so many judgements.
    pub count: u64,
    /// So many of these build on what differed before, and may differ for that reason alone.
    pub consequences: u64,
    /// The first one, of those that are no consequence where there is one.
    pub example: Example,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// The record.
    pub at: String,
    /// The event's id, where it was read.
    pub event_id: Option<String>,
    /// Whose it is, where that was read.
    pub tenant: Option<String>,
    /// The whole pointer, within the judgement.
    pub pointer: String,
    /// What the present release says; `None`: nothing.
    pub present: Option<String>,
    /// What the candidate says; `None`: nothing.
    pub candidate: Option<String>,
    /// Whether it is a consequence.
    pub is_consequence: bool,
}

/// Answers that were compared.
#[derive(Debug, Default)]
pub struct Comparison {
    records: u64,
    differing: u64,
    consequences: u64,
    beyond: u64,
    found: BTreeMap<Cause, Found>,
    /// Hashes of subscriptions' aggregates of which something differed.
    aggregates: HashSet<u64>,
}

/// An answer that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its answer about {at} cannot be read: {reason}")]
pub struct Unreadable {
    /// The record.
    pub at: Position,
    /// What is wrong with it.
    pub reason: String,
}

impl Comparison {
    /// How many records were compared.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many of them differ.
    pub fn differing(&self) -> u64 {
        self.differing
    }

    /// How many of those build on what differed before.
    pub fn consequences(&self) -> u64 {
        self.consequences
    }

    /// How many differences had a cause beyond [`MAX_CAUSES`].
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// What was found: the most frequent causes first, and before them those that are no consequence.
    pub fn found(&self) -> Vec<&Found> {
        let mut found: Vec<&Found> = self.found.values().collect();
        found.sort_by_key(|of| (std::cmp::Reverse(of.count - of.consequences), std::cmp::Reverse(of.count)));
        found
    }

    /// Compares both answers about the next record.
    ///
    /// # Errors
    /// Where the candidate's is none.
    pub fn add(&mut self, at: &Position, present: &[u8], candidate: &[u8]) -> Result<(), Unreadable> {
        self.records += 1;
        // The same release writes the same bytes.
        if present == candidate {
            return Ok(());
        }
        let (present, candidate) = (judgements(at, present)?, judgements(at, candidate)?);
        let (mut differs, mut is_root) = (false, false);
        let names: BTreeSet<&String> = present.keys().chain(candidate.keys()).collect();
        for by in names {
            let pair = (present.get(by), candidate.get(by));
            let differences = differences(pair.0, pair.1);
            if differences.is_empty() {
                continue;
            }
            differs = true;
            let of_either = pair.0.into_iter().chain(pair.1);
            let named: Vec<u64> = of_either.flat_map(|of| named(by, of)).collect();
            let is_consequence = named.iter().any(|aggregate| self.aggregates.contains(aggregate));
            is_root |= !is_consequence;
            if self.aggregates.len() < MAX_DIFFERING {
                self.aggregates.extend(named);
            }
            let about = pair.0.or(pair.1);
            for difference in differences {
                self.note(at, by, about, difference, is_consequence);
            }
        }
        self.differing += u64::from(differs);
        self.consequences += u64::from(differs && !is_root);
        Ok(())
    }

    fn note(
        &mut self,
        at: &Position,
        by: &str,
        about: Option<&Map<String, Value>>,
        difference: Difference,
        is_consequence: bool,
    ) {
        let text = |name: &str| about.and_then(|about| about.get(name)?.as_str()).map(str::to_owned);
        let Difference { part, what, pointer, present, candidate } = difference;
        let event_type = text("event_type").unwrap_or_default();
        let cause = Cause { by: by.to_owned(), event_type, part, what };
        let example = || Example {
            at: at.to_string(),
            event_id: text("event_id"),
            tenant: text("tenant"),
            pointer,
            present: present.as_ref().map(shown),
            candidate: candidate.as_ref().map(shown),
            is_consequence,
        };
        if let Some(found) = self.found.get_mut(&cause) {
            found.count += 1;
            found.consequences += u64::from(is_consequence);
            if found.example.is_consequence && !is_consequence {
                found.example = example();
            }
        } else if self.found.len() < MAX_CAUSES {
            let consequences = u64::from(is_consequence);
            self.found.insert(cause.clone(), Found { cause, count: 1, consequences, example: example() });
        } else {
            self.beyond += 1;
        }
    }
}

/// What differs of a judgement.
struct Difference {
    part: Part,
    what: String,
    pointer: String,
    present: Option<Value>,
    candidate: Option<Value>,
}

/// The judgements of an answer, by subscription.
fn judgements(at: &Position, answer: &[u8]) -> Result<BTreeMap<String, Map<String, Value>>, Unreadable> {
    #[derive(serde::Deserialize)]
    struct Answer {
        judged: Vec<Map<String, Value>>,
    }
    let unreadable = |reason: String| Unreadable { at: at.clone(), reason };
    let Answer { judged } = serde_json::from_slice(answer).map_err(|error| unreadable(error.to_string()))?;
    let mut by_name = BTreeMap::new();
    for mut of in judged {
        let Some(Value::String(by)) = of.remove("by") else { return Err(unreadable("nobody judged".to_owned())) };
        for (name, identity) in [("follow_ups", follow_up_name as Identity), ("findings", finding_name)] {
            if let Some(Value::Array(items)) = of.remove(name) {
                of.insert(name.to_owned(), by_identity(items, identity));
            }
        }
        if by_name.insert(by.clone(), of).is_some() {
            return Err(unreadable(format!("{by} judged twice")));
        }
    }
    Ok(by_name)
}

type Identity = fn(&Value) -> String;

fn follow_up_name(item: &Value) -> String {
    item["headers"]["event-type"].as_str().unwrap_or("unnamed").to_owned()
}

fn finding_name(item: &Value) -> String {
    item["rule"].as_str().unwrap_or("unnamed").to_owned()
}

/// A list as an object, by what its items are: one that is missing does not move those behind it.
fn by_identity(items: Vec<Value>, identity: Identity) -> Value {
    let mut named = Map::new();
    for item in items {
        let name = identity(&item);
        let mut unique = name.clone();
        let mut number = 1;
        while named.contains_key(&unique) {
            number += 1;
            unique = format!("{name}#{number}");
        }
        named.insert(unique, item);
    }
    Value::Object(named)
}

fn named(by: &str, judgement: &Map<String, Value>) -> Vec<u64> {
    let named = judgement.get("named").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let hash = |aggregate: &str| {
        let mut hasher = DefaultHasher::new();
        (by, aggregate).hash(&mut hasher);
        hasher.finish()
    };
    named.map(hash).collect()
}

fn differences(present: Option<&Map<String, Value>>, candidate: Option<&Map<String, Value>>) -> Vec<Difference> {
    let (present, candidate) = match (present, candidate) {
        (Some(present), Some(candidate)) => (present, candidate),
        (present, candidate) => {
            let who = if present.is_some() { "the present release" } else { "the candidate" };
            let value = |of: Option<&Map<String, Value>>| of.map(|of| Value::String(outcome(of)));
            return vec![Difference {
                part: Part::Subscription,
                what: format!("judged by {who} alone"),
                pointer: String::new(),
                present: value(present),
                candidate: value(candidate),
            }];
        }
    };
    let (ended, ends) = (outcome(present), outcome(candidate));
    if ended != ends {
        return vec![Difference {
            part: Part::Outcome,
            what: format!("{ended} -> {ends}"),
            pointer: "/outcome".to_owned(),
            present: Some(told(present)),
            candidate: Some(told(candidate)),
        }];
    }
    let mut differences = Vec::new();
    let names: BTreeSet<&String> = present.keys().chain(candidate.keys()).collect();
    for name in names {
        let part = match name.as_str() {
            "findings" => Part::Finding,
            "anomalies" => Part::Anomaly,
            "states" => Part::State,
            "keys" => Part::Key,
            "documents" => Part::Document,
            "follow_ups" => Part::FollowUp,
            "letters" => Part::Letter,
            _ => Part::Reading,
        };
        let mut path = vec![name.clone()];
        differ(part, &mut path, present.get(name), candidate.get(name), &mut differences);
    }
    differences
}

/// How a judgement ended, with the rules by which.
fn outcome(judgement: &Map<String, Value>) -> String {
    let text = |name: &str| judgement.get(name).and_then(Value::as_str);
    let mut outcome = text("outcome").unwrap_or("nothing").to_owned();
    if let Some(kind) = text("kind") {
        outcome += &format!(" ({kind}");
        let rules = judgement.get("findings").and_then(Value::as_object);
        let rules: Vec<&str> = rules.into_iter().flat_map(|rules| rules.keys()).map(String::as_str).collect();
        // A second finding by the same rule is the same cause.
        let rules: Vec<&str> = rules.into_iter().filter(|rule| !rule.contains('#')).collect();
        if let Some((first, rest)) = rules.split_first() {
            outcome += &format!(": {first}");
            rest.iter().for_each(|rule| outcome += &format!(", {rule}"));
        }
        outcome.push(')');
    }
    outcome
}

/// An outcome for an example: with what is said about it.
fn told(judgement: &Map<String, Value>) -> Value {
    let mut told = Map::new();
    for name in ["outcome", "kind", "reason", "findings"] {
        if let Some(value) = judgement.get(name) {
            told.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(told)
}

fn differ(
    part: Part,
    path: &mut Vec<String>,
    present: Option<&Value>,
    candidate: Option<&Value>,
    into: &mut Vec<Difference>,
) {
    if present == candidate || into.len() >= MAX_OF_ONE {
        return;
    }
    match (present, candidate) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                path.push(name.clone());
                differ(part, path, one.get(name), other.get(name), into);
                path.pop();
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                path.push(at.to_string());
                differ(part, path, one.get(at), other.get(at), into);
                path.pop();
            }
        }
        // Where a whole part is missing, it is its items that are.
        (Some(Value::Object(_) | Value::Array(_)), None) | (None, Some(Value::Object(_) | Value::Array(_)))
            if path.len() < depth_of_item(part) =>
        {
            let whole = present.or(candidate);
            let items: Vec<(String, &Value)> = match whole {
                Some(Value::Object(items)) => items.iter().map(|(name, item)| (name.clone(), item)).collect(),
                Some(Value::Array(items)) => {
                    items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect()
                }
                _ => Vec::new(),
            };
            for (name, item) in items {
                path.push(name);
                let (one, other) = if present.is_some() { (Some(item), None) } else { (None, Some(item)) };
                differ(part, path, one, other, into);
                path.pop();
            }
        }
        _ => into.push(Difference {
            part,
            what: cause_of(path, present, candidate),
            pointer: pointer(path.iter().map(String::as_str)),
            present: present.cloned(),
            candidate: candidate.cloned(),
        }),
    }
}

/// How deep an item of a part lies, which is there or not as a whole: a follow-up, a state of a kind, tenant and id.
fn depth_of_item(part: Part) -> usize {
    match part {
        Part::State => 4,
        Part::Subscription | Part::Outcome | Part::Reading => 1,
        Part::Finding | Part::Anomaly | Part::Key | Part::Document | Part::FollowUp | Part::Letter => 2,
    }
}

fn cause_of(path: &[String], present: Option<&Value>, candidate: Option<&Value>) -> String {
    let is_data = |(at, token): (usize, &String)| match (path[0].as_str(), at) {
        // Of a state its tenant and id.
        ("states", 2 | 3) => true,
        ("findings" | "follow_ups", 1) => false,
        _ => at > 0 && !is_name(token),
    };
    let tokens = path.iter().enumerate().map(|(at, token)| {
        let token = token.split_once('#').map_or(token.as_str(), |(name, _)| name);
        if is_data((at, &path[at])) { "*" } else { token }
    });
    let pointer = pointer(tokens);
    match (present, candidate) {
        (Some(_), None) => format!("{pointer} is missing"),
        (None, Some(_)) => format!("{pointer} is new"),
        _ => pointer,
    }
}

/// Whether it is the name of a field, as code writes one, and no id.
fn is_name(token: &str) -> bool {
    let is_word = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte));
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    is_word && token.len() <= 40 && token.starts_with(|first: char| first.is_ascii_alphabetic()) && digits <= 3
}

fn pointer<'t>(tokens: impl Iterator<Item = &'t str>) -> String {
    tokens.fold(String::new(), |pointer, token| pointer + "/" + &token.replace('~', "~0").replace('/', "~1"))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn position(offset: i64) -> Position {
        Position::new("t", 0, offset)
    }

    fn answer(judged: &Value) -> Vec<u8> {
        json!({"at": "t/0/0", "judged": [judged]}).to_string().into_bytes()
    }

    fn compare(pairs: &[(Value, Value)]) -> Comparison {
        let mut comparison = Comparison::default();
        for (offset, (present, candidate)) in (0..).zip(pairs) {
            comparison.add(&position(offset), &answer(present), &answer(candidate)).unwrap();
        }
        comparison
    }

    fn causes(comparison: &Comparison) -> Vec<String> {
        comparison.found().iter().map(|of| format!("{}: {} x{}", of.cause.part, of.cause.what, of.count)).collect()
    }

    fn judged(with: Value) -> Value {
        let mut judged = json!({"by": "training", "event_type": "booking.requested", "outcome": "applied"});
        let Value::Object(with) = with else { panic!("an object") };
        judged.as_object_mut().unwrap().extend(with);
        judged
    }

    #[test]
    fn the_same_said_in_another_order_of_fields_is_no_difference() {
        let mut comparison = Comparison::default();
        let one = br#"{"at":"t/0/0","judged":[{"by":"a","outcome":"applied","x":1}]}"#;
        let other = br#"{"judged":[{"x":1, "outcome":"applied","by":"a"}],"at":"t/0/0"}"#;
        comparison.add(&position(0), one, other).unwrap();
        assert_eq!((comparison.records(), comparison.differing(), comparison.found().len()), (1, 0, 0));
    }

    #[test]
    fn another_outcome_is_one_difference_with_the_rules_by_which_whatever_follows_from_it() {
        let refused = judged(json!({
            "outcome": "dead_lettered", "kind": "validation",
            "findings": [{"rule": "b.x", "pointer": "/a"}, {"rule": "b.x", "pointer": "/b"}, {"rule": "a.y", "pointer": ""}],
            "letters": [{"topic": "errors"}],
        }));
        let applied = judged(json!({"states": {"booking": {"t": {"b1": {"state": {}}}}}}));
        let comparison = compare(&[(applied, refused)]);
        assert_eq!(causes(&comparison), ["outcome: applied -> dead_lettered (validation: a.y, b.x) x1"]);
        let example = &comparison.found()[0].example;
        assert!(example.candidate.as_ref().unwrap().contains("b.x") && example.at == "t/0/0", "{example:?}");
    }

    #[test]
    fn a_field_of_a_state_is_one_cause_whatever_the_ids_and_places() {
        let state = |id: &str, taken: u32| {
            judged(json!({
                "named": [format!("session {id} of t")],
                "states": {"session": {"t": {id: {"state": {"seats": [{"taken": taken}]}}}}},
            }))
        };
        let comparison = compare(&[(state("s1", 1), state("s1", 2)), (state("s/2", 5), state("s/2", 6))]);
        assert_eq!(causes(&comparison), ["state: /states/session/*/*/state/seats/*/taken x2"]);
        let example = &comparison.found()[0].example;
        assert_eq!(example.pointer, "/states/session/t/s1/state/seats/0/taken");
        assert_eq!((example.present.as_deref(), example.candidate.as_deref()), (Some("1"), Some("2")));
        assert_eq!((comparison.differing(), comparison.consequences()), (2, 0));
    }

    #[test]
    fn what_builds_on_an_aggregate_that_differed_is_a_consequence() {
        let of = |id: &str, seats: u32| {
            judged(json!({"named": [id], "states": {"session": {"t": {id: {"state": {"seats": seats}}}}}}))
        };
        let pairs = [(of("s1", 1), of("s1", 2)), (of("s1", 2), of("s1", 3)), (of("s2", 1), of("s2", 2))];
        let comparison = compare(&pairs);
        assert_eq!((comparison.differing(), comparison.consequences()), (3, 1));
        let found = comparison.found();
        assert_eq!((found.len(), found[0].count, found[0].consequences), (1, 3, 1));
    }

    #[test]
    fn a_follow_up_that_is_missing_moves_no_other_one_and_one_that_is_doubled_is_new() {
        let event = |event_type: &str| json!({"topic": "t", "headers": {"event-type": event_type}, "value": {"n": 1}});
        let of = |types: &[&str]| judged(json!({"follow_ups": types.iter().map(|of| event(of)).collect::<Vec<_>>()}));
        let comparison = compare(&[
            (of(&["a.b", "c.d"]), of(&["c.d"])),
            (of(&["a.b"]), of(&["a.b", "a.b"])),
            (of(&["a.b"]), judged(json!({}))),
        ]);
        let mut causes = causes(&comparison);
        causes.sort_unstable();
        assert_eq!(causes, ["follow-up: /follow_ups/a.b is missing x2", "follow-up: /follow_ups/a.b is new x1"]);
    }

    #[test]
    fn a_finding_elsewhere_is_told_by_its_rule() {
        let of = |pointer: &str| {
            judged(
                json!({"outcome": "dead_lettered", "kind": "decode", "findings": [{"rule": "a.b", "pointer": pointer}]}),
            )
        };
        let comparison = compare(&[(of("/x"), of("/y"))]);
        assert_eq!(causes(&comparison), ["finding: /findings/a.b/pointer x1"]);
    }

    #[test]
    fn a_subscription_of_one_side_alone_is_a_difference() {
        let other = json!({"by": "other", "event_type": "x", "outcome": "applied"});
        let comparison = compare(&[(judged(json!({})), other)]);
        let mut causes = causes(&comparison);
        causes.sort_unstable();
        let expected =
            ["subscription: judged by the candidate alone x1", "subscription: judged by the present release alone x1"];
        assert_eq!(causes, expected);
        assert_eq!(comparison.differing(), 1);
    }

    #[test]
    fn causes_are_bounded_and_what_is_beyond_is_counted() {
        let of = |name: &str, value: u32| judged(json!({"x": {name: value}}));
        let names: Vec<String> = (0..MAX_CAUSES + 5)
            .map(|at| {
                // Letters alone, so that it is a name.
                at.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
            })
            .collect();
        let comparison = compare(&names.iter().map(|name| (of(name, 1), of(name, 2))).collect::<Vec<_>>());
        assert_eq!((comparison.found().len(), comparison.beyond()), (MAX_CAUSES, 5));
        assert_eq!(comparison.differing(), MAX_CAUSES as u64 + 5);
    }

    #[test]
    fn an_answer_that_is_none_is_told_with_its_record() {
        let mut comparison = Comparison::default();
        let error = comparison.add(&position(7), &answer(&judged(json!({}))), b"{\"at\": 1}").unwrap_err();
        assert!(error.to_string().contains("t/0/7"), "{error}");
    }
}
