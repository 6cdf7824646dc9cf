//! What the audit log says of a record.

use lyceum_core::audit::entry::{Kind, Labels, Letter, ReadLabels};
use lyceum_core::dead_letter;
use lyceum_core::envelope::{SECRET_RULE, TENANT_HEADER, derived_event_id};
use lyceum_core::outcome::{Finding, UNKNOWN};
use lyceum_core::record::{Record, header_text};

use crate::{Look, Looked};

/// Whether a value is refused for a secret in it, which no copy is made of.
fn has_secret(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.rule == SECRET_RULE)
}

impl ReadLabels for Look {
    fn labels(&self, record: &Record) -> Labels {
        if !self.dead_letter_topics().contains(&&*record.position.topic) {
            return self.of_event(record);
        }
        // A record on a topic for dead letters that is none is whatever it looks like.
        let Some(letter) = dead_letter::read(record) else { return self.of_event(record) };
        let original = Record {
            position: letter.source.clone(),
            timestamp_ms: letter.source_timestamp_ms.unwrap_or(record.timestamp_ms),
            key: letter.original.key.clone(),
            value: letter.original.value.clone(),
            headers: letter.original.headers.clone(),
        };
        let of_original = self.of_event(&original);
        Labels {
            kind: Kind::DeadLetter,
            event_type: of_original.event_type,
            family: letter.family.into(),
            event_id: of_original.event_id,
            tenant: letter.tenant.map(Into::into),
            correlation_id: letter.correlation_id.map(Into::into),
            letter: Some(Letter { source: letter.source, error: letter.kind }),
            holds_secret: of_original.holds_secret,
        }
    }
}

impl Look {
    fn of_event(&self, record: &Record) -> Labels {
        let family = self.family_of(&record.position.topic).unwrap_or_default();
        let labels = |kind, event_type, event_id| Labels {
            kind,
            event_type,
            family: family.into(),
            event_id,
            tenant: None,
            correlation_id: None,
            letter: None,
            holds_secret: false,
        };
        match self.at(record) {
            Looked::Tombstone => labels(Kind::Tombstone, UNKNOWN, None),
            Looked::Event(seen) => {
                let is_whole = seen.read.is_ok();
                let kind = if is_whole { Kind::Event } else { Kind::Invalid };
                let labels = labels(kind, seen.known.name, Some(seen.id));
                let holds_secret = seen.read.is_err_and(|findings| has_secret(&findings));
                Labels { tenant: Some(seen.tenant), correlation_id: Some(seen.correlation_id), holds_secret, ..labels }
            }
            Looked::Invalid(invalid) => {
                let labels = labels(Kind::Invalid, invalid.event_type, None);
                let holds_secret = has_secret(&invalid.findings);
                Labels { tenant: invalid.tenant, correlation_id: invalid.correlation_id, holds_secret, ..labels }
            }
            // Which log it is put into must not hang on a registry that answers one time and not another one.
            Looked::Missing(_) => {
                let labels = labels(Kind::Event, UNKNOWN, Some(derived_event_id(&record.position)));
                Labels { tenant: header_text(&record.headers, TENANT_HEADER).map(Into::into), ..labels }
            }
        }
    }
}
