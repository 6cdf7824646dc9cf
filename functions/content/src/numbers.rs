//! What is counted of a piece of content, and what a person is shown of it.

use lyceum_core::family::AggregateState;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::{Event, What};

/// Of a piece of content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// How often it was viewed.
    pub views: u64,
    /// Views that say how long they took.
    pub timed_views: u64,
    /// What these took together, milliseconds.
    pub dwell_ms: u64,
    /// Views that went to the end.
    pub to_the_end: u64,
    /// Ratings by how many they give: one to five.
    pub ratings: [u64; 5],
    /// How often it was updated.
    pub updates: u64,
    /// The latest of these.
    pub latest: Option<Update>,
    /// The latest view, milliseconds since 1970 UTC.
    pub last_viewed_ms: Option<i64>,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Update {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// To which version.
    pub version: String,
    /// What is different, its first 200 characters.
    pub change: String,
}

impl Numbers {
    /// Counts an event of that time.
    pub fn count(&mut self, event: &Event, at_ms: i64) {
        match &event.what {
            What::Viewed { dwell_ms, percent } => {
                self.views += 1;
                if let Some(dwell_ms) = dwell_ms {
                    self.timed_views += 1;
                    self.dwell_ms = self.dwell_ms.saturating_add(dwell_ms.unsigned_abs());
                }
                self.to_the_end += u64::from(percent.is_some_and(|percent| percent >= 100.0));
                self.last_viewed_ms = self.last_viewed_ms.max(Some(at_ms));
            }
            What::Rated { rating, .. } => {
                if let Some(ratings) = self.ratings.get_mut((*rating - 1).max(0) as usize) {
                    *ratings += 1;
                }
            }
            What::Updated { version, change } => {
                self.updates += 1;
                let change = change.chars().take(200).collect();
                self.update(Some(Update { at_ms, version: version.to_string(), change }));
            }
        }
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.views += other.views;
        self.timed_views += other.timed_views;
        self.dwell_ms = self.dwell_ms.saturating_add(other.dwell_ms);
        self.to_the_end += other.to_the_end;
        for (own, other) in self.ratings.iter_mut().zip(other.ratings) {
            *own += other;
        }
        self.updates += other.updates;
        self.last_viewed_ms = self.last_viewed_ms.max(other.last_viewed_ms);
        self.update(other.latest.clone());
    }

    /// The later one counts, whichever is counted first.
    fn update(&mut self, update: Option<Update>) {
        if update > self.latest {
            self.latest = update;
        }
    }
}

impl AggregateState for Numbers {
    fn view(&self, _: &[Option<Self>]) -> Value {
        let ratings: u64 = self.ratings.iter().sum();
        let stars: u64 = (1..).zip(self.ratings).map(|(stars, count)| stars * count).sum();
        let mean = |sum: u64, of: u64| (of > 0).then(|| sum as f64 / of as f64);
        json!({
            "views": self.views,
            "mean_dwell_ms": mean(self.dwell_ms, self.timed_views).map(f64::round),
            "to_the_end": self.to_the_end,
            "to_the_end_rate": mean(self.to_the_end, self.views),
            "ratings": {"count": ratings, "mean": mean(stars, ratings), "by_stars": self.ratings},
            "updates": self.updates,
            "latest_version": self.latest.as_ref().map(|update| &update.version),
            "latest_change": self.latest.as_ref().map(|update| &update.change),
            "last_viewed": self.last_viewed_ms.map(UtcTime::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(what: What) -> Event {
        Event { content_id: "c1".into(), what }
    }

    fn viewed(dwell_ms: Option<i64>, percent: Option<f64>) -> Event {
        of(What::Viewed { dwell_ms, percent })
    }

    fn rated(rating: i32) -> Event {
        of(What::Rated { rating, comment: None })
    }

    fn updated(version: &str) -> Event {
        of(What::Updated { version: version.into(), change: "x".repeat(300) })
    }

    fn count(events: &[(Event, i64)]) -> Numbers {
        let mut numbers = Numbers::default();
        events.iter().for_each(|(event, at_ms)| numbers.count(event, *at_ms));
        numbers
    }

    fn events() -> [(Event, i64); 8] {
        [
            (viewed(Some(1_000), Some(100.0)), 3_000),
            (viewed(Some(2_000), Some(99.9)), 1_000),
            (viewed(None, None), 2_000),
            (rated(5), 1),
            (rated(1), 2),
            (rated(5), 3),
            (updated("3"), 30),
            (updated("2"), 20),
        ]
    }

    #[test]
    fn a_piece_of_content_is_counted_and_shown() {
        assert_eq!(Numbers::default().view(&[])["ratings"]["mean"], Value::Null);
        let counted: Numbers = serde_json::from_value(serde_json::to_value(count(&events())).unwrap()).unwrap();
        let shown = json!({
            "views": 3, "mean_dwell_ms": 1500.0, "to_the_end": 1, "to_the_end_rate": 1.0 / 3.0,
            "ratings": {"count": 3, "mean": 11.0 / 3.0, "by_stars": [1, 0, 0, 0, 2]},
            "updates": 2, "latest_version": "3", "latest_change": "x".repeat(200),
            "last_viewed": "1970-01-01T00:00:03Z",
        });
        assert_eq!(counted.view(&[]), shown);
    }

    #[test]
    fn what_two_partitions_counted_is_what_one_would_have_whichever_comes_first() {
        let (events, whole) = (events(), count(&events()));
        for at in 0..=events.len() {
            let (first, second) = (count(&events[..at]), count(&events[at..]));
            let (mut one, mut other) = (first.clone(), second.clone());
            one.merge(&second);
            other.merge(&first);
            assert_eq!((&one, &other), (&whole, &whole), "{at}");
        }
    }
}
