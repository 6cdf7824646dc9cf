//! When an alert is raised, and when it is held back: pure.
//!
//! | event | leads to | severity |
//! |---|---|---|
//! | ir.dag_diff_failed | an alert | critical |
//! | ir.approval_invalid: token_mismatch, already_used | an alert | high |
//! | ir.approval_invalid: not_found | an alert | medium |
//! | ir.approval_invalid: expired | an alert | low |
//! | the [`BY_ONE_ACTOR`]th ir.approval_invalid of one actor in a window | an alert of brute force beside it | critical |
//! | the [`IN_ONE_TENANT`]th of a tenant in a window | the same | critical |
//!
//! About the same (cause, reason, subject and actor) one alert a window is raised, and of a tenant at most [`MOST_ALERTS`] a window; those
//! of brute force come once each and are not held back, for at most [`MOST_ACCUSED`] actors. What is held back is reported when it begins,
//! at ten, a hundred and so on, and with its sum when the next event comes in a later window.
//!
//! Windows are of the events' own time, which no clock of a sender moves ahead of ours; what comes late counts in the window that is open.

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::follow_up::answer;
use lyceum_core::outcome::Refusal;
use lyceum_core::states::{Changes, States};

use crate::state::Watch;
use crate::{Reported, What};
use lyceum_security::events::{Alert, Cause, Event, HeldBack, Severity};

/// A quarter of an hour.
pub const WINDOW_MS: i64 = 15 * 60 * 1_000;

/// So many alerts of a tenant are raised a window, those of brute force beside.
pub const MOST_ALERTS: usize = 10;

/// So many invalid approvals of one actor in a window are brute force.
pub const BY_ONE_ACTOR: u64 = 5;

/// So many of all actors of a tenant.
pub const IN_ONE_TENANT: u64 = 10;

/// So many actors of a tenant are accused a window.
pub const MOST_ACCUSED: usize = 8;

/// So many actors of a tenant are counted a window, each by itself: who makes up names would else fill the ledger's item.
const MOST_ACTORS: usize = 64;

/// Decides.
pub fn decide(states: &States<'_, Watch>, event: &Reported, at: &Occurrence) -> Result<Decision<Watch>, Refusal> {
    let tenant = &event.tenant;
    let before = states.get::<Watch>(tenant)?.cloned();
    let time_ms = at.occurred_at_ms.min(at.now_ms);
    let window_start_ms = time_ms - time_ms.rem_euclid(WINDOW_MS);
    let mut alerts = Vec::new();
    let mut watch = match before {
        Some(watch) if watch.window_start_ms >= window_start_ms => watch,
        before => {
            alerts.extend(before.and_then(|watch| watch.report(true)));
            Watch::of_window(window_start_ms)
        }
    };
    alerts.extend(watch.notice(event));
    if matches!(event.what, What::ApprovalInvalid(_)) {
        alerts.extend(watch.accuse(event));
    }
    let follow_ups = answer(at, alerts.iter().map(|alert| alert.answer(tenant)));
    Ok(Decision { changes: Changes::new().put(tenant.clone(), watch), follow_ups, anomalies: Vec::new() })
}

impl Watch {
    /// The alert about an event, where it is raised.
    fn notice(&mut self, event: &Reported) -> Option<Event> {
        let (cause, severity, reason) = match event.what {
            What::DagDiffFailed => (Cause::DagDiffFailed, Severity::Critical, None),
            What::ApprovalInvalid(reason) => {
                let severity = match reason {
                    "token_mismatch" | "already_used" => Severity::High,
                    "not_found" => Severity::Medium,
                    _ => Severity::Low,
                };
                (Cause::ApprovalInvalid, severity, Some(reason))
            }
        };
        // A list as JSON, so that no id can pass for two.
        let about = serde_json::json!([cause, reason, event.subject, event.actor]).to_string();
        if self.alerts.contains(&about) {
            self.repeats += 1;
            return None;
        }
        if self.alerts.len() >= MOST_ALERTS {
            self.held_back += 1;
            return if is_power_of_ten(self.held_back) { self.report(false) } else { None };
        }
        self.alerts.insert(about);
        Some(Event::Raised(Alert {
            severity,
            cause,
            subject: event.subject.clone(),
            actor: event.actor.clone(),
            reason: reason.map(str::to_owned),
            token_fingerprint: event.token_fingerprint.clone(),
            count: 1,
            window_start_ms: self.window_start_ms,
        }))
    }

    /// Counts an invalid approval; the alerts of brute force, where it is one.
    fn accuse(&mut self, event: &Reported) -> Vec<Event> {
        let mut accused = Vec::new();
        if let Some(actor) = &event.actor
            && (self.actors.len() < MOST_ACTORS || self.actors.contains_key(actor))
        {
            let count = self.actors.entry(actor.clone()).or_default();
            *count += 1;
            if *count == BY_ONE_ACTOR && self.accused.len() < MOST_ACCUSED {
                self.accused.insert(actor.clone());
                accused.push((Some(actor.clone()), BY_ONE_ACTOR));
            }
        }
        self.invalid += 1;
        if self.invalid == IN_ONE_TENANT {
            accused.push((None, IN_ONE_TENANT));
        }
        let window_start_ms = self.window_start_ms;
        let alert = |(actor, count)| {
            let (severity, cause, subject, reason) = (Severity::Critical, Cause::BruteForce, None, None);
            let token_fingerprint = None;
            Event::Raised(Alert { severity, cause, subject, actor, reason, token_fingerprint, count, window_start_ms })
        };
        accused.into_iter().map(alert).collect()
    }

    /// How much was held back; nothing where nothing was.
    fn report(&self, is_final: bool) -> Option<Event> {
        let Self { held_back, window_start_ms, .. } = *self;
        let report = HeldBack { held_back, raised: self.alerts.len() as u64, window_start_ms, is_final };
        (held_back > 0).then_some(Event::HeldBack(report))
    }
}

fn is_power_of_ten(number: u64) -> bool {
    number > 0 && number == 10_u64.pow(number.ilog10())
}

#[cfg(test)]
mod tests {
    use lyceum_core::family::AggregateState;
    use lyceum_core::record::Position;
    use serde_json::Value;
    use smol_str::format_smolstr;
    use uuid::Uuid;

    use super::*;
    use crate::state::WATCH;

    /// A tenant's watch, and the alerts that each event led to.
    struct Run {
        state: Option<Watch>,
        now_ms: i64,
    }

    const BEGINNING_MS: i64 = 1_800_000_000_000;

    impl Run {
        fn new() -> Self {
            Self { state: None, now_ms: BEGINNING_MS }
        }

        /// What an event of that time leads to: `type severity cause`, or `type count window`.
        fn at(&mut self, occurred_at_ms: i64, event: &Reported) -> Vec<String> {
            let at = Occurrence {
                event_id: Uuid::nil(),
                event_type: "any",
                tenant: "acme".into(),
                correlation_id: "c".into(),
                home: None,
                source: Position::new("t", 0, 0),
                occurred_at_ms,
                now_ms: self.now_ms,
            };
            let decision = decide(&States::new([(WATCH, "acme", self.state.as_ref())]), event, &at).unwrap();
            self.state = decision.changes.into_iter().next().and_then(|change| change.state);
            let told = |follow_up: &lyceum_core::family::FollowUp| {
                let value: Value = serde_json::from_slice(&follow_up.value).unwrap();
                let payload = &value["payload"];
                assert_eq!((follow_up.topic, &*follow_up.key), ("security.alerts.v1", "acme"));
                match follow_up.event_type {
                    "security.alert.raised" => format!("{} {}", payload["severity"], payload["cause"]).replace('"', ""),
                    _ => {
                        format!("{} {} {}", payload["held_back"], payload["raised"], payload["window"]).replace('"', "")
                    }
                }
            };
            decision.follow_ups.iter().map(told).collect()
        }

        fn now(&mut self, event: &Reported) -> Vec<String> {
            self.at(self.now_ms, event)
        }
    }

    fn invalid(subject: &str, actor: Option<&str>, reason: &'static str) -> Reported {
        let (subject, actor) = (Some(subject.into()), actor.map(Into::into));
        Reported { tenant: "acme".into(), subject, actor, token_fingerprint: None, what: What::ApprovalInvalid(reason) }
    }

    fn diff(subject: &str) -> Reported {
        let (subject, actor, token_fingerprint) = (Some(subject.into()), None, None);
        Reported { tenant: "acme".into(), subject, actor, token_fingerprint, what: What::DagDiffFailed }
    }

    #[test]
    fn each_cause_has_its_severity() {
        let mut run = Run::new();
        assert_eq!(run.now(&diff("i")), ["critical dag_diff_failed"]);
        for (reason, severity) in
            [("token_mismatch", "high"), ("already_used", "high"), ("not_found", "medium"), ("expired", "low")]
        {
            assert_eq!(run.now(&invalid("a", None, reason)), [format!("{severity} approval_invalid")]);
        }
    }

    #[test]
    fn about_the_same_one_alert_a_window_is_raised() {
        let mut run = Run::new();
        let again = invalid("a", Some("ada"), "expired");
        assert_eq!(run.now(&again).len(), 1);
        assert!(run.now(&again).is_empty());
        assert_eq!(run.now(&invalid("a", Some("ben"), "expired")).len(), 1);
        assert_eq!(run.state.as_ref().unwrap().view(&[])["repeats"], 1);
        run.now_ms += WINDOW_MS;
        assert_eq!(run.now(&again).len(), 1);
    }

    #[test]
    fn beyond_the_most_alerts_of_a_window_they_are_held_back_and_reported_at_powers_of_ten_and_at_its_end() {
        let mut run = Run::new();
        let raised: usize = (0..MOST_ALERTS).map(|number| run.now(&diff(&format!("i{number}"))).len()).sum();
        assert_eq!(raised, MOST_ALERTS);
        let mut reports = Vec::new();
        for number in 0..12 {
            reports.extend(run.now(&diff(&format!("more{number}"))));
        }
        assert_eq!(reports, ["1 10 open", "10 10 open"]);
        run.now_ms += 7 * WINDOW_MS;
        assert_eq!(run.now(&diff("i0")), ["12 10 over", "critical dag_diff_failed"]);
        run.now_ms += WINDOW_MS;
        assert_eq!(run.now(&diff("i0")), ["critical dag_diff_failed"]);
    }

    #[test]
    fn many_invalid_approvals_of_one_actor_are_brute_force_once_a_window_also_where_others_are_held_back() {
        let mut run = Run::new();
        (0..20).for_each(|number| drop(run.now(&diff(&format!("i{number}")))));
        let tries: Vec<_> = (1..=9).map(|_| run.now(&invalid("a", Some("eve"), "token_mismatch")).concat()).collect();
        let at: Vec<usize> = (0..9).filter(|at| tries[*at].contains("brute_force")).collect();
        assert_eq!((at, &*tries[4]), (vec![BY_ONE_ACTOR as usize - 1], "critical brute_force"));
    }

    #[test]
    fn many_invalid_approvals_within_a_tenant_are_brute_force_whoever_uses_them() {
        let mut run = Run::new();
        let mut tries = (1..=IN_ONE_TENANT).map(|number| {
            run.now(&invalid(&format_smolstr!("a{number}"), Some(&format_smolstr!("actor{number}")), "not_found"))
        });
        assert!(tries.by_ref().take(IN_ONE_TENANT as usize - 1).all(|told| told == ["medium approval_invalid"]));
        assert_eq!(tries.next().unwrap(), ["medium approval_invalid", "critical brute_force"]);
    }

    #[test]
    fn who_makes_up_names_fills_no_item_and_accuses_nobody_without_end() {
        let mut run = Run::new();
        let mut accused = 0;
        for number in 0..1_000 {
            for _ in 0..BY_ONE_ACTOR {
                let actor = format!("{number}-{}", "x".repeat(500));
                let told = run.now(&invalid("a", Some(&actor), "not_found"));
                accused += told.iter().filter(|told| told.contains("brute_force")).count();
            }
        }
        let bytes = serde_json::to_vec(run.state.as_ref().unwrap()).unwrap().len();
        // One of them is about the tenant.
        assert_eq!(accused, MOST_ACCUSED + 1);
        assert!(bytes < 60_000, "{bytes}");
    }

    #[test]
    fn a_senders_clock_moves_no_window_ahead_and_what_comes_late_counts_in_the_open_one() {
        let mut run = Run::new();
        assert_eq!(run.at(i64::MAX, &diff("future")).len(), 1);
        assert_eq!(run.state.as_ref().unwrap().window_start_ms, BEGINNING_MS - BEGINNING_MS.rem_euclid(WINDOW_MS));
        assert_eq!(run.now(&diff("now")).len(), 1);
        assert_eq!(run.at(0, &diff("past")).len(), 1);
        assert_eq!(run.state.as_ref().unwrap().alerts.len(), 3);
    }
}
