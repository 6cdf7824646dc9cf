//! The page's routes: they gather what a view shows, `crate::page` renders it.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use futures::{Stream, stream};
use lyceum_core::clock::Clock;
use lyceum_core::envelope::{letter_id, source_of};
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::statements::{Statements, StoredStatement};
use lyceum_core::record::{Position, Record};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::dead_letters::with_filters;
use super::events::consumers_for;
use super::history::read_reach;
use super::lately::{self, Lately};
use super::state::Query;
use super::{At, DefaultTenant, dead_letters, health, read_query, tenants};
use crate::access::{Caller, Role};
use crate::consumers::{ConsumerStatus, Consumers};
use crate::dead_letters::learner_of;
use crate::dead_letters::letters::{Causes, DeadLetterFilter, DeadLetters, LetterState, Order, ShownLetter, SoFar};
use crate::live::history::Reach;
use crate::live::{Live, LiveEvent, OUTCOMES};
use crate::page::dead_letters::{CausesView, DeadLettersView, Done, Verb};
use crate::page::event::EventView;
use crate::page::learning::{Compared, DAYS};
use crate::page::overview::{ANOMALIES, Overview};
use crate::page::state::{StateView, SurveyView};
use crate::page::{Frame, find_asset};
use crate::problem::{Kind, Problem};
use crate::questions::{About, Analytics, AskError, Keys, Span};
use crate::segment::Id;
use crate::shares::{NoneLeft, Share, Shares};

/// How often the feed looks.
const TICK: Duration = Duration::from_secs(1);
/// How many ticks pass between two looks at what is expensive to ask for: totals over all statements, and health.
const SLOW_TICKS: u64 = 5;
/// How long the page waits for one part of itself.
const PART_LIMIT: Duration = Duration::from_secs(3);
/// How many letters a page lists.
const LETTERS: usize = 50;
/// How many causes a page lists.
const CAUSES: usize = 100;

/// What the page shows parts of.
#[derive(Clone)]
pub(super) struct Sources {
    /// Whether this process stays, and sees how events end.
    pub(super) is_live: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) compared: Lately,
    pub(super) live: Arc<Live>,
    pub(super) consumers: Arc<dyn Consumers>,
    pub(super) dead_letters: Arc<dyn DeadLetters>,
    pub(super) analytics: Arc<dyn Analytics>,
    pub(super) event_log: Arc<dyn EventLog>,
    pub(super) statements: Arc<dyn Statements>,
    pub(super) keys: Arc<dyn Keys>,
    /// Of what state is kept.
    pub(super) kinds: Vec<&'static str>,
    pub(super) event_types: Vec<&'static str>,
    pub(super) health: health::Parts,
    /// Where the data is, for people.
    pub(super) data: String,
}

/// What ends the live feeds, and how many there may be.
#[derive(Clone)]
pub(super) struct Feeds {
    pub(super) stop: CancellationToken,
    pub(super) places: Arc<Shares>,
}

pub(super) async fn show_overview(
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Html<String>, Problem> {
    let view = View::new(&caller, read_query(&uri)?, &headers)?;
    let slow = view.take_slow_snapshot(&sources, HashMap::new()).await;
    Ok(Html(view.gather(&sources, slow).await.render().into_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OverviewQuery {
    tenant: Option<String>,
    reach: Option<String>,
}

/// Who looks at what.
pub(super) struct View {
    caller: Caller,
    tenant: Option<String>,
    reach: Reach,
    host: String,
}

/// What is asked for less often.
#[derive(Clone)]
struct SlowSnapshot {
    platform: Result<Value, String>,
    learning: Result<Compared, String>,
    letters: Result<Causes, String>,
    health: Vec<(&'static str, Option<String>)>,
    tenants: Option<SoFar<Vec<String>>>,
    /// What the events are about after which something was odd.
    about: HashMap<Position, About>,
}

impl View {
    fn new(caller: &Caller, query: OverviewQuery, headers: &HeaderMap) -> Result<Self, Problem> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8080").to_owned();
        let reach = read_reach(query.reach.as_deref())?;
        Ok(Self { reach, host, ..Self::of(caller, caller.scope(query.tenant.as_deref())?) })
    }

    /// Whoever that is, of a tenant that may be seen.
    pub(super) fn of(caller: &Caller, tenant: Option<String>) -> Self {
        Self { caller: caller.clone(), tenant, reach: Reach::default(), host: String::new() }
    }

    /// `known` is what was found out before.
    async fn take_slow_snapshot(&self, sources: &Sources, known: HashMap<Position, About>) -> SlowSnapshot {
        let span = Span { tenant: self.tenant.clone(), ..Span::default() };
        let platform = part(async { sources.analytics.platform(&span).await.map_err(Problem::from) });
        let about = part(async { Ok(self.find_out(sources, known).await) });
        let learning = part(lately::compare(
            &sources.compared,
            sources.analytics.clone(),
            sources.clock.clone(),
            self.tenant.clone(),
            DAYS[0],
        ));
        let waiting =
            DeadLetterFilter { tenant: self.tenant.clone(), state: Some(LetterState::Waiting), ..Default::default() };
        let letters = part(dead_letters::causes(&*sources.dead_letters, &waiting, CAUSES));
        let (platform, health, tenants, about, learning, letters) = tokio::join!(
            platform,
            health::probe_all(&sources.health),
            self.list_tenants(sources),
            about,
            learning,
            letters
        );
        SlowSnapshot { platform, health: health.parts(), tenants, about: about.unwrap_or_default(), learning, letters }
    }

    /// What the events of the latest anomalies are about; what cannot be read is about nothing.
    async fn find_out(&self, sources: &Sources, mut known: HashMap<Position, About>) -> HashMap<Position, About> {
        let mut about = HashMap::new();
        for anomaly in sources.live.snapshot(self.tenant.as_deref()).anomalies.iter().take(ANOMALIES) {
            let position = anomaly.position.clone();
            let named = match known.remove(&position) {
                Some(named) => named,
                None => match read_record(&*sources.event_log, &position).await {
                    Ok(record) => record.map(|record| sources.keys.about(&record)).unwrap_or_default(),
                    Err(_) => continue,
                },
            };
            about.insert(position, named);
        }
        about
    }

    /// The tenants to choose from; `None` where the credential has chosen. Where a store does not answer, those of which
    /// something was seen remain.
    pub(super) async fn list_tenants(&self, sources: &Sources) -> Option<SoFar<Vec<String>>> {
        if self.caller.tenant.is_some() {
            return None;
        }
        let (stored, failed) = tenants::ask(&*sources.analytics, &*sources.dead_letters);
        let (stored, failed) = tokio::join!(
            part(async { stored.await.map_err(Problem::from) }),
            part(async { failed.await.map_err(Problem::from) })
        );
        let seen = sources.live.tenants();
        let failed = failed.unwrap_or_default();
        let all = seen.into_iter().chain(stored.into_iter().flatten()).chain(failed.answer);
        let answer = all.collect::<BTreeSet<_>>().into_iter().collect();
        Some(SoFar { answer, is_behind: failed.is_behind })
    }

    async fn gather(&self, sources: &Sources, slow: SlowSnapshot) -> Overview {
        let mappings = part(consumers_for(&*sources.consumers, &self.caller)).await;
        let is_behind = slow.tenants.as_ref().is_some_and(|tenants| tenants.is_behind)
            || slow.letters.as_ref().is_ok_and(|letters| letters.is_behind);
        Overview {
            is_live: sources.is_live,
            frame: frame(sources, self.tenant.clone()),
            tenants: slow.tenants.map(|tenants| tenants.answer),
            about: slow.about,
            days: sources.live.last_days(self.tenant.as_deref()),
            history: (self.reach != Reach::default()).then(|| sources.live.history(self.tenant.as_deref(), self.reach)),
            letters: slow.letters,
            is_behind,
            learning: slow.learning,
            snapshot: sources.live.snapshot(self.tenant.as_deref()),
            mappings,
            platform: slow.platform,
            health: slow.health,
            host: self.host.clone(),
        }
    }
}

/// One part of the page: what it asks for, or why there is nothing to show.
async fn part<T>(ask: impl Future<Output = Result<T, Problem>>) -> Result<T, String> {
    match timeout(PART_LIMIT, ask).await {
        Ok(answer) => answer.map_err(|problem| problem.detail),
        Err(_) => Err(AskError::Unavailable(format!("no answer within {} s", PART_LIMIT.as_secs())).to_string()),
    }
}

pub(super) fn frame(sources: &Sources, tenant: Option<String>) -> Frame {
    Frame { tenant, data: sources.data.clone() }
}

/// One reader of the live feed.
struct Feed {
    sources: Sources,
    view: View,
    stop: CancellationToken,
    ticks: Interval,
    tick: u64,
    slow: Option<SlowSnapshot>,
    /// What was sent last, by part.
    sent: HashMap<&'static str, String>,
    _place: Share,
}

pub(super) async fn stream_live(
    State(sources): State<Sources>,
    State(feeds): State<Feeds>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let view = View::new(&caller, read_query(&uri)?, &headers)?;
    let place = feeds.places.try_acquire(caller.tenant.as_deref(), 1).map_err(|none_left| {
        let kind = if none_left == NoneLeft::OfTenant { Kind::TOO_MANY } else { Kind::BUSY };
        Problem::new(kind, "too many live feeds are open: close one")
    })?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feed =
        Feed { sources, view, stop: feeds.stop, ticks, tick: 0, slow: None, sent: HashMap::new(), _place: place };
    let events = stream::unfold(feed, |mut feed| async { Some((Ok(feed.next().await?), feed)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

impl Feed {
    /// The next event, or `None` where the process is to end.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            () = self.stop.cancelled() => return None,
            _ = self.ticks.tick() => {}
        }
        let slow = match self.slow.take() {
            Some(slow) if !self.tick.is_multiple_of(SLOW_TICKS) => slow,
            before => {
                let known = before.map(|slow| slow.about).unwrap_or_default();
                self.view.take_slow_snapshot(&self.sources, known).await
            }
        };
        self.tick += 1;
        self.slow = Some(slow.clone());
        let overview = self.view.gather(&self.sources, slow).await;
        let data = describe_change(&overview, &mut self.sent);
        Some(Event::default().event("change").retry(Duration::from_secs(2)).data(data.to_string()))
    }
}

/// The numbers for programs, and the parts of the page that differ from what was sent before.
fn describe_change(overview: &Overview, sent: &mut HashMap<&'static str, String>) -> Value {
    let snapshot = &overview.snapshot;
    let last_second = snapshot.seconds.iter().rev().nth(1).copied().unwrap_or_default();
    let counts: serde_json::Map<_, _> =
        OUTCOMES.iter().zip(last_second).map(|(name, number)| (name.to_string(), number.into())).collect();
    let lag: serde_json::Map<_, _> = overview
        .mappings
        .iter()
        .flatten()
        .map(|consumer: &ConsumerStatus| (consumer.name.clone(), consumer.lag().into()))
        .collect();
    let mut parts = serde_json::Map::new();
    for (id, markup) in overview.render_parts() {
        let html = markup.into_string();
        if sent.get(id) != Some(&html) {
            parts.insert(id.to_owned(), html.clone().into());
            sent.insert(id, html);
        }
    }
    json!({
        "at_ms": snapshot.at_ms,
        "last_second": counts,
        "totals": snapshot.totals.outcomes,
        "lag": lag,
        "parts": parts,
    })
}

pub(super) async fn show_asset(At(file): At<String>) -> Result<Response, Problem> {
    let asset = find_asset(&file).ok_or_else(|| Problem::not_found("no such file; load the page again"))?;
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.content).into_response())
}

/// What is known of a record, and by whom.
pub(super) struct Found {
    record: Option<Record>,
    event: Option<Arc<LiveEvent>>,
    letter: Option<ShownLetter>,
    became: Option<ShownLetter>,
    stored: Option<StoredStatement>,
    about: About,
}

impl Found {
    /// Whether it is known whose it is: only then a caller of one tenant may see it.
    fn is_known(&self) -> bool {
        self.event.is_some() || self.letter.is_some() || self.became.is_some() || self.stored.is_some()
    }
}

async fn find_out_about(
    sources: &Sources,
    caller: &Caller,
    tenant: Option<&str>,
    position: &Position,
) -> Result<Found, Problem> {
    let event = sources.live.find_event(tenant, position);
    let letter = dead_letters::find_one(&*sources.dead_letters, caller, position).await?;
    let record = read_record(&*sources.event_log, position).await?;
    let became = find_letter_of(&*sources.dead_letters, caller, position, record.as_ref()).await?;
    // A letter names the source of what it became a letter of, which is itself.
    let became = became.filter(|became| became.position != *position);
    let about = record.as_ref().map(|record| sources.keys.about(record)).unwrap_or_default();
    let stored = find_statement(sources, caller, &about, record.as_ref()).await;
    Ok(Found { record, event, letter, became, stored, about })
}

/// The statement that came from a record, of a tenant that the caller may see; one that came from elsewhere under the same id says
/// nothing of this record. A store that does not answer leaves it unknown.
async fn find_statement(
    sources: &Sources,
    caller: &Caller,
    about: &About,
    record: Option<&Record>,
) -> Option<StoredStatement> {
    let (id, tenant, record) = (about.event_id?, about.tenant.as_deref()?, record?);
    if caller.tenant.as_ref().is_some_and(|own| own != tenant) {
        return None;
    }
    let found = part(async { sources.statements.get(tenant, id).await.map_err(Problem::from) }).await.ok()??;
    let (source, _) = source_of(record);
    (found.document.source == record.position || found.document.source == source).then_some(found)
}

pub(super) async fn show_event(
    State(sources): State<Sources>,
    State(states): State<Arc<dyn crate::questions::State>>,
    caller: Caller,
    At((topic, partition, offset)): At<(String, i32, i64)>,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let position = Position::new(topic, partition, offset);
    let found = find_out_about(&sources, &caller, tenant.as_deref(), &position).await?;
    if caller.tenant.is_some() && !found.is_known() {
        // Whose record it is was reported when it was processed; this caller may not know that any other exists.
        let detail = format!(
            "{position} is no dead letter of yours, not among the latest events of your tenant, and no statement of it is stored. \
             A letter that fell out of a full index is still counted, and listed again once others are done with"
        );
        return Err(Problem::not_found(detail));
    }
    if found.record.is_none() && !found.is_known() {
        return Err(Problem::not_found(format!("there is no record at {position}; `lyceum topics` lists the offsets")));
    }
    let Found { record, event, letter, became, stored, about } = found;
    let seen = sources.live.snapshot(tenant.as_deref()).anomalies;
    let (mut odd, mut learners) = (Vec::new(), Vec::new());
    for of in &about.aggregates {
        // An event that is read has a tenant.
        let Some(tenant) = &about.tenant else { break };
        let state = part(async { states.show(tenant, of.kind, &of.id).await.map_err(Problem::from) }).await;
        if let Ok(Some(state)) = state {
            learners.extend(state["learner"].as_str().map(str::to_owned));
            odd.extend(
                state["anomalies"].as_array().into_iter().flatten().map(|anomaly| (of.clone(), anomaly.clone())),
            );
        }
    }
    let view = EventView {
        anomalies: seen.into_iter().filter(|anomaly| anomaly.position == position).collect(),
        odd,
        learners,
        about,
        learner: record.as_ref().and_then(|record| learner_of(record.value.as_deref()?)),
        frame: frame(&sources, tenant),
        record,
        position: position.to_string(),
        event,
        letter,
        became,
        stored,
        may_operate: caller.roles.contains(&Role::Operate),
    };
    Ok(Html(view.render().into_string()))
}

pub(super) async fn show_state(
    State(sources): State<Sources>,
    State(states): State<Arc<dyn crate::questions::State>>,
    State(DefaultTenant(default)): State<DefaultTenant>,
    caller: Caller,
    At((kind, Id(id))): At<(String, Id)>,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?.unwrap_or(default);
    let Some(Value::Object(state)) = states.show(&tenant, &kind, &id).await? else {
        return Err(Problem::not_found(format!("tenant {tenant:?} has no {kind} {id:?}")));
    };
    let view = StateView { frame: frame(&sources, Some(tenant)), kinds: sources.kinds.clone(), kind, id, state };
    Ok(Html(view.render().into_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SurveyQuery {
    tenant: Option<String>,
    scale: Option<String>,
}

pub(super) async fn show_survey(
    State(sources): State<Sources>,
    caller: Caller,
    At(Id(survey)): At<Id>,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let query: SurveyQuery = read_query(&uri)?;
    let span = Span { tenant: caller.scope(query.tenant.as_deref())?, ..Span::default() };
    let scale = query.scale.filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
    let answer = sources.analytics.survey(&survey, &span, scale.map_err(Problem::bad_request)?).await?;
    let answer = answer.ok_or_else(|| Problem::not_found(format!("no statement of survey {survey} in this tenant")))?;
    Ok(Html(SurveyView { frame: frame(&sources, span.tenant), answer }.render().into_string()))
}

/// Whether there is something at a position that the caller may see.
pub(super) async fn is_visible(
    sources: &Sources,
    caller: &Caller,
    tenant: Option<&str>,
    position: &Position,
) -> Result<bool, Problem> {
    let found = find_out_about(sources, caller, tenant, position).await?;
    Ok(found.is_known() || (caller.tenant.is_none() && found.record.is_some()))
}

/// The record at a position; `None` where retention has dropped it or nothing is there yet.
pub(super) async fn read_record(log: &dyn EventLog, position: &Position) -> Result<Option<Record>, Problem> {
    let Position { topic, partition, offset } = position;
    match log.fetch(topic, *partition, *offset, 1, 0).await {
        Ok(records) => Ok(records.into_iter().next().filter(|record| record.position == *position)),
        Err(EventLogError::OffsetOutOfRange { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The letter that a record became, if the caller may see it. Without the record, which says whether it was a replay, only that of a
/// first delivery is found.
async fn find_letter_of(
    dead_letters: &dyn DeadLetters,
    caller: &Caller,
    position: &Position,
    record: Option<&Record>,
) -> Result<Option<ShownLetter>, Problem> {
    let (source, replay_count) = record.map_or_else(|| (position.clone(), 0), source_of);
    let id = letter_id(&source, replay_count);
    match dead_letters.of_ids(&[id]).await?.get(&id) {
        Some(at) => dead_letters::find_one(dead_letters, caller, at).await,
        None => Ok(None),
    }
}

with_filters! {
    struct LettersQuery {
        tenant: Option<String>,
        ..filters,
        cursor: Option<String>,
        // What was just done:
        done: Option<String>,
        letters: Option<u64>,
        parked: Option<u64>,
        remaining: Option<u64>,
        applied: Option<u64>,
        duplicate: Option<u64>,
        again: Option<u64>,
        pending: Option<u64>,
    }
}

impl LettersQuery {
    fn done(&self) -> Option<Done> {
        let number = |number: Option<u64>| number.unwrap_or(0);
        Some(Done {
            verb: Verb::from_name(self.done.as_deref()?)?,
            letters: number(self.letters),
            parked: number(self.parked),
            remaining: number(self.remaining),
            applied: number(self.applied),
            duplicate: number(self.duplicate),
            again: number(self.again),
            pending: number(self.pending),
        })
    }

    fn filter(&mut self, caller: &Caller) -> Result<DeadLetterFilter, Problem> {
        self.filters().read(caller, self.tenant.as_deref())
    }
}

pub(super) async fn show_causes(
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let mut query: LettersQuery = read_query(&uri)?;
    let filter = query.filter(&caller)?;
    let causes = dead_letters::causes(&*sources.dead_letters, &filter, CAUSES).await?;
    let view = CausesView { frame: frame(&sources, filter.tenant.clone()), filter, causes };
    Ok(Html(view.render().into_string()))
}

pub(super) async fn show_dead_letters(
    State(sources): State<Sources>,
    caller: Caller,
    uri: Uri,
) -> Result<Html<String>, Problem> {
    let mut query: LettersQuery = read_query(&uri)?;
    let (cursor, done) = (dead_letters::read_cursor(query.cursor.clone())?, query.done());
    let filter = query.filter(&caller)?;
    let letters =
        dead_letters::find(&*sources.dead_letters, &filter, Order::NewestFirst, LETTERS, cursor.as_ref()).await?;
    let view = DeadLettersView {
        frame: frame(&sources, filter.tenant.clone()),
        filter,
        letters,
        is_first: cursor.is_none(),
        done,
        may_operate: caller.roles.contains(&Role::Operate),
    };
    Ok(Html(view.render().into_string()))
}
