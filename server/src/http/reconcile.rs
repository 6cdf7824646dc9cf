//! `/api/reconcile`: the log against the stores.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use lyceum_core::clock::Clock;
use lyceum_core::reconcile::Report;

use super::running::Running;
use super::{BODY_LIMIT_BYTES, read_body};
use crate::access::Caller;
use crate::problem::{Kind, Problem};
use crate::reconcile::{Reconciler, Request};

/// How long one request compares; what is left then is asked for by the next one.
const TIME: Duration = Duration::from_secs(300);

/// Compares a range of the log with what the stores keep of it, and repairs what is missing where that is asked for.
pub(super) async fn reconcile(
    State(reconciler): State<Arc<Reconciler>>,
    State(clock): State<Arc<dyn Clock>>,
    State(running): State<Running>,
    caller: Caller,
    body: Body,
) -> Result<Json<Report>, Problem> {
    if caller.tenant.is_some() {
        let detail = "a log has the records of every tenant: this needs a token for every tenant";
        return Err(Problem::new(Kind::FORBIDDEN_TENANT, detail));
    }
    let body = read_body(&caller, body, BODY_LIMIT_BYTES).await?;
    let request: Request = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("{error}; /openapi.json has the schema")))?;
    let deadline_ms = clock.now_ms() + running.time_to_work(TIME).as_millis() as i64;
    Ok(Json(reconciler.reconcile(&request, deadline_ms).await?))
}
