//! The words of statements: where the platform's extensions and activities live, by what a statement is recognised, and what is a
//! survey or a question in the statements of any tool.

use bytestring::ByteString;
use lyceum_xapi::statement::{Activity, Object, Statement};
use serde::Serialize;

use crate::catalog::{ObjectIs, StatementForm};

/// Where the platform's extensions live: this and a snake_case name.
pub const EXTENSIONS: &str = "http://nlj.platform/extensions/";
/// Where the platform's activities live: this, a kind, `/` and an id.
pub const ACTIVITIES: &str = "http://nlj.platform/activities/";
/// Activity type of an interaction (xAPI-Data 2.4.4.1).
pub const CMI_INTERACTION: &str = "http://adlnet.gov/expapi/activities/cmi.interaction";
/// Activity type of a question, as ADL's vocabulary has it.
pub const QUESTION_TYPE: &str = "http://adlnet.gov/expapi/activities/question";
/// Activity type of a survey, as tools of the field send it.
pub const SURVEY_TYPE: &str = "http://id.tincanapi.com/activitytype/survey";

impl StatementForm {
    /// Whether the statement says it.
    pub(super) fn is_said_by(&self, statement: &Statement<'_>) -> bool {
        let Object::Activity(activity) = &statement.object else { return false };
        self.verbs.contains(&statement.verb.as_ref()) && self.object.matches(activity, statement)
    }
}

/// What an event of a survey is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SurveyFields {
    /// The survey, by its [`survey_id`].
    pub survey: ByteString,
    /// The question, by its [`question_id`].
    pub question: Option<ByteString>,
}

impl SurveyFields {
    /// What a statement of any tool is about, by the types of the field: a survey, or a question whose parent or grouping
    /// is one.
    pub fn of(statement: &Statement<'_>) -> Option<Self> {
        let Object::Activity(activity) = &statement.object else { return None };
        if is_survey(&activity.id, activity.kind.as_deref()) {
            return Some(Self { survey: survey_id(&activity.id).into(), question: None });
        }
        let is_question = activity_kind(&activity.id) == Some("question")
            || matches!(activity.kind.as_deref(), Some(CMI_INTERACTION | QUESTION_TYPE))
            || activity.interaction_type.is_some();
        let survey = is_question.then(|| survey_of(statement)).flatten()?;
        Some(Self { survey: survey_id(survey).into(), question: Some(question_id(&activity.id).into()) })
    }
}

/// The IRI of the survey among a statement's parents and groupings; one of the platform comes before others.
pub fn survey_of<'s>(statement: &'s Statement<'_>) -> Option<&'s str> {
    let around = || statement.context.parents.iter().chain(&statement.context.groupings);
    let of_platform = around().find(|(id, _)| activity_kind(id) == Some("survey"));
    of_platform.or_else(|| around().find(|(id, kind)| is_survey(id, kind.as_deref()))).map(|(id, _)| &**id)
}

impl ObjectIs {
    fn matches(&self, activity: &Activity<'_>, statement: &Statement<'_>) -> bool {
        match self {
            Self::Kind(kind) => activity_kind(&activity.id) == Some(kind),
            Self::SurveyQuestion => {
                activity_kind(&activity.id) == Some("question")
                    || (activity.kind.as_deref() == Some(CMI_INTERACTION)
                        && statement.context.parents.iter().any(|(id, _)| activity_kind(id) == Some("survey")))
            }
        }
    }
}

/// Whether an activity is a survey: by the platform's IRI, or by the type that tools of the field use.
pub fn is_survey(id: &str, kind: Option<&str>) -> bool {
    activity_kind(id) == Some("survey") || kind == Some(SURVEY_TYPE)
}

/// By what a survey is kept and counted: the `<id>` of the platform's own form, of every other survey the whole IRI, since
/// a part of it is another site's, too.
pub fn survey_id(iri: &str) -> &str {
    id_of_kind(iri, "survey")
}

/// By what a question is kept and counted, as [`survey_id`] is for surveys.
pub fn question_id(iri: &str) -> &str {
    id_of_kind(iri, "question")
}

/// No two IRIs give the same id: one of the platform's has no colon, and an absolute IRI has one.
fn id_of_kind<'i>(iri: &'i str, kind: &str) -> &'i str {
    let of_kind = iri.strip_prefix(ACTIVITIES).and_then(|rest| rest.strip_prefix(kind)?.strip_prefix('/'));
    let id = of_kind.map(|id| id.strip_suffix('/').unwrap_or(id));
    id.filter(|id| !id.is_empty() && !id.contains(['/', '?', '#', ':'])).unwrap_or(iri)
}

/// The kind in `http://nlj.platform/activities/<kind>/<id>`.
pub fn activity_kind(iri: &str) -> Option<&str> {
    let (kind, id) = iri.strip_prefix(ACTIVITIES)?.split_once('/')?;
    (!kind.is_empty() && !id.is_empty()).then_some(kind)
}

/// The last segment of an IRI's path, without query and fragment.
pub fn last_segment(iri: &str) -> Option<&str> {
    let path = iri.split(['?', '#']).next().unwrap_or(iri).trim_end_matches('/');
    let segment = path.rsplit(['/', ':']).next()?;
    (!segment.is_empty()).then_some(segment)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::formats::Opened;
    use crate::formats::statement::sample::{opened, record, statement};

    const OURS: &str = "http://nlj.platform/activities/survey/pulse";
    const THEIRS: &str = "https://lms.example/survey/1";

    fn with<T>(members: Value, read: impl FnOnce(&Statement<'_>) -> T) -> T {
        opened(&record(statement(members)), |opened| {
            let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
            read(&envelope.body)
        })
    }

    fn about(id: &str, definition: Value, activities: Value) -> Value {
        json!({"object": {"id": id, "definition": definition}, "context": {"contextActivities": activities}})
    }

    fn a_person() -> Value {
        json!({"object": {"objectType": "Agent", "mbox": "mailto:bob@example.com"}})
    }

    #[test]
    fn a_statement_says_an_event_type_by_its_verb_and_its_object_together() {
        let verbs = &["http://adlnet.gov/expapi/verbs/passed", "http://adlnet.gov/expapi/verbs/completed"];
        let form = StatementForm { verbs, object: ObjectIs::Kind("program") };
        let says = |members: Value| with(members, |statement| form.is_said_by(statement));
        let program = json!({"id": "http://nlj.platform/activities/program/p1"});
        assert!(says(json!({"object": program})));
        assert!(!says(json!({"object": program, "verb": {"id": "http://adlnet.gov/expapi/verbs/failed"}})));
        assert!(!says(json!({"object": {"id": "http://nlj.platform/activities/session/s1"}})));
        assert!(!says(a_person()));
    }

    #[test]
    fn a_surveys_question_is_of_the_platforms_kind_or_an_interaction_in_a_survey_of_the_platform() {
        let form =
            StatementForm { verbs: &["http://adlnet.gov/expapi/verbs/completed"], object: ObjectIs::SurveyQuestion };
        let says = |members: Value| with(members, |statement| form.is_said_by(statement));
        let (interaction, course) = (json!({"type": CMI_INTERACTION}), json!({"type": "http://lms.example/course"}));
        let (ours, theirs) = (json!({"parent": [{"id": OURS}]}), json!({"parent": [{"id": THEIRS}]}));
        let question = "http://nlj.platform/activities/question/q1";
        assert!(says(about(question, json!({}), json!({}))));
        assert!(says(about("https://lms.example/q", interaction.clone(), ours.clone())));
        assert!(!says(about("https://lms.example/q", interaction.clone(), theirs)));
        assert!(!says(about("https://lms.example/q", interaction, json!({}))));
        assert!(!says(about("https://lms.example/q", course, ours)));
    }

    #[test]
    fn a_survey_is_known_by_the_platforms_iri_or_by_its_type() {
        assert!(is_survey(OURS, None) && is_survey(THEIRS, Some(SURVEY_TYPE)));
        assert!(!is_survey(THEIRS, None) && !is_survey(THEIRS, Some(QUESTION_TYPE)));
    }

    #[test]
    fn a_statement_is_counted_by_its_survey_and_its_question() {
        let fields =
            |members: Value| with(members, |statement| SurveyFields::of(statement).map(|of| (of.survey, of.question)));
        let of = |survey: &str, question: Option<&str>| Some((survey.into(), question.map(Into::into)));
        let (none, parent) = (json!({}), json!({"parent": [{"id": OURS}]}));
        let own_question = "http://nlj.platform/activities/question/q1";
        let question = "https://lms.example/q";
        assert_eq!(fields(about(OURS, none.clone(), none.clone())), of("pulse", None));
        assert_eq!(fields(about(THEIRS, json!({"type": SURVEY_TYPE}), none.clone())), of(THEIRS, None));
        assert_eq!(fields(about(own_question, none.clone(), parent.clone())), of("pulse", Some("q1")));
        for definition in [
            json!({"type": CMI_INTERACTION}),
            json!({"type": QUESTION_TYPE}),
            json!({"interactionType": "true-false", "type": CMI_INTERACTION}),
            json!({"interactionType": "likert", "type": "http://lms.example/question"}),
        ] {
            assert_eq!(fields(about(question, definition, parent.clone())), of("pulse", Some(question)));
        }
        assert_eq!(fields(about(question, json!({"type": CMI_INTERACTION}), none.clone())), None);
        assert_eq!(fields(about(question, none, parent)), None);
        assert_eq!(fields(a_person()), None);
    }

    #[test]
    fn the_platforms_survey_around_a_statement_comes_before_others_and_a_parent_before_a_grouping() {
        let around = |activities: Value| {
            with(json!({"context": {"contextActivities": activities}}), |statement| {
                survey_of(statement).map(str::to_owned)
            })
        };
        let theirs = json!({"id": THEIRS, "definition": {"type": SURVEY_TYPE}});
        let others = json!({"id": "https://lms.example/survey/2", "definition": {"type": SURVEY_TYPE}});
        let course = json!({"id": "https://lms.example/course"});
        assert_eq!(around(json!({"parent": [course, theirs], "grouping": [{"id": OURS}]})).as_deref(), Some(OURS));
        assert_eq!(around(json!({"parent": [course, theirs], "grouping": [others]})).as_deref(), Some(THEIRS));
        assert_eq!(around(json!({"parent": [course]})), None);
    }

    #[test]
    fn a_kind_stands_before_an_id_and_neither_is_empty() {
        assert_eq!(activity_kind("http://nlj.platform/activities//p1"), None);
        assert_eq!(activity_kind("http://nlj.platform/activities/program"), None);
    }

    #[test]
    fn an_activitys_kind_is_read_from_the_platforms_iri_only() {
        assert_eq!(activity_kind("http://nlj.platform/activities/program/p1"), Some("program"));
        assert_eq!(activity_kind("http://nlj.platform/activities/program/"), None);
        assert_eq!(activity_kind("http://elsewhere.example/activities/program/p1"), None);
    }

    #[test]
    fn an_id_is_the_last_segment_of_an_iri() {
        assert_eq!(last_segment("http://nlj.platform/activities/program/p1"), Some("p1"));
        assert_eq!(last_segment("http://lms.example/course/42/?tab=1#top"), Some("42"));
        assert_eq!(last_segment("urn:uuid:7"), Some("7"));
        assert_eq!(last_segment("http://"), None);
    }

    #[test]
    fn a_surveys_id_is_short_in_the_platforms_own_form_only() {
        for own in ["http://nlj.platform/activities/survey/pulse", "http://nlj.platform/activities/survey/pulse/"] {
            assert_eq!(survey_id(own), "pulse");
        }
        assert_eq!(question_id("http://nlj.platform/activities/question/q1"), "q1");
        for whole in [
            "https://lms.example/mod/survey/view.php?id=1",
            "https://lms.example/survey#a",
            "https://elsewhere.example/activities/survey/pulse",
            "urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001",
            "http://nlj.platform/activities/survey/2026/pulse",
            "http://nlj.platform/activities/survey/pulse?wave=2",
            "http://nlj.platform/activities/survey/urn:pulse",
            "http://nlj.platform/activities/survey//",
            "http://nlj.platform/activities/question/q1",
        ] {
            assert_eq!(survey_id(whole), whole);
        }
    }
}
