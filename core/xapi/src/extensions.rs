//! Extensions (xAPI-Data 4.1): keys are IRIs, values are anything.

use super::json::Read;
use super::path::Path;
use super::rules;
use super::statement::Extensions;
use super::validator::{FreeMembers, Validator};

impl<'a> Validator<'a> {
    /// An extensions object; its keys with their raw values if they are to be kept.
    pub(super) fn extensions(&mut self, keep: bool, path: &Path<'_>) -> Read<Extensions<'a>> {
        let mut kept = Extensions::new();
        if !self.enters_free(path)? {
            return Ok(kept);
        }
        let mut members = FreeMembers::default();
        while let Some((key, fault)) = self.next_iri(&mut members, path)? {
            let at = &path.key(&key);
            // XAPI-00118.
            if let Some(fault) = fault {
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
