//! Dead letters: why each is here, and sending them again. Looking at this view is the confirmation before it.

use lyceum_core::outcome::DeadLetterKind;
use maud::{Markup, html};

use super::event::render_findings;
use super::{Frame, back_link, count, layout, words};
use crate::dead_letters::letters::{DeadLetterCount, DeadLetterFilter, ShownLetter};

/// What the last replay did, as the redirection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Letters that were sent again.
    pub sent: u64,
    /// Letters that stay, because they are parked.
    pub parked: u64,
    /// Letters that are left for the next time.
    pub remaining: u64,
}

/// The letters that match.
pub struct DeadLettersView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for.
    pub filter: DeadLetterFilter,
    /// The newest, as many as fit.
    pub letters: Vec<ShownLetter>,
    /// Records of dead-letter topics that are not looked at yet.
    pub not_indexed: u64,
    /// How many match.
    pub number: DeadLetterCount,
    /// What was just done.
    pub sent: Option<Sent>,
    /// Whether the caller may send them again.
    pub may_operate: bool,
}

impl DeadLettersView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let kind = self.filter.kind.map(|kind| words(kind.name()));
        let title = kind.as_ref().map_or("Dead letters".to_owned(), |kind| format!("Dead letters: {kind}"));
        let DeadLetterCount { waiting, parked } = self.number;
        let content = html! {
            article.letters {
                h1 { (title) @if let Some(topic) = &self.filter.topic { " of " (topic) } }
                @if let Some(sent) = self.sent { (render_sent(sent)) }
                nav aria-label="Kinds" {
                    ul.kinds {
                        li { a href=(self.frame.path("/dead-letters", &[])) aria-current=[self.filter.kind.is_none().then_some("page")] { "all" } }
                        @for kind in DeadLetterKind::ALL {
                            li {
                                a href=(self.frame.path("/dead-letters", &[("kind", kind.name())]))
                                    aria-current=[(self.filter.kind == Some(kind)).then_some("page")] { (words(kind.name())) }
                            }
                        }
                    }
                }
                @if waiting + parked == 0 { p.empty { "There is none." } }
                @else {
                    p { b { (count(waiting)) } " waiting, " b { (count(parked)) } " parked" @if self.letters.len() as u64 != waiting + parked { "; the newest " (self.letters.len()) " are below" } "." }
                    @if self.not_indexed > 0 {
                        p.quiet { (count(self.not_indexed)) " further records of dead-letter topics are not indexed yet: they are counted once some of these were sent again or have expired." }
                    }
                    @if waiting > 0 && self.may_operate { (self.render_replay(waiting)) }
                    @for letter in &self.letters {
                        section.letter aria-label={ "Letter " (letter.position) } {
                            h2 {
                                a href=(self.frame.path(&format!("/events/{}", letter.position), &[])) { (letter.position) }
                                " " span.badge.dead_lettered { (words(letter.kind.name())) }
                            }
                            (render_letter(&self.frame, letter, self.may_operate))
                            details { summary { "How its value begins" } pre tabindex="0" { (letter.preview) } }
                        }
                    }
                }
            }
        };
        layout(&self.frame, &title, &back_link(&self.frame), &content)
    }

    fn render_replay(&self, waiting: u64) -> Markup {
        html! {
            form.replay method="post" action="/api/dead-letters/replay" {
                @if let Some(kind) = self.filter.kind { input type="hidden" name="kind" value=(kind.name()); }
                @if let Some(topic) = &self.filter.topic { input type="hidden" name="topic" value=(topic); }
                @if let Some(tenant) = &self.filter.tenant { input type="hidden" name="tenant" value=(tenant); }
                p { "Mend the cause first: each record goes back to its topic and is judged anew; one that fails again comes \
                    back here, and is parked after three times." }
                button type="submit" { "Send " @if waiting == 1 { "the waiting one" } @else { "all " (count(waiting)) " waiting ones" } " again" }
            }
        }
    }
}

fn render_sent(sent: Sent) -> Markup {
    html! {
        p.sent role="status" {
            b { (count(sent.sent)) } @if sent.sent == 1 { " record was" } @else { " records were" } " sent again"
            @if sent.parked > 0 { ", " (count(sent.parked)) " parked stay" }
            @if sent.remaining > 0 { ", " (count(sent.remaining)) " left for the next time" }
            "."
        }
    }
}

/// What is known of a letter, and the form that sends it again.
pub(super) fn render_letter(frame: &Frame, letter: &ShownLetter, may_operate: bool) -> Markup {
    let facts = [
        ("family", Some(letter.family.clone())),
        ("event id", letter.event_id.map(|id| id.to_string())),
        ("tenant", letter.tenant.clone()),
        ("correlation id", letter.correlation_id.clone()),
        ("attempts", Some(count(letter.attempts))),
        ("replays before", (letter.replay_count > 0).then(|| count(letter.replay_count))),
        ("first failed", letter.first_failed_at.clone()),
        ("last failed", letter.last_failed_at.clone()),
    ];
    html! {
        dl.facts {
            div { dt { "came from" } dd { a href=(frame.path(&format!("/events/{}", letter.source), &[])) { code { (letter.source) } } } }
            @for (name, fact) in facts {
                @if let Some(fact) = fact { div { dt { (name) } dd { code { (fact) } } } }
            }
        }
        (render_findings(&letter.findings))
        @if letter.is_replayed {
            p.quiet { "It was sent again since" @if let Some(sent_to) = &letter.sent_to { ", to " code { (sent_to) } } "." }
        }
        @else if letter.value_omitted {
            p.quiet { "Its value was too large for the letter and stands where it came from; it cannot be sent again from here." }
        }
        @else if may_operate {
            form.replay method="post" action="/api/dead-letters/replay" {
                input type="hidden" name="position" value=(letter.position);
                @if let Some(tenant) = &frame.tenant { input type="hidden" name="tenant" value=(tenant); }
                @if letter.is_parked { p { "It is parked: it failed after each of its replays, and only this button sends it again." } }
                button.plain type="submit" { "Send this one again" }
            }
        }
    }
}
