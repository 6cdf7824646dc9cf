//! What is counted of a channel, an achievement or a challenge, and what a person is shown of it.

use lyceum_core::family::AggregateState;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::{Event, What};

/// Of a channel, an achievement or a challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Numbers {
    /// Nothing is counted yet.
    #[default]
    Nothing,
    /// Of a channel.
    Channel {
        /// Notifications that were sent.
        sent: u64,
        /// Those that were opened.
        opened: u64,
    },
    /// Of an achievement.
    Achievement {
        /// How often it was unlocked.
        unlocked: u64,
        /// What it was worth to all learners together.
        points: u64,
    },
    /// Of a challenge.
    Challenge {
        /// Learners who joined.
        joined: u64,
        /// Learners who completed it.
        completed: u64,
        /// The best rank of any, from 1.
        best_rank: Option<i32>,
    },
}

impl Numbers {
    /// What one event adds.
    fn of(event: &Event) -> Self {
        match &event.what {
            What::Notification { is_opened, .. } => {
                Self::Channel { sent: u64::from(!is_opened), opened: u64::from(*is_opened) }
            }
            What::Achievement { points, .. } => Self::Achievement { unlocked: 1, points: points.unsigned_abs() },
            What::Challenge { rank, is_completed, .. } => Self::Challenge {
                joined: u64::from(!is_completed),
                completed: u64::from(*is_completed),
                best_rank: *rank,
            },
        }
    }

    /// Counts an event.
    pub fn count(&mut self, event: &Event) {
        self.merge(&Self::of(event));
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Nothing, other) => *self = other.clone(),
            (Self::Channel { sent, opened }, Self::Channel { sent: more_sent, opened: more_opened }) => {
                *sent += more_sent;
                *opened += more_opened;
            }
            (Self::Achievement { unlocked, points }, Self::Achievement { unlocked: more, points: more_points }) => {
                *unlocked += more;
                *points = points.saturating_add(*more_points);
            }
            (
                Self::Challenge { joined, completed, best_rank },
                Self::Challenge { joined: more, completed: more_completed, best_rank: other_rank },
            ) => {
                *joined += more;
                *completed += more_completed;
                *best_rank = best_rank.iter().chain(other_rank).min().copied();
            }
            // One id of one kind has numbers of that kind alone.
            (Self::Channel { .. } | Self::Achievement { .. } | Self::Challenge { .. }, _) => {}
        }
    }
}

impl AggregateState for Numbers {
    fn view(&self, _: &[Option<Self>]) -> Value {
        let rate = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        match self {
            Self::Nothing => json!({}),
            Self::Channel { sent, opened } => {
                json!({"sent": sent, "opened": opened, "open_rate": rate(*opened, *sent)})
            }
            Self::Achievement { unlocked, points } => json!({"unlocked": unlocked, "points": points}),
            Self::Challenge { joined, completed, best_rank } => json!({
                "joined": joined,
                "completed": completed,
                "completion_rate": rate(*completed, *joined),
                "best_rank": best_rank,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Channel;

    fn of(what: What) -> Event {
        Event { user_id: "ada".into(), what }
    }

    fn notification(is_opened: bool) -> Event {
        of(What::Notification { notification_id: "n1".into(), channel: Channel::Push, is_opened })
    }

    fn achievement(points: i64) -> Event {
        of(What::Achievement { achievement_id: "a1".into(), points })
    }

    fn challenge(is_completed: bool, rank: Option<i32>) -> Event {
        of(What::Challenge { challenge_id: "h1".into(), rank, is_completed })
    }

    fn count(events: &[Event]) -> Numbers {
        let mut numbers = Numbers::default();
        events.iter().for_each(|event| numbers.count(event));
        serde_json::from_value(serde_json::to_value(numbers).unwrap()).unwrap()
    }

    #[test]
    fn each_kind_is_counted_and_shown() {
        assert_eq!(count(&[]).view(&[]), json!({}));
        let opened = count(&[notification(false), notification(false), notification(true)]);
        assert_eq!(opened.view(&[]), json!({"sent": 2, "opened": 1, "open_rate": 0.5}));
        assert_eq!(count(&[notification(true)]).view(&[])["open_rate"], Value::Null);
        assert_eq!(count(&[achievement(10), achievement(5)]).view(&[]), json!({"unlocked": 2, "points": 15}));
        let completed = count(&[
            challenge(false, None),
            challenge(false, None),
            challenge(true, Some(3)),
            challenge(true, Some(2)),
        ]);
        let shown = json!({"joined": 2, "completed": 2, "completion_rate": 1.0, "best_rank": 2});
        assert_eq!(completed.view(&[]), shown);
    }

    #[test]
    fn what_two_partitions_counted_is_what_one_would_have_whichever_comes_first() {
        let all = [
            vec![notification(false), notification(true), notification(false)],
            vec![achievement(1), achievement(2), achievement(3)],
            vec![challenge(true, Some(2)), challenge(false, None), challenge(true, Some(7))],
        ];
        for events in all {
            for at in 0..=events.len() {
                let (first, second) = (count(&events[..at]), count(&events[at..]));
                let (mut one, mut other) = (first.clone(), second.clone());
                one.merge(&second);
                other.merge(&first);
                assert_eq!((&one, &other), (&count(&events), &count(&events)), "{at}");
            }
        }
    }
}
