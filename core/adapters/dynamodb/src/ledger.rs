//! [`Ledger`] by DynamoDB.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Get, KeysAndAttributes, Put, ReturnConsumedCapacity, ReturnValue, TransactGetItem,
    TransactWriteItem,
};
use futures::future::try_join_all;
use uuid::Uuid;

use super::capacity::{CapacityCounter, CapacitySnapshot, Operation};
use super::failure::{Effect, OperationError, explain};
use super::items::{self, EXPIRES_AT, Item, ItemKey, LIST_SHARDS, PLAIN, number};
use super::settings::{DynamoDbSettings, LedgerOptions};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Claim, Commit, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, LedgerError,
    Loaded, StoredAggregate, StoredKey,
};
use lyceum_core::retry::Backoff;

/// Source: API Reference, `BatchGetItem`: "as many as 100 items".
const BATCH_GET_ITEMS: usize = 100;

/// Source: Developer Guide, "Time to Live": expired items are deleted "within a few days".
const LATE_EXPIRY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The ledger in one DynamoDB table; the [module](super) tells how.
#[derive(Clone)]
pub struct DynamoDbLedger {
    pub(super) client: Client,
    pub(super) table: Arc<str>,
    pub(super) clock: Arc<dyn Clock>,
    options: LedgerOptions,
    pub(super) capacity: Arc<CapacityCounter>,
}

/// Whether an attempt of which nobody knows what it did may be followed by another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or DynamoDB knows it again.
    Always,
    /// Only where nothing happened.
    IfNothingHappened,
}

impl DynamoDbLedger {
    /// A ledger in `table`. The client's region, credentials and endpoint are used as they are; its retries are switched
    /// off (the [module](super) tells why) and its time-outs replaced. Nothing is called: see [`Self::ensure_table`].
    pub fn new(client: &Client, table: impl Into<Arc<str>>, options: LedgerOptions, clock: Arc<dyn Clock>) -> Self {
        let config = client
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(options.call_timeout)
                    .connect_timeout(options.connect_timeout)
                    .build(),
            )
            .build();
        Self { client: Client::from_conf(config), table: table.into(), clock, options, capacity: Arc::default() }
    }

    /// The same ledger, which tells the metrics what each call consumed, also for which of these families. It counts anew.
    pub fn counting_in(mut self, metrics: Arc<Metrics>, families: &[&'static FamilySpec]) -> Self {
        self.capacity = Arc::new(CapacityCounter::telling(metrics, families));
        self
    }

    /// The ledger that the settings name, with region and credentials as AWS's own tools find them: the environment,
    /// the profile, the container's or the machine's role. Nothing is called yet but what credentials need.
    pub async fn connect(settings: &DynamoDbSettings, clock: Arc<dyn Clock>) -> Result<Self, LedgerError> {
        Self::connect_with(&lyceum_aws::load().await, settings, clock)
    }

    /// The ledger that the settings name, with region and credentials that were found before.
    pub fn connect_with<'a, C>(
        shared: &'a C,
        settings: &DynamoDbSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LedgerError>
    where
        aws_sdk_dynamodb::config::Builder: From<&'a C>,
    {
        let mut config = aws_sdk_dynamodb::config::Builder::from(shared);
        if settings.endpoint.is_some() {
            config.set_endpoint_url(settings.endpoint.clone());
        }
        let config = config.build();
        if config.region().is_none() {
            let reason = "no region is set; set AWS_REGION to the one that the table is in";
            return Err(LedgerError::Refused(reason.to_owned()));
        }
        Ok(Self::new(&Client::from_conf(config), settings.table.as_str(), settings.options(), clock))
    }

    /// What was consumed since [`Self::new`], by this ledger and its clones.
    pub fn capacity(&self) -> CapacitySnapshot {
        self.capacity.all()
    }

    /// The same by family: the subscriber of the keys that a call names, else whose kind its first aggregate is
    /// ([`Self::counting_in`]). What concerns neither (lists, pings) is not in it. Divided by the family's events it is what
    /// an event costs.
    pub fn capacity_by_family(&self) -> BTreeMap<String, CapacitySnapshot> {
        self.capacity.by_family()
    }

    /// Whom a call's capacity counts for.
    fn family<'a>(
        &self,
        mut aggregates: impl Iterator<Item = &'a AggregateId>,
        mut keys: impl Iterator<Item = &'a KeyId>,
    ) -> Option<&'a str> {
        let subscriber = keys.next().map(|key| key.subscriber.as_str());
        subscriber.or_else(|| self.capacity.family_of(&aggregates.next()?.kind))
    }

    /// Makes a call until it succeeds, is refused, or the attempts are spent. Where an attempt may have had its effect,
    /// no later failure says that nothing happened.
    pub(super) async fn call<T, E, F>(
        &self,
        name: &str,
        effect: Effect,
        repeat: Repeat,
        attempt: impl Fn() -> F,
    ) -> Result<T, LedgerError>
    where
        E: OperationError,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut lost = None;
        let mut round = 1;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => explain(effect, &self.table, name, &error),
            };
            let again = match &error {
                LedgerError::Conflict | LedgerError::Refused(_) | LedgerError::Unusable(_) => false,
                LedgerError::Unavailable(_) => true,
                LedgerError::Uncertain(_) => repeat == Repeat::Always,
            };
            if matches!(error, LedgerError::Uncertain(_)) {
                lost = Some(error.clone());
            }
            if !again || round >= self.options.attempts {
                return Err(lost.unwrap_or(error));
            }
            self.back_off(round).await;
            round += 1;
        }
    }

    async fn back_off(&self, round: u32) {
        let backoff = Backoff { base: self.options.backoff, cap: self.options.backoff.saturating_mul(64) };
        self.clock.sleep(backoff.delay(round, self.clock.jitter())).await;
    }

    async fn get(&self, key: ItemKey, family: Option<&str>) -> Result<Option<Item>, LedgerError> {
        let request = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(key.into_attributes()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let operation = Operation::GetItem;
        let answer = self.call(operation.name(), Effect::Read, Repeat::Always, || request.clone().send()).await?;
        self.capacity.count(operation, family, answer.consumed_capacity());
        Ok(answer.item)
    }

    /// At most [`BATCH_GET_ITEMS`] keys, none twice.
    async fn get_batch(&self, keys: &[ItemKey], family: Option<&str>) -> Result<Vec<Item>, LedgerError> {
        let operation = Operation::BatchGetItem;
        let mut wanted: Vec<Item> = keys.iter().cloned().map(ItemKey::into_attributes).collect();
        let mut found = Vec::with_capacity(wanted.len());
        let mut rounds_without_progress = 0;
        while !wanted.is_empty() {
            let question = KeysAndAttributes::builder()
                .set_keys(Some(wanted.clone()))
                .consistent_read(true)
                .build()
                .map_err(unbuilt)?;
            let request = self
                .client
                .batch_get_item()
                .request_items(&*self.table, question)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = self.call(operation.name(), Effect::Read, Repeat::Always, || request.clone().send()).await?;
            self.capacity.count(operation, family, answer.consumed_capacity());
            found.extend(answer.responses.into_iter().flat_map(HashMap::into_values).flatten());
            let left: Vec<Item> =
                answer.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|left| left.keys).collect();
            if left.is_empty() {
                break;
            }
            rounds_without_progress = if left.len() < wanted.len() { 0 } else { rounds_without_progress + 1 };
            if rounds_without_progress >= self.options.attempts {
                return Err(LedgerError::Unavailable(format!(
                    "table {} leaves {} of {} items unread, again and again: it is throttled",
                    self.table,
                    left.len(),
                    keys.len()
                )));
            }
            self.back_off(rounds_without_progress.max(1)).await;
            wanted = left;
        }
        Ok(found)
    }

    /// At most [`BATCH_GET_ITEMS`] keys, each as no transaction is just writing it. Source: Developer Guide, "DynamoDB
    /// transactions: how it works", "Isolation levels": `GetItem` and `BatchGetItem` may see one item of a transaction
    /// before another one.
    async fn get_settled(&self, keys: &[ItemKey], family: Option<&str>) -> Result<Vec<Option<Item>>, LedgerError> {
        let gets = keys.iter().cloned().map(|key| {
            let get = Get::builder().table_name(&*self.table).set_key(Some(key.into_attributes())).build();
            Ok(TransactGetItem::builder().get(get.map_err(unbuilt)?).build())
        });
        let request = self
            .client
            .transact_get_items()
            .set_transact_items(Some(gets.collect::<Result<_, LedgerError>>()?))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let operation = Operation::TransactGetItems;
        let answer = self.call(operation.name(), Effect::Read, Repeat::Always, || request.clone().send()).await?;
        self.capacity.count(operation, family, answer.consumed_capacity());
        Ok(answer.responses.unwrap_or_default().into_iter().map(|response| response.item).collect())
    }

    async fn get_all(
        &self,
        keys: HashSet<ItemKey>,
        family: Option<&str>,
    ) -> Result<HashMap<ItemKey, Item>, LedgerError> {
        let keys: Vec<ItemKey> = keys.into_iter().collect();
        let items = match keys.as_slice() {
            [] => Vec::new(),
            [key] => self.get(key.clone(), family).await?.into_iter().collect(),
            many => {
                let batches = many.chunks(BATCH_GET_ITEMS).map(|batch| self.get_batch(batch, family));
                try_join_all(batches).await?.concat()
            }
        };
        Ok(items.into_iter().filter_map(|item| Some((ItemKey::of_item(&item)?, item))).collect())
    }

    fn expires_at(&self, ttl: Duration) -> i64 {
        self.clock.now_ms() / 1_000 + i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX / 2)
    }

    fn conditional_aggregate(&self, write: &AggregateWrite) -> (Condition, Option<Item>) {
        let condition = match write.expected {
            None => Condition::absent(),
            Some(version) => {
                Condition { expression: "v = :v", values: Some(HashMap::from([(":v".to_owned(), number(version))])) }
            }
        };
        let version = write.expected.unwrap_or(0) + 1;
        let item = write.content.as_ref().map(|content| {
            let mut item = items::write_aggregate(&write.id, version, content);
            // Nothing but keys: it is there as long as they are, and those that DynamoDB drops late.
            if content.state.is_none() {
                let expires_at = self.expires_at(self.options.key_ttl + LATE_EXPIRY);
                item.insert(EXPIRES_AT.to_owned(), number(expires_at));
            }
            item
        });
        (condition, item)
    }

    fn conditional_key(&self, write: &KeyWrite, expires_at: i64) -> (Condition, Item) {
        let condition = match write.expected {
            KeyExpectation::Absent => Condition::absent(),
            KeyExpectation::DeadAt(epoch) => Condition {
                expression: "st = :st AND e = :e",
                values: Some(HashMap::from([
                    (":st".to_owned(), AttributeValue::S(items::status_name(KeyStatus::Dead).to_owned())),
                    (":e".to_owned(), number(epoch)),
                ])),
            },
        };
        (condition, items::write_key(&write.id, &write.key, expires_at))
    }

    fn put(&self, condition: Condition, item: Item) -> Result<TransactWriteItem, LedgerError> {
        let put = Put::builder()
            .table_name(&*self.table)
            .set_item(Some(item))
            .condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .build()
            .map_err(unbuilt)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn check(&self, condition: Condition, key: ItemKey) -> Result<TransactWriteItem, LedgerError> {
        let check = ConditionCheck::builder()
            .table_name(&*self.table)
            .set_key(Some(key.into_attributes()))
            .condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .build()
            .map_err(unbuilt)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    async fn put_alone(&self, condition: Condition, item: Item, family: Option<&str>) -> Result<(), LedgerError> {
        let request = self
            .client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(item))
            .condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let operation = Operation::PutItem;
        let answer =
            self.call(operation.name(), Effect::Write, Repeat::IfNothingHappened, || request.clone().send()).await?;
        self.capacity.count(operation, family, answer.consumed_capacity());
        Ok(())
    }

    async fn transact(&self, actions: Vec<TransactWriteItem>, family: Option<&str>) -> Result<(), LedgerError> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(actions))
            .client_request_token(Uuid::new_v4().to_string())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let operation = Operation::TransactWriteItems;
        let answer = self.call(operation.name(), Effect::Write, Repeat::Always, || request.clone().send()).await?;
        self.capacity.count(operation, family, answer.consumed_capacity());
        Ok(())
    }

    /// One page of a shard, and where the next one begins.
    async fn query_page(&self, from: Page, limit: i32) -> Result<(Vec<Item>, Option<Page>), LedgerError> {
        let request = self
            .client
            .query()
            .table_name(&*self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(from.pk.clone()))
            .set_exclusive_start_key(from.after)
            .limit(limit)
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let operation = Operation::Query;
        let answer = self.call(operation.name(), Effect::Read, Repeat::Always, || request.clone().send()).await?;
        self.capacity.count(operation, None, answer.consumed_capacity());
        let next = answer.last_evaluated_key.map(|key| Page { pk: from.pk, after: Some(key) });
        Ok((answer.items.unwrap_or_default(), next))
    }
}

/// Where a page of a shard begins.
struct Page {
    pk: String,
    after: Option<Item>,
}

struct Condition {
    expression: &'static str,
    values: Option<Item>,
}

impl Condition {
    fn absent() -> Self {
        Self { expression: "attribute_not_exists(pk)", values: None }
    }
}

pub(super) fn unbuilt(error: BuildError) -> LedgerError {
    LedgerError::Refused(format!("the request could not be built: {error}"))
}

#[async_trait]
impl Ledger for DynamoDbLedger {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let family = self.family(aggregates.iter(), keys.iter());
        let aggregates: Vec<ItemKey> = aggregates.iter().map(ItemKey::of_aggregate).collect();
        let keys: Vec<ItemKey> = keys.iter().map(ItemKey::of_key).collect();
        let found = self.get_all(aggregates.iter().chain(&keys).cloned().collect(), family).await?;
        let find = |key| found.get(key).cloned();
        Ok(Loaded {
            aggregates: aggregates
                .iter()
                .map(|key| find(key).map(items::read_aggregate).transpose())
                .collect::<Result<_, _>>()?,
            keys: keys.iter().map(|key| find(key).map(items::read_key).transpose()).collect::<Result<_, _>>()?,
        })
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        let family = keys.first().map(|key| key.subscriber.as_str());
        let items: HashSet<ItemKey> = keys.iter().map(ItemKey::of_key).collect();
        let items: Vec<ItemKey> = items.into_iter().collect();
        let batches = items.chunks(BATCH_GET_ITEMS).map(|batch| self.get_settled(batch, family));
        let found = try_join_all(batches).await?.concat().into_iter().flatten();
        let found: HashMap<ItemKey, Item> = found.filter_map(|item| Some((ItemKey::of_item(&item)?, item))).collect();
        keys.iter().map(|key| found.get(&ItemKey::of_key(key)).cloned().map(items::read_key).transpose()).collect()
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        commit.check()?;
        let expires_at = self.expires_at(self.options.key_ttl);
        let ids = commit.aggregates.iter().map(|write| &write.id);
        let family = self.family(ids, commit.keys.iter().map(|write| &write.id));
        match (commit.aggregates.as_slice(), commit.keys.as_slice()) {
            ([], []) => return Ok(()),
            ([], [key]) => {
                let (condition, item) = self.conditional_key(key, expires_at);
                return self.put_alone(condition, item, family).await;
            }
            ([aggregate], []) => {
                if let (condition, Some(item)) = self.conditional_aggregate(aggregate) {
                    return self.put_alone(condition, item, family).await;
                }
            }
            _ => {}
        }
        let aggregates = commit.aggregates.iter().map(|write| match self.conditional_aggregate(write) {
            (condition, Some(item)) => self.put(condition, item),
            (condition, None) => self.check(condition, ItemKey::of_aggregate(&write.id)),
        });
        let keys = commit.keys.iter().map(|write| {
            let (condition, item) = self.conditional_key(write, expires_at);
            self.put(condition, item)
        });
        self.transact(aggregates.chain(keys).collect::<Result<_, _>>()?, family).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        key.check()?;
        let request = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(ItemKey::of_attempts(key, epoch).into_attributes()))
            .update_expression(format!("ADD c :one SET s = :s, {EXPIRES_AT} = :expires_at"))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":s", number(PLAIN))
            .expression_attribute_values(":expires_at", number(self.expires_at(self.options.attempts_ttl)))
            .return_values(ReturnValue::UpdatedNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let operation = Operation::UpdateItem;
        let answer =
            self.call(operation.name(), Effect::Write, Repeat::IfNothingHappened, || request.clone().send()).await?;
        self.capacity.count(operation, Some(&key.subscriber), answer.consumed_capacity());
        let count = answer.attributes.as_ref().and_then(|item| item.get("c")?.as_n().ok()?.parse().ok());
        count.ok_or_else(|| LedgerError::Uncertain(format!("table {} did not tell the count", self.table)))
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        key.check()?;
        let lease = ItemKey::of_lease(key);
        let is_free = "attribute_not_exists(pk) OR h = :h OR u <= :now";
        let is_given = format!("SET h = :h, u = :u, s = :s, {EXPIRES_AT} = :expires_at");
        let request = self.client.update_item().table_name(&*self.table).set_key(Some(lease.clone().into_attributes()));
        let request = match self.options.sole {
            // Whoever was given it under another name has ended.
            Some(sole) => request
                .condition_expression(format!("{is_free} OR attribute_not_exists(o) OR o <> :o"))
                .update_expression(format!("{is_given}, o = :o"))
                .expression_attribute_values(":o", AttributeValue::S(sole.to_string())),
            None => request.condition_expression(is_free).update_expression(is_given),
        };
        let request = request
            .expression_attribute_values(":h", AttributeValue::S(holder.to_string()))
            .expression_attribute_values(":u", number(until_ms))
            .expression_attribute_values(":now", number(now_ms))
            .expression_attribute_values(":s", number(PLAIN))
            .expression_attribute_values(":expires_at", number(self.expires_at(self.options.attempts_ttl)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let operation = Operation::UpdateItem;
        // The same holder's second attempt changes nothing more.
        match self.call(operation.name(), Effect::Write, Repeat::Always, || request.clone().send()).await {
            Ok(answer) => {
                self.capacity.count(operation, Some(&key.subscriber), answer.consumed_capacity());
                Ok(Claim::Held)
            }
            Err(LedgerError::Conflict) => {
                let held = self.get(lease, Some(&key.subscriber)).await?;
                let until_ms = held.as_ref().and_then(|item| item.get("u")?.as_n().ok()?.parse().ok());
                Ok(Claim::Elsewhere { until_ms: until_ms.unwrap_or(now_ms) })
            }
            Err(error) => Err(error),
        }
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        // The shards are about equally full; a little more than the share spares most of them a second page.
        let share = limit / usize::from(LIST_SHARDS) + 8;
        let page_items = i32::try_from(share.min(limit).clamp(1, 1_000)).unwrap_or(1_000);
        let mut pages: Vec<Page> =
            (0..LIST_SHARDS).map(|shard| Page { pk: items::shard_pk(tenant, kind, shard), after: None }).collect();
        let mut found = Vec::new();
        while !pages.is_empty() && found.len() < limit {
            let answers = try_join_all(pages.into_iter().map(|page| self.query_page(page, page_items))).await?;
            let (items, next): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
            found.extend(items.into_iter().flatten().filter(items::has_state));
            pages = next.into_iter().flatten().collect();
        }
        found.truncate(limit);
        found
            .into_iter()
            .map(|item| Ok((items::read_aggregate_id(tenant, kind, &item)?, items::read_aggregate(item)?)))
            .collect()
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.get(ItemKey::of_ping(), None).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::sync::Mutex;

    use aws_sdk_dynamodb::config::http::HttpRequest;
    use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
    use aws_sdk_dynamodb::error::ConnectorError;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use lyceum_core::ports::ledger::Content;
    use lyceum_core::record::Position;
    use lyceum_testing::clock::ManualClock;

    #[derive(Clone, Debug)]
    enum Answer {
        /// HTTP status and body.
        Is(u16, Value),
        /// The request arrived, and the connection broke.
        Lost,
        /// No connection came about.
        NoConnection,
    }

    impl Answer {
        fn error(code: &str) -> Self {
            Self::Is(400, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "said"}))
        }

        fn canceled(reason: &str) -> Self {
            let reasons = json!([{"Code": "None"}, {"Code": reason}]);
            Self::Is(400, json!({"__type": "x#TransactionCanceledException", "CancellationReasons": reasons}))
        }

        fn success() -> Self {
            Self::Is(200, json!({}))
        }
    }

    /// A DynamoDB that answers from a script, and knows what it was asked.
    #[derive(Clone, Debug, Default)]
    struct Script {
        answers: Arc<Mutex<VecDeque<Answer>>>,
        asked: Arc<Mutex<Vec<Value>>>,
    }

    impl HttpConnector for Script {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let body = request.body().bytes().expect("the body is in memory");
            self.asked.lock().unwrap().push(serde_json::from_slice(body).unwrap());
            let answer = self.answers.lock().unwrap().pop_front().expect("more calls than answers");
            let broken = |kind| ConnectorError::io(Box::new(io::Error::from(kind)));
            HttpConnectorFuture::ready(match answer {
                Answer::Is(status, body) => Ok(HttpResponse::new(status.try_into().unwrap(), body.to_string().into())),
                Answer::Lost => Err(broken(io::ErrorKind::ConnectionReset)),
                Answer::NoConnection => Err(broken(io::ErrorKind::ConnectionRefused)),
            })
        }
    }

    fn config() -> aws_sdk_dynamodb::config::Builder {
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("a", "b", None, None, "test"))
    }

    fn connect(config: Config) -> DynamoDbLedger {
        let options = LedgerOptions { attempts: 3, ..LedgerOptions::default() };
        DynamoDbLedger::new(&Client::from_conf(config), "ledger", options, Arc::new(ManualClock::at(1_790_000_000_000)))
    }

    /// A ledger whose calls get these answers; all are used up where the test asks `asked`.
    fn scripted(answers: impl IntoIterator<Item = Answer>) -> (DynamoDbLedger, Script) {
        let script = Script { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Script::default() };
        let connector = SharedHttpConnector::new(script.clone());
        (connect(config().http_client(http_client_fn(move |_, _| connector.clone())).build()), script)
    }

    impl Script {
        fn asked(&self) -> Vec<Value> {
            assert!(self.answers.lock().unwrap().is_empty(), "fewer calls than answers");
            self.asked.lock().unwrap().clone()
        }

        fn tokens(&self) -> Vec<Value> {
            self.asked().iter().map(|request| request["ClientRequestToken"].clone()).collect()
        }
    }

    fn key(n: u128) -> KeyId {
        KeyId::of("acme", "training", Uuid::from_u128(n))
    }

    fn commit(keys: u128) -> Commit {
        let stored = StoredKey {
            status: KeyStatus::Applied,
            epoch: 0,
            content_hash: [0; 32],
            source: Position::new("t", 0, 0),
            recording: Bytes::new(),
        };
        let write = |n| KeyWrite { id: key(n), expected: KeyExpectation::Absent, key: stored.clone() };
        Commit { aggregates: Vec::new(), keys: (0..keys).map(write).collect() }
    }

    #[tokio::test]
    async fn a_transaction_is_repeated_under_its_own_token_until_it_succeeds() {
        for failure in [
            Answer::error("ThrottlingException"),
            Answer::canceled("ThrottlingError"),
            Answer::error("TransactionInProgressException"),
            Answer::Is(500, json!({"__type": "InternalServerError"})),
            Answer::Lost,
            Answer::NoConnection,
        ] {
            let (ledger, script) = scripted([failure.clone(), failure, Answer::success()]);
            assert_eq!(ledger.commit(commit(2)).await, Ok(()));
            let tokens = script.tokens();
            assert!(tokens[0].is_string() && tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
        }
    }

    #[tokio::test]
    async fn settled_keys_are_read_as_one_and_again_where_a_transaction_is_at_them() {
        let none = Answer::Is(200, json!({"Responses": [{}, {}]}));
        let (ledger, script) = scripted([Answer::canceled("TransactionConflict"), none]);
        assert_eq!(ledger.load_settled_keys(&[key(1), key(2)]).await, Ok(vec![None, None]));
        let asked = script.asked();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0]["TransactItems"].as_array().map(Vec::len), Some(2));
        let (ledger, script) = scripted(vec![Answer::canceled("TransactionConflict"); 3]);
        let result = ledger.load_settled_keys(&[key(1)]).await;
        assert!(matches!(result, Err(LedgerError::Unavailable(_))), "{result:?}");
        script.asked();
    }

    #[tokio::test]
    async fn a_home_without_state_expires_after_its_keys() {
        let (ledger, script) = scripted([Answer::success()]);
        let id = AggregateId { tenant: "acme".into(), kind: "program".into(), id: "p".into() };
        let write = AggregateWrite { id, expected: None, content: Some(Content::default()) };
        ledger.commit(Commit { aggregates: vec![write], ..Commit::default() }).await.unwrap();
        let seconds = 1_790_000_000 + (45 + 7) * 24 * 60 * 60;
        assert_eq!(script.asked()[0]["Item"][EXPIRES_AT]["N"], seconds.to_string());
    }

    #[tokio::test]
    async fn every_commit_has_a_token_of_its_own() {
        let (ledger, script) = scripted([Answer::success(), Answer::success()]);
        for _ in 0..2 {
            ledger.commit(commit(2)).await.unwrap();
        }
        let tokens = script.tokens();
        assert_ne!(tokens[0], tokens[1]);
    }

    #[tokio::test]
    async fn a_conflict_and_a_refusal_are_told_at_once() {
        for reason in ["ConditionalCheckFailed", "TransactionConflict"] {
            let (ledger, script) = scripted([Answer::canceled(reason)]);
            assert_eq!(ledger.commit(commit(2)).await, Err(LedgerError::Conflict));
            assert_eq!(script.asked().len(), 1);
        }
        let (ledger, script) = scripted([Answer::canceled("ValidationError")]);
        assert!(matches!(ledger.commit(commit(2)).await, Err(LedgerError::Refused(_))));
        assert_eq!(script.asked().len(), 1);
    }

    #[tokio::test]
    async fn after_a_lost_answer_no_failure_says_that_nothing_happened() {
        for last in [
            vec![Answer::error("ThrottlingException"); 2],
            vec![Answer::NoConnection; 2],
            vec![Answer::canceled("TransactionConflict")],
            vec![Answer::error("AccessDeniedException")],
        ] {
            let (ledger, script) = scripted([Answer::Lost].into_iter().chain(last));
            let result = ledger.commit(commit(2)).await;
            assert!(matches!(result, Err(LedgerError::Uncertain(_))), "{result:?}");
            script.asked();
        }
    }

    #[tokio::test]
    async fn what_has_no_token_is_only_repeated_where_nothing_happened() {
        let (ledger, script) = scripted([Answer::Lost]);
        assert!(matches!(ledger.commit(commit(1)).await, Err(LedgerError::Uncertain(_))));
        assert_eq!(script.asked().len(), 1);
        let (ledger, script) = scripted([Answer::Lost]);
        assert!(matches!(ledger.count_attempt(&key(1), 0).await, Err(LedgerError::Uncertain(_))));
        assert_eq!(script.asked().len(), 1);
        let throttled = Answer::error("ProvisionedThroughputExceededException");
        let (ledger, script) = scripted([Answer::NoConnection, throttled, Answer::success()]);
        assert_eq!(ledger.commit(commit(1)).await, Ok(()));
        assert_eq!(script.asked().len(), 3);
    }

    #[tokio::test]
    async fn what_stays_throttled_or_away_is_unavailable() {
        for failure in [Answer::error("RequestLimitExceeded"), Answer::NoConnection] {
            let (ledger, script) = scripted(vec![failure.clone(); 3]);
            assert!(matches!(ledger.commit(commit(2)).await, Err(LedgerError::Unavailable(_))));
            script.asked();
        }
        let (ledger, script) = scripted(vec![Answer::Lost; 3]);
        assert!(matches!(ledger.ping().await, Err(LedgerError::Unavailable(_))));
        script.asked();
    }

    #[tokio::test]
    async fn a_refusal_names_the_table_and_what_to_do() {
        for (code, advice) in [
            ("ResourceNotFoundException", "create the table"),
            ("AccessDeniedException", "allow dynamodb:GetItem"),
            ("UnrecognizedClientException", "check the credentials"),
        ] {
            let (ledger, _) = scripted([Answer::error(code)]);
            let error = ledger.ping().await.unwrap_err();
            assert!(!error.is_transient());
            let text = error.to_string();
            assert!(text.contains("table ledger") && text.contains(code) && text.contains(advice), "{text}");
        }
    }

    fn unprocessed(keys: impl IntoIterator<Item = u128>) -> Answer {
        let keys = keys.into_iter().map(|n| {
            let key = ItemKey::of_key(&key(n));
            json!({"pk": {"S": key.pk}, "sk": {"S": key.sk}})
        });
        let keys: Vec<_> = keys.collect();
        Answer::Is(200, json!({"Responses": {}, "UnprocessedKeys": {"ledger": {"Keys": keys}}}))
    }

    #[tokio::test]
    async fn what_a_batch_leaves_is_asked_for_again() {
        let keys: Vec<_> = (0..5).map(key).collect();
        let (ledger, script) = scripted([unprocessed(0..4), unprocessed(0..4), unprocessed(1..3), Answer::success()]);
        assert_eq!(ledger.load(&[], &keys).await.unwrap().keys, vec![None; 5]);
        let sizes: Vec<_> = script
            .asked()
            .iter()
            .map(|request| request["RequestItems"]["ledger"]["Keys"].as_array().map_or(0, Vec::len))
            .collect();
        assert_eq!(sizes, [5, 4, 4, 2]);
        assert!(script.asked().iter().all(|request| request["RequestItems"]["ledger"]["ConsistentRead"] == true));
    }

    #[tokio::test]
    async fn a_batch_that_gets_nowhere_is_unavailable() {
        let (ledger, script) = scripted(vec![unprocessed(0..2); 3]);
        let error = ledger.load(&[], &[key(0), key(1)]).await.unwrap_err();
        assert!(matches!(&error, LedgerError::Unavailable(reason) if reason.contains("2 of 2")), "{error:?}");
        script.asked();
    }

    #[tokio::test]
    async fn a_key_expires_after_its_time_to_live() {
        let (ledger, script) = scripted([Answer::success()]);
        ledger.commit(commit(1)).await.unwrap();
        let seconds = 1_790_000_000 + 45 * 24 * 60 * 60;
        assert_eq!(script.asked()[0]["Item"][EXPIRES_AT]["N"], seconds.to_string());
    }
    mod over_the_network {
        use std::net::TcpListener;

        use super::*;
        use lyceum_aws::https_client;

        fn reach(endpoint: &str) -> DynamoDbLedger {
            connect(config().endpoint_url(endpoint).http_client(https_client()).build())
        }

        #[tokio::test]
        async fn a_port_where_nobody_listens_is_unavailable() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            drop(listener);
            let ledger = reach(&endpoint);
            for result in [ledger.ping().await, ledger.commit(commit(1)).await, ledger.commit(commit(2)).await] {
                assert!(matches!(result, Err(LedgerError::Unavailable(_))), "{result:?}");
            }
        }

        #[tokio::test]
        async fn a_name_that_nobody_knows_is_unavailable() {
            let ledger = reach("http://ledger.invalid");
            let result = ledger.commit(commit(1)).await;
            assert!(matches!(result, Err(LedgerError::Unavailable(_))), "{result:?}");
        }

        #[tokio::test]
        async fn a_connection_that_closes_without_an_answer_leaves_a_commit_uncertain() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            std::thread::spawn(move || {
                // Reads a little of what comes, and hangs up.
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = io::Read::read(&mut stream, &mut [0; 64]);
                }
            });
            let ledger = reach(&endpoint);
            for keys in [1, 2] {
                let result = ledger.commit(commit(keys)).await;
                assert!(matches!(result, Err(LedgerError::Uncertain(_))), "{result:?}");
            }
            assert!(matches!(ledger.ping().await, Err(LedgerError::Unavailable(_))));
        }
    }
}
