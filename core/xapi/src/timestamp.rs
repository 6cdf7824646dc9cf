//! Timestamps, checked against the calendar: ISO 8601 date-times for 1.0.3, RFC 3339 to the letter for 2.0.

use std::str::FromStr;

use super::utc_time::{Day, NoTime, UtcTime};
use super::version::Version;

/// A point in time, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp<'t> {
    /// Seconds since 1970-01-01T00:00:00Z; of a leap second, those of the second before it.
    seconds: i64,
    /// The digits of the fraction of a second, as written.
    fraction: &'t str,
    /// Whether it is a second 60.
    is_leap: bool,
    /// Whether it says which zone it is in.
    pub(super) has_zone: bool,
    /// Why RFC 3339 does not know this way of writing it, as the end of a sentence.
    beyond_rfc3339: Option<&'static str>,
}

impl Timestamp<'_> {
    /// The instant, finer digits than milliseconds dropped. A leap second is the last millisecond before its end, since
    /// that is on the day which it belongs to.
    pub(super) fn instant(&self) -> UtcTime {
        if self.is_leap {
            return UtcTime::from_millis(self.seconds * 1000 + 999);
        }
        let digits = self.fraction.bytes().chain(*b"000").take(3);
        UtcTime::from_millis(self.seconds * 1000 + digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    }

    /// The one spelling of the instant, with all its digits.
    pub(super) fn canonical(&self) -> String {
        let leap = if self.is_leap { "+1" } else { "" };
        [&self.seconds.to_string(), leap, ".", self.fraction.trim_end_matches('0')].concat()
    }

    /// Whether a statement of any version may write it so.
    pub(super) fn holds_everywhere(&self) -> bool {
        self.beyond_rfc3339.is_none()
    }

    /// Why that version does not accept how it is written (rule 91 of 2.0: RFC 3339 to the letter), as the end of a sentence.
    pub(super) fn fault_in(&self, version: Version) -> Option<&'static str> {
        self.beyond_rfc3339.filter(|_| version == Version::V2_0)
    }
}

/// Everything that a statement's timestamp may be in 1.0.3, but the zone is required.
impl FromStr for UtcTime {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let timestamp = parse(text).map_err(NoTime)?;
        if !timestamp.has_zone {
            return Err(NoTime("has no zone: add Z or an offset such as +01:00"));
        }
        Ok(timestamp.instant())
    }
}

impl UtcTime {
    /// An instant that is written as RFC 3339 asks, to the letter.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn from_rfc3339(text: &str) -> Result<Self, NoTime> {
        let timestamp = parse(text).map_err(NoTime)?;
        match timestamp.fault_in(Version::V2_0) {
            Some(fault) => Err(NoTime(fault)),
            None if !timestamp.has_zone => Err(NoTime("has no zone: add Z or an offset such as +01:00")),
            None => Ok(timestamp.instant()),
        }
    }
}

/// Reads a timestamp in any way that 1.0.3 accepts; otherwise tells what is wrong, as the end of a sentence.
///
/// Date and time are both extended or both basic; seconds may be missing, and so may the zone, which is UTC then; the
/// decimal sign is a full stop or a comma. The offset is never `-00`. A second 60 holds where leap seconds are, at the
/// end of a UTC day, and an hour 24 as the end of a day.
pub(super) fn parse(text: &str) -> Result<Timestamp<'_>, &'static str> {
    const FORM: &str = "is not written as YYYY-MM-DDThh:mm:ss[.fraction] with Z or an offset";
    let mut rest = Rest(text.as_bytes());
    let fields = match rest.0.split_first_chunk().and_then(|(head, behind)| Some((usual_fields(head)?, behind))) {
        Some((fields, behind)) => {
            rest.0 = behind;
            fields
        }
        None => rest.fields().ok_or(FORM)?,
    };
    let Fields { year, month, day, hour, minute, second, .. } = fields;
    let Some(date) = Day::of_date(year, month, day) else {
        return Err("names a day that the calendar does not have");
    };
    if hour > 24 || minute > 59 || second.is_some_and(|second| second > 60) {
        return Err("names a time that the day does not have");
    }

    let mut beyond_rfc3339 = None;
    let mut note = |is_so: bool, why| beyond_rfc3339 = beyond_rfc3339.or(is_so.then_some(why));
    note(fields.is_basic, "has no separators, which 2.0 does not allow: write YYYY-MM-DDThh:mm:ssZ");
    note(second.is_none(), "has no seconds, which 2.0 does not allow: add :00");
    let mut fraction = "";
    if second.is_some() && matches!(rest.0, [b'.' | b',', ..]) {
        note(rest.0[0] == b',', "has a comma, which 2.0 does not allow: write a full stop");
        let digits = rest.0[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(FORM);
        }
        let at = text.len() - rest.0.len() + 1;
        fraction = &text[at..at + digits];
        rest.0 = &rest.0[1 + digits..];
    }
    let second = second.unwrap_or(0);
    if hour == 24 {
        if minute > 0 || second > 0 || fraction.bytes().any(|digit| digit != b'0') {
            return Err("names a time that the day does not have");
        }
        note(true, "has an hour 24, which 2.0 does not allow: write 00:00:00 of the next day");
    }

    let has_zone = !rest.0.is_empty();
    let offset = match rest.0 {
        [] => {
            note(true, "has no zone, which 2.0 does not allow: add Z or an offset such as +01:00");
            0
        }
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes, has_colon) = match zone {
                [_, _, b':', _, _] => (two_digits(zone), two_digits(&zone[3..]), true),
                [_, _, _, _] => (two_digits(zone), two_digits(&zone[2..]), false),
                [_, _] => (two_digits(zone), Some(0), false),
                _ => return Err(FORM),
            };
            note(!has_colon, "has an offset without a colon, which 2.0 does not allow: write ±hh:mm");
            match (sign, hours, minutes) {
                (b'-', Some(0), Some(0)) => return Err("has the offset -00:00, which means an unknown zone: write Z"),
                (b'-', Some(hours @ 0..24), Some(minutes @ 0..60)) => -(hours * 60 + minutes),
                (_, Some(hours @ 0..24), Some(minutes @ 0..60)) => hours * 60 + minutes,
                _ => return Err("has an offset that is not hh:mm with hours up to 23 and minutes up to 59"),
            }
        }
        _ => return Err(FORM),
    };
    let is_leap = second == 60;
    if is_leap && (hour * 60 + minute - offset).rem_euclid(1440) != 1439 {
        return Err("has a second 60 where there is no leap second: they come at 23:59:60 UTC");
    }
    let of_day = hour * 3600 + (minute - offset) * 60 + second - i64::from(is_leap);
    Ok(Timestamp { seconds: date.start().as_millis() / 1000 + of_day, fraction, is_leap, has_zone, beyond_rfc3339 })
}

/// Date and time as numbers, not yet judged.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: Option<i64>,
    is_basic: bool,
}

/// The fields of `YYYY-MM-DDThh:mm:ss`, as nearly everyone writes them.
fn usual_fields(text: &[u8; 19]) -> Option<Fields> {
    let pair = |at: usize| {
        let (tens, units) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
        (tens < 10 && units < 10).then_some(i64::from(tens) * 10 + i64::from(units))
    };
    let is_usual = text[4] == b'-' && text[7] == b'-' && text[10] == b'T' && text[13] == b':' && text[16] == b':';
    if !is_usual {
        return None;
    }
    let year = pair(0)? * 100 + pair(2)?;
    let (month, day, hour, minute, second) = (pair(5)?, pair(8)?, pair(11)?, pair(14)?, Some(pair(17)?));
    Some(Fields { year, month, day, hour, minute, second, is_basic: false })
}

/// What is not yet read.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn fields(&mut self) -> Option<Fields> {
        let year = self.pair()? * 100 + self.pair()?;
        let is_basic = !self.skips(b'-');
        let month = self.pair()?;
        self.separator(is_basic, b'-')?;
        let day = self.pair()?;
        // RFC 3339, 5.6: in lower case, too.
        if !self.skips(b'T') && !self.skips(b't') {
            return None;
        }
        let hour = self.pair()?;
        self.separator(is_basic, b':')?;
        let minute = self.pair()?;
        let has_second = if is_basic { self.0.first().is_some_and(u8::is_ascii_digit) } else { self.skips(b':') };
        let second = if has_second { Some(self.pair()?) } else { None };
        Some(Fields { year, month, day, hour, minute, second, is_basic })
    }

    #[inline]
    fn pair(&mut self) -> Option<i64> {
        let number = two_digits(self.0)?;
        self.0 = &self.0[2..];
        Some(number)
    }

    #[inline]
    fn skips(&mut self, byte: u8) -> bool {
        let is_there = self.0.first() == Some(&byte);
        self.0 = &self.0[usize::from(is_there)..];
        is_there
    }

    #[inline]
    fn separator(&mut self, is_basic: bool, byte: u8) -> Option<()> {
        (is_basic || self.skips(byte)).then_some(())
    }
}

fn two_digits(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [tens @ b'0'..=b'9', units @ b'0'..=b'9', ..] => Some(i64::from(tens - b'0') * 10 + i64::from(units - b'0')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_instants() {
        for (text, milliseconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2021-11-29T23:09:00.867219+00:00", 1_638_227_340_867),
            ("2000-02-29T12:00:00.5+01:00", 951_822_000_500),
            ("1969-12-31T23:59:59.999Z", -1),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("0000-01-01T00:00:00+23:59", -62_167_305_540_000),
            ("9999-12-31T23:59:59.99Z", 253_402_300_799_990),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_999),
            ("2016-12-31T23:59:60.5Z", 1_483_228_799_999),
            ("2017-01-01T05:29:60+05:30", 1_483_228_799_999),
            ("2024-06-01T00:00:00-23:59", 1_717_286_340_000),
            ("2024-06-01t00:00:00z", 1_717_200_000_000),
            ("2024-05-31T24:00:00Z", 1_717_200_000_000),
            ("2024-05-31T24:00Z", 1_717_200_000_000),
            ("2024-06-01T00:00:00", 1_717_200_000_000),
            ("2024-06-01T00:00", 1_717_200_000_000),
            ("2024-06-01T02:00+02", 1_717_200_000_000),
            ("2024-06-01T02:00:00,25+0200", 1_717_200_000_250),
            ("20240601T000000Z", 1_717_200_000_000),
            ("20240601T000000,125", 1_717_200_000_125),
            ("20240601T0000Z", 1_717_200_000_000),
            ("20240531T2200-0200", 1_717_200_000_000),
        ] {
            assert_eq!(parse(text).map(|timestamp| timestamp.instant().as_millis()), Ok(milliseconds), "{text}");
        }
    }

    #[test]
    fn rfc_3339_holds_in_both_versions() {
        for text in [
            "2024-01-01T00:00:00Z",
            "2024-01-01t00:00:00z",
            "2024-01-01T00:00:00.123456789+01:00",
            "2016-12-31T15:59:60-08:00",
            "9999-12-31T23:59:59Z",
        ] {
            let timestamp = parse(text).unwrap();
            assert!(timestamp.holds_everywhere() && timestamp.has_zone, "{text}");
            assert_eq!(timestamp.fault_in(Version::V2_0), None, "{text}");
        }
    }

    #[test]
    fn the_rest_of_iso_8601_holds_in_1_0_3_only_and_2_0_says_why() {
        for (text, why) in [
            ("2024-01-01T00:00:00+0100", "colon"),
            ("2024-01-01T00:00:00-05", "colon"),
            ("2024-01-01T00:00:00", "no zone"),
            ("2024-01-01T00:00:00.5", "no zone"),
            ("2024-01-01T00:00Z", "no seconds"),
            ("2024-01-01T00:00:00,5Z", "comma"),
            ("2024-01-01T24:00:00Z", "hour 24"),
            ("2024-01-01T24:00:00.000Z", "hour 24"),
            ("20240101T000000Z", "separators"),
            ("20240101T0000+0100", "separators"),
        ] {
            let timestamp = parse(text).unwrap();
            assert_eq!(timestamp.fault_in(Version::V1_0_3), None, "{text}");
            assert!(timestamp.fault_in(Version::V2_0).is_some_and(|fault| fault.contains(why)), "{text}");
        }
    }

    #[test]
    fn one_instant_has_one_spelling_and_a_leap_second_is_no_other_second() {
        let canonical = |text| parse(text).unwrap().canonical();
        for text in ["20240101T0000", "2023-12-31T24:00:00Z", "2024-01-01T01:00:00,000+01:00", "2024-01-01t00:00z"] {
            assert_eq!(canonical(text), canonical("2024-01-01T00:00:00Z"), "{text}");
        }
        let leap = canonical("2016-12-31T23:59:60Z");
        for text in ["2016-12-31T23:59:59Z", "2016-12-31T23:59:59.999Z", "2017-01-01T00:00:00Z"] {
            assert_ne!(canonical(text), leap, "{text}");
        }
        assert_eq!(canonical("2017-01-01T05:29:60.0+05:30"), leap);
    }

    #[test]
    fn what_is_no_timestamp_is_told() {
        for text in [
            "",
            "2024-01-01",
            "20240101",
            "2024-01-01T",
            "2024-01-01T00",
            "2024-W01-1T00:00:00Z",
            "2024-001T00:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01_00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "20240230T000000Z",
            "2024-04-31T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:01Z",
            "2024-01-01T24:01:00Z",
            "2024-01-01T24:00:00.001Z",
            "2024-01-01T25:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T23:59:60+01:00",
            "2024-01-01T00:00:00-00",
            "2024-01-01T00:00:00-0000",
            "2024-01-01T00:00:00-00:00",
            "20240101T000000-0000",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+01:60",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,Z",
            "2024-01-01T00:00:00.",
            "2024-01-01T00:00.5Z",
            "2024-01-01T00:00:Z",
            "2024-01-01T0000Z",
            "20240101T00:00:00Z",
            "202401-01T00:00:00Z",
            "2024-0101T00:00:00Z",
            "20240101T00000Z",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00+1",
            "+2024-01-01T0:0:0Z",
            "+002024-01-01T00:00:00Z",
            "2024-01-01T00:00:00+01:0",
            "2024-01-01T00:00:00é",
            "२०२४-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
