//! The pages of learning and of a learner, and the days of learning as a file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::Uri;
use axum::response::{Html, Response};
use serde::Deserialize;

use super::page::{Sources, frame};
use super::state::Query;
use super::{At, csv_file, read_query};
use crate::access::Caller;
use crate::page::learning::{Compared, DAYS, LearningView, Period};
use crate::page::statement::LearnerView;
use crate::problem::{Kind, Problem};
use crate::questions::Span;
use crate::segment::Id;

/// Of so many tenants and periods answers are remembered.
const ANSWERS: usize = 64;
/// An answer is as good as a new one for so long: every reader of a page asks the same, and it reads whole surveys.
const FRESH_MS: i64 = 60_000;

/// Of which tenant, and of how many days.
type Asking = (Option<String>, u32);

/// What was answered lately.
#[derive(Default)]
pub(super) struct Lately(Mutex<HashMap<Asking, Arc<Answered>>>);

#[derive(Default)]
struct Answered {
    /// Held by whoever asks.
    turn: tokio::sync::Mutex<()>,
    /// When it was answered, milliseconds since 1970 UTC, and what.
    last: Mutex<Option<(i64, Compared)>>,
}

impl Lately {
    fn of(&self, tenant: Option<&String>, days: u32) -> Arc<Answered> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.cloned(), days);
        if answers.len() >= ANSWERS && !answers.contains_key(&key) {
            answers.clear();
        }
        answers.entry(key).or_default().clone()
    }
}

impl Answered {
    fn last(&self) -> Option<(i64, Compared)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fresh(&self, now_ms: i64) -> Option<Compared> {
        self.last().filter(|(at_ms, _)| (now_ms - at_ms).abs() < FRESH_MS).map(|(_, compared)| compared)
    }
}

/// The last so many days, and those before them. While one asks anew, others are given the answer before; whoever waits no longer
/// leaves the question to be answered for the next one.
pub(super) async fn compare(sources: &Sources, tenant: Option<String>, days: u32) -> Result<Compared, Problem> {
    let answered = sources.compared.of(tenant.as_ref(), days);
    if let Some(compared) = answered.fresh(sources.clock.now_ms()) {
        return Ok(compared);
    }
    if let (Err(_), Some((_, compared))) = (answered.turn.try_lock(), answered.last()) {
        return Ok(compared);
    }
    let (analytics, clock) = (sources.analytics.clone(), sources.clock.clone());
    let asking = tokio::spawn(async move {
        let _turn = answered.turn.lock().await;
        if let Some(compared) = answered.fresh(clock.now_ms()) {
            return Ok(compared);
        }
        let period = Period::last(days, clock.now_ms());
        let of = |(from_ms, to_ms)| Span { tenant: tenant.clone(), from_ms: Some(from_ms), to_ms: Some(to_ms) };
        let (now, before) = (of(period.span()), of(period.span_before()));
        let (now, before) = tokio::try_join!(analytics.learning(&now), analytics.learning(&before))?;
        let compared = Compared { period, now, before };
        *answered.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock.now_ms(), compared.clone()));
        Ok(compared)
    });
    asking.await.map_err(|error| Problem::new(Kind::INTERNAL, format!("the question was not answered: {error}")))?
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
