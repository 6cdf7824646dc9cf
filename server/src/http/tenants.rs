//! `GET /api/tenants`: whose data there is.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::access::Caller;
use crate::dead_letters::letters::{DeadLetters, SoFar};
use crate::problem::Problem;
use crate::questions::{Analytics, AskError};

#[derive(Serialize)]
pub(super) struct Tenants {
    tenants: BTreeSet<String>,
    is_behind: bool,
}

pub(super) async fn list(
    State(analytics): State<Arc<dyn Analytics>>,
    State(dead_letters): State<Arc<dyn DeadLetters>>,
    caller: Caller,
) -> Result<Json<Tenants>, Problem> {
    if let Some(own) = caller.tenant {
        return Ok(Json(Tenants { tenants: BTreeSet::from([own]), is_behind: false }));
    }
    let (stored, failed) = ask(&*analytics, &*dead_letters);
    let (stored, failed) = tokio::try_join!(stored, failed)?;
    let SoFar { answer: failed, is_behind } = failed;
    Ok(Json(Tenants { tenants: failed.into_iter().chain(stored).collect(), is_behind }))
}

type OfLetters = Result<SoFar<BTreeSet<String>>, AskError>;

/// The tenants that have statements or other documents, and those that have dead letters.
pub(super) fn ask<'a>(
    analytics: &'a dyn Analytics,
    dead_letters: &'a dyn DeadLetters,
) -> (impl Future<Output = Result<Vec<String>, AskError>> + 'a, impl Future<Output = OfLetters> + 'a) {
    (analytics.tenants(), dead_letters.tenants())
}
