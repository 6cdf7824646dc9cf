//! How fast the event log on Kafka appends and reads beside plain rdkafka in the same run: 200,000 records of 1.2 kB. The
//! ratio is what counts; the figures are the machine's. `KAFKA_BOOTSTRAP_SERVERS` names the broker; the topic stays there.

use std::time::{Duration, Instant};

use lyceum_core::ports::event_log::{Administer, Follow, Publish, Retention, TopicSpec};
use lyceum_core::record::NewRecord;
use lyceum_kafka::event_log::KafkaEventLog;
use lyceum_kafka::settings::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const RECORDS: usize = 200_000;
const RECORD_BYTES: usize = 1200;
const CALL: usize = 500;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").map_err(|_| "set KAFKA_BOOTSTRAP_SERVERS to a broker")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let log = KafkaEventLog::connect(&KafkaSettings::plaintext(&servers))?;
    let topic = format!("bench.{}", uuid::Uuid::new_v4().simple());
    let spec = TopicSpec { name: topic.clone(), partitions: 1, retention: Retention::default() };
    runtime.block_on(log.create_topic(spec))?;

    let begun = Instant::now();
    runtime.block_on(append(&log, &topic))?;
    report("produce, 4 callers with calls of 500", begun.elapsed());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let (count, sum) = runtime.block_on(fetch(&log, &topic))?;
        let ours = begun.elapsed();
        report("fetch in calls of 500", ours);
        let begun = Instant::now();
        let plain = poll(&servers, &topic)?;
        let theirs = begun.elapsed();
        report("BaseConsumer::poll, records dropped", theirs);
        assert_eq!((count, sum), plain, "both read the same");
        println!("{:>12.2} of plain rdkafka", theirs.as_secs_f64() / ours.as_secs_f64());
    }
    Ok(())
}

fn report(what: &str, took: Duration) {
    println!("{:>12.0} records/s  {what}", RECORDS as f64 / took.as_secs_f64());
}

/// Bytes about as repetitive as statements are: they compress to a third.
fn value(n: usize) -> Vec<u8> {
    let part = |at: usize| {
        format!("{{\"id\":\"{:08x}\",\"verb\":\"experienced\",\"n\":{at}}}", n.wrapping_mul(2_654_435_761) ^ at)
    };
    let mut value: Vec<u8> = (0..).map(part).take(24).collect::<String>().into_bytes();
    value.resize(RECORD_BYTES, b' ');
    value
}

async fn append(log: &KafkaEventLog, topic: &str) -> Result<(), Box<dyn std::error::Error>> {
    let callers = (0..4).map(|caller| async move {
        for call in (caller..RECORDS / CALL).step_by(4) {
            let record = |n| NewRecord {
                value: Some(value(call * CALL + n).into()),
                partition: Some(0),
                ..NewRecord::default()
            };
            log.produce(topic, (0..CALL).map(record).collect()).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    futures::future::try_join_all(callers).await?;
    Ok(())
}

async fn fetch(log: &KafkaEventLog, topic: &str) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (mut offset, mut count, mut sum) = (0, 0, 0);
    while count < RECORDS {
        let records = log.fetch(topic, 0, offset, CALL, usize::MAX).await?;
        let last = records.last().ok_or("the topic ended early")?;
        offset = last.position.offset + 1;
        count += records.len();
        sum += records.iter().map(|record| record.value.as_ref().map_or(0, |value| value.len())).sum::<usize>();
    }
    Ok((count, sum))
}

fn poll(servers: &str, topic: &str) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let (mut count, mut sum) = (0, 0);
    while count < RECORDS {
        let Some(message) = consumer.poll(Duration::from_secs(30)) else { return Err("the topic ended early".into()) };
        sum += message?.payload_len();
        count += 1;
    }
    Ok((count, sum))
}
