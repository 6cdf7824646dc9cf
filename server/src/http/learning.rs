//! The pages of learning and of a learner, and the days of learning as a file.

use axum::extract::State;
use axum::http::Uri;
use axum::response::{Html, Response};
use serde::Deserialize;

use super::lately::compare;
use super::page::{Sources, frame};
use super::state::Query;
use super::{At, csv_file, read_query};
use crate::access::Caller;
use crate::page::learning::{Compared, DAYS, LearningView};
use crate::page::statement::LearnerView;
use crate::problem::Problem;
use crate::questions::Span;
use crate::segment::Id;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    tenant: Option<String>,
    days: Option<u32>,
}

async fn find(sources: &Sources, caller: &Caller, uri: &Uri) -> Result<(Option<String>, Compared), Problem> {
    let asked: Asked = read_query(uri)?;
    let tenant = caller.scope(asked.tenant.as_deref())?;
    let days = asked.days.unwrap_or(DAYS[0]);
    if !DAYS.contains(&days) {
        return Err(Problem::bad_request(format!(
            "days is {days}; there are: {}",
            DAYS.map(|days| days.to_string()).join(", ")
        )));
    }
    let compared =
        compare(&sources.compared, sources.analytics.clone(), sources.clock.clone(), tenant.clone(), days).await?;
    Ok((tenant, compared))
}

pub(super) async fn show_page(
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let (tenant, compared) = find(&sources, &caller, &uri).await?;
    Ok(Html(LearningView { frame: frame(&sources, tenant), compared }.render().into_string()))
}

pub(super) async fn download(State(sources): State<Sources>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let (_, compared) = find(&sources, &caller, &uri).await?;
    Ok(csv_file(&format!("learning-{}-days", compared.period.days), compared.to_csv()))
}

pub(super) async fn show_learner(
    State(sources): State<Sources>,
    caller: Caller,
    At(Id(learner)): At<Id>,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let span = Span { tenant: caller.scope(query.tenant.as_deref())?, ..Span::default() };
    let answer = sources.analytics.learner(&learner, &span).await?;
    let answer =
        answer.ok_or_else(|| Problem::not_found(format!("no statement of learner {learner} in this tenant")))?;
    Ok(Html(LearnerView { frame: frame(&sources, span.tenant), answer }.render().into_string()))
}
