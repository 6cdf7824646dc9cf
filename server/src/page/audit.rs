//! The audit log: entries by what they say, the timeline of a correlation id, and one entry with its whole envelope.

use std::collections::BTreeSet;

use lyceum_core::audit::entry::{Data, Kind};
use maud::{Markup, html};

use super::filters::Filters;
use super::{Frame, count, json, layout, moment, words};
use crate::audit::{ShownEntries, ShownEntry};
use crate::live::format_time;

/// Entries that were asked for.
pub struct AuditView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for, by the names of the parameters.
    pub asked: Vec<(&'static str, String)>,
    /// What was found.
    pub found: ShownEntries,
    /// Where one correlation id was asked for: then they are a timeline.
    pub correlation_id: Option<String>,
    /// Whether these are the newest.
    pub is_first: bool,
    /// Those that there are.
    pub event_types: Vec<&'static str>,
}

impl AuditView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let title = if self.correlation_id.is_some() { "Audit: timeline" } else { "Audit" };
        let ShownEntries { entries, total, next } = &self.found;
        let in_order: Vec<&ShownEntry> = match self.correlation_id {
            Some(_) => entries.iter().rev().collect(),
            None => entries.iter().collect(),
        };
        let content = html! {
            article.audit {
                h1 { @if let Some(id) = &self.correlation_id { "Timeline of " code { (id) } } @else { "Audit log" } }
                p.quiet { "Every record of every topic, once, as it came. " code { "lyceum audit verify" } " tells whether anything of it was changed." }
                (self.render_form())
                @if entries.is_empty() {
                    p.empty { "No entry is like that. What was published just now comes in a moment." }
                } @else {
                    p {
                        @if entries.len() as u64 == *total { (count(i128::from(*total))) } @else { (entries.len()) " of " (count(i128::from(*total))) }
                        @if self.correlation_id.is_some() { ", in the order of their times." } @else { ", newest first." }
                    }
                    div.scroll tabindex="0" role="region" aria-label="Entries" {
                        table.rows {
                            caption.hidden { "Entries of the audit log" }
                            thead { tr { th scope="col" { "Time" } th scope="col" { "Record" } th scope="col" { "What" } th scope="col" { "Whose" } th scope="col" { "Belongs to" } } }
                            tbody { @for shown in in_order { (self.render_row(shown)) } }
                        }
                    }
                    nav.pages aria-label="Pages" {
                        @if !self.is_first { a href=(self.filters().path(&[])) { "Newest" } }
                        @if let Some(next) = next { a href=(self.filters().path(&[("cursor", next)])) { "Older" } }
                    }
                }
            }
        };
        layout(&self.frame, title, &html! {}, &content)
    }

    fn filters(&self) -> Filters<'_> {
        Filters { frame: &self.frame, path: "/audit", asked: &self.asked }
    }

    fn render_form(&self) -> Markup {
        let filters = self.filters();
        let kinds = Kind::ALL.map(Kind::name);
        filters.form(&[
            filters.choice("type", "Type", "every type", &self.event_types, str::to_owned),
            filters.choice("kind", "Kind", "every kind", &kinds, words),
            filters.text("event", "Event", "id"),
            filters.text("correlation", "Correlation id", ""),
            filters.text("position", "Record", "topic/partition/offset"),
            filters.text("from", "From", "2026-01-31"),
            filters.text("to", "To", "2026-01-31"),
        ])
    }

    fn render_row(&self, shown: &ShownEntry) -> Markup {
        let ShownEntry { entry, dead_letters } = shown;
        html! {
            tr {
                td.moment { (moment(&format_time(entry.timestamp_ms))) }
                th scope="row" {
                    a href=(self.frame.path(&format!("/audit/{}", entry.position), &[])) { (entry.position) }
                    @if let Some(id) = entry.event_id { div.quiet { code title={ "event " (id) } { (id.to_string().get(..8).unwrap_or_default()) "…" } } }
                }
                td {
                    (entry.event_type)
                    @if let Some(letter) = &entry.letter {
                        div.why { "dead letter, " (words(letter.error.name())) ", of " a href=(self.frame.path(&format!("/audit/{}", letter.source), &[])) { (letter.source) } }
                    } @else if entry.kind != Kind::Event { div.quiet { (words(entry.kind.name())) } }
                    @for letter in dead_letters {
                        div.why { "became a dead letter, " a href=(self.frame.path(&format!("/audit/{}", letter.position), &[])) { (words(letter.error)) } }
                    }
                }
                td.whose { (whose(&entry.log.tenant)) }
                td {
                    @if let Some(id) = &entry.correlation_id {
                        a href=(self.frame.path("/audit", &[("correlation", id)])) { (id) }
                    } @else { span.quiet { "–" } }
                }
            }
        }
    }
}

fn whose(tenant: &str) -> &str {
    if tenant.is_empty() { "no tenant" } else { tenant }
}

/// One entry.
pub struct EntryView {
    /// Around it.
    pub frame: Frame,
    /// The entry, and what became of it.
    pub entry: ShownEntry,
}

impl EntryView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let ShownEntry { entry, dead_letters } = &self.entry;
        let proof = entry.event_id.map_or_else(|| entry.position.to_string(), |id| id.to_string());
        let content = html! {
            article.record {
                h1 { "Entry of " code { (entry.position) } }
                dl.facts {
                    div { dt { "kind" } dd { (words(entry.kind.name())) } }
                    div { dt { "type" } dd { (entry.event_type) } }
                    div { dt { "family" } dd { (entry.family) } }
                    @if let Some(id) = entry.event_id { div { dt { "event id" } dd { code { (id) } } } }
                    div { dt { "tenant" } dd { (whose(&entry.log.tenant)) } }
                    @if let Some(id) = &entry.correlation_id {
                        div { dt { "correlation id" } dd { a href=(self.frame.path("/audit", &[("correlation", id)])) { (id) } } }
                    }
                    div { dt { "time" } dd { (moment(&format_time(entry.timestamp_ms))) } }
                    div { dt { "log" } dd { code { (entry.log.name()) } ", number " (entry.number) } }
                    @if let Some(key) = &entry.key { div { dt { "key" } dd { code { (text_of(key)) } } } }
                }
                @if let Some(letter) = &entry.letter {
                    p.why { "It is the dead letter (" (words(letter.error.name())) ") of " a href=(self.frame.path(&format!("/audit/{}", letter.source), &[])) { code { (letter.source) } } "." }
                }
                @for letter in dead_letters {
                    p.why { "It became a dead letter: " a href=(self.frame.path(&format!("/audit/{}", letter.position), &[])) { (words(letter.error)) } "." }
                }
                ul.plain {
                    li { a href=(self.frame.path(&format!("/events/{}", entry.position), &[])) { "How it ended" } }
                    @if entry.letter.is_none() { li { a href=(self.frame.path("/api/audit/proof", &[("event", &proof)])) { "Its receipt, as JSON" } } }
                }
                h2 { "Value" }
                @match &entry.value {
                    None => { p.empty { "It has none: the record is a tombstone." } }
                    Some(Data::Whole(value)) => { (json::render(value, &BTreeSet::new())) }
                    Some(Data::LeftOut { sha256, bytes }) => { p { (count(i128::from(*bytes))) " bytes, which are kept as their SHA-256 alone: " code { (sha256) } } }
                }
                @if !entry.headers.is_empty() {
                    h2 { "Headers" }
                    table {
                        caption.hidden { "The record's headers" }
                        thead { tr { th scope="col" { "Name" } th scope="col" { "Value" } } }
                        tbody {
                            @for (name, value) in &entry.headers {
                                tr { th scope="row" { (name) } td { code { (value.as_ref().map_or("null".to_owned(), text_of)) } } }
                            }
                        }
                    }
                }
            }
        };
        layout(&self.frame, "Audit: entry", &html! {}, &content)
    }
}

fn text_of(data: &Data<'_>) -> String {
    match data {
        Data::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Data::LeftOut { sha256, bytes } => format!("{bytes} bytes, SHA-256 {sha256}"),
    }
}
