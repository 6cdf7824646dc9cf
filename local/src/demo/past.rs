//! What the made-up academy did before it is looked at: sixty days of five departments, in the rhythm of weeks, and one incident.
//!
//! A day's events are the same whenever they are made: its date is their seed, and their ids are names. So a load that was cut off goes on
//! at the next start, and what is there already is a duplicate. They go through the ordinary processing; the days are those of the
//! documents' own times.

use lyceum_xapi::utc_time::{Day, UtcTime};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{COMPLETED, COURSES, DEPARTMENTS, HOUR_MS, LEARNERS, activity, answers, department, statement, video};

/// At least so many days.
const DAYS: i64 = 60;
/// How much is done on each day of a week, from Monday on.
const RHYTHM: [f64; 7] = [1.0, 1.15, 1.1, 1.0, 0.8, 0.15, 0.1];
/// Statements of an ordinary day.
const STATEMENTS: f64 = 56.0;
/// Survey responses of an ordinary day.
const RESPONSES: f64 = 2.0;
/// When people learn, by the hour of a day: mornings and early afternoons.
const HOURS: [i64; 16] = [7, 8, 8, 9, 9, 9, 10, 10, 11, 13, 13, 14, 14, 15, 16, 18];
/// Statements of the incident, within so many hours from 22:00 on.
const INCIDENT_STATEMENTS: usize = 130;
const INCIDENT_HOURS: i64 = 4;
/// The incident was on the last Tuesday that is at least so many days ago.
const INCIDENT_AGE: i64 = 3;

/// The days before today, the first one a Monday.
pub(super) fn days(today: Day) -> impl Iterator<Item = Day> {
    let first = today.plus(-DAYS);
    let first = first.plus(-weekday(first));
    (0..).map(move |number| first.plus(number)).take_while(move |day| *day < today)
}

/// The night from this day on, one sender's timestamps had no zone.
pub(super) fn incident_day(today: Day) -> Day {
    let last = today.plus(-INCIDENT_AGE);
    last.plus(-(weekday(last) - 1).rem_euclid(7))
}

/// 0 on a Monday.
fn weekday(day: Day) -> i64 {
    (number(day) + 3).rem_euclid(7)
}

fn number(day: Day) -> i64 {
    day.start().as_millis() / (24 * HOUR_MS)
}

/// The id of an event.
fn id(day: Day, name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("https://academy.example/demo/{day}/{name}").as_bytes())
}

/// The id of the statement that is sent last of a day's.
pub(super) fn last_id(day: Day) -> Uuid {
    id(day, "last")
}

/// Everything that happened on a day, in its order.
pub(super) fn events_of(day: Day, has_incident: bool) -> Vec<Value> {
    let mut made = Making { day, random: StdRng::seed_from_u64(number(day).unsigned_abs()), events: Vec::new() };
    if weekday(day) == 0 {
        made.open_the_week();
    }
    // Weeks differ, and autumn is busier than summer.
    let share = RHYTHM[weekday(day) as usize] * (1.0 + 0.18 * (number(day) as f64 / 11.0).sin());
    for _ in 0..(STATEMENTS * share).round() as usize {
        made.learn();
    }
    for _ in 0..(RESPONSES * share).round() as usize {
        made.answer();
    }
    if weekday(day) < 5 {
        made.book();
    }
    let mut last = video(&mut made.random, "ada@nursing", "nursing", at(day, 20, 0));
    last["id"] = json!(last_id(day));
    made.events.push(last);
    if has_incident {
        made.go_wrong();
    }
    made.events
}

fn at(day: Day, hour: i64, ms: i64) -> UtcTime {
    UtcTime::from_millis(day.start().as_millis() + hour * HOUR_MS + ms)
}

struct Making {
    day: Day,
    random: StdRng,
    events: Vec<Value>,
}

impl Making {
    fn push(&mut self, mut event: Value) {
        event["id"] = json!(id(self.day, &self.events.len().to_string()));
        self.events.push(event);
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.random).unwrap_or(&from[0])
    }

    /// Somebody of a department; the larger ones come first.
    fn person(&mut self) -> (String, &'static str) {
        let of = self.random.random_range(0..DEPARTMENTS.len()).min(self.random.random_range(0..DEPARTMENTS.len()));
        let name = self.pick(LEARNERS);
        (format!("{name}@{}", DEPARTMENTS[of]), DEPARTMENTS[of])
    }

    fn time(&mut self) -> UtcTime {
        let hour = self.pick(&HOURS);
        at(self.day, hour, self.random.random_range(0..HOUR_MS))
    }

    /// A video, or a course that is completed.
    fn learn(&mut self) {
        let (who, of) = self.person();
        let now = self.time();
        if self.random.random_range(0..100) >= 16 {
            let event = video(&mut self.random, &who, of, now);
            return self.push(event);
        }
        let course = self.pick(COURSES);
        let object = json!({
            "id": format!("https://academy.example/courses/{course}"),
            "definition": {"type": "http://adlnet.gov/expapi/activities/course"},
        });
        let mut event = statement(&who, COMPLETED, &object, json!({}), now);
        event["context"]["contextActivities"] = department(of);
        event["result"] = json!({"completion": true, "success": self.random.random_bool(0.92)});
        self.push(event);
    }

    fn answer(&mut self) {
        let (who, of) = self.person();
        let now = self.time();
        let registration = id(self.day, &format!("registration {}", self.events.len()));
        let is_completed = self.random.random_bool(0.8);
        for event in answers(&mut self.random, &who, of, registration, is_completed, now) {
            self.push(event);
        }
    }

    /// A program and its two sessions, of which the second is small.
    fn open_the_week(&mut self) {
        let program = format!("prog-{}", self.day);
        let course = self.pick(COURSES);
        for verb in ["created", "published"] {
            let title = (verb == "created").then_some(course);
            let object = activity("program", &program, title);
            self.push(statement(
                "trainer",
                &format!("http://nlj.platform/verbs/{verb}"),
                &object,
                json!({}),
                at(self.day, 6, 0),
            ));
        }
        for (number, capacity) in [(0, 12), (1, 3)] {
            let extensions = json!({
                "http://nlj.platform/extensions/program_id": program,
                "http://nlj.platform/extensions/starts_at": at(self.day.plus(9), 8, 0).to_string(),
                "http://nlj.platform/extensions/ends_at": at(self.day.plus(9), 11, 0).to_string(),
                "http://nlj.platform/extensions/capacity": capacity,
            });
            let object = activity("session", &session(self.day, number), None);
            self.push(statement(
                "trainer",
                "http://nlj.platform/verbs/scheduled",
                &object,
                extensions,
                at(self.day, 6, HOUR_MS / 2),
            ));
        }
    }

    /// Two bookings of the week's first session and one of the small one, which in the end is overbooked.
    fn book(&mut self) {
        let monday = self.day.plus(-weekday(self.day));
        for (number, of) in [0, 0, 1].into_iter().enumerate() {
            let booking = format!("book-{}-{number}", self.day);
            let extensions = json!({"http://nlj.platform/extensions/session_id": session(monday, of)});
            let (who, _) = self.person();
            let requested = self.time();
            let settled = UtcTime::from_millis(requested.as_millis() + HOUR_MS);
            let verb = if of == 1 || self.random.random_bool(0.8) { "confirmed" } else { "waitlisted" };
            for (who, verb, now) in [(&*who, "requested", requested), ("trainer", verb, settled)] {
                let object = activity("booking", &booking, None);
                self.push(statement(
                    who,
                    &format!("http://nlj.platform/verbs/{verb}"),
                    &object,
                    extensions.clone(),
                    now,
                ));
            }
        }
    }

    /// One department's sender was brought to a new release at 22:00: until two in the morning its timestamps had no zone.
    fn go_wrong(&mut self) {
        for number in 0..INCIDENT_STATEMENTS {
            let name = self.pick(LEARNERS);
            let now = at(self.day, 22, self.random.random_range(0..INCIDENT_HOURS * HOUR_MS));
            let mut event = video(&mut self.random, &format!("{name}@nursing"), "nursing", now);
            event["id"] = json!(id(self.day, &format!("incident {number}")));
            event["version"] = json!("2.0.0");
            event["timestamp"] = json!(now.to_string().trim_end_matches('Z'));
            event["context"]["platform"] = json!("Night shift learning, release 8.0");
            self.events.push(event);
        }
    }
}

fn session(monday: Day, number: usize) -> String {
    format!("ses-{monday}-{number}")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use bytes::Bytes;

    use super::*;
    use crate::routing::Router;

    /// A Sunday.
    const TODAY: &str = "2026-11-29";

    fn past() -> Vec<(Day, Vec<Value>)> {
        let today = TODAY.parse().unwrap();
        let incident = incident_day(today);
        days(today).map(|day| (day, events_of(day, day == incident))).collect()
    }

    #[test]
    fn sixty_days_are_the_same_whenever_they_are_made_and_no_id_is_there_twice() {
        let past = past();
        assert!((60..67).contains(&past.len()) && weekday(past[0].0) == 0, "{}", past.len());
        assert_eq!(past, self::past());
        let ids: Vec<&str> =
            past.iter().flat_map(|(_, events)| events).map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert!((3_000..6_000).contains(&ids.len()), "{} events", ids.len());
    }

    #[test]
    fn weeks_have_their_rhythm_and_every_department_its_part() {
        let (mut working, mut free, mut parts) = (Vec::new(), Vec::new(), BTreeMap::<String, usize>::new());
        for (day, events) in past() {
            if weekday(day) < 5 {
                working.push(events.len())
            } else {
                free.push(events.len())
            }
            for event in events {
                if let Some(of) = event["context"]["contextActivities"]["parent"][0]["id"].as_str() {
                    *parts.entry(of.to_owned()).or_default() += 1;
                }
            }
        }
        assert!(working.iter().min() > free.iter().max(), "{working:?} {free:?}");
        assert!(parts.len() == DEPARTMENTS.len() && parts.values().all(|number| *number > 50), "{parts:?}");
    }

    #[test]
    fn all_is_as_it_should_be_but_one_night_of_one_sender() {
        let router = Router::default();
        let wrong: Vec<(Day, Value)> = past()
            .into_iter()
            .flat_map(|(day, events)| events.into_iter().map(move |event| (day, event)))
            .filter(|(_, event)| router.route(None, &Bytes::from(event.to_string())).has_id.is_none())
            .collect();
        let nights: BTreeSet<String> = wrong.iter().map(|(day, _)| day.to_string()).collect();
        assert_eq!((wrong.len(), nights), (INCIDENT_STATEMENTS, BTreeSet::from(["2026-11-24".to_owned()])));
        assert!(wrong.iter().all(|(_, event)| event["context"]["platform"] == "Night shift learning, release 8.0"));
    }

    #[test]
    fn the_incident_was_on_a_tuesday_of_the_last_days() {
        let today: Day = TODAY.parse().unwrap();
        for ahead in 0..14 {
            let today = today.plus(ahead);
            let incident = incident_day(today);
            let age = number(today) - number(incident);
            assert!(weekday(incident) == 1 && (INCIDENT_AGE..INCIDENT_AGE + 7).contains(&age), "{today}: {incident}");
        }
    }
}
