//! `/api/rebuild`: projections that are built anew beside the live ones, and swapped in. What it concerns is of every tenant.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use lyceum_core::generations::building::Wanted;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{BODY_LIMIT_BYTES, DefaultTenant, read_body, read_query};
use crate::access::Caller;
use crate::problem::{Kind, Problem};
use crate::questions::Analytics;
use crate::rebuild::{Action, Compared, Rebuilds};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    subscription: String,
    action: Action,
    /// Whether it is swapped in once it has all.
    #[serde(default)]
    swap: bool,
    /// Whether records that the log has dropped are done without.
    #[serde(default)]
    lacking: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    subscription: String,
}

fn check(caller: &Caller) -> Result<(), Problem> {
    match caller.tenant {
        None => Ok(()),
        Some(_) => {
            let detail = "a rebuild is of every tenant's events: this needs a token for every tenant";
            Err(Problem::new(Kind::FORBIDDEN_TENANT, detail))
        }
    }
}

pub(super) async fn list(State(rebuilds): State<Arc<Rebuilds>>, caller: Caller) -> Result<Json<Value>, Problem> {
    check(&caller)?;
    Ok(Json(json!({ "subscriptions": rebuilds.status().await? })))
}

pub(super) async fn act(
    State(rebuilds): State<Arc<Rebuilds>>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    check(&caller)?;
    let body = read_body(&caller, body, BODY_LIMIT_BYTES).await?;
    let Asked { subscription, action, swap, lacking } = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!(
            "the body asks for no rebuild: {error}; {{\"subscription\": \"learning\", \"action\": \"start\"}} does"
        ))
    })?;
    let wanted = Wanted { swaps: swap, lacking };
    let plan = match action {
        Action::Plan => Some(rebuilds.plan(&subscription, wanted).await?),
        Action::Start | Action::Back | Action::Cancel | Action::Drop => None,
    };
    let known = rebuilds.act(&subscription, action, wanted).await?;
    Ok(Json(json!({ "known": known, "plan": plan })))
}

pub(super) async fn compare(
    State(rebuilds): State<Arc<Rebuilds>>,
    State(analytics): State<Arc<dyn Analytics>>,
    State(DefaultTenant(default)): State<DefaultTenant>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Compared>, Problem> {
    check(&caller)?;
    let Query { subscription } = read_query(&uri)?;
    let mut tenants = analytics.tenants().await?;
    // One whose events have no documents, all of which were refused perhaps, has states nonetheless.
    if !tenants.contains(&default) {
        tenants.push(default);
    }
    Ok(Json(rebuilds.compare(&subscription, &tenants).await?))
}
