//! One record: how it ended, why, and what it holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use lyceum_core::family::AggregateRef;
use lyceum_core::outcome::{Finding, Outcome};
use lyceum_core::ports::statements::StoredStatement;
use lyceum_core::record::Record;
use maud::{Markup, html};
use serde_json::Value;

use super::state::{learner_path, state_link, tell_about};
use super::{Frame, dead_letters, json, layout, moment, outcome_badge, words};
use crate::dead_letters::letters::ShownLetter;
use crate::live::{LiveAnomaly, LiveEvent, format_time};
use crate::questions::About;

/// What is known of a record.
pub struct EventView {
    /// Around it.
    pub frame: Frame,
    /// The record; `None` where retention has dropped it.
    pub record: Option<Record>,
    /// Where it stands.
    pub position: String,
    /// How it ended, if it is among the latest.
    pub event: Option<Arc<LiveEvent>>,
    /// What it is about.
    pub about: About,
    /// What was odd in the state after it.
    pub anomalies: Vec<Arc<LiveAnomaly>>,
    /// What is odd in the states that it is about, as they are now.
    pub odd: Vec<(AggregateRef, Value)>,
    /// Who did it.
    pub learner: Option<String>,
    /// Whom the states that it is about name.
    pub learners: Vec<String>,
    /// The statement that came from it.
    pub stored: Option<StoredStatement>,
    /// Where the record is a dead letter itself, what is known of it.
    pub letter: Option<ShownLetter>,
    /// The letter that the record became, where it became one.
    pub became: Option<ShownLetter>,
    /// Whether the caller may send dead letters again.
    pub may_operate: bool,
}

impl EventView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let title = match (&self.event, &self.letter) {
            (Some(event), _) => event.event_type.to_owned(),
            (None, None) if self.stored.is_some() => {
                self.stored.as_ref().map_or_else(String::new, |stored| stored.document.fields.event_type.to_string())
            }
            (None, Some(letter)) => format!("Dead letter: {}", words(letter.kind.name())),
            (None, None) if self.became.is_some() => "Dead-lettered record".to_owned(),
            (None, None) => "Record".to_owned(),
        };
        let findings = self.findings();
        let content = html! {
            article.record {
                h1 { (title) @if let Some(event) = &self.event { " " (outcome_badge(event.outcome.name())) } }
                (self.render_facts())
                @if let Some(letter) = &self.letter { (dead_letters::render_letter(&self.frame, letter, self.may_operate)) }
                @if self.letter.is_none() { (dead_letters::render_findings(findings)) }
                @if let Some(event) = self.event.as_ref().filter(|event| event.findings_total > event.findings.len()) {
                    p.quiet { (event.findings_total - event.findings.len()) " more are with the dead letter." }
                }
                h2 { "Value" }
                (self.render_value(findings))
                @if let Some(record) = self.record.as_ref().filter(|record| !record.headers.is_empty()) {
                    h2 { "Headers" }
                    table {
                        caption.hidden { "The record's headers" }
                        thead { tr { th scope="col" { "Name" } th scope="col" { "Value" } } }
                        tbody {
                            @for header in &record.headers {
                                tr {
                                    th scope="row" { (header.name) }
                                    td { code { (header.value.as_deref().map_or("null".into(), String::from_utf8_lossy)) } }
                                }
                            }
                        }
                    }
                }
            }
        };
        layout(&self.frame, &title, &html! {}, &content)
    }

    fn findings(&self) -> &[Finding] {
        match (&self.letter, &self.event) {
            (Some(letter), _) => &letter.findings,
            (None, Some(event)) => &event.findings,
            (None, None) => self.became.as_ref().map_or(&[], |letter| &letter.findings),
        }
    }

    fn render_facts(&self) -> Markup {
        let event = self.event.as_ref();
        let record = self.record.as_ref();
        let facts = [
            ("record", Some(self.position.clone())),
            (
                "key",
                record.and_then(|record| record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned())),
            ),
            ("family", event.map(|event| event.family.to_owned())),
            ("event id", event.and_then(|event| event.event_id).or(self.about.event_id).map(|id| id.to_string())),
            ("tenant", event.and_then(|event| event.tenant.as_deref()).map(str::to_owned)),
            ("correlation id", event.and_then(|event| event.correlation_id.as_deref()).map(str::to_owned)),
        ];
        html! {
            dl.facts {
                @for (name, fact) in facts {
                    @if let Some(fact) = fact { div { dt { (name) } dd { code { (fact) } } } }
                }
                @if let Some(learner) = &self.learner {
                    @let to = self.stored.as_ref().map(|stored| &*stored.document.fields.actor).filter(|actor| !actor.is_empty());
                    div { dt { "who" } dd {
                        @if let Some(to) = to { a href=(self.frame.path(&learner_path(to), &[])) { (learner) } } @else { (learner) }
                    } }
                }
                @for learner in &self.learners {
                    div { dt { "learner" } dd { a href=(self.frame_of_states().path(&learner_path(learner), &[])) { (learner) } } }
                }
                @if let Some(event) = event { div { dt { "processed" } dd { (moment(&format_time(event.at_ms))) } } }
                @if let Some(record) = record { div { dt { "produced" } dd { (moment(&format_time(record.timestamp_ms))) } } }
            }
            @for anomaly in &self.anomalies { p.why { b { (words(&anomaly.name)) } ": " (anomaly.message) } }
            (tell_about(&self.about))
            @for (of, anomaly) in self.odd.iter().filter(|(_, anomaly)| !self.says_already(anomaly)) {
                p.why {
                    "Odd about " (state_link(self.about.tenant.as_deref(), of)) " now: " b { (words(anomaly["name"].as_str().unwrap_or_default())) } ", "
                    (anomaly["message"].as_str().unwrap_or_default()) "."
                }
            }
            @if let Some(stored) = &self.stored {
                @let id = stored.document.id;
                p { "It was applied: its statement is stored since " (moment(&format_time(stored.document.stored_ms))) ", as "
                    a href=(self.frame_of_statement(stored).path(&format!("/statements/{id}"), &[])) { code { (id) } } "." }
            }
            @if let Some(letter) = &self.became {
                p { "It is a dead letter, at " a href=(self.frame.path(&format!("/events/{}", letter.position), &[])) { code { (letter.position) } } ": " (words(letter.kind.name())) "." }
                (dead_letters::render_state(&self.frame, letter))
            }
            @else if let Some(Outcome::DeadLettered { kind }) = event.map(|event| &event.outcome) {
                p { "It is among the " a href=(self.frame.path("/dead-letters/list", &[("kind", kind.name())])) { "dead letters of kind " (words(kind.name())) } ", from where it can be sent again." }
            }
            @if let Some(Outcome::RetryLater { reason }) = event.map(|event| &event.outcome) {
                p.why { "It is to be delivered again: " (reason) }
            }
            @if event.is_none() && self.letter.is_none() && self.became.is_none() && self.stored.is_none() {
                p.quiet {
                    "How it ended is not known here any more: it is not among the latest events since this process began, no statement of it is stored, and no dead letter of it is in the index. A letter that fell out of a full index is still counted among the "
                    a href=(self.frame.path("/dead-letters", &[])) { "dead letters" }
                    ", and is listed again once others are done with."
                }
            }
        }
    }

    /// Whether one of the anomalies that were seen after this event says the same.
    fn says_already(&self, anomaly: &Value) -> bool {
        self.anomalies.iter().any(|seen| anomaly["message"].as_str() == Some(&seen.message))
    }

    fn frame_of_states(&self) -> Frame {
        Frame { tenant: self.about.tenant.clone(), ..Frame::default() }
    }

    fn frame_of_statement(&self, stored: &StoredStatement) -> Frame {
        Frame { tenant: Some(stored.document.tenant.to_string()), ..Frame::default() }
    }

    fn render_value(&self, findings: &[Finding]) -> Markup {
        let pointers: BTreeSet<&str> = findings.iter().map(|finding| finding.pointer.as_str()).collect();
        match &self.record {
            None => html! { p.empty { "The record is no longer there: the topic's retention has dropped it." } },
            Some(Record { value: None, .. }) => html! { p.empty { "It has none: the record is a tombstone." } },
            Some(Record { value: Some(value), .. }) => html! {
                @if let Some(fields) = &self.about.fields {
                    p { "Its bytes are no text. What its family reads of them:" }
                    (json::render(fields.to_string().as_bytes(), &BTreeSet::new()))
                }
                (json::render(value, &pointers))
            },
        }
    }
}
