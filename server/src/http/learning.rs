//! The pages of learning and of a learner, and the days of learning as a file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::Uri;
use axum::response::{Html, Response};
use futures::FutureExt;
use serde::Deserialize;

use super::page::{Sources, frame};
use super::state::Query;
use super::{At, csv_file, read_query};
use crate::access::Caller;
use crate::page::learning::{Compared, DAYS, LearningView, Period};
use crate::page::statement::LearnerView;
use crate::problem::{Kind, Problem};
use crate::questions::{AskError, Span};
use crate::segment::Id;
use crate::single_flight::Flights;

/// Of so many tenants and periods answers are remembered.
const ANSWERS: usize = 64;
/// An answer is as good as a new one for so long: every reader of a page asks the same, and it reads whole surveys.
const FRESH_MS: i64 = 60_000;

/// Of which tenant, and of how many days.
type Asking = (Option<String>, u32);

/// What was answered lately, and what is being asked.
#[derive(Clone, Default)]
pub(super) struct Lately {
    asking: Arc<Flights<Asking, Result<Compared, AskError>>>,
    /// When it was answered, milliseconds since 1970 UTC, and what.
    answers: Arc<Mutex<HashMap<Asking, (i64, Compared)>>>,
}

impl Lately {
    fn last(&self, asking: &Asking) -> Option<(i64, Compared)> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(asking).cloned()
    }

    fn fresh(&self, asking: &Asking, now_ms: i64) -> Option<Compared> {
        self.last(asking).filter(|(at_ms, _)| (now_ms - at_ms).abs() < FRESH_MS).map(|(_, compared)| compared)
    }

    fn keep(&self, asking: Asking, at_ms: i64, compared: Compared) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS && !answers.contains_key(&asking) {
            answers.clear();
        }
        answers.insert(asking, (at_ms, compared));
    }
}

/// The last so many days, and those before them. While one asks anew, others are given the answer before; whoever waits no longer
/// leaves the question to be answered for the next one.
pub(super) async fn compare(sources: &Sources, tenant: Option<String>, days: u32) -> Result<Compared, Problem> {
    let asking = (tenant, days);
    let lately = &sources.compared;
    if let Some(compared) = lately.fresh(&asking, sources.clock.now_ms()) {
        return Ok(compared);
    }
    let before = lately.last(&asking);
    let begin = || Ok::<_, Problem>(ask(sources, asking.clone()).boxed());
    let joined = lately.asking.join(asking.clone(), begin)?;
    match before {
        Some((_, compared)) if !joined.is_first => Ok(compared),
        _ => {
            let answer = tokio::spawn(joined.answering).await;
            let broke_off = |error| Problem::new(Kind::INTERNAL, format!("the question was not answered: {error}"));
            Ok(answer.map_err(broke_off)??)
        }
    }
}

/// Asks, and keeps the answer.
fn ask(sources: &Sources, asking: Asking) -> impl Future<Output = Result<Compared, AskError>> + use<> {
    let (analytics, clock, lately) = (sources.analytics.clone(), sources.clock.clone(), sources.compared.clone());
    async move {
        // It may have been answered between a look at the answers and the question.
        if let Some(compared) = lately.fresh(&asking, clock.now_ms()) {
            return Ok(compared);
        }
        let (tenant, days) = &asking;
        let period = Period::last(*days, clock.now_ms());
        let of = |(from_ms, to_ms)| Span { tenant: tenant.clone(), from_ms: Some(from_ms), to_ms: Some(to_ms) };
        let (now, before) = (of(period.span()), of(period.span_before()));
        let (now, before) = tokio::try_join!(analytics.learning(&now), analytics.learning(&before))?;
        let compared = Compared { period, now, before };
        lately.keep(asking, clock.now_ms(), compared.clone());
        Ok(compared)
    }
}

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
    let compared = compare(sources, tenant.clone(), days).await?;
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
