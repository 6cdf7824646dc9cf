//! `GET /api/validation`, and its page: what broke since when.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Html;
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use serde::Deserialize;

use super::page::{Sources, frame};
use super::parameters::{given, named, time};
use super::{Limit, read_query};
use crate::access::Caller;
use crate::dead_letters::letters::DeadLetters;
use crate::dead_letters::violations::{MOST_DAYS, SPAN_MS, ViolationFilter, Violations};
use crate::page::validation::ValidationView;
use crate::problem::Problem;

/// So much of each list stands on the page.
const ON_A_PAGE: usize = 50;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Query {
    tenant: Option<String>,
    topic: Option<String>,
    family: Option<String>,
    rule: Option<String>,
    sender: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Limit,
}

/// A name that is one of those that there are.
fn known(what: &str, name: Option<String>, mut names: Vec<&'static str>) -> Result<Option<String>, Problem> {
    names.sort_unstable();
    named(what, name, |name| names.contains(&name).then(|| name.to_owned()), &names)
}

impl Query {
    fn filter(self, caller: &Caller, catalog: &Catalog, now_ms: i64) -> Result<ViolationFilter, Problem> {
        let until_ms = time("until", self.until, 1)?.unwrap_or(now_ms);
        let since_ms = time("since", self.since, 0)?.unwrap_or(until_ms - SPAN_MS);
        if since_ms >= until_ms {
            return Err(Problem::bad_request("since is not before until, so no time is left: swap them"));
        }
        if until_ms - since_ms > MOST_DAYS * SPAN_MS {
            let detail = format!("from since to until are more than {MOST_DAYS} days: ask for a part of them");
            return Err(Problem::bad_request(detail));
        }
        let families = || catalog.families().iter();
        let topics = families().flat_map(|family| family.topics).map(|topic| topic.name).collect();
        Ok(ViolationFilter {
            tenant: caller.scope(self.tenant.as_deref())?,
            topic: known("topic", self.topic, topics)?,
            family: known("family", self.family, families().map(|family| family.name).collect())?,
            rule: given(self.rule),
            sender: given(self.sender),
            since_ms,
            until_ms,
        })
    }
}

/// What broke, filtered once more as letters are: nothing of another tenant leaves here.
async fn find(dead_letters: &dyn DeadLetters, filter: &ViolationFilter, limit: usize) -> Result<Violations, Problem> {
    let mut found = dead_letters.violations(filter, limit).await?;
    let is_own = |tenant: &Option<String>| filter.tenant.is_none() || *tenant == filter.tenant;
    found.courses.retain(|course| is_own(&course.of.tenant));
    found.senders.retain(|tally| is_own(&tally.of.tenant));
    Ok(found)
}

pub(super) async fn show(
    State(dead_letters): State<Arc<dyn DeadLetters>>,
    State(catalog): State<Arc<Catalog>>,
    State(clock): State<Arc<dyn Clock>>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Violations>, Problem> {
    let query: Query = read_query(&uri)?;
    let limit = query.limit.0;
    let filter = query.filter(&caller, &catalog, clock.now_ms())?;
    Ok(Json(find(&*dead_letters, &filter, limit).await?))
}

pub(super) async fn show_page(
    State(sources): State<Sources>,
    State(catalog): State<Arc<Catalog>>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let asked = [
        ("topic", &query.topic),
        ("family", &query.family),
        ("rule", &query.rule),
        ("sender", &query.sender),
        ("since", &query.since),
        ("until", &query.until),
    ];
    let asked = asked.into_iter().filter_map(|(name, value)| Some((name, given(value.clone())?))).collect();
    let filter = query.filter(&caller, &catalog, sources.clock.now_ms())?;
    let violations = find(&*sources.dead_letters, &filter, ON_A_PAGE).await?;
    let families = catalog.families().iter().map(|family| family.name).collect();
    let topics = catalog.families().iter().flat_map(|family| family.topics).map(|topic| topic.name).collect();
    let view =
        ValidationView { frame: frame(&sources, filter.tenant.clone()), filter, asked, violations, families, topics };
    Ok(Html(view.render().into_string()))
}
