//! xAPI statements in JSON. Both wire forms of the platform's topics are understood: a bare statement, and the wrapped message
//! `{"event_type", "xapi_data": {statement}, "metadata": {…}, …}` (see `wrapped.rs`).

use std::convert::Infallible;

use lyceum_xapi::Version;
use lyceum_xapi::equality;
use lyceum_xapi::statement::{Object, Statement};

use super::{Format, Opened};
use crate::envelope::{Envelope, EnvelopeConfig, Hint, Invalid, Meant, Opening};
use crate::family::{Catalog, Known, known};
use crate::outcome::{DeadLetterKind, Finding};
use crate::ports::schemas::Schemas;
use crate::record::Record;

mod document;
pub mod field;
pub mod vocabulary;
mod wrapped;

pub use document::document;
use vocabulary::EXTENSIONS;

/// The format of the platform's families.
#[derive(Clone, Copy, Debug)]
pub struct StatementFormat;

impl Format for StatementFormat {
    type Body<'a> = Statement<'a>;

    type Schema = Infallible;

    fn parse(_: &str) -> Result<Infallible, String> {
        Err("a statement is read by no schema".to_owned())
    }

    fn open<'a>(record: &'a Record, hint: Hint<'_>, _: &Schemas<Infallible>) -> Opened<'a, Statement<'a>> {
        let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
        read(record, value, hint, None).into()
    }

    fn sameness(envelope: &Envelope<'_, Statement<'_>>, fields: &[u8]) -> [u8; 32] {
        equality::content_hash(envelope.raw, fields)
    }

    fn is_same(envelope: &Envelope<'_, Statement<'_>>, fields: &[u8], own: &[u8; 32], held: &[u8; 32]) -> bool {
        // The hash decides it, but for the keys of earlier releases.
        equality::same_content(held, own) || equality::is_former_hash(held, envelope.raw, fields)
    }
}

/// What a valid value is, on whatever topic it may come: where it belongs, and the event. For whoever publishes.
pub fn recognise<'a>(record: &'a Record, catalog: &Catalog, config: &EnvelopeConfig) -> Option<(Known, Envelope<'a>)> {
    judge(record, None, catalog, config).ok()
}

/// The same judgement as that of [`StatementFormat`], before there is a topic: what is a plain statement here is taken there. By
/// `version`, else by the statement's own.
///
/// # Errors
/// All that is wrong with the value.
pub fn judge<'a>(
    record: &'a Record,
    version: Option<Version>,
    catalog: &Catalog,
    config: &EnvelopeConfig,
) -> Result<(Known, Envelope<'a>), Box<Invalid>> {
    let value = record.value.as_deref().unwrap_or_default();
    read(record, value, Hint { family: None, catalog, config }, version)
}

fn read<'a>(
    record: &'a Record,
    value: &'a [u8],
    hint: Hint<'_>,
    version: Option<Version>,
) -> Result<(Known, Envelope<'a>), Box<Invalid>> {
    let mut opening = Opening::of(record, value, hint)?;
    let message = match wrapped::read(value) {
        Ok(message) => message,
        Err((kind, findings)) => {
            opening.extend(findings);
            return Err(opening.invalid(kind));
        }
    };
    let (raw, pointer) = match &message {
        Some(message) => (message.statement, "/xapi_data"),
        None => (value, ""),
    };
    let verdict = lyceum_xapi::validate(raw, version, &hint.config.statement);
    let kind = kind_of(&verdict.violations);
    opening.extend(verdict.violations.into_iter().map(|violation| {
        let mut finding = Finding::from(violation);
        finding.pointer.insert_str(0, pointer);
        finding
    }));
    if verdict.further > 0 {
        let message = format!("{} further violations are not listed", verdict.further);
        opening.finding("limit.violations", pointer, message);
    }
    let message = message.unwrap_or_default();
    let Some(statement) = verdict.statement else {
        opening.find_tenant([("/metadata/tenant_id", message.tenant_id), ("", None)]);
        return Err(opening.invalid(kind));
    };
    let tenant_extension = field::extension_text(&statement.context.extensions, "tenant_id");
    opening.find_tenant([("/metadata/tenant_id", message.tenant_id), ("/context/extensions", tenant_extension)]);
    opening.judge_tenant("/metadata/tenant_id");
    opening.find_correlation_id(("/metadata/correlation_id", message.correlation_id));
    opening.find_id(statement.id, ("/metadata/event_id", message.event_id));
    let recognised = hint
        .catalog
        .event_types()
        .find(|(_, event_type)| event_type.statement.as_ref().is_some_and(|form| form.is_said_by(&statement)));
    let meant = recognised.map(|of| Meant { known: known(of), by: "verb and object" });
    let otherwise = hint.catalog.plain_statement();
    if let Err(kind) = opening.find_type(("/event_type", message.event_type), meant, otherwise) {
        return Err(opening.invalid(kind));
    }
    let occurred_at_ms = statement.timestamp_ms;
    opening.finish(statement, raw, pointer, occurred_at_ms)
}

/// Bytes that are no JSON are a matter of decoding, what is over a limit has a name of its own, the rest is validation.
fn kind_of(violations: &[lyceum_xapi::Violation]) -> DeadLetterKind {
    let all = |prefix: &str| violations.iter().all(|violation| violation.rule.starts_with(prefix));
    if violations.is_empty() {
        DeadLetterKind::Validation
    } else if all("json.") {
        DeadLetterKind::Decode
    } else if all("limit.") {
        DeadLetterKind::Oversized
    } else {
        DeadLetterKind::Validation
    }
}

impl<'a> Envelope<'a> {
    /// The last segment of the object's activity IRI.
    pub fn object_id(&self) -> Option<&str> {
        match &self.body.object {
            Object::Activity(activity) => vocabulary::last_segment(&activity.id),
            _ => None,
        }
    }

    /// The extension `http://nlj.platform/extensions/<name>`, looked for in context, object definition and result.
    pub fn extension(&self, name: &str) -> Option<(&'static str, &'a [u8])> {
        let statement = &self.body;
        let definition = match &statement.object {
            Object::Activity(activity) => activity.extensions.as_slice(),
            _ => &[],
        };
        let places = [
            ("/context/extensions", statement.context.extensions.as_slice()),
            ("/object/definition/extensions", definition),
            ("/result/extensions", statement.result.extensions.as_slice()),
        ];
        places.into_iter().find_map(|(place, extensions)| {
            let is_it = |key: &str| key.strip_prefix(EXTENSIONS) == Some(name);
            extensions.iter().find(|(key, _)| is_it(key)).map(|(_, raw)| (place, *raw))
        })
    }
}
