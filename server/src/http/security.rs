//! `GET /api/security`, and its page: alerts about what governance reports.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Html;
use lyceum_core::ports::statements::{Statements, StatementsError};
use serde::Deserialize;

use super::page::{Sources, frame};
use super::parameters::{given, named, time};
use super::{Limit, read_query};
use crate::access::Caller;
use crate::page::security::SecurityView;
use crate::problem::Problem;
use crate::security::{AlertFilter, Cause, SecurityAlerts, Severity};

/// So many alerts stand on one page.
const ON_A_PAGE: usize = 50;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Query {
    tenant: Option<String>,
    severity: Option<String>,
    cause: Option<String>,
    actor: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Limit,
    cursor: Option<String>,
}

impl Query {
    fn filter(&self, caller: &Caller) -> Result<AlertFilter, Problem> {
        fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
            all.iter().map(|of| name(*of)).collect()
        }
        let filter = AlertFilter {
            tenant: caller.scope(self.tenant.as_deref())?,
            severity: named(
                "severity",
                self.severity.clone(),
                Severity::from_name,
                &names(Severity::ALL, Severity::name),
            )?,
            cause: named("cause", self.cause.clone(), Cause::from_name, &names(Cause::ALL, Cause::name))?,
            actor: given(self.actor.clone()),
            from_ms: time("from", self.from.clone(), 0)?,
            to_ms: time("to", self.to.clone(), 1)?,
        };
        if let (Some(from), Some(to)) = (filter.from_ms, filter.to_ms)
            && from >= to
        {
            return Err(Problem::bad_request("from is not before to, so no time is left: swap them"));
        }
        Ok(filter)
    }
}

async fn find(
    documents: &dyn Statements,
    filter: &AlertFilter,
    limit: usize,
    cursor: Option<&str>,
) -> Result<SecurityAlerts, Problem> {
    crate::security::find(documents, filter, limit, cursor).await.map_err(|error| match (&error, cursor) {
        (StatementsError::Refused(_), Some(cursor)) => {
            Problem::bad_request(format!("cursor is {cursor:?}: hand back the `next` of the answer before"))
        }
        _ => error.into(),
    })
}

pub(super) async fn show(
    State(documents): State<Arc<dyn Statements>>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<SecurityAlerts>, Problem> {
    let query: Query = read_query(&uri)?;
    let cursor = given(query.cursor.clone());
    Ok(Json(find(&*documents, &query.filter(&caller)?, query.limit.0, cursor.as_deref()).await?))
}

pub(super) async fn show_page(
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let filter = query.filter(&caller)?;
    let cursor = given(query.cursor.clone());
    let found = find(&*sources.statements, &filter, ON_A_PAGE, cursor.as_deref()).await?;
    let asked = [
        ("severity", query.severity),
        ("cause", query.cause),
        ("actor", query.actor),
        ("from", query.from),
        ("to", query.to),
    ];
    let asked = asked.into_iter().filter_map(|(name, value)| Some((name, given(value)?))).collect();
    let view = SecurityView { frame: frame(&sources, filter.tenant), asked, found, is_first: cursor.is_none() };
    Ok(Html(view.render().into_string()))
}
