//! A stored statement, and a learner: what an event's id and a person's name lead to.

use std::collections::BTreeSet;

use lyceum_core::ports::statements::StoredStatement;
use maud::{Markup, html};
use serde_json::Value;

use super::state::{learner_path, survey_path, tell_about};
use super::{Frame, count, json, layout, moment};
use crate::live::format_time;
use crate::questions::About;

/// A stored statement.
pub struct StatementView {
    /// Around it.
    pub frame: Frame,
    /// As it was stored.
    pub statement: StoredStatement,
    /// What it is about.
    pub about: About,
    /// Whether its record can still be looked at.
    pub has_record: bool,
}

impl StatementView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let document = &self.statement.document;
        let fields = &document.fields;
        let source = document.source.to_string();
        let title = format!("Statement {}", document.id);
        let content = html! {
            article.record {
                h1 { "Statement " code { (document.id) } }
                @if self.statement.voided { p.why { "It is voided: no number counts it." } }
                dl.facts {
                    div { dt { "event" } dd { (fields.event_type) } }
                    div { dt { "timestamp" } dd { (moment(&format_time(fields.timestamp_ms))) } }
                    div { dt { "stored" } dd { (moment(&format_time(document.stored_ms))) } }
                    div { dt { "tenant" } dd { code { (document.tenant) } } }
                    @if !fields.actor.is_empty() {
                        div { dt { "learner" } dd { a href=(self.frame.path(&learner_path(&fields.actor), &[])) { (fields.actor) } } }
                    }
                    @if let Some(survey) = &fields.survey {
                        div { dt { "survey" } dd { a href=(self.frame.path(&survey_path(survey), &[])) { (survey) } } }
                    }
                    div { dt { "came from" } dd {
                        @if self.has_record { a href=(self.frame.path(&format!("/events/{source}"), &[])) { code { (source) } } }
                        @else { code { (source) } ", which the topic keeps no more" }
                    } }
                }
                (tell_about(&self.about))
                h2 { "As it was sent" }
                (json::render(&document.raw, &BTreeSet::new()))
            }
        };
        layout(&self.frame, &title, &html! {}, &content)
    }
}

/// A learner.
pub struct LearnerView {
    /// Around it.
    pub frame: Frame,
    /// The answer to the question "learner".
    pub answer: Value,
}

impl LearnerView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let answer = &self.answer;
        let learner = answer["learner"].as_str().unwrap_or_default();
        let number = |name: &str| answer[name].as_u64().map_or("–".to_owned(), count);
        let verbs = answer["verbs"].as_array().map_or(&[][..], Vec::as_slice);
        let counted = [
            ("statements", "statements"),
            ("completions", "completions"),
            ("active days", "active_days"),
            ("days in a row, up to the last", "streak_days"),
            ("most days in a row", "longest_streak_days"),
        ];
        let content = html! {
            article.record {
                h1 { "Learner " code { (learner) } }
                dl.facts {
                    @for (label, name) in counted { div { dt { (label) } dd { (number(name)) } } }
                    @for (label, name) in [("first seen", "first_seen"), ("last seen", "last_seen")] {
                        @if let Some(at) = answer[name].as_str() { div { dt { (label) } dd { (moment(at)) } } }
                    }
                }
                @if !verbs.is_empty() {
                    table {
                        caption { "What the learner did, most often first" }
                        thead { tr { th scope="col" { "Verb" } th.number scope="col" { "Statements" } } }
                        tbody {
                            @for verb in verbs {
                                tr { th scope="row" { code { (verb["verb"].as_str().unwrap_or_default()) } } td.number { (verb["count"].as_u64().map_or("–".to_owned(), count)) } }
                            }
                        }
                    }
                }
            }
        };
        layout(&self.frame, &format!("Learner {learner}"), &html! {}, &content)
    }
}
