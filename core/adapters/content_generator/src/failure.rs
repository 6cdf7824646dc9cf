//! What an error of the API means, and how long to wait before the next attempt. Pure.
//!
//! Sources: the Messages API's page on errors; HTTP semantics (RFC 9110, 10.2.3 "Retry-After"); `x-should-retry` and `retry-after-ms` as the
//! API's own clients obey them.

use std::time::{Duration, SystemTime};

use lyceum_core::ports::generator::{TOO_LARGE, WRONG_REQUEST};

use crate::events::ApiError;

/// Attempts of one call, the first among them.
pub(crate) const ATTEMPTS: u32 = 3;

/// What the API wants to be waited for is obeyed up to this; a longer wait is a redelivery's.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// What is to be done about an answer that is no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same may succeed in a moment.
    Again,
    /// It may succeed once something has changed: the event is redelivered.
    Later,
    /// It never will: a reason of the port.
    Never(&'static str),
}

/// What an error means, by its status or, in a stream that began well, by its kind.
pub(crate) fn judge(status: u16, error: &ApiError, should_retry: Option<bool>) -> Verdict {
    match should_retry {
        Some(true) => return Verdict::Again,
        Some(false) => return without_retry(status, error),
        None => {}
    }
    match status_of(status, error) {
        408 | 409 | 429 | 500.. => Verdict::Again,
        _ => without_retry(status, error),
    }
}

fn without_retry(status: u16, error: &ApiError) -> Verdict {
    match status_of(status, error) {
        // A limit of what may be spent is told as a wrong request, too: it is the account's, and passes.
        400 | 422 if !is_of_account(error) => Verdict::Never(WRONG_REQUEST),
        413 => Verdict::Never(TOO_LARGE),
        _ => Verdict::Later,
    }
}

fn is_of_account(error: &ApiError) -> bool {
    let message = error.message.to_ascii_lowercase();
    error.kind == "billing_error"
        || ["credit balance", "spend limit", "usage limit"].iter().any(|words| message.contains(words))
}

/// An error within a stream has the status that it would have had alone.
fn status_of(status: u16, error: &ApiError) -> u16 {
    if status != 200 {
        return status;
    }
    match &*error.kind {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "conflict_error" => 409,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    }
}

/// Whether the key was refused, rather than what was asked.
pub(crate) fn is_of_credentials(status: u16, error: &ApiError) -> bool {
    matches!(status_of(status, error), 401 | 403)
}

/// How long to wait before attempt `made` + 1, `None` where that is longer than anybody waits here. `jitter` is from 0 to 1.
pub(crate) fn wait(made: u32, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
    match asked {
        Some(asked) if asked > LONGEST_WAIT => None,
        Some(asked) if !asked.is_zero() => Some(asked),
        _ => {
            let doubled = FIRST_WAIT.saturating_mul(1 << made.saturating_sub(1).min(10)).min(LONGEST_BACKOFF);
            Some(doubled.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0))
        }
    }
}

/// How long an answer asks to be waited for: by `retry-after-ms`, else by `retry-after`, in seconds or as a date.
pub(crate) fn asked_wait(header: impl Fn(&str) -> Option<String>, now: SystemTime) -> Option<Duration> {
    let number = |text: String| text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    let in_ms = header("retry-after-ms").and_then(number).map(|ms| ms / 1_000.0);
    let seconds = in_ms.or_else(|| header("retry-after").and_then(number));
    let by_date = || {
        let date = httpdate::parse_http_date(header("retry-after")?.trim()).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    };
    seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).or_else(by_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: &str, message: &str) -> ApiError {
        ApiError { kind: kind.into(), message: message.into() }
    }

    #[test]
    fn what_passes_is_tried_again_what_a_person_has_to_change_is_kept_and_the_rest_fails_for_good() {
        let none = ApiError::default();
        for status in [408, 409, 429, 500, 503, 504, 529] {
            assert_eq!(judge(status, &none, None), Verdict::Again, "{status}");
            assert_eq!(judge(status, &none, Some(false)), Verdict::Later, "{status}");
        }
        for status in [401, 402, 403, 404, 301, 418] {
            assert_eq!(judge(status, &none, None), Verdict::Later, "{status}");
        }
        assert_eq!(judge(400, &none, None), Verdict::Never(WRONG_REQUEST));
        assert_eq!(judge(413, &none, None), Verdict::Never(TOO_LARGE));
        assert_eq!(judge(400, &none, Some(true)), Verdict::Again);
        for message in ["Your credit balance is too low", "You have reached your spend limit"] {
            assert_eq!(judge(400, &error("invalid_request_error", message), None), Verdict::Later, "{message}");
        }
    }

    #[test]
    fn an_error_within_a_stream_means_what_its_status_would() {
        assert_eq!(judge(200, &error("overloaded_error", ""), None), Verdict::Again);
        assert_eq!(judge(200, &error("rate_limit_error", ""), None), Verdict::Again);
        assert_eq!(judge(200, &error("a_new_error", ""), None), Verdict::Again);
        assert_eq!(judge(200, &error("invalid_request_error", ""), None), Verdict::Never(WRONG_REQUEST));
        assert_eq!(judge(200, &error("request_too_large", ""), None), Verdict::Never(TOO_LARGE));
        assert_eq!(judge(200, &error("permission_error", ""), None), Verdict::Later);
        assert!(is_of_credentials(200, &error("authentication_error", "")));
        assert!(is_of_credentials(403, &ApiError::default()) && !is_of_credentials(429, &ApiError::default()));
    }

    #[test]
    fn a_wait_that_is_asked_for_is_obeyed_up_to_a_minute_and_else_doubles_up_to_eight_seconds() {
        let secs = Duration::from_secs;
        assert_eq!(wait(1, Some(secs(7)), 0.5), Some(secs(7)));
        assert_eq!(wait(1, Some(secs(60)), 0.5), Some(secs(60)));
        assert_eq!(wait(1, Some(secs(61)), 0.5), None);
        assert_eq!(wait(1, Some(Duration::ZERO), 0.0), Some(FIRST_WAIT));
        assert_eq!(wait(1, None, 1.0), Some(Duration::from_millis(375)));
        assert_eq!(wait(2, None, 0.0), Some(secs(1)));
        assert_eq!(wait(9, None, 0.0), Some(LONGEST_BACKOFF));
    }

    #[test]
    fn a_wait_is_told_in_milliseconds_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_355_600);
        let asked = |headers: &[(&str, &str)]| {
            let header = |name: &str| headers.iter().find(|(of, _)| *of == name).map(|(_, text)| (*text).to_owned());
            asked_wait(header, now)
        };
        assert_eq!(asked(&[("retry-after-ms", "1500"), ("retry-after", "9")]), Some(Duration::from_millis(1_500)));
        assert_eq!(asked(&[("retry-after", "9")]), Some(Duration::from_secs(9)));
        assert_eq!(asked(&[("retry-after", "Sun, 01 Mar 2026 09:00:30 GMT")]), Some(Duration::from_secs(30)));
        assert_eq!(asked(&[("retry-after", "Sun, 01 Mar 2026 08:00:00 GMT")]), Some(Duration::ZERO));
        for nothing in ["soon", "-1", "NaN", ""] {
            assert_eq!(asked(&[("retry-after", nothing)]), None, "{nothing}");
        }
        assert_eq!(asked(&[("retry-after", "1e300")]), Some(Duration::MAX));
    }
}
