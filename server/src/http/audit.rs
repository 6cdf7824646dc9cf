//! `/api/audit`, and its pages: what is in the audit log, whether it is whole, and a receipt for one event.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Html;
use lyceum_core::audit::entry::{Kind as EntryKind, LogId, NOBODY, Wanted};
use lyceum_core::audit::hash::Hash;
use lyceum_core::record::Position;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::page::{Sources, frame};
use super::parameters::{given, named, time};
use super::{At, BODY_LIMIT_BYTES, Limit, read_body, read_query};
use crate::access::Caller;
use crate::audit::{Audit, Named};
use crate::page::audit::{AuditView, EntryView};
use crate::problem::Problem;

/// So many entries stand on one page.
const ON_A_PAGE: usize = 50;
/// So many entries of one correlation id are a timeline.
const TIMELINE: usize = 200;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    tenant: Option<String>,
    r#type: Option<String>,
    kind: Option<String>,
    event: Option<String>,
    correlation: Option<String>,
    position: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Limit,
    cursor: Option<String>,
}

impl Query {
    fn wanted(self, caller: &Caller) -> Result<Wanted, Problem> {
        let kinds = EntryKind::ALL.map(EntryKind::name);
        let kind = named("kind of entry", self.kind, EntryKind::from_name, &kinds)?;
        let event = |text: String| {
            let wrong = || Problem::bad_request(format!("event is {text:?}, which is no UUID, as an event's id is"));
            text.parse::<Uuid>().map_err(|_| wrong())
        };
        let position = |text: String| text.parse::<Position>().map_err(|error| Problem::bad_request(error.to_string()));
        Ok(Wanted {
            tenant: caller.scope(self.tenant.as_deref())?,
            log: None,
            kinds: kind.into_iter().collect(),
            event_types: given(self.r#type).into_iter().collect(),
            event_id: given(self.event).map(event).transpose()?,
            correlation_id: given(self.correlation),
            positions: given(self.position).map(position).transpose()?.into_iter().collect(),
            from_ms: time("from", self.from, 0)?,
            to_ms: time("to", self.to, 1)?,
        })
    }
}

pub(super) async fn search(State(audit): State<Audit>, caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let query: Query = read_query(&uri)?;
    let (Limit(limit), cursor) = (query.limit, given(query.cursor.clone()));
    let found = audit.search(query.wanted(&caller)?, limit, cursor.as_deref()).await?;
    Ok(Json(json!(found)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTenant {
    tenant: Option<String>,
}

/// The tenants whose logs a caller sees; what is nobody's is an operator's.
async fn tenants(audit: &Audit, caller: &Caller, asked: Option<&str>) -> Result<Vec<String>, Problem> {
    match caller.scope(asked)? {
        Some(tenant) => Ok(vec![tenant]),
        None => Ok(audit.log.tenants().await?),
    }
}

pub(super) async fn logs(State(audit): State<Audit>, caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let query: OfTenant = read_query(&uri)?;
    let mut tenants_shown = Vec::new();
    for tenant in tenants(&audit, &caller, query.tenant.as_deref()).await? {
        let logs = audit.log.logs(&tenant).await?;
        let shown: Vec<Value> = logs
            .known
            .iter()
            .map(|(log, head)| json!({"log": log.name(), "entries": head.tree.size(), "root": head.tree.root()}))
            .collect();
        let seals = json!({"count": logs.seals.last.count, "last": logs.seals.last.hash});
        tenants_shown.push(json!({"tenant": tenant, "logs": shown, "seals": seals}));
    }
    Ok(Json(json!({"tenants": tenants_shown})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    tenant: Option<String>,
    log: Option<String>,
    seal: Option<String>,
}

/// One log, or without one the seals and what the ledger does not know.
pub(super) async fn verify(State(audit): State<Audit>, caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let query: Verify = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?.unwrap_or(NOBODY.to_owned());
    let known = given(query.seal).map(|seal| seal.parse::<Hash>()).transpose();
    let known = known.map_err(|error| Problem::bad_request(error.to_string()))?;
    let Some(name) = given(query.log) else {
        let logs = audit.log.logs(&tenant).await?;
        let (count, findings) = (logs.seals.last.count, logs.findings(&tenant, known));
        return Ok(Json(json!({"tenant": tenant, "seals": count, "findings": findings})));
    };
    let no_log = || Problem::not_found(format!("{name:?} is no log: write day/topic/partition"));
    let log = LogId::named(&tenant, &name).ok_or_else(no_log)?;
    Ok(Json(json!(audit.log.verify(&log, &audit.log.seals(&tenant).await?).await?)))
}

/// What is sent with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) async fn seal(
    State(audit): State<Audit>,
    caller: Caller,
    uri: Uri,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let query: OfTenant = read_query(&uri)?;
    let body = read_body(&caller, body, BODY_LIMIT_BYTES).await?;
    let Nothing {} = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is none of this call: {error}; send {{}}")))?;
    let mut sealed = Vec::new();
    for tenant in tenants(&audit, &caller, query.tenant.as_deref()).await? {
        if let Some(of) = audit.log.seal(&tenant).await? {
            sealed.push(json!({"tenant": tenant, "number": of.number, "day": of.day, "hash": of.hash}));
        }
    }
    Ok(Json(json!({"sealed": sealed})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    tenant: Option<String>,
    event: String,
}

pub(super) async fn prove(State(audit): State<Audit>, caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let query: Proof = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let named = Named::read(&query.event).ok_or_else(|| {
        let text = &query.event;
        Problem::bad_request(format!(
            "{text:?} is neither an event's id, a UUID, nor a position: topic/partition/offset"
        ))
    })?;
    let receipt = audit.prove(tenant, &named).await?;
    let receipt = receipt.ok_or_else(|| {
        let text = &query.event;
        Problem::not_found(format!(
            "the audit log has no event {text}, or not yet: `lyceum audit verify` tells whether it is whole"
        ))
    })?;
    Ok(Json(json!(receipt)))
}

pub(super) async fn show_page(
    State(sources): State<Sources>,
    State(audit): State<Audit>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let cursor = given(query.cursor.clone());
    let asked = [
        ("type", &query.r#type),
        ("kind", &query.kind),
        ("event", &query.event),
        ("correlation", &query.correlation),
        ("position", &query.position),
        ("from", &query.from),
        ("to", &query.to),
    ];
    let asked: Vec<(&'static str, String)> =
        asked.into_iter().filter_map(|(name, value)| Some((name, given(value.clone())?))).collect();
    let wanted = query.wanted(&caller)?;
    let (tenant, correlation_id) = (wanted.tenant.clone(), wanted.correlation_id.clone());
    let limit = if correlation_id.is_some() { TIMELINE } else { ON_A_PAGE };
    let found = audit.search(wanted, limit, cursor.as_deref()).await?;
    let event_types = sources.event_types.clone();
    let view = AuditView {
        frame: frame(&sources, tenant),
        asked,
        found,
        correlation_id,
        is_first: cursor.is_none(),
        event_types,
    };
    Ok(Html(view.render().into_string()))
}

pub(super) async fn show_entry(
    State(sources): State<Sources>,
    State(audit): State<Audit>,
    caller: Caller,
    At((topic, partition, offset)): At<(String, i32, i64)>,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: OfTenant = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let position = Position::new(topic, partition, offset);
    let wanted = Wanted { tenant: tenant.clone(), positions: vec![position.clone()], ..Wanted::default() };
    let of_record = audit.search(wanted, ON_A_PAGE, None).await?.entries;
    let mut of_itself = of_record.into_iter().filter(|shown| shown.entry.position == position);
    let entry = match of_itself.next() {
        Some(entry) => entry,
        // A letter is found by what it is about.
        None => {
            let record = super::page::read_record(&*sources.event_log, &position).await.ok().flatten();
            let source = record.as_ref().and_then(lyceum_core::dead_letter::read).map(|letter| letter.source);
            let wanted =
                Wanted { tenant: tenant.clone(), positions: source.into_iter().collect(), ..Wanted::default() };
            let found = match wanted.positions.is_empty() {
                true => None,
                false => audit
                    .search(wanted, ON_A_PAGE, None)
                    .await?
                    .entries
                    .into_iter()
                    .find(|of| of.entry.position == position),
            };
            found.ok_or_else(|| Problem::not_found(format!("the audit log has no entry of {position}, or not yet")))?
        }
    };
    let view = EntryView { frame: frame(&sources, tenant), entry };
    Ok(Html(view.render().into_string()))
}

/// What answers.
pub(super) fn of(services: &super::Services) -> Audit {
    Audit {
        log: lyceum_core::process::audit::AuditLog {
            entries: services.audit.clone(),
            ledger: services.ledger.clone(),
            clock: Arc::clone(&services.clock),
        },
        statements: services.statements.clone(),
        generations: services.rebuilds.generations().clone(),
        keys: services.keys.clone(),
        catalog: services.catalog.clone(),
    }
}
