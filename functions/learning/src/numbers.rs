//! What is counted of a learner and of a concept, and what a person is shown of it.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use datasketches::tdigest::TDigestMut;
use lyceum_core::family::AggregateState;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Value, json};

use crate::events::{Event, What};

/// So many concepts are kept of a learner's mastery: those that changed last.
pub const MAX_MASTERED: usize = 2_000;

/// Of a learner or of a concept; one of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Of a learner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learner: Option<Learner>,
    /// Of a concept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concept: Option<Concept>,
}

impl AggregateState for Numbers {
    fn view(&self, _: &[Option<Self>]) -> Value {
        match (&self.learner, &self.concept) {
            (Some(learner), _) => learner.view(),
            (None, Some(concept)) => concept.view(),
            (None, None) => json!({}),
        }
    }
}

/// Answers, right and wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// All of them.
    pub all: u64,
    /// The right ones.
    pub correct: u64,
}

impl Answers {
    fn count(&mut self, correct: bool) {
        self.all += 1;
        self.correct += u64::from(correct);
    }

    fn merge(&mut self, other: Self) {
        self.all += other.all;
        self.correct += other.correct;
    }

    /// The part that is right, 0 to 1; of no answer none.
    fn rate(self) -> Option<f64> {
        (self.all > 0).then(|| self.correct as f64 / self.all as f64)
    }
}

/// The profile of a learner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learner {
    /// To questions.
    pub answers: Answers,
    /// Sessions that began.
    pub sessions_started: u64,
    /// Sessions that ended.
    pub sessions_ended: u64,
    /// What ended sessions took together, milliseconds.
    pub session_ms: u64,
    /// By concept.
    pub mastery: BTreeMap<String, Mastery>,
    /// The earliest event, milliseconds since 1970 UTC.
    pub first_seen_ms: Option<i64>,
    /// The latest event, milliseconds since 1970 UTC.
    pub last_seen_ms: Option<i64>,
}

/// How well a concept is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mastery {
    /// Since then, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// 0 to 1.
    pub value: f64,
}

impl Mastery {
    /// Of two the later one counts, of two at one time the larger: whichever is counted first.
    fn is_behind(&self, other: &Self) -> bool {
        (self.at_ms, self.value) < (other.at_ms, other.value)
    }
}

impl Learner {
    /// Counts an event of that time.
    pub fn count(&mut self, event: &Event, at_ms: i64) {
        self.see(at_ms, at_ms);
        match &event.what {
            What::Answered { correct, .. } => self.answers.count(*correct),
            What::Session { is_end: false, .. } => self.sessions_started += 1,
            What::Session { is_end: true, duration_ms, .. } => {
                self.sessions_ended += 1;
                self.session_ms = self.session_ms.saturating_add(duration_ms.unwrap_or_default().unsigned_abs());
            }
            What::Mastery { concept_id, after, .. } => self.master(concept_id, Mastery { at_ms, value: *after }),
        }
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.answers.merge(other.answers);
        self.sessions_started += other.sessions_started;
        self.sessions_ended += other.sessions_ended;
        self.session_ms = self.session_ms.saturating_add(other.session_ms);
        if let (Some(first_ms), Some(last_ms)) = (other.first_seen_ms, other.last_seen_ms) {
            self.see(first_ms, last_ms);
        }
        for (concept, mastery) in &other.mastery {
            self.master(concept, *mastery);
        }
    }

    fn see(&mut self, first_ms: i64, last_ms: i64) {
        self.first_seen_ms = Some(self.first_seen_ms.map_or(first_ms, |before| before.min(first_ms)));
        self.last_seen_ms = Some(self.last_seen_ms.map_or(last_ms, |before| before.max(last_ms)));
    }

    fn master(&mut self, concept: &str, mastery: Mastery) {
        if self.mastery.get(concept).is_none_or(|before| before.is_behind(&mastery)) {
            self.mastery.insert(concept.to_owned(), mastery);
        }
        if self.mastery.len() > MAX_MASTERED {
            let oldest = self.mastery.iter().min_by_key(|(concept, mastery)| (mastery.at_ms, (*concept).clone()));
            if let Some(oldest) = oldest.map(|(concept, _)| concept.clone()) {
                self.mastery.remove(&oldest);
            }
        }
    }

    fn view(&self) -> Value {
        let mastery: BTreeMap<&str, f64> = self.mastery.iter().map(|(id, of)| (id.as_str(), of.value)).collect();
        json!({
            "answers": self.answers.all,
            "correct": self.answers.correct,
            "correct_rate": self.answers.rate(),
            "sessions": {"started": self.sessions_started, "ended": self.sessions_ended, "ms": self.session_ms},
            "mastery": mastery,
            "first_seen": self.first_seen_ms.map(UtcTime::from_millis),
            "last_seen": self.last_seen_ms.map(UtcTime::from_millis),
        })
    }
}

/// What is counted of a concept, over all learners.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Concept {
    /// Answers to its questions.
    pub attempts: Answers,
    /// Those that were a learner's first to their question.
    pub first_attempts: Answers,
    /// From the question to the answer.
    pub response_ms: Distribution,
}

impl Concept {
    /// Counts an event.
    pub fn count(&mut self, event: &Event) {
        let What::Answered { correct, response_ms, attempt, .. } = &event.what else { return };
        self.attempts.count(*correct);
        if *attempt == 1 {
            self.first_attempts.count(*correct);
        }
        self.response_ms.0.update(*response_ms as f64);
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.attempts.merge(other.attempts);
        self.first_attempts.merge(other.first_attempts);
        self.response_ms.0.merge(&other.response_ms.0);
    }

    fn view(&self) -> Value {
        json!({
            "attempts": self.attempts.all,
            "correct": self.attempts.correct,
            "correct_rate": self.attempts.rate(),
            "first_attempt_correct_rate": self.first_attempts.rate(),
            "response_ms": self.response_ms.view(),
        })
    }
}

/// A distribution as a t-digest: its quantiles within a part of a percent, the more so near its ends, in about two kilobytes.
#[derive(Clone, Default)]
pub struct Distribution(TDigestMut);

impl Distribution {
    fn view(&self) -> Value {
        let mut digest = self.0.clone();
        let mut at = |rank: f64| digest.quantile(rank).map(|value| value.round() as i64);
        let (p50, p90, p99) = (at(0.5), at(0.9), at(0.99));
        let whole = |value: Option<f64>| value.map(|value| value as i64);
        json!({
            "p50": p50,
            "p90": p90,
            "p99": p99,
            "least": whole(self.0.min_value()),
            "most": whole(self.0.max_value()),
        })
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distribution of {}", self.0.total_weight())
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self.0.clone().serialize()))
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = BASE64.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
        TDigestMut::deserialize(&bytes).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(what: What) -> Event {
        Event { user_id: "ada".into(), what }
    }

    fn answer(correct: bool, response_ms: i64, attempt: i32) -> Event {
        let concept_ids = vec!["fractions".into()];
        of(What::Answered { question_id: "q1".into(), concept_ids, correct, response_ms, attempt, score: None })
    }

    fn session(is_end: bool, duration_ms: Option<i64>) -> Event {
        of(What::Session { session_id: "s1".into(), activity_id: None, duration_ms, is_end })
    }

    fn mastery(concept: &str, after: f64) -> Event {
        of(What::Mastery { concept_id: concept.into(), before: 0.0, after })
    }

    fn again<T: Serialize + for<'de> Deserialize<'de>>(of: &T) -> T {
        serde_json::from_str(&serde_json::to_string(of).unwrap()).unwrap()
    }

    #[test]
    fn a_learner_is_counted_and_shown() {
        let mut learner = Learner::default();
        assert_eq!(learner.view()["correct_rate"], Value::Null);
        for (event, at_ms) in [
            (answer(true, 900, 1), 5_000),
            (answer(false, 900, 1), 4_000),
            (answer(true, 900, 2), 6_000),
            (session(false, Some(99)), 1_000),
            (session(true, Some(60_000)), 61_000),
            (session(true, None), 62_000),
            (mastery("fractions", 0.75), 3_000),
            (mastery("fractions", 0.25), 2_000),
            (mastery("sums", 1.0), 2_000),
        ] {
            learner.count(&event, at_ms);
        }
        let shown = json!({
            "answers": 3, "correct": 2, "correct_rate": 2.0 / 3.0,
            "sessions": {"started": 1, "ended": 2, "ms": 60_000},
            "mastery": {"fractions": 0.75, "sums": 1.0},
            "first_seen": "1970-01-01T00:00:01Z", "last_seen": "1970-01-01T00:01:02Z",
        });
        assert_eq!(again(&learner).view(), shown);
    }

    #[test]
    fn what_two_partitions_counted_is_what_one_would_have_whichever_comes_first() {
        let events = [
            (answer(true, 1, 1), 7),
            (mastery("a", 0.5), 5),
            (session(true, Some(3)), 9),
            (mastery("a", 0.7), 5),
            (mastery("b", 0.1), 4),
            (answer(false, 1, 1), 1),
        ];
        let count = |events: &[(Event, i64)]| {
            let mut learner = Learner::default();
            events.iter().for_each(|(event, at_ms)| learner.count(event, *at_ms));
            learner
        };
        let whole = count(&events);
        for at in 0..=events.len() {
            let (first, second) = (count(&events[..at]), count(&events[at..]));
            let (mut one, mut other) = (first.clone(), second.clone());
            one.merge(&second);
            other.merge(&first);
            assert_eq!((&one, &other), (&whole, &whole), "{at}");
        }
    }

    #[test]
    fn the_concepts_that_changed_last_are_kept() {
        let mut learner = Learner::default();
        for number in 0..MAX_MASTERED + 2 {
            learner.count(&mastery(&format!("c{number}"), 0.5), number as i64);
        }
        assert_eq!(learner.mastery.len(), MAX_MASTERED);
        let is_kept = |concept: &str| learner.mastery.contains_key(concept);
        assert!(!is_kept("c0") && !is_kept("c1") && is_kept("c2") && is_kept(&format!("c{}", MAX_MASTERED + 1)));
    }

    #[test]
    fn a_concept_is_counted_over_all_learners_and_its_times_have_quantiles() {
        let (mut concept, mut elsewhere) = (Concept::default(), Concept::default());
        assert_eq!(concept.view()["response_ms"]["p50"], Value::Null);
        for number in 1..=1_000 {
            let counts = if number % 2 == 0 { &mut concept } else { &mut elsewhere };
            counts.count(&answer(number % 4 == 0, number, if number <= 500 { 1 } else { 2 }));
        }
        concept.count(&mastery("fractions", 1.0));
        let mut concept = again(&concept);
        concept.merge(&again(&elsewhere));
        let view = concept.view();
        assert_eq!(
            (&view["attempts"], &view["correct"], &view["correct_rate"]),
            (&json!(1_000), &json!(250), &json!(0.25))
        );
        assert_eq!(view["first_attempt_correct_rate"], json!(0.25));
        assert_eq!((&view["response_ms"]["least"], &view["response_ms"]["most"]), (&json!(1), &json!(1_000)));
        for (quantile, wanted) in [("p50", 500), ("p90", 900), ("p99", 990)] {
            let found = view["response_ms"][quantile].as_i64().unwrap();
            assert!((found - wanted).abs() <= 10, "{quantile} {found}");
        }
    }

    #[test]
    fn a_distribution_of_many_values_stays_small() {
        let mut times = Distribution::default();
        (0..100_000).for_each(|number| times.0.update(f64::from(number * 7919 % 100_003)));
        assert!(serde_json::to_string(&times).unwrap().len() < 8_000);
    }

    #[test]
    fn a_distribution_that_is_damaged_is_no_distribution() {
        assert!(serde_json::from_str::<Distribution>("\"AAAA\"").is_err());
        assert!(serde_json::from_str::<Distribution>("\"*\"").is_err());
    }
}
