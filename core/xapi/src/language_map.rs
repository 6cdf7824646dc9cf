//! Language maps (xAPI-Data 4.2).

use std::borrow::Cow;

use super::json::Read;
use super::path::Path;
use super::validator::{FreeMembers, Validator};
use super::{language_tag, rules};

impl<'a> Validator<'a> {
    /// A language map; of its texts the first in English, else the first.
    pub(super) fn language_map(&mut self, path: &Path<'_>) -> Read<Option<Cow<'a, str>>> {
        if !self.enters_free(path)? {
            return Ok(None);
        }
        let mut members = FreeMembers::default();
        let (mut chosen, mut is_english) = (None, false);
        while let Some(tag) = self.next_free(&mut members, path)? {
            let at = &path.key(&tag);
            // XAPI-00121, XAPI-00013.
            if !language_tag::is_well_formed(&tag) {
                let message = format!("{tag:?} is no RFC 5646 tag: write one such as \"en\", \"en-US\" or \"und\".");
                self.report(&rules::LANGUAGE_MAP_TAG, at, message);
            }
            let text = self.text(at)?;
            let speaks_english =
                matches!(tag.as_bytes(), [b'e' | b'E', b'n' | b'N'] | [b'e' | b'E', b'n' | b'N', b'-', ..]);
            if chosen.is_none() || speaks_english && !is_english {
                (chosen, is_english) = (text, speaks_english);
            }
        }
        Ok(chosen)
    }
}
