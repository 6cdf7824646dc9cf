//! The statement store's model: the port's promise in the plainest words, for the simulation and unit tests.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use smol_str::SmolStr;
use uuid::Uuid;

use lyceum_core::ports::statements::aggregation::{self, AggregationKind, Aggregations, Metric};
use lyceum_core::ports::statements::semantics::{
    Cursor, Field, FieldValue, StatementEquality, check_search, meet_again,
};
use lyceum_core::ports::statements::{
    Current, Filter, Indices, Next, Page, QueryDocuments, Reindex, StatementDocument, StatementsError, StoreDocuments,
    StoreOutcome, StoredStatement,
};

/// Statements in memory; the same calls give the same answers, whatever runs them.
pub struct MemoryStatements {
    same: StatementEquality,
    indices: Arc<Mutex<All>>,
    /// The index that is meant: the one of a number while it is filled, else whichever is live.
    of: Option<u32>,
}

/// All indices.
#[derive(Default)]
struct All {
    live: u32,
    next: Option<u32>,
    states: BTreeMap<u32, State>,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<(SmolStr, Uuid), StatementDocument>,
    void_targets: HashSet<(SmolStr, Uuid)>,
}

impl State {
    fn stored(&self, document: &StatementDocument) -> StoredStatement {
        let is_target = self.void_targets.contains(&(document.tenant.clone(), document.id));
        StoredStatement { document: document.clone(), voided: is_target && document.fields.voids.is_none() }
    }

    fn matching(&self, filter: &Filter) -> Vec<StoredStatement> {
        let meant = self.documents.values().filter(|document| filter.matches(document));
        meant.map(|document| self.stored(document)).filter(|found| filter.include_voided || !found.voided).collect()
    }
}

impl MemoryStatements {
    /// An empty store; `same` is the statement equality that tells a duplicate from a conflict.
    pub fn new(same: StatementEquality) -> Self {
        Self { same, indices: Arc::default(), of: None }
    }

    /// The same store, for another process.
    pub fn again(&self) -> Self {
        Self { same: self.same, indices: self.indices.clone(), of: self.of }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, StatementsError> {
        let mut all = self.indices.lock();
        let number = match self.of {
            None => all.live,
            Some(number) if all.next == Some(number) => number,
            Some(number) => return Err(StatementsError::Refused(format!("index {number} is not filled any more"))),
        };
        Ok(work(all.states.entry(number).or_default()))
    }

    /// Everything that is stored, voided or not, by tenant and id.
    pub fn documents(&self) -> Vec<StoredStatement> {
        let all = |state: &mut State| state.documents.values().map(|document| state.stored(document)).collect();
        self.with(all).unwrap_or_default()
    }

    /// Loses a document, as a store that was brought back from an old copy has; it is given back.
    pub fn lose(&self, tenant: &str, id: Uuid) -> Option<StatementDocument> {
        self.with(|state| state.documents.remove(&(tenant.into(), id))).ok().flatten()
    }

    /// Puts a document in the place of whatever is there, as nobody may.
    pub fn put(&self, document: StatementDocument) {
        drop(self.with(|state| state.documents.insert((document.tenant.clone(), document.id), document)));
    }
}

#[async_trait]
impl StoreDocuments for MemoryStatements {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        self.with(|state| {
            let mut store_one = |document: StatementDocument| {
                let key = (document.tenant.clone(), document.id);
                if let Some(first) = state.documents.get(&key) {
                    return meet_again(&first.source, &first.raw, &document, self.same);
                }
                if let Some(target) = document.fields.voids {
                    state.void_targets.insert((document.tenant.clone(), target));
                }
                state.documents.insert(key, document);
                StoreOutcome::Created
            };
            documents.into_iter().map(&mut store_one).collect()
        })
    }
}

#[async_trait]
impl Reindex for MemoryStatements {
    async fn indices(&self) -> Result<Indices, StatementsError> {
        let all = self.indices.lock();
        let old = all.states.keys().copied().filter(|of| *of != all.live && Some(*of) != all.next).collect();
        Ok(Indices { live: all.live, next: all.next, old, settled_after: Duration::ZERO })
    }

    async fn current(&self) -> Result<Current, StatementsError> {
        let All { live, next, .. } = *self.indices.lock();
        let next = next.map(|number| Next { number, documents: Arc::new(Self { of: Some(number), ..self.again() }) });
        Ok(Current { live, next })
    }

    async fn create_next(&self, above: u32) -> Result<u32, StatementsError> {
        let mut all = self.indices.lock();
        let newest = all.states.keys().max().copied().unwrap_or(0).max(all.live).max(above);
        let number = *all.next.get_or_insert(newest + 1);
        all.states.entry(number).or_default();
        Ok(number)
    }

    async fn swap(&self, number: u32) -> Result<(), StatementsError> {
        let mut all = self.indices.lock();
        if all.live != number {
            if all.next != Some(number) {
                return Err(StatementsError::Refused(format!("index {number} is not filled any more")));
            }
            // The first one is there, too, where nothing was ever stored in it.
            let live = all.live;
            all.states.entry(live).or_default();
            (all.live, all.next) = (number, None);
        }
        Ok(())
    }

    async fn abandon(&self, number: u32) -> Result<(), StatementsError> {
        let mut all = self.indices.lock();
        all.next = all.next.filter(|next| *next != number);
        Ok(())
    }

    async fn drop_old(&self) -> Result<BTreeSet<u32>, StatementsError> {
        let old = self.indices().await?.old;
        self.indices.lock().states.retain(|number, _| !old.contains(number));
        Ok(old)
    }
}

#[async_trait]
impl QueryDocuments for MemoryStatements {
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.with(|state| state.documents.get(&(tenant.into(), id)).map(|document| state.stored(document)))
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        let after = check_search(limit, after)?;
        let mut found = self.with(|state| state.matching(filter))?;
        let total = found.len() as u64;
        found.sort_by_cached_key(|found| Cursor::of(&found.document));
        found.retain(|found| after.as_ref().is_none_or(|after| Cursor::of(&found.document) > *after));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Cursor::of(&last.document).to_string());
        Ok(Page { statements: found, total, next })
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        let aggregations = aggregation::parse(aggregations)?;
        let found = self.with(|state| state.matching(filter))?;
        let documents: Vec<_> = found.iter().map(|found| &found.document).collect();
        Ok(json!({"hits": documents.len(), "aggregations": evaluate(&aggregations, &documents)}))
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        Ok(())
    }
}

fn evaluate(aggregations: &Aggregations, documents: &[&StatementDocument]) -> Map<String, Value> {
    let answer = |(name, aggregation): (&String, &aggregation::Aggregation)| {
        let inner = &aggregation.aggregations;
        let answer = match &aggregation.kind {
            AggregationKind::Terms { field, size } => terms(field, *size as usize, inner, documents),
            AggregationKind::Filter { field, value } => {
                let has_value = |document: &StatementDocument| values(field, document).contains(value);
                let within: Vec<_> = documents.iter().copied().filter(|document| has_value(document)).collect();
                bucket(inner, &within)
            }
            AggregationKind::Missing { field } => {
                let has_none = |document: &StatementDocument| values(field, document).is_empty();
                let within: Vec<_> = documents.iter().copied().filter(|document| has_none(document)).collect();
                bucket(inner, &within)
            }
            AggregationKind::Cardinality { field } => json!({"value": group(field, documents).len()}),
            AggregationKind::Metric { metric, field } => measure(*metric, field, documents),
        };
        (name.clone(), answer)
    };
    aggregations.iter().map(answer).collect()
}

fn terms(field: &Field, size: usize, inner: &Aggregations, documents: &[&StatementDocument]) -> Value {
    let mut groups = group(field, documents);
    // The groups come sorted by value and the sort is stable.
    groups.sort_by_key(|(_, within)| std::cmp::Reverse(within.len()));
    let left_out: usize = groups.iter().skip(size).map(|(_, within)| within.len()).sum();
    let bucket_of = |(value, within): &(FieldValue<'_>, Vec<&StatementDocument>)| {
        let mut bucket = bucket(inner, within);
        match value {
            FieldValue::Text(text) => bucket["key"] = json!(text),
            FieldValue::Long(number) => bucket["key"] = json!(number),
            FieldValue::Double(number) => bucket["key"] = json!(number),
            FieldValue::Boolean(truth) => {
                bucket["key"] = json!(u8::from(*truth));
                bucket["key_as_string"] = json!(truth.to_string());
            }
        }
        bucket
    };
    let buckets: Vec<_> = groups.iter().take(size).map(bucket_of).collect();
    json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": left_out, "buckets": buckets})
}

fn bucket(inner: &Aggregations, within: &[&StatementDocument]) -> Value {
    let mut bucket = evaluate(inner, within);
    bucket.insert("doc_count".into(), json!(within.len()));
    Value::Object(bucket)
}

fn measure(metric: Metric, field: &Field, documents: &[&StatementDocument]) -> Value {
    let numbers: Vec<f64> =
        documents.iter().flat_map(|document| values(field, document)).filter_map(|value| value.number()).collect();
    let min = numbers.iter().copied().reduce(f64::min);
    let max = numbers.iter().copied().reduce(f64::max);
    let sum: f64 = numbers.iter().sum();
    let avg = (!numbers.is_empty()).then(|| sum / numbers.len() as f64);
    match metric {
        Metric::Min => json!({"value": min}),
        Metric::Max => json!({"value": max}),
        Metric::Avg => json!({"value": avg}),
        // An empty sum of floats is -0.0.
        Metric::Stats => json!({"count": numbers.len(), "min": min, "max": max, "avg": avg, "sum": sum + 0.0}),
    }
}

/// The documents by value, values in order.
fn group<'a>(field: &Field, documents: &[&'a StatementDocument]) -> Vec<(FieldValue<'a>, Vec<&'a StatementDocument>)> {
    let mut pairs: Vec<(FieldValue<'a>, &'a StatementDocument)> = Vec::new();
    for &document in documents {
        field.for_each_value(document, |value| pairs.push((value, document)));
    }
    pairs.sort_by(|(left, _), (right, _)| left.compare(right));
    let mut groups: Vec<(FieldValue<'a>, Vec<&'a StatementDocument>)> = Vec::new();
    for (value, document) in pairs {
        match groups.last_mut() {
            Some((last, within)) if *last == value => within.push(document),
            _ => groups.push((value, vec![document])),
        }
    }
    groups
}

fn values<'a>(field: &Field, document: &'a StatementDocument) -> Vec<FieldValue<'a>> {
    let mut values = Vec::new();
    field.for_each_value(document, |value| values.push(value));
    values
}
