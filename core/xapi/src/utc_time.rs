//! Instants and days: the one way in which a time is read, written and counted.
//!
//! Every number of milliseconds is an instant, whatever a date library can shift: the last second of 9999 in a western
//! zone has a day of its own, and no conversion needs a stand-in.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

const MS_A_DAY: i64 = 86_400_000;

/// A point in time, to the millisecond. Written it is RFC 3339 in UTC with as many digits as it needs, `{:.3}` with three
/// and `{:.0}` with none; a year beyond 9999 or before 0 has a sign and six digits (ISO 8601's expanded form).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(i64);

impl UtcTime {
    /// The instant so many milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Its day in UTC.
    pub const fn day(self) -> Day {
        Day(self.0.div_euclid(MS_A_DAY))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.rem_euclid(MS_A_DAY);
        let (second, fraction) = (of_day / 1000, of_day % 1000);
        write!(f, "{}T{:02}:{:02}:{:02}", self.day(), second / 3600, second / 60 % 60, second % 60)?;
        let digits = format!("{fraction:03}");
        let digits = match f.precision() {
            Some(precision) => &digits[..precision.min(3)],
            None => digits.trim_end_matches('0'),
        };
        let point = if digits.is_empty() { "" } else { "." };
        write!(f, "{point}{digits}Z")
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is no instant, as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoTime(pub(super) &'static str);

/// A UTC day. Written it is `2021-11-29`; a year beyond 9999 or before 0 as that of an [`UtcTime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day so many days later.
    #[must_use]
    pub const fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Its first instant.
    pub const fn start(self) -> UtcTime {
        UtcTime(self.0.saturating_mul(MS_A_DAY))
    }

    /// The day of that date in the proleptic Gregorian calendar; `None` where the calendar has no such day.
    pub(super) fn of_date(year: i64, month: i64, day: i64) -> Option<Self> {
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        // Years that begin in March end with the leap day, and their months before it alternate regularly.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        Some(Self(year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468))
    }

    /// Year, month and day of the month.
    fn date(self) -> (i64, i64, i64) {
        // Counted from 0000-03-01, so that the leap day ends its year and its cycle of 4, 100 and 400 years.
        let days = self.0 + 719_468;
        let (cycle, of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
        let of_year = of_cycle - (year * 365 + year / 4 - year / 100);
        let month = (of_year * 5 + 2) / 153;
        let day = of_year - (month * 153 + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        (cycle * 400 + year + next_year, month, day)
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

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        match year {
            // In one piece, since the day of every stored statement is written.
            0..=9999 => {
                let digit = |number: i64| b'0' + (number % 10) as u8;
                let [thousands, hundreds, tens] = [year / 1000, year / 100, year / 10].map(digit);
                let (month, day) = ([digit(month / 10), digit(month)], [digit(day / 10), digit(day)]);
                let text = [thousands, hundreds, tens, digit(year), b'-', month[0], month[1], b'-', day[0], day[1]];
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
            _ => write!(f, "{year:+07}-{month:02}-{day:02}"),
        }
    }
}

/// Reads what is written of a day, also one beyond 9999.
impl FromStr for Day {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let read = || {
            let (year, month_and_day) = text.split_at_checked(text.len().checked_sub("-11-29".len())?)?;
            let [b'-', _, _, b'-', _, _] = month_and_day.as_bytes() else { return None };
            let number = |digits: &str| {
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
            };
            let year = match year.split_at_checked(1)? {
                _ if year.len() == 4 => number(year)?,
                ("+", digits) if (6..=9).contains(&digits.len()) => number(digits)?,
                ("-", digits) if (6..=9).contains(&digits.len()) => -number(digits)?,
                _ => return None,
            };
            Self::of_date(year, number(&month_and_day[1..3])?, number(&month_and_day[4..])?)
        };
        read().ok_or(NoTime("is no day of the calendar as 2021-11-29"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = Day(-1);
        assert_eq!(expected.to_string(), "1969-12-31");
        for year in 1970..2370 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    expected = expected.plus(1);
                    assert_eq!(Day::of_date(year, month, day), Some(expected));
                    assert_eq!(expected.date(), (year, month, day));
                }
            }
        }
    }

    #[test]
    fn an_instant_is_written_with_the_digits_that_it_needs_or_that_are_asked_for() {
        for (ms, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_638_227_340_860, "2021-11-29T23:09:00.86Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UtcTime(ms).to_string(), written);
        }
        assert_eq!(format!("{:.3} {:.0}", UtcTime(500), UtcTime(500)), "1970-01-01T00:00:00.500Z 1970-01-01T00:00:00Z");
    }

    #[test]
    fn the_ends_of_the_calendar_keep_their_days() {
        for (text, day) in [
            ("9999-12-31T23:59:59Z", "9999-12-31"),
            ("9999-12-31T23:59:60Z", "9999-12-31"),
            ("9999-12-31T23:59:59-05:00", "+010000-01-01"),
            ("0000-01-01T00:00:00Z", "0000-01-01"),
            ("0000-01-01T00:00:00+01:00", "-000001-12-31"),
            ("2016-12-31T23:59:60Z", "2016-12-31"),
        ] {
            assert_eq!(text.parse::<UtcTime>().unwrap().day().to_string(), day, "{text}");
        }
    }

    #[test]
    fn an_instant_without_a_zone_is_none() {
        let told = |text: &str| text.parse::<UtcTime>().unwrap_err().to_string();
        assert!(told("2026-03-09T09:00:00").contains("zone"));
        assert!(told("2026-03-09").contains("YYYY-MM-DD"));
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in
            ["", "2023-02-29", "2023-2-01", "23-02-01", "+2023-02-01", "2023-02-01Z", "+02023-02-01", "é23-02-01"]
        {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn days_are_read_back_as_they_were_written_whatever_the_millisecond(ms in any::<i64>()) {
            let day = UtcTime(ms).day();
            prop_assert_eq!(day.to_string().parse::<Day>(), Ok(day));
            prop_assert!(day.start().0 <= ms || day.start().0 == i64::MIN);
            prop_assert!(day.plus(1).start() > UtcTime(ms) || day.plus(1).start().0 == i64::MAX);
        }

        #[test]
        fn instants_of_the_calendar_are_read_back_and_agree_with_a_date_library(
            ms in -62_167_219_200_000..253_402_207_200_000_i64
        ) {
            let written = UtcTime(ms).to_string();
            prop_assert_eq!(written.parse::<UtcTime>(), Ok(UtcTime(ms)));
            prop_assert_eq!(written, jiff::Timestamp::from_millisecond(ms).unwrap().to_string());
        }
    }
}
