//! The state machine of distributions: pure.
//!
//! | event | allowed from | becomes | otherwise |
//! |---|---|---|---|
//! | distribution.created | no distribution of that id | draft | `distribution.create.once` |
//! | distribution.updated | any but deleted | as before | `distribution.update.known` |
//! | distribution.published | draft, unpublished | published | `distribution.publish.from-draft-or-unpublished` |
//! | distribution.unpublished | published | unpublished | `distribution.unpublish.from-published` |
//! | distribution.deleted | unpublished | deleted | `distribution.delete.from-unpublished` |
//! | distribution.viewed, distribution.enrollment_clicked | any but deleted | as before | `distribution.count.known` |
//! | distribution.micro_niche_created | any but deleted | as before | `distribution.niche.known` |
//! | distribution.version_bumped | any but deleted, of the version before, or of none yet | as before | `distribution.version.known`, `distribution.version.previous` |
//! | any | a distribution of the same course, where it names one | | `distribution.same-course` |

use std::collections::BTreeSet;

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::Refusal;
use lyceum_core::states::{Changes, States};

use crate::events::{Event, Listing, What};
use crate::state::{Distribution, Status};

/// Decides.
pub fn decide(
    states: &States<'_, Distribution>,
    event: &Event,
    at: &Occurrence,
) -> Result<Decision<Distribution>, Refusal> {
    let id = &event.distribution_id;
    let before = states.get::<Distribution>(id)?.cloned();
    let mut distribution = step(before, event)?;
    distribution.changed_at_ms = at.occurred_at_ms;
    let changes = Changes::new().put(id.clone(), distribution);
    Ok(Decision { changes, follow_ups: Vec::new(), anomalies: Vec::new() })
}

fn step(before: Option<Distribution>, event: &Event) -> Result<Distribution, Refusal> {
    use Status::{Deleted, Draft, Published, Unpublished};
    const KNOWN: &[Status] = &[Draft, Published, Unpublished];
    let (from, rule): (&[Status], _) = match &event.what {
        What::Created(listing) => return create(before, event, listing),
        What::Updated(_) => (KNOWN, "distribution.update.known"),
        What::Published => (&[Draft, Unpublished], "distribution.publish.from-draft-or-unpublished"),
        What::Unpublished => (&[Published], "distribution.unpublish.from-published"),
        What::Deleted => (&[Unpublished], "distribution.delete.from-unpublished"),
        What::Viewed | What::Clicked => (KNOWN, "distribution.count.known"),
        What::Niche { .. } => (KNOWN, "distribution.niche.known"),
        What::Bumped { .. } => (KNOWN, "distribution.version.known"),
    };
    let id = &event.distribution_id;
    let Some(mut distribution) = before else {
        return Refusal::rejected(rule, format!("distribution {id} was not created"));
    };
    if let Some(course_id) = event.course_id.as_ref().filter(|course_id| **course_id != distribution.course_id) {
        let message = format!("distribution {id} is of course {}, not of {course_id}", distribution.course_id);
        return Refusal::rejected("distribution.same-course", message);
    }
    if !from.contains(&distribution.status) {
        return Refusal::rejected(rule, format!("distribution {id} is {}", distribution.status.name()));
    }
    match &event.what {
        What::Created(_) => {}
        What::Updated(listing) => distribution.list(listing.clone()),
        What::Published => distribution.status = Published,
        What::Unpublished => distribution.status = Unpublished,
        What::Deleted => distribution.status = Deleted,
        What::Viewed => distribution.views += 1,
        What::Clicked => distribution.clicks += 1,
        What::Niche { niche } => {
            distribution.niches.insert(niche.clone());
        }
        What::Bumped { version, previous_version } => {
            if let Some(current) = distribution.version.as_ref().filter(|current| *current != previous_version) {
                let message = format!("distribution {id} has version {current}, not {previous_version}");
                return Refusal::rejected("distribution.version.previous", message);
            }
            distribution.version = Some(version.clone());
        }
    }
    Ok(distribution)
}

fn create(before: Option<Distribution>, event: &Event, listing: &Listing) -> Result<Distribution, Refusal> {
    if let Some(before) = before {
        let message =
            format!("distribution {} was created before; it is {}", event.distribution_id, before.status.name());
        return Refusal::rejected("distribution.create.once", message);
    }
    let mut distribution = Distribution {
        status: Status::Draft,
        course_id: event.course_id.clone().unwrap_or_default(),
        slug: String::new(),
        title: None,
        visibility: None,
        staging_url: None,
        niches: BTreeSet::new(),
        version: None,
        views: 0,
        clicks: 0,
        changed_at_ms: 0,
    };
    distribution.list(listing.clone());
    Ok(distribution)
}

impl Distribution {
    /// Takes over what is told.
    fn list(&mut self, Listing { slug, title, visibility, staging_url }: Listing) {
        self.slug = slug.unwrap_or_else(|| std::mem::take(&mut self.slug));
        self.title = title.or_else(|| self.title.take());
        self.visibility = visibility.or(self.visibility);
        self.staging_url = staging_url.or_else(|| self.staging_url.take());
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::family::AggregateState;
    use lyceum_testing::decide::decide_each;

    use super::*;
    use crate::state::{DISTRIBUTION, Version};

    fn event(what: What) -> Event {
        let course_id = matches!(what, What::Created(_)).then(|| "rust".into());
        Event { distribution_id: "d".into(), course_id, what }
    }

    fn run(events: impl IntoIterator<Item = Event>) -> Result<Distribution, &'static str> {
        decide_each(events, |_| (DISTRIBUTION, "d".into()), decide)
    }

    fn created() -> What {
        What::Created(Listing { slug: Some("rust".to_owned()), ..Listing::default() })
    }

    fn bumped(version: &str, previous_version: &str) -> What {
        let read = |text: &str| text.parse().expect("a version");
        What::Bumped { version: read(version), previous_version: read(previous_version) }
    }

    /// Behind no event at all, and then behind those that lead to each status.
    fn each(what: &What) -> [Result<Status, &'static str>; 5] {
        let way = [created(), What::Published, What::Unpublished, What::Deleted];
        std::array::from_fn(|length| {
            let whats = way[..length].iter().chain([what]);
            run(whats.cloned().map(event)).map(|distribution| distribution.status)
        })
    }

    const DRAFT: Result<Status, &str> = Ok(Status::Draft);
    const PUBLISHED: Result<Status, &str> = Ok(Status::Published);
    const UNPUBLISHED: Result<Status, &str> = Ok(Status::Unpublished);

    #[test]
    fn a_distribution_is_created_once() {
        let no = Err("distribution.create.once");
        assert_eq!(each(&created()), [DRAFT, no, no, no, no]);
    }

    #[test]
    fn what_is_in_draft_or_unpublished_is_published_and_what_is_published_unpublished() {
        let no = Err("distribution.publish.from-draft-or-unpublished");
        assert_eq!(each(&What::Published), [no, PUBLISHED, no, PUBLISHED, no]);
        let no = Err("distribution.unpublish.from-published");
        assert_eq!(each(&What::Unpublished), [no, no, UNPUBLISHED, no, no]);
    }

    #[test]
    fn only_what_is_unpublished_is_deleted() {
        let no = Err("distribution.delete.from-unpublished");
        assert_eq!(each(&What::Deleted), [no, no, no, Ok(Status::Deleted), no]);
    }

    #[test]
    fn views_clicks_niches_versions_and_updates_are_taken_until_it_is_deleted() {
        let update = || What::Updated(Listing { title: Some("Rust".to_owned()), ..Listing::default() });
        let niche = || What::Niche { niche: "nurses".to_owned() };
        for (what, rule) in [
            (update(), "distribution.update.known"),
            (What::Viewed, "distribution.count.known"),
            (What::Clicked, "distribution.count.known"),
            (niche(), "distribution.niche.known"),
            (bumped("2", "1"), "distribution.version.known"),
        ] {
            assert_eq!(each(&what), [Err(rule), DRAFT, PUBLISHED, UNPUBLISHED, Err(rule)], "{what:?}");
        }
        let whats = [created(), What::Viewed, What::Viewed, What::Clicked, niche(), niche(), update()];
        let distribution = run(whats.map(event)).unwrap();
        assert_eq!((distribution.views, distribution.clicks, distribution.niches.len()), (2, 1, 1));
        assert_eq!((&*distribution.slug, distribution.title.as_deref()), ("rust", Some("Rust")));
        assert_eq!((distribution.changed_at_ms, &distribution.view(&[])["status"]), (6, &"draft".into()));
    }

    #[test]
    fn a_version_follows_the_one_before_and_the_first_one_is_taken_at_its_word() {
        let bumps = |bumps: &[(&str, &str)]| {
            let bumps = bumps.iter().map(|(version, previous)| bumped(version, previous));
            run([created()].into_iter().chain(bumps).map(event)).map(|of| of.version.map(|of| of.to_string()))
        };
        assert_eq!(bumps(&[("1.4.0", "1.3"), ("2", "1.4")]), Ok(Some("2".to_owned())));
        assert_eq!(bumps(&[("1.4", "1.3"), ("1.6", "1.5")]), Err("distribution.version.previous"));
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        let read = |text: &str| text.parse::<Version>();
        assert!(read("1.10").unwrap() > read("1.9.9").unwrap() && read("1") == read("1.0.0"));
        for text in ["", "1.", "v1", "1.2.3.4.5", "-1", "99999999999999999999"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_distribution_stays_with_its_course() {
        let other = Event { course_id: Some("sql".into()), ..event(What::Viewed) };
        assert_eq!(run([event(created()), other]), Err("distribution.same-course"));
        let same = Event { course_id: Some("rust".into()), ..event(What::Viewed) };
        assert!(run([event(created()), same]).is_ok());
    }
}
