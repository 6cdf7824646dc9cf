//! Dead letters: by cause, one by one with the reason of each, sending them again and discarding them. Looking at these views is
//! the confirmation before it.

use lyceum_core::outcome::{DeadLetterKind, Finding};
use maud::{Markup, html};

use super::{Frame, capital, count, layout, moment, moment_of, words};
use crate::dead_letters::letters::{
    BEHIND, Causes, DeadLetterCount, DeadLetterFilter, LetterState, Letters, ShownLetter,
};
use crate::live::format_time;

pub(super) const LIST: &str = "/dead-letters/list";

/// What was done with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Sent again.
    Sent,
    /// Marked as done with.
    Discarded,
}

impl Verb {
    /// As it stands in a query.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Discarded => "discarded",
        }
    }

    /// The verb of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sent, Self::Discarded].into_iter().find(|verb| verb.name() == name)
    }
}

/// What the form that was just sent did, as the redirection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// What.
    pub verb: Verb,
    /// With so many letters.
    pub letters: u64,
    /// Letters that stay, because they are parked.
    pub parked: u64,
    /// Letters that are left for the next time.
    pub remaining: u64,
    /// Of those that were sent: their effect is in.
    pub applied: u64,
    /// They had been applied before.
    pub duplicate: u64,
    /// They failed again.
    pub again: u64,
    /// They are still to be processed.
    pub pending: u64,
}

impl Done {
    /// Nothing yet.
    pub fn new(verb: Verb) -> Self {
        Self { verb, letters: 0, parked: 0, remaining: 0, applied: 0, duplicate: 0, again: 0, pending: 0 }
    }

    /// The numbers by name, as a query has them.
    pub fn counts(&self) -> [(&'static str, u64); 7] {
        let Self { verb: _, letters, parked, remaining, applied, duplicate, again, pending } = *self;
        [
            ("letters", letters),
            ("parked", parked),
            ("remaining", remaining),
            ("applied", applied),
            ("duplicate", duplicate),
            ("again", again),
            ("pending", pending),
        ]
    }
}

/// A filter but its tenant, as parameters and fields of a form.
fn parameters(filter: &DeadLetterFilter) -> Vec<(&'static str, String)> {
    let DeadLetterFilter { tenant: _, topic, kind, rule, state, since_ms, until_ms } = filter;
    let parameters = [
        ("kind", kind.map(|kind| kind.name().to_owned())),
        ("topic", topic.clone()),
        ("rule", rule.clone()),
        ("state", state.map(|state| state.name().to_owned())),
        ("since", since_ms.map(format_time)),
        ("until", until_ms.map(format_time)),
    ];
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A path with the filter in its query.
pub(super) fn path(frame: &Frame, path: &str, filter: &DeadLetterFilter, more: &[(&str, &str)]) -> String {
    let parameters = parameters(filter);
    let query: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    frame.path(path, &[&query, more].concat())
}

/// The same filter with another kind and so on, one link each.
fn render_choice<'a>(label: &str, choices: impl Iterator<Item = (String, &'a str, bool)>) -> Markup {
    html! {
        nav aria-label=(label) {
            ul.kinds {
                @for (to, name, is_chosen) in choices {
                    li { a href=(to) aria-current=[is_chosen.then_some("page")] { (words(name)) } }
                }
            }
        }
    }
}

fn render_kinds(frame: &Frame, page: &str, filter: &DeadLetterFilter) -> Markup {
    let kinds = std::iter::once(None).chain(DeadLetterKind::ALL.map(Some));
    render_choice(
        "Kinds",
        kinds.map(|kind| {
            let to = path(frame, page, &DeadLetterFilter { kind, ..filter.clone() }, &[]);
            (to, kind.map_or("all kinds", DeadLetterKind::name), filter.kind == kind)
        }),
    )
}

/// Says that the numbers beside it are not all, where they are not.
pub(super) fn render_behind(is_behind: bool) -> Markup {
    html! { @if is_behind { p.quiet { (capital(BEHIND)) } } }
}

fn render_left_out(number: u64) -> Markup {
    html! {
        @if number > 0 {
            p.quiet {
                (count(number)) " older " @if number == 1 { "one is" } @else { "ones are" }
                " counted and not listed, for want of room: they are listed once others are sent again, discarded or have expired."
            }
        }
    }
}

/// Letters by what they have in common.
pub struct CausesView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for.
    pub filter: DeadLetterFilter,
    /// The causes, as many as fit.
    pub causes: Causes,
}

impl CausesView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let Causes { causes, total, not_indexed, is_behind, .. } = &self.causes;
        let title =
            self.filter.kind.map_or("Dead letters".to_owned(), |kind| format!("Dead letters: {}", words(kind.name())));
        let has_tenants = self.frame.tenant.is_none();
        let content = html! {
            article.letters {
                h1 { (title) }
                p { a href=(self.frame.path("/validation", &[])) { "What broke since when" } }
                (render_kinds(&self.frame, "/dead-letters", &self.filter))
                (render_behind(*is_behind))
                @if causes.is_empty() { @if !is_behind { p.empty { "There is none." } } }
                @else {
                    div.scroll tabindex="0" role="region" aria-label="Causes" {
                        table.causes {
                            caption { "By rule, topic and tenant" @if causes.len() as u64 != *total { ": " (causes.len()) " of " (count(i128::from(*total))) } }
                            thead {
                                tr {
                                    th scope="col" { "What is wrong" }
                                    th.roomy scope="col" { "Topic" }
                                    @if has_tenants { th scope="col" { "Tenant" } }
                                    th.number scope="col" { "Waiting" }
                                    th.number.roomy scope="col" { "Parked" }
                                    th.number scope="col" { "All" }
                                    th.roomy scope="col" { "First" }
                                    th scope="col" { "Last" }
                                }
                            }
                            tbody {
                                @for cause in causes {
                                    tr {
                                        th scope="row" {
                                            a href=(self.list_of(cause)) { (cause.rule) }
                                            @if cause.rule != cause.kind.name() { " " span.quiet { (words(cause.kind.name())) } }
                                            @if !cause.why.is_empty() { div.why { (cause.why) } }
                                        }
                                        td.roomy data-name="topic" { code { (cause.topic) } }
                                        @if has_tenants { td data-name="tenant" { (cause.tenant.as_deref().unwrap_or("–")) } }
                                        td.number data-name="waiting" { (count(i128::from(cause.waiting))) }
                                        td.number.roomy data-name="parked" { (count(i128::from(cause.parked))) }
                                        td.number data-name="all" { (count(i128::from(cause.count))) }
                                        td.moment.roomy data-name="first" { (moment(&cause.first)) }
                                        td.moment data-name="last" { (moment(&cause.last)) }
                                    }
                                }
                            }
                        }
                    }
                    (render_left_out(*not_indexed))
                    p { a href=(path(&self.frame, LIST, &self.filter, &[])) { "One by one, the newest first" } }
                }
            }
        };
        layout(&self.frame, &title, &html! {}, &content)
    }

    fn list_of(&self, cause: &crate::dead_letters::letters::Cause) -> String {
        let filter = DeadLetterFilter {
            rule: Some(cause.rule.clone()),
            kind: Some(cause.kind),
            topic: Some(cause.topic.clone()),
            state: self.filter.state.or((cause.waiting > 0).then_some(LetterState::Waiting)),
            ..self.filter.clone()
        };
        let tenant = cause.tenant.as_deref().filter(|_| self.frame.tenant.is_none());
        let tenant: Vec<(&str, &str)> = tenant.map(|tenant| ("tenant", tenant)).into_iter().collect();
        path(&self.frame, LIST, &filter, &tenant)
    }
}

/// The letters that match, one by one.
pub struct DeadLettersView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for.
    pub filter: DeadLetterFilter,
    /// As many as fit on a page.
    pub letters: Letters,
    /// Whether these are the newest.
    pub is_first: bool,
    /// What was just done.
    pub done: Option<Done>,
    /// Whether the caller may do something with them.
    pub may_operate: bool,
}

impl DeadLettersView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let kind = self.filter.kind.map(|kind| words(kind.name()));
        let title = kind.as_ref().map_or("Dead letters".to_owned(), |kind| format!("Dead letters: {kind}"));
        let Letters { letters, total, next, not_indexed, is_behind, open } = &self.letters;
        let DeadLetterCount { waiting, parked } = *open;
        let content = html! {
            article.letters {
                h1 { (title) @if let Some(rule) = &self.filter.rule { ", " code { (rule) } } @if let Some(topic) = &self.filter.topic { " of " code { (topic) } } }
                p { a href=(self.frame.path("/dead-letters", &[])) { "By what they have in common" } }
                @if let Some(done) = &self.done { (render_done(done)) }
                (render_kinds(&self.frame, LIST, &self.filter))
                (self.render_states())
                (render_behind(*is_behind))
                @if letters.is_empty() { @if !is_behind { p.empty { "There is none." } } }
                @else {
                    p {
                        @if letters.len() as u64 == *total { (count(i128::from(*total))) }
                        @else { (letters.len()) " of " (count(i128::from(*total))) }
                        ", newest first: " b { (count(i128::from(waiting))) } " waiting, " b { (count(i128::from(parked))) } " parked."
                    }
                    (render_left_out(*not_indexed))
                    @if waiting + parked > 0 && self.may_operate { (self.render_all(waiting, parked)) }
                    div.scroll tabindex="0" role="region" aria-label="Letters" {
                        table.rows {
                            caption.hidden { "Dead letters, the newest first" }
                            thead {
                                tr {
                                    th scope="col" { "Time" }
                                    th scope="col" { "Letter" }
                                    th scope="col" { "Whose" }
                                    th scope="col" { "What is wrong" }
                                    th scope="col" { "State" }
                                    @if self.may_operate { th scope="col" { "Do" } }
                                }
                            }
                            tbody { @for letter in letters { (self.render_row(letter)) } }
                        }
                    }
                    nav.pages aria-label="Pages" {
                        @if !self.is_first { a href=(path(&self.frame, LIST, &self.filter, &[])) { "Newest" } }
                        @if let Some(next) = next { a href=(path(&self.frame, LIST, &self.filter, &[("cursor", next)])) { "Older" } }
                    }
                    p { a href=(self.export()) { "Download the originals as JSON Lines" } }
                }
            }
        };
        layout(&self.frame, &title, &html! {}, &content)
    }

    fn export(&self) -> String {
        path(&self.frame, "/api/dead-letters/export", &self.filter, &[])
    }

    fn render_states(&self) -> Markup {
        let states = std::iter::once(None).chain(LetterState::ALL.map(Some));
        render_choice(
            "States",
            states.map(|state| {
                let to = path(&self.frame, LIST, &DeadLetterFilter { state, ..self.filter.clone() }, &[]);
                (to, state.map_or("in any state", LetterState::name), self.filter.state == state)
            }),
        )
    }

    fn render_row(&self, letter: &ShownLetter) -> Markup {
        let to_letter = self.frame.path(&format!("/events/{}", letter.position), &[]);
        html! {
            tr {
                td.moment { (moment(&letter.at)) }
                th scope="row" {
                    a href=(to_letter) { (letter.position) }
                    div.quiet {
                        "from " a href=(self.frame.path(&format!("/events/{}", letter.source), &[])) { (letter.source) }
                        @if let Some(id) = letter.event_id { " " code title={ "event " (id) } { (id.to_string().get(..8).unwrap_or_default()) "…" } }
                    }
                }
                td.whose {
                    @if let Some(learner) = &letter.learner { div { (learner) } }
                    div.quiet { (letter.tenant.as_deref().unwrap_or("no tenant")) }
                }
                td {
                    @if let Some(finding) = letter.findings.first() {
                        @if !finding.pointer.is_empty() { code { (finding.pointer) } " " }
                        (finding.message)
                        @if letter.findings.len() > 1 { " " span.quiet { "and " (letter.findings.len() - 1) " more" } }
                    }
                    div.quiet { code { (letter.rule) } }
                }
                td.state { (words(letter.state.name())) @if letter.state == LetterState::Sent && letter.is_applied { div.quiet { "applied" } } }
                @if self.may_operate {
                    td.action {
                        @if letter.state.is_open() {
                            (render_form(&self.frame, &self.filter, Some(letter), html! {
                                @if !letter.value_omitted { button type="submit" aria-label={ "Replay " (letter.position) } { "Replay" } " " }
                                (discard_button("Discard", &format!("Discard {}", letter.position)))
                            }))
                        }
                    }
                }
            }
        }
    }

    fn render_all(&self, waiting: u64, parked: u64) -> Markup {
        let open = waiting + parked;
        let buttons = html! {
            @if waiting > 0 {
                p { "Mend the cause first: each record goes back to its topic and is judged anew; one that fails again comes \
                    back here, and is parked after three times." }
                button.main type="submit" { "Send " @if waiting == 1 { "the waiting one" } @else { "all " (count(i128::from(waiting))) " waiting ones" } " again" }
                " "
            }
            (discard_button(&format!("Discard all {}", count(i128::from(open))), &format!("Discard all {} that wait or are parked", count(i128::from(open)))))
        };
        render_form(&self.frame, &self.filter, None, buttons)
    }
}

fn discard_button(text: &str, label: &str) -> Markup {
    html! { button type="submit" formaction="/api/dead-letters/discard" aria-label=(label) { (text) } }
}

/// A form that sends again; another button may have another action. It takes the filter along.
fn render_form(frame: &Frame, filter: &DeadLetterFilter, letter: Option<&ShownLetter>, buttons: Markup) -> Markup {
    let tenant = filter.tenant.as_ref().or(frame.tenant.as_ref());
    html! {
        form.replay method="post" action="/api/dead-letters/replay" {
            @for (name, value) in parameters(filter) { input type="hidden" name=(name) value=(value); }
            @if let Some(tenant) = tenant { input type="hidden" name="tenant" value=(tenant); }
            @if let Some(letter) = letter { input type="hidden" name="position" value=(letter.position); }
            (buttons)
        }
    }
}

fn render_done(done: &Done) -> Markup {
    let Done { verb, letters, parked, remaining, applied, duplicate, again, pending } = *done;
    let were = if letters == 1 { "letter was" } else { "letters were" };
    let ends = [
        (applied, "applied"),
        (duplicate, "had been applied before"),
        (again, "failed again, as a new letter"),
        (pending, "still to be processed"),
    ];
    html! {
        p.sent role="status" {
            b { (count(i128::from(letters))) } " " (were) @if verb == Verb::Sent { " sent again" } @else { " discarded" }
            @for (number, end) in ends.iter().filter(|(number, _)| *number > 0) { ", " (count(i128::from(*number))) " " (end) }
            @if parked > 0 { ", " (count(i128::from(parked))) " parked stay" }
            @if remaining > 0 { ", " (count(i128::from(remaining))) " left for the next time" }
            "."
        }
    }
}

/// Where a letter was sent to, who discarded it, and so on.
pub(super) fn render_state(frame: &Frame, letter: &ShownLetter) -> Markup {
    html! {
        @match letter.state {
            LetterState::Sent => p.quiet {
                "It was sent again" @if let Some(sent_to) = &letter.sent_to { ", to " a href=(frame.path(&format!("/events/{sent_to}"), &[])) { code { (sent_to) } } }
                @if letter.is_applied { ", and its event was applied since" } "."
            },
            LetterState::Discarded => p.quiet {
                "It was discarded" @if let Some(discard) = &letter.discarded { " at " (moment(&discard.at)) " by " (discard.by) } "."
                @if letter.is_applied { " Its event was applied since." }
            },
            LetterState::Resolved => p.quiet { "Its event was applied since: nothing is left to do." },
            LetterState::Parked => p.quiet { "It is parked: it failed after each of its replays, and is sent again by itself alone." },
            LetterState::Waiting => p.quiet { "It waits." },
        }
    }
}

/// What is known of a letter, and the form that sends it again.
pub(super) fn render_letter(frame: &Frame, letter: &ShownLetter, may_operate: bool) -> Markup {
    let facts = [
        ("family", Some(letter.family.clone())),
        ("event id", letter.event_id.map(|id| id.to_string())),
        ("learner", letter.learner.clone()),
        ("tenant", letter.tenant.clone()),
        ("correlation id", letter.correlation_id.clone()),
        ("attempts", Some(count(letter.attempts))),
        ("replays before", (letter.replay_count > 0).then(|| count(letter.replay_count))),
    ];
    let moments = [
        ("written", Some(&letter.at)),
        ("first failed", letter.first_failed_at.as_ref()),
        ("last failed", letter.last_failed_at.as_ref()),
    ];
    html! {
        dl.facts {
            div { dt { "came from" } dd { a href=(frame.path(&format!("/events/{}", letter.source), &[])) { code { (letter.source) } } } }
            @for (name, fact) in facts {
                @if let Some(fact) = fact { div { dt { (name) } dd { code { (fact) } } } }
            }
            @for (name, at) in moments {
                @if let Some(at) = at { div { dt { (name) } dd { (moment_of(at).unwrap_or_else(|| html! { code { (at) } })) } } }
            }
        }
        (render_findings(&letter.findings))
        (render_state(frame, letter))
        @if letter.value_omitted {
            p.quiet { "Its value was too large for the letter, or has a secret in it, and stands where it came from; it cannot be sent again from here." }
        }
        @if may_operate && letter.state.is_open() {
            (render_form(frame, &DeadLetterFilter::default(), Some(letter), html! {
                @if !letter.value_omitted { button type="submit" { "Send this one again" } " " }
                (discard_button("Discard it", "Discard it, this letter"))
            }))
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
