//! Replays: a form to begin one, those that there are, and one to be watched.

use lyceum_core::replay::{FileFormat, Filter, OffsetsOf, Range, Request, State, Target, request};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Frame, capital, count, layout, moment, percent};
use crate::replay::{DryRun, OfAll, Shown, ShownPartition};

const TITLE: &str = "Replays";

/// What stands in the form, all of it text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Form {
    topics: String,
    from: String,
    until: String,
    first: String,
    last: String,
    correlation: String,
    events: String,
    partitions: String,
    tenant: String,
    types: String,
    key: String,
    to: String,
    name: String,
    rate: String,
    limit: String,
    act: String,
}

/// What became of the form.
pub enum Answered {
    /// This would be done.
    WouldDo(Box<DryRun>),
    /// This is wrong.
    Wrong(String),
}

/// The targets of the form, with what is to be named beside.
const TARGETS: [(&str, &str); 6] = [
    ("topic", "the topic again"),
    ("subscriber", "one subscriber, named below"),
    ("subscriber-publishing", "one subscriber, and what follows is published"),
    ("other_topic", "another topic, named below"),
    ("jsonl", "JSONL files, at the place below"),
    ("parquet", "Parquet files, at the place below"),
];

fn words_of(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n', '\r', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<Option<T>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("{name} is {text:?}, which is no whole number"))
}

impl Form {
    /// Whether it is only to be said what would be done.
    pub fn is_dry_run(&self) -> bool {
        self.act != "begin"
    }

    /// What it asks for.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn request(&self) -> Result<Request, String> {
        let time = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            text => request::time(text).map(Some).map_err(|why| format!("{name}: {why}")),
        };
        let (from, until) = (time("from", &self.from)?, time("until", &self.until)?);
        let (first, last) = (number("first offset", &self.first)?, number::<i64>("last offset", &self.last)?);
        let (correlation, events) = (self.correlation.trim().to_owned(), words_of(&self.events));
        let ways = [
            from.is_some() || until.is_some(),
            first.is_some() || last.is_some(),
            !correlation.is_empty(),
            !events.is_empty(),
        ];
        if ways.iter().filter(|is_named| **is_named).count() > 1 {
            return Err("name times, offsets, a correlation id or event ids, and one of these alone".to_owned());
        }
        let range = if ways[1] {
            let until = last.map(|last| last.saturating_add(1));
            Range::Offsets(vec![OffsetsOf { topic: None, partition: None, from: first, until }])
        } else if ways[2] {
            Range::CorrelationId(correlation)
        } else if ways[3] {
            let id = |text: &String| text.parse().map_err(|_| format!("{text:?} is no UUID, as an event's id is"));
            Range::EventIds(events.iter().map(id).collect::<Result<_, _>>()?)
        } else {
            Range::Times { from, until }
        };
        let partition = |text: &String| text.parse().map_err(|_| format!("{text:?} is no partition"));
        let name = self.name.trim().to_owned();
        let target = match self.to.as_str() {
            "topic" => Target::Topic,
            "subscriber" => Target::Subscriber { name, publish: false },
            "subscriber-publishing" => Target::Subscriber { name, publish: true },
            "other_topic" => Target::OtherTopic(name),
            "jsonl" => Target::File { place: name, format: FileFormat::Jsonl },
            "parquet" => Target::File { place: name, format: FileFormat::Parquet },
            _ => return Err("choose where the records go".to_owned()),
        };
        let named = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Request {
            topics: words_of(&self.topics),
            range,
            partitions: words_of(&self.partitions).iter().map(partition).collect::<Result<_, _>>()?,
            filter: Filter { tenant: named(&self.tenant), event_types: words_of(&self.types), key: named(&self.key) },
            target,
            rate: number("records a second", &self.rate)?,
            limit: number("limit", &self.limit)?,
        })
    }
}

/// The page of replays.
pub struct ReplaysView {
    /// Around it.
    pub frame: Frame,
    /// Those that there are.
    pub replays: Vec<Shown>,
    /// What stands in the form.
    pub form: Form,
    /// What became of it, once it was sent.
    pub answered: Option<Answered>,
    /// Whether whoever looks may begin one.
    pub may_operate: bool,
}

impl ReplaysView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let content = html! {
            article {
                h1 { (TITLE) }
                p.quiet { "What stands on topics is read once more: for its topic, one subscriber, another topic, or files. An event whose effect is in has none a second time." }
                @if self.replays.is_empty() {
                    p.empty { "None was begun yet." }
                } @else {
                    div.scroll tabindex="0" role="region" aria-label="Replays" {
                        table.causes {
                            caption.hidden { "Replays" }
                            thead { tr { th scope="col" { "Of" } th scope="col" { "To" } th scope="col" { "State" } th.number scope="col" { "Done" } th.number scope="col" { "Records" } th scope="col" { "Updated" } } }
                            tbody { @for replay in &self.replays { (self.render_row(replay)) } }
                        }
                    }
                }
                section #begin {
                    h2 { "Begin one" }
                    @match &self.answered {
                        None => {}
                        Some(Answered::Wrong(why)) => p.why role="alert" { (capital(why)) },
                        Some(Answered::WouldDo(dry)) => (render_dry_run(dry)),
                    }
                    @if self.may_operate { (self.render_form()) } @else { p.why { "Your token begins none: it lacks the role operate." } }
                }
            }
        };
        layout(&self.frame, TITLE, &html! {}, &content)
    }

    fn render_row(&self, replay: &Shown) -> Markup {
        html! {
            tr {
                th scope="row" {
                    a href=(self.frame.path(&format!("/replays/{}", replay.id), &[])) { (of_topics(replay)) }
                    div.quiet { (range_of(&replay.request.range)) }
                }
                td data-name="to" { (replay.target) }
                td data-name="state" { (replay.state.name()) }
                td.number data-name="done" { (percent(share(replay.offsets))) }
                td.number data-name="records" { (count(replay.counts.matched)) }
                td.moment { (moment(&replay.updated_at)) }
            }
        }
    }

    fn render_form(&self) -> Markup {
        let form = &self.form;
        let field = |name: &str, label: &str, value: &str, example: &str| {
            html! { label { (label) input type="text" name=(name) value=(value) placeholder=(example) autocomplete="off"; } }
        };
        html! {
            form.filters.replays method="post" action=(self.frame.path("/events/replay", &[])) {
                (field("topics", "Topics", &form.topics, "nlj.training.programs"))
                (field("from", "From", &form.from, "2026-01-31T08:00:00Z"))
                (field("until", "Until", &form.until, "2026-01-31T09:00:00Z"))
                (field("first", "First offset", &form.first, ""))
                (field("last", "Last offset", &form.last, ""))
                (field("correlation", "Correlation id", &form.correlation, ""))
                (field("events", "Event ids", &form.events, ""))
                (field("partitions", "Partitions", &form.partitions, "all"))
                (field("tenant", "Of tenant", &form.tenant, ""))
                (field("types", "Event types", &form.types, "all"))
                (field("key", "Key", &form.key, ""))
                label { "To"
                    select name="to" {
                        @for (name, label) in TARGETS { option value=(name) selected[form.to == name] { (label) } }
                    }
                }
                (field("name", "Subscriber, topic or place", &form.name, ""))
                (field("rate", "Records a second", &form.rate, "as fast as it goes"))
                (field("limit", "At most", &form.limit, "all"))
                button type="submit" name="act" value="look" { "What would it do?" }
                button type="submit" name="act" value="begin" { "Begin" }
            }
        }
    }
}

/// One replay, to be watched.
pub struct ReplayView {
    /// Around it.
    pub frame: Frame,
    /// Which.
    pub replay: Shown,
    /// Whether whoever looks may stop it.
    pub may_operate: bool,
}

impl ReplayView {
    /// The whole document. While it runs, the script asks for the part `replay` again.
    pub fn render(&self) -> Markup {
        let replay = &self.replay;
        let is_running = replay.state == State::Running;
        let act = |verb: &str, label: &str| {
            html! {
                // By its id it keeps its node, and the focus, while what is around it changes.
                form.replay #act method="post" action={ "/api/replays/" (replay.id) "/" (verb) } {
                    button type="submit" { (label) }
                }
            }
        };
        let content = html! {
            article {
                p.quiet { a href=(self.frame.path("/replays", &[])) { "All replays" } }
                h1 { "Replay of " (of_topics(replay)) }
                div #replay data-watch=[is_running.then_some("replay")] {
                    p role="status" {
                        b { (capital(replay.state.name())) } ": " (percent(share(replay.offsets))) " of "
                        (count(replay.offsets.all)) " offsets"
                        @if let Some(rate) = replay.per_second { ", " (count(rate.round() as i64)) " records a second" }
                        @if let Some(at) = &replay.ends_at { "; it ends at about " (moment(at)) }
                        "."
                    }
                    progress max="100" value=(format!("{:.1}", share(replay.offsets).unwrap_or(1.0) * 100.0)) aria-label="Done" {}
                    @if let Some(reason) = &replay.reason { p.why { (capital(reason)) } }
                    @for note in &replay.notes { p.quiet { (note) } }
                    @if self.may_operate {
                        @match replay.state {
                            State::Running => (act("cancel", "Cancel")),
                            State::Cancelled | State::Failed => (act("resume", "Resume")),
                            State::Done => {}
                        }
                    }
                    dl.facts {
                        div { dt { "range" } dd { (range_of(&replay.request.range)) } }
                        div { dt { "to" } dd { (replay.target) } }
                        div { dt { "run" } dd { (replay.run) } }
                        div { dt { "begun" } dd { (moment(&replay.started_at)) " by " (replay.by) } }
                        div { dt { "updated" } dd { (moment(&replay.updated_at)) } }
                        div { dt { "read" } dd { (count(replay.counts.read)) } }
                        div { dt { "matched" } dd { (count(replay.counts.matched)) } }
                        div { dt { "sent" } dd { (count(replay.counts.sent)) } }
                        div { dt { "skipped" } dd { (count(replay.counts.skipped)) } }
                        div { dt { "refused" } dd { (count(replay.counts.refused)) } }
                        @if replay.counts.gone > 0 { div { dt { "gone before they were read" } dd { (count(replay.counts.gone)) } } }
                    }
                    (render_partitions(&replay.partitions, true))
                    @if let Some(written) = &replay.written { h2 { "Written" } pre tabindex="0" { (format!("{written:#}")) } }
                }
                details { summary { "Its request" } pre tabindex="0" { (serde_json::to_string_pretty(&replay.request).unwrap_or_default()) } }
                p.quiet { "Its id is " code { (replay.id) } "." }
            }
        };
        layout(&self.frame, &format!("Replay · {TITLE}"), &html! {}, &content)
    }
}

fn render_dry_run(dry: &DryRun) -> Markup {
    html! {
        div.sent role="status" {
            p {
                @if dry.is_exact { (count(dry.matched)) " records" } @else { "At least " (count(dry.matched)) " records" }
                " of " (count(dry.offsets)) " offsets would go to " (dry.target) ", in " (count(dry.steps)) " steps. Nothing was done."
            }
            @for note in &dry.notes { p.quiet { (note) } }
            (render_partitions(&dry.partitions, false))
        }
    }
}

fn render_partitions(partitions: &[ShownPartition], is_run: bool) -> Markup {
    html! {
        @if !partitions.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Partitions" {
                table.rows {
                    caption.hidden { "Partitions" }
                    thead {
                        tr {
                            th scope="col" { "Partition" }
                            th.number scope="col" { "From" }
                            th.number scope="col" { "Until" }
                            th.number scope="col" { "Matched" }
                            @if is_run {
                                th.number scope="col" { "Next" }
                                th.number scope="col" { "Sent" }
                                th.number scope="col" { "Skipped" }
                                th.number scope="col" { "Refused" }
                            }
                        }
                    }
                    tbody {
                        @for of in partitions {
                            tr {
                                th scope="row" { (of.topic) "/" (of.partition) }
                                td.number { (count(of.from)) }
                                td.number { (count(of.until)) }
                                td.number { (count(of.counts.matched)) }
                                @if is_run {
                                    td.number { (count(of.next)) }
                                    td.number { (count(of.counts.sent)) }
                                    td.number { (count(of.counts.skipped)) }
                                    td.number { (count(of.counts.refused)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn of_topics(replay: &Shown) -> String {
    match replay.request.topics.as_slice() {
        [] => "the topics of its events".to_owned(),
        topics => topics.join(", "),
    }
}

fn range_of(range: &Range) -> String {
    match range {
        Range::Times { from: None, until: None } => "all that is there".to_owned(),
        Range::Times { from, until } => {
            let text = |name: &str, time: &Option<_>| match time {
                Some(time) => format!("{name} {time}"),
                None => String::new(),
            };
            format!("{} {}", text("from", from), text("until", until)).trim().to_owned()
        }
        Range::Offsets(ranges) => {
            let text = |of: &OffsetsOf| {
                let end = |end: Option<i64>| end.map_or_else(String::new, |end| end.to_string());
                let place = match (&of.topic, of.partition) {
                    (Some(topic), Some(partition)) => format!("{topic}/{partition} "),
                    (Some(topic), None) => format!("{topic} "),
                    (None, Some(partition)) => format!("partition {partition} "),
                    (None, None) => String::new(),
                };
                format!("{place}offsets {}..{}", end(of.from), end(of.until))
            };
            ranges.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Range::CorrelationId(id) => format!("correlation id {id}"),
        Range::EventIds(ids) => format!("{} events", ids.len()),
    }
}

fn share(of: OfAll) -> Option<f64> {
    if of.all == 0 { Some(1.0) } else { Some(of.done as f64 / of.all as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(change: impl FnOnce(&mut Form)) -> Result<Request, String> {
        let mut form = Form { topics: "a, b".to_owned(), to: "topic".to_owned(), ..Form::default() };
        change(&mut form);
        form.request()
    }

    #[test]
    fn a_form_is_the_request_that_it_says() {
        let plain = form(|_| {}).unwrap();
        assert_eq!((plain.topics.len(), &plain.range, &plain.target), (2, &Range::default(), &Target::Topic));
        let offsets = form(|form| {
            (form.first, form.last) = ("5".to_owned(), "9".to_owned());
            (form.to, form.name) = ("subscriber".to_owned(), " search ".to_owned());
            (form.partitions, form.rate, form.limit) = ("0 2".to_owned(), "10".to_owned(), "3".to_owned());
        });
        let offsets = offsets.unwrap();
        let five_to_nine = OffsetsOf { topic: None, partition: None, from: Some(5), until: Some(10) };
        assert_eq!(offsets.range, Range::Offsets(vec![five_to_nine]), "the last one is in it");
        let search = Target::Subscriber { name: "search".to_owned(), publish: false };
        assert_eq!((offsets.target, offsets.partitions), (search, vec![0, 2]));
        assert_eq!((offsets.rate, offsets.limit), (Some(10), Some(3)));
    }

    #[test]
    fn what_is_wrong_in_a_form_is_said() {
        let both = form(|form| (form.from, form.first) = ("2026-01-01".to_owned(), "1".to_owned()));
        assert!(both.unwrap_err().contains("one of these alone"));
        assert!(form(|form| form.from = "soon".to_owned()).unwrap_err().contains("2026-01-31"));
        assert!(form(|form| form.rate = "fast".to_owned()).unwrap_err().contains("records a second"));
        assert!(form(|form| form.events = "x".to_owned()).unwrap_err().contains("no UUID"));
        assert!(form(|form| form.to = String::new()).unwrap_err().contains("where the records go"));
    }
}
