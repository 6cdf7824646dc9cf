//! `GET /api/statements/{id}`: one statement as it was sent.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use lyceum_core::ports::statements::Statements;
use uuid::Uuid;

use super::state::Query;
use super::{At, DefaultTenant, json_bytes, read_query};
use crate::access::Caller;
use crate::live::format_time;
use crate::problem::Problem;

/// The answer's body is the statement's bytes; what the store knows beside them is in headers: `lyceum-source`,
/// `lyceum-stored`, `lyceum-voided`.
pub(super) async fn show(
    State(statements): State<Arc<dyn Statements>>,
    State(DefaultTenant(default)): State<DefaultTenant>,
    caller: Caller,
    At(id): At<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?.unwrap_or(default);
    let id: Uuid =
        id.parse().map_err(|_| Problem::bad_request(format!("{id:?} is no UUID, so no statement has it")))?;
    let found = statements.get(&tenant, id).await?;
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
