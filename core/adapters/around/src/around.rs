//! Wraps an adapter, so that something is done around each of its calls: [measured](super::measured), [guarded](super::guarded).
//! Here each port is written out once; what is done around a call does not know which port it is, nor whether the adapter
//! was there before the call or is made by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use serde_json::Value;
use uuid::Uuid;

use lyceum_core::ports::Effect;
use lyceum_core::ports::event_log::{Administer, EventLogError, Follow, Membership, OffsetRange, Publish, TopicSpec};
use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey,
};
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use lyceum_core::ports::statements::{
    Current, Filter, Indices, Page, QueryDocuments, Reindex, ScanPart, ScanPlace, StatementDocument, StatementsError,
    StoreDocuments, StoreOutcome, StoredStatement,
};
use lyceum_core::record::{NewRecord, Position, Record};

/// One call of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// `event_log`, `ledger`, `statements` or `schemas`.
    pub store: &'static str,
    /// The port's method.
    pub operation: &'static str,
    /// Whether it may have changed something although its answer was lost.
    pub effect: Effect,
}

impl Call {
    /// A call that changes nothing.
    pub const fn read(store: &'static str, operation: &'static str) -> Self {
        Self { store, operation, effect: Effect::Read }
    }

    /// A call that may change something.
    pub const fn write(store: &'static str, operation: &'static str) -> Self {
        Self { store, operation, effect: Effect::Write }
    }
}

/// What the errors of the ports have in common.
pub trait StoreError: fmt::Display + Sized + Send {
    /// Its name in `lyceum_store_errors_total`.
    fn kind(&self) -> &'static str;

    /// Whether the store is unavailable, overloaded or did not answer; never a refusal, a conflict or a mistake of the caller's.
    fn is_outage(&self) -> bool;

    /// Whether the store refuses not this call but every one of its kind, credentials, rights or what it keeps things in
    /// being wrong: an outage until a person acts. Never where who asks may have asked for something wrong.
    fn is_refusal_of_all(&self, call: Call) -> bool;

    /// Whether the credentials were not accepted, or lack a right.
    fn is_of_credentials(&self) -> bool {
        false
    }

    /// The error of a call that was not made: it changed nothing, as a read does.
    fn not_made(reason: String) -> Self {
        Self::not_answered(Effect::Read, reason)
    }

    /// The error of a call whose answer was not waited for.
    fn not_answered(effect: Effect, reason: String) -> Self;
}

/// What is done around a call.
pub trait Around: Send + Sync {
    /// Makes the call, or does not. `outage` says why, where an answer means that the store is unavailable.
    fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        outage: impl Fn(&A) -> Option<String> + Send,
    ) -> impl Future<Output = Result<A, E>> + Send;
}

impl<W: Around> Around for Arc<W> {
    fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        outage: impl Fn(&A) -> Option<String> + Send,
    ) -> impl Future<Output = Result<A, E>> + Send {
        (**self).call(call, work, outage)
    }
}

/// Where an adapter comes from, whose port fails with `E`: an [`Arc`] has it, and
/// [`Lazily`](super::lazily::Lazily) makes it when it is first called.
pub trait Source<E>: Send + Sync {
    /// The adapter.
    type Adapter: ?Sized + Send + Sync + 'static;

    /// The adapter, or why there is none.
    fn adapter(&self) -> impl Future<Output = Result<Arc<Self::Adapter>, E>> + Send;

    /// A call of this adapter failed by its credentials: whether the next call is made with others.
    fn has_others(&self, refused: &Arc<Self::Adapter>) -> impl Future<Output = bool> + Send {
        let _ = refused;
        ready(false)
    }
}

impl<T: ?Sized + Send + Sync + 'static, E: Send> Source<E> for Arc<T> {
    type Adapter = T;

    fn adapter(&self) -> impl Future<Output = Result<Self, E>> + Send {
        ready(Ok(Self::clone(self)))
    }
}

/// An adapter with something done around each of its calls.
pub struct Wrapped<S, W> {
    source: S,
    around: W,
}

impl<S, W: Around> Wrapped<S, W> {
    /// Does `around` around the calls of the adapter that comes from `source`.
    pub fn around(source: S, around: W) -> Self {
        Self { source, around }
    }

    fn calls<A: Send, E: StoreError, F: Future<Output = Result<A, E>> + Send>(
        &self,
        call: Call,
        work: impl FnOnce(Arc<S::Adapter>) -> F + Send,
    ) -> impl Future<Output = Result<A, E>> + Send
    where
        S: Source<E>,
    {
        self.calls_judged(call, work, |_| None)
    }

    fn calls_judged<A: Send, E: StoreError, F: Future<Output = Result<A, E>> + Send>(
        &self,
        call: Call,
        work: impl FnOnce(Arc<S::Adapter>) -> F + Send,
        outage: impl Fn(&A) -> Option<String> + Send,
    ) -> impl Future<Output = Result<A, E>> + Send
    where
        S: Source<E>,
    {
        let effect = call.effect;
        let work = async move {
            let adapter = self.source.adapter().await?;
            let answer = work(adapter.clone()).await;
            let is_refused = answer.as_ref().is_err_and(StoreError::is_of_credentials);
            if !is_refused || !self.source.has_others(&adapter).await {
                return answer;
            }
            // What was under way is undecided, and made again: the credentials that were refused are not the last word.
            let again = |error| format!("{error}; there are other credentials now: try again");
            answer.map_err(|error| E::not_answered(effect, again(error)))
        };
        self.around.call(call, work, outage)
    }
}

impl StoreError for EventLogError {
    fn kind(&self) -> &'static str {
        match self {
            Self::UnknownTopic(_) | Self::UnknownPartition { .. } => "unknown",
            Self::OffsetOutOfRange { .. } => "offset_out_of_range",
            Self::TooLarge { .. } => "too_large",
            Self::NotAssigned { .. } => "not_assigned",
            Self::Unauthorized(_) => "unauthorized",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    fn is_refusal_of_all(&self, call: Call) -> bool {
        // What is read, and made, has topics that somebody asked for.
        call.operation == PRODUCE && matches!(self, Self::Unauthorized(_) | Self::UnknownTopic(_))
    }

    fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }

    fn not_answered(_: Effect, reason: String) -> Self {
        Self::Unavailable(reason)
    }
}

impl StoreError for LedgerError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Uncertain(_) => "uncertain",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
            Self::Unusable(_) => "unusable",
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Uncertain(_))
    }

    fn is_refusal_of_all(&self, _: Call) -> bool {
        matches!(self, Self::Unusable(_))
    }

    fn not_answered(effect: Effect, reason: String) -> Self {
        match effect {
            Effect::Read => Self::Unavailable(reason),
            Effect::Write => Self::Uncertain(reason),
        }
    }
}

impl StoreError for StatementsError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Unauthorized(_) => "unauthorized",
            Self::Refused(_) => "refused",
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    fn is_refusal_of_all(&self, call: Call) -> bool {
        // A single document that is refused is an outcome and no error.
        call.effect == Effect::Write && !self.is_transient()
    }

    fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }

    fn not_answered(_: Effect, reason: String) -> Self {
        Self::Unavailable(reason)
    }
}

impl StoreError for SchemasError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Unauthorized(_) => "unauthorized",
            Self::Refused(_) => "refused",
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    fn is_refusal_of_all(&self, _: Call) -> bool {
        // A record may name any schema, but whoever lacks a right lacks it for every one.
        matches!(self, Self::Unauthorized(_))
    }

    fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }

    fn not_answered(_: Effect, reason: String) -> Self {
        Self::Unavailable(reason)
    }
}

pub(crate) const LOG: &str = "event_log";
pub(crate) const LEDGER: &str = "ledger";
const STATEMENTS: &str = "statements";
pub(crate) const SCHEMAS: &str = "schemas";
const PRODUCE: &str = "produce";
/// The question whether a store is well.
pub const PING: &str = "ping";

#[async_trait]
impl<S, W: Around> Publish for Wrapped<S, W>
where
    S: Source<EventLogError, Adapter: Publish>,
{
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.calls(Call::write(LOG, PRODUCE), |log| async move { log.produce(topic, records).await }).await
    }
}

#[async_trait]
impl<S, W: Around> Follow for Wrapped<S, W>
where
    S: Source<EventLogError, Adapter: Follow>,
{
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.calls(Call::read(LOG, "fetch"), |log| async move {
            log.fetch(topic, partition, offset, max_records, max_bytes).await
        })
        .await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.calls(Call::read(LOG, "offsets"), |log| async move { log.offsets(topic).await }).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.calls(
            Call::read(LOG, "offset_at"),
            |log| async move { log.offset_at(topic, partition, timestamp_ms).await },
        )
        .await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.calls(Call::read(LOG, "committed"), |log| async move { log.committed(group, topic).await }).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.calls(Call::write(LOG, "commit"), |log| async move { log.commit(group, topic, offsets).await }).await
    }

    /// The member's own calls go straight to the adapter: they wait for others, or are the group's affair.
    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.calls(Call::read(LOG, "join"), |log| async move { log.join(group, topic, patience).await }).await
    }

    /// Memory is given back, and nothing is asked of a broker: nothing is done around it.
    fn stop_reading(&self, topic: &str, partition: i32, until: i64) {
        // An adapter that is there answers at once; one that has to be made first has fetched nothing.
        if let Some(Ok(log)) = self.source.adapter().now_or_never() {
            log.stop_reading(topic, partition, until);
        }
    }

    /// Waiting is no work, and has a limit of its own: nothing is done around it. Where there is no adapter, whoever
    /// fetches next gets the reason.
    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        if let Ok(log) = self.source.adapter().await {
            log.wait_for_records(topic, timeout).await;
        }
    }
}

#[async_trait]
impl<S, W: Around> Administer for Wrapped<S, W>
where
    S: Source<EventLogError, Adapter: Administer>,
{
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.calls(Call::write(LOG, "create_topic"), |log| async move { log.create_topic(spec).await }).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.calls(Call::read(LOG, "topics"), |log| async move { log.topics().await }).await
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.calls(Call::write(LOG, "apply_retention"), |log| async move { log.apply_retention(now_ms).await }).await
    }

    async fn ping(&self) -> Result<(), EventLogError> {
        self.calls(Call::read(LOG, PING), |log| async move { log.ping().await }).await
    }
}

#[async_trait]
impl<S, W: Around> Ledger for Wrapped<S, W>
where
    S: Source<LedgerError, Adapter: Ledger>,
{
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.calls(Call::read(LEDGER, "load"), |ledger| async move { ledger.load(aggregates, keys).await }).await
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.calls(
            Call::read(LEDGER, "load_settled_keys"),
            |ledger| async move { ledger.load_settled_keys(keys).await },
        )
        .await
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.calls(Call::write(LEDGER, "commit"), |ledger| async move { ledger.commit(commit).await }).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.calls(Call::write(LEDGER, "count_attempt"), |ledger| async move { ledger.count_attempt(key, epoch).await })
            .await
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        self.calls(
            Call::write(LEDGER, "claim"),
            |ledger| async move { ledger.claim(key, holder, now_ms, until_ms).await },
        )
        .await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.calls(Call::read(LEDGER, "list"), |ledger| async move { ledger.list(tenant, kind, limit).await }).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.calls(Call::read(LEDGER, PING), |ledger| async move { ledger.ping().await }).await
    }
}

#[async_trait]
impl<S, W: Around> StoreDocuments for Wrapped<S, W>
where
    S: Source<StatementsError, Adapter: StoreDocuments>,
{
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        // A store that accepts none of the documents counts as unavailable, although it answers; one that accepts some does not.
        let takes_none = |outcomes: &Vec<StoreOutcome>| {
            let mut reasons = outcomes.iter().map(|of| match of {
                StoreOutcome::Unavailable { reason } => Some(reason),
                _ => None,
            });
            let first = reasons.next()??;
            reasons.all(|reason| reason.is_some()).then(|| first.clone())
        };
        let call = Call::write(STATEMENTS, "store");
        self.calls_judged(call, |statements| async move { statements.store(documents).await }, takes_none).await
    }
}

#[async_trait]
impl<S, W: Around> QueryDocuments for Wrapped<S, W>
where
    S: Source<StatementsError, Adapter: QueryDocuments>,
{
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.calls(Call::read(STATEMENTS, "get"), |statements| async move { statements.get(tenant, id).await }).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        self.calls(Call::read(STATEMENTS, "search"), |statements| async move {
            statements.search(filter, limit, after).await
        })
        .await
    }

    async fn scan(&self, filter: &Filter, place: Option<ScanPlace>) -> Result<ScanPart, StatementsError> {
        self.calls(Call::read(STATEMENTS, "scan"), |statements| async move { statements.scan(filter, place).await })
            .await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        self.calls(Call::read(STATEMENTS, "aggregate"), |statements| async move {
            statements.aggregate(filter, aggregations).await
        })
        .await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        self.calls(Call::read(STATEMENTS, PING), |statements| async move { statements.ping().await }).await
    }
}

#[async_trait]
impl<S, W: Around> Reindex for Wrapped<S, W>
where
    S: Source<StatementsError, Adapter: Reindex>,
{
    async fn indices(&self) -> Result<Indices, StatementsError> {
        self.calls(Call::read(STATEMENTS, "indices"), |statements| async move { statements.indices().await }).await
    }

    async fn current(&self) -> Result<Current, StatementsError> {
        self.calls(Call::read(STATEMENTS, "current"), |statements| async move { statements.current().await }).await
    }

    async fn create_next(&self, above: u32) -> Result<u32, StatementsError> {
        self.calls(
            Call::write(STATEMENTS, "create_next"),
            |statements| async move { statements.create_next(above).await },
        )
        .await
    }

    async fn swap(&self, number: u32) -> Result<(), StatementsError> {
        self.calls(Call::write(STATEMENTS, "swap"), |statements| async move { statements.swap(number).await }).await
    }

    async fn abandon(&self, number: u32) -> Result<(), StatementsError> {
        self.calls(Call::write(STATEMENTS, "abandon"), |statements| async move { statements.abandon(number).await })
            .await
    }

    async fn drop_old(&self) -> Result<BTreeSet<u32>, StatementsError> {
        self.calls(Call::write(STATEMENTS, "drop_old"), |statements| async move { statements.drop_old().await }).await
    }
}

#[async_trait]
impl<S, W: Around> FindSchema for Wrapped<S, W>
where
    S: Source<SchemasError, Adapter: FindSchema>,
{
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        self.calls(Call::read(SCHEMAS, "find"), |registry| async move { registry.find(schema).await }).await
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        self.calls(Call::read(SCHEMAS, PING), |registry| async move { registry.ping().await }).await
    }
}
