//! One record: how it ended, why, and what it holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use lyceum_core::outcome::{Finding, Outcome};
use lyceum_core::record::Record;
use maud::{Markup, html};

use super::state::state_links;
use super::{Frame, back_link, dead_letters, json, layout, outcome_badge, words};
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
                @if self.letter.is_none() { (render_findings(findings)) }
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
        layout(&self.frame, &title, &back_link(&self.frame), &content)
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
            ("processed", event.map(|event| format_time(event.at_ms))),
            ("produced", record.map(|record| format_time(record.timestamp_ms))),
            (
                "key",
                record.and_then(|record| record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned())),
            ),
            ("family", event.map(|event| event.family.to_owned())),
            ("event id", event.and_then(|event| event.event_id.map(|id| id.to_string()))),
            ("tenant", event.and_then(|event| event.tenant.as_deref()).map(str::to_owned)),
            ("correlation id", event.and_then(|event| event.correlation_id.as_deref()).map(str::to_owned)),
        ];
        html! {
            dl.facts {
                @for (name, fact) in facts {
                    @if let Some(fact) = fact { div { dt { (name) } dd { code { (fact) } } } }
                }
            }
            @for anomaly in &self.anomalies { p.why { b { (words(&anomaly.name)) } ": " (anomaly.message) } }
            @if !self.about.aggregates.is_empty() {
                p { "It is about "
                    @for (index, link) in state_links(&self.about).enumerate() {
                        @if index > 0 { " and " }
                        (link)
                    }
                    "."
                }
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
            @if event.is_none() && self.letter.is_none() && self.became.is_none() {
                p.quiet { "It is not among the latest events, so that its outcome is not known here any more." }
            }
        }
    }

    fn render_value(&self, findings: &[Finding]) -> Markup {
        let pointers: BTreeSet<&str> = findings.iter().map(|finding| finding.pointer.as_str()).collect();
        match &self.record {
            None => html! { p.empty { "The record is no longer there: the topic's retention has dropped it." } },
            Some(Record { value: None, .. }) => html! { p.empty { "It has none: the record is a tombstone." } },
            Some(Record { value: Some(value), .. }) => json::render(value, &pointers),
        }
    }
}

/// The rules that were broken, as a table.
pub(super) fn render_findings(findings: &[Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            table.findings {
                caption { (findings.len()) @if findings.len() == 1 { " rule was broken" } @else { " rules were broken" } }
                thead { tr { th scope="col" { "Where" } th scope="col" { "What" } th scope="col" { "Rule" } } }
                tbody {
                    @for finding in findings {
                        tr {
                            td { code { (if finding.pointer.is_empty() { "the whole" } else { &finding.pointer }) } }
                            td { (finding.message) }
                            td.quiet { code { (finding.rule) } " " (finding.requirement) }
                        }
                    }
                }
            }
        }
    }
}
