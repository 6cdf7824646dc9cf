//! When things happen: in the rhythm of a week, or evenly, as a process of now sends them.

use lyceum_xapi::utc_time::UtcTime;

pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// How much is done in each hour of a working day, UTC.
const HOURS: [u64; 24] = [1, 1, 1, 1, 1, 2, 6, 24, 60, 90, 80, 60, 30, 70, 80, 60, 40, 22, 14, 12, 10, 6, 3, 1];
/// How much on each day of a week, from Monday on.
const DAYS: [u64; 7] = [100, 115, 110, 100, 80, 15, 10];

/// How events are spread over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many events a week, most of them in working hours.
    Weekly(u64),
    /// So many a second, day and night: what is sent as it happens.
    Steady(f64),
}

/// The time of each event by its number.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    from_ms: i64,
    pace: Pace,
    /// Of each hour of a week, how much was done before it.
    before: [u64; 169],
}

impl Calendar {
    pub(crate) fn new(from_ms: i64, pace: Pace) -> Self {
        let mut before = [0; 169];
        for hour in 0..168 {
            before[hour + 1] = before[hour] + DAYS[hour / 24] * HOURS[hour % 24];
        }
        let from_ms = match pace {
            // 1970-01-01 was a Thursday: a week begins on the Monday of `from`.
            Pace::Weekly(_) => from_ms - (from_ms - 4 * DAY_MS).rem_euclid(7 * DAY_MS),
            Pace::Steady(_) => from_ms,
        };
        Self { from_ms, pace, before }
    }

    /// Milliseconds since 1970 UTC; of a later event never earlier.
    pub(crate) fn at_ms(&self, number: u64) -> i64 {
        match self.pace {
            Pace::Steady(rate) => self.from_ms + (number as f64 * 1_000.0 / rate) as i64,
            Pace::Weekly(events) => {
                let events = events.max(1);
                let whole = self.before[168];
                let done = u128::from(number % events) * u128::from(whole) * 1_000_000 / u128::from(events);
                let (done, part) = ((done / 1_000_000) as u64, (done % 1_000_000) as i64);
                let hour = self.before.partition_point(|before| *before <= done) - 1;
                let of_hour = (self.before[hour + 1] - self.before[hour]) as i64;
                let within = ((done - self.before[hour]) as i64 * 1_000_000 + part) * 36 / (of_hour * 10);
                self.from_ms + (number / events) as i64 * 7 * DAY_MS + hour as i64 * HOUR_MS + within
            }
        }
    }
}

/// At that hour of the day of a moment, some days later.
pub(crate) fn at_hour(ms: i64, days: i64, hour: i64) -> i64 {
    UtcTime::from_millis(ms).day().plus(days).start().as_millis() + hour * HOUR_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_event_is_never_earlier_and_a_week_has_as_many_as_asked_for() {
        let from: UtcTime = UtcTime::from_millis(1_704_672_000_000);
        let calendar = Calendar::new(from.as_millis(), Pace::Weekly(5_000));
        let times: Vec<i64> = (0..15_000).map(|number| calendar.at_ms(number)).collect();
        assert!(times.is_sorted());
        assert_eq!(UtcTime::from_millis(times[5_000]).to_string(), "2024-01-15T00:00:00Z");
        let working = times.iter().filter(|at| (7..18).contains(&(*at % DAY_MS / HOUR_MS))).count();
        assert!(working > 12_500, "{working} of 15,000 in working hours");
    }

    #[test]
    fn a_week_begins_on_its_monday() {
        let thursday = 1_704_931_200_000 + 5 * HOUR_MS;
        let first = Calendar::new(thursday, Pace::Weekly(100)).at_ms(0);
        assert_eq!(UtcTime::from_millis(first).to_string(), "2024-01-08T00:00:00Z");
    }

    #[test]
    fn a_steady_pace_has_no_nights() {
        let calendar = Calendar::new(1_000, Pace::Steady(4.0));
        assert_eq!([0, 1, 4].map(|number| calendar.at_ms(number)), [1_000, 1_250, 2_000]);
    }
}
