//! What did a survey find out?

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use futures::future::join;
use serde::{Deserialize, Serialize};

use super::nps::{Answers, Promotion, Scale, promotion};
use super::{Terms, ask};
use crate::catalog::STATEMENT;
use crate::formats::statement::vocabulary::{ACTIVITIES, last_segment, survey_id};
use crate::ports::statements::{
    Filter, StatementDocument, StatementFields, Statements, StatementsError, StoredStatement,
};
use crate::record::Position;

const QUESTION: &str = include_str!("survey.json");
/// So many surveys are listed where a name means several.
const LISTED: usize = 20;

/// How many questions of a survey are counted.
pub const QUESTIONS: usize = 1_000;
/// How many different responses of a question are listed.
pub const LISTED_RESPONSES: usize = 100;
/// How many bytes the listed responses of a question take together.
pub const LISTED_BYTES: usize = 16 << 10;
/// How many characters of a response are listed.
pub const RESPONSE_CHARS: usize = 200;
/// How many attempts and answers one question may count; each takes some 40 bytes of memory.
const COUNTED: usize = 1_000_000;
/// How many bytes of texts are kept while it is not known yet which of them are the most frequent.
const TEXT_BYTES: usize = 32 << 20;
/// A question whose id is longer is not counted.
const ID_BYTES: usize = 2_048;

/// A survey's answers in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurveyAnswers {
    /// The survey that the asker's name was taken for: `<id>` of the platform's own form, else the whole IRI.
    pub survey: String,
    /// Different attempts that started it: registrations and, where a statement has none, learners.
    pub started: u64,
    /// Different attempts that completed it.
    pub completed: u64,
    /// `completed` of `started`, from 0 to 1; `None` where nobody started. 1 at most, though a start may lie before the
    /// period that is asked for.
    pub completion_rate: Option<f64>,
    /// By question id.
    pub questions: Vec<QuestionAnswers>,
    /// Statements that answer questions beyond the first [`QUESTIONS`], which are not counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// One question's answers. Of several answers in one attempt (a registration; without one, a learner) the last one by
/// source position counts: all of one attempt lie in one partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionAnswers {
    /// `<id>` of `http://nlj.platform/activities/question/<id>`, of any other question the whole IRI.
    pub question: String,
    /// How many answers count.
    pub answers: u64,
    /// The mean of the answers that have a number: `result.score.raw`, else a response that is one.
    pub mean: Option<f64>,
    /// See [`promotion`]; blank answers do not count.
    pub nps: Option<f64>,
    /// What that score is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// Why there is no net promoter score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_nps: Option<String>,
    /// How many different responses were given.
    pub distinct: u64,
    /// Most frequent first, then by response: the first [`LISTED_RESPONSES`], or fewer where they are longer together than
    /// [`LISTED_BYTES`]. An answer without a response is listed by its score.
    pub distribution: Vec<ResponseCount>,
    /// Answers whose responses are not listed.
    pub other_answers: u64,
}

/// A response and how many answers give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResponseCount {
    /// `result.response`, or the score; of a response over [`RESPONSE_CHARS`] characters its beginning and `…`.
    pub response: String,
    /// Whether it is only the beginning.
    #[serde(skip_serializing_if = "is_false")]
    pub is_cut: bool,
    /// How many answers give it.
    pub count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Deserialize)]
struct Aggregations {
    surveys: Terms,
}

/// Counts a survey's starts, completions and answers with timestamps from `from_ms` (inclusive) to `to_ms` (exclusive),
/// milliseconds; without `tenant` of every one. `scale` is that of answers that tell none. `name` is the survey's whole IRI, or a last segment that names one survey.
///
/// # Errors
/// `Refused` where the name means several surveys, with their IRIs; else those of the store.
pub async fn survey(
    statements: &dyn Statements,
    tenant: Option<&str>,
    name: &str,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    scale: Option<Scale>,
) -> Result<SurveyAnswers, StatementsError> {
    let survey = find(statements, tenant, name).await?;
    let filter =
        Filter { tenant: tenant.map(str::to_owned), survey: Some(survey), from_ms, to_ms, ..Filter::default() };
    answers_of(statements, filter.of_statements(), scale).await
}

/// The answers to the survey that a filter names, as the store spells it.
pub(super) async fn answers_of(
    statements: &dyn Statements,
    filter: Filter,
    scale: Option<Scale>,
) -> Result<SurveyAnswers, StatementsError> {
    let survey = filter.survey.clone().unwrap_or_default();
    let mut attempts = Attempts::with_room(TEXT_BYTES);
    let mut part = statements.scan(&filter, None).await?;
    loop {
        let found = part.statements;
        let Some(place) = part.next else {
            attempts.take_all(found)?;
            break;
        };
        // The store reads the next part while this one is counted.
        let (next, counted) = join(statements.scan(&filter, Some(place)), async { attempts.take_all(found) }).await;
        counted?;
        part = next?;
    }
    let (started, completed) = (attempts.started.len() as u64, attempts.completed.len() as u64);
    Ok(SurveyAnswers {
        survey,
        started,
        completed,
        completion_rate: (started > 0).then(|| (completed as f64 / started as f64).min(1.0)),
        left_out: attempts.left_out,
        questions: attempts.fold(scale),
    })
}

/// The one survey that a name means; the name itself where nothing is known of it.
async fn find(statements: &dyn Statements, tenant: Option<&str>, name: &str) -> Result<String, StatementsError> {
    let id = survey_id(name.trim());
    let of_tenant = Filter { tenant: tenant.map(str::to_owned), ..Filter::default() }.of_statements();
    // A whole IRI is nobody else's, whatever else ends like it.
    if name.contains(':') {
        let exactly = Filter { survey: Some(id.to_owned()), ..of_tenant.clone() };
        if statements.search(&exactly, 1, None).await?.total > 0 {
            return Ok(id.to_owned());
        }
    }
    let answer = ask::<Aggregations>(statements, &of_tenant, QUESTION).await?.aggregations;
    let mut meant: Vec<String> =
        answer.surveys.buckets.into_iter().map(|bucket| bucket.key).filter(|known| is_named(known, id)).collect();
    meant.sort();
    match meant.as_slice() {
        [] => Ok(id.to_owned()),
        [one] => Ok(one.clone()),
        several => Err(StatementsError::Refused(several_are_named(name, several))),
    }
}

/// Whether a survey's id is or ends with this name.
fn is_named(id: &str, name: &str) -> bool {
    let is_end = || id.strip_suffix(name).is_some_and(|before| before.ends_with(['/', ':', '#']));
    id == name || (id.contains(':') && (last_segment(id) == Some(name) || is_end()))
}

fn several_are_named(name: &str, ids: &[String]) -> String {
    let whole = |id: &String| if id.contains(':') { id.clone() } else { format!("{ACTIVITIES}survey/{id}") };
    let mut listed: Vec<String> = ids.iter().take(LISTED).map(whole).collect();
    if ids.len() > LISTED {
        listed.push(format!("and {} more", ids.len() - LISTED));
    }
    format!("{name:?} names {} surveys; ask for one by its whole IRI: {}", ids.len(), listed.join(", "))
}

/// What was done in a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Started,
    Answered,
    Completed,
}

impl Step {
    /// Of an event of the survey family by its type, of a plain statement by its verb.
    fn of(fields: &StatementFields) -> Option<Self> {
        match &*fields.event_type {
            "survey.started" => Some(Self::Started),
            "survey.answered" => Some(Self::Answered),
            "survey.completed" => Some(Self::Completed),
            STATEMENT => {
                let namespaces = ["http://adlnet.gov/expapi/verbs/", "http://nlj.platform/verbs/"];
                let verb = namespaces.iter().find_map(|namespace| fields.verb.strip_prefix(namespace))?;
                // To complete a question is not to complete its survey.
                match (verb, fields.question.is_some()) {
                    ("initialized", false) => Some(Self::Started),
                    ("answered", true) => Some(Self::Answered),
                    ("completed", false) => Some(Self::Completed),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// What stands for a text that is compared and not shown: 64 bits under a key of this process, so that among a million texts
/// two are taken for the same once in thirty million times, and nobody can choose such two.
type Digest = u64;

/// Who started, who completed, and who answered what.
struct Attempts {
    keys: RandomState,
    started: HashSet<Digest>,
    completed: HashSet<Digest>,
    questions: BTreeMap<String, Question>,
    answers: usize,
    /// Bytes of the texts that are kept, and how many may be.
    text_bytes: usize,
    text_room: usize,
    left_out: u64,
    names: Names,
}

impl Attempts {
    fn with_room(text_room: usize) -> Self {
        Self {
            keys: RandomState::new(),
            started: HashSet::new(),
            completed: HashSet::new(),
            questions: BTreeMap::new(),
            answers: 0,
            text_bytes: 0,
            text_room,
            left_out: 0,
            names: Names::default(),
        }
    }

    fn take_all(&mut self, found: Vec<StoredStatement>) -> Result<(), StatementsError> {
        found.into_iter().try_for_each(|found| self.take(found.document))
    }

    fn take(&mut self, document: StatementDocument) -> Result<(), StatementsError> {
        let Some(step) = Step::of(&document.fields) else { return Ok(()) };
        let attempt = self.attempt_of(&document);
        match step {
            Step::Started => drop(self.started.insert(attempt)),
            Step::Completed => drop(self.completed.insert(attempt)),
            Step::Answered => self.take_answer(attempt, document),
        }
        if self.started.len() + self.completed.len() + self.answers <= COUNTED {
            return Ok(());
        }
        Err(StatementsError::Refused(format!(
            "the survey has more than {COUNTED} attempts and answers in this time: ask for less of it at once, with `from` and `to`"
        )))
    }

    /// Whose attempt a statement belongs to: its registration's, else its learner's (an address is its SHA-1), else it is one
    /// of its own.
    fn attempt_of(&self, document: &StatementDocument) -> Digest {
        let fields = &document.fields;
        let actor = || Some(&fields.actor).filter(|actor| !actor.is_empty());
        match (&fields.registration, &fields.actor_sha1) {
            (Some(registration), _) => self.keys.hash_one(registration),
            (None, Some(sha1)) => self.keys.hash_one(format!("sha1:{sha1}")),
            (None, None) => {
                actor().map_or_else(|| self.keys.hash_one(document.id.to_string()), |actor| self.keys.hash_one(actor))
            }
        }
    }

    fn take_answer(&mut self, attempt: Digest, document: StatementDocument) {
        let fields = document.fields;
        let Some(id) = fields.question.map(|id| id.to_string()) else { return };
        let is_known = self.questions.contains_key(&id);
        if !is_known && (self.questions.len() >= QUESTIONS || id.len() > ID_BYTES) {
            self.left_out += 1;
            return;
        }
        let number = fields.score_raw.or_else(|| fields.response.as_ref()?.trim().parse().ok());
        let number = number.filter(|number| number.is_finite());
        let response = fields.response.or_else(|| number.map(|number| number.to_string().into())).unwrap_or_default();
        // Only of numbers it is asked on which scale they are.
        let scale = number.and_then(|_| scale_of(&document.raw));
        let question = self.questions.entry(id).or_default();
        let source = self.names.place(&document.source);
        let given = Given {
            source,
            number: number.unwrap_or(f64::NAN),
            scale: question.scale(scale),
            response: self.keys.hash_one(&response),
            is_blank: number.is_none() && response.trim().is_empty(),
        };
        let counts = match question.given.entry(attempt) {
            Entry::Occupied(mut earlier) => {
                let is_later = self.names.is_before(&earlier.get().source, &given.source);
                if is_later {
                    earlier.insert(given);
                }
                is_later
            }
            Entry::Vacant(none) => {
                none.insert(given);
                self.answers += 1;
                true
            }
        };
        if counts && let Entry::Vacant(none) = question.texts.entry(given.response) {
            self.text_bytes += none.insert(Text::of(&response)).bytes();
        }
        if self.text_bytes > self.text_room {
            self.questions.values_mut().for_each(Question::forget_rare_texts);
            self.text_bytes = self.questions.values().flat_map(|of| of.texts.values()).map(Text::bytes).sum();
        }
    }

    fn fold(self, asked: Option<Scale>) -> Vec<QuestionAnswers> {
        self.questions.into_iter().map(|(id, question)| question.fold(id, asked)).collect()
    }
}

/// The topics that positions name, each once.
#[derive(Default)]
struct Names(Vec<Arc<str>>);

/// A position whose topic is a place among [`Names`].
#[derive(Clone, Copy)]
struct Place {
    topic: u32,
    partition: i32,
    offset: i64,
}

impl Names {
    fn place(&mut self, position: &Position) -> Place {
        let Position { topic, partition, offset } = position;
        let known = self.0.iter().position(|known| known == topic);
        let at = known.unwrap_or_else(|| {
            self.0.push(topic.clone());
            self.0.len() - 1
        });
        Place { topic: at as u32, partition: *partition, offset: *offset }
    }

    fn is_before(&self, one: &Place, other: &Place) -> bool {
        let in_full = |place: &Place| (&self.0[place.topic as usize], place.partition, place.offset);
        in_full(one) < in_full(other)
    }
}

/// The answers to a question.
#[derive(Default)]
struct Question {
    /// The last one of each attempt.
    given: HashMap<Digest, Given>,
    /// What the responses say; of many, those that are frequent.
    texts: HashMap<Digest, Text>,
    /// The scales that answers tell.
    scales: Vec<Scale>,
}

/// An answer. There may be many of them.
#[derive(Clone, Copy)]
struct Given {
    source: Place,
    /// Not a number where it has none.
    number: f64,
    /// The place of its scale among the question's, where it tells one.
    scale: Option<u16>,
    response: Digest,
    /// Whether nothing is said by it.
    is_blank: bool,
}

/// What is shown of a response.
struct Text {
    shown: Box<str>,
    is_cut: bool,
}

impl Text {
    fn of(response: &str) -> Self {
        match response.char_indices().nth(RESPONSE_CHARS) {
            Some((end, _)) => Self { shown: format!("{}…", &response[..end]).into(), is_cut: true },
            None => Self { shown: response.into(), is_cut: false },
        }
    }

    /// The memory that it takes, roughly.
    fn bytes(&self) -> usize {
        self.shown.len() + 48
    }
}

impl Question {
    /// The place of a scale. Beyond the first few thousand, another one tells nothing more than that they do not agree.
    fn scale(&mut self, scale: Option<Scale>) -> Option<u16> {
        let scale = scale?;
        let known = self.scales.iter().position(|known| *known == scale);
        let at = known.unwrap_or_else(|| {
            if self.scales.len() < 1_000 {
                self.scales.push(scale);
            }
            self.scales.len() - 1
        });
        u16::try_from(at).ok()
    }

    fn counts(&self) -> HashMap<Digest, u64> {
        let mut counts = HashMap::new();
        for given in self.given.values() {
            *counts.entry(given.response).or_default() += 1;
        }
        counts
    }

    /// The responses that are listed, the most frequent ones first.
    fn listed(&self, counts: &HashMap<Digest, u64>) -> Vec<(Digest, u64)> {
        let texts =
            counts.iter().filter_map(|(response, count)| Some((*count, &*self.texts.get(response)?.shown, *response)));
        let mut known: Vec<(u64, &str, Digest)> = texts.collect();
        let compare = |one: &(u64, &str, Digest), other: &(u64, &str, Digest)| {
            other.0.cmp(&one.0).then_with(|| one.1.cmp(other.1))
        };
        // Of many only those that are listed are put in order.
        if known.len() > LISTED_RESPONSES {
            known.select_nth_unstable_by(LISTED_RESPONSES - 1, compare);
            known.truncate(LISTED_RESPONSES);
        }
        known.sort_unstable_by(compare);
        let mut bytes = 0;
        let fits = |(_, text, _): &(u64, &str, Digest)| {
            bytes += text.len();
            bytes <= LISTED_BYTES
        };
        known.into_iter().take_while(fits).map(|(count, _, response)| (response, count)).collect()
    }

    /// Keeps the texts that would be listed now. One that becomes frequent later comes again.
    fn forget_rare_texts(&mut self) {
        let listed: HashSet<Digest> = self.listed(&self.counts()).into_iter().map(|(response, _)| response).collect();
        self.texts.retain(|response, _| listed.contains(response));
    }

    fn fold(mut self, question: String, asked: Option<Scale>) -> QuestionAnswers {
        let answers = self.given.len() as u64;
        // In an order of their own, so that the sum is the same each time.
        let mut numbers: Vec<f64> =
            self.given.values().map(|given| given.number).filter(|number| !number.is_nan()).collect();
        numbers.sort_unstable_by(f64::total_cmp);
        let told: BTreeSet<u16> = self.given.values().filter_map(|given| given.scale).collect();
        let scales: Vec<Scale> = told.into_iter().map(|at| self.scales[usize::from(at)]).collect();
        let blank = self.given.values().filter(|given| given.is_blank).count();
        let without_number = self.given.len() - numbers.len() - blank;
        let telling = self.given.values().filter(|given| given.scale.is_some()).count();
        let promotion = promotion(&Answers { numbers: &numbers, without_number, scales: &scales, telling, asked });
        let counts = self.counts();
        let listed = self.listed(&counts);
        let entry = |(response, count): (Digest, u64)| {
            let Text { shown, is_cut } = self.texts.remove(&response)?;
            Some(ResponseCount { response: shown.into(), is_cut, count })
        };
        let distribution: Vec<ResponseCount> = listed.into_iter().filter_map(entry).collect();
        QuestionAnswers {
            question,
            answers,
            mean: (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64),
            no_nps: promotion.as_ref().err().map(ToString::to_string),
            nps: promotion.as_ref().ok().and_then(|promotion| promotion.score()),
            promotion: promotion.ok(),
            distinct: counts.len() as u64,
            other_answers: answers - distribution.iter().map(|entry| entry.count).sum::<u64>(),
            distribution,
        }
    }
}

/// `result.score.min` and `max`, where a statement has both.
fn scale_of(statement: &[u8]) -> Option<Scale> {
    #[derive(Deserialize)]
    struct Scored {
        result: Outcome,
    }
    #[derive(Deserialize)]
    struct Outcome {
        score: Ends,
    }
    #[derive(Deserialize)]
    struct Ends {
        min: f64,
        max: f64,
    }
    let Ends { min, max } = serde_json::from_slice::<Scored>(statement).ok()?.result.score;
    Some(Scale { min, max })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_last_segment_names_what_ends_with_it_and_no_part_of_a_word() {
        let site = "https://lms.example/mod/survey/view.php?id=1";
        for (id, name) in [
            ("pulse", "pulse"),
            (site, site),
            (site, "view.php"),
            (site, "view.php?id=1"),
            ("https://lms.example/surveys/pulse/", "pulse"),
            ("https://lms.example/surveys#a", "a"),
            ("urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001", "5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001"),
        ] {
            assert!(is_named(id, name), "{name} names {id}");
        }
        for (id, name) in [("pulse", "ulse"), (site, "1"), (site, "php"), (site, ""), ("impulse", "pulse")] {
            assert!(!is_named(id, name), "{name} does not name {id}");
        }
    }

    #[test]
    fn other_tools_statements_are_steps_by_their_verbs() {
        let step = |event_type: &str, verb: &str, question: Option<&str>| {
            Step::of(&StatementFields {
                event_type: event_type.to_owned().into(),
                verb: verb.into(),
                question: question.map(Into::into),
                ..StatementFields::default()
            })
        };
        let adl = |verb: &str| format!("http://adlnet.gov/expapi/verbs/{verb}");
        assert_eq!(step(STATEMENT, &adl("initialized"), None), Some(Step::Started));
        assert_eq!(step(STATEMENT, &adl("answered"), Some("q")), Some(Step::Answered));
        assert_eq!(step(STATEMENT, &adl("completed"), None), Some(Step::Completed));
        assert_eq!(step(STATEMENT, "http://nlj.platform/verbs/completed", None), Some(Step::Completed));
        assert_eq!(step(STATEMENT, &adl("completed"), Some("q")), None, "a question's end is not the survey's");
        assert_eq!(step(STATEMENT, &adl("experienced"), None), None);
        assert_eq!(step("survey.completed", &adl("experienced"), None), Some(Step::Completed));
        assert_eq!(step("booking.confirmed", &adl("completed"), None), None);
    }

    /// An answer to the question `q` at an offset.
    fn answer(attempt: &str, offset: i64, response: &str) -> StatementDocument {
        StatementDocument {
            tenant: "acme".into(),
            id: Uuid::from_u128(offset as u128),
            raw: Bytes::from_static(b"{}"),
            stored_ms: 0,
            source: Position::new("t", 0, offset),
            correlation_id: "".into(),
            fields: StatementFields {
                event_type: "survey.answered".into(),
                question: Some("q".into()),
                registration: Some(attempt.to_owned()),
                response: Some(response.into()),
                ..StatementFields::default()
            },
        }
    }

    fn fold(answers: impl IntoIterator<Item = StatementDocument>) -> QuestionAnswers {
        let mut attempts = Attempts::with_room(TEXT_BYTES);
        answers.into_iter().try_for_each(|document| attempts.take(document)).unwrap();
        attempts.fold(None).remove(0)
    }

    #[test]
    fn the_last_answer_of_an_attempt_counts_in_whatever_order_they_are_read() {
        let answers =
            [answer("a", 1, "first"), answer("a", 3, "last"), answer("a", 2, "second"), answer("b", 9, "last")];
        let folded = fold(answers);
        assert_eq!((folded.answers, folded.distinct, folded.other_answers), (2, 1, 0));
        assert_eq!(folded.distribution, [ResponseCount { response: "last".to_owned(), is_cut: false, count: 2 }]);
    }

    #[test]
    fn a_long_response_is_cut_at_a_character_and_marked_and_two_that_begin_alike_are_two() {
        let long = "ß".repeat(RESPONSE_CHARS);
        let responses = [long.clone(), format!("{long}a"), format!("{long}b"), format!("{long}b")];
        let folded = fold((0..).zip(responses).map(|(at, response)| answer(&at.to_string(), at, &response)));
        assert_eq!((folded.answers, folded.distinct), (4, 3));
        let cut = format!("{long}…");
        let told: Vec<_> =
            folded.distribution.iter().map(|entry| (entry.response.as_str(), entry.is_cut, entry.count)).collect();
        assert_eq!(told, [(cut.as_str(), true, 2), (long.as_str(), false, 1), (cut.as_str(), true, 1)]);
    }

    #[test]
    fn of_many_different_responses_the_frequent_ones_are_listed_and_the_others_counted() {
        let text = |at: i64| if at % 10 == 0 { format!("often {}", at % 50) } else { format!("{at:0300}") };
        let folded = fold((0..6_000).map(|at| answer(&at.to_string(), at, &text(at))));
        assert_eq!((folded.answers, folded.distinct), (6_000, 5_405));
        let first: Vec<_> =
            folded.distribution.iter().take(6).map(|entry| (&entry.response[..7], entry.count)).collect();
        let often = |count| ("often 0", count);
        assert_eq!(first[0], often(120));
        assert!(first[..5].iter().all(|(_, count)| *count == 120) && first[5].1 == 1, "{first:?}");
        let listed: u64 = folded.distribution.iter().map(|entry| entry.count).sum();
        assert_eq!(folded.other_answers, 6_000 - listed);
        let bytes: usize = folded.distribution.iter().map(|entry| entry.response.len()).sum();
        assert!(folded.distribution.len() <= LISTED_RESPONSES && bytes <= LISTED_BYTES, "{bytes}");
    }

    #[test]
    fn texts_are_forgotten_where_they_are_too_many_and_the_frequent_ones_are_not() {
        let text = |at: i64| if at % 100 == 0 { "often".to_owned() } else { format!("{at:0200}") };
        let mut attempts = Attempts::with_room(100_000);
        for at in 0..3_000 {
            attempts.take(answer(&at.to_string(), at, &text(at))).unwrap();
            assert!(attempts.text_bytes <= attempts.text_room);
        }
        let folded = attempts.fold(None).remove(0);
        assert_eq!((folded.answers, folded.distinct), (3_000, 2_971));
        assert_eq!((folded.distribution[0].response.as_str(), folded.distribution[0].count), ("often", 30));
    }

    #[test]
    fn questions_beyond_the_bound_are_left_out_and_reported() {
        let mut attempts = Attempts::with_room(TEXT_BYTES);
        for at in 0..QUESTIONS as i64 + 5 {
            let mut document = answer("a", at, "yes");
            document.fields.question = Some(format!("q{at}").into());
            attempts.take(document).unwrap();
        }
        assert_eq!((attempts.questions.len(), attempts.left_out), (QUESTIONS, 5));
    }

    #[test]
    fn a_blank_answer_does_not_count_for_the_net_promoter_score_and_a_text_leaves_none() {
        let score = |responses: &[&str]| {
            let asked = Some(Scale::OF_PROMOTERS);
            let mut attempts = Attempts::with_room(TEXT_BYTES);
            for (at, response) in (0..).zip(responses) {
                attempts.take(answer(&at.to_string(), at, response)).unwrap();
            }
            let QuestionAnswers { answers, nps, no_nps, .. } = attempts.fold(asked).remove(0);
            (answers, nps, no_nps)
        };
        assert_eq!(score(&["10", " ", "3", ""]), (4, Some(0.0), None));
        let (answers, nps, no_nps) = score(&["10", "n/a"]);
        assert_eq!((answers, nps, no_nps.as_deref()), (2, None, Some("1 of 2 answers is no number")));
    }

    #[test]
    fn the_scale_is_read_from_the_statement() {
        let statement = br#"{"result": {"response": "4", "score": {"raw": 4, "min": 1, "max": 5}}}"#;
        assert_eq!(scale_of(statement), Some(Scale { min: 1.0, max: 5.0 }));
        for without in [&br#"{"result": {"score": {"raw": 4}}}"#[..], b"{}", b"no json"] {
            assert_eq!(scale_of(without), None);
        }
    }
}
