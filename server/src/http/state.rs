//! `GET /api/state/{kind}/{id}`: the state kept of one aggregate.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Deserialize;
use serde_json::Value;

use super::{At, DefaultTenant, read_query};
use crate::access::Caller;
use crate::problem::Problem;
use crate::questions::State as States;
use crate::segment::Id;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) tenant: Option<String>,
}

pub(super) async fn show(
    State(states): State<Arc<dyn States>>,
    State(DefaultTenant(default)): State<DefaultTenant>,
    caller: Caller,
    At((kind, Id(id))): At<(String, Id)>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?.unwrap_or(default);
    let state = states.show(&tenant, &kind, &id).await?;
    state.map(Json).ok_or_else(|| Problem::not_found(format!("tenant {tenant:?} has no {kind} {id:?}")))
}
