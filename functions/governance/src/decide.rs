//! The state machine of approvals, and the record of what was judged of IRs: pure.
//!
//! | event | allowed from | becomes | otherwise |
//! |---|---|---|---|
//! | ir.approval_created | no approval of that id, or a placeholder | created | `approval.create.once` |
//! | ir.approval_consumed | created, with its token | consumed | `approval.consume.from-created`, `approval.token` |
//! | ir.approval_expired | created | expired | `approval.expire.from-created` |
//! | ir.approval_invalid | any; no approval makes a placeholder | as before, counted | |
//! | ir.validated_pass, ir.validated_escalate, ir.validated_reject | any | the last verdict of the IR | |
//! | ir.dag_diff_ok, ir.dag_diff_failed | any | the last diff of the IR | |

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::Refusal;
use lyceum_core::states::{Changes, States};

use crate::events::{Event, What};
use crate::state::{APPROVAL, Approval, Diffed, Ended, Ir, Moment, Own, State, Validated};

/// Decides.
pub fn decide(states: &States<'_, State>, event: &Event, at: &Occurrence) -> Result<Decision<State>, Refusal> {
    let (kind, id) = event.subject();
    let changes = if kind == APPROVAL {
        let approval = states.get::<Approval>(&id)?.cloned().unwrap_or_default();
        Changes::new().put(id, of_approval(approval, event, at)?)
    } else {
        let ir = states.get::<Ir>(&id)?.cloned().unwrap_or_default();
        Changes::new().put(id, of_ir(ir, event, at))
    };
    Ok(Decision { changes, follow_ups: Vec::new(), anomalies: Vec::new() })
}

fn moment(event: &Event, at: &Occurrence) -> Moment {
    Moment { at_ms: at.occurred_at_ms, id: at.event_id, actor: event.actor.clone() }
}

fn of_approval(mut approval: Approval, event: &Event, at: &Occurrence) -> Result<Approval, Refusal> {
    let id = event.approval_id.clone().unwrap_or_default();
    match &event.what {
        What::Created => {
            if let Some(own) = &approval.own {
                let status = own.ended.as_ref().map_or("open", |ended| ended.told().0);
                let message = format!("approval {id} was created before; it is {status}");
                return Refusal::rejected("approval.create.once", message);
            }
            approval.own = Some(Own {
                ir_id: event.ir_id.clone(),
                risk_tier: event.risk_tier.unwrap_or_default(),
                token_fingerprint: event.token_fingerprint.clone().unwrap_or_default(),
                created: moment(event, at),
                ended: None,
            });
        }
        What::Consumed => {
            let own = open(&mut approval, &id, "approval.consume.from-created")?;
            if event.token_fingerprint.as_ref().is_some_and(|of| *of != own.token_fingerprint) {
                let message = format!("approval {id} was created with another token");
                return Refusal::rejected("approval.token", message);
            }
            own.ended = Some(Ended::Consumed(moment(event, at)));
        }
        What::Expired => {
            let own = open(&mut approval, &id, "approval.expire.from-created")?;
            own.ended = Some(Ended::Expired(moment(event, at)));
        }
        What::Invalid(reason) => *approval.invalid.entry(*reason).or_default() += 1,
        // Kept with their IR.
        What::Validated(_) | What::Diffed { .. } => {}
    }
    Ok(approval)
}

/// An approval that was created and did not end.
fn open<'a>(approval: &'a mut Approval, id: &str, rule: &'static str) -> Result<&'a mut Own, Refusal> {
    match approval.own.as_mut() {
        None => Refusal::rejected(rule, format!("approval {id} was not created")),
        Some(Own { ended: Some(ended), .. }) => {
            let (status, by) = ended.told();
            Refusal::rejected(rule, format!("approval {id} is {status} already, by event {}", by.id))
        }
        Some(own) => Ok(own),
    }
}

fn of_ir(mut ir: Ir, event: &Event, at: &Occurrence) -> Ir {
    let (by, reasons) = (moment(event, at), event.reasons.clone());
    match &event.what {
        What::Validated(verdict) => {
            *ir.verdicts.entry(*verdict).or_default() += 1;
            ir.validated = Some(Validated { verdict: *verdict, risk_tier: event.risk_tier, reasons, by });
        }
        What::Diffed { ok, before_hash, after_hash } => {
            let count = if *ok { &mut ir.diffs_ok } else { &mut ir.diffs_failed };
            *count += 1;
            let (before_hash, after_hash) = (before_hash.clone(), after_hash.clone());
            ir.diffed = Some(Diffed { ok: *ok, before_hash, after_hash, reasons, by });
        }
        What::Invalid(reason) => *ir.invalid.entry(*reason).or_default() += 1,
        // Kept with their approval.
        What::Created | What::Consumed | What::Expired => {}
    }
    ir
}

#[cfg(test)]
mod tests {
    use lyceum_core::family::AggregateState;
    use lyceum_testing::decide::decide_each;
    use serde_json::{Value, json};

    use super::*;
    use crate::state::{IR, Reason, Verdict};

    fn event(what: What) -> Event {
        let is_created = what == What::Created;
        Event {
            approval_id: Some("a".into()),
            ir_id: Some("i".into()),
            risk_tier: Some(2),
            actor: Some("ada".into()),
            token_fingerprint: is_created.then(|| "sha256:one".to_owned()),
            reasons: vec!["because".to_owned()],
            what,
        }
    }

    /// What a person is then shown.
    fn run(events: impl IntoIterator<Item = Event>) -> Result<Value, &'static str> {
        decide_each(events, Event::subject, decide).map(|state| state.view(&[]))
    }

    fn status(whats: &[What]) -> Result<Value, &'static str> {
        run(whats.iter().cloned().map(event)).map(|shown| shown["status"].clone())
    }

    const INVALID: What = What::Invalid(Reason::TokenMismatch);

    #[test]
    fn an_approval_is_created_once_also_where_it_was_used_in_vain_before() {
        assert_eq!(status(&[What::Created]), Ok("created".into()));
        assert_eq!(status(&[INVALID, What::Created]), Ok("created".into()));
        assert_eq!(status(&[What::Created, What::Created]), Err("approval.create.once"));
        assert_eq!(status(&[What::Created, What::Consumed, What::Created]), Err("approval.create.once"));
    }

    #[test]
    fn an_approval_is_consumed_at_most_once() {
        let no = Err("approval.consume.from-created");
        assert_eq!(status(&[What::Created, What::Consumed]), Ok("consumed".into()));
        assert_eq!(status(&[What::Created, INVALID, What::Consumed]), Ok("consumed".into()));
        assert_eq!(status(&[What::Created, What::Consumed, What::Consumed]), no);
        assert_eq!(status(&[What::Created, What::Expired, What::Consumed]), no);
        assert_eq!(status(&[What::Consumed]), no);
        assert_eq!(status(&[INVALID, What::Consumed]), no);
    }

    #[test]
    fn an_approval_is_consumed_with_its_own_token_where_that_is_named() {
        let with =
            |fingerprint: &str| Event { token_fingerprint: Some(fingerprint.to_owned()), ..event(What::Consumed) };
        assert!(run([event(What::Created), with("sha256:one")]).is_ok());
        assert_eq!(run([event(What::Created), with("sha256:two")]), Err("approval.token"));
    }

    #[test]
    fn an_approval_expires_while_it_is_open() {
        let no = Err("approval.expire.from-created");
        assert_eq!(status(&[What::Created, What::Expired]), Ok("expired".into()));
        assert_eq!(status(&[What::Created, What::Expired, What::Expired]), no);
        assert_eq!(status(&[What::Created, What::Consumed, What::Expired]), no);
        assert_eq!(status(&[What::Expired]), no);
    }

    #[test]
    fn uses_in_vain_are_counted_by_their_reason_and_change_nothing_else() {
        let reasons = [Reason::NotFound, Reason::Expired, Reason::AlreadyUsed, Reason::TokenMismatch, Reason::Expired];
        let shown = run([event(What::Created)].into_iter().chain(reasons.map(|of| event(What::Invalid(of))))).unwrap();
        assert_eq!(shown["invalid"], json!({"not_found": 1, "expired": 2, "already_used": 1, "token_mismatch": 1}));
        assert_eq!((&shown["status"], &shown["known"]), (&"created".into(), &true.into()));
        let placeholder = run([event(INVALID)]).unwrap();
        assert_eq!((&placeholder["known"], &placeholder["status"]), (&false.into(), &Value::Null));
        for (name, reason) in Reason::NAMES.iter().zip(reasons) {
            assert_eq!((Reason::named(name), json!(reason)), (reason, json!(name)));
        }
    }

    #[test]
    fn verdicts_and_diffs_are_kept_with_their_ir_the_last_one_whole() {
        let diff = |ok, hash: &str| {
            event(What::Diffed { ok, before_hash: "sha256:a".to_owned(), after_hash: hash.to_owned() })
        };
        let verdict = |of| event(What::Validated(of));
        let shown = run([
            verdict(Verdict::Pass),
            verdict(Verdict::Escalate),
            verdict(Verdict::Reject),
            verdict(Verdict::Pass),
            diff(true, "sha256:a"),
            diff(false, "sha256:b"),
        ])
        .unwrap();
        assert_eq!(shown["verdicts"], json!({"pass": 2, "escalate": 1, "reject": 1}));
        assert_eq!((&shown["validated"]["verdict"], &shown["validated"]["risk_tier"]), (&"pass".into(), &2.into()));
        assert_eq!((&shown["diffs_ok"], &shown["diffs_failed"]), (&1.into(), &1.into()));
        assert_eq!(
            (&shown["diffed"]["after_hash"], &shown["diffed"]["by"]["actor"]),
            (&"sha256:b".into(), &"ada".into())
        );
    }

    #[test]
    fn what_names_no_approval_is_kept_with_the_ir() {
        let nameless = Event { approval_id: None, ..event(What::Invalid(Reason::NotFound)) };
        assert_eq!(nameless.subject(), (IR, "i".into()));
        assert_eq!(run([nameless]).unwrap()["invalid"], json!({"not_found": 1}));
        assert_eq!(event(What::Validated(Verdict::Pass)).subject(), (IR, "i".into()));
        assert_eq!(event(INVALID).subject(), (APPROVAL, "a".into()));
    }
}
