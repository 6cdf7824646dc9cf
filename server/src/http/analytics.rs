//! `GET /api/analytics/…`: the questions of a learning team.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Deserialize;
use serde_json::Value;

use super::parameters::time;
use super::{At, read_query};
use crate::access::Caller;
use crate::problem::Problem;
use crate::questions::{Analytics, Span};
use crate::segment::Id;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    tenant: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SurveyQuery {
    tenant: Option<String>,
    from: Option<String>,
    to: Option<String>,
    scale: Option<String>,
}

type Answer = Result<Json<Value>, Problem>;
type Source = State<Arc<dyn Analytics>>;

pub(super) async fn show_platform(State(analytics): Source, caller: Caller, uri: Uri) -> Answer {
    let span = read_span(&caller, &uri)?;
    Ok(Json(analytics.platform(&span).await?))
}

pub(super) async fn show_learning(State(analytics): Source, caller: Caller, uri: Uri) -> Answer {
    let span = read_span(&caller, &uri)?;
    Ok(Json(analytics.learning(&span).await?))
}

pub(super) async fn show_survey(State(analytics): Source, caller: Caller, At(Id(id)): At<Id>, uri: Uri) -> Answer {
    let SurveyQuery { tenant, from, to, scale } = read_query(&uri)?;
    let span = check_span(&caller, Query { tenant, from, to })?;
    let scale = scale.filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
    let answer = analytics.survey(&id, &span, scale.map_err(Problem::bad_request)?).await?;
    answer.map(Json).ok_or_else(|| Problem::not_found(format!("no statement of survey {id} in this time and tenant")))
}

pub(super) async fn show_learner(State(analytics): Source, caller: Caller, At(Id(id)): At<Id>, uri: Uri) -> Answer {
    let answer = analytics.learner(&id, &read_span(&caller, &uri)?).await?;
    answer.map(Json).ok_or_else(|| Problem::not_found(format!("no statement of learner {id} in this time and tenant")))
}

fn read_span(caller: &Caller, uri: &Uri) -> Result<Span, Problem> {
    check_span(caller, read_query(uri)?)
}

fn check_span(caller: &Caller, query: Query) -> Result<Span, Problem> {
    let span = Span {
        tenant: caller.scope(query.tenant.as_deref())?,
        from_ms: time("from", query.from, 0)?,
        to_ms: time("to", query.to, 1)?,
    };
    if let (Some(from), Some(to)) = (span.from_ms, span.to_ms)
        && from >= to
    {
        return Err(Problem::bad_request("from is not before to, so no time is left: swap them"));
    }
    Ok(span)
}
