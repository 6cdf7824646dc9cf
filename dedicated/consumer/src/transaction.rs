//! Consume, process, produce: once. What is produced and how far was read become visible together, or not at all.
//!
//! The offsets go with the transaction (`send_offsets_to_transaction`), by the group's own metadata: a member that has been
//! thrown out is refused, and a producer whose transactional id another one has taken over is fenced. All calls wait for the
//! broker: they are for a thread, or for `spawn_blocking`.

use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::codec::Serde;
use crate::config::FastConsumerConfig;
use crate::consumer::Consumer;
use crate::dedicated::DedicatedConsumer;
use crate::error::ConsumerError;
use crate::hand::Receipt;
use crate::member::{Base, Member};

/// How long a call waits for the broker.
const CALL: Duration = Duration::from_secs(30);

/// How long a transaction may be open before the broker ends it. Records on their way give up before: librdkafka asks for it.
const OPEN: Duration = Duration::from_secs(60);

/// Attempts of a call that may be tried again.
const ATTEMPTS: u32 = 5;

/// Why a transaction has no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// It was taken back: its records are handed out again. Begin anew.
    #[error("the transaction was taken back ({0}); its records are handed out again")]
    TakenBack(String),
    /// Another producer has taken over the transactional id, or the member was thrown out: this one must stop.
    #[error("this producer is fenced ({0}): another one has its transactional id; stop, or take an id of its own")]
    Fenced(String),
    /// Records before these are not settled: offsets in a transaction have no gaps.
    #[error(
        "{0}: records before these are not settled, and a transaction has all up to its last one; they come again, in order"
    )]
    OutOfOrder(String),
    /// The producer cannot be made.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
}

/// Who belongs to a group.
pub trait InGroup {
    /// The member's side of librdkafka.
    #[doc(hidden)]
    fn metadata(&self) -> Membership;
}

/// A member, as a transaction knows it.
#[doc(hidden)]
pub struct Membership(Base);

impl InGroup for Member {
    fn metadata(&self) -> Membership {
        Membership(self.base())
    }
}

impl InGroup for DedicatedConsumer {
    fn metadata(&self) -> Membership {
        Membership(self.base().clone())
    }
}

impl<K: Serde, V: Serde> InGroup for Consumer<K, V> {
    fn metadata(&self) -> Membership {
        Membership(self.base())
    }
}

/// A producer whose records become visible with the offsets of what they were made of.
///
/// One for a consumer is enough, for all its partitions (KIP-447).
pub struct Transactions {
    /// With a thread that serves its reports, which a transaction's end waits for.
    producer: ThreadedProducer<DefaultProducerContext>,
    member: Base,
}

impl Transactions {
    /// For the records of `consumer`, which was made by `config`. `transactional_id` names this producer over its restarts: a new
    /// one with the same id fences the old one. Ends what the old one left open.
    ///
    /// # Errors
    /// Where no broker answers, or it refuses.
    pub fn open(
        consumer: &impl InGroup,
        config: &FastConsumerConfig,
        transactional_id: &str,
    ) -> Result<Self, TransactionError> {
        let mut of = ClientConfig::new();
        for (name, value) in &config.properties {
            // What is for consumers alone would be warned of.
            if ["security.", "sasl.", "ssl.", "enable.ssl", "client.", "socket.", "broker."]
                .iter()
                .any(|begin| name.starts_with(begin))
            {
                of.set(name, value);
            }
        }
        of.set("bootstrap.servers", &config.brokers)
            .set("client.id", &config.client_id)
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", OPEN.as_millis().to_string())
            .set("message.timeout.ms", (OPEN.as_millis() - 10_000).to_string())
            .set("compression.type", "lz4")
            .set("linger.ms", "5");
        let producer: ThreadedProducer<_> = of.create().map_err(ConsumerError::Refused)?;
        again(|| producer.init_transactions(CALL)).map_err(|error| failed(&error))?;
        Ok(Self { producer, member: consumer.metadata().0 })
    }

    /// Begins one. There is one at a time.
    ///
    /// # Errors
    /// Where this producer is fenced.
    pub fn begin(&mut self) -> Result<Transaction<'_>, TransactionError> {
        self.producer.begin_transaction().map_err(|error| failed(&error))?;
        Ok(Transaction { of: self, is_over: false })
    }
}

/// An open transaction. Dropped, it is taken back.
pub struct Transaction<'a> {
    of: &'a mut Transactions,
    is_over: bool,
}

impl Transaction<'_> {
    /// Produces a record in it.
    ///
    /// # Errors
    /// Where it cannot be sent: drop the transaction, and have its records again.
    pub fn send<K: ToBytes + ?Sized, P: ToBytes + ?Sized>(
        &mut self,
        record: BaseRecord<'_, K, P>,
    ) -> Result<(), TransactionError> {
        let mut record = record;
        loop {
            match self.of.producer.send(record) {
                Ok(()) => return Ok(()),
                // The queue is full: what is in it goes on its way.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    std::thread::sleep(Duration::from_millis(5));
                    record = back;
                }
                Err((error, _)) => return Err(failed(&error)),
            }
        }
    }

    /// What was produced becomes visible, with the offsets of these receipts, whose records are settled with it. Where that fails,
    /// neither is, and their partitions are rewound: what is in hand of them comes again, in order.
    ///
    /// # Errors
    /// Why it was taken back.
    pub fn commit(mut self, receipts: Vec<Receipt>) -> Result<(), TransactionError> {
        match self.try_commit(&receipts) {
            Ok(()) => {
                self.is_over = true;
                receipts.into_iter().for_each(Receipt::settle_committed);
                Ok(())
            }
            Err(error) => {
                // Taken back before its records come again.
                drop(self);
                receipts.into_iter().for_each(Receipt::rewind);
                Err(error)
            }
        }
    }

    fn try_commit(&self, receipts: &[Receipt]) -> Result<(), TransactionError> {
        let offsets = Receipt::offsets_of_all(receipts).map_err(|at| match at {
            (partition, true) => TransactionError::OutOfOrder(partition.to_string()),
            (partition, false) => TransactionError::TakenBack(format!("{partition} was revoked")),
        })?;
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in &offsets {
            let added = list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(*offset));
            added.map_err(|error| failed(&error))?;
        }
        let gone = || TransactionError::TakenBack("the consumer is in no group".to_owned());
        let metadata: ConsumerGroupMetadata = self.of.member.group_metadata().ok_or_else(gone)?;
        let producer = &self.of.producer;
        again(|| producer.send_offsets_to_transaction(&list, &metadata, CALL)).map_err(|error| failed(&error))?;
        again(|| producer.commit_transaction(CALL)).map_err(|error| failed(&error))
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let producer = &self.of.producer;
        if let Err(error) = again(|| producer.abort_transaction(CALL)) {
            // One that is fenced has nothing left to take back; one that is not begins anew by the broker's time limit.
            tracing::warn!(target: "lyceum::consumer", "the transaction was not taken back: {error}");
        }
    }
}

/// Calls again what may be called again.
fn again(mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    for _ in 1..ATTEMPTS {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            done => return done,
        }
    }
    call()
}

fn failed(error: &KafkaError) -> TransactionError {
    match error {
        KafkaError::Transaction(inner) if inner.is_fatal() => TransactionError::Fenced(inner.to_string()),
        error => match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::Fenced) => {
                TransactionError::Fenced(error.to_string())
            }
            _ => TransactionError::TakenBack(error.to_string()),
        },
    }
}
