//! Subscription: a course that is done gets a distribution, and one that is deployed its address.
//!
//! It answers `course.generation.completed` with `distribution.created`, which staging answers with `course.deployed.staging`, and that
//! with `distribution.updated`; nobody answers that, so that it ends.

use lyceum_catalog::distribution::DISTRIBUTIONS;
pub use lyceum_catalog::distribution::INTAKE;
use lyceum_core::effects::Reaction;
use lyceum_core::family::{EnvelopeOf, FollowUp, Occurrence, TypedEvent};
use lyceum_core::follow_up::{Answer, answer};
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::{Fields, MAX_SLUG_BYTES, MAX_TEXT_BYTES};
use lyceum_core::formats::statement::field::MAX_ID_BYTES;
use lyceum_core::outcome::{Finding, Refusal};
use lyceum_core::subscription::Subscription;
use serde::Serialize;
use serde_json::json;
use smol_str::{SmolStr, format_smolstr};

/// What is read of a course.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Course {
    /// The course.
    pub course_id: SmolStr,
    /// What happened.
    pub what: What,
}

/// What happened to a course.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `course.generation.completed`
    Completed {
        /// Its title, where it is sent.
        title: Option<String>,
    },
    /// `course.deployed.staging`
    Deployed {
        /// Where it is.
        url: String,
        /// The distribution that it was deployed for, where it was for one.
        distribution_id: Option<SmolStr>,
    },
}

impl TypedEvent for Course {
    type Format = CharterFormat;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let course_id = fields.id("course_id");
        let what = match envelope.event_type {
            "course.generation.completed" => What::Completed { title: fields.optional_text("title", MAX_TEXT_BYTES) },
            _ => {
                let url = fields.location("url");
                What::Deployed { url, distribution_id: fields.optional_id("distribution_id") }
            }
        };
        fields.finish(Self { course_id, what })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.course_id.to_string()
    }
}

/// Distributes courses.
#[derive(Debug)]
pub struct Intake;

impl Reaction for Intake {
    const SUBSCRIPTION: &'static Subscription = &INTAKE;
    type Event = Course;

    fn react(Course { course_id, what }: &Course, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        let (event_type, id, payload) = match what {
            What::Completed { title } => {
                let id = distribution_of(course_id)?;
                let slug = slug(title.as_deref().unwrap_or_default(), course_id);
                let payload = json!({"distribution_id": id, "course_id": course_id, "slug": slug, "title": title});
                ("distribution.created", id, payload)
            }
            What::Deployed { url, distribution_id } => {
                let id = distribution_id.clone().map_or_else(|| distribution_of(course_id), Ok)?;
                let payload = json!({"distribution_id": id, "course_id": course_id, "staging_url": url});
                ("distribution.updated", id, payload)
            }
        };
        let distributed = Answer {
            topic: DISTRIBUTIONS,
            event_type,
            key: id.to_string(),
            source: "distribution",
            target: None,
            payload,
        };
        Ok(answer(at, [distributed]))
    }
}

/// The distribution that a course is given of itself: one, however often it is completed.
fn distribution_of(course_id: &str) -> Result<SmolStr, Refusal> {
    let id = format_smolstr!("course-{course_id}");
    if id.len() <= MAX_ID_BYTES {
        return Ok(id);
    }
    let message = format!(
        "the distribution of this course would have an id of {} bytes, and an id may have {MAX_ID_BYTES}: create it by \
         distribution.created, with an id of its own",
        id.len()
    );
    Refusal::rejected("intake.id", message)
}

/// A name in addresses: what a title has of letters and digits, else what the course's id has of them.
fn slug(title: &str, course_id: &str) -> String {
    let of = |text: &str| {
        let mut slug = String::new();
        for character in text.chars().flat_map(char::to_lowercase) {
            if character.is_ascii_alphanumeric() {
                slug.push(character);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        slug.truncate(MAX_SLUG_BYTES);
        slug.trim_end_matches('-').to_owned()
    };
    [of(title), of(course_id), "course".to_owned()].into_iter().find(|slug| !slug.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_of_the_title_else_of_the_course_and_never_empty() {
        assert_eq!(slug("Rust, für Einsteiger!", "c"), "rust-f-r-einsteiger");
        assert_eq!(slug("日本語", "Course 7"), "course-7");
        assert_eq!(slug("", "日本"), "course");
        assert_eq!(slug(&"ab ".repeat(100), "c").len(), MAX_SLUG_BYTES);
    }

    #[test]
    fn a_course_whose_distribution_could_have_no_id_is_refused_with_what_to_do() {
        assert_eq!(distribution_of("rust").unwrap(), "course-rust");
        assert!(distribution_of(&"x".repeat(MAX_ID_BYTES - 7)).is_ok());
        let refused = distribution_of(&"x".repeat(MAX_ID_BYTES - 6));
        assert!(matches!(refused, Err(Refusal::Rejected { rule: "intake.id", .. })));
    }
}
