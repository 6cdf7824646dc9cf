//! `GET /api/history` and `/history.csv`: how events ended over a longer time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{csv_file, read_query};
use crate::access::Caller;
use crate::live::history::{History, Reach};
use crate::live::{Live, OUTCOMES, format_time};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    tenant: Option<String>,
    reach: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ShownHistory {
    reach: &'static str,
    bar_ms: i64,
    is_durable: bool,
    bars: Vec<ShownBar>,
}

#[derive(Serialize)]
struct ShownBar {
    from: String,
    outcomes: Option<BTreeMap<&'static str, u64>>,
}

/// The reach of that name, the shortest where nobody says.
pub(super) fn read_reach(name: Option<&str>) -> Result<Reach, Problem> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Reach::default()) };
    Reach::from_name(name).ok_or_else(|| {
        let names = Reach::ALL.map(Reach::name).join(", ");
        Problem::bad_request(format!("reach is {name:?}; there are: {names}"))
    })
}

fn find(live: &Live, caller: &Caller, uri: &Uri) -> Result<History, Problem> {
    let query: Query = read_query(uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    Ok(live.history(tenant.as_deref(), read_reach(query.reach.as_deref())?))
}

pub(super) async fn show(
    State(live): State<Arc<Live>>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<ShownHistory>, Problem> {
    let history = find(&live, &caller, &uri)?;
    let bars = history.bars.iter().map(|bar| ShownBar {
        from: format_time(bar.start_ms),
        outcomes: bar.counts.map(|counts| OUTCOMES.into_iter().zip(counts).filter(|(_, number)| *number > 0).collect()),
    });
    Ok(Json(ShownHistory {
        reach: history.reach.name(),
        bar_ms: history.bar_ms(),
        is_durable: history.is_durable,
        bars: bars.collect(),
    }))
}

pub(super) async fn download(State(live): State<Arc<Live>>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let history = find(&live, &caller, &uri)?;
    Ok(csv_file(&format!("events-{}", history.reach.name()), history.to_csv()))
}
