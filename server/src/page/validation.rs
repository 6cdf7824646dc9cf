//! Data quality: what senders broke since when, by rule, sender, topic and time.

use maud::{Markup, html};

use super::filters::Filters;
use super::plot::{Chart, Drawn};
use super::{Frame, count, instant, kpi, layout, moment, words};
use crate::dead_letters::letters::DeadLetterFilter;
use crate::dead_letters::violations::{Course, Tally, Trend, ViolationFilter, Violations};

/// What was asked for, and what broke.
pub struct ValidationView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for.
    pub filter: ViolationFilter,
    /// The same by the names of the parameters, as it was written.
    pub asked: Vec<(&'static str, String)>,
    /// What broke.
    pub violations: Violations,
    /// The families to choose from.
    pub families: Vec<&'static str>,
    /// The topics to choose from.
    pub topics: Vec<&'static str>,
}

impl ValidationView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let Violations { since, until, count: now, before, courses, not_indexed, is_behind, .. } = &self.violations;
        let content = html! {
            article.letters {
                h1 { "Data quality" }
                p.quiet { "What senders broke since when: events that broke a rule, " (moment(since)) " to " (moment(until)) ", against as long a time before." }
                (self.render_form())
                (super::dead_letters::render_behind(*is_behind))
                p {
                    b { (count(i128::from(*now))) } @if *now == 1 { " event" } @else { " events" } " broke a rule"
                    @if let Some(change) = kpi::change(*now, *before) { " (" (change) ")" }
                    ", " (count(i128::from(*before))) " in the time before. "
                    a href=(self.frame.path("/dead-letters", &[])) { "Dead letters" }
                }
                @if *not_indexed > 0 { p.quiet { (count(i128::from(*not_indexed))) " older letters are missing here, for want of room." } }
                @if courses.is_empty() { @if !is_behind { p.empty { "Nothing was broken, neither in this time nor in the one before." } } }
                @else { (self.render_courses()) (self.render_times()) (self.render_tallies()) }
            }
        };
        layout(&self.frame, "Data quality", &html! {}, &content)
    }

    /// The same page with another value of one parameter.
    fn narrowed(&self, name: &'static str, value: &str) -> String {
        let others = self.asked.iter().filter(|(asked, _)| *asked != name).map(|(name, value)| (*name, value.as_str()));
        let query: Vec<(&str, &str)> = others.chain([(name, value)]).collect();
        self.frame.path("/validation", &query)
    }

    fn render_form(&self) -> Markup {
        let filters = Filters { frame: &self.frame, path: "/validation", asked: &self.asked };
        filters.form(&[
            filters.choice("family", "Family", "every family", &self.families, str::to_owned),
            filters.choice("topic", "Topic", "every topic", &self.topics, str::to_owned),
            filters.text("rule", "Rule", ""),
            filters.text("sender", "Sender", ""),
            filters.text("since", "Since", "2026-01-31"),
            filters.text("until", "Until", "2026-01-31"),
        ])
    }

    fn render_courses(&self) -> Markup {
        let Violations { courses, totals, .. } = &self.violations;
        let has_tenants = self.frame.tenant.is_none();
        html! {
            div.scroll tabindex="0" role="region" aria-label="What broke" {
                table.causes {
                    caption { "What broke, what is new first" @if courses.len() as u64 != totals.courses { ": " (courses.len()) " of " (count(i128::from(totals.courses))) } }
                    thead {
                        tr {
                            th scope="col" { "What is wrong" }
                            th scope="col" { "Trend" }
                            th scope="col" { "Sender" }
                            th.roomy scope="col" { "Topic" }
                            @if has_tenants { th scope="col" { "Tenant" } }
                            th.number scope="col" { "Now" }
                            th.number scope="col" { "Before" }
                            th scope="col" { "Since" }
                            th.roomy scope="col" { "Last" }
                        }
                    }
                    tbody {
                        @for course in courses {
                            tr {
                                th scope="row" {
                                    a href=(self.letters_of(course)) { (course.of.rule) }
                                    @if course.of.rule != course.of.kind.name() { " " span.quiet { (words(course.of.kind.name())) } }
                                    @if !course.why.is_empty() { div.why { (course.why) } }
                                }
                                td data-name="trend" { (render_trend(course)) }
                                td data-name="sender" {
                                    @match &course.of.sender { Some(sender) => a href=(self.narrowed("sender", sender)) { (sender) }, None => span.quiet { "not said" } }
                                }
                                td.roomy data-name="topic" { code { (course.of.topic) } }
                                @if has_tenants { td data-name="tenant" { (course.of.tenant.as_deref().unwrap_or("–")) } }
                                td.number data-name="now" { (count(i128::from(course.count))) }
                                td.number data-name="before" { (count(i128::from(course.before))) }
                                td.moment data-name="since" { (moment(&course.began)) }
                                td.moment.roomy data-name="last" { (moment(&course.last)) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn letters_of(&self, course: &Course) -> String {
        let filter = DeadLetterFilter {
            rule: Some(course.of.rule.clone()),
            kind: Some(course.of.kind),
            topic: Some(course.of.topic.clone()),
            ..DeadLetterFilter::default()
        };
        let tenant = course.of.tenant.as_deref().filter(|_| self.frame.tenant.is_none());
        let tenant: Vec<(&str, &str)> = tenant.map(|tenant| ("tenant", tenant)).into_iter().collect();
        super::dead_letters::path(&self.frame, super::dead_letters::LIST, &filter, &tenant)
    }

    fn render_times(&self) -> Markup {
        let Violations { times, bar_ms, .. } = &self.violations;
        let most = times.iter().map(|of| of.count).max().unwrap_or(0);
        let bars = times.iter().zip(0..).map(|(of, place)| Drawn {
            left: f64::from(place) * 10.0,
            width: 10.0,
            at: of.from.clone(),
            says: format!("{} events broke a rule", count(i128::from(of.count))),
            parts: Some(vec![of.count as f64]),
        });
        let is_by_day = *bar_ms >= 86_400_000;
        let (title, shown) = if is_by_day { ("By day", "day") } else { ("By hour", "hour") };
        let marks = times.len().min(7);
        let x = (0..marks).map(|mark| instant(&times[mark * (times.len() - 1) / (marks - 1).max(1)].from, shown));
        let chart = Chart {
            id: "times",
            title,
            text: format!("At most {} in one of {} parts of the time.", count(i128::from(most)), times.len()),
            width: times.len() as f64 * 10.0,
            bars: bars.collect(),
            told_together: 1,
            classes: &["dead_lettered"],
            line: Vec::new(),
            x: x.collect(),
        };
        html! {
            section aria-label=(title) {
                h2 { (title) }
                figure.plot {
                    (chart.render())
                    figcaption {
                        details {
                            summary { "Figures as a table" }
                            table {
                                caption { (title) }
                                thead { tr { th scope="col" { "From" } th.number scope="col" { "Events" } } }
                                tbody {
                                    @for of in times.iter().rev() { tr { th scope="row" { (moment(&of.from)) } td.number { (count(i128::from(of.count))) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn render_tallies(&self) -> Markup {
        let Violations { rules, senders, topics, totals, .. } = &self.violations;
        let has_tenants = self.frame.tenant.is_none();
        html! {
            section aria-label="By rule" {
                h2 { "By rule" }
                (render_tally("Rule", rules, totals.rules, |of| html! { a href=(self.narrowed("rule", &of.rule)) { (of.rule) } }))
            }
            section aria-label="By sender" {
                h2 { "By sender" }
                (render_tally("Sender", senders, totals.senders, |of| html! {
                    @match &of.sender { Some(sender) => a href=(self.narrowed("sender", sender)) { (sender) }, None => span.quiet { "not said" } }
                    @if has_tenants { " " span.quiet { (of.tenant.as_deref().unwrap_or("no tenant")) } }
                }))
            }
            section aria-label="By topic" {
                h2 { "By topic" }
                (render_tally("Topic", topics, totals.topics, |of| html! {
                    a href=(self.narrowed("topic", &of.topic)) { (of.topic) } " " span.quiet { (of.family) }
                }))
            }
        }
    }
}

fn render_trend(course: &Course) -> Markup {
    let says = match course.trend {
        Trend::New => "new",
        Trend::Again => "again",
        Trend::More => "much more",
        Trend::Same => "as before",
        Trend::Less => "much less",
        Trend::Over => "over",
    };
    let begins = matches!(course.trend, Trend::New | Trend::Again);
    html! {
        @if begins { b { (says) } } @else { (says) }
        @if begins && course.was_good { div.quiet { "good before" } }
    }
}

fn render_tally<T>(name: &str, tallies: &[Tally<T>], total: u64, show: impl Fn(&T) -> Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "By " (name.to_lowercase()) ", table" } {
            table {
                caption { "The most first" @if tallies.len() as u64 != total { ": " (tallies.len()) " of " (count(i128::from(total))) } }
                thead { tr { th scope="col" { (name) } th.number scope="col" { "Now" } th.number scope="col" { "Before" } } }
                tbody {
                    @for tally in tallies {
                        tr {
                            th scope="row" { (show(&tally.of)) }
                            td.number { (count(i128::from(tally.count))) }
                            td.number { (count(i128::from(tally.before))) }
                        }
                    }
                }
            }
        }
    }
}
