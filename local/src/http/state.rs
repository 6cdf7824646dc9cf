//! `GET /api/state/{kind}/{id}`: the state kept of one aggregate.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Deserialize;
use serde_json::Value;

use super::access::Caller;
use super::problem::Problem;
use super::{At, SharedApp, read_query};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) tenant: Option<String>,
}

pub(super) async fn show(
    State(app): SharedApp,
    caller: Caller,
    At((kind, id)): At<(String, String)>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let query: Query = read_query(&uri)?;
    let services = &app.services;
    let tenant = caller.scope(query.tenant.as_deref())?.unwrap_or_else(|| services.default_tenant.clone());
    let state = services.state.show(&tenant, &kind, &id).await?;
    state.map(Json).ok_or_else(|| Problem::not_found(format!("tenant {tenant:?} has no {kind} {id:?}")))
}
