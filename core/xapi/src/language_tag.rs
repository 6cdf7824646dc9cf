//! Language tags (RFC 5646, 2.1): the sequence and lengths of the subtags, not whether they are registered.

/// Whether the tag is well-formed. Primary tags of four letters and `x-…` hold.
pub(super) fn is_well_formed(tag: &str) -> bool {
    // The tags of nearly every map.
    if let [a, b] | [a, b, b'-', _, _] = tag.as_bytes()
        && a.is_ascii_alphabetic()
        && b.is_ascii_alphabetic()
        && tag.bytes().skip(3).all(|byte| byte.is_ascii_alphabetic())
    {
        return true;
    }
    IRREGULAR.iter().any(|irregular| irregular.eq_ignore_ascii_case(tag)) || follows_the_grammar(tag)
}

/// RFC 5646, 2.1: the grandfathered tags that the grammar of a langtag would not let through.
const IRREGULAR: [&str; 17] = [
    "en-GB-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-BE-FR",
    "sgn-BE-NL",
    "sgn-CH-DE",
];

fn follows_the_grammar(tag: &str) -> bool {
    let is_alpha = |subtag: &str| subtag.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_alphanumeric = |subtag: &str| subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_digit = |subtag: &str| subtag.bytes().all(|byte| byte.is_ascii_digit());
    let is_private = |subtag: &str| matches!(subtag.len(), 1..=8) && is_alphanumeric(subtag);
    let is_variant = |subtag: &str| match subtag.len() {
        5..=8 => is_alphanumeric(subtag),
        4 => is_alphanumeric(subtag) && subtag.as_bytes()[0].is_ascii_digit(),
        _ => false,
    };

    let mut subtags = tag.split('-').peekable();
    let primary = subtags.next().unwrap_or_default();
    if !primary.eq_ignore_ascii_case("x") {
        if !matches!(primary.len(), 2..=8) || !is_alpha(primary) {
            return false;
        }
        // Up to three extlangs, and only behind a primary tag of two or three letters.
        let extlangs = if primary.len() <= 3 { 3 } else { 0 };
        for _ in 0..extlangs {
            subtags.next_if(|subtag| subtag.len() == 3 && is_alpha(subtag));
        }
        subtags.next_if(|script| script.len() == 4 && is_alpha(script));
        subtags.next_if(|region| match region.len() {
            2 => is_alpha(region),
            3 => is_digit(region),
            _ => false,
        });
        // RFC 5646, 2.2.5 and 2.2.6: no variant and no singleton twice.
        let mut variants: Vec<&str> = Vec::new();
        while let Some(variant) = subtags.next_if(|subtag| is_variant(subtag)) {
            if variants.iter().any(|earlier| earlier.eq_ignore_ascii_case(variant)) {
                return false;
            }
            variants.push(variant);
        }
        let mut singletons = 0u64;
        while let Some(singleton) = subtags.next_if(|subtag| subtag.len() == 1 && !subtag.eq_ignore_ascii_case("x")) {
            let Some(digit) = char::from(singleton.as_bytes()[0]).to_digit(36) else { return false };
            if singletons & (1 << digit) != 0 {
                return false;
            }
            singletons |= 1 << digit;
            let mut length = 0;
            while subtags.next_if(|subtag| subtag.len() > 1 && is_private(subtag)).is_some() {
                length += 1;
            }
            if length == 0 {
                return false;
            }
        }
        match subtags.next() {
            None => return true,
            Some(subtag) if subtag.eq_ignore_ascii_case("x") => {}
            Some(_) => return false,
        }
    }
    subtags.peek().is_some() && subtags.all(is_private)
}

#[cfg(test)]
mod tests {
    use super::is_well_formed;

    #[test]
    fn tags_of_every_shape_hold() {
        for tag in [
            "de",
            "EN",
            "cmn",
            "ase",
            "de-DE",
            "en-us",
            "es-MX",
            "es-419",
            "zh-Hant",
            "sr-Latn-RS",
            "zh-cmn-Hans-CN",
            "zh-gan-yue-cmn",
            "sl-rozaj-biske",
            "de-CH-1901",
            "de-1996",
            "hy-Latn-IT-arevela",
            "en-a-bbb-x-a-ccc",
            "de-a-value",
            "en-u-attr-co-phonebk-t-de",
            "x-whatever",
            "de-x-1",
            "abcd",
            "abcdefgh",
            "i-klingon",
            "I-DEFAULT",
            "en-GB-oed",
            "sgn-BE-FR",
            "zh-min-nan",
            "art-lojban",
            "de-0-abc",
        ] {
            assert!(is_well_formed(tag), "{tag}");
        }
    }

    #[test]
    fn tags_of_no_shape_do_not() {
        for tag in [
            "",
            "e",
            "en_US",
            "en-",
            "-en",
            "en--US",
            "12",
            "e1",
            "en-1",
            "en-US-",
            "abcdefghi",
            "en-abcdefghi",
            "de-419-DE",
            "a-DE",
            "x",
            "x-",
            "de-x",
            "de-x-",
            "de-a",
            "de-a-x-1",
            "de-a-bb-a-cc",
            "de-A-bb-a-cc",
            "de-1901-1901",
            "de-Latn-Cyrl",
            "zh-aaa-bbb-ccc-ddd",
            "abcd-ext",
            "en us",
            "é",
            "de-É",
            "english-language1",
            "i-unknown",
            "x-123456789",
        ] {
            assert!(!is_well_formed(tag), "{tag}");
        }
    }
}
