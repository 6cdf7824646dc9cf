//! UUIDs in their standard string form (RFC 4122): 8-4-4-4-12 hex digits, any letter case, version and variant.

use ::uuid::Uuid;

/// The UUID; `None` for anything else, `urn:uuid:`, braces and bare hex included.
pub fn parse(text: &str) -> Option<Uuid> {
    // Of the forms that the library knows, only the hyphenated one has this length.
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_the_hyphenated_form_is_a_uuid() {
        for good in ["9dc99b37-e920-4a68-a066-917faca28949", "9DC99B37-E920-FA68-0066-917FACA28949"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "test-12345",
            "9dc99b37e9204a68a066917faca28949",
            "{9dc99b37-e920-4a68-a066-917faca28949}",
            "urn:uuid:9dc99b37-e920-4a68-a066-917faca28949",
            "9dc99b37-e920-4a68-a066-917faca2894g",
            "9dc99b37e-920-4a68-a066-917faca28949",
            "9dc99b37-e920-4a68-a066-917faca2894é",
            "9dc99b37-e920-4a68-a066-917faca2894",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
