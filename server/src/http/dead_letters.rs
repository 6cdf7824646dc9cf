//! `/api/dead-letters`: what failed for good, why, and sending it again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use serde::Deserialize;

use super::{At, BODY_LIMIT_BYTES, Limit, PUBLISH_LIMIT_BYTES, read_body, read_query};
use crate::access::Caller;
use crate::dead_letters::letters::{
    DeadLetterFilter, DeadLetters, Imported, Letters, ReplayRequest, ReplaySummary, ShownLetter, UpTo, Which,
};
use crate::problem::{Kind, Problem};

type Indexed = State<Arc<dyn DeadLetters>>;

/// How many letters one replay takes at most.
const LIMIT: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    tenant: Option<String>,
    topic: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    limit: Limit,
}

pub(super) async fn list(State(dead_letters): Indexed, caller: Caller, uri: Uri) -> Result<Json<Letters>, Problem> {
    let query: Query = read_query(&uri)?;
    let filter = read_filter(&caller, query.tenant.as_deref(), query.topic, query.kind.as_deref())?;
    Ok(Json(find(&*dead_letters, &filter, query.limit.0).await?))
}

/// The letters that match. A store's answer is filtered once more: a letter of another tenant never leaves here.
pub(super) async fn find(
    dead_letters: &dyn DeadLetters,
    filter: &DeadLetterFilter,
    limit: usize,
) -> Result<Letters, Problem> {
    let mut found = dead_letters.list(filter, limit).await?;
    found.letters.retain(|letter| filter.tenant.is_none() || letter.tenant == filter.tenant);
    Ok(found)
}

/// A filter within what the caller may see.
pub(super) fn read_filter(
    caller: &Caller,
    tenant: Option<&str>,
    topic: Option<String>,
    kind: Option<&str>,
) -> Result<DeadLetterFilter, Problem> {
    let kind = kind.filter(|kind| !kind.is_empty()).map(|name| {
        DeadLetterKind::from_name(name).ok_or_else(|| {
            let names = DeadLetterKind::ALL.map(DeadLetterKind::name).join(", ");
            Problem::bad_request(format!("{name:?} is no kind of dead letter; there are: {names}"))
        })
    });
    let topic = topic.filter(|topic| !topic.is_empty());
    Ok(DeadLetterFilter { tenant: caller.scope(tenant)?, topic, kind: kind.transpose()? })
}

pub(super) async fn show(
    State(dead_letters): Indexed,
    caller: Caller,
    At((topic, partition, offset)): At<(String, i32, i64)>,
) -> Result<Json<ShownLetter>, Problem> {
    let position = Position::new(topic, partition, offset);
    find_one(&*dead_letters, &caller, &position).await?.map(Json).ok_or_else(|| no_letter(&position))
}

/// The letter at a position, if the caller may see it.
pub(super) async fn find_one(
    dead_letters: &dyn DeadLetters,
    caller: &Caller,
    position: &Position,
) -> Result<Option<ShownLetter>, Problem> {
    let letter = dead_letters.show(position).await?;
    Ok(letter.filter(|letter| caller.tenant.is_none() || letter.tenant == caller.tenant))
}

fn no_letter(position: &Position) -> Problem {
    Problem::not_found(format!("there is no dead letter of yours at {position}; GET /api/dead-letters lists them"))
}

/// What to send again: either positions, or a filter. Neither would be every letter, which must be said: `all`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    positions: Vec<Position>,
    topic: Option<String>,
    kind: Option<String>,
    all: bool,
    dry_run: bool,
    limit: Option<usize>,
    again: bool,
    up_to: Option<UpTo>,
}

/// The page's form: the same, flat.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Form {
    position: Option<Position>,
    topic: Option<String>,
    kind: Option<String>,
    tenant: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tenant {
    tenant: Option<String>,
}

/// JSON is answered with the summary; the page's form with a redirection to where the summary is shown.
pub(super) async fn replay(
    State(dead_letters): Indexed,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Tenant { mut tenant } = read_query(&uri)?;
    let body = read_body(body, BODY_LIMIT_BYTES).await?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        let request: Request = serde_json::from_slice(&body).map_err(|error| {
            let forms = r#"{"positions": ["topic/partition/offset"]}, {"topic"?, "kind"?} or {"all": true}"#;
            Problem::bad_request(format!(
                "the body cannot be read: {error}. Send {forms}, with \"dry_run\"?, \"limit\"?, \"again\"? and \"up_to\"?"
            ))
        })?;
        return Ok(Json(run(&*dead_letters, &caller, tenant.as_deref(), request).await?).into_response());
    }
    if body.trim_ascii_start().starts_with(b"{") {
        let detail = "the body is JSON, and its Content-Type is that of a form: send Content-Type: application/json";
        return Err(Problem::bad_request(detail));
    }
    let form: Form = serde_urlencoded::from_bytes(&body)
        .map_err(|error| Problem::bad_request(format!("the form cannot be read: {error}. Send it from the page")))?;
    tenant = tenant.or(form.tenant).filter(|tenant| !tenant.is_empty());
    let positions: Vec<_> = form.position.into_iter().collect();
    let all = positions.is_empty();
    let request = Request { positions, topic: form.topic, kind: form.kind, all, ..Request::default() };
    let back = [("kind", request.kind.clone()), ("topic", request.topic.clone()), ("tenant", tenant.clone())];
    let summary = run(&*dead_letters, &caller, tenant.as_deref(), request).await?;
    let counts =
        [("sent", summary.replayed.len() as u64), ("parked", summary.parked), ("remaining", summary.remaining)];
    let query = back.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let query = query.chain(counts.map(|(name, count)| (name, count.to_string())));
    let query = serde_urlencoded::to_string(query.collect::<Vec<_>>())
        .map_err(|error| Problem::bad_request(format!("the filter cannot be written: {error}")))?;
    Ok(Redirect::to(&format!("/dead-letters?{query}")).into_response())
}

async fn run(
    dead_letters: &dyn DeadLetters,
    caller: &Caller,
    tenant: Option<&str>,
    request: Request,
) -> Result<ReplaySummary, Problem> {
    let Request { positions, topic, kind, all, dry_run, limit, again, up_to } = request;
    let filter = read_filter(caller, tenant, topic, kind.as_deref())?;
    let has_filter = filter.topic.is_some() || filter.kind.is_some();
    let limit = check_limit(limit.unwrap_or(LIMIT))?;
    let which = match (positions.is_empty(), has_filter || all) {
        (false, true) if has_filter => {
            return Err(Problem::bad_request("name positions, or a topic and kind, not both"));
        }
        (false, _) => {
            check_limit(positions.len())?;
            for position in &positions {
                let letter = find_one(dead_letters, caller, position).await?;
                let is_ours = letter.is_some_and(|letter| filter.tenant.is_none() || letter.tenant == filter.tenant);
                if !is_ours {
                    return Err(no_letter(position));
                }
            }
            Which::Positions(positions)
        }
        (true, true) => Which::Matching(filter),
        (true, false) => {
            let detail = r#"say which: positions, a topic, a kind, or {"all": true} for every one that waits"#;
            return Err(Problem::bad_request(detail));
        }
    };
    Ok(dead_letters.replay(&ReplayRequest { which, is_dry_run: dry_run, limit, again, up_to }).await?)
}

/// What AWS Lambda gave up, as it wrote it to its on-failure destination, becomes dead letters.
pub(super) async fn import(
    State(dead_letters): Indexed,
    caller: Caller,
    body: Body,
) -> Result<Json<Imported>, Problem> {
    if caller.tenant.is_some() {
        let detail = "a batch may hold events of any tenant: this needs a token for every tenant";
        return Err(Problem::new(Kind::FORBIDDEN_TENANT, detail));
    }
    // A text within JSON: an event of Lambda's 6 MB, each quote escaped.
    let document = read_body(body, 2 * PUBLISH_LIMIT_BYTES).await?;
    Ok(Json(dead_letters.import(&document).await?))
}

fn check_limit(limit: usize) -> Result<usize, Problem> {
    if (1..=LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::bad_request(format!("limit is 1 to {LIMIT}, not {limit}; ask again for the rest")))
}
