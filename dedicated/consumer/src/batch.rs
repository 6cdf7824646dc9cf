//! What is handed out: batches of one partition's records, and single records, each with the duty to settle.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::{Headers as _, OwnedMessage};

use crate::hand::{Duty, Hand, Kept, Partition, Place, Receipt};
use crate::native::{Message, Messages, One};

/// Where a record's bytes are.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// In librdkafka's memory.
    Native(&'a Message),
    /// Copied by rdkafka, in the stream tier.
    Detached(&'a OwnedMessage),
}

/// One record, borrowed. Cheap to copy; nothing of it is.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    source: Source<'a>,
    partition: &'a Partition,
}

impl<'a> Record<'a> {
    /// Its topic.
    pub fn topic(&self) -> &'a str {
        &self.partition.topic
    }

    /// Its topic and partition.
    pub fn place(&self) -> &'a Partition {
        self.partition
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.partition.number
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        match self.source {
            Source::Native(message) => message.offset(),
            Source::Detached(message) => message.offset(),
        }
    }

    /// Milliseconds since 1970, where it has a time.
    pub fn timestamp_ms(&self) -> Option<i64> {
        match self.source {
            Source::Native(message) => message.timestamp_ms(),
            Source::Detached(message) => message.timestamp().to_millis(),
        }
    }

    /// Its key.
    pub fn key(&self) -> Option<&'a [u8]> {
        match self.source {
            Source::Native(message) => message.key(),
            Source::Detached(message) => message.key(),
        }
    }

    /// Its value; a tombstone has none.
    pub fn payload(&self) -> Option<&'a [u8]> {
        match self.source {
            Source::Native(message) => message.payload(),
            Source::Detached(message) => message.payload(),
        }
    }

    fn size(&self) -> usize {
        self.key().map_or(0, <[u8]>::len) + self.payload().map_or(0, <[u8]>::len)
    }

    /// Its headers in their order: name and value, both bytes, since a broker checks neither. A name may occur more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let source = self.source;
        (0..).map_while(move |at| match source {
            Source::Native(message) => message.header(at),
            Source::Detached(message) => {
                let header = message.headers()?.try_get(at)?;
                Some((header.key.as_bytes(), header.value))
            }
        })
    }

    /// The last header of this name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().filter(|(of, _)| *of == name.as_bytes()).last().and_then(|(_, value)| value)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.payload().map(<[u8]>::len);
        write!(f, "Record({}@{}, {bytes:?} bytes)", self.partition, self.offset())
    }
}

enum Held {
    Native(Messages),
    Detached(Vec<OwnedMessage>),
}

/// The records of a batch. Their memory counts as in hand until they are dropped.
pub struct Records {
    held: Held,
    partition: Partition,
    kept: Kept,
}

impl Records {
    pub(crate) fn native(messages: Messages, partition: Partition, hand: &Arc<Hand>) -> Self {
        let bytes = messages.as_slice().iter().map(Message::size).sum();
        Self { held: Held::Native(messages), partition, kept: hand.keep(bytes) }
    }

    pub(crate) fn detached(messages: Vec<OwnedMessage>, partition: Partition, hand: &Arc<Hand>) -> Self {
        let size =
            |message: &OwnedMessage| message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
        let bytes = messages.iter().map(size).sum();
        Self { held: Held::Detached(messages), partition, kept: hand.keep(bytes) }
    }

    fn split_off(&mut self, count: usize) -> Self {
        let held = match &mut self.held {
            Held::Native(messages) => Held::Native(messages.split_off(count)),
            Held::Detached(messages) => Held::Detached(messages.split_off(count)),
        };
        let mut behind = Self { held, partition: self.partition.clone(), kept: self.kept.split(0) };
        let bytes = behind.iter().map(|record| record.size()).sum();
        behind.kept = self.kept.split(bytes);
        behind
    }

    /// How many there are: at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Native(messages) => messages.as_slice().len(),
            Held::Detached(messages) => messages.len(),
        }
    }

    /// Bytes of their keys and payloads.
    pub fn bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// Whose they are.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The record at this place.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let source = match &self.held {
            Held::Native(messages) => Source::Native(messages.as_slice().get(index)?),
            Held::Detached(messages) => Source::Detached(messages.get(index)?),
        };
        Some(Record { source, partition: &self.partition })
    }

    /// With bytes that are shared.
    pub fn into_shared(self) -> SharedRecords {
        SharedRecords(Arc::new(self))
    }

    /// All, in the partition's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.get(index).expect("the index is below the length"))
    }
}

/// Records whose bytes are shared as [`Bytes`], without a copy: their memory lives until the last of those is dropped.
#[derive(Clone)]
pub struct SharedRecords(Arc<Records>);

impl SharedRecords {
    /// The records.
    pub fn records(&self) -> &Records {
        &self.0
    }

    /// The key of the record at this place.
    pub fn key(&self, index: usize) -> Option<Bytes> {
        self.share(index, Part::Key)
    }

    /// The value of the record at this place.
    pub fn payload(&self, index: usize) -> Option<Bytes> {
        self.share(index, Part::Payload)
    }

    fn share(&self, index: usize, part: Part) -> Option<Bytes> {
        part.of(&self.0, index)?;
        Some(Bytes::from_owner(PartOf { records: Arc::clone(&self.0), index, part }))
    }
}

#[derive(Clone, Copy)]
enum Part {
    Key,
    Payload,
}

impl Part {
    fn of(self, records: &Records, index: usize) -> Option<&[u8]> {
        let record = records.get(index)?;
        match self {
            Self::Key => record.key(),
            Self::Payload => record.payload(),
        }
    }
}

struct PartOf {
    records: Arc<Records>,
    index: usize,
    part: Part,
}

impl AsRef<[u8]> for PartOf {
    fn as_ref(&self) -> &[u8] {
        self.part.of(&self.records, self.index).unwrap_or_default()
    }
}

/// Records of one partition, in its order, which were taken together, and the duty to settle them.
///
/// It may go to any thread or task. Dropped, what is not settled is handed out again.
#[must_use = "records of a batch that is dropped are handed out again"]
pub struct Batch {
    records: Records,
    receipt: Receipt,
}

impl Batch {
    pub(crate) fn new(records: Records, receipt: Receipt) -> Self {
        Self { records, receipt }
    }

    /// The records.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The duty, to settle some of them.
    pub fn receipt(&mut self) -> &mut Receipt {
        &mut self.receipt
    }

    /// Both apart: the memory of the records may go before they are settled.
    pub fn into_parts(self) -> (Records, Receipt) {
        (self.records, self.receipt)
    }

    /// Whose records they are.
    pub fn partition(&self) -> &Partition {
        self.records.partition()
    }

    /// How many there are: at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Leaves the first `count` records in this batch and gives those behind, where there are some. Nothing of it is settled yet.
    pub(crate) fn split_off(&mut self, count: usize) -> Option<Batch> {
        if count >= self.len() {
            return None;
        }
        let records = self.records.split_off(count);
        Some(Batch { records, receipt: self.receipt.split_off(count) })
    }

    /// As of [`Receipt::is_current`].
    pub fn is_current(&self) -> bool {
        self.receipt.is_current()
    }

    /// As of [`Receipt::settle_all`].
    pub fn settle_all(self) -> bool {
        self.receipt.settle_all()
    }

    /// Each record by itself, to be settled by itself.
    pub fn into_single(self) -> impl Iterator<Item = Delivered> {
        let Self { records: Records { held, partition: _, kept }, receipt } = self;
        let (hand, place, duties) = receipt.into_duties();
        let common = Common { hand, place, _kept: kept };
        let single: Box<dyn Iterator<Item = Alone> + Send> = match held {
            Held::Native(messages) => Box::new(messages.split(common).map(Alone::Native)),
            Held::Detached(messages) => {
                let common = Arc::new(common);
                Box::new(messages.into_iter().map(move |message| Alone::Detached(message, Arc::clone(&common))))
            }
        };
        single.zip(duties).map(|(alone, duty)| Delivered { alone, duty: Some(duty) })
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} records, {:?})", self.len(), self.receipt)
    }
}

/// What single records of a batch share.
struct Common {
    hand: Arc<Hand>,
    place: Place,
    _kept: Kept,
}

enum Alone {
    Native(One<Common>),
    Detached(OwnedMessage, Arc<Common>),
}

impl Alone {
    fn common(&self) -> &Common {
        match self {
            Self::Native(one) => one.shared(),
            Self::Detached(_, common) => common,
        }
    }
}

/// One record with the duty to settle it. Dropped without, it is handed out again.
#[must_use = "a record that is dropped without being settled is handed out again"]
pub struct Delivered {
    alone: Alone,
    duty: Option<Duty>,
}

impl Delivered {
    /// The record.
    pub fn record(&self) -> Record<'_> {
        let source = match &self.alone {
            Alone::Native(one) => Source::Native(one.message()),
            Alone::Detached(message, _) => Source::Detached(message),
        };
        Record { source, partition: &self.alone.common().place.partition }
    }

    /// Its effect is confirmed. `false` where the partition was taken away before: then it is not acknowledged, and its next
    /// owner gets it.
    pub fn settle(mut self) -> bool {
        let common = self.alone.common();
        self.duty.take().is_some_and(|duty| duty.settle(&common.hand, &common.place))
    }

    /// As of [`Receipt::is_current`].
    pub fn is_current(&self) -> bool {
        let common = self.alone.common();
        common.hand.is_current(&common.place)
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        if let Some(duty) = self.duty.take() {
            let common = self.alone.common();
            duty.give_back(&common.hand, &common.place);
        }
    }
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record().fmt(f)
    }
}
