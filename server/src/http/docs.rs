//! `GET /docs`, and `GET` and `POST /docs/{event}`: the events as people look them up, and a form that publishes one here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use axum::response::Html;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::events::{Publishing, publish_these};
use super::state::Query;
use super::{At, PUBLISH_LIMIT_BYTES, read_body, read_query};
use crate::access::{Caller, Role};
use crate::page::Frame;
use crate::page::docs::{DocsView, EventTypeView, Message, Tried};
use crate::problem::Problem;

/// What these pages are made of.
#[derive(Clone)]
pub(super) struct Docs {
    pub(super) document: Arc<Value>,
    pub(super) publishing: Publishing,
    /// Where the data is, for people.
    pub(super) data: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    tenant: Option<String>,
    q: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    event: String,
}

pub(super) async fn show(
    State(Docs { document, data, .. }): State<Docs>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let asked: Asked = read_query(&uri)?;
    let frame = Frame { tenant: caller.scope(asked.tenant.as_deref())?, data };
    let view = DocsView { frame, document: &document, sought: asked.q.unwrap_or_default() };
    Ok(Html(view.render().into_string()))
}

pub(super) async fn show_event_type(
    State(Docs { document, data, .. }): State<Docs>,
    caller: Caller,
    At(name): At<String>,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let frame = Frame { tenant: caller.scope(query.tenant.as_deref())?, data };
    let message = find(&document, &name)?;
    let may_publish = caller.require(Role::Publish).is_ok();
    let view = EventTypeView { frame, message, event: message.example(), tried: None, may_publish };
    Ok(Html(view.render().into_string()))
}

pub(super) async fn publish(
    State(Docs { document, publishing, data }): State<Docs>,
    caller: Caller,
    At(name): At<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let message = find(&document, &name)?;
    let is_form = |kind: &str| kind.starts_with("application/x-www-form-urlencoded");
    if !headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_form) {
        let detail = format!("this is the form of a page; a program sends JSON to POST /events/{}", message.topic);
        return Err(Problem::bad_request(detail));
    }
    publishing.room.reserve(&caller, 1).await?;
    let body = read_body(&caller, body, PUBLISH_LIMIT_BYTES).await?;
    let Form { event } = serde_urlencoded::from_bytes(&body)
        .map_err(|error| Problem::bad_request(format!("the form cannot be read: {error}. Send it from the page")))?;
    let sent = Bytes::from(event.clone());
    let tried = match publish_these(&publishing, &caller, message.topic, tenant.clone(), sent).await {
        Ok(positions) => Tried::At(positions.iter().map(ToString::to_string).collect()),
        // What was written stays in the form.
        Err(problem) if problem.kind.status.is_client_error() => Tried::Refused(problem.detail.to_string()),
        Err(problem) => return Err(problem),
    };
    let frame = Frame { tenant, data };
    let view = EventTypeView { frame, message, event, tried: Some(tried), may_publish: true };
    Ok(Html(view.render().into_string()))
}

fn find<'d>(document: &'d Value, name: &str) -> Result<Message<'d>, Problem> {
    Message::named(document, name)
        .ok_or_else(|| Problem::not_found(format!("there is no event type {name:?}; GET /docs lists them")))
}
