//! `GET /search`: what a text names, and the page of a stored statement.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::{Html, IntoResponse, Redirect, Response};
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::ports::statements::Statements;
use lyceum_core::record::{Position, Record};
use serde::Deserialize;
use uuid::Uuid;

use super::page::{Sources, View, frame, is_visible, read_record};
use super::{At, DefaultTenant, read_query};
use crate::access::Caller;
use crate::dead_letters::letters::BEHIND;
use crate::page::search::{Hit, SearchView};
use crate::page::state::{learner_path, state_path, survey_path};
use crate::page::statement::StatementView;
use crate::page::{Frame, capital};
use crate::problem::{Kind, Problem};
use crate::questions::{AskError, Span, State as States};
use crate::search::Sought;

/// In so many tenants a state and a statement are looked for, where none is chosen.
const TENANTS: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    tenant: Option<String>,
    q: Option<String>,
}

pub(super) async fn show(
    State(sources): State<Sources>,
    State(states): State<Arc<dyn States>>,
    State(statements): State<Arc<dyn Statements>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let text = query.q.unwrap_or_default().trim().to_owned();
    let sought = Sought::read(&text);
    let mut search = Search { sources: &sources, caller: &caller, tenant, hits: Vec::new(), failed: Vec::new() };
    if !text.is_empty() {
        search.look_for(&sought, &*states, &*statements).await;
    }
    let Search { tenant, hits, failed, .. } = search;
    if let ([hit], []) = (&hits[..], &failed[..]) {
        return Ok(Redirect::to(&hit.to).into_response());
    }
    let looked_for = sought.looked_for();
    let view = SearchView { frame: frame(&sources, tenant), text, looked_for, hits, failed };
    Ok(Html(view.render().into_string()).into_response())
}

struct Search<'a> {
    sources: &'a Sources,
    caller: &'a Caller,
    tenant: Option<String>,
    hits: Vec<Hit>,
    failed: Vec<String>,
}

impl Search<'_> {
    async fn look_for(&mut self, sought: &Sought, states: &dyn States, statements: &dyn Statements) {
        if let Some(position) = &sought.position {
            self.find_record(position).await;
            return;
        }
        let tenants = self.tenants().await;
        if let Some(id) = sought.event {
            self.find_event(id, &tenants, statements).await;
        }
        if let Some((kind, id)) = &sought.state {
            self.find_states(kind.as_deref(), id, &tenants, states).await;
        }
        if let Some(survey) = &sought.survey {
            self.find_survey(survey).await;
        }
        if let Some(learner) = &sought.learner {
            self.find_learner(learner).await;
        }
    }

    /// Those that state and statements are looked for in, each by itself.
    async fn tenants(&self) -> Vec<String> {
        match &self.tenant {
            Some(tenant) => vec![tenant.clone()],
            None => {
                let view = View::of(self.caller, None);
                let tenants = view.list_tenants(self.sources).await.unwrap_or_default();
                tenants.answer.into_iter().take(TENANTS).collect()
            }
        }
    }

    fn path(&self, path: &str) -> String {
        Frame { tenant: self.tenant.clone(), ..Frame::default() }.path(path, &[])
    }

    fn add(&mut self, what: &str, name: &str, to: String, about: &str) {
        let hit = Hit { what: what.to_owned(), name: name.to_owned(), to, about: about.to_owned() };
        if !self.hits.iter().any(|known| known.to == hit.to) {
            self.hits.push(hit);
        }
    }

    /// What is not there is no failure; what cannot be asked is told.
    fn note(&mut self, what: &str, error: AskError) {
        if let AskError::Unavailable(why) | AskError::Busy(why) | AskError::TooMany(why) | AskError::Failed(why) = error
        {
            self.failed.push(format!("{what} could not be looked for: {why}"));
        }
    }

    async fn find_record(&mut self, position: &Position) {
        match is_visible(self.sources, self.caller, self.tenant.as_deref(), position).await {
            Ok(false) => {}
            Ok(true) => self.add("record", &position.to_string(), self.path(&format!("/events/{position}")), ""),
            // A topic that does not exist is not there, either.
            Err(problem) if problem.kind.status.is_client_error() => {}
            Err(problem) => self.failed.push(format!("the record could not be looked for: {}", problem.detail)),
        }
    }

    async fn find_event(&mut self, id: Uuid, tenants: &[String], statements: &dyn Statements) {
        for tenant in tenants {
            match statements.get(tenant, id).await {
                Ok(None) => {}
                Ok(Some(found)) => {
                    let of = Frame { tenant: Some(tenant.clone()), ..Frame::default() };
                    let about = format!("{} of {tenant}", found.document.fields.event_type);
                    self.add("statement", &id.to_string(), of.path(&format!("/statements/{id}"), &[]), &about);
                }
                Err(error) => self.failed.push(format!("the statement could not be looked for: {error}")),
            }
        }
        match self.sources.dead_letters.about(self.tenant.as_deref(), &HashSet::from([id])).await {
            Ok(letters) => {
                if letters.is_behind {
                    self.failed.push(capital(BEHIND));
                }
                for position in letters.answer.values() {
                    let to = self.path(&format!("/events/{position}"));
                    self.add("dead letter", &position.to_string(), to, "of this event");
                }
            }
            Err(error) => self.note("dead letters", error),
        }
        let latest = self.sources.live.snapshot(self.tenant.as_deref()).events;
        for event in latest.iter().filter(|event| event.event_id == Some(id)) {
            let to = self.path(&format!("/events/{}", event.position));
            self.add("record", &event.position.to_string(), to, event.outcome.name());
        }
    }

    async fn find_states(&mut self, kind: Option<&str>, id: &str, tenants: &[String], states: &dyn States) {
        let kinds = self.sources.kinds.clone();
        for kind in kinds.into_iter().filter(|known| kind.is_none_or(|kind| kind == *known)) {
            for tenant in tenants {
                match states.show(tenant, kind, id).await {
                    Ok(Some(_)) => {
                        let of = Frame { tenant: Some(tenant.clone()), ..Frame::default() };
                        self.add(
                            &kind.replace('_', " "),
                            id,
                            of.path(&state_path(kind, id), &[]),
                            &format!("of {tenant}"),
                        );
                    }
                    Ok(None) => {}
                    Err(error) => self.note(kind, error),
                }
            }
        }
    }

    async fn find_survey(&mut self, survey: &str) {
        let span = Span { tenant: self.tenant.clone(), ..Span::default() };
        match self.sources.analytics.survey(survey, &span, None).await {
            Ok(Some(_)) => self.add("survey", survey, self.path(&survey_path(survey)), ""),
            Ok(None) => {}
            Err(error) => self.note("surveys", error),
        }
    }

    async fn find_learner(&mut self, learner: &str) {
        let span = Span { tenant: self.tenant.clone(), ..Span::default() };
        match self.sources.analytics.learner(learner, &span).await {
            Ok(Some(_)) => self.add("learner", learner, self.path(&learner_path(learner)), ""),
            Ok(None) => {}
            Err(error) => self.note("learners", error),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTenant {
    tenant: Option<String>,
}

pub(super) async fn show_statement(
    State(sources): State<Sources>,
    State(log): State<Arc<dyn EventLog>>,
    State(statements): State<Arc<dyn Statements>>,
    State(DefaultTenant(default)): State<DefaultTenant>,
    caller: Caller,
    At(id): At<String>,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: OfTenant = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?.unwrap_or(default);
    let id: Uuid =
        id.parse().map_err(|_| Problem::bad_request(format!("{id:?} is no UUID, which a statement's id is")))?;
    let found = statements.get(&tenant, id).await?;
    let statement =
        found.ok_or_else(|| Problem::new(Kind::NOT_FOUND, format!("tenant {tenant:?} has no statement {id}")))?;
    let source = statement.document.source.clone();
    let record = match read_record(&*log, &source).await {
        Ok(record) => record,
        // The topic may be gone; the statement is here.
        Err(problem) if problem.kind.status.is_client_error() => None,
        Err(problem) => return Err(problem),
    };
    let has_record = record.is_some();
    let record = record.unwrap_or_else(|| Record {
        position: source,
        timestamp_ms: statement.document.stored_ms,
        key: None,
        value: Some(statement.document.raw.clone()),
        headers: Vec::new(),
    });
    let mut about = sources.keys.about(&record);
    about.tenant = Some(tenant.clone());
    let view = StatementView { frame: frame(&sources, Some(tenant)), statement, about, has_record };
    Ok(Html(view.render().into_string()))
}
