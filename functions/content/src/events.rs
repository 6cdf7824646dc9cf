//! The events of the content family: how their payloads stand in Avro, and what is read of them.

use std::sync::LazyLock;

use lyceum_core::family::{EnvelopeOf, TypedEvent};
use lyceum_core::formats::avro::field::Bounds;
use lyceum_core::formats::avro::{Avro, AvroEvents, BuiltIn, Text};
use lyceum_core::outcome::Finding;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The form of the family's events.
#[derive(Debug)]
pub struct ContentEvents;

/// A payload; branches and fields as in the newest schema, in its order.
#[derive(Debug, Deserialize)]
pub enum Payload<'a> {
    /// `content.viewed`
    #[serde(borrow)]
    Viewed(Viewed<'a>),
    /// `content.rated`
    #[serde(borrow)]
    Rated(Rated<'a>),
    /// `content.updated`
    #[serde(borrow)]
    Updated(Updated<'a>),
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct Viewed<'a> {
    #[serde(borrow)]
    pub content_id: Text<'a>,
    pub dwell_ms: Option<i64>,
    pub percent: Option<f64>,
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct Rated<'a> {
    #[serde(borrow)]
    pub content_id: Text<'a>,
    pub rating: i32,
    #[serde(borrow)]
    pub comment: Option<Text<'a>>,
}

/// See the schema.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the schema says it")]
pub struct Updated<'a> {
    #[serde(borrow)]
    pub content_id: Text<'a>,
    #[serde(borrow)]
    pub version: Text<'a>,
    #[serde(borrow)]
    pub change: Text<'a>,
}

impl AvroEvents for ContentEvents {
    type Payload<'a> = Payload<'a>;

    const TYPES: &'static [&'static [&'static str]] = &[&["content.viewed"], &["content.rated"], &["content.updated"]];

    fn schemas() -> &'static BuiltIn {
        static SCHEMAS: LazyLock<BuiltIn> =
            LazyLock::new(|| BuiltIn::of(&lyceum_catalog::content::SCHEMAS).expect("the schemas are tested"));
        &SCHEMAS
    }

    fn branch(payload: &Payload<'_>) -> usize {
        match payload {
            Payload::Viewed(_) => 0,
            Payload::Rated(_) => 1,
            Payload::Updated(_) => 2,
        }
    }
}

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Which piece of content.
    pub content_id: SmolStr,
    /// What became of it.
    pub what: What,
}

/// What became of a piece of content.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `content.viewed`
    Viewed {
        /// How long it was looked at, milliseconds.
        dwell_ms: Option<i64>,
        /// How far, 0 to 100.
        percent: Option<f64>,
    },
    /// `content.rated`
    Rated {
        /// 1 to 5.
        rating: i32,
        /// In the learner's words.
        comment: Option<String>,
    },
    /// `content.updated`
    Updated {
        /// Of the content, as its authors name it.
        version: SmolStr,
        /// What is different, for a person.
        change: String,
    },
}

impl TypedEvent for Event {
    type Format = Avro<ContentEvents>;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut bounds = Bounds::new();
        let (content_id, what) = match &envelope.body.payload {
            Payload::Viewed(of) => {
                let dwell_ms = of.dwell_ms.map(|dwell| bounds.at_least("dwell_ms", dwell, 0));
                let percent = of.percent.map(|percent| bounds.between("percent", percent, 0.0, 100.0));
                (&of.content_id, What::Viewed { dwell_ms, percent })
            }
            Payload::Rated(of) => {
                bounds.between("rating", of.rating.into(), 1.0, 5.0);
                let comment = of.comment.as_ref().map(|comment| comment.as_str().to_owned());
                (&of.content_id, What::Rated { rating: of.rating, comment })
            }
            Payload::Updated(of) => {
                let version = bounds.id("version", &of.version);
                (&of.content_id, What::Updated { version, change: of.change.as_str().to_owned() })
            }
        };
        let content_id = bounds.id("content_id", content_id);
        bounds.finish(Event { content_id, what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.content_id.to_string()
    }
}
