//! Verbs (xAPI-Data 2.4.3).

use std::borrow::Cow;

use super::json::Read;
use super::keys::keys;
use super::path::Path;
use super::rules;
use super::validator::Validator;

/// The verb of statements that void another (xAPI-Data 2.3.2).
pub const VOIDED: &str = "http://adlnet.gov/expapi/verbs/voided";

keys!(VerbKey { Id = "id", Display = "display" });

impl<'a> Validator<'a> {
    /// A verb; its id.
    pub(super) fn verb(&mut self, path: &Path<'_>) -> Read<Cow<'a, str>> {
        let Some(mut members) = self.members::<VerbKey>(path)? else { return Ok(Cow::default()) };
        let mut id = None;
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                // XAPI-00044.
                VerbKey::Id => id = self.iri(&rules::VERB_ID, at)?,
                // XAPI-00045.
                VerbKey::Display => {
                    self.language_map(at)?;
                }
            }
        }
        if !members.has(VerbKey::Id) {
            self.report(&rules::VERB_ID, path, "This verb has no id: give the IRI of the verb.");
        }
        Ok(id.unwrap_or_default())
    }
}
