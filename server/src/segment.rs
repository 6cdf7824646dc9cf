//! Ids as segments of paths.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// What stands for itself in a path (RFC 3986, 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Stands before an id that could not be sent otherwise.
const MARK: char = '~';

/// A text in a URL, where it stands for itself.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// An id as one segment of a path. Browsers and other programs leave `.` and `..` out, encoded or not (WHATWG URL, 4.1,
/// "single-dot URL path segment"), so that such an id has a mark before it, and so has one that looks like a marked one.
pub fn segment(id: &str) -> String {
    let text = encode(id);
    if is_marked_or_dots(id) { format!("{MARK}{text}") } else { text }
}

fn is_marked_or_dots(id: &str) -> bool {
    matches!(id.trim_start_matches(MARK), "." | "..")
}

/// An id as [`segment`] wrote it into a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Id(pub(crate) String);

impl From<String> for Id {
    fn from(segment: String) -> Self {
        match segment.strip_prefix(MARK) {
            Some(id) if is_marked_or_dots(id) => Self(id.to_owned()),
            _ => Self(segment),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(id: &str) -> String {
        let url = reqwest::Url::parse(&format!("http://lyceum.example/state/session/{}?tenant=acme", segment(id)));
        let url = url.unwrap();
        let segment = url.path().strip_prefix("/state/session/").unwrap_or_else(|| panic!("{id:?} became {url}"));
        percent_encoding::percent_decode_str(segment).decode_utf8().unwrap().into_owned()
    }

    #[test]
    fn an_id_of_dots_is_sent_as_a_segment_and_read_as_itself() {
        for id in [".", "..", "~.", "~..", "~~..", "...", "~", "~a", "a", ".a", "a/../b", "%2e%2e"] {
            assert_eq!(Id::from(sent(id)), Id(id.to_owned()));
        }
        assert_eq!([".", "..", "~..", "...", "~a"].map(segment), ["~.", "~..", "~~..", "...", "~a"]);
    }

    proptest! {
        #[test]
        fn every_id_is_sent_and_read_as_itself(id in "[~./%a-c\\PC]{1,5}") {
            prop_assert_eq!(Id::from(sent(&id)), Id(id));
        }
    }
}
