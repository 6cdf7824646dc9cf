//! The state machine of courses: pure.
//!
//! | event | allowed from | becomes | otherwise |
//! |---|---|---|---|
//! | course.generation.requested | no course of that id, failed | requested | `course.request.new-or-failed` |
//! | course.outline.created | requested | outlined | `course.outline.from-requested` |
//! | course.lesson.generated, course.quiz.created, course.landing_page.created | outlined, generating | generating | `course.content.from-outlined` |
//! | course.generation.completed | generating | completed | `course.complete.from-generating` |
//! | course.generation.failed | generating | failed | `course.fail.from-generating` |
//! | course.deployed.staging | completed; deployed_staging, where the newest address counts | deployed_staging | `course.deploy.from-completed` |
//! | course.workflow.transitioned | the status that it names, by an arrow of the above | the one that it names | `course.transition.arrow`, `course.transition.from-current` |
//!
//! A transition may come before the event that it announces, which then finds the course where it leads to, or behind it, where it
//! changes nothing.

use std::collections::BTreeSet;

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::Refusal;
use lyceum_core::states::{Changes, States};

use crate::events::{Event, What};
use crate::state::{Course, Status};

/// Decides.
pub fn decide(states: &States<'_, Course>, event: &Event, at: &Occurrence) -> Result<Decision<Course>, Refusal> {
    let id = &event.course_id;
    let before = states.get::<Course>(id)?.cloned();
    let mut course = step(before, event)?;
    course.title = event.title.clone().or(course.title);
    course.language = event.language.clone().or(course.language);
    course.changed_at_ms = at.occurred_at_ms;
    Ok(Decision { changes: Changes::new().put(id.clone(), course), follow_ups: Vec::new(), anomalies: Vec::new() })
}

fn step(before: Option<Course>, event: &Event) -> Result<Course, Refusal> {
    let id = &event.course_id;
    let (to, rule) = match &event.what {
        What::Requested => return request(before, event),
        What::Transitioned { from, to } => return transition(before, event, *from, *to),
        What::Outlined => (Status::Outlined, "course.outline.from-requested"),
        What::Lesson { .. } | What::Quiz { .. } | What::LandingPage { .. } => {
            (Status::Generating, "course.content.from-outlined")
        }
        What::Completed => (Status::Completed, "course.complete.from-generating"),
        What::Failed { .. } => (Status::Failed, "course.fail.from-generating"),
        What::Deployed { .. } => (Status::DeployedStaging, "course.deploy.from-completed"),
    };
    let Some(mut course) = before else {
        return Refusal::rejected(rule, format!("course {id} was not requested"));
    };
    // A course has many lessons, and is deployed for each of its distributions.
    let comes_again = matches!(to, Status::Generating | Status::DeployedStaging);
    let is_there = course.status == to && (course.announced || comes_again);
    if !is_there && !course.status.leads_to(to) {
        let message = format!("course {id} is {}, and {} is not reached from there", course.status.name(), to.name());
        return Refusal::rejected(rule, message);
    }
    (course.status, course.announced) = (to, false);
    match &event.what {
        What::Lesson { lesson_id } => {
            course.lessons.insert(lesson_id.clone());
        }
        What::Quiz { quiz_id } => {
            course.quizzes.insert(quiz_id.clone());
        }
        What::LandingPage { page_url } => course.page_url = Some(page_url.clone()),
        What::Failed { error } => course.error = Some(error.clone()),
        What::Deployed { url, .. } => {
            course.url = Some(url.clone());
            course.deployments += 1;
        }
        What::Requested | What::Outlined | What::Completed | What::Transitioned { .. } => {}
    }
    Ok(course)
}

/// A course is begun, or begun anew: nothing of what failed is kept but how often.
fn request(before: Option<Course>, event: &Event) -> Result<Course, Refusal> {
    if let Some(course) = &before {
        let is_announced = course.status == Status::Requested && course.announced;
        if !is_announced && !course.status.leads_to(Status::Requested) {
            let message = format!(
                "course {} is {}: it is requested again only after it failed",
                event.course_id,
                course.status.name()
            );
            return Refusal::rejected("course.request.new-or-failed", message);
        }
    }
    let requests = before.as_ref().map_or(0, |course| course.requests) + 1;
    let (title, language) = before.map(|course| (course.title, course.language)).unwrap_or_default();
    Ok(Course {
        status: Status::Requested,
        announced: false,
        title,
        language,
        lessons: BTreeSet::new(),
        quizzes: BTreeSet::new(),
        page_url: None,
        error: None,
        url: None,
        requests,
        deployments: 0,
        changed_at_ms: 0,
    })
}

fn transition(before: Option<Course>, event: &Event, from: Status, to: Status) -> Result<Course, Refusal> {
    let id = &event.course_id;
    if !from.leads_to(to) {
        let message = format!("no course goes from {} to {}", from.name(), to.name());
        return Refusal::rejected("course.transition.arrow", message);
    }
    let Some(mut course) = before else {
        return Refusal::rejected("course.transition.from-current", format!("course {id} was not requested"));
    };
    if course.status == from {
        (course.status, course.announced) = (to, true);
    } else if course.status != to {
        let message = format!("course {id} is {}, and not {}", course.status.name(), from.name());
        return Refusal::rejected("course.transition.from-current", message);
    }
    Ok(course)
}

#[cfg(test)]
mod tests {
    use lyceum_core::family::AggregateState;
    use lyceum_core::record::Position;
    use lyceum_testing::decide::decide_each;
    use uuid::Uuid;

    use super::*;
    use crate::state::COURSE;

    fn run(whats: impl IntoIterator<Item = What>) -> Result<Course, &'static str> {
        let event = |what| Event { course_id: "rust".into(), title: None, language: None, what };
        decide_each(whats.into_iter().map(event), |_| (COURSE, "rust".into()), decide)
    }

    fn lesson(id: &str) -> What {
        What::Lesson { lesson_id: id.into() }
    }

    fn failed() -> What {
        What::Failed { error: "no credit".to_owned() }
    }

    fn deployed(url: &str) -> What {
        What::Deployed { url: url.to_owned(), distribution_id: None }
    }

    fn moved(from: Status, to: Status) -> What {
        What::Transitioned { from, to }
    }

    /// The events that lead to a status.
    fn until(status: Status) -> Vec<What> {
        let mut whats = vec![What::Requested, What::Outlined, lesson("a")];
        match status {
            Status::Requested => whats.truncate(1),
            Status::Outlined => whats.truncate(2),
            Status::Generating => {}
            Status::Completed => whats.push(What::Completed),
            Status::Failed => whats.push(failed()),
            Status::DeployedStaging => whats.extend([What::Completed, deployed("/a")]),
        }
        whats
    }

    const ALL: [Status; 6] = [
        Status::Requested,
        Status::Outlined,
        Status::Generating,
        Status::Completed,
        Status::Failed,
        Status::DeployedStaging,
    ];

    /// Each event from each status, and from none: where it leads, else the rule that refuses it.
    fn each(what: &What) -> [Result<Status, &'static str>; 7] {
        let from = |before: Vec<What>| run(before.into_iter().chain([what.clone()])).map(|course| course.status);
        std::array::from_fn(|at| if at == 0 { from(Vec::new()) } else { from(until(ALL[at - 1])) })
    }

    #[test]
    fn a_course_is_requested_once_and_again_only_after_it_failed() {
        let no = Err("course.request.new-or-failed");
        let ok = Ok(Status::Requested);
        assert_eq!(each(&What::Requested), [ok, no, no, no, no, ok, no]);
        let again = run(until(Status::Failed).into_iter().chain([What::Requested])).unwrap();
        assert_eq!((again.requests, again.lessons.len(), again.error), (2, 0, None));
    }

    #[test]
    fn an_outline_follows_the_request() {
        let no = Err("course.outline.from-requested");
        assert_eq!(each(&What::Outlined), [no, Ok(Status::Outlined), no, no, no, no, no]);
    }

    #[test]
    fn lessons_quizzes_and_the_page_follow_the_outline_and_each_other() {
        let no = Err("course.content.from-outlined");
        let ok = Ok(Status::Generating);
        for what in [lesson("b"), What::Quiz { quiz_id: "q".into() }, What::LandingPage { page_url: "/p".to_owned() }] {
            assert_eq!(each(&what), [no, no, ok, ok, no, no, no], "{what:?}");
        }
        let parts = [lesson("b"), lesson("b"), What::Quiz { quiz_id: "q".into() }];
        let course = run(until(Status::Generating).into_iter().chain(parts)).unwrap();
        assert_eq!((course.lessons.len(), course.quizzes.len()), (2, 1));
    }

    #[test]
    fn generating_ends_in_completed_or_failed() {
        let no = Err("course.complete.from-generating");
        assert_eq!(each(&What::Completed), [no, no, no, Ok(Status::Completed), no, no, no]);
        let no = Err("course.fail.from-generating");
        assert_eq!(each(&failed()), [no, no, no, Ok(Status::Failed), no, no, no]);
    }

    #[test]
    fn what_is_completed_is_deployed_and_the_newest_address_counts() {
        let no = Err("course.deploy.from-completed");
        let ok = Ok(Status::DeployedStaging);
        assert_eq!(each(&deployed("/b")), [no, no, no, no, ok, no, ok]);
        let course = run(until(Status::DeployedStaging).into_iter().chain([deployed("/b")])).unwrap();
        assert_eq!((course.url.as_deref(), course.deployments), (Some("/b"), 2));
        assert_eq!(course.view(&[])["status"], "deployed_staging");
    }

    #[test]
    fn a_transition_goes_along_an_arrow_from_where_the_course_is() {
        let no = Err("course.transition.arrow");
        assert_eq!(each(&moved(Status::Requested, Status::Completed)), [no; 7]);
        let no = Err("course.transition.from-current");
        // Behind its event it changes nothing.
        let ok = Ok(Status::Outlined);
        assert_eq!(each(&moved(Status::Requested, Status::Outlined)), [no, ok, ok, no, no, no, no]);
    }

    #[test]
    fn the_event_of_an_announced_transition_is_taken_once() {
        let announced = [What::Requested, moved(Status::Requested, Status::Outlined), What::Outlined];
        assert_eq!(run(announced.clone()).unwrap().status, Status::Outlined);
        assert_eq!(run(announced.into_iter().chain([What::Outlined])), Err("course.outline.from-requested"));
        let again = [moved(Status::Failed, Status::Requested), What::Requested];
        assert_eq!(run(until(Status::Failed).into_iter().chain(again)).unwrap().requests, 2);
    }

    #[test]
    fn the_last_title_counts() {
        let event = |title: Option<&str>, what| Event {
            course_id: "rust".into(),
            title: title.map(str::to_owned),
            language: None,
            what,
        };
        let first = step(None, &event(Some("a"), What::Requested)).unwrap();
        let at = Occurrence {
            event_id: Uuid::nil(),
            event_type: "any",
            tenant: "acme".into(),
            correlation_id: "c".into(),
            home: None,
            source: Position::new("t", 0, 0),
            occurred_at_ms: 7,
            now_ms: 0,
        };
        let decide = |state: &Course, event| {
            let decision = decide(&States::new([(COURSE, "rust", Some(state))]), &event, &at).unwrap();
            decision.changes.into_iter().next().and_then(|change| change.state).unwrap()
        };
        let course = decide(&first, event(Some("b"), What::Outlined));
        assert_eq!((course.title.as_deref(), course.changed_at_ms), (Some("b"), 7));
        assert_eq!(decide(&course, event(None, lesson("a"))).title.as_deref(), Some("b"));
    }

    #[test]
    fn every_status_has_a_name_of_its_own() {
        for status in ALL {
            assert_eq!((Status::named(status.name()), serde_json::json!(status)), (status, status.name().into()));
        }
    }
}
