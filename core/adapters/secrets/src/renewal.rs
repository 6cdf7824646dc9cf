//! When secrets are read again. Pure: it is given the time.

/// The least time between two readings, in milliseconds: a service that refuses for good is asked by every call, and Secrets
/// Manager costs money and has limits.
pub const PAUSE_MS: i64 = 60_000;

/// Why somebody wants to have them read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A service did not accept what they held.
    Refused,
    /// Nothing is known to be wrong; it may just be long ago.
    Age,
}

/// When they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    ttl_ms: i64,
    /// When what is held was read.
    read_ms: i64,
    /// When they were last read again, or could not be; the first reading is none.
    tried_ms: Option<i64>,
}

impl Renewal {
    /// They were read at this time, and hold for that long. The first reading may have been just before a rotation ended, so
    /// that a refusal right behind it has them read again at once.
    pub fn new(ttl_ms: i64, now_ms: i64) -> Self {
        Self { ttl_ms, read_ms: now_ms, tried_ms: None }
    }

    /// Whether they are to be read now.
    pub fn is_due(&self, reason: Reason, now_ms: i64) -> bool {
        // A clock that went back says nothing of how long ago that was.
        let is_past = |since: i64, span: i64| now_ms < since || now_ms - since >= span;
        let may_be_read = self.tried_ms.is_none_or(|tried| is_past(tried, PAUSE_MS));
        may_be_read && (reason == Reason::Refused || is_past(self.read_ms, self.ttl_ms))
    }

    /// Somebody begins to read them.
    pub fn begin(&mut self, now_ms: i64) {
        self.tried_ms = Some(now_ms);
    }

    /// They were read.
    pub fn end(&mut self, now_ms: i64) {
        self.read_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::Reason::{Age, Refused};
    use super::*;

    const TTL_MS: i64 = 3_600_000;
    const T: i64 = 1_795_687_200_000;

    #[test]
    fn a_refusal_has_them_read_at_once_and_then_once_a_minute() {
        let mut renewal = Renewal::new(TTL_MS, T);
        assert!(renewal.is_due(Refused, T));
        renewal.begin(T);
        renewal.end(T + 20);
        assert!(!renewal.is_due(Refused, T + 1_000) && !renewal.is_due(Refused, T + PAUSE_MS - 1));
        assert!(renewal.is_due(Refused, T + PAUSE_MS));
    }

    #[test]
    fn without_a_refusal_they_are_read_when_they_are_old() {
        let mut renewal = Renewal::new(TTL_MS, T);
        assert!(!renewal.is_due(Age, T + TTL_MS - 1));
        assert!(renewal.is_due(Age, T + TTL_MS));
        renewal.begin(T + TTL_MS);
        renewal.end(T + TTL_MS);
        assert!(!renewal.is_due(Age, T + TTL_MS + PAUSE_MS));
    }

    #[test]
    fn what_cannot_be_read_is_tried_again_a_minute_later() {
        let mut renewal = Renewal::new(TTL_MS, T);
        let late = T + 2 * TTL_MS;
        renewal.begin(late);
        assert!(!renewal.is_due(Age, late + PAUSE_MS - 1) && !renewal.is_due(Refused, late + PAUSE_MS - 1));
        assert!(renewal.is_due(Age, late + PAUSE_MS) && renewal.is_due(Refused, late + PAUSE_MS));
    }

    #[test]
    fn a_clock_that_goes_back_stops_no_reading() {
        let mut renewal = Renewal::new(TTL_MS, T);
        renewal.begin(T);
        renewal.end(T);
        let back = T - 86_400_000;
        assert!(renewal.is_due(Refused, back) && renewal.is_due(Age, back));
    }
}
