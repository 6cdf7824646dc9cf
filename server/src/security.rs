//! Security alerts, as people and webhooks are told them: what the watch raised, and how many it held back. Read from what the family
//! `security` stores, and from its topic.

use std::fmt;

use lyceum_core::ports::statements::{Filter, QueryDocuments, StatementsError};
use lyceum_core::record::Position;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::live::format_time;

/// Where alerts are published.
pub const TOPIC: &str = "security.alerts.v1";
/// The events of that topic.
pub const EVENT_TYPES: [&str; 2] = ["security.alert.raised", "security.alerts.held_back"];
/// So many pages of the store are read for one answer, where few alerts fit.
const PAGES: usize = 20;
/// What a sender wrote is told in a sentence up to here, in characters; its own member has the whole.
const TOLD_CHARS: usize = 80;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$of_doc:meta])* $of:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$of_doc])* #[serde(rename = $text)] $of,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$of),*];

            /// Its name in alerts.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$of => $text,)*
                }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|of| of.name() == name)
            }
        }
    };
}

names! {
    /// How bad it is.
    Severity {
        /// It happens in good faith.
        Low = "low",
        /// Worth a look.
        Medium = "medium",
        /// Hardly in good faith; or there were more alerts than anybody could read.
        High = "high",
        /// At once.
        Critical = "critical",
    }
}

names! {
    /// What an alert is about.
    Cause {
        /// An approval could not be used.
        ApprovalInvalid = "approval_invalid",
        /// What was done is not what was approved.
        DagDiffFailed = "dag_diff_failed",
        /// Many approvals could not be used, by one actor or within one tenant.
        BruteForce = "brute_force",
        /// So many more alerts were due than were raised.
        HeldBack = "held_back",
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityAlert {
    /// The event's id: the same wherever the alert is told.
    pub id: Uuid,
    /// When what it is about happened: RFC 3339.
    pub at: String,
    /// Whose it is.
    pub tenant: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub cause: Cause,
    /// The approval or IR, where it is about one.
    pub about: Option<String>,
    /// Who did it, where somebody is named.
    pub actor: Option<String>,
    /// Why an approval was invalid.
    pub reason: Option<String>,
    /// Of the token of the approval, never the token.
    pub token_fingerprint: Option<String>,
    /// How many events led to it; how many alerts were held back.
    pub count: u64,
    /// How many alerts of the window were raised, where it tells of those that were not.
    pub raised: Option<u64>,
    /// When the window began in which they are counted.
    pub since: String,
    /// What it travels with: the timeline of the audit log has what came before.
    pub correlation_id: Option<String>,
    /// Its record.
    pub position: Position,
}

#[derive(Deserialize)]
struct Envelope {
    id: Uuid,
    r#type: String,
    timestamp: String,
    payload: Payload,
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    tenant_id: String,
    correlation_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    severity: Option<String>,
    cause: Option<String>,
    subject: Option<String>,
    actor: Option<String>,
    reason: Option<String>,
    token_fingerprint: Option<String>,
    count: u64,
    held_back: u64,
    raised: u64,
    window_start: Option<String>,
}

impl SecurityAlert {
    /// Reads the event of a record's or a document's bytes; `None` where it is no alert.
    pub fn read(value: &[u8], position: Position) -> Option<Self> {
        let Envelope { id, r#type, timestamp, payload, meta } = serde_json::from_slice(value).ok()?;
        let at = timestamp.parse::<UtcTime>().ok()?.as_millis();
        let since = payload.window_start?.parse::<UtcTime>().ok()?.as_millis();
        let is_raised = r#type == EVENT_TYPES[0];
        if !is_raised && r#type != EVENT_TYPES[1] {
            return None;
        }
        let (severity, cause, count, raised) = match is_raised {
            true => (
                Severity::from_name(payload.severity.as_deref()?)?,
                Cause::from_name(payload.cause.as_deref()?).filter(|cause| *cause != Cause::HeldBack)?,
                payload.count,
                None,
            ),
            false => (Severity::High, Cause::HeldBack, payload.held_back, Some(payload.raised)),
        };
        Some(Self {
            id,
            at: format_time(at),
            tenant: meta.tenant_id,
            severity,
            cause,
            about: payload.subject,
            actor: payload.actor,
            reason: payload.reason,
            token_fingerprint: payload.token_fingerprint,
            count,
            raised,
            since: format_time(since),
            correlation_id: meta.correlation_id,
            position,
        })
    }
}

/// What a sender wrote, as far as a sentence has it: chats read markup and mentions out of some characters.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for (number, letter) in self.0.chars().enumerate() {
            if number == TOLD_CHARS {
                return f.write_char('…');
            }
            let is_plain = letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_' | '.' | ':' | '/' | '+');
            f.write_char(if is_plain { letter } else { '·' })?;
        }
        Ok(())
    }
}

/// The sentence for a person, without whose it is.
impl fmt::Display for SecurityAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, count, since, .. } = self;
        let about = self.about.as_deref().map(Plain);
        match cause {
            Cause::ApprovalInvalid => {
                f.write_str("an approval could not be used")?;
                if let Some(about) = about {
                    write!(f, ": {about}")?;
                }
                if let Some(reason) = &self.reason {
                    write!(f, " ({})", Plain(&reason.replace('_', " ")))?;
                }
            }
            Cause::DagDiffFailed => {
                f.write_str("what was done is not what was approved")?;
                if let Some(about) = about {
                    write!(f, ": {about}")?;
                }
            }
            Cause::BruteForce => write!(f, "{count} approvals could not be used since {since}")?,
            Cause::HeldBack => {
                let raised = self.raised.unwrap_or(0);
                write!(f, "{count} more alerts were held back since {since}, {raised} were raised")?;
            }
        }
        match &self.actor {
            Some(actor) => write!(f, ", by {}", Plain(actor)),
            None => Ok(()),
        }
    }
}

/// An alert as it is posted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PostedAlert {
    /// A sentence for a person; chats show this one.
    pub text: String,
    /// `firing`: it has no end.
    pub status: &'static str,
    /// `security`
    pub alert: &'static str,
    /// Whose.
    pub subject: String,
    /// The same however often it is posted, and for no other one.
    pub key: String,
    /// All of it.
    #[serde(flatten)]
    pub of: SecurityAlert,
}

impl From<SecurityAlert> for PostedAlert {
    fn from(of: SecurityAlert) -> Self {
        Self {
            text: format!("Security, {}, tenant {}: {of}", of.severity.name(), Plain(&of.tenant)),
            status: "firing",
            alert: "security",
            subject: format!("tenant {}", of.tenant),
            key: format!("lyceum/security/{}", of.id),
            of,
        }
    }
}

/// Which alerts are meant. Every part that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Of this tenant alone.
    pub tenant: Option<String>,
    /// This bad.
    pub severity: Option<Severity>,
    /// About this.
    pub cause: Option<Cause>,
    /// By whom.
    pub actor: Option<String>,
    /// From here on, milliseconds since 1970 UTC.
    pub from_ms: Option<i64>,
    /// Before this.
    pub to_ms: Option<i64>,
}

impl AlertFilter {
    fn fits(&self, alert: &SecurityAlert) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == alert.tenant)
            && self.severity.is_none_or(|severity| severity == alert.severity)
            && self.cause.is_none_or(|cause| cause == alert.cause)
            && (self.actor.is_none() || self.actor == alert.actor)
    }
}

/// A page of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SecurityAlerts {
    /// The newest first.
    pub alerts: Vec<SecurityAlert>,
    /// How many there are in the time and of the tenant, whatever else is asked for.
    pub total: u64,
    /// Hand it back as `cursor` for those behind these; absent on the last page. There may be a next page where this one has less than the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The alerts that fit, the newest first.
///
/// # Errors
/// Those of the store.
pub async fn find(
    documents: &(impl QueryDocuments + ?Sized),
    filter: &AlertFilter,
    limit: usize,
    after: Option<&str>,
) -> Result<SecurityAlerts, StatementsError> {
    let stored = Filter {
        tenant: filter.tenant.clone(),
        from_ms: filter.from_ms,
        to_ms: filter.to_ms,
        event_types: EVENT_TYPES.map(str::to_owned).to_vec(),
        ..Filter::default()
    };
    let mut found = SecurityAlerts { next: after.map(str::to_owned), ..SecurityAlerts::default() };
    for _ in 0..PAGES {
        let page =
            documents.search(&stored.clone().of_others(), limit - found.alerts.len(), found.next.as_deref()).await?;
        (found.total, found.next) = (page.total, page.next);
        // What another family stored under such a name has another topic.
        let documents = page.statements.into_iter().map(|stored| stored.document);
        let documents = documents.filter(|document| &*document.source.topic == TOPIC);
        let alerts = documents.filter_map(|document| SecurityAlert::read(&document.raw, document.source));
        found.alerts.extend(alerts.filter(|alert| filter.fits(alert)));
        if found.next.is_none() || found.alerts.len() >= limit {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: &str, payload: &str) -> String {
        format!(
            r#"{{"id": "d6c89a8e-3dcd-5909-935a-e29decf5fc47", "type": "{event_type}", "source": "security", "timestamp": "2026-03-02T08:01:00Z",
            "payload": {payload}, "meta": {{"tenant_id": "academy", "correlation_id": "autumn"}}}}"#
        )
    }

    fn read(event_type: &str, payload: &str) -> Option<SecurityAlert> {
        SecurityAlert::read(event(event_type, payload).as_bytes(), Position::new(TOPIC, 0, 7))
    }

    #[test]
    fn an_alert_is_told_to_a_person_and_to_a_program() {
        let raised = read(
            "security.alert.raised",
            r#"{"severity": "high", "cause": "approval_invalid", "subject": "ap-17", "actor": "eve", "reason": "token_mismatch", "count": 1,
                "window_start": "2026-03-02T08:00:00Z", "token_fingerprint": "sha256:00"}"#,
        );
        let posted = serde_json::to_value(PostedAlert::from(raised.expect("an alert"))).expect("it is JSON");
        assert_eq!(
            posted,
            serde_json::json!({
                "text": "Security, high, tenant academy: an approval could not be used: ap-17 (token mismatch), by eve",
                "status": "firing", "alert": "security", "subject": "tenant academy",
                "key": "lyceum/security/d6c89a8e-3dcd-5909-935a-e29decf5fc47",
                "id": "d6c89a8e-3dcd-5909-935a-e29decf5fc47", "at": "2026-03-02T08:01:00Z", "tenant": "academy", "severity": "high",
                "cause": "approval_invalid", "about": "ap-17", "actor": "eve", "reason": "token_mismatch",
                "token_fingerprint": "sha256:00", "count": 1, "raised": null, "since": "2026-03-02T08:00:00Z",
                "correlation_id": "autumn", "position": "security.alerts.v1/0/7",
            })
        );
        let held_back = read(
            "security.alerts.held_back",
            r#"{"held_back": 12, "raised": 10, "window": "over", "window_start": "2026-03-02T08:00:00Z"}"#,
        );
        assert_eq!(
            PostedAlert::from(held_back.expect("an alert")).text,
            "Security, high, tenant academy: 12 more alerts were held back since 2026-03-02T08:00:00Z, 10 were raised"
        );
        let brute_force = read(
            "security.alert.raised",
            r#"{"severity": "critical", "cause": "brute_force", "actor": "eve", "count": 5, "window_start": "2026-03-02T08:00:00Z"}"#,
        );
        assert_eq!(
            PostedAlert::from(brute_force.expect("an alert")).text,
            "Security, critical, tenant academy: 5 approvals could not be used since 2026-03-02T08:00:00Z, by eve"
        );
    }

    #[test]
    fn what_is_no_alert_is_none() {
        let window = r#""window_start": "2026-03-02T08:00:00Z""#;
        for (event_type, payload) in [
            ("security.alert.raised", format!(r#"{{"severity": "high", "cause": "held_back", {window}}}"#)),
            ("security.alert.raised", format!(r#"{{"severity": "dire", "cause": "brute_force", {window}}}"#)),
            ("security.alert.raised", r#"{"severity": "high", "cause": "brute_force"}"#.to_owned()),
            ("ir.approval_invalid", format!(r#"{{"severity": "high", "cause": "brute_force", {window}}}"#)),
        ] {
            assert_eq!(read(event_type, &payload), None, "{payload}");
        }
        assert_eq!(SecurityAlert::read(b"\xff", Position::new(TOPIC, 0, 0)), None);
    }

    #[test]
    fn what_a_sender_wrote_is_no_markup_of_a_chat() {
        let actor = format!("<!channel> @here *b* `x` [l](http://e) {}", "y".repeat(500));
        let alert = read(
            "security.alert.raised",
            &serde_json::json!({"severity": "low", "cause": "dag_diff_failed", "actor": actor, "count": 1, "window_start": "2026-03-02T08:00:00Z"})
                .to_string(),
        );
        let posted = PostedAlert::from(alert.expect("an alert"));
        assert!(!posted.text.contains(['<', '>', '@', '*', '`', '[', '(']), "{}", posted.text);
        assert!(posted.text.chars().count() < 250 && posted.of.actor.as_ref() == Some(&actor));
    }
}
