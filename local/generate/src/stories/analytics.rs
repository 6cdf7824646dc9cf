//! What learners do and know: events of analytics. An answer is right by the learner's ability and the question's difficulty.

use super::{Event, Now, Step};
use crate::academy::{CONCEPTS, LEARNERS, QUESTIONS, on_scale};
use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::random::{Random, logistic};
use crate::wire::{Body, Field};

/// Pieces of content of a tenant.
const CONTENTS: u64 = 60;

fn event(
    event_type: &'static str,
    key: &str,
    user_id: &str,
    branch: u8,
    fields: Vec<(&'static str, Field)>,
    correlation_id: &str,
) -> Event {
    let body = Body::Avro { user_id: user_id.to_owned(), branch, fields };
    Event { event_type, key: key.to_owned(), body, correlation_id: correlation_id.to_owned() }
}

/// To three places.
fn rounded(number: f64) -> f64 {
    ((number * 1_000.0) as i64) as f64 / 1_000.0
}

/// A learner's hour: questions about a few concepts.
#[derive(Clone, Debug)]
pub(crate) struct Studying {
    learner: u32,
    began_ms: Option<i64>,
    questions: u32,
    /// The question that was answered wrongly, to be tried again.
    again: Option<(u32, i64)>,
    /// Whether the concept of the last answer is to be rated anew.
    rates: Option<u32>,
}

impl Studying {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        let learner = now.random.below(u64::from(LEARNERS)) as u32;
        Self { learner, began_ms: None, questions: now.random.between(3, 12) as u32, again: None, rates: None }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let learner = now.academy.learner(now.tenant, self.learner);
        let session_id = format!("learn-{}", now.name);
        let of = |event_type, branch, fields| event(event_type, &learner.id, &learner.id, branch, fields, &session_id);
        let session = |activity: Option<String>, duration_ms: Option<i64>| {
            vec![
                ("session_id", Field::Text(session_id.clone())),
                ("activity_id", Field::MaybeText(activity)),
                ("duration_ms", Field::MaybeWhole(duration_ms)),
            ]
        };
        let Some(began_ms) = self.began_ms else {
            self.began_ms = Some(now.at_ms);
            let activity = now.random.happens(0.7).then(|| format!("path-{}", now.random.below(20) + 1));
            return (of("session.started", 1, session(activity, None)), now.after(5_000, 60_000));
        };
        if let Some(question) = self.rates.take() {
            let concept = CONCEPTS[question as usize % CONCEPTS.len()];
            let mut knows = Random::of(&[b"mastery", learner.id.as_bytes(), now.tenant.as_bytes(), concept.as_bytes()]);
            let before = logistic(learner.ability - 0.8 + 0.5 * knows.normal());
            let after = before + (1.0 - before) * 0.25 * now.random.unit();
            let fields = vec![
                ("concept_id", Field::Text(concept.to_owned())),
                ("before", Field::Number(rounded(before))),
                ("after", Field::Number(rounded(after))),
            ];
            return (of("mastery.updated", 2, fields), now.after(2_000, 20_000));
        }
        if self.questions == 0 {
            return (of("session.ended", 1, session(None, Some((now.at_ms - began_ms).max(0)))), None);
        }
        self.questions -= 1;
        let (number, attempt) = self.again.take().unwrap_or_else(|| (now.random.below(u64::from(QUESTIONS)) as u32, 1));
        let question = now.academy.question(now.tenant, number);
        let correct = now.random.happens(question.probability(learner.ability));
        // Whoever knows it is quicker.
        let slowness = 0.5 + now.random.unit() + if correct { 0.0 } else { 0.4 };
        if !correct && attempt < 3 && now.random.happens(0.4) {
            self.again = Some((number, attempt + 1));
        } else if now.random.happens(0.2) {
            self.rates = Some(number);
        }
        let score = now.random.happens(0.5).then_some(if correct { 1.0 } else { 0.0 });
        let fields = vec![
            ("question_id", Field::Text(question.id)),
            ("concept_ids", Field::Texts(question.concept_ids)),
            ("correct", Field::Flag(correct)),
            ("response_ms", Field::Whole((question.usual_ms as f64 * slowness) as i64)),
            ("attempt", Field::Whole(attempt)),
            ("score", Field::MaybeNumber(score)),
        ];
        (of("question.answered", 0, fields), now.after(10_000, 2 * MINUTE_MS))
    }
}

/// What becomes of a piece of content: looked at, judged, and now and then changed by its authors.
#[derive(Clone, Debug)]
pub(crate) struct Using {
    content: u64,
    learner: u32,
    has_viewed: bool,
}

impl Using {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        let content = now.random.below(CONTENTS).min(now.random.below(CONTENTS));
        Self { content, learner: now.random.below(u64::from(LEARNERS)) as u32, has_viewed: false }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let content_id = format!("content-{:02}", self.content + 1);
        let learner = now.academy.learner(now.tenant, self.learner);
        let id = ("content_id", Field::Text(content_id.clone()));
        let correlation_id = format!("use-{}", now.name);
        if !self.has_viewed && now.random.happens(0.04) {
            let change = now.random.one_of(&["Examples added", "Spelling", "A newer guideline", "Shorter"]);
            let version = format!("{}.{}", now.random.between(1, 4), now.random.between(0, 9));
            let fields = vec![id, ("version", Field::Text(version)), ("change", Field::Text(change.to_owned()))];
            return (event("content.updated", &content_id, "authors", 2, fields, &correlation_id), None);
        }
        if !self.has_viewed {
            self.has_viewed = true;
            let share = logistic(1.5 * now.random.normal() + 0.8);
            let percent = now.random.happens(0.9).then_some((share * 100.0) as i64 as f64);
            let dwell_ms = (share * 600_000.0) as i64 + now.random.between(1_000, 60_000);
            let fields =
                vec![id, ("dwell_ms", Field::MaybeWhole(Some(dwell_ms))), ("percent", Field::MaybeNumber(percent))];
            let rates = now.random.happens(0.22);
            let told = event("content.viewed", &content_id, &learner.id, 0, fields, &correlation_id);
            return (told, if rates { now.after(MINUTE_MS, 20 * MINUTE_MS) } else { None });
        }
        let mut quality = Random::of(&[b"content", now.tenant.as_bytes(), &self.content.to_be_bytes()]);
        let rating = on_scale(now.random, learner.content * 0.5 + 0.4 + quality.normal() * 0.6, 1, 5);
        let comment =
            now.random.happens(0.3).then(|| now.random.one_of(&["Clear", "Too long", "Just right"]).to_owned());
        let fields = vec![id, ("rating", Field::Whole(rating)), ("comment", Field::MaybeText(comment))];
        (event("content.rated", &content_id, &learner.id, 1, fields, &correlation_id), None)
    }
}

const CHANNELS: [(i64, &str); 4] = [(0, "email"), (1, "push"), (2, "in_app"), (3, "sms")];

/// A notification, and whether it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    learner: u32,
    channel: usize,
    is_sent: bool,
}

impl Notice {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        let channel = now.random.below(4).min(now.random.below(4)) as usize;
        Self { learner: now.random.below(u64::from(LEARNERS)) as u32, channel, is_sent: false }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let learner = format!("u-{:04}", self.learner + 1);
        let (symbol, name) = CHANNELS[self.channel];
        let notification = format!("note-{}", now.name);
        let fields =
            vec![("notification_id", Field::Text(notification.clone())), ("channel", Field::Symbol(symbol, name))];
        if self.is_sent {
            return (event("notification.opened", &learner, &learner, 0, fields, &notification), None);
        }
        self.is_sent = true;
        let opens = now.random.happens([0.35, 0.5, 0.7, 0.2][self.channel]);
        let due = if opens { now.after(MINUTE_MS, DAY_MS) } else { None };
        (event("notification.sent", &learner, &learner, 0, fields, &notification), due)
    }
}

/// A challenge that somebody joins, or an achievement alone.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    learner: u32,
    /// Which one, where it was joined.
    joined: Option<u64>,
    is_completed: bool,
}

impl Challenge {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        Self { learner: now.random.below(u64::from(LEARNERS)) as u32, joined: None, is_completed: false }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let learner = format!("u-{:04}", self.learner + 1);
        let correlation_id = format!("try-{}", now.name);
        let challenge = |number: u64, rank: Option<i64>| {
            vec![("challenge_id", Field::Text(format!("challenge-{}", number + 1))), ("rank", Field::MaybeWhole(rank))]
        };
        match self.joined {
            None if now.random.happens(0.6) => {
                let number = now.random.below(12);
                self.joined = Some(number);
                let completes = now.random.happens(0.55);
                let due = if completes { now.after(2 * HOUR_MS, 6 * DAY_MS) } else { None };
                (event("challenge.joined", &learner, &learner, 2, challenge(number, None), &correlation_id), due)
            }
            Some(number) if !self.is_completed => {
                self.is_completed = true;
                let rank = now.random.happens(0.8).then(|| now.random.between(1, 50));
                let due = if now.random.happens(0.5) { now.after(1_000, MINUTE_MS) } else { None };
                (event("challenge.completed", &learner, &learner, 2, challenge(number, rank), &correlation_id), due)
            }
            _ => {
                let achievement = now.random.one_of(&["first-course", "ten-days", "all-right", "helper", "early-bird"]);
                let fields = vec![
                    ("achievement_id", Field::Text(achievement.to_owned())),
                    ("points", Field::Whole(10 * now.random.between(1, 20))),
                ];
                (event("achievement.unlocked", &learner, &learner, 1, fields, &correlation_id), None)
            }
        }
    }
}
