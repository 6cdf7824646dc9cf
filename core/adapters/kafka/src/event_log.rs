//! The port on Kafka.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;
use tokio::time::timeout;

use super::administration::{Administration, LOOK_AGAIN};
use super::client::{self, Context, Served, ask, count_partitions};
use super::error::{Trouble, code_of, of_code, translate};
use super::groups::{self, Groups, is_not_a_member};
use super::growth::{Ends, Growth, Topic, has_moved};
use super::membership::KafkaMembership;
use super::producer::{Producer, Report};
use super::readers::{Found, Readers, Taken};
use super::settings::{KafkaSettings, Sasl};
use lyceum_core::ports::event_log::{
    Administer, EventLogError, Follow, Membership, OffsetRange, Publish, TopicSpec, rules,
};
use lyceum_core::record::{Header, NewRecord, Position, Record};

/// How long the number of a topic's partitions is believed.
const PARTITIONS_KEPT: Duration = Duration::from_secs(30);

/// The first and the longest pause of somebody who waits for records that no reader of this process would bring.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// What a record takes beside its key, value and headers, as librdkafka counts against `message.max.bytes`; each header
/// takes a few bytes more.
const FRAME_BYTES: usize = 512;

/// The time of a lookup that means an end of the partition. Source: Kafka's protocol, ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// An event log on a Kafka cluster. Its calls need a Tokio runtime with threads that may block.
pub struct KafkaEventLog {
    settings: KafkaSettings,
    config: ClientConfig,
    context: Context,
    growth: Growth,
    readers: Readers,
    groups: Groups,
    lazy: Mutex<Lazy>,
    known: Mutex<HashMap<String, Known>>,
}

/// The clients that were needed so far.
#[derive(Default)]
struct Lazy {
    /// Asks for metadata and offsets; it never fetches, because an answer would wait behind a fetch that waits for records.
    inquirer: Option<Arc<Served>>,
    producer: Option<Arc<Producer>>,
    administration: Option<Arc<Administration>>,
}

/// What is known of a topic.
struct Known {
    partitions: i32,
    since: Instant,
    /// Whose turn it is among records without key.
    turn: i32,
    max_batch_bytes: Option<usize>,
}

impl KafkaEventLog {
    /// A log on the cluster that the settings name. Nothing is connected before the first call.
    ///
    /// # Errors
    /// [`EventLogError::Refused`] where a secret's text was not handed to the settings.
    pub fn connect(settings: &KafkaSettings) -> Result<Self, EventLogError> {
        let config = client::configure(settings)?;
        let is_iam = matches!(settings.sasl, Some(Sasl::AwsIam { .. }));
        let context = Context::new(settings, Arc::new(Trouble::new(is_iam)));
        let reader = format!("{}-reader", settings.client_id);
        Ok(Self {
            settings: settings.clone(),
            growth: Growth::default(),
            readers: Readers::new(config.clone(), &reader, context.clone()),
            groups: Groups::new(config.clone(), context.clone()),
            config,
            context,
            lazy: Mutex::default(),
            known: Mutex::default(),
        })
    }

    fn trouble(&self) -> &Arc<Trouble> {
        &self.context.trouble
    }

    fn translate(&self, error: &KafkaError, topic: &str) -> EventLogError {
        translate(error, topic, self.trouble())
    }

    fn inquirer(&self) -> Result<Arc<BaseConsumer<Context>>, EventLogError> {
        let mut lazy = self.lazy.lock();
        let served = match &lazy.inquirer {
            Some(served) => served,
            None => {
                let served = Served::start(&self.config, self.context.clone());
                lazy.inquirer.insert(Arc::new(served.map_err(|error| self.translate(&error, ""))?))
            }
        };
        Ok(Arc::clone(served.consumer()))
    }

    fn producer(&self) -> Result<Arc<Producer>, EventLogError> {
        let mut lazy = self.lazy.lock();
        if let Some(producer) = lazy.producer.as_ref().filter(|producer| !producer.is_broken()) {
            return Ok(Arc::clone(producer));
        }
        let producer = Producer::start(self.config.clone(), &self.settings, self.context.clone());
        let producer = Arc::new(producer.map_err(|error| self.translate(&error, ""))?);
        Ok(Arc::clone(lazy.producer.insert(producer)))
    }

    fn administration(&self) -> Result<Arc<Administration>, EventLogError> {
        if matches!(self.settings.sasl, Some(Sasl::AwsIam { .. })) {
            return Err(EventLogError::Refused(
                "topics cannot be made over MSK IAM: make them with kafka-topics.sh, or with a SCRAM user".to_owned(),
            ));
        }
        let mut lazy = self.lazy.lock();
        if let Some(administration) = &lazy.administration {
            return Ok(Arc::clone(administration));
        }
        let administration = Administration::start(&self.config, &self.settings, self.context.clone());
        let administration = Arc::new(administration.map_err(|error| self.translate(&error, ""))?);
        Ok(Arc::clone(lazy.administration.insert(administration)))
    }

    async fn inquire<T: Send + 'static>(
        &self,
        topic: &str,
        question: impl Fn(&BaseConsumer<Context>, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, EventLogError> {
        ask(self.inquirer()?, Arc::clone(self.trouble()), self.settings.timeout, topic, question).await
    }

    async fn partitions(&self, topic: &str) -> Result<i32, EventLogError> {
        if let Some(known) = self.known.lock().get(topic).filter(|known| known.since.elapsed() < PARTITIONS_KEPT) {
            return Ok(known.partitions);
        }
        self.look_up(topic).await
    }

    /// The partitions of a topic, once there are so many: what one broker has done the others hear of a little later.
    async fn until_known(&self, topic: &str, partitions: i32) -> Result<i32, EventLogError> {
        let deadline = Instant::now() + self.settings.timeout;
        loop {
            match self.look_up(topic).await {
                Ok(found) if found >= partitions => return Ok(found),
                Ok(_) | Err(EventLogError::UnknownTopic(_)) if Instant::now() < deadline => {}
                Ok(_) => return Err(of_code(Code::OperationTimedOut, topic, self.trouble())),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn look_up(&self, topic: &str) -> Result<i32, EventLogError> {
        let name = topic.to_owned();
        let counted = self.inquire(topic, move |consumer, limit| count_partitions(consumer, &name, limit)).await;
        let mut known = self.known.lock();
        match counted {
            Ok(partitions) => {
                let fresh = Known { partitions, since: Instant::now(), turn: 0, max_batch_bytes: None };
                let entry = known.entry(topic.to_owned()).or_insert(fresh);
                (entry.partitions, entry.since) = (partitions, Instant::now());
                Ok(partitions)
            }
            Err(error) => {
                if matches!(error, EventLogError::UnknownTopic(_)) {
                    known.remove(topic);
                }
                Err(error)
            }
        }
    }

    /// Whether the topic has that partition; what is known is refreshed before it is denied.
    async fn check_partition(&self, topic: &str, partition: i32) -> Result<(), EventLogError> {
        match rules::check_partition(topic, partition, self.partitions(topic).await?) {
            Ok(()) => Ok(()),
            Err(_) => rules::check_partition(topic, partition, self.look_up(topic).await?),
        }
    }

    /// The partition of each record.
    async fn choose_partitions(&self, topic: &str, records: &[NewRecord]) -> Result<Vec<i32>, EventLogError> {
        let choose = |partitions| {
            let mut known = self.known.lock();
            let turn = known.get_mut(topic).map(|known| &mut known.turn);
            rules::choose_partitions(topic, partitions, records, turn.unwrap_or(&mut 0))
        };
        let partitions = self.partitions(topic).await?;
        match choose(partitions) {
            Err(EventLogError::UnknownPartition { .. }) => {
                let partitions = self.look_up(topic).await?;
                choose(partitions)
            }
            places => places,
        }
    }

    /// The first offset at or after a time, by partition; a time may be [`EARLIEST`] or [`LATEST`].
    async fn find_offsets(
        &self,
        topic: &str,
        partitions: Vec<i32>,
        time: i64,
    ) -> Result<Vec<Option<i64>>, EventLogError> {
        let name = topic.to_owned();
        let found = self.inquire(topic, move |consumer, limit| {
            let mut asked = TopicPartitionList::new();
            for &partition in &partitions {
                // A negative time has a meaning to the broker, and none as an offset to librdkafka's list.
                let time = Offset::from_raw(time);
                asked.add_partition_offset(&name, partition, time)?;
            }
            let answer = consumer.offsets_for_times(asked, limit)?;
            let mut found = Vec::with_capacity(partitions.len());
            for &partition in &partitions {
                let element =
                    answer.find_partition(&name, partition).ok_or(KafkaError::OffsetFetch(Code::UnknownPartition))?;
                element.error()?;
                found.push(match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                });
            }
            Ok(found)
        });
        found.await
    }

    /// Where a partition begins or ends: an offset for each.
    async fn find_ends(&self, topic: &str, partitions: Vec<i32>, time: i64) -> Result<Vec<i64>, EventLogError> {
        let found = self.find_offsets(topic, partitions, time).await?;
        Ok(found.into_iter().map(|offset| offset.unwrap_or(0)).collect())
    }

    async fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, EventLogError> {
        let start = self.find_ends(topic, vec![partition], EARLIEST).await?[0];
        Ok(OffsetRange { start, end: self.end(topic, partition).await? })
    }

    async fn end(&self, topic: &str, partition: i32) -> Result<i64, EventLogError> {
        let end = self.find_ends(topic, vec![partition], LATEST).await?[0];
        self.growth.topic(topic).note(&Ends::from([(partition, end)]));
        Ok(end)
    }

    async fn ends(&self, topic: &str) -> Result<Ends, EventLogError> {
        let partitions = self.partitions(topic).await?;
        let ends = self.find_ends(topic, (0..partitions).collect(), LATEST).await?;
        Ok((0..).zip(ends).collect())
    }

    /// What a call of `produce` answers, given a report of each record.
    async fn conclude(
        &self,
        topic: &str,
        records: &[NewRecord],
        reports: Vec<Report>,
    ) -> Result<Vec<Position>, EventLogError> {
        let name: Arc<str> = topic.into();
        let growth = self.growth.topic(topic);
        let mut positions = Vec::with_capacity(reports.len());
        let mut failed = None;
        for (record, report) in records.iter().zip(reports) {
            match report {
                Ok((partition, offset)) => {
                    growth.reach(partition, offset + 1);
                    positions.push(Position::new(Arc::clone(&name), partition, offset));
                }
                Err(code) => failed = failed.or(Some((record, code))),
            }
        }
        growth.stir();
        match failed {
            None => {
                self.trouble().clear();
                Ok(positions)
            }
            Some((record, Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge)) => {
                Err(EventLogError::TooLarge { bytes: measure(record), limit_bytes: self.limit_of(topic).await })
            }
            Some((_, code)) => {
                self.known.lock().remove(topic);
                Err(of_code(code, topic, self.trouble()))
            }
        }
    }

    /// The largest batch that the topic takes, as far as this client may know it.
    async fn limit_of(&self, topic: &str) -> usize {
        if let Some(limit) = self.known.lock().get(topic).and_then(|known| known.max_batch_bytes) {
            return limit;
        }
        let asked = match self.administration() {
            Ok(administration) => administration.max_batch_bytes(topic).await.ok().flatten(),
            Err(_) => None,
        };
        let limit = asked.unwrap_or(self.settings.max_record_bytes).min(self.settings.max_record_bytes);
        if let Some(known) = self.known.lock().get_mut(topic) {
            known.max_batch_bytes = Some(limit);
        }
        limit
    }

    /// Puts the reader where the caller goes on; false where the partition has nothing from there on.
    async fn place(
        &self,
        taken: &mut Taken<'_>,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<bool, EventLogError> {
        if taken.reader().stands_at(offset) {
            return Ok(true);
        }
        let range = self.range(topic, partition).await?;
        rules::check_offset(topic, partition, offset, range)?;
        if offset == range.end {
            return Ok(false);
        }
        taken.reader().move_to(offset).map_err(|error| self.translate(&error, topic))?;
        Ok(true)
    }
}

/// Closing clients waits for their brokers: whoever drops the last handle of a log that was replaced is not kept waiting.
impl Drop for KafkaEventLog {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let lazy = std::mem::take(self.lazy.get_mut());
        let (readers, groups) = (self.readers.take_clients(), self.groups.take_clients());
        runtime.spawn_blocking(move || drop((lazy, readers, groups)));
    }
}

fn measure(record: &NewRecord) -> usize {
    rules::payload_bytes(record.key.as_deref(), record.value.as_deref(), &record.headers)
}

/// What a record's frame takes.
fn frame_bytes(headers: &[Header]) -> usize {
    FRAME_BYTES + 10 * headers.len()
}

#[async_trait]
impl Publish for KafkaEventLog {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let places = self.choose_partitions(topic, &records).await?;
        let limit = self.settings.max_record_bytes;
        for record in &records {
            rules::check_sizes(std::slice::from_ref(record), limit.saturating_sub(frame_bytes(&record.headers)))?;
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let reports = self.producer()?.append(topic, &records, &places, self.settings.timeout).await;
        self.conclude(topic, &records, reports).await
    }
}

#[async_trait]
impl Follow for KafkaEventLog {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.check_partition(topic, partition).await?;
        let (name, growth): (Arc<str>, _) = (topic.into(), self.growth.topic(topic));
        let taken = self.readers.take(&name, partition, offset, &growth).await;
        let mut taken = taken.map_err(|error| self.translate(&error, topic))?;
        if !self.place(&mut taken, topic, partition, offset).await? {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.settings.timeout;
        let mut records = Vec::new();
        let mut end = None;
        loop {
            match taken.reader().collect(&mut records, max_records, max_bytes) {
                Found::Enough => break,
                Found::Nothing if !records.is_empty() => break,
                Found::Nothing => {}
                Found::Error(error) => {
                    taken.reader().lose_place();
                    return Err(match code_of(&error) {
                        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                            let range = self.range(topic, partition).await?;
                            EventLogError::OffsetOutOfRange { topic: topic.to_owned(), partition, offset, range }
                        }
                        _ => self.translate(&error, topic),
                    });
                }
            }
            let seen = match end {
                Some(seen) => seen,
                None => *end.insert(self.end(topic, partition).await?),
            };
            if offset > seen {
                // The topic was made anew.
                taken.reader().lose_place();
                let range = self.range(topic, partition).await?;
                return Err(EventLogError::OffsetOutOfRange { topic: topic.to_owned(), partition, offset, range });
            }
            if offset == seen || taken.reader().is_empty_below(seen) {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, taken.reader().arrival()).await.is_err() {
                taken.reader().lose_place();
                return Err(of_code(Code::OperationTimedOut, topic, self.trouble()));
            }
        }
        if let Some(last) = records.last() {
            growth.reach(partition, last.position.offset + 1);
        }
        Ok(records)
    }

    fn stop_reading(&self, topic: &str, partition: i32, until: i64) {
        self.readers.close(topic, partition, until);
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        let partitions = self.look_up(topic).await?;
        let starts = self.find_ends(topic, (0..partitions).collect(), EARLIEST).await?;
        let ends = self.find_ends(topic, (0..partitions).collect(), LATEST).await?;
        self.growth.topic(topic).note(&(0..).zip(ends.iter().copied()).collect());
        Ok(starts.into_iter().zip(ends).map(|(start, end)| OffsetRange { start, end }).collect())
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.check_partition(topic, partition).await?;
        Ok(self.find_offsets(topic, vec![partition], timestamp_ms.max(0)).await?[0])
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        let partitions = self.look_up(topic).await?;
        let client = self.groups.client(group).map_err(|error| self.translate(&error, topic))?;
        let (consumer, name) = (Arc::clone(client.consumer()), topic.to_owned());
        let question =
            move |consumer: &BaseConsumer<Context>, limit| groups::committed(consumer, &name, partitions, limit);
        ask(consumer, Arc::clone(self.trouble()), self.settings.timeout, topic, question).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        rules::check_commit(topic, self.look_up(topic).await?, offsets)?;
        if offsets.is_empty() {
            return Ok(());
        }
        let client = self.groups.client(group).map_err(|error| self.translate(&error, topic))?;
        let (name, list) = (topic.to_owned(), offsets.to_vec());
        let work = tokio::task::spawn_blocking(move || groups::commit(client.consumer(), &name, &list));
        match timeout(self.settings.timeout, work).await {
            Ok(Ok(Ok(()))) => {
                self.trouble().clear();
                Ok(())
            }
            Ok(Ok(Err(error))) if code_of(&error).is_some_and(is_not_a_member) => Err(EventLogError::NotAssigned {
                group: group.to_owned(),
                topic: topic.to_owned(),
                partitions: offsets.iter().map(|(partition, _)| *partition).collect(),
            }),
            Ok(Ok(Err(error))) => Err(self.translate(&error, topic)),
            Ok(Err(error)) => Err(EventLogError::Unavailable(format!("the commit was given up ({error}); try again"))),
            Err(_) => Err(of_code(Code::OperationTimedOut, topic, self.trouble())),
        }
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.look_up(topic).await?;
        let membership = KafkaMembership::join(
            self.config.clone(),
            self.context.clone(),
            self.settings.timeout,
            group,
            topic,
            patience,
        );
        Ok(Box::new(membership.map_err(|error| self.translate(&error, topic))?))
    }

    async fn wait_for_records(&self, topic: &str, limit: Duration) {
        let growth: Arc<Topic> = self.growth.topic(topic);
        let mut stirred = growth.watch();
        let before = growth.ends();
        let look = async {
            let mut before = before;
            let mut pause = FIRST_LOOK;
            loop {
                stirred.borrow_and_update();
                if has_moved(&before, &growth.ends()) {
                    return;
                }
                if let Ok(now) = self.ends(topic).await {
                    let has_moved = has_moved(&before, &now);
                    growth.note(&now);
                    if has_moved {
                        return;
                    }
                    // Partitions that nobody had looked at are where they are.
                    for (partition, end) in now {
                        before.entry(partition).or_insert(end);
                    }
                }
                // Either way it is time to look.
                let _ = timeout(pause, stirred.changed()).await;
                pause = (pause * 2).min(LAST_LOOK);
            }
        };
        // Either way there is nothing more to wait for.
        let _ = timeout(limit, look).await;
    }
}

#[async_trait]
impl Administer for KafkaEventLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        // Before the broker says so in words of its own.
        rules::check_topic(&spec, 0)?;
        let administration = self.administration()?;
        let failed = |error: KafkaError| self.translate(&error, &spec.name);
        if administration.create(&spec).await.map_err(failed)? {
            let ends: Ends = (0..spec.partitions).map(|partition| (partition, 0)).collect();
            self.growth.topic(&spec.name).note(&ends);
        } else {
            // Another process may have made it a moment ago.
            let existing = self.until_known(&spec.name, 1).await?;
            rules::check_topic(&spec, existing)?;
            if existing < spec.partitions {
                administration.grow(&spec.name, spec.partitions).await.map_err(failed)?;
            }
            administration.retain(&spec.name, spec.retention).await.map_err(failed)?;
        }
        self.until_known(&spec.name, spec.partitions).await.map(drop)
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        let mut topics = self
            .inquire("", |consumer, limit| {
                let metadata = consumer.fetch_metadata(None, limit)?;
                let found =
                    metadata.topics().iter().filter(|topic| topic.error().is_none() && !topic.name().starts_with("__"));
                Ok(found.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32)).collect::<Vec<_>>())
            })
            .await?;
        topics.sort();
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        let retentions = match self.administration() {
            Ok(administration) => {
                administration.retentions(&names).await.map_err(|error| self.translate(&error, "the topics"))?
            }
            // Over MSK IAM the partitions are known, the retention is not.
            Err(_) => HashMap::new(),
        };
        let spec = |(name, partitions): (String, i32)| {
            let retention = retentions.get(&name).copied().unwrap_or_default();
            TopicSpec { name, partitions, retention }
        };
        Ok(topics.into_iter().map(spec).collect())
    }

    async fn apply_retention(&self, _now_ms: i64) -> Result<u64, EventLogError> {
        // Kafka's own affair: by whole segments, some minutes later.
        Ok(0)
    }
}
