//! What was answered lately of a time against the one before: every reader of the pages asks the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use lyceum_core::clock::Clock;

use crate::page::learning::{Compared, Period};
use crate::problem::{Kind, Problem};
use crate::questions::{Analytics, AskError, Span};
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
pub(super) async fn compare(
    lately: &Lately,
    analytics: Arc<dyn Analytics>,
    clock: Arc<dyn Clock>,
    tenant: Option<String>,
    days: u32,
) -> Result<Compared, Problem> {
    let asking = (tenant, days);
    if let Some(compared) = lately.fresh(&asking, clock.now_ms()) {
        return Ok(compared);
    }
    let before = lately.last(&asking);
    let begin = || Ok::<_, Problem>(ask(lately.clone(), analytics, clock, asking.clone()).boxed());
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
async fn ask(
    lately: Lately,
    analytics: Arc<dyn Analytics>,
    clock: Arc<dyn Clock>,
    asking: Asking,
) -> Result<Compared, AskError> {
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
