//! The log against the stores, for a range: read, judged ([`lyceum_core::reconcile`]), and what is missing processed once more.
//!
//! A part of a partition is in memory at a time, and a part of the stored documents: how long the range is makes no difference. Where the
//! time is over, the report says where it goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::ports::event_log::{EventLog, EventLogError, OffsetRange};
use lyceum_core::ports::ledger::LedgerError;
use lyceum_core::ports::statements::{Filter, QueryDocuments, StatementDocument, Statements, StatementsError};
use lyceum_core::process::{Delivery, Held, HeldKey, Subscriber};
use lyceum_core::reconcile::{Difference, Known, Report, Verdict, What, judge, judge_source};
use lyceum_core::record::{Position, Record};
use lyceum_core::replay::{self, FileFormat, Log, Offsets, OffsetsOf, Plan, Range, Target};
use lyceum_core::subscription::Effect;
use lyceum_xapi::equality;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::dead_letters::letters::{DeadLetterFilter, DeadLetters, Order};
use crate::questions::AskError;

/// So many records of a partition are compared at once.
const PART_RECORDS: usize = 500;
/// And no more than these bytes of them.
const PART_BYTES: usize = 4 << 20;
/// So many documents are asked for at once.
const ASKED_AT_ONCE: usize = 16;
/// Records that are not further apart are fetched together, with what is between them.
const NEAR: i64 = 64;
/// Keys are looked for in records that are younger; older ones may have lost theirs.
const KEYS_AGE_MS: i64 = crate::replay::KEYS_AGE.as_millis() as i64;
/// How long one processing of missing effects may take.
const REPAIR_TIME: Duration = Duration::from_secs(60);

/// What is to be compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// These topics; none: all topics of events.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Which of their records, by time or by offsets; all that are there where nothing is said.
    #[serde(default)]
    pub range: Range,
    /// Of this tenant alone.
    #[serde(default)]
    pub tenant: Option<SmolStr>,
    /// Whether records whose effects are missing, or whose letters of a conflict are, are processed once more.
    #[serde(default)]
    pub repair: bool,
    /// Of a comparison whose time was over: its report's `next`.
    #[serde(default)]
    pub left: Vec<OffsetsOf>,
}

/// What it is done with.
pub struct Reconciler {
    /// Where records are.
    pub event_log: Arc<dyn EventLog>,
    /// Where documents are.
    pub statements: Arc<dyn Statements>,
    /// Who made the effects, by subscription.
    pub functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    /// What accounts for records that are dead.
    pub letters: Arc<dyn DeadLetters>,
    /// Which topics there are.
    pub catalog: Arc<Catalog>,
    /// Consumer groups are called this, `-` and the subscription, or one of its mappings.
    pub group: String,
    /// When the time is over.
    pub clock: Arc<dyn Clock>,
}

/// One comparison on its way.
struct Run<'r> {
    of: &'r Reconciler,
    request: &'r Request,
    deadline_ms: i64,
    /// Whether the index of letters has all of them.
    has_all_letters: bool,
    /// How far each subscription has come in each partition of the topics that were asked for.
    committed: HashMap<(&'static str, String), BTreeMap<i32, i64>>,
    report: Report,
}

/// A record that one subscription reads, and what differs of it.
type Differing<'a> = (&'a Record, What, Difference);

impl Reconciler {
    /// Compares, until the deadline (milliseconds since 1970 UTC); at least one part.
    ///
    /// # Errors
    /// `Invalid` where the request makes no sense for this log; as the stores have it otherwise: what was repaired before stays so.
    pub async fn reconcile(&self, request: &Request, deadline_ms: i64) -> Result<Report, AskError> {
        let plan = self.plan(request).await?;
        let letters = self.letters.list(&DeadLetterFilter::default(), Order::NewestFirst, 1, None).await?;
        let report = Report { notes: plan.notes.clone(), ..Report::default() };
        let has_all_letters = letters.not_indexed == 0;
        let mut run = Run { of: self, request, deadline_ms, has_all_letters, committed: HashMap::new(), report };
        let left = run.compare_log(&plan).await?;
        if left.is_empty() {
            run.report.is_complete = run.compare_documents().await?;
        }
        run.report.next = left;
        Ok(run.report)
    }

    /// The topics of events, or those of the request.
    fn topics(&self, request: &Request) -> Result<Vec<String>, AskError> {
        let all: Vec<&str> = self.catalog.families().iter().flat_map(|of| of.topics).map(|topic| topic.name).collect();
        if let Some(unknown) = request.topics.iter().find(|topic| !all.contains(&topic.as_str())) {
            return Err(AskError::Invalid(format!("{unknown} is no topic of events; there are {}", all.join(", "))));
        }
        Ok(if request.topics.is_empty() {
            all.into_iter().map(str::to_owned).collect()
        } else {
            request.topics.clone()
        })
    }

    async fn plan(&self, request: &Request) -> Result<Plan, AskError> {
        if matches!(request.range, Range::CorrelationId(_) | Range::EventIds(_)) {
            return Err(AskError::Invalid("a range is given by times or by offsets here".to_owned()));
        }
        let topics = self.topics(request)?;
        let range = match &*request.left {
            [] => request.range.clone(),
            left => Range::Offsets(left.to_vec()),
        };
        let mut log = Log::default();
        for topic in &topics {
            for (partition, OffsetRange { start, end }) in (0..).zip(self.offsets(topic).await?) {
                let mut of = Offsets { topic: topic.clone(), partition, start, end, ..Offsets::default() };
                if let Range::Times { from, until } = &range {
                    of.at_from = self.offset_at(topic, partition, *from).await?;
                    of.at_until = self.offset_at(topic, partition, *until).await?;
                }
                log.partitions.push(of);
            }
        }
        // What has no effect needs no keys.
        let target = Target::File { place: "-".to_owned(), format: FileFormat::Jsonl };
        let asked = replay::Request {
            topics,
            range,
            partitions: Vec::new(),
            filter: replay::Filter::default(),
            target,
            rate: None,
            limit: None,
        };
        replay::plan(&asked, &log)
            .map_err(|wrong| AskError::Invalid(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
    }

    async fn offset_at(&self, topic: &str, partition: i32, time: Option<UtcTime>) -> Result<Option<i64>, AskError> {
        let Some(time) = time else { return Ok(None) };
        self.event_log.offset_at(topic, partition, time.as_millis()).await.map_err(log_failed)
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, AskError> {
        match self.event_log.offsets(topic).await {
            // Nobody sent anything there yet.
            Err(EventLogError::UnknownTopic(_)) => Ok(Vec::new()),
            offsets => offsets.map_err(log_failed),
        }
    }
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        self.of.clock.now_ms() >= self.deadline_ms
    }

    /// Compares every record of the plan with what is kept of it; what is left when the time is over.
    async fn compare_log(&mut self, plan: &Plan) -> Result<Vec<OffsetsOf>, AskError> {
        let mut left = Vec::new();
        let mut is_first = true;
        for of in &plan.partitions {
            for &(from, until) in &of.ranges {
                let mut next = from;
                while next < until && (is_first || !self.is_over()) {
                    is_first = false;
                    next = self.compare_part(&of.topic, of.partition, next, until).await?;
                }
                if next < until {
                    let (topic, partition) = (Some(of.topic.clone()), Some(of.partition));
                    left.push(OffsetsOf { topic, partition, from: Some(next), until: Some(until) });
                }
            }
        }
        Ok(left)
    }

    /// Compares the records from an offset on, some of them; where it goes on.
    async fn compare_part(&mut self, topic: &str, partition: i32, from: i64, until: i64) -> Result<i64, AskError> {
        let most = usize::try_from(until - from).unwrap_or(PART_RECORDS).min(PART_RECORDS);
        let fetched = self.of.event_log.fetch(topic, partition, from, most, PART_BYTES).await;
        let mut records = match fetched {
            Ok(records) => records,
            Err(EventLogError::OffsetOutOfRange { range, .. }) if range.start > from => {
                let note =
                    format!("{topic}/{partition} begins at offset {} by now: what is before is gone", range.start);
                self.report.notes.push(note);
                return Ok(range.start.min(until));
            }
            Err(error) => return Err(log_failed(error)),
        };
        records.retain(|record| record.position.offset < until);
        let Some(last) = records.last() else { return Ok(until) };
        let next = last.position.offset + 1;
        self.report.records += records.len() as u64;
        let functions: Vec<Arc<dyn Subscriber>> = self.of.functions.values().cloned().collect();
        for function in functions {
            let subscription = function.subscription();
            // The audit log is proved whole by itself.
            if subscription.effect == Effect::Audit || !subscription.topics().any(|of| of == topic) {
                continue;
            }
            let settled = self.committed(&*function, topic).await?.get(&partition).copied().unwrap_or(0);
            let (settled, not_yet): (Vec<Record>, Vec<Record>) =
                records.iter().cloned().partition(|record| record.position.offset < settled);
            self.report.not_yet += not_yet.len() as u64;
            self.compare_with(&*function, &settled).await?;
        }
        Ok(next)
    }

    /// How far a subscription has come in a topic, by partition, by whichever of its groups came further.
    async fn committed(&mut self, function: &dyn Subscriber, topic: &str) -> Result<&BTreeMap<i32, i64>, AskError> {
        let subscription = function.subscription();
        let name = (subscription.name, topic.to_owned());
        if !self.committed.contains_key(&name) {
            let mut furthest: BTreeMap<i32, i64> = BTreeMap::new();
            let groups = BTreeSet::from([subscription.name.to_owned(), subscription.mapping_group(topic)]);
            for group in groups {
                let group = format!("{}-{group}", self.of.group);
                for (partition, offset) in self.of.event_log.committed(&group, topic).await.map_err(log_failed)? {
                    let of = furthest.entry(partition).or_default();
                    *of = offset.max(*of);
                }
            }
            self.committed.insert(name.clone(), furthest);
        }
        Ok(self.committed.entry(name).or_default())
    }

    /// Compares settled records with what one subscription keeps, and repairs where that is asked for.
    async fn compare_with(&mut self, function: &dyn Subscriber, records: &[Record]) -> Result<(), AskError> {
        let verdicts = self.judge_all(function, records).await?;
        let mut differing: Vec<Differing<'_>> = Vec::new();
        for (record, (verdict, tenant, event_id)) in records.iter().zip(verdicts) {
            // Whose a record is that cannot be read is nobody's but an operator's question.
            if self.request.tenant.is_some() && self.request.tenant != tenant {
                continue;
            }
            if let Some((what, why)) = self.report.count(verdict) {
                let (subscription, position) = (function.subscription().name.to_owned(), record.position.clone());
                differing.push((record, what, Difference { what, subscription, position, tenant, event_id, why }));
            }
        }
        let made = differing.iter().filter(|(_, what, _)| what.is_made_by_processing());
        let missing: Vec<Record> = made.map(|(record, ..)| (*record).clone()).collect();
        if !self.request.repair || missing.is_empty() {
            differing.into_iter().for_each(|(.., difference)| self.report.add(difference));
            return Ok(());
        }
        let deliveries: Vec<Delivery> = missing.iter().cloned().map(Delivery::Record).collect();
        let invocation = function.invocation(self.of.clock.now_ms() + REPAIR_TIME.as_millis() as i64);
        drop(function.process(&deliveries, &invocation).await);
        let again = self.judge_all(function, &missing).await?;
        let left: HashMap<&Position, (What, String)> = missing
            .iter()
            .zip(again)
            .filter_map(|(record, (verdict, ..))| match verdict {
                Verdict::Differs(what, why) => Some((&record.position, (what, why))),
                _ => None,
            })
            .collect();
        for (record, what, difference) in differing {
            match left.get(&record.position) {
                None if what.is_made_by_processing() => self.report.repaired += 1,
                Some((what, why)) => self.report.add(Difference { what: *what, why: why.clone(), ..difference }),
                None => self.report.add(difference),
            }
        }
        Ok(())
    }

    /// How each of these records stands, and whose which event it is.
    async fn judge_all(
        &self,
        function: &dyn Subscriber,
        records: &[Record],
    ) -> Result<Vec<(Verdict, Option<SmolStr>, Option<Uuid>)>, AskError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let invocation = function.invocation(self.of.clock.now_ms() + REPAIR_TIME.as_millis() as i64);
        let all = function.held(records, &invocation).await.map_err(ledger_failed)?;
        let found = self.documents_of(&all).await?;
        let wanted: Vec<Uuid> = all.iter().filter_map(letter_of).collect();
        let letters = if wanted.is_empty() { HashMap::new() } else { self.of.letters.of_ids(&wanted).await? };
        let has_letter = |id: Uuid| {
            let is_there = letters.contains_key(&id);
            (is_there || self.has_all_letters).then_some(is_there)
        };
        let keys_since_ms = self.of.clock.now_ms() - KEYS_AGE_MS;
        let judged = records.iter().zip(&all).zip(&found).map(|((record, held), document)| {
            let is_older_than_keys = record.timestamp_ms < keys_since_ms;
            let (document, same) = (document.as_ref(), equality::same);
            let known = Known { document, has_letter: &has_letter, is_older_than_keys, same };
            let (tenant, event_id) = match held {
                Held::Event(event) => (Some(event.tenant.clone()), Some(event.event_id)),
                Held::Nothing | Held::Letter(_) | Held::Unread(_) => (None, None),
            };
            (judge(held, &record.position, known), tenant, event_id)
        });
        Ok(judged.collect())
    }

    /// What is stored under the ids of the documents that should be there.
    async fn documents_of(&self, all: &[Held]) -> Result<Vec<Option<StatementDocument>>, AskError> {
        let get = |held: &Held| {
            let wanted = match held {
                Held::Event(event) => event.document.as_ref().map(|document| (document.tenant.clone(), document.id)),
                Held::Nothing | Held::Letter(_) | Held::Unread(_) => None,
            };
            let statements = Arc::clone(&self.of.statements);
            async move {
                let Some((tenant, id)) = wanted else { return Ok(None) };
                Ok(statements.get(&tenant, id).await?.map(|found| found.document))
            }
        };
        let asked: Vec<_> = all.iter().map(get).collect();
        futures::stream::iter(asked).buffered(ASKED_AT_ONCE).try_collect().await.map_err(statements_failed)
    }

    /// Holds stored documents of the range against the log; whether it came to their end in time.
    async fn compare_documents(&mut self) -> Result<bool, AskError> {
        let (from_ms, to_ms) = match &self.request.range {
            Range::Times { from, until } => (from.map(|time| time.as_millis()), until.map(|time| time.as_millis())),
            Range::Offsets(_) | Range::CorrelationId(_) | Range::EventIds(_) => (None, None),
        };
        let tenant = self.request.tenant.as_ref().map(ToString::to_string);
        let filter = Filter { tenant, from_ms, to_ms, include_voided: true, ..Filter::default() };
        let statements = Arc::clone(&self.of.statements);
        let mut place = None;
        loop {
            let part = QueryDocuments::scan(&*statements, &filter, place).await.map_err(statements_failed)?;
            let documents = part.statements.into_iter().map(|found| found.document);
            let documents: Vec<StatementDocument> = documents.filter(|of| self.is_meant(of)).collect();
            self.compare_sources(documents).await?;
            match part.next {
                None => return Ok(true),
                Some(_) if self.is_over() => return Ok(false),
                next => place = next,
            }
        }
    }

    /// Whether a document says that it is of a record in the range.
    fn is_meant(&self, document: &StatementDocument) -> bool {
        let Position { topic, partition, offset } = &document.source;
        let is_topic = self.request.topics.is_empty() || self.request.topics.iter().any(|of| **of == **topic);
        let is_in = |of: &OffsetsOf| {
            of.topic.as_deref().is_none_or(|name| *name == **topic)
                && of.partition.is_none_or(|of| of == *partition)
                && of.from.is_none_or(|from| from <= *offset)
                && of.until.is_none_or(|until| *offset < until)
        };
        is_topic && if let Range::Offsets(of) = &self.request.range { of.iter().any(is_in) } else { true }
    }

    async fn compare_sources(&mut self, documents: Vec<StatementDocument>) -> Result<(), AskError> {
        let mut by_partition: BTreeMap<(Arc<str>, i32), Vec<StatementDocument>> = BTreeMap::new();
        for document in documents {
            let Position { topic, partition, .. } = &document.source;
            by_partition.entry((Arc::clone(topic), *partition)).or_default().push(document);
        }
        for ((topic, partition), mut documents) in by_partition {
            documents.sort_unstable_by_key(|document| document.source.offset);
            let offsets = self.of.offsets(&topic).await?;
            let range = usize::try_from(partition).ok().and_then(|at| offsets.get(at)).copied();
            let range = range.unwrap_or(OffsetRange { start: 0, end: 0 });
            // What the log dropped tells nothing.
            documents.retain(|document| document.source.offset >= range.start);
            let mut left = &documents[..];
            while let Some(first) = left.first() {
                let near =
                    left.windows(2).take_while(|two| two[1].source.offset - two[0].source.offset <= NEAR).count();
                let (together, rest) = left.split_at((near + 1).min(PART_RECORDS));
                left = rest;
                let last = together.last().unwrap_or(first).source.offset;
                let records = self.fetch(&topic, partition, (first.source.offset, last), range).await?;
                self.compare_some(together, &records).await?;
            }
        }
        Ok(())
    }

    /// The records between two offsets, both of them included.
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        (mut from, last): (i64, i64),
        range: OffsetRange,
    ) -> Result<Vec<Record>, AskError> {
        let mut found = Vec::new();
        while from <= last && from < range.end {
            let most = usize::try_from(last - from + 1).unwrap_or(PART_RECORDS);
            let fetched = match self.of.event_log.fetch(topic, partition, from, most, PART_BYTES).await {
                Err(EventLogError::OffsetOutOfRange { .. }) => break,
                fetched => fetched.map_err(log_failed)?,
            };
            let Some(end) = fetched.last().map(|record| record.position.offset) else { break };
            found.extend(fetched);
            from = end + 1;
        }
        Ok(found)
    }

    /// Holds documents of one partition against its records, each with the subscription that says that it stored it.
    async fn compare_some(&mut self, documents: &[StatementDocument], records: &[Record]) -> Result<(), AskError> {
        self.report.documents += documents.len() as u64;
        let by_offset: HashMap<i64, &Record> = records.iter().map(|record| (record.position.offset, record)).collect();
        let mut families: BTreeMap<&str, Vec<&StatementDocument>> = BTreeMap::new();
        for document in documents {
            families.entry(&*document.fields.family).or_default().push(document);
        }
        for (family, documents) in families {
            let function = self.of.functions.get(family).cloned();
            let there = documents.iter().filter_map(|document| by_offset.get(&document.source.offset));
            let there: Vec<Record> = there.map(|record| (*record).clone()).collect();
            let held = match &function {
                Some(function) if !there.is_empty() => {
                    let invocation = function.invocation(self.of.clock.now_ms() + REPAIR_TIME.as_millis() as i64);
                    function.held(&there, &invocation).await.map_err(ledger_failed)?
                }
                _ => vec![Held::Nothing; there.len()],
            };
            let held: HashMap<i64, Held> = there.iter().map(|record| record.position.offset).zip(held).collect();
            for document in documents {
                let Some(why) = judge_source(document, held.get(&document.source.offset)) else { continue };
                self.report.add(Difference {
                    what: What::ExtraDocument,
                    subscription: family.to_owned(),
                    position: document.source.clone(),
                    tenant: Some(document.tenant.clone()),
                    event_id: Some(document.id),
                    why: format!("document {}: {why}", document.id),
                });
            }
        }
        Ok(())
    }
}

/// The letter that may account for a record.
fn letter_of(held: &Held) -> Option<Uuid> {
    match held {
        Held::Letter(id) => Some(*id),
        Held::Event(event) => match &event.key {
            HeldKey::Dead { letter } => *letter,
            HeldKey::NotKept | HeldKey::Applied => event.document.as_ref().map(|_| event.letter),
            HeldKey::OtherContent { .. } => Some(event.letter),
            HeldKey::Missing | HeldKey::Unread(_) => None,
        },
        Held::Nothing | Held::Unread(_) => None,
    }
}

fn log_failed(error: EventLogError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}

fn ledger_failed(error: LedgerError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}

fn statements_failed(error: StatementsError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}
