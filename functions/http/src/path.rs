//! Paths as they were sent, of what the entrance made of them.
//!
//! An HTTP API of API Gateway hands a path on decoded, all but `%25`; a function URL as it came. Source: what both were seen to hand on,
//! since AWS's guide says neither.

use lyceum_server::http::ROUTES;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a path (RFC 3986, 3.3), and `%`, which begins what is encoded already.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/')
    .remove(b'%');
/// What may stand in a query (RFC 3986, 3.4), as above.
const QUERY: &AsciiSet = &PATH.remove(b'?');

/// A query of which nothing is left that may stand in none.
pub fn query(raw: &str) -> String {
    utf8_percent_encode(raw, QUERY).to_string()
}

/// A path of which nothing is left that may stand in none, for a function URL.
pub fn encoded(raw: &str) -> String {
    let path = utf8_percent_encode(raw, PATH).to_string();
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// The path that was sent to an HTTP API: where a decoded `/` has made several segments of an id, which stands last in its route, they are one
/// again. A `?` in an id is lost for good: the API ends the path there.
pub fn restored(raw: &str) -> String {
    let path = encoded(raw);
    let sent: Vec<&str> = path[1..].split('/').collect();
    let fits = |route: &[&str]| {
        route.len() <= sent.len()
            && route.iter().zip(&sent).all(|(of_route, of_sent)| is_parameter(of_route) || of_route == of_sent)
    };
    let routes = || ROUTES.iter().map(|route| route.path[1..].split('/').collect::<Vec<&str>>());
    if routes().any(|route| route.len() == sent.len() && fits(&route)) {
        return path;
    }
    let ends_with_id = |route: &[&str]| matches!(route.last(), Some(&"{id}" | &"{learner_id}" | &"{survey_id}"));
    let longest = routes().filter(|route| ends_with_id(route) && fits(route)).map(|route| route.len()).max();
    match longest {
        Some(segments) => {
            let (before, id) = sent.split_at(segments - 1);
            format!("/{}/{}", before.join("/"), id.join("%2F"))
        }
        None => path,
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

#[cfg(test)]
mod tests {
    use lyceum_server::segment::{encode, segment};
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    /// What an HTTP API makes of a path: each escape is decoded, but for `%25`.
    fn handed_on(path: &str) -> String {
        let parts: Vec<String> =
            path.split("%25").map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
        parts.join("%25")
    }

    #[test]
    fn a_path_without_ids_stays_as_it_is() {
        for path in ["/", "/health", "/api/dead-letters", "/no/such/path/at/all", "/assets/style-1.css", "/docs/a.b"] {
            assert_eq!((restored(path), encoded(path)), (path.to_owned(), path.to_owned()));
        }
        assert_eq!((restored(""), encoded("")), ("/".to_owned(), "/".to_owned()));
        assert_eq!(encoded("/learners/a%2Fb c"), "/learners/a%2Fb%20c");
    }

    #[test]
    fn an_id_with_slashes_is_one_segment_again_and_a_position_stays_three() {
        assert_eq!(
            restored("/learners/account:https://a.example|ada"),
            "/learners/account:https:%2F%2Fa.example%7Cada"
        );
        assert_eq!(restored("/api/state/session/a/b"), "/api/state/session/a%2Fb");
        assert_eq!(
            restored("/api/dead-letters/nlj.errors.validation/0/7"),
            "/api/dead-letters/nlj.errors.validation/0/7"
        );
        assert_eq!(restored("/events/a/0/7/9"), "/events/a/0/7/9", "a position has no more parts");
    }

    #[test]
    fn nothing_is_left_that_no_uri_takes() {
        for text in ["a b?c#d", "\u{0}\u{7f}", "é|\"<>\\^`{}", "%zz", "//x"] {
            for path in [restored(text), encoded(text), format!("/?{}", query(text))] {
                assert!(path.parse::<axum::http::Uri>().is_ok(), "{path}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_id_is_asked_for_arrives_over_an_http_api(id in "[^?]{1,20}") {
            for route in ["/api/state/session/", "/learners/", "/api/analytics/surveys/"] {
                // The parameter of another route may look like that of this one, and has no more segments.
                let path = format!("{route}{}", segment(&id));
                let arrived = restored(&handed_on(&path));
                let segment = arrived.strip_prefix(route).unwrap_or_else(|| panic!("{path} arrived as {arrived}"));
                prop_assert!(!segment.contains('/'));
                let read = percent_decode_str(segment).decode_utf8().unwrap().into_owned();
                let marked = percent_decode_str(path.strip_prefix(route).unwrap()).decode_utf8().unwrap().into_owned();
                prop_assert_eq!(read, marked);
            }
            prop_assert!(encode(&id).is_ascii());
        }
    }
}
