//! What a text that somebody looks for may name: an event, a record, a learner, a survey, a program, a session, a booking …

use lyceum_core::analytics::learner_id::LearnerId;
use lyceum_core::formats::statement::vocabulary::ACTIVITIES;
use lyceum_core::record::Position;
use uuid::Uuid;

/// A text that somebody looks for, taken for whatever it may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sought {
    /// An event.
    pub event: Option<Uuid>,
    /// A record, or a dead letter.
    pub position: Option<Position>,
    /// A learner, as the question "learner" takes it.
    pub learner: Option<String>,
    /// A survey, by id or IRI.
    pub survey: Option<String>,
    /// An aggregate of this kind, or of any.
    pub state: Option<(Option<String>, String)>,
}

impl Sought {
    /// Reads a text.
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::default();
        }
        let event = text.parse().ok();
        let position: Option<Position> = text.trim_start_matches("/events/").parse().ok();
        if position.is_some() {
            return Self { position, ..Self::default() };
        }
        // An activity of the platform's says by itself what it is.
        if let Some((kind, id)) = text.strip_prefix(ACTIVITIES).and_then(|rest| rest.split_once('/')) {
            let survey = (kind == "survey").then(|| text.to_owned());
            return Self { survey, state: Some((Some(kind.to_owned()), id.to_owned())), ..Self::default() };
        }
        let is_sha1 = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let learner = if is_sha1 { format!("sha1:{text}") } else { text.to_owned() };
        // A bare name may be that of an account under LEARNER_HOME_PAGE.
        let is_bare = !text.contains(['@', ':', '|', '/']) && event.is_none();
        let is_learner = is_bare || LearnerId::parse(&learner).is_ok();
        let names_something = !text.contains('@');
        Self {
            event,
            position: None,
            learner: is_learner.then_some(learner),
            survey: names_something.then(|| text.to_owned()),
            state: names_something.then(|| (None, text.to_owned())),
        }
    }

    /// What the text was taken for, for people.
    pub fn looked_for(&self) -> Vec<&'static str> {
        let Self { event, position, learner, survey, state } = self;
        let kinds = [
            (position.is_some(), "a record or dead letter at that position"),
            (event.is_some(), "an event of that id: its statement, its dead letter, one of the latest events"),
            (learner.is_some(), "a learner"),
            (survey.is_some(), "a survey"),
            (state.is_some(), "a program, session, booking or survey response"),
        ];
        kinds.into_iter().filter_map(|(is_sought, what)| is_sought.then_some(what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_for_all_that_it_may_name() {
        let id = "6f7d0a1e-55aa-4bce-9d51-0d5ba4c1f001";
        let sha1 = "d714b8a95bd857a37405a7b56db9108b60ae42bd";
        for (text, event, position, learner, survey, kind) in [
            (id, true, false, None, Some(id), Some(None)),
            (" nlj.training.bookings/2/149 ", false, true, None, None, None),
            ("/events/t/0/7", false, true, None, None, None),
            ("mailto:ada@a.example", false, false, Some("mailto:ada@a.example"), None, None),
            ("ada@a.example", false, false, Some("ada@a.example"), None, None),
            (sha1, false, false, Some(&*format!("sha1:{sha1}")), Some(sha1), Some(None)),
            ("book-114", false, false, Some("book-114"), Some("book-114"), Some(None)),
            (
                "account:https://a.example|7",
                false,
                false,
                Some("account:https://a.example|7"),
                Some("account:https://a.example|7"),
                Some(None),
            ),
            ("http://nlj.platform/activities/session/s-1", false, false, None, None, Some(Some("session"))),
            (
                "http://nlj.platform/activities/survey/pulse",
                false,
                false,
                None,
                Some("http://nlj.platform/activities/survey/pulse"),
                Some(Some("survey")),
            ),
            ("https://lms.example/survey/1", false, false, None, Some("https://lms.example/survey/1"), Some(None)),
            ("  ", false, false, None, None, None),
        ] {
            let sought = Sought::read(text);
            let found = (
                sought.event.is_some(),
                sought.position.is_some(),
                sought.learner.as_deref(),
                sought.survey.as_deref(),
            );
            assert_eq!(found, (event, position, learner, survey), "{text}");
            assert_eq!(sought.state.as_ref().map(|(kind, _)| kind.as_deref()), kind, "{text}");
        }
    }
}
