//! `/api/dead-letters`: what failed for good, why, sending it again, and marking it as done with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use futures::{StreamExt, stream};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use serde::Deserialize;
use uuid::Uuid;

use super::body::{read_aside, work_aside};
use super::parameters::{given, named, time};
use super::{At, BODY_LIMIT_BYTES, Limit, PUBLISH_LIMIT_BYTES, read_body, read_query};
use crate::access::{Access, Caller};
use crate::dead_letters::letters::{
    Causes, Cursor, DeadLetterFilter, DeadLetters, DiscardRequest, DiscardSummary, Ended, Ending, Imported,
    LetterState, Letters, Order, ReplayRequest, ReplaySummary, ShownLetter, UpTo, Which,
};
use crate::dead_letters::letters::{Ends, StopAt};
use crate::dead_letters::original_line;
use crate::page::dead_letters::{Done, Verb};
use crate::problem::{Kind, Problem};
use crate::work::Work;

type Indexed = State<Arc<dyn DeadLetters>>;

/// How many letters one replay takes at most.
const LIMIT: usize = 1000;
/// How many letters are read at once for an export: an original may have a mebibyte.
const EXPORTED_AT_ONCE: usize = 50;
/// How long a replay waits for what it sent to be settled.
const SETTLING_TIME: Duration = Duration::from_secs(10);
/// How long the page's form waits for that.
const FORM_SETTLING_TIME: Duration = Duration::from_secs(4);

/// Which letters, but for whose they are, as a query, a body and a form have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    topic: Option<String>,
    kind: Option<String>,
    rule: Option<String>,
    state: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// A shape with the filters of letters in it. What is misspelt is refused, which serde's `flatten` would take in silence.
macro_rules! with_filters {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident $(<$of:ident = $default:ty>)? {
            $($before:ident: $type_before:ty,)*
            ..filters,
            $($after:ident: $type_after:ty,)*
        }
    ) => {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$attribute])*
        $vis struct $name $(<$of = $default>)? {
            $($before: $type_before,)*
            topic: Option<String>,
            kind: Option<String>,
            rule: Option<String>,
            state: Option<String>,
            since: Option<String>,
            until: Option<String>,
            $($after: $type_after,)*
        }

        impl $(<$of>)? $name $(<$of>)? {
            /// Takes the filters out of it.
            fn filters(&mut self) -> $crate::http::dead_letters::Filters {
                let Self { topic, kind, rule, state, since, until, .. } = self;
                let all = [topic, kind, rule, state, since, until].map(Option::take);
                $crate::http::dead_letters::Filters::new(all)
            }
        }
    };
}
pub(super) use with_filters;

impl Filters {
    pub(super) fn new([topic, kind, rule, state, since, until]: [Option<String>; 6]) -> Self {
        Self { topic, kind, rule, state, since, until }
    }

    /// Those that say something, by the names of their parameters.
    fn given(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let Self { topic, kind, rule, state, since, until } = self;
        let all =
            [("kind", kind), ("topic", topic), ("rule", rule), ("state", state), ("since", since), ("until", until)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_ref().filter(|value| !value.is_empty())?)))
    }

    /// The filter, within what the caller may see.
    pub(super) fn read(self, caller: &Caller, tenant: Option<&str>) -> Result<DeadLetterFilter, Problem> {
        Ok(DeadLetterFilter {
            tenant: caller.scope(tenant)?,
            topic: given(self.topic),
            kind: named(
                "kind of dead letter",
                self.kind,
                DeadLetterKind::from_name,
                &DeadLetterKind::ALL.map(DeadLetterKind::name),
            )?,
            rule: given(self.rule),
            state: named("state", self.state, LetterState::from_name, &LetterState::ALL.map(LetterState::name))?,
            since_ms: time("since", self.since, 0)?,
            until_ms: time("until", self.until, 1)?,
        })
    }
}

with_filters! {
    struct Query<L = Limit> {
        tenant: Option<String>,
        ..filters,
        limit: Option<L>,
        cursor: Option<String>,
    }
}

impl<L> Query<L> {
    fn filter(&mut self, caller: &Caller) -> Result<DeadLetterFilter, Problem> {
        self.filters().read(caller, self.tenant.as_deref())
    }
}

/// Where a list goes on.
pub(super) fn read_cursor(text: Option<String>) -> Result<Option<Cursor>, Problem> {
    given(text).map(|text| text.parse().map_err(Problem::bad_request)).transpose()
}

pub(super) async fn list(State(dead_letters): Indexed, caller: Caller, uri: Uri) -> Result<Json<Letters>, Problem> {
    let mut query: Query = read_query(&uri)?;
    let filter = query.filter(&caller)?;
    let limit = query.limit.unwrap_or_default().0;
    let cursor = read_cursor(query.cursor)?;
    Ok(Json(find(&*dead_letters, &filter, Order::NewestFirst, limit, cursor.as_ref()).await?))
}

/// The letters that match. A store's answer is filtered once more: a letter of another tenant never leaves here.
pub(super) async fn find(
    dead_letters: &dyn DeadLetters,
    filter: &DeadLetterFilter,
    order: Order,
    limit: usize,
    after: Option<&Cursor>,
) -> Result<Letters, Problem> {
    let mut found = dead_letters.list(filter, order, limit, after).await?;
    found.letters.retain(|letter| filter.tenant.is_none() || letter.tenant == filter.tenant);
    Ok(found)
}

pub(super) async fn summarize(State(dead_letters): Indexed, caller: Caller, uri: Uri) -> Result<Json<Causes>, Problem> {
    let mut query: Query = read_query(&uri)?;
    if query.cursor.is_some() {
        return Err(Problem::bad_request("a summary has no cursor: narrow it by tenant, topic, kind or rule"));
    }
    let filter = query.filter(&caller)?;
    Ok(Json(causes(&*dead_letters, &filter, query.limit.unwrap_or_default().0).await?))
}

/// The causes that match, filtered once more as the letters are.
pub(super) async fn causes(
    dead_letters: &dyn DeadLetters,
    filter: &DeadLetterFilter,
    limit: usize,
) -> Result<Causes, Problem> {
    let mut found = dead_letters.summarize(filter, limit).await?;
    found.causes.retain(|cause| filter.tenant.is_none() || cause.tenant == filter.tenant);
    Ok(found)
}

/// The originals, one a line, in the order in which they failed: those that are JSON and are held by their letter. Without a state those that wait.
pub(super) async fn export(State(dead_letters): Indexed, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    // It is a stream, so that it may be as long as is asked for.
    let mut query: Query<usize> = read_query(&uri)?;
    let mut filter = query.filter(&caller)?;
    filter.state = filter.state.or(Some(LetterState::Waiting));
    let limit = query.limit.unwrap_or(usize::MAX);
    if limit == 0 {
        return Err(Problem::bad_request("limit is 1 or more; without one all of them are exported"));
    }
    let cursor = read_cursor(query.cursor)?;
    // The first part is read before the answer begins, so that what fails then is a problem; and once every letter is known.
    let first = loop {
        let first =
            find(&*dead_letters, &filter, Order::OldestFirst, EXPORTED_AT_ONCE.min(limit), cursor.as_ref()).await?;
        if !first.is_behind {
            break first;
        }
    };
    let state = (dead_letters, filter, Some(first), limit);
    let parts = stream::unfold(state, |(dead_letters, filter, letters, left)| async move {
        let letters = letters?;
        let left = left.saturating_sub(letters.letters.len());
        let lines = letters.letters.iter().filter_map(|letter| original_line(letter)).collect::<String>();
        let cursor = letters.next.and_then(|next| next.parse::<Cursor>().ok()).filter(|_| left > 0);
        let next = match cursor {
            None => None,
            Some(cursor) => {
                match find(&*dead_letters, &filter, Order::OldestFirst, EXPORTED_AT_ONCE.min(left), Some(&cursor)).await
                {
                    Ok(next) => Some(next),
                    // The answer is cut off, which whoever reads it notices.
                    Err(problem) => {
                        return Some((Err(std::io::Error::other(problem.detail)), (dead_letters, filter, None, 0)));
                    }
                }
            }
        };
        Some((Ok(lines), (dead_letters, filter, next, left)))
    });
    let headers =
        [(CONTENT_TYPE, "application/jsonl"), (CONTENT_DISPOSITION, "attachment; filename=\"dead-letters.jsonl\"")];
    Ok((headers, Body::from_stream(parts.boxed())).into_response())
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

with_filters! {
    /// What to send again or to discard: either positions, or a filter. Neither would be every letter, which must be said: `all`.
    #[derive(Default)]
    #[serde(default)]
    struct Request {
        positions: Vec<Position>,
        ..filters,
        all: bool,
        dry_run: bool,
        limit: Option<usize>,
        up_to: Option<UpTo>,
        // Of a replay alone:
        again: bool,
        wait: bool,
        stop_at: Option<u8>,
        ends: Ends,
    }
}

with_filters! {
    /// The page's form: the same, flat. With a position the filter is only where to go back to.
    #[derive(Default)]
    #[serde(default)]
    struct Form {
        position: Option<Position>,
        ..filters,
        tenant: Option<String>,
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tenant {
    tenant: Option<String>,
}

/// What was sent in, and from where.
struct Sent {
    tenant: Option<String>,
    filters: Filters,
    request: Request,
    /// The page's form, to which the answer is a redirection.
    form: Option<Vec<(&'static str, String)>>,
}

async fn read_request(caller: &Caller, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Sent, Problem> {
    let Tenant { tenant } = read_query(uri)?;
    let body = read_body(caller, body, BODY_LIMIT_BYTES).await?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        let request = read_aside(caller, body, |body| {
            serde_json::from_slice::<Request>(body).map_err(|error| {
                let forms = r#"{"positions": ["topic/partition/offset"]}, {"topic"?, "kind"?, "rule"?, "since"?, "until"?} or {"all": true}"#;
                Problem::bad_request(format!(
                    "the body cannot be read: {error}. Send {forms}, with \"dry_run\"?, \"limit\"? and \"up_to\"?; to replay also \"again\"? \
                     and \"wait\"?"
                ))
            })
        });
        let mut request = request.await?;
        return Ok(Sent { tenant, filters: request.filters(), request, form: None });
    }
    if body.trim_ascii_start().starts_with(b"{") {
        let detail = "the body is JSON, and its Content-Type is that of a form: send Content-Type: application/json";
        return Err(Problem::bad_request(detail));
    }
    let mut form: Form = serde_urlencoded::from_bytes(&body)
        .map_err(|error| Problem::bad_request(format!("the form cannot be read: {error}. Send it from the page")))?;
    let filters = form.filters();
    let tenant = given(tenant.or(form.tenant));
    let of_tenant = tenant.iter().map(|tenant| ("tenant", tenant));
    let back = of_tenant.chain(filters.given()).map(|(name, value)| (name, value.clone())).collect();
    let (filters, request) = match form.position {
        Some(position) => (Filters::default(), Request { positions: vec![position], ..Request::default() }),
        None => (filters, Request { all: true, ..Request::default() }),
    };
    Ok(Sent { tenant, filters, request, form: Some(back) })
}

/// Back to the page, which shows what was done.
fn go_back(mut query: Vec<(&'static str, String)>, done: &Done) -> Result<Response, Problem> {
    let verb = ("done", done.verb.name().to_owned());
    let counts = done.counts().into_iter().map(|(name, count)| (name, count.to_string()));
    query.extend(std::iter::once(verb).chain(counts));
    let query = serde_urlencoded::to_string(query)
        .map_err(|error| Problem::bad_request(format!("the filter cannot be written: {error}")))?;
    Ok(Redirect::to(&format!("/dead-letters/list?{query}")).into_response())
}

/// JSON is answered with the summary; the page's form with a redirection to where the summary is shown.
pub(super) async fn replay(
    State(dead_letters): Indexed,
    State(work): State<Arc<dyn Work>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Sent { tenant, filters, request, form } = read_request(&caller, &uri, &headers, body).await?;
    let limit = check_limit(request.limit.unwrap_or(LIMIT))?;
    let (is_dry_run, again, ends) = (request.dry_run, request.again, request.ends);
    let stop_at = request.stop_at.map(|percent| match percent <= 100 {
        true => Ok(StopAt { percent }),
        false => Err(Problem::bad_request(format!("stop_at is {percent}: it is percent, from 0 to 100"))),
    });
    let stop_at = stop_at.transpose()?;
    let waits = (request.wait || form.is_some()) && !is_dry_run;
    let up_to = request.up_to.clone();
    let filter = filters.read(&caller, tenant.as_deref())?;
    let which = read_which(&*dead_letters, filter, request).await?;
    let watch = waits.then(|| work.watch());
    let mut summary =
        dead_letters.replay(&ReplayRequest { which, is_dry_run, limit, again, up_to, stop_at, ends }).await?;
    if let Some(mut watch) = watch {
        let time = if form.is_some() { FORM_SETTLING_TIME } else { SETTLING_TIME };
        let sent: Vec<Position> = summary.replayed.iter().filter_map(|letter| letter.sent_to.clone()).collect();
        let endings = watch.endings(&sent, time).await?;
        note_endings(&*dead_letters, &endings, &mut summary).await?;
    }
    match form {
        None => Ok(Json(summary).into_response()),
        Some(back) => go_back(back, &done(&summary)),
    }
}

/// How each ended, and which letter those became that failed again.
async fn note_endings(
    dead_letters: &dyn DeadLetters,
    endings: &BTreeMap<Position, Ending>,
    summary: &mut ReplaySummary,
) -> Result<(), Problem> {
    let has_failed =
        |sent_to: &Option<Position>| sent_to.as_ref().is_some_and(|at| endings.get(at) == Some(&Ending::DeadLettered));
    let failed = summary.replayed.iter().filter(|letter| has_failed(&letter.sent_to));
    let ids: Vec<Uuid> = failed.map(|letter| letter.next_id).collect();
    let letters = if ids.is_empty() { <_>::default() } else { dead_letters.of_ids(&ids).await? };
    for replayed in &mut summary.replayed {
        let outcome = replayed.sent_to.as_ref().and_then(|at| endings.get(at)).copied().unwrap_or(Ending::Pending);
        let letter = letters.get(&replayed.next_id).filter(|_| outcome == Ending::DeadLettered).cloned();
        replayed.ended = Some(Ended { outcome, letter });
    }
    Ok(())
}

fn done(summary: &ReplaySummary) -> Done {
    let ended = |ending: Ending| {
        let of = |of: &Option<Ended>| of.as_ref().is_some_and(|ended| ended.outcome == ending);
        summary.replayed.iter().filter(|letter| of(&letter.ended)).count() as u64
    };
    Done {
        verb: Verb::Sent,
        letters: summary.replayed.len() as u64,
        parked: summary.parked,
        remaining: summary.remaining,
        applied: ended(Ending::Applied),
        duplicate: ended(Ending::Duplicate),
        again: ended(Ending::DeadLettered),
        pending: ended(Ending::Pending),
    }
}

/// Marks letters as done with; answered as a replay is.
pub(super) async fn discard(
    State(dead_letters): Indexed,
    State(access): State<Access>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Sent { tenant, filters, request, form } = read_request(&caller, &uri, &headers, body).await?;
    if request.again || request.wait || request.stop_at.is_some() {
        return Err(Problem::bad_request("again, wait and stop_at are for a replay; leave them out"));
    }
    let limit = check_limit(request.limit.unwrap_or(LIMIT))?;
    let (is_dry_run, up_to) = (request.dry_run, request.up_to.clone());
    let filter = filters.read(&caller, tenant.as_deref())?;
    let which = read_which(&*dead_letters, filter, request).await?;
    let by = match &caller.tenant {
        Some(tenant) => format!("a token of tenant {tenant}"),
        None if access.is_open() => "this machine".to_owned(),
        None => "a token of every tenant".to_owned(),
    };
    let summary: DiscardSummary = dead_letters.discard(&DiscardRequest { which, is_dry_run, limit, by, up_to }).await?;
    match form {
        None => Ok(Json(summary).into_response()),
        Some(back) => {
            let (letters, remaining) = (summary.discarded.len() as u64, summary.remaining);
            go_back(back, &Done { letters, remaining, ..Done::new(Verb::Discarded) })
        }
    }
}

/// Which letters are meant; of positions each must be the caller's.
async fn read_which(
    dead_letters: &dyn DeadLetters,
    filter: DeadLetterFilter,
    Request { positions, all, .. }: Request,
) -> Result<Which, Problem> {
    match (positions.is_empty(), filter.narrows() || all) {
        (false, true) if filter.narrows() => {
            Err(Problem::bad_request("name positions, or a topic, kind, rule or time, not both"))
        }
        (false, _) => {
            check_limit(positions.len())?;
            let letters = dead_letters.find(&positions).await?;
            for position in &positions {
                let is_ours = |letter: &ShownLetter| filter.tenant.is_none() || letter.tenant == filter.tenant;
                if !letters.get(position).is_some_and(is_ours) {
                    return Err(no_letter(position));
                }
            }
            Ok(Which::Positions(positions))
        }
        (true, true) => Ok(Which::Matching(filter)),
        (true, false) => {
            let detail =
                r#"say which: positions, a topic, kind, rule or time, or {"all": true} for every one that waits"#;
            Err(Problem::bad_request(detail))
        }
    }
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
    let document = read_body(&caller, body, 2 * PUBLISH_LIMIT_BYTES).await?;
    let imported = work_aside(&caller, document.len(), async move { dead_letters.import(&document).await });
    Ok(Json(imported.await??))
}

fn check_limit(limit: usize) -> Result<usize, Problem> {
    if (1..=LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::bad_request(format!("limit is 1 to {LIMIT}, not {limit}; ask again for the rest")))
}
