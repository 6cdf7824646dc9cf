//! The events of the engagement family: how their payloads stand in Avro, and what is read of them.

use std::sync::LazyLock;

use lyceum_core::family::{EnvelopeOf, TypedEvent};
use lyceum_core::formats::avro::field::Bounds;
use lyceum_core::formats::avro::{Avro, AvroEvents, BuiltIn, Text};
use lyceum_core::outcome::Finding;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The form of the family's events.
#[derive(Debug)]
pub struct EngagementEvents;

/// A payload; branches and fields as in the newest schema, in its order.
#[derive(Debug, Deserialize)]
pub enum Payload<'a> {
    /// `notification.sent`, `notification.opened`
    #[serde(borrow)]
    Notification(Notification<'a>),
    /// `achievement.unlocked`
    #[serde(borrow)]
    AchievementUnlocked(AchievementUnlocked<'a>),
    /// `challenge.joined`, `challenge.completed`
    #[serde(borrow)]
    Challenge(Challenge<'a>),
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct Notification<'a> {
    #[serde(borrow)]
    pub notification_id: Text<'a>,
    pub channel: Channel,
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct AchievementUnlocked<'a> {
    #[serde(borrow)]
    pub achievement_id: Text<'a>,
    pub points: i64,
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct Challenge<'a> {
    #[serde(borrow)]
    pub challenge_id: Text<'a>,
    pub rank: Option<i32>,
}

/// By what a notification is sent; symbols as in the newest schema, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Channel {
    Email,
    Push,
    InApp,
    Sms,
    /// One that is newer than this release.
    Other,
}

impl Channel {
    /// As the schema writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Push => "push",
            Self::InApp => "in_app",
            Self::Sms => "sms",
            Self::Other => "other",
        }
    }
}

impl AvroEvents for EngagementEvents {
    type Payload<'a> = Payload<'a>;

    const TYPES: &'static [&'static [&'static str]] = &[
        &["notification.sent", "notification.opened"],
        &["achievement.unlocked"],
        &["challenge.joined", "challenge.completed"],
    ];

    fn schemas() -> &'static BuiltIn {
        static SCHEMAS: LazyLock<BuiltIn> =
            LazyLock::new(|| BuiltIn::of(&lyceum_catalog::engagement::SCHEMAS).expect("the schemas are tested"));
        &SCHEMAS
    }

    fn branch(payload: &Payload<'_>) -> usize {
        match payload {
            Payload::Notification(_) => 0,
            Payload::AchievementUnlocked(_) => 1,
            Payload::Challenge(_) => 2,
        }
    }
}

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The sender's id of the learner.
    pub user_id: SmolStr,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `notification.sent`, `notification.opened`
    Notification {
        /// Which one.
        notification_id: SmolStr,
        /// By what it was sent.
        channel: Channel,
        /// Whether it was opened.
        is_opened: bool,
    },
    /// `achievement.unlocked`
    Achievement {
        /// Which one.
        achievement_id: SmolStr,
        /// What it is worth.
        points: i64,
    },
    /// `challenge.joined`, `challenge.completed`
    Challenge {
        /// Which one.
        challenge_id: SmolStr,
        /// The learner's, from 1.
        rank: Option<i32>,
        /// Whether it was completed.
        is_completed: bool,
    },
}

impl TypedEvent for Event {
    type Format = Avro<EngagementEvents>;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut bounds = Bounds::new();
        let what = match &envelope.body.payload {
            Payload::Notification(of) => What::Notification {
                notification_id: bounds.id("notification_id", &of.notification_id),
                channel: of.channel,
                is_opened: envelope.event_type == "notification.opened",
            },
            Payload::AchievementUnlocked(of) => What::Achievement {
                achievement_id: bounds.id("achievement_id", &of.achievement_id),
                points: bounds.at_least("points", of.points, 0),
            },
            Payload::Challenge(of) => What::Challenge {
                challenge_id: bounds.id("challenge_id", &of.challenge_id),
                rank: of.rank.map(|rank| bounds.at_least("rank", rank.into(), 1) as i32),
                is_completed: envelope.event_type == "challenge.completed",
            },
        };
        bounds.finish(Event { user_id: envelope.body.user_id.as_str().into(), what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.user_id.to_string()
    }
}
