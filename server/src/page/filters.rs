//! The form that narrows a page's list, as what was asked for fills it in.

use maud::{Markup, html};

use super::Frame;

/// What was asked of a page, by the names of its parameters.
pub(super) struct Filters<'a> {
    pub(super) frame: &'a Frame,
    pub(super) path: &'a str,
    pub(super) asked: &'a [(&'static str, String)],
}

impl Filters<'_> {
    /// The page with all that was asked for, and more.
    pub(super) fn path(&self, more: &[(&str, &str)]) -> String {
        let asked: Vec<(&str, &str)> = self.asked.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.frame.path(self.path, &[&asked, more].concat())
    }

    fn value(&self, name: &str) -> &str {
        self.asked.iter().find(|(asked, _)| *asked == name).map_or("", |(_, value)| value)
    }

    /// A field for any text.
    pub(super) fn text(&self, name: &str, label: &str, example: &str) -> Markup {
        html! { label { (label) input type="text" name=(name) value=(self.value(name)) placeholder=(example); } }
    }

    /// One of some names, shown as `show` says, or `every` of them.
    pub(super) fn choice(
        &self,
        name: &str,
        label: &str,
        every: &str,
        names: &[&'static str],
        show: impl Fn(&str) -> String,
    ) -> Markup {
        html! {
            label { (label)
                select name=(name) {
                    option value="" { (every) }
                    @for of in names { option value=(of) selected[self.value(name) == *of] { (show(of)) } }
                }
            }
        }
    }

    /// The form of these fields, which keeps the tenant, and the way back to all.
    pub(super) fn form(&self, fields: &[Markup]) -> Markup {
        html! {
            form.filters method="get" action=(self.path) {
                @if let Some(tenant) = &self.frame.tenant { input type="hidden" name="tenant" value=(tenant); }
                @for field in fields { (field) }
                button type="submit" { "Show" }
                @if !self.asked.is_empty() { a href=(self.frame.path(self.path, &[])) { "Show all" } }
            }
        }
    }
}
