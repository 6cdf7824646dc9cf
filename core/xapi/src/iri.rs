//! Absolute IRIs (RFC 3987), as far as one can tell them without knowing their scheme.

/// What is wrong with an IRI, or why it is none, as the end of a sentence; `None` if it holds.
///
/// An IRI has a scheme and neither spaces, controls nor any of `<>"{}|\^` and the backtick; `%` begins an escape.
/// Unicode holds, and nothing is asked of what follows the scheme: `course-v1:FUN-MOOC+00002` and `uuid://…` are IRIs.
pub(super) fn find_fault(iri: &str) -> Option<&'static str> {
    find_fault_of_scheme(iri).or_else(|| find_fault_of_bytes(iri.as_bytes()))
}

/// The same of an IRI whose bytes are all harmless.
#[inline]
pub(super) fn find_fault_of_scheme(iri: &str) -> Option<&'static str> {
    let bytes = iri.as_bytes();
    // RFC 3986, 3.1: ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ).
    if bytes.starts_with(b"https:") || bytes.starts_with(b"http:") {
        return None;
    }
    let scheme = bytes.iter().position(|&byte| CLASSES[byte as usize] & SCHEME == 0).unwrap_or(bytes.len());
    if bytes.get(scheme) != Some(&b':') || !bytes[0].is_ascii_alphabetic() {
        return Some("has no scheme: begin it with one, such as https:");
    }
    None
}

/// Whether a byte stands for itself wherever it is; of `!` and `~` it does not tell, so that a vector needs few comparisons.
#[inline(always)]
pub(super) fn is_harmless(byte: u8) -> bool {
    // `<`, `>`, `\`, `^`, `|` and `~` differ in the bits 1, 5 and 6 only.
    (byte > b'"') & (byte < b'{') & (byte != b'%') & (byte != b'`') & (byte & 0x9D != 0x1C)
}

fn find_fault_of_bytes(bytes: &[u8]) -> Option<&'static str> {
    bytes.iter().enumerate().find_map(|(at, &byte)| match CLASSES[byte as usize] {
        FORBIDDEN => Some("has a space, a control character or one of <>\"{}|\\^`: write it as %XX"),
        PERCENT if !is_escape(&bytes[at..]) => Some("has a % without two hex digits: write % itself as %25"),
        // U+0080 to U+009F, the controls beyond ASCII.
        CONTROL_LEAD if bytes.get(at + 1).is_some_and(|&next| next < 0xA0) => {
            Some("has a control character: leave it out")
        }
        _ => None,
    })
}

fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [_, high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

const SCHEME: u8 = 1;
const FORBIDDEN: u8 = 2;
const PERCENT: u8 = 4;
const CONTROL_LEAD: u8 = 8;

/// The class of every byte; 0 is anything that stands for itself behind the scheme only.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.' => SCHEME,
            0..=b' ' | 0x7F | b'<' | b'>' | b'"' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`' => FORBIDDEN,
            b'%' => PERCENT,
            0xC2 => CONTROL_LEAD,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::{find_fault, is_harmless};

    #[test]
    fn iris_of_real_corpora_hold() {
        for iri in [
            "https://w3id.org/xapi/video/verbs/seeked",
            "course-v1:FUN-MOOC+00002+session01",
            "uuid://7d4f3c70-1e79-4243-9b7d-166076ce8bfb",
            "tag:example.org,2024:course/1",
            "http://例え.jp/コース?q=é#読",
            "urn:isbn:0451450523",
            "http://example.org/100%25",
            "http://[::1]/a b".split(' ').next().unwrap(),
            "a:",
        ] {
            assert_eq!(find_fault(iri), None, "{iri}");
        }
    }

    #[test]
    fn a_byte_holds_or_not_wherever_it_stands_and_whatever_is_beside_it() {
        for byte in 0..128 {
            let byte = char::from(byte);
            let holds = byte > ' ' && !"\"%<>\\^`{|}\u{7f}".contains(byte);
            for neighbour in ["z", "!", "~", "é"] {
                for place in 0..20 {
                    let iri = format!("a:{}{byte}{}", neighbour.repeat(place), neighbour.repeat(19 - place));
                    assert_eq!(find_fault(&iri).is_none(), holds, "{iri:?}");
                }
            }
        }
    }

    #[test]
    fn a_harmless_byte_holds_behind_every_scheme_and_hardly_another_does() {
        for byte in 0..=u8::MAX {
            let holds = byte.is_ascii() && find_fault(&format!("a:{}", char::from(byte))).is_none();
            assert_eq!(is_harmless(byte), holds && !b"!~".contains(&byte), "{byte:#x}");
        }
    }

    #[test]
    fn what_is_no_iri_is_told() {
        for iri in ["", ":", "example.org/a", "/a", "1a:b", "é:b", "ex ample:b", "#a:b", "a"] {
            assert!(find_fault(iri).is_some_and(|fault| fault.contains("scheme")), "{iri}");
        }
        for iri in ["a:b c", "a:<b>", "a:\"", "a:{b}", "a:b|c", "a:b\\c", "a:b^", "a:`", "a:\u{7f}", "a:\n"] {
            assert!(find_fault(iri).is_some_and(|fault| fault.contains("space")), "{iri:?}");
        }
        for iri in ["a:%", "a:%4", "a:%4g", "a:100%"] {
            assert!(find_fault(iri).is_some_and(|fault| fault.contains('%')), "{iri}");
        }
        assert!(find_fault("a:b\u{85}").is_some());
        assert_eq!(find_fault("a:b\u{a0}"), None);
    }
}
