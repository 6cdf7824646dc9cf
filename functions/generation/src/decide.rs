//! The state machine of generations: pure.
//!
//! | event | allowed from | otherwise |
//! |---|---|---|
//! | content.generation.requested | no generation, or a failed one, which begins anew | `generation.request.once` |
//! | content.generation.progressed | requested, to more than before | not more, or after the end: counted as stale; never requested: `generation.progress.requested` |
//! | content.generation.completed | requested | `generation.complete.from-requested` |
//! | content.generation.failed | requested | `generation.fail.from-requested` |
//! | any but a request, that names a request | the last one that was taken | progress is stale, else `generation.same-request` |

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::Refusal;
use lyceum_core::states::{Changes, States};

use crate::events::{Event, What};
use crate::state::{Change, Generation, Status};

/// A generation that was asked for again and again keeps so many changes: what is older is in the log and the documents.
const HISTORY: usize = 100;

/// Decides.
pub fn decide(
    states: &States<'_, Generation>,
    event: &Event,
    at: &Occurrence,
) -> Result<Decision<Generation>, Refusal> {
    let id = &event.generation_id;
    let before = states.get::<Generation>(id)?.cloned();
    let is = before.as_ref().map_or("not requested", |of| of.status.name());
    let after = match (&event.what, before) {
        (What::Requested { kind, .. }, before @ (None | Some(Generation { status: Status::Failed { .. }, .. }))) => {
            let (history, stale) = before.map(|of| (of.history, of.stale)).unwrap_or_default();
            let (kind, request_id) = (kind.clone(), at.event_id);
            Generation { kind, request_id, status: Status::Requested, percent: 0, stale, history }.changed(at)
        }
        (What::Requested { .. }, _) => {
            let message = format!("generation {id} is {is}; only one that failed is requested again");
            return Refusal::rejected("generation.request.once", message);
        }
        (What::Progressed { .. }, None) => {
            let message = format!("generation {id} is {is}, and cannot progress");
            return Refusal::rejected("generation.progress.requested", message);
        }
        (What::Progressed { percent }, Some(mut before)) => {
            match before.status {
                Status::Requested if *percent > before.percent && !is_of_another(event, &before) => {
                    before.percent = *percent;
                }
                _ => before.stale = before.stale.saturating_add(1),
            }
            before
        }
        (What::Completed { .. } | What::Failed { .. }, Some(before)) if is_of_another(event, &before) => {
            let message = format!(
                "generation {id} was last requested by event {}, and this ends another request, which was not taken",
                before.request_id
            );
            return Refusal::rejected("generation.same-request", message);
        }
        (What::Completed { content_reference, usage }, Some(before)) if before.status == Status::Requested => {
            let status = Status::Completed { content_reference: content_reference.clone(), usage: usage.clone() };
            Generation { status, percent: 100, ..before }.changed(at)
        }
        (What::Completed { .. }, _) => {
            let message = format!("generation {id} is {is}; only one that is requested can be completed");
            return Refusal::rejected("generation.complete.from-requested", message);
        }
        (What::Failed { reason }, Some(before)) if before.status == Status::Requested => {
            Generation { status: Status::Failed { reason: reason.clone() }, ..before }.changed(at)
        }
        (What::Failed { .. }, _) => {
            let message = format!("generation {id} is {is}; only one that is requested can fail");
            return Refusal::rejected("generation.fail.from-requested", message);
        }
    };
    Ok(Decision { changes: Changes::new().put(id.clone(), after), follow_ups: Vec::new(), anomalies: Vec::new() })
}

fn is_of_another(event: &Event, generation: &Generation) -> bool {
    event.request_id.is_some_and(|request| request != generation.request_id)
}

impl Generation {
    /// With the change that made its status.
    fn changed(mut self, at: &Occurrence) -> Self {
        let source = at.source.clone();
        self.history.push(Change { to: self.status.name().into(), at_ms: at.occurred_at_ms, id: at.event_id, source });
        if self.history.len() > HISTORY {
            self.history.remove(0);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use lyceum_testing::decide::decide_each;
    use uuid::Uuid;

    use super::*;
    use crate::state::{GENERATION, Usage};

    const REQUESTED: What =
        What::Requested { kind: smol_str::SmolStr::new_static("lesson"), prompt: None, source: None };

    fn progressed(percent: u8) -> What {
        What::Progressed { percent }
    }

    fn completed() -> What {
        What::Completed { content_reference: "c".into(), usage: Usage::default() }
    }

    fn failed() -> What {
        What::Failed { reason: "refused".into() }
    }

    fn run(events: impl IntoIterator<Item = What>) -> Result<Generation, &'static str> {
        run_of(events.into_iter().map(|what| (what, None)))
    }

    /// Each with the request that it names; the id of an event is its place.
    fn run_of(events: impl IntoIterator<Item = (What, Option<Uuid>)>) -> Result<Generation, &'static str> {
        let event = |(what, request_id)| Event { generation_id: "g".into(), request_id, what };
        decide_each(events.into_iter().map(event), |_| (GENERATION, "g".into()), decide)
    }

    #[test]
    fn a_generation_goes_from_its_request_to_its_end() {
        let generation = run([REQUESTED, progressed(25), progressed(50), completed()]).unwrap();
        assert_eq!((generation.status.name(), generation.percent, generation.stale), ("completed", 100, 0));
        let history: Vec<_> = generation.history.iter().map(|of| (of.to.as_str(), of.at_ms)).collect();
        assert_eq!(history, [("requested", 0), ("completed", 3)]);
        assert_eq!(run([REQUESTED, failed()]).unwrap().status, Status::Failed { reason: "refused".into() });
    }

    #[test]
    fn progress_never_goes_backwards_and_what_comes_late_is_counted() {
        let generation = run([REQUESTED, progressed(50), progressed(25), progressed(50)]).unwrap();
        assert_eq!((generation.percent, generation.stale), (50, 2));
        assert_eq!(run([REQUESTED, completed(), progressed(75)]).unwrap().stale, 1);
        assert_eq!(run([REQUESTED, failed(), progressed(75)]).unwrap().percent, 0);
        assert_eq!(run([progressed(10)]), Err("generation.progress.requested"));
    }

    #[test]
    fn one_that_failed_may_be_requested_again_and_begins_anew() {
        let generation = run([REQUESTED, progressed(50), failed(), REQUESTED]).unwrap();
        assert_eq!((generation.status.name(), generation.percent), ("requested", 0));
        assert_eq!(run([REQUESTED, failed(), REQUESTED, completed()]).unwrap().history.len(), 4);
        assert_eq!(run([REQUESTED, REQUESTED]), Err("generation.request.once"));
        assert_eq!(run([REQUESTED, completed(), REQUESTED]), Err("generation.request.once"));
    }

    #[test]
    fn what_was_not_requested_or_has_ended_neither_completes_nor_fails() {
        for end in [completed, failed] {
            let from_requested =
                if end() == failed() { "generation.fail.from-requested" } else { "generation.complete.from-requested" };
            assert_eq!(run([end()]), Err(from_requested));
            for other in [completed, failed] {
                assert_eq!(run([REQUESTED, other(), end()]), Err(from_requested));
            }
        }
    }

    #[test]
    fn what_was_written_for_a_request_that_was_not_taken_ends_no_other_one() {
        let of = |place: u128| Some(Uuid::from_u128(place));
        let again = || vec![(REQUESTED, None), (failed(), of(0)), (REQUESTED, None)];
        let with = |more: (What, Option<Uuid>)| run_of(again().into_iter().chain([more]));
        assert_eq!(with((completed(), of(2))).unwrap().status.name(), "completed");
        assert_eq!(with((completed(), of(0))), Err("generation.same-request"));
        assert_eq!(with((failed(), of(7))), Err("generation.same-request"));
        let late = with((progressed(50), of(0))).unwrap();
        assert_eq!((late.percent, late.stale), (0, 1));
        assert_eq!(with((progressed(50), of(2))).unwrap().percent, 50);
    }

    #[test]
    fn the_last_hundred_changes_are_kept() {
        let often = (0..120).flat_map(|_| [REQUESTED, failed()]);
        let generation = run(often).unwrap();
        let ends = (generation.history[0].at_ms, generation.history[HISTORY - 1].at_ms);
        assert_eq!((generation.history.len(), ends), (HISTORY, (140, 239)));
    }
}
