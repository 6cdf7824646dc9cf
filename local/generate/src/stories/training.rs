//! Programs with their sessions, whose seats people compete for; what participants say of them; and content that is asked for.

use std::collections::VecDeque;

use super::{Event, Now, Step, Story};
use crate::academy::{LEARNERS, SURVEY, TITLES, on_scale};
use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, at_hour};
use crate::wire::{Body, Statement, account, activity, adl, extensions, instant, platform, quoted};

/// Whoever organises.
const OFFICE: &str = "training-office";

fn event(event_type: &'static str, key: &str, correlation_id: &str, statement: Statement) -> Event {
    let (key, correlation_id) = (key.to_owned(), correlation_id.to_owned());
    Event { event_type, key, body: Body::Statement(statement), correlation_id }
}

/// A program from its creation to the last booking.
#[derive(Clone, Debug)]
pub(crate) struct Cohort {
    title: usize,
    done: Done,
    sessions: Vec<Session>,
    /// The session whose turn it is.
    turn: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Nothing,
    Created,
    Published,
    /// So many sessions.
    Scheduled(usize),
}

#[derive(Clone, Debug)]
struct Session {
    starts_ms: i64,
    capacity: u64,
    /// Requests that are still to come.
    to_come: u32,
    requested: u32,
    confirmed: u64,
    /// Bookings that wait for an answer, and those on the waiting list.
    open: VecDeque<u32>,
    waiting: VecDeque<u32>,
    /// Whether it was given more seats.
    has_grown: bool,
}

impl Cohort {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        let number = 2 + now.random.below(2) as i64;
        let session = |number: i64, now: &mut Now<'_>| Session {
            starts_ms: at_hour(now.at_ms, 9 + 2 * number, now.random.one_of(&[8, 9, 13])),
            capacity: now.random.between(6, 24) as u64,
            to_come: now.random.between(6, 34) as u32,
            requested: 0,
            confirmed: 0,
            open: VecDeque::new(),
            waiting: VecDeque::new(),
            has_grown: false,
        };
        let sessions = (0..number).map(|number| session(number, now)).collect();
        Self { title: now.random.below(TITLES.len() as u64) as usize, done: Done::Nothing, sessions, turn: 0 }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let program = format!("prog-{}", now.name);
        let said = |verb: &str, title: Option<&str>| Statement {
            actor: account(OFFICE),
            verb: platform(verb),
            object: activity("program", &program, title),
            ..Statement::default()
        };
        match self.done {
            Done::Nothing => {
                self.done = Done::Created;
                let said = said("created", Some(TITLES[self.title]));
                (event("program.created", &program, &program, said), now.after(10 * MINUTE_MS, 3 * HOUR_MS))
            }
            Done::Created => {
                self.done = Done::Published;
                let said = said("published", None);
                (event("program.published", &program, &program, said), now.after(5 * MINUTE_MS, HOUR_MS))
            }
            Done::Published => self.schedule(0, &program, now),
            Done::Scheduled(number) if number < self.sessions.len() => self.schedule(number, &program, now),
            Done::Scheduled(_) => self.book(&program, now),
        }
    }

    fn schedule(&mut self, number: usize, program: &str, now: &mut Now<'_>) -> Step {
        self.done = Done::Scheduled(number + 1);
        let said = self.scheduled(number, program, now);
        (event("session.scheduled", program, program, said), now.after(5 * MINUTE_MS, 4 * HOUR_MS))
    }

    fn scheduled(&self, number: usize, program: &str, now: &Now<'_>) -> Statement {
        let Session { starts_ms, capacity, .. } = &self.sessions[number];
        let extensions = extensions(&[
            ("program_id", quoted(program)),
            ("starts_at", instant(*starts_ms)),
            ("ends_at", instant(starts_ms + 3 * HOUR_MS)),
            ("capacity", capacity.to_string()),
        ]);
        Statement {
            actor: account(OFFICE),
            verb: platform("scheduled"),
            object: activity("session", &format!("ses-{}-{number}", now.name), None),
            context: Some(format!("{{{extensions}}}")),
            ..Statement::default()
        }
    }

    /// The next thing that happens about seats: a request, an answer to the oldest one, or more seats for those who wait.
    fn book(&mut self, program: &str, now: &mut Now<'_>) -> Step {
        let turn = self.turn % self.sessions.len();
        self.turn = turn + 1;
        let session_id = format!("ses-{}-{turn}", now.name);
        let session = &mut self.sessions[turn];
        let answers = !session.open.is_empty() && (session.to_come == 0 || now.random.happens(0.45));
        let may_grow = session.to_come == 0 && session.open.is_empty() && session.waiting.len() > 2;
        let told = if answers {
            let number = session.open.pop_front().unwrap_or_default();
            if session.confirmed < session.capacity {
                session.confirmed += 1;
                Some(("confirmed", number))
            } else {
                session.waiting.push_back(number);
                Some(("waitlisted", number))
            }
        } else if session.to_come > 0 {
            session.to_come -= 1;
            session.requested += 1;
            session.open.push_back(session.requested);
            Some(("requested", session.requested))
        } else if session.confirmed < session.capacity && !session.waiting.is_empty() {
            session.confirmed += 1;
            session.waiting.pop_front().map(|number| ("confirmed", number))
        } else if may_grow && !session.has_grown {
            (session.has_grown, session.capacity) = (true, session.capacity + 2);
            None
        } else {
            // Nothing is left to do in this one, which the choice of turns below rules out.
            None
        };
        let Some((verb, number)) = told else {
            let said = self.scheduled(turn, program, now);
            return (event("session.scheduled", program, program, said), self.next_due(now));
        };
        let learner = self.booker(turn, number, now);
        let event_type = match verb {
            "requested" => "booking.requested",
            "confirmed" => "booking.confirmed",
            _ => "booking.waitlisted",
        };
        let said = Statement {
            actor: account(if verb == "requested" { &learner } else { OFFICE }),
            verb: platform(verb),
            object: activity("booking", &format!("book-{}-{turn}-{number}", now.name), None),
            context: Some(format!("{{{}}}", extensions(&[("session_id", quoted(&session_id))]))),
            ..Statement::default()
        };
        if verb == "confirmed" && now.random.happens(0.6) {
            let ends_ms = self.sessions[turn].starts_ms + 3 * HOUR_MS;
            let wait = now.after(5 * MINUTE_MS, 2 * DAY_MS).unwrap_or_default() - now.at_ms;
            let begins_ms = wait + if now.is_live { now.at_ms } else { ends_ms.max(now.at_ms) };
            let response = Response::about(self.title as u32, self.number_of(turn, number, now), now);
            now.begun.push((begins_ms, Story::Response(Box::new(response))));
        }
        (event(event_type, &session_id, program, said), self.next_due(now))
    }

    /// When the next booking is due, and whose turn it is; `None` where nothing is left in any session.
    fn next_due(&mut self, now: &mut Now<'_>) -> Option<i64> {
        let number = self.sessions.len();
        let next = (0..number).map(|ahead| (self.turn + ahead) % number).find(|of| self.sessions[*of].has_more())?;
        self.turn = next;
        now.after(2 * MINUTE_MS, 5 * HOUR_MS)
    }

    fn number_of(&self, turn: usize, booking: u32, now: &Now<'_>) -> u32 {
        let mut random = crate::random::Random::of(&[
            b"booker",
            now.name.as_bytes(),
            &(turn as u64).to_be_bytes(),
            &booking.to_be_bytes(),
        ]);
        random.below(u64::from(LEARNERS)) as u32
    }

    fn booker(&self, turn: usize, booking: u32, now: &Now<'_>) -> String {
        format!("u-{:04}", self.number_of(turn, booking, now) + 1)
    }
}

impl Session {
    fn has_more(&self) -> bool {
        let has_seat = self.confirmed < self.capacity && !self.waiting.is_empty();
        self.to_come > 0 || !self.open.is_empty() || has_seat || (self.waiting.len() > 2 && !self.has_grown)
    }
}

/// One participant's response to a survey.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    survey: u32,
    learner: u32,
    registration: String,
    /// Questions that are still to be answered, and whether the first one is answered twice.
    left: Vec<usize>,
    is_started: bool,
    has_comment: bool,
    is_completed: bool,
}

impl Response {
    /// To the survey that is always open.
    pub(crate) fn alone(now: &mut Now<'_>) -> Self {
        let learner = now.random.below(u64::from(LEARNERS)) as u32;
        Self::about(TITLES.len() as u32, learner, now)
    }

    fn about(survey: u32, learner: u32, now: &mut Now<'_>) -> Self {
        let mut left: Vec<usize> = (0..SURVEY.len()).rev().collect();
        if now.random.happens(0.1) {
            left.insert(0, 0);
        }
        Self {
            survey,
            learner,
            registration: now.random.uuid().to_string(),
            left,
            is_started: false,
            has_comment: now.random.happens(0.25),
            is_completed: now.random.happens(0.85),
        }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let survey = match TITLES.get(self.survey as usize) {
            Some(title) => format!("feedback-{}", title.to_lowercase().replace(' ', "-")),
            None => "course-feedback".to_owned(),
        };
        let learner = now.academy.learner(now.tenant, self.learner);
        let registration = format!(r#""registration":"{}""#, self.registration);
        let of = |event_type, said| event(event_type, &self.registration, &self.registration, said);
        let about_survey = |verb: &str, extensions: &str| Statement {
            actor: account(&learner.id),
            verb: adl(verb),
            object: activity("survey", &survey, None),
            context: Some(format!("{{{registration}{extensions}}}")),
            ..Statement::default()
        };
        if !self.is_started {
            let demographics = format!(
                r#"{{"department":"{}","role":"{}","region":"{}","age_band":"{}","tenure_band":"{}"}}"#,
                learner.department, learner.role, learner.region, learner.age_band, learner.tenure_band
            );
            let extensions = format!(",{}", extensions(&[("demographics", demographics)]));
            let told = of("survey.started", about_survey("initialized", &extensions));
            self.is_started = true;
            return (told, now.after(5_000, 90_000));
        }
        let answer = |question: &str, result: String| Statement {
            actor: account(&learner.id),
            verb: adl("answered"),
            object: activity("question", question, None),
            result: Some(result),
            context: Some(format!("{{{registration},{}}}", extensions(&[("survey_id", quoted(&survey))]))),
        };
        if let Some(question) = self.left.last().copied() {
            let (name, least, most, ease) = SURVEY[question];
            let lean = learner.content + ease + now.academy.survey_lean(now.tenant, self.survey);
            let score = on_scale(now.random, lean, least, most);
            let result = format!(r#"{{"response":"{score}","score":{{"raw":{score},"min":{least},"max":{most}}}}}"#);
            let told = of("survey.answered", answer(name, result));
            self.left.pop();
            let goes_on = !self.left.is_empty() || self.has_comment || self.is_completed;
            return (told, if goes_on { now.after(4_000, 60_000) } else { None });
        }
        if self.has_comment {
            let comments = ["More exercises, please", "The pace was right", "The room was too small", "Very useful"];
            let comment = now.random.one_of(&comments);
            let told = of("survey.answered", answer("comment", format!(r#"{{"response":"{comment}"}}"#)));
            self.has_comment = false;
            return (told, if self.is_completed { now.after(4_000, 60_000) } else { None });
        }
        (of("survey.completed", about_survey("completed", "")), None)
    }
}

/// Content that is asked for; the platform's generator writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation;

impl Generation {
    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let generation = format!("gen-{}", now.name);
        let topic = now.random.one_of(&TITLES).to_lowercase();
        let kind = now.random.one_of(&["lesson", "quiz", "summary"]);
        let asked = match now.random.happens(0.8) {
            true => ("prompt", quoted(&format!("Write a {kind} about {topic} for new colleagues."))),
            false => ("source", quoted(&format!("What everybody has to know about {topic}. Ask before you act."))),
        };
        let said = Statement {
            actor: account(&now.learner().id),
            verb: platform("requested"),
            object: activity("generation", &generation, None),
            context: Some(format!("{{{}}}", extensions(&[("kind", quoted(kind)), asked]))),
            ..Statement::default()
        };
        (event("content.generation.requested", &generation, &generation, said), None)
    }
}
