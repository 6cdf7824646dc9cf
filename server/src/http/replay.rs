//! `POST /events/replay`, `/api/replays`, and the pages of replays: begun, watched, stopped and resumed.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, post};
use lyceum_core::replay::Request;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::page::{Sources, frame};
use super::{App, At, BODY_LIMIT_BYTES, Limit, read_body, read_query};
use crate::access::{Access, Caller, Role};
use crate::page::replays::{Answered, Form, ReplayView, ReplaysView};
use crate::problem::Problem;
use crate::questions::AskError;
use crate::replay::{Asked, Runner, Shown};

type Runs = State<Arc<Runner>>;

/// So many runs stand on the page.
const ON_A_PAGE: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    tenant: Option<String>,
    #[serde(default)]
    limit: Limit,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    tenant: Option<String>,
    dry_run: Option<bool>,
}

/// Runs, the one that came further last first.
#[derive(Serialize)]
pub(super) struct Replays {
    replays: Vec<Shown>,
}

/// Who asks, as a run remembers it.
fn asked(caller: &Caller, access: &Access, tenant: Option<String>) -> Asked {
    let by = match &caller.tenant {
        Some(tenant) => format!("a token of tenant {tenant}"),
        None if access.is_open() => "this machine".to_owned(),
        None => "a token of every tenant".to_owned(),
    };
    Asked { tenant, by }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.starts_with("application/x-www-form-urlencoded")
}

/// Begins a run, or says what it would do. The page's form is answered with the page of the run, or with itself and what is wrong in it.
pub(super) async fn begin(
    State(runner): Runs,
    State(access): State<Access>,
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let How { tenant, dry_run } = read_query(&uri)?;
    let tenant = caller.scope(tenant.as_deref())?;
    let asked = asked(&caller, &access, tenant.clone());
    let body = read_body(&caller, body, BODY_LIMIT_BYTES).await?;
    if !is_form(&headers) {
        let request = Request::read(&body).map_err(|wrong| {
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            Problem::bad_request(wrong.join("; "))
        })?;
        return Ok(match dry_run.unwrap_or(false) {
            true => Json(runner.dry_run(request, &asked).await?).into_response(),
            false => Json(runner.begin(request, &asked).await?).into_response(),
        });
    }
    let form: Form = serde_urlencoded::from_bytes(&body)
        .map_err(|error| Problem::bad_request(format!("the form cannot be read: {error}. Send it from the page")))?;
    let done = match form.request() {
        Err(wrong) => Err(AskError::Invalid(wrong)),
        Ok(request) if form.is_dry_run() => {
            runner.dry_run(request, &asked).await.map(|dry| Answered::WouldDo(Box::new(dry)))
        }
        Ok(request) => match runner.begin(request, &asked).await {
            Ok(shown) => {
                let path = frame(&sources, tenant).path(&format!("/replays/{}", shown.id), &[]);
                return Ok(Redirect::to(&path).into_response());
            }
            Err(error) => Err(error),
        },
    };
    let (status, answered) = match done {
        Ok(answered) => (StatusCode::OK, answered),
        Err(error) => {
            let problem = Problem::from(error);
            (problem.kind.status, Answered::Wrong(problem.detail))
        }
    };
    let replays = runner.list(tenant.as_deref(), ON_A_PAGE).await?;
    let view =
        ReplaysView { frame: frame(&sources, tenant), replays, form, answered: Some(answered), may_operate: true };
    Ok((status, Html(view.render().into_string())).into_response())
}

pub(super) async fn list(State(runner): Runs, caller: Caller, uri: Uri) -> Result<Json<Replays>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    Ok(Json(Replays { replays: runner.list(tenant.as_deref(), query.limit.0).await? }))
}

/// The run that a path names.
fn read_id(id: &str) -> Result<Uuid, Problem> {
    let wrong = || Problem::not_found(format!("{id:?} is no replay's id; GET /api/replays lists those that there are"));
    id.parse().map_err(|_| wrong())
}

pub(super) async fn show(
    State(runner): Runs,
    State(access): State<Access>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Json<Shown>, Problem> {
    Ok(Json(runner.show(read_id(&id)?, &asked(&caller, &access, caller.tenant.clone())).await?))
}

/// What a person does with a run that was begun.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Cancel,
    Resume,
}

pub(super) fn act(what: Act) -> MethodRouter<App> {
    post(
        move |State(runner): Runs,
              State(access): State<Access>,
              caller: Caller,
              At(id): At<String>,
              headers: HeaderMap| async move {
            let (run, asked) = (read_id(&id)?, asked(&caller, &access, caller.tenant.clone()));
            let done = match what {
                Act::Cancel => runner.cancel(run, &asked).await,
                Act::Resume => runner.resume(run, &asked).await,
            };
            answer(&id, &headers, done)
        },
    )
}

/// JSON is answered with the run; the page's button with a redirection to its page, which shows how the run stands, also where it ended
/// before the button was pressed.
fn answer(id: &str, headers: &HeaderMap, done: Result<Shown, AskError>) -> Result<Response, Problem> {
    match (is_form(headers), done) {
        (true, Ok(_) | Err(AskError::Conflict(_))) => Ok(Redirect::to(&format!("/replays/{id}")).into_response()),
        (_, Ok(shown)) => Ok(Json(shown).into_response()),
        (_, Err(error)) => Err(error.into()),
    }
}

pub(super) async fn show_page(
    State(runner): Runs,
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let replays = runner.list(tenant.as_deref(), ON_A_PAGE).await?;
    let view = ReplaysView {
        frame: frame(&sources, tenant),
        replays,
        form: Form::default(),
        answered: None,
        may_operate: caller.require(Role::Operate).is_ok(),
    };
    Ok(Html(view.render().into_string()))
}

pub(super) async fn show_one(
    State(runner): Runs,
    State(access): State<Access>,
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
    At(id): At<String>,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let replay = runner.show(read_id(&id)?, &asked(&caller, &access, caller.tenant.clone())).await?;
    let may_operate = caller.require(Role::Operate).is_ok();
    let view = ReplayView { frame: frame(&sources, tenant), replay, may_operate };
    Ok(Html(view.render().into_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Kind;

    #[test]
    fn what_does_not_fit_is_a_conflict_and_another_tenants_is_forbidden() {
        let kind = |error: AskError| Problem::from(error).kind;
        assert_eq!(kind(AskError::Conflict(String::new())), Kind::CONFLICT);
        assert_eq!(kind(AskError::Forbidden(String::new())), Kind::FORBIDDEN_TENANT);
    }
}
