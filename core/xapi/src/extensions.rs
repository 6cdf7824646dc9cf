//! Extensions (xAPI-Data 4.1): keys are IRIs, values are anything.

use super::json::Read;
use super::path::Path;
use super::statement::Extensions;
use super::validator::Validator;
use super::{iri, rules};

impl<'a> Validator<'a> {
    /// An extensions object; its keys with their raw values if they are to be kept.
    pub(super) fn extensions(&mut self, keep: bool, path: &Path<'_>) -> Read<Extensions<'a>> {
        let mut kept = Extensions::new();
        let Some(mut members) = self.free_members(path)? else { return Ok(kept) };
        while let Some(key) = self.next_free(&mut members, path)? {
            let at = &path.key(&key);
            // XAPI-00118.
            if let Some(fault) = iri::find_fault(&key) {
                self.report(&rules::EXTENSION_KEY, at, format!("The extension key {key:?} {fault}."));
            }
            // XAPI-00119: whatever the value is, it holds.
            self.reader.peek()?;
            let start = self.reader.at();
            self.free_value(at)?;
            if keep {
                if kept.is_empty() {
                    kept = Extensions::with_capacity(8);
                }
                kept.push((key, self.reader.since(start)));
            }
        }
        Ok(kept)
    }
}
