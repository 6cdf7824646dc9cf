//! `GET /api/statements/{id}`: one statement as it was sent.

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use uuid::Uuid;

use super::access::Caller;
use super::problem::Problem;
use super::state::Query;
use super::{At, SharedApp, json_bytes, read_query};
use crate::live::format_time;

/// The answer's body is the statement's bytes; what the store knows beside them is in headers: `lyceum-source`,
/// `lyceum-stored`, `lyceum-voided`.
pub(super) async fn show(
    State(app): SharedApp,
    caller: Caller,
    At(id): At<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: Query = read_query(&uri)?;
    let services = &app.services;
    let tenant = caller.scope(query.tenant.as_deref())?.unwrap_or_else(|| services.default_tenant.clone());
    let id: Uuid =
        id.parse().map_err(|_| Problem::bad_request(format!("{id:?} is no UUID, so no statement has it")))?;
    let found = services.statements.get(&tenant, id).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("tenant {tenant:?} has no statement {id}")))?;
    let mut response = json_bytes(found.document.raw);
    for (name, value) in [
        ("lyceum-source", found.document.source.to_string()),
        ("lyceum-stored", format_time(found.document.stored_ms)),
        ("lyceum-voided", found.voided.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
