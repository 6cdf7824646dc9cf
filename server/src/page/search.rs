//! What was found for a text: several things, or none.

use maud::{Markup, html};

use super::{Frame, layout};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What it is: `booking`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// Its path, which says whose it is.
    pub to: String,
    /// What is told beside it.
    pub about: String,
}

/// The page.
pub struct SearchView {
    /// Around it.
    pub frame: Frame,
    /// What was looked for.
    pub text: String,
    /// What the text was taken for.
    pub looked_for: Vec<&'static str>,
    /// What was found.
    pub hits: Vec<Hit>,
    /// What could not be asked, and why.
    pub failed: Vec<String>,
}

impl SearchView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let title = if self.text.is_empty() { "Search".to_owned() } else { format!("Search: {}", self.text) };
        let whose = self.frame.tenant.as_ref().map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
        let content = html! {
            article {
                h1 { (title) }
                @for failed in &self.failed { p.why role="alert" { (failed) } }
                @if self.text.is_empty() {
                    p { "Look for an event by its id, a record by its position (topic/partition/offset), a learner by mail address, account or \
                        SHA-1, a survey by its id or IRI, or a program, session, booking or response by its id." }
                } @else if self.hits.is_empty() {
                    p { "Nothing" (whose) " has this name. It was looked for as:" }
                    ul.plain { @for what in &self.looked_for { li { (what) } } }
                    p.quiet { "Records are kept as long as their topic keeps them, and events without a state are found by the id of their statement." }
                } @else {
                    ul.plain {
                        @for hit in &self.hits {
                            li { (hit.what) " " a href=(hit.to) { (hit.name) } @if !hit.about.is_empty() { " " span.quiet { (hit.about) } } }
                        }
                    }
                }
            }
        };
        layout(&self.frame, &title, &html! {}, &content)
    }
}
