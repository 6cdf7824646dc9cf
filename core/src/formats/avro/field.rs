//! The bounds of a payload's fields, which no schema can say: each that is broken is a finding, and all of them are reported.

use smol_str::SmolStr;

use super::Text;
use crate::envelope::finding;
use crate::formats::statement::field::MAX_ID_BYTES;
use crate::outcome::Finding;

/// Checks the fields of a payload.
#[derive(Debug, Default)]
pub struct Bounds {
    findings: Vec<Finding>,
}

impl Bounds {
    /// Nothing is wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An id: not empty, at most [`MAX_ID_BYTES`].
    pub fn id(&mut self, name: &str, text: &Text<'_>) -> SmolStr {
        self.id_at(name, None, text)
    }

    /// Ids, each once, at most so many.
    pub fn ids(&mut self, name: &str, texts: &[Text<'_>], most: usize) -> Vec<SmolStr> {
        if texts.len() > most {
            self.wrong(name, None, format!("{name} has {} items, and may have {most}", texts.len()));
            return Vec::new();
        }
        let mut ids: Vec<SmolStr> = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let id = self.id_at(name, Some(at), text);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// An id that may be missing.
    pub fn id_if_given(&mut self, name: &str, text: Option<&Text<'_>>) -> Option<SmolStr> {
        text.map(|text| self.id(name, text))
    }

    /// A whole number of at least so much; a unit is part of its name.
    pub fn at_least(&mut self, name: &str, number: i64, least: i64) -> i64 {
        if number < least {
            self.wrong(name, None, format!("{name} must be at least {least}, and is {number}"));
        }
        number
    }

    /// A number within these, both included.
    pub fn between(&mut self, name: &str, number: f64, least: f64, most: f64) -> f64 {
        // What is no number is within nothing.
        if !(least..=most).contains(&number) {
            self.wrong(name, None, format!("{name} must be {least} to {most}, and is {number}"));
        }
        number
    }

    /// The event, where all of its fields keep their bounds.
    ///
    /// # Errors
    /// All that do not.
    pub fn finish<T>(self, event: T) -> Result<T, Vec<Finding>> {
        if self.findings.is_empty() { Ok(event) } else { Err(self.findings) }
    }

    fn id_at(&mut self, name: &str, item: Option<usize>, Text(text): &Text<'_>) -> SmolStr {
        if text.is_empty() || text.len() > MAX_ID_BYTES {
            let message = format!("{name} must be a text of 1 to {MAX_ID_BYTES} bytes, and has {}", text.len());
            self.wrong(name, item, message);
        }
        SmolStr::new(text)
    }

    #[cold]
    fn wrong(&mut self, name: &str, item: Option<usize>, message: String) {
        let item = item.map(|at| format!("/{at}")).unwrap_or_default();
        self.findings.push(finding("field.range", &format!("/payload/{name}{item}"), message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text<'_> {
        Text(text.into())
    }

    /// Where something is wrong.
    fn places(check: impl FnOnce(&mut Bounds)) -> Vec<String> {
        let mut bounds = Bounds::new();
        check(&mut bounds);
        let wrong = bounds.finish(()).err().unwrap_or_default();
        assert!(wrong.iter().all(|finding| finding.rule == "field.range"));
        wrong.into_iter().map(|finding| finding.pointer).collect()
    }

    #[test]
    fn an_id_is_neither_empty_nor_longer_than_an_id_may_be() {
        let (most, over) = ("x".repeat(MAX_ID_BYTES), "x".repeat(MAX_ID_BYTES + 1));
        for (id, wrong) in [("a", vec![]), (&most, vec![]), (&over, vec!["/payload/a_id"]), ("", vec!["/payload/a_id"])]
        {
            assert_eq!(places(|bounds| drop(bounds.id("a_id", &text(id)))), wrong);
            assert_eq!(places(|bounds| drop(bounds.id_if_given("a_id", Some(&text(id))))), wrong);
        }
        assert_eq!(Bounds::new().id_if_given("a_id", None), None);
    }

    #[test]
    fn of_ids_each_counts_once_and_what_is_wrong_is_shown_by_its_place() {
        assert_eq!(Bounds::new().ids("ids", &[text("b"), text("a"), text("b")], 3), ["b", "a"]);
        assert_eq!(
            places(|bounds| drop(bounds.ids("ids", &[text("a"), text(""), text("")], 3))),
            ["/payload/ids/1", "/payload/ids/2"]
        );
        assert_eq!(places(|bounds| drop(bounds.ids("ids", &[text("a"), text("b")], 1))), ["/payload/ids"]);
    }

    #[test]
    fn numbers_keep_their_bounds_and_what_is_no_number_keeps_none() {
        assert_eq!(places(|bounds| assert_eq!(bounds.at_least("ms", 0, 0), 0)), [""; 0]);
        assert_eq!(places(|bounds| assert_eq!(bounds.at_least("ms", -1, 0), -1)), ["/payload/ms"]);
        for (number, is_right) in [(0.0, true), (1.0, true), (-0.1, false), (1.1, false), (f64::NAN, false)] {
            let wrong = places(|bounds| {
                bounds.between("part", number, 0.0, 1.0);
            });
            assert_eq!(wrong.is_empty(), is_right, "{number}");
        }
    }
}
