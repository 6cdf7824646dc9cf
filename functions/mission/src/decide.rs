//! The state machine of missions: pure.
//!
//! | event | allowed from | becomes | otherwise |
//! |---|---|---|---|
//! | mission.created | no mission of that id | created | `mission.create.once` |
//! | mission.started | created | started | `mission.start.from-created` |
//! | mission.completed | started | completed | `mission.complete.from-started` |
//! | mission.failed | created, started | failed | `mission.fail.before-its-end` |
//! | task.created | created, started; a task of another id | as before | `task.create.before-its-end`, `task.create.once` |

use std::collections::BTreeMap;

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::Refusal;
use lyceum_core::states::{Changes, States};

use crate::events::{Event, What};
use crate::state::{Mission, Status};

/// Decides.
pub fn decide(states: &States<'_, Mission>, event: &Event, at: &Occurrence) -> Result<Decision<Mission>, Refusal> {
    let id = &event.mission_id;
    let before = states.get::<Mission>(id)?.cloned();
    let mut mission = step(before, event)?;
    mission.changed_at_ms = at.occurred_at_ms;
    Ok(Decision { changes: Changes::new().put(id.clone(), mission), follow_ups: Vec::new(), anomalies: Vec::new() })
}

fn step(before: Option<Mission>, event: &Event) -> Result<Mission, Refusal> {
    let id = &event.mission_id;
    let (from, rule): (&[Status], _) = match &event.what {
        What::Created { title } => {
            if let Some(before) = before {
                let message = format!("mission {id} was created before; it is {}", before.status.name());
                return Refusal::rejected("mission.create.once", message);
            }
            let (title, tasks) = (title.clone(), BTreeMap::new());
            return Ok(Mission { status: Status::Created, title, tasks, error: None, changed_at_ms: 0 });
        }
        What::Started => (&[Status::Created], "mission.start.from-created"),
        What::Completed => (&[Status::Started], "mission.complete.from-started"),
        What::Failed { .. } => (&[Status::Created, Status::Started], "mission.fail.before-its-end"),
        What::Task { .. } => (&[Status::Created, Status::Started], "task.create.before-its-end"),
    };
    let Some(mut mission) = before else {
        return Refusal::rejected(rule, format!("mission {id} was not created"));
    };
    if !from.contains(&mission.status) {
        return Refusal::rejected(rule, format!("mission {id} is {}", mission.status.name()));
    }
    match &event.what {
        What::Created { .. } => {}
        What::Started => mission.status = Status::Started,
        What::Completed => mission.status = Status::Completed,
        What::Failed { error } => {
            mission.status = Status::Failed;
            mission.error = Some(error.clone());
        }
        What::Task { task_id, title } => {
            if mission.tasks.insert(task_id.clone(), title.clone()).is_some() {
                let message = format!("task {task_id} of mission {id} was created before");
                return Refusal::rejected("task.create.once", message);
            }
        }
    }
    Ok(mission)
}

#[cfg(test)]
mod tests {
    use lyceum_core::family::AggregateState;
    use lyceum_testing::decide::decide_each;

    use super::*;
    use crate::state::MISSION;

    fn run<'w>(whats: impl IntoIterator<Item = &'w What>) -> Result<Mission, &'static str> {
        let events = whats.into_iter().map(|what| Event { mission_id: "m".into(), what: what.clone() });
        decide_each(events, |_| (MISSION, "m".into()), decide)
    }

    const CREATED: What = What::Created { title: None };

    fn failed() -> What {
        What::Failed { error: "nobody came".to_owned() }
    }

    fn task(id: &str) -> What {
        What::Task { task_id: id.into(), title: None }
    }

    /// Of no mission, and of one that is created, started, completed and failed.
    fn each(what: &What) -> [Result<Status, &'static str>; 5] {
        let way = |whats: &[What]| run(whats.iter().chain([what])).map(|mission| mission.status);
        [
            way(&[]),
            way(&[CREATED]),
            way(&[CREATED, What::Started]),
            way(&[CREATED, What::Started, What::Completed]),
            way(&[CREATED, failed()]),
        ]
    }

    #[test]
    fn a_mission_is_created_once() {
        let no = Err("mission.create.once");
        assert_eq!(each(&CREATED), [Ok(Status::Created), no, no, no, no]);
    }

    #[test]
    fn a_mission_is_started_once_and_completed_after_that() {
        let no = Err("mission.start.from-created");
        assert_eq!(each(&What::Started), [no, Ok(Status::Started), no, no, no]);
        let no = Err("mission.complete.from-started");
        assert_eq!(each(&What::Completed), [no, no, Ok(Status::Completed), no, no]);
    }

    #[test]
    fn a_mission_fails_before_it_is_over() {
        let (no, ok) = (Err("mission.fail.before-its-end"), Ok(Status::Failed));
        assert_eq!(each(&failed()), [no, ok, ok, no, no]);
        assert_eq!(run(&[CREATED, failed()]).unwrap().view(&[])["error"], "nobody came");
    }

    #[test]
    fn a_task_is_created_once_while_its_mission_is_not_over() {
        let no = Err("task.create.before-its-end");
        assert_eq!(each(&task("t")), [no, Ok(Status::Created), Ok(Status::Started), no, no]);
        assert_eq!(run(&[CREATED, task("t"), task("u")]).unwrap().tasks.len(), 2);
        assert_eq!(run(&[CREATED, task("t"), task("t")]), Err("task.create.once"));
    }
}
