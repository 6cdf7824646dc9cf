//! The events of the distribution family, and how each is read from an envelope.

use lyceum_core::family::{AggregateRef, EnvelopeOf, TypedEvent};
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::{Fields, MAX_TEXT_BYTES};
use lyceum_core::outcome::Finding;
use serde::Serialize;
use smol_str::SmolStr;

use crate::state::{DISTRIBUTION, Version, Visibility};

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The distribution, which is also the Kafka key.
    pub distribution_id: SmolStr,
    /// Its course; required where it is created.
    pub course_id: Option<SmolStr>,
    /// What happened.
    pub what: What,
}

/// What happened to a distribution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `distribution.created`
    Created(Listing),
    /// `distribution.updated`
    Updated(Listing),
    /// `distribution.deleted`
    Deleted,
    /// `distribution.published`
    Published,
    /// `distribution.unpublished`
    Unpublished,
    /// `distribution.viewed`
    Viewed,
    /// `distribution.enrollment_clicked`
    Clicked,
    /// `distribution.micro_niche_created`
    Niche {
        /// Whom it is for.
        niche: String,
    },
    /// `distribution.version_bumped`
    Bumped {
        /// The version from now on.
        version: Version,
        /// The version before.
        previous_version: Version,
    },
}

/// How a distribution is listed; what an update lacks stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Listing {
    /// Its name in addresses; required where it is created.
    pub slug: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Who sees it.
    pub visibility: Option<Visibility>,
    /// Where its course can be looked at before it is published.
    pub staging_url: Option<String>,
}

impl Listing {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            slug: fields.optional_slug("slug"),
            title: fields.optional_text("title", MAX_TEXT_BYTES),
            visibility: fields.optional_word("visibility", &Visibility::NAMES).map(Visibility::named),
            staging_url: fields.optional_location("staging_url"),
        }
    }
}

impl TypedEvent for Event {
    type Format = CharterFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let distribution_id = fields.id("distribution_id");
        let course_id = fields.optional_id("course_id");
        let what = match envelope.event_type {
            "distribution.created" => {
                let listing = Listing::read(&mut fields);
                fields.required("course_id", course_id.clone());
                fields.required("slug", listing.slug.clone());
                What::Created(listing)
            }
            "distribution.updated" => What::Updated(Listing::read(&mut fields)),
            "distribution.deleted" => What::Deleted,
            "distribution.published" => What::Published,
            "distribution.unpublished" => What::Unpublished,
            "distribution.viewed" => {
                fields.optional_text("referrer", MAX_TEXT_BYTES);
                What::Viewed
            }
            "distribution.enrollment_clicked" => {
                fields.optional_text("referrer", MAX_TEXT_BYTES);
                fields.optional_text("cta", MAX_TEXT_BYTES);
                What::Clicked
            }
            "distribution.micro_niche_created" => What::Niche { niche: fields.text("niche", 256) },
            _ => {
                let mut version = |name| read_version(&mut fields, name);
                let (version, previous_version) = (version("version"), version("previous_version"));
                let both = version.as_ref().zip(previous_version.as_ref());
                if both.is_some_and(|(version, previous)| version <= previous) {
                    fields.wrong_order("version", "version must be higher than previous_version");
                }
                let (version, previous_version) = (version.unwrap_or_default(), previous_version.unwrap_or_default());
                What::Bumped { version, previous_version }
            }
        };
        fields.finish(Event { distribution_id, course_id, what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.distribution_id.to_string()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: DISTRIBUTION, id: self.distribution_id.clone() }]
    }
}

/// A version; `None` where a finding says what is wrong with it.
fn read_version(fields: &mut Fields<'_>, name: &str) -> Option<Version> {
    let Some(value) = fields.member(name) else {
        fields.required::<()>(name, None);
        return None;
    };
    let version = value.as_u64().map(|number| number.to_string()).or_else(|| value.as_str().map(str::to_owned));
    let version = version.and_then(|text| text.parse().ok());
    if version.is_none() {
        fields.wrong_type(name, "a version of one to four numbers, \"2\" or \"1.4.0\", or a whole number");
    }
    version
}
