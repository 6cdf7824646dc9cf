//! What readers see: the index at one commit together with what is voided there, and the questions asked of it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ops::Bound;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tantivy::aggregation::bucket::QueryBuilder;
use tantivy::aggregation::{AggContextParams, AggregationCollector, AggregationError, AggregationLimitsGuard};
use tantivy::collector::{Collector, Count, DocSetCollector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn};
use tantivy::query::{AllQuery, BooleanQuery, ExistsQuery, Occur, Query, RangeQuery, TermQuery, TermSetQuery};
use tantivy::schema::{IndexRecordOption, Schema, Type};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{
    DocAddress, DocId, DocSet as _, InvertedIndexReader, Score, Searcher, SegmentOrdinal, SegmentReader, TERMINATED,
    TantivyError, Term,
};
use uuid::Uuid;

use super::refuse_or_retry;
use super::schema::{ID_HIGH, ID_LOW, IndexSchema, Key};
use lyceum_core::ports::statements::aggregation::{self, AggregationKind, Aggregations, MAX_BUCKETS};
use lyceum_core::ports::statements::bucket::{shape_bucket, shape_keyed};
use lyceum_core::ports::statements::semantics::{Cursor, FieldKind, check_search};
use lyceum_core::ports::statements::{
    Filter, Page, SCAN_BYTES, SCAN_STATEMENTS, ScanPart, ScanPlace, StatementDocument, StatementsError, StoredStatement,
};

/// What one aggregation may take of the memory.
const AGGREGATION_MEMORY_BYTES: u64 = 64 << 20;

/// The values of one segment that are counted exactly; more are cut to those with the most documents.
const SEGMENT_BUCKETS: u32 = 1_000_000;

/// So many statements of a scan are read before it is known how large they are.
const FIRST_OF_A_SCAN: usize = 16;

/// For fewer than so many statements another thread is not worth its start.
const SHARE_OF_A_THREAD: usize = 32;

/// Which statements are hidden: the targets of voiding statements that do not void themselves (xAPI-Data 2.3.2).
#[derive(Clone, Debug, Default)]
pub(super) struct Voided {
    voiding: HashSet<Key>,
    hidden: HashSet<Key>,
}

impl Voided {
    /// Takes note of a stored statement.
    pub(super) fn learn(&mut self, document: &StatementDocument) {
        let Some(target) = Key::voided_by(document) else { return };
        let key = Key::of(document);
        self.hidden.remove(&key);
        self.voiding.insert(key);
        if !self.voiding.contains(&target) {
            self.hidden.insert(target);
        }
    }
}

/// The index at one commit.
#[derive(Clone)]
pub(super) struct View {
    pub(super) schema: Arc<IndexSchema>,
    pub(super) searcher: Searcher,
    pub(super) voided: Arc<Voided>,
}

impl View {
    /// Reads what is voided from the index itself, and opens every field, so that damage shows at once.
    pub(super) fn load(schema: Arc<IndexSchema>, searcher: Searcher) -> tantivy::Result<Self> {
        for segment in searcher.segment_readers() {
            for (field, _) in schema.schema.fields().filter(|(_, entry)| entry.is_indexed()) {
                segment.inverted_index(field)?;
            }
        }
        let mut voided = Voided::default();
        for address in searcher.search(&ExistsQuery::new("voids".into(), false), &DocSetCollector)? {
            voided.learn(&schema.decode(searcher.doc(address)?)?);
        }
        Ok(Self { schema, searcher, voided: Arc::new(voided) })
    }

    /// For many look-ups at one commit.
    pub(super) fn keys(&self) -> tantivy::Result<Keys> {
        let field = self.schema.key_field();
        let segments = self.searcher.segment_readers().iter();
        Ok(Keys(segments.map(|segment| segment.inverted_index(field)).collect::<Result<_, _>>()?))
    }

    /// The statement of that key, of which `indexed` is what stands for it in the index.
    pub(super) fn find(&self, keys: &Keys, key: &Key, indexed: &[u8]) -> tantivy::Result<Option<StatementDocument>> {
        for address in keys.find(&self.schema.indexed_term(indexed))? {
            let document = self.document(address)?;
            if Key::of(&document) == *key {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    pub(super) fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        let key = Key::new(tenant, id);
        let found = self.keys().and_then(|keys| self.find(&keys, &key, &self.schema.indexed(&key)));
        let found = found.map_err(refuse_or_retry)?;
        Ok(found.map(|document| self.stored(document)))
    }

    fn document(&self, address: DocAddress) -> tantivy::Result<StatementDocument> {
        self.schema.decode(self.searcher.doc(address)?)
    }

    fn stored(&self, document: StatementDocument) -> StoredStatement {
        let hidden = &self.voided.hidden;
        StoredStatement { voided: !hidden.is_empty() && hidden.contains(&Key::of(&document)), document }
    }

    pub(super) fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        let after = check_search(limit, after)?;
        let page = || {
            let (total, mut places) =
                self.searcher.search(&self.query(filter), &(Count, FirstAfter { after, limit }))?;
            let more = places.len() > limit;
            places.truncate(limit);
            let next = places.last().filter(|_| more).map(|(last, _)| last.to_string());
            let statements = places
                .into_iter()
                .map(|(_, address)| Ok(self.stored(self.document(address)?)))
                .collect::<tantivy::Result<_>>()?;
            Ok(Page { statements, total: total as u64, next })
        };
        page().map_err(refuse_or_retry)
    }

    /// Everything that the filter leaves at this commit, in the order in which it lies on the disk.
    pub(super) fn scan(&self, filter: &Filter) -> Result<Scanned, StatementsError> {
        let found = self.searcher.search(&self.query(filter), &DocSetCollector).map_err(refuse_or_retry)?;
        let mut places: Vec<DocAddress> = found.into_iter().collect();
        places.sort_unstable();
        Ok(Scanned { view: self.clone(), places, passed: 0, size: SCAN_BYTES / FIRST_OF_A_SCAN })
    }

    /// Reads statements in their order, on as many threads as there are processors: most of it is decompressing and parsing. Each reads
    /// [`SCAN_BYTES`] and one statement more at most, so that fewer may come back than were asked for.
    fn read_some(&self, places: &[DocAddress]) -> Result<Vec<StoredStatement>, StatementsError> {
        let read = |places: &[DocAddress]| -> tantivy::Result<Vec<StoredStatement>> {
            let mut bytes = 0;
            let mut some = Vec::with_capacity(places.len());
            for address in places {
                let found = self.stored(self.document(*address)?);
                bytes += found.document.size();
                some.push(found);
                if bytes >= SCAN_BYTES {
                    break;
                }
            }
            Ok(some)
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = places.len().div_ceil(threads).max(SHARE_OF_A_THREAD);
        let read = thread::scope(|scope| {
            let mut shares = places.chunks(share);
            let first = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|share| (share, scope.spawn(move || read(share)))).collect();
            let mut all = read(first)?;
            let mut is_whole = all.len() == first.len();
            for (share, other) in others {
                let next = other.join().unwrap_or_else(|panic| resume_unwind(panic))?;
                if is_whole {
                    is_whole = next.len() == share.len();
                    all.extend(next);
                }
            }
            Ok(all)
        });
        read.map_err(refuse_or_retry)
    }

    fn query(&self, filter: &Filter) -> BooleanQuery {
        let schema = &self.schema;
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = vec![(Occur::Must, Box::new(AllQuery))];
        for fields in filter.terms() {
            let values = fields.iter().flat_map(|&(name, values)| values.iter().map(move |value| (name, value)));
            let mut terms: Vec<Term> = values.map(|(name, value)| schema.text_term(name, value)).collect();
            let query: Box<dyn Query> = match terms.len() {
                1 => Box::new(TermQuery::new(terms.remove(0), IndexRecordOption::Basic)),
                _ => Box::new(TermSetQuery::new(terms)),
            };
            clauses.push((Occur::Must, query));
        }
        if filter.from_ms.is_some() || filter.to_ms.is_some() {
            let timestamp = schema.field("timestamp_ms");
            let from =
                filter.from_ms.map_or(Bound::Unbounded, |ms| Bound::Included(Term::from_field_i64(timestamp, ms)));
            let to = filter.to_ms.map_or(Bound::Unbounded, |ms| Bound::Excluded(Term::from_field_i64(timestamp, ms)));
            clauses.push((Occur::Must, Box::new(RangeQuery::new(from, to))));
        }
        if !filter.include_voided {
            let of_tenant = |key: &&Key| filter.tenant.as_ref().is_none_or(|tenant| key.is_of_tenant(tenant));
            let hidden: Vec<Term> =
                self.voided.hidden.iter().filter(of_tenant).map(|key| schema.key_term(key)).collect();
            if !hidden.is_empty() {
                clauses.push((Occur::MustNot, Box::new(TermSetQuery::new(hidden))));
            }
        }
        BooleanQuery::new(clauses)
    }

    pub(super) fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        let aggregations = aggregation::parse(aggregations)?;
        let query = self.query(filter);
        let answer = match self.run(&query, &aggregations, Distinct::Exact) {
            Err(error) if is_over_limit(&error) => self.run(&query, &aggregations, Distinct::Estimated),
            answer => answer,
        };
        let (hits, answer) = answer.map_err(|error| match is_over_limit(&error) {
            true => StatementsError::Refused(format!(
                "the aggregation has more than {MAX_BUCKETS} buckets or needs more than {} MB: narrow the filter or \
                 ask for smaller sizes",
                AGGREGATION_MEMORY_BYTES >> 20
            )),
            false => refuse_or_retry(error),
        })?;
        Ok(json!({"hits": hits, "aggregations": answer}))
    }

    fn run(
        &self,
        query: &dyn Query,
        aggregations: &Aggregations,
        distinct: Distinct,
    ) -> tantivy::Result<(usize, Map<String, Value>)> {
        let unreadable = |error: serde_json::Error| TantivyError::InvalidArgument(error.to_string());
        let request = serde_json::from_value(translate(aggregations, distinct)).map_err(unreadable)?;
        let limits = AggregationLimitsGuard::new(Some(AGGREGATION_MEMORY_BYTES), Some(MAX_BUCKETS));
        let context = AggContextParams::new(limits, TokenizerManager::default());
        let (hits, answer) =
            self.searcher.search(query, &(Count, AggregationCollector::from_aggs(request, context)))?;
        let mut answer = serde_json::to_value(answer).map_err(unreadable)?;
        Ok((hits, shape(aggregations, &mut answer)))
    }
}

/// A scan under way: what is behind it stays readable, whatever is stored meanwhile.
pub(super) struct Scanned {
    view: View,
    places: Vec<DocAddress>,
    passed: usize,
    /// What a statement is expected to take, in bytes: as much as those of the last part did.
    size: usize,
}

impl Scanned {
    pub(super) fn next_part(mut self) -> Result<ScanPart, StatementsError> {
        let mut statements: Vec<StoredStatement> = Vec::new();
        let mut bytes = 0;
        while self.passed < self.places.len() && statements.len() < SCAN_STATEMENTS && bytes < SCAN_BYTES {
            let some = ((SCAN_BYTES - bytes) / self.size + 1).min(SCAN_STATEMENTS - statements.len());
            let left = &self.places[self.passed..];
            let read = self.view.read_some(&left[..some.min(left.len())])?;
            self.passed += read.len();
            bytes += read.iter().map(|found| found.document.size()).sum::<usize>();
            statements.extend(read);
            self.size = bytes / statements.len() + 1;
        }
        let next = (self.passed < self.places.len()).then(|| ScanPlace::new(self));
        Ok(ScanPart { statements, next })
    }
}

/// The key field of every segment.
pub(super) struct Keys(Vec<Arc<InvertedIndexReader>>);

impl Keys {
    /// Every statement with that key, and the few others whose digest is the same.
    fn find(&self, term: &Term) -> tantivy::Result<Vec<DocAddress>> {
        let mut found = Vec::new();
        for (segment, keys) in self.0.iter().enumerate() {
            let Some(info) = keys.get_term_info(term)? else { continue };
            let mut documents = keys.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
            while documents.doc() != TERMINATED {
                found.push(DocAddress::new(segment as SegmentOrdinal, documents.doc()));
                documents.advance();
            }
        }
        Ok(found)
    }
}

/// Collects the first `limit + 1` documents behind a cursor; one more than asked for tells that there is a next page.
struct FirstAfter {
    after: Option<Cursor>,
    limit: usize,
}

impl Collector for FirstAfter {
    type Fruit = Vec<(Cursor, DocAddress)>;
    type Child = SegmentFirstAfter;

    fn for_segment(&self, segment: SegmentOrdinal, reader: &SegmentReader) -> tantivy::Result<Self::Child> {
        let columns = reader.fast_fields();
        Ok(SegmentFirstAfter {
            segment,
            timestamp_ms: columns.i64("timestamp_ms")?,
            id_high: columns.u64(ID_HIGH)?,
            id_low: columns.u64(ID_LOW)?,
            tenant: columns.str("tenant")?,
            after: self.after.clone(),
            limit: self.limit,
            first: BinaryHeap::new(),
        })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<Self::Fruit>) -> tantivy::Result<Self::Fruit> {
        let mut first: Self::Fruit = segments.into_iter().flatten().collect();
        first.sort_unstable();
        first.truncate(self.limit + 1);
        Ok(first)
    }
}

struct SegmentFirstAfter {
    segment: SegmentOrdinal,
    timestamp_ms: Column<i64>,
    id_high: Column<u64>,
    id_low: Column<u64>,
    tenant: Option<StrColumn>,
    after: Option<Cursor>,
    limit: usize,
    first: BinaryHeap<(Cursor, DocAddress)>,
}

impl SegmentFirstAfter {
    fn tenant(&self, document: DocId) -> String {
        let mut tenant = String::new();
        if let Some(column) = &self.tenant
            && let Some(ordinal) = column.term_ords(document).next()
            && column.ord_to_str(ordinal, &mut tenant).is_err()
        {
            tenant.clear();
        }
        tenant
    }
}

impl SegmentCollector for SegmentFirstAfter {
    type Fruit = Vec<(Cursor, DocAddress)>;

    fn collect(&mut self, document: DocId, _score: Score) {
        let timestamp_ms = self.timestamp_ms.first(document).unwrap_or_default();
        let half = |column: &Column<u64>| column.first(document).unwrap_or_default();
        let id = Uuid::from_u64_pair(half(&self.id_high), half(&self.id_low));
        let is_full = self.first.len() > self.limit;
        if is_full && self.first.peek().is_some_and(|(last, _)| last.is_before(timestamp_ms, id)) {
            return;
        }
        let place = Cursor::new(timestamp_ms, id, self.tenant(document));
        if self.after.as_ref().is_some_and(|after| place <= *after) {
            return;
        }
        self.first.push((place, DocAddress::new(self.segment, document)));
        if is_full {
            self.first.pop();
        }
    }

    fn harvest(self) -> Self::Fruit {
        self.first.into_vec()
    }
}

/// How different values are counted: exactly, as buckets, or where there are too many by tantivy's HyperLogLog (2 %).
#[derive(Clone, Copy, PartialEq)]
enum Distinct {
    Exact,
    Estimated,
}

fn is_over_limit(error: &TantivyError) -> bool {
    use AggregationError::{BucketLimitExceeded, MemoryExceeded};
    matches!(error, TantivyError::AggregationError(BucketLimitExceeded { .. } | MemoryExceeded { .. }))
}

/// Tantivy's own JSON, which is close to Elasticsearch's.
fn translate(aggregations: &Aggregations, distinct: Distinct) -> Value {
    let one = |aggregation: &aggregation::Aggregation| {
        let terms =
            |name, size| json!({"terms": {"field": name, "size": size, "segment_size": SEGMENT_BUCKETS.max(size)}});
        let mut request = match &aggregation.kind {
            AggregationKind::Terms { field, size } if field.kind == FieldKind::Text => terms(field.name, *size),
            // Tantivy keeps whole and broken numbers apart when it orders buckets, so `shape` orders and cuts them.
            AggregationKind::Terms { field, .. } => terms(field.name, MAX_BUCKETS),
            AggregationKind::Filter { field, value } => {
                json!({"filter": {"type": "Equals", "field": field.name, "value": value.to_json()}})
            }
            // `* AND NOT` would nest the exclusion in a clause of its own, and such a one finds nothing.
            AggregationKind::Missing { field } => json!({"filter": format!("+* -{}:*", field.name)}),
            AggregationKind::Cardinality { field } if distinct == Distinct::Exact => terms(field.name, MAX_BUCKETS + 1),
            AggregationKind::Cardinality { field } => json!({"cardinality": {"field": field.name}}),
            AggregationKind::Metric { metric, field } => json!({metric.name(): {"field": field.name}}),
        };
        if !aggregation.aggregations.is_empty() {
            request["aggs"] = translate(&aggregation.aggregations, distinct);
        }
        request
    };
    aggregations.iter().map(|(name, aggregation)| (name.clone(), one(aggregation))).collect::<Map<_, _>>().into()
}

/// The documents with this value in this field, by its own name in JSON. Found in the column where there is no index beside it, which tantivy's own query language
/// cannot say.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Equals {
    field: String,
    value: Value,
}

#[typetag::serde]
impl QueryBuilder for Equals {
    fn build_query(&self, schema: &Schema, _tokenizers: &TokenizerManager) -> tantivy::Result<Box<dyn Query>> {
        let field = schema.get_field(&self.field)?;
        let term = match (schema.get_field_entry(field).field_type().value_type(), &self.value) {
            (Type::Str, Value::String(text)) => Some(Term::from_field_text(field, text)),
            (Type::I64, number) => number.as_i64().map(|number| Term::from_field_i64(field, number)),
            (Type::F64, number) => number.as_f64().map(|number| Term::from_field_f64(field, number)),
            (Type::Bool, Value::Bool(truth)) => Some(Term::from_field_bool(field, *truth)),
            _ => None,
        };
        let term =
            term.ok_or_else(|| TantivyError::InvalidArgument(format!("{} is never {}", self.field, self.value)))?;
        Ok(Box::new(TermQuery::new(term, IndexRecordOption::Basic)))
    }

    fn box_clone(&self) -> Box<dyn QueryBuilder> {
        Box::new(self.clone())
    }
}

/// Turns tantivy's answer into Elasticsearch's.
fn shape(aggregations: &Aggregations, answer: &mut Value) -> Map<String, Value> {
    let one = |(name, aggregation): (&String, &aggregation::Aggregation)| {
        let mut answer = answer[name].take();
        match &aggregation.kind {
            AggregationKind::Terms { field, size } => {
                let mut buckets = answer["buckets"].as_array_mut().map(std::mem::take).unwrap_or_default();
                if field.kind != FieldKind::Text {
                    let number = |bucket: &Value| bucket["key"].as_f64().unwrap_or_default();
                    buckets.sort_by(|left, right| number(left).total_cmp(&number(right)));
                    buckets.sort_by_key(|bucket| Reverse(count_of(bucket)));
                    let cut: u64 = buckets.iter().skip(*size as usize).map(count_of).sum();
                    buckets.truncate(*size as usize);
                    answer["sum_other_doc_count"] = json!(count_of_others(&answer) + cut);
                }
                let shaped =
                    buckets.into_iter().map(|bucket| shape_keyed(field.kind, &aggregation.aggregations, bucket, shape));
                answer["buckets"] = shaped.collect();
            }
            AggregationKind::Filter { .. } | AggregationKind::Missing { .. } => {
                answer = Value::Object(shape_bucket(&aggregation.aggregations, answer, shape));
            }
            AggregationKind::Cardinality { .. } => {
                let exact = answer["buckets"].as_array().map(|buckets| buckets.len() as u64);
                answer = json!({"value": exact.or(answer["value"].as_f64().map(|estimate| estimate as u64))});
            }
            AggregationKind::Metric { .. } => {}
        }
        (name.clone(), answer)
    };
    aggregations.iter().map(one).collect()
}

fn count_of(bucket: &Value) -> u64 {
    bucket["doc_count"].as_u64().unwrap_or_default()
}

fn count_of_others(terms: &Value) -> u64 {
    terms["sum_other_doc_count"].as_u64().unwrap_or_default()
}
