//! Timestamps (RFC 3339; for 1.0.3 also ISO 8601's offsets without a colon or minutes), checked against the calendar.

use super::version::Version;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp<'t> {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(super) seconds: i64,
    /// The digits of the fraction of a second, as written.
    pub(super) fraction: &'t str,
    /// Whether its offset is one that only 1.0.3 accepts: `+0100` or `+01`.
    pub(super) is_lenient: bool,
}

impl Timestamp<'_> {
    /// Milliseconds since 1970 UTC, finer digits dropped.
    pub(super) fn milliseconds(&self) -> i64 {
        let digits = self.fraction.bytes().chain(*b"000").take(3);
        self.seconds * 1000 + digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    }

    /// Whether that version accepts how it is written (rule 91 of 2.0: RFC 3339 to the letter).
    pub(super) fn holds_in(&self, version: Version) -> bool {
        version == Version::V1_0_3 || !self.is_lenient
    }
}

/// Reads a timestamp; otherwise tells what is wrong, as the end of a sentence.
///
/// A zone is required, the offset is never `-00`, separators are `-`, `T`, `:` and `.`, and `T` and `Z` are capitals. A
/// second 60 holds where leap seconds are: at the end of a UTC day.
pub(super) fn parse(text: &str) -> Result<Timestamp<'_>, &'static str> {
    const FORM: &str = "is not written as YYYY-MM-DDThh:mm:ss[.fraction] with Z or an offset";
    let bytes = text.as_bytes();
    let (Some(head), Some(rest)) = (bytes.first_chunk::<19>(), bytes.get(19..)) else { return Err(FORM) };
    if [head[4], head[7], head[10], head[13], head[16]] != *b"--T::" {
        return Err(FORM);
    }
    let pair = |at: usize| two_digits(&head[at..]);
    let fields = || Some((pair(0)? * 100 + pair(2)?, pair(5)?, pair(8)?, pair(11)?, pair(14)?, pair(17)?));
    let Some((year, month, day, hour, minute, second)) = fields() else { return Err(FORM) };
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err("names a day that the calendar does not have");
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err("names a time that the day does not have");
    }

    let digits = match rest {
        [b'.', digits @ ..] => digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    if rest.first() == Some(&b'.') && digits == 0 {
        return Err(FORM);
    }
    let zone_at = 19 + if digits > 0 { digits + 1 } else { 0 };
    let (offset, is_lenient) = match &bytes[zone_at..] {
        [] => return Err("has no zone: add Z or an offset such as +01:00"),
        [b'Z'] => (0, false),
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes, is_lenient) = match zone {
                [_, _, b':', _, _] => (two_digits(zone), two_digits(&zone[3..]), false),
                [_, _, _, _] => (two_digits(zone), two_digits(&zone[2..]), true),
                [_, _] => (two_digits(zone), Some(0), true),
                _ => return Err(FORM),
            };
            match (sign, hours, minutes) {
                (b'-', Some(0), Some(0)) => return Err("has the offset -00:00, which means an unknown zone: write Z"),
                (b'-', Some(hours @ 0..24), Some(minutes @ 0..60)) => (-(hours * 60 + minutes), is_lenient),
                (_, Some(hours @ 0..24), Some(minutes @ 0..60)) => (hours * 60 + minutes, is_lenient),
                _ => return Err("has an offset that is not hh:mm with hours up to 23 and minutes up to 59"),
            }
        }
        _ => return Err(FORM),
    };
    if second == 60 && (hour * 60 + minute - offset).rem_euclid(1440) != 1439 {
        return Err("has a second 60 where there is no leap second: they come at 23:59:60 UTC");
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    Ok(Timestamp { seconds, fraction: text.get(20..20 + digits).unwrap_or_default(), is_lenient })
}

fn two_digits(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [tens @ b'0'..=b'9', units @ b'0'..=b'9', ..] => Some(i64::from(tens - b'0') * 10 + i64::from(units - b'0')),
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, for the years 0 to 9999.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March end with the leap day, and their months before it alternate regularly.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
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
            ("9999-12-31T23:59:59.99Z", 253_402_300_799_990),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("2017-01-01T05:29:60+05:30", 1_483_228_800_000),
            ("2024-06-01T00:00:00-23:59", 1_717_286_340_000),
        ] {
            assert_eq!(parse(text).map(|timestamp| timestamp.milliseconds()), Ok(milliseconds), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = days_from_civil(1969, 12, 31);
        assert_eq!(expected, -1);
        for year in 1970..2370 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    expected += 1;
                    assert_eq!(days_from_civil(year, month, day), expected);
                }
            }
        }
    }

    #[test]
    fn offsets_without_a_colon_hold_in_1_0_3_only() {
        for text in ["2024-01-01T00:00:00+0100", "2024-01-01T00:00:00-05"] {
            let timestamp = parse(text).unwrap();
            assert!(timestamp.holds_in(Version::V1_0_3) && !timestamp.holds_in(Version::V2_0), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_told() {
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.5",
            "2024-01-01 00:00:00Z",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "2024-04-31T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00-00",
            "2024-01-01T00:00:00-0000",
            "2024-01-01T00:00:00-00:00",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+01:60",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00Z",
            "20240101T000000Z",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00+1",
            "+2024-01-01T0:0:0Z",
            "2024-01-01T00:00:00+01:0",
            "2024-01-01T00:00:00é",
            "२०२४-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
