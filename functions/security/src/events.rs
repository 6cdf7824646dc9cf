//! Alerts: what the watch raises, and how each is read from an envelope.

use lyceum_catalog::security::ALERTS;
use lyceum_core::family::{EnvelopeOf, TypedEvent};
use lyceum_core::follow_up::Answer;
use lyceum_core::formats::charter::CharterFormat;
use lyceum_core::formats::charter::field::{Fields, MAX_TEXT_BYTES};
use lyceum_core::outcome::Finding;
use lyceum_xapi::utc_time::UtcTime;
use serde::Serialize;
use serde_json::json;
use smol_str::SmolStr;

/// No number of an alert is larger.
const MOST_COUNTED: u64 = 1_000_000_000_000;

/// An alert with its fields, or a sum of those that were held back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Event {
    /// `security.alert.raised`
    Raised(Alert),
    /// `security.alerts.held_back`
    HeldBack(HeldBack),
}

/// Somebody should look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub cause: Cause,
    /// The approval or IR, where it is about one.
    pub subject: Option<SmolStr>,
    /// Who did it, where somebody is named.
    pub actor: Option<SmolStr>,
    /// Why an approval was invalid.
    pub reason: Option<String>,
    /// Of the token that was shown, never the token.
    pub token_fingerprint: Option<String>,
    /// How many events led to it.
    pub count: u64,
    /// When its window began, milliseconds since 1970 UTC.
    pub window_start_ms: i64,
}

/// Alerts of a window that were not raised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldBack {
    /// So many so far.
    pub held_back: u64,
    /// So many were raised.
    pub raised: u64,
    /// When the window began, milliseconds since 1970 UTC.
    pub window_start_ms: i64,
    /// Whether the window is over.
    pub is_final: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It happens in good faith.
    Low,
    /// Worth a look.
    Medium,
    /// Hardly in good faith.
    High,
    /// At once.
    Critical,
}

impl Severity {
    /// As alerts name them.
    pub const NAMES: [&'static str; 4] = ["low", "medium", "high", "critical"];

    fn named(name: &str) -> Self {
        match name {
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            _ => Self::Critical,
        }
    }
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An approval could not be used.
    ApprovalInvalid,
    /// What was done is not what was approved.
    DagDiffFailed,
    /// Many approvals could not be used, by one actor or within one tenant.
    BruteForce,
}

impl Cause {
    /// As alerts name them.
    pub const NAMES: [&'static str; 3] = ["approval_invalid", "dag_diff_failed", "brute_force"];

    fn named(name: &str) -> Self {
        match name {
            "approval_invalid" => Self::ApprovalInvalid,
            "dag_diff_failed" => Self::DagDiffFailed,
            _ => Self::BruteForce,
        }
    }
}

impl TypedEvent for Event {
    type Format = CharterFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let window_start_ms = fields.optional_instant_ms("window_start");
        let window_start_ms = fields.required("window_start", window_start_ms);
        let event = match envelope.event_type {
            "security.alert.raised" => Self::Raised(Alert {
                severity: Severity::named(fields.word("severity", &Severity::NAMES)),
                cause: Cause::named(fields.word("cause", &Cause::NAMES)),
                subject: fields.optional_id("subject"),
                actor: fields.optional_id("actor"),
                reason: fields.optional_text("reason", MAX_TEXT_BYTES),
                token_fingerprint: fields.optional_fingerprint("token_fingerprint"),
                count: fields.whole("count", 1..=MOST_COUNTED),
                window_start_ms,
            }),
            _ => Self::HeldBack(HeldBack {
                held_back: fields.whole("held_back", 1..=MOST_COUNTED),
                raised: fields.whole("raised", 0..=MOST_COUNTED),
                window_start_ms,
                is_final: fields.word("window", &["open", "over"]) == "over",
            }),
        };
        fields.finish(event)
    }

    fn key(&self, envelope: &EnvelopeOf<'_, Self>) -> String {
        envelope.tenant.to_string()
    }
}

impl Event {
    /// As it is published.
    pub fn answer(&self, tenant: &str) -> Answer {
        let (event_type, payload) = match self {
            Self::Raised(Alert {
                severity,
                cause,
                subject,
                actor,
                reason,
                token_fingerprint,
                count,
                window_start_ms,
            }) => {
                let mut payload = json!({
                    "severity": severity, "cause": cause, "subject": subject, "actor": actor, "reason": reason,
                    "count": count, "window_start": UtcTime::from_millis(*window_start_ms),
                });
                // Absent where there is none, so that a reader of the release before is given what it knows.
                if let Some(fingerprint) = token_fingerprint {
                    payload["token_fingerprint"] = json!(fingerprint);
                }
                ("security.alert.raised", payload)
            }
            Self::HeldBack(HeldBack { held_back, raised, window_start_ms, is_final }) => {
                let window = if *is_final { "over" } else { "open" };
                let payload = json!({
                    "held_back": held_back, "raised": raised, "window": window,
                    "window_start": UtcTime::from_millis(*window_start_ms),
                });
                ("security.alerts.held_back", payload)
            }
        };
        Answer { topic: ALERTS, event_type, key: tenant.to_owned(), source: "security", target: None, payload }
    }
}
