//! What the function is asked for, and what is left of it: pure.
//!
//! A task is done in parts, each shorter than an invocation. What a part answers has the task of the next one, so that whoever asks goes on
//! with it until there is none: nothing is kept in the function, and a task that was cut off goes on from the last answer.

use lyceum_core::reconcile::{Report, What};
use lyceum_core::replay::{Range, Request};
use lyceum_server::reconcile;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// Make dead letters of what AWS Lambda gave up.
    Import(Import),
    /// Send dead letters again: the body of `POST /api/dead-letters/replay`, without `wait`.
    Redrive(Map<String, Value>),
    /// Begin a replay, and go on with it: the body of `POST /events/replay`.
    Replay(Box<Request>),
    /// Go on with a replay that is kept, by its id.
    Run(Uuid),
    /// Compare the log with the stores.
    Reconcile(Box<Reconcile>),
}

/// A comparison of the log with the stores.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// The body of `POST /api/reconcile`.
    #[serde(default)]
    pub request: reconcile::Request,
    /// In place of a range in the request: the hours before the task is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hours: Option<u32>,
    /// What earlier parts found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub so_far: Option<Report>,
}

/// Objects of the bucket of what was given up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Each as Step Functions lists it.
    pub objects: Vec<Object>,
}

/// One object; what a listing has beside its key is no matter here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Object {
    /// Its key.
    #[serde(rename = "Key")]
    pub key: String,
}

/// What came of a part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Done {
    /// Whether there is nothing left.
    pub is_done: bool,
    /// Numbers over this part.
    pub counts: Counts,
    /// What could not be done, and why: the first hundred.
    pub refused: Vec<String>,
    /// Why the whole cannot go on, or what a comparison found: somebody is to look. Absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What was compared so far; of a comparison alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// How long to wait before the next part, seconds.
    pub pause_seconds: u32,
    /// What is left, to be asked for next; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Task>,
}

/// Numbers over a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Dead letters that were written.
    pub letters: u64,
    /// Records that had one, and those whose event was applied by another delivery.
    pub known: u64,
    /// Letters that were sent again.
    pub sent: u64,
    /// Letters that match and stay, because they are parked.
    pub parked: u64,
    /// Of a replay, all of its parts: records that match, and those that are where they should go.
    pub matched: u64,
    /// See `matched`.
    pub replayed: u64,
    /// What could not be done.
    pub refused: u64,
}

/// So many reasons are told.
const REASONS: usize = 100;

impl Done {
    /// Nothing is done yet.
    pub fn nothing() -> Self {
        let (refused, failed, report, next) = (Vec::new(), None, None, None);
        Self { is_done: true, counts: Counts::default(), refused, failed, report, pause_seconds: 0, next }
    }

    /// Notes something that could not be done.
    pub fn refuse(&mut self, why: String) {
        self.counts.refused += 1;
        if self.refused.len() < REASONS {
            self.refused.push(why);
        }
    }

    /// Nothing of it can go on.
    pub fn failed(why: String) -> Self {
        Self { failed: Some(why), ..Self::nothing() }
    }

    /// The same, with this left.
    #[must_use]
    pub fn with_next(self, next: Option<Task>) -> Self {
        Self { is_done: next.is_none(), next, ..self }
    }
}

/// The body of the next request of a redrive, after one that answered so; none where it is through. One that sent nothing has sent what it
/// can: what remains is not to be had.
pub fn next_of_redrive(asked: &Map<String, Value>, answered: &Value) -> Option<Map<String, Value>> {
    let is_left = answered["remaining"].as_u64().is_some_and(|remaining| remaining > 0);
    let has_sent = answered["replayed"].as_array().is_some_and(|sent| !sent.is_empty());
    let is_dry_run = answered["is_dry_run"] == json!(true);
    let is_of_positions = asked.get("positions").and_then(Value::as_array).is_some_and(|of| !of.is_empty());
    if !is_left || !has_sent || is_dry_run || is_of_positions {
        return None;
    }
    let mut next = asked.clone();
    next.insert("up_to".to_owned(), answered["up_to"].clone());
    Some(next)
}

/// So many differences are handed on from part to part, and told at the end: Step Functions takes 256 KB from one to the next.
const LISTED: usize = 100;
/// So many notes and reasons likewise.
const NOTES: usize = 20;
/// So many differences are named where somebody is told in one text.
const NAMED: usize = 5;
const HOUR_MS: i64 = 3_600_000;

impl Reconcile {
    /// The same with the hours before this time as its range, where it names hours.
    ///
    /// # Errors
    /// It names a range, too, or no hour.
    pub fn at(mut self, now_ms: i64) -> Result<Self, String> {
        let Some(hours) = self.last_hours.take() else { return Ok(self) };
        if self.request.range != Range::default() || hours == 0 {
            return Err("last_hours is a number from 1, in place of a range: leave one of the two out".to_owned());
        }
        let from = UtcTime::from_millis(now_ms.saturating_sub(i64::from(hours).saturating_mul(HOUR_MS)));
        self.request.range = Range::Times { from: Some(from), until: Some(UtcTime::from_millis(now_ms)) };
        Ok(self)
    }

    /// What came of a part: of the last one, what somebody has to look at.
    pub fn after(self, part: Report) -> Done {
        let mut report = self.so_far.unwrap_or_default();
        report.go_on(part);
        report.listed.truncate(LISTED);
        report.notes.truncate(NOTES);
        let left = std::mem::take(&mut report.next);
        if left.is_empty() {
            return Done { failed: verdict(&report), report: Some(report), ..Done::nothing() };
        }
        let request = reconcile::Request { left, ..self.request };
        let next = Self { request, last_hours: None, so_far: Some(report) };
        Done::nothing().with_next(Some(Task::Reconcile(Box::new(next))))
    }
}

/// What somebody is to be told of a comparison that has come to its end; `None` where all is as it should be. What was repaired is told, too:
/// it was missing, and nobody knows why yet.
fn verdict(report: &Report) -> Option<String> {
    let mut told = Vec::new();
    let named = |(what, count): (&What, &u64)| format!("{count} of {}", what.name());
    if !report.differences.is_empty() {
        told.push(format!(
            "log and stores differ: {}",
            report.differences.iter().map(named).collect::<Vec<_>>().join(", ")
        ));
    }
    if report.repaired > 0 {
        told.push(format!("{} effects were missing, and are there now", report.repaired));
    }
    if !report.is_complete {
        let left = "not all stored documents could be held against the log in one part: name topics, a tenant or a shorter range";
        told.push(left.to_owned());
    }
    for difference in report.listed.iter().take(NAMED) {
        told.push(format!("{} at {} of {}", difference.what.name(), difference.position, difference.subscription));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use lyceum_core::reconcile::Difference;
    use lyceum_core::record::Position;
    use lyceum_core::replay::OffsetsOf;

    use super::*;

    fn task(text: &str) -> Result<Task, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn body(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_task_is_read_as_step_functions_and_people_write_it() {
        let listed = r#"{"import": {"objects": [{"Key": "aws/lambda/one", "Size": 1, "Etag": "x", "LastModified": 1.5, "StorageClass": "STANDARD"}]}}"#;
        let import = Task::Import(Import { objects: vec![Object { key: "aws/lambda/one".to_owned() }] });
        assert_eq!(task(listed), Ok(import));
        assert_eq!(task(r#"{"redrive": {"all": true}}"#), Ok(Task::Redrive(body(json!({"all": true})))));
        for (wrong, hint) in [
            ("{}", "expected"),
            (r#"{"again": {}}"#, "unknown variant `again`"),
            (r#"{"redrive": {"all": true}, "run": "00000000-0000-0000-0000-000000000007"}"#, "expected"),
            (r#"{"replay": {"topics": ["t"]}}"#, "missing field `target`"),
            (r#"{"run": "seven"}"#, "UUID"),
            (r#"{"reconcile": {"hours": 3}}"#, "unknown field `hours`"),
            (r#"{"import": {"objects": [{"key": "small"}]}}"#, "missing field `Key`"),
            (r#"{"import": {"objects": [], "bucket": "other"}}"#, "unknown field `bucket`"),
        ] {
            let told = task(wrong).unwrap_err();
            assert!(told.contains(hint), "{wrong}: {told}");
        }
    }

    #[test]
    fn a_redrive_goes_on_to_where_it_began_to_until_nothing_is_left_or_nothing_goes() {
        let asked = body(json!({"topic": "t"}));
        let answered = |remaining: u64, sent: u64| {
            json!({
                "is_dry_run": false, "remaining": remaining, "replayed": vec![json!({}); usize::try_from(sent).unwrap()], "up_to": {"t": [5]},
            })
        };
        let next = next_of_redrive(&asked, &answered(3, 2)).unwrap();
        assert_eq!(next, body(json!({"topic": "t", "up_to": {"t": [5]}})));
        assert_eq!(next_of_redrive(&asked, &answered(0, 2)), None);
        assert_eq!(next_of_redrive(&asked, &answered(3, 0)), None, "what does not go is asked for no more");
        let mut dry = answered(3, 2);
        dry["is_dry_run"] = json!(true);
        assert_eq!(next_of_redrive(&asked, &dry), None);
        let named = body(json!({"positions": ["t/0/1"]}));
        assert_eq!(next_of_redrive(&named, &answered(3, 2)), None, "what is named is sent at once or not at all");
    }

    #[test]
    fn of_many_reasons_the_first_are_told_and_all_are_counted() {
        let mut done = Done::nothing();
        (0..250).for_each(|n| done.refuse(n.to_string()));
        assert_eq!((done.refused.len(), done.counts.refused, done.refused[99].as_str()), (100, 250, "99"));
        assert!(done.clone().with_next(None).is_done && !done.with_next(Some(Task::Redrive(Map::new()))).is_done);
    }

    #[test]
    fn the_last_hours_are_those_before_the_first_part_and_stay_so() {
        let asked = |text: &str| match task(text).unwrap() {
            Task::Reconcile(of) => *of,
            other => panic!("{other:?}"),
        };
        let now_ms = 1_772_409_600_000;
        let first = asked(r#"{"reconcile": {"last_hours": 25, "request": {"repair": true}}}"#).at(now_ms).unwrap();
        let range = json!({"times": {"from": "2026-02-28T23:00:00Z", "until": "2026-03-02T00:00:00Z"}});
        assert_eq!(serde_json::to_value(&first.request.range).unwrap(), range);
        let left = vec![OffsetsOf { from: Some(5), ..OffsetsOf::default() }];
        let done = first.after(Report { records: 5, next: left.clone(), ..Report::default() });
        assert!(!done.is_done && done.failed.is_none());
        let Some(Task::Reconcile(next)) = done.next else { panic!() };
        let later = next.at(now_ms + HOUR_MS).unwrap();
        assert_eq!((serde_json::to_value(&later.request.range).unwrap(), &later.request.left), (range, &left));
        assert!(later.request.repair);
        for wrong in [
            r#"{"reconcile": {"last_hours": 0}}"#,
            r#"{"reconcile": {"last_hours": 1, "request": {"range": {"times": {"from": "2026-03-01"}}}}}"#,
        ] {
            assert!(asked(wrong).at(now_ms).is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_all_parts_of_a_comparison_one_report_is_made_and_somebody_is_told_of_what_was_missing() {
        let difference = |offset: i64| Difference {
            what: What::MissingDocument,
            subscription: "training".to_owned(),
            position: Position::new("t", 0, offset),
            tenant: None,
            event_id: None,
            why: "w".repeat(100),
        };
        let part = |offsets: std::ops::Range<i64>, next: Vec<OffsetsOf>| {
            let mut report = Report { records: 1_000, is_complete: next.is_empty(), next, ..Report::default() };
            offsets.for_each(|offset| report.add(difference(offset)));
            report
        };
        let left = vec![OffsetsOf { from: Some(1), ..OffsetsOf::default() }];
        let first = Reconcile::default().after(part(0..900, left));
        let text = serde_json::to_string(&first).unwrap();
        assert!(text.len() < 100_000, "Step Functions takes no more than 256 KB: {}", text.len());
        let Some(Task::Reconcile(next)) = first.next else { panic!() };
        let done = next.after(part(900..901, vec![]));
        let report = done.report.unwrap();
        assert_eq!((report.records, report.total(), report.listed.len()), (2_000, 901, LISTED));
        let told = done.failed.unwrap();
        assert!(told.contains("901 of") && told.contains("t/0/0 of training") && !told.contains("t/0/9"), "{told}");
        assert!(done.is_done && done.next.is_none());

        let whole = |report: Report| Reconcile::default().after(Report { is_complete: true, ..report });
        assert_eq!(whole(Report { kept: 5, ..Report::default() }).failed, None);
        let mended = whole(Report { repaired: 3, ..Report::default() }).failed.unwrap();
        assert!(mended.starts_with("3 effects were missing"), "{mended}");
        let short = Reconcile::default().after(Report::default()).failed.unwrap();
        assert!(short.contains("not all stored documents"), "{short}");
    }
}
