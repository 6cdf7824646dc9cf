//! What is kept of one program, session, booking or response, and what a survey found out: what `lyceum show` and `lyceum query
//! survey` answer, with a way to what each names.

use lyceum_core::family::AggregateRef;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::{Frame, capital, count, layout, moment_of, words};
use crate::questions::About;
use crate::segment::segment;

/// Of a question so many different responses are shown.
const RESPONSES: usize = 6;

/// One aggregate.
pub struct StateView {
    /// Around it.
    pub frame: Frame,
    /// Its kind.
    pub kind: String,
    /// The sender's id.
    pub id: String,
    /// Every kind that has pages.
    pub kinds: Vec<&'static str>,
    /// As it is shown to a program.
    pub state: Map<String, Value>,
}

impl StateView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let title = format!("{} {}", capital(&words(&self.kind)), self.id);
        let anomalies = self.state.get("anomalies").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let said_above = ["kind", "id", "known", "anomalies"];
        let members =
            || self.state.iter().filter(|(name, value)| !said_above.contains(&name.as_str()) && !value.is_null());
        let content = html! {
            article.record {
                h1 { (capital(&words(&self.kind))) " " code { (self.id) } }
                @for anomaly in anomalies {
                    p.why role="alert" { b { (words(text_of(&anomaly["name"]))) } ": " (text_of(&anomaly["message"])) }
                }
                @if self.state.get("known") == Some(&Value::Bool(false)) {
                    p.quiet { "Others name it; the event that makes it has not come yet." }
                }
                dl.facts {
                    @for (name, value) in members() {
                        @match value {
                            Value::Object(parts) => @for (part, value) in parts.iter().filter(|(_, value)| !value.is_null()) {
                                div { dt { (words(name)) ": " (words(part)) } dd { (self.render_value(part, value)) } }
                            }
                            Value::Array(_) => {}
                            value => div { dt { (words(name)) } dd { (self.render_value(name, value)) } }
                        }
                    }
                }
                @for (name, list) in members().filter_map(|(name, value)| Some((name, value.as_array()?))) {
                    h2 { (capital(&words(name))) }
                    (self.render_list(name, list))
                }
            }
        };
        layout(&self.frame, &title, &html! {}, &content)
    }

    fn render_list(&self, name: &str, list: &[Value]) -> Markup {
        let mut columns: Vec<&String> = Vec::new();
        for column in list.iter().filter_map(Value::as_object).flat_map(Map::keys) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        html! {
            @if list.is_empty() { p.empty { "None." } }
            @else if columns.is_empty() {
                ul.plain { @for value in list { li { (self.render_item(name, value)) } } }
            } @else {
                div.scroll role="region" aria-label=(words(name)) tabindex="0" {
                    table {
                        caption.hidden { (words(name)) }
                        thead { tr { @for column in &columns { th scope="col" { (words(column)) } } } }
                        tbody {
                            @for row in list {
                                tr { @for column in &columns { td class=[is_word(&row[column.as_str()]).then_some("whole")] { (self.render_value(column, &row[column.as_str()])) } } }
                            }
                        }
                    }
                }
            }
        }
    }

    /// A value, as a link where its name says that it is the id of something that has a page.
    fn render_value(&self, name: &str, value: &Value) -> Markup {
        match name.strip_suffix("_id") {
            Some("survey") => self.render_link(value, survey_path),
            Some(kind) if self.kinds.contains(&kind) => self.render_link(value, |id| state_path(kind, id)),
            None if name == "source" => self.render_link(value, |position| format!("/events/{position}")),
            _ => value.as_str().and_then(moment_of).unwrap_or_else(|| html! { (told(value)) }),
        }
    }

    /// One of a list of ids.
    fn render_item(&self, list: &str, value: &Value) -> Markup {
        self.render_value(&format!("{}_id", one_of(list)), value)
    }

    fn render_link(&self, value: &Value, path: impl Fn(&str) -> String) -> Markup {
        html! {
            @match value {
                Value::String(id) => a href=(self.frame.path(&path(id), &[])) { (id) },
                other => (told(other)),
            }
        }
    }
}

/// Whether a value is one word, as an id is, which reads badly in parts.
fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() <= 64 && !text.contains(' '))
}

/// A value as a person reads it.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), count),
        other => other.to_string(),
    }
}

/// What one of a list is called: of `sessions` a `session`; who waits are bookings.
fn one_of(list: &str) -> String {
    if list == "waiting_list" { "booking".to_owned() } else { list.trim_end_matches('s').to_owned() }
}

/// Ways to the pages of what an event is about; each is of the event's tenant, also where every one is looked at.
pub(super) fn state_links(about: &About) -> impl Iterator<Item = Markup> {
    about.aggregates.iter().map(|of| state_link(about.tenant.as_deref(), of))
}

/// What an event is about, in a sentence; nothing where it is about nothing that has a state.
pub(super) fn tell_about(about: &About) -> Markup {
    html! {
        @if !about.aggregates.is_empty() {
            p { "It is about "
                @for (index, link) in state_links(about).enumerate() {
                    @if index > 0 { " and " }
                    (link)
                }
                "."
            }
        }
    }
}

/// The way to the page of one.
pub(super) fn state_link(tenant: Option<&str>, AggregateRef { kind, id }: &AggregateRef) -> Markup {
    let frame = Frame { tenant: tenant.map(str::to_owned), ..Frame::default() };
    html! { a href=(frame.path(&state_path(kind, id), &[])) { (words(kind)) " " (id) } }
}

/// The path of an aggregate's page.
pub(crate) fn state_path(kind: &str, id: &str) -> String {
    format!("/state/{}/{}", segment(kind), segment(id))
}

pub(crate) fn survey_path(survey: &str) -> String {
    format!("/surveys/{}", segment(survey))
}

/// The path of a learner's page.
pub(crate) fn learner_path(learner: &str) -> String {
    format!("/learners/{}", segment(learner))
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a survey found out.
pub struct SurveyView {
    /// Around it.
    pub frame: Frame,
    /// The answer to the question "survey".
    pub answer: Value,
}

impl SurveyView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let answer = &self.answer;
        let survey = text_of(&answer["survey"]);
        let number = |value: &Value| value.as_u64().map_or("–".to_owned(), count);
        let questions = answer["questions"].as_array().map_or(&[][..], Vec::as_slice);
        let content = html! {
            article.record {
                h1 { "Survey " code { (survey) } }
                dl.facts {
                    div { dt { "started" } dd { (number(&answer["started"])) } }
                    div { dt { "completed" } dd { (number(&answer["completed"])) } }
                    div { dt { "completion rate" } dd { (super::percent(answer["completion_rate"].as_f64())) } }
                }
                @if questions.is_empty() { p.empty { "No question was answered." } }
                @else {
                    div.scroll role="region" aria-label="Questions" tabindex="0" { table {
                        caption.hidden { "The answers to each question" }
                        thead { tr {
                            th scope="col" { "Question" } th.number scope="col" { "Answers" } th.number scope="col" { "Mean" }
                            th.number scope="col" { abbr title="net promoter score" { "NPS" } } th scope="col" { "Most frequent" }
                        } }
                        tbody { @for question in questions { (render_question(question)) } }
                    } }
                }
            }
        };
        layout(&self.frame, &format!("Survey {survey}"), &html! {}, &content)
    }
}

fn render_question(question: &Value) -> Markup {
    let decimal = |value: &Value| value.as_f64().map_or("–".to_owned(), |number| format!("{number:.1}"));
    let given = question["distribution"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        tr {
            th scope="row" {
                (text_of(&question["question"]))
                // Of texts nobody expects a score.
                @if let Some(why) = question["no_nps"].as_str().filter(|_| !question["mean"].is_null()) {
                    p.quiet { "No NPS: " (why) "." }
                }
            }
            td.number { (question["answers"].as_u64().map_or("–".to_owned(), count)) }
            td.number { (decimal(&question["mean"])) }
            td.number { (decimal(&question["nps"])) @if question["promotion"].is_object() { (super::plot::promotion_bar(&question["promotion"])) } }
            td.answers {
                @for (index, response) in given.iter().take(RESPONSES).enumerate() {
                    @if index > 0 { ", " }
                    (text_of(&response["response"])) " × " (response["count"].as_u64().map_or("–".to_owned(), count))
                }
                @let further = question["distinct"].as_u64().unwrap_or_default().saturating_sub(RESPONSES as u64);
                @if further > 0 { " and " (count(further)) " more" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_of_a_path_whatever_is_in_it() {
        assert_eq!(state_path("session", "a/b?c d"), "/state/session/a%2Fb%3Fc%20d");
        assert_eq!(survey_path("https://é.example/"), "/surveys/https%3A%2F%2F%C3%A9.example%2F");
        assert_eq!(
            [state_path("session", ".."), survey_path("."), learner_path("..")],
            ["/state/session/~..", "/surveys/~.", "/learners/~.."]
        );
    }

    #[test]
    fn of_many_responses_the_first_are_shown_and_the_others_counted_listed_or_not() {
        let given: Vec<Value> =
            (0..8).map(|at| serde_json::json!({"response": format!("r{at}"), "count": 1})).collect();
        let question =
            |distinct: u64| serde_json::json!({"question": "q", "distribution": given, "distinct": distinct});
        let page = render_question(&question(1_206)).into_string();
        assert!(page.contains("r5 × 1") && !page.contains("r6"), "{page}");
        assert!(page.contains(" and 1,200 more"), "{page}");
        assert!(!render_question(&question(6)).into_string().contains("more"));
    }

    #[test]
    fn what_a_state_names_is_a_link_and_nothing_else() {
        let state = serde_json::json!({
            "kind": "session", "id": "s", "known": true, "program_id": "p", "waiting_list": ["b-1"], "seats_left": 1_234,
            "bookings": {"confirmed": 3}, "anomalies": [{"name": "overbooked", "message": "too <many>"}],
            "starts_at": "2026-11-25T08:00:00Z", "history": [{"event": "session.scheduled", "source": "t/0/7", "booking": "no id"}],
        });
        let Value::Object(state) = state else { panic!("an object") };
        let frame = Frame { tenant: Some("acme".to_owned()), ..Frame::default() };
        let kinds = vec!["program", "session", "booking"];
        let view = StateView { frame, kind: "session".to_owned(), id: "s".to_owned(), kinds, state };
        let page = view.render().into_string();
        for part in [
            "<a href=\"/state/program/p?tenant=acme\">p</a>",
            "<a href=\"/state/booking/b-1?tenant=acme\">b-1</a>",
            "<a href=\"/events/t/0/7?tenant=acme\">t/0/7</a>",
            "<b>overbooked</b>: too &lt;many&gt;",
            "<dt>bookings: confirmed</dt><dd>3</dd>",
            "<dd>1,234</dd>",
            "title=\"2026-11-25 08:00:00 UTC\" data-shown=\"moment\">2026-11-25 08:00</time></dd>",
            "<td class=\"whole\">session.scheduled</td>",
            "<td>no id</td>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
}
