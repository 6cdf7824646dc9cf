//! The headers of attachments (xAPI-Data 2.4.11).

use super::json::Read;
use super::keys::keys;
use super::path::Path;
use super::rules;
use super::validator::Validator;

/// The usage type of a statement's signature (xAPI-Data 2.6).
const SIGNATURE: &str = "http://adlnet.gov/expapi/attachments/signature";

keys!(AttachmentKey {
    UsageType = "usageType",
    Display = "display",
    Description = "description",
    ContentType = "contentType",
    Length = "length",
    Sha2 = "sha2",
    FileUrl = "fileUrl",
});

impl Validator<'_> {
    /// XAPI-00025: a list of attachments, which may be empty.
    pub(super) fn attachments(&mut self, path: &Path<'_>) -> Read<()> {
        self.elements(path, |validator, path| validator.attachment(path))?;
        Ok(())
    }

    fn attachment(&mut self, path: &Path<'_>) -> Read<()> {
        use AttachmentKey as Key;
        let Some(mut members) = self.members::<Key>(path)? else { return Ok(()) };
        let (mut is_signature, mut signs_octets) = (false, true);
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                // XAPI-00107.
                Key::UsageType => {
                    is_signature = self.iri(&rules::ATTACHMENT_USAGE_TYPE, at)?.is_some_and(|usage| usage == SIGNATURE);
                }
                // XAPI-00106.
                Key::Display | Key::Description => drop(self.language_map(at)?),
                // XAPI-00105.
                Key::ContentType => {
                    if let Some(text) = self.text(at)? {
                        let is_media_type = is_media_type(&text);
                        // What is no media type is reported as that alone.
                        signs_octets = !is_media_type || text.eq_ignore_ascii_case("application/octet-stream");
                        if !is_media_type {
                            let message = format!("{text:?} is no media type: write one such as text/plain.");
                            self.report(&rules::ATTACHMENT_CONTENT_TYPE, at, message);
                        }
                    }
                }
                // XAPI-00102.
                Key::Length => {
                    if let Some(text) = self.number(at)?
                        && !text
                            .parse()
                            .is_ok_and(|length: f64| length >= 0.0 && length.is_finite() && length.fract() == 0.0)
                    {
                        let message = format!("{text} is no length: give the whole number of octets.");
                        self.report(&rules::ATTACHMENT_LENGTH, at, message);
                    }
                }
                // XAPI-00103; SHA-224, 256, 384 and 512.
                Key::Sha2 => {
                    if let Some(text) = self.text(at)?
                        && !(matches!(text.len(), 56 | 64 | 96 | 128)
                            && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    {
                        let message = format!("{text:?} is no SHA-2: write its hex digits, 64 of them for SHA-256.");
                        self.report(&rules::ATTACHMENT_SHA2, at, message);
                    }
                }
                // XAPI-00104.
                Key::FileUrl => drop(self.iri(&rules::ATTACHMENT_FILE_URL, at)?),
            }
        }
        for (key, rule) in [
            (Key::UsageType, &rules::ATTACHMENT_USAGE_TYPE),
            (Key::Display, &rules::ATTACHMENT_DISPLAY),
            (Key::ContentType, &rules::ATTACHMENT_CONTENT_TYPE),
            (Key::Length, &rules::ATTACHMENT_LENGTH),
            (Key::Sha2, &rules::ATTACHMENT_SHA2),
        ] {
            if !members.has(key) {
                self.report(rule, path, format!("This attachment has no {}: add it.", key.name()));
            }
        }
        // XAPI-00115.
        if is_signature && !signs_octets {
            let message = "A signature is octets: write \"application/octet-stream\".";
            self.report(&rules::ATTACHMENT_SIGNATURE, &path.key("contentType"), message);
        }
        Ok(())
    }
}

/// RFC 6838, 4.2: a type, a slash and a subtype, then parameters.
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(is_part)
    };
    let (essence, _) = text.split_once(';').unwrap_or((text, ""));
    essence.trim_end().split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

#[cfg(test)]
mod tests {
    use super::is_media_type;

    #[test]
    fn media_types_have_two_names() {
        for text in ["text/plain", "application/octet-stream", "text/plain; charset=utf-8", "image/svg+xml", "a/b;c"] {
            assert!(is_media_type(text), "{text}");
        }
        for text in ["", "text", "/", "text/", "/plain", "text/plain/x", "te xt/plain", "text/pläin", "text plain"] {
            assert!(!is_media_type(text), "{text}");
        }
    }
}
