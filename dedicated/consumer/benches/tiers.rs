//! How fast each tier consumes, beside librdkafka's own loops in the same run; then its latency and what it costs while idle.
//!
//! `cargo bench -p lyceum-consumer --bench tiers` starts a broker of its own, loads a topic of one partition and one of six,
//! and runs every way to read them in turn, five times, each in a process of its own. The ratio to the ceiling is what counts;
//! the figures are the machine's. `LYCEUM_CONSUMER_BENCH_RECORDS` is how many records a topic has (1,000,000),
//! `LYCEUM_CONSUMER_BENCH_ROUNDS` how often each is run; with 0 it
//! measures latency and idling alone. `CONSUMER_PROPERTY_…` sets something of librdkafka for all of them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use lyceum_consumer::rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use lyceum_consumer::rdkafka::client::DefaultClientContext;
use lyceum_consumer::rdkafka::consumer::{BaseConsumer, Consumer as _};
use lyceum_consumer::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use lyceum_consumer::rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use lyceum_consumer::rdkafka::{ClientConfig, Offset, TopicPartitionList};
use lyceum_consumer::{
    ConsumerFactory, ConsumerTier, FastConsumerConfig, KafkaStreamConsumer, Raw, ceiling, keep_fetched_memory,
};
use lyceum_services::{Service, Suite, private};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a process of this bench is told: what to do, how to read, brokers, topic, partitions, records.
const PART: &str = "LYCEUM_CONSUMER_BENCH_PART";

/// Ways to read, the ceiling first.
const WAYS: [&str; 6] = ["ceiling", "poll", "stream", "standard", "buffered", "dedicated"];

const RECORD_BYTES: usize = 1_200;
const LATENCY: Duration = Duration::from_secs(11);
const IDLE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    if let Ok(part) = std::env::var(PART) {
        return play(&part);
    }
    // The same binary is started again to look after the broker.
    drop(Suite::default());
    let number = |name: &str, usual: usize| match std::env::var(name) {
        Ok(given) => given.parse().map_err(|_| format!("{name} is {given:?}, and must be a whole number")),
        Err(_) => Ok(usual),
    };
    let records = number("LYCEUM_CONSUMER_BENCH_RECORDS", 1_000_000)?;
    let rounds = number("LYCEUM_CONSUMER_BENCH_ROUNDS", 5)?;
    let mut kafka = private(Service::Kafka)?;
    let brokers = kafka.endpoints().kafka().plaintext.clone();
    println!("{records} records of {RECORD_BYTES} bytes, lz4; medians of {rounds}, with the least and the most\n");
    // No rounds: what follows alone.
    for partitions in [1, 6].into_iter().filter(|_| rounds > 0) {
        let topic = format!("bench.{partitions}");
        load(&brokers, &topic, partitions, records)?;
        throughput(&brokers, &topic, partitions, records, rounds)?;
    }
    latency(&brokers)?;
    idle(&brokers)?;
    kafka.stop()?;
    Ok(())
}

/// Bytes about as repetitive as statements are: they compress to a third.
fn value(number: usize) -> Vec<u8> {
    let part = |at: usize| {
        format!("{{\"id\":\"{:08x}\",\"verb\":\"experienced\",\"n\":{at}}}", number.wrapping_mul(2_654_435_761) ^ at)
    };
    let mut value: Vec<u8> = (0..).map(part).take(24).collect::<String>().into_bytes();
    value.resize(RECORD_BYTES, b' ');
    value
}

fn create(brokers: &str, topic: &str, partitions: i32) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Runtime::new()?;
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()))?;
    made.into_iter().find_map(Result::err).map_or(Ok(()), |(topic, code)| Err(format!("{topic}: {code}").into()))
}

fn producer(brokers: &str, linger: &str) -> Result<ThreadedProducer<DefaultProducerContext>, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.type", "lz4")
        .set("linger.ms", linger)
        .set("batch.size", "1000000")
        .create()
}

fn load(brokers: &str, topic: &str, partitions: i32, records: usize) -> Result<(), Failure> {
    create(brokers, topic, partitions)?;
    let producer = producer(brokers, "50")?;
    for number in 0..records {
        let (key, value) = (number.to_string(), value(number));
        // Partitions in turns of a thousand: their batches are full.
        let partition = (number / 1_000) as i32 % partitions;
        let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
    }
    Ok(producer.flush(Duration::from_secs(120))?)
}

/// Runs a part in a process of its own; the numbers that it says.
fn part(what: &str, way: &str, rest: &str) -> Result<Vec<f64>, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.env(PART, format!("{what} {way} {rest}")).stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8(output.stdout)?;
    let numbers: Option<Vec<f64>> = said.split_whitespace().map(|number| number.parse().ok()).collect();
    match numbers {
        Some(numbers) if output.status.success() && !numbers.is_empty() => Ok(numbers),
        _ => Err(format!("{what} of {way} ended with {} and said {said:?}", output.status).into()),
    }
}

fn throughput(brokers: &str, topic: &str, partitions: i32, records: usize, rounds: usize) -> Result<(), Failure> {
    let mut found: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    for _ in 0..rounds {
        for way in WAYS {
            let run = part("read", way, &format!("{brokers} {topic} {partitions} {records}"))?;
            found.entry(way).or_default().push(run);
        }
    }
    let median = |way: &str, at: usize| {
        let mut of: Vec<f64> = found[way].iter().map(|run| run[at]).collect();
        of.sort_by(f64::total_cmp);
        (of[of.len() / 2], of[0], of[of.len() - 1])
    };
    let (best, cpu_of_best) = (median("ceiling", 0).0, median("ceiling", 1).0);
    let s = if partitions == 1 { "" } else { "s" };
    println!(
        "{partitions} partition{s} | records/s (least – most) | of the ceiling | CPU s (of the ceiling) | peak MB"
    );
    for way in WAYS {
        let ((rate, least, most), (cpu, ..), (peak, ..)) = (median(way, 0), median(way, 1), median(way, 2));
        println!(
            "{way:>11} | {rate:>9.0} ({least:.0} – {most:.0}) | {:.2} | {cpu:.2} ({:.2}) | {peak:.0}",
            rate / best,
            cpu / cpu_of_best
        );
    }
    println!();
    Ok(())
}

fn latency(brokers: &str) -> Result<(), Failure> {
    println!("at 1,000 a second, ms | produce to handler p50, p99 | produce to settled p50, p99");
    for way in &WAYS[2..] {
        let topic = format!("bench.latency.{way}");
        create(brokers, &topic, 6)?;
        let run = part("latency", way, &format!("{brokers} {topic} 6 0"))?;
        println!("{way:>11} | {:.2}, {:.2} | {:.2}, {:.2}", run[0], run[1], run[2], run[3]);
    }
    println!();
    Ok(())
}

fn idle(brokers: &str) -> Result<(), Failure> {
    println!("idle | percent of a core");
    create(brokers, "bench.idle", 6)?;
    for way in &WAYS[2..] {
        let run = part("idle", way, &format!("{brokers} bench.idle 6 0"))?;
        println!("{way:>11} | {:.2}", run[0]);
    }
    Ok(())
}

/// Seconds of processor that this process took so far.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |at: usize| -> f64 {
        let after = text.rsplit_once(')').map_or("", |(_, after)| after);
        after.split_whitespace().nth(at).and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
    };
    // utime and stime, in hundredths of a second. Source: proc(5).
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_megabytes() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1_024.0
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A process of this bench.
fn play(part: &str) -> Result<(), Failure> {
    // All of them have the same allocator, the ceiling, too.
    keep_fetched_memory(256 << 20);
    let [what, way, brokers, topic, partitions, records] = part.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("a part is six words: {part}").into());
    };
    let (partitions, records): (i32, usize) = (partitions.parse()?, records.parse()?);
    match what {
        "read" => read(way, brokers, topic, partitions, records),
        "latency" => tokio::runtime::Runtime::new()?.block_on(measure_latency(way, brokers, topic)),
        "idle" => tokio::runtime::Runtime::new()?.block_on(measure_idle(way, brokers, topic)),
        other => Err(format!("no part is called {other}").into()),
    }
}

fn config_of(way: &str, brokers: &str, topic: &str) -> Result<FastConsumerConfig, Failure> {
    let tier = match way {
        "stream" => ConsumerTier::Stream,
        "buffered" => ConsumerTier::Buffered { batch_size: 1_024 },
        "dedicated" => ConsumerTier::Dedicated,
        _ => ConsumerTier::Standard,
    };
    let group = format!("bench.{}", uuid::Uuid::new_v4().simple());
    let config = FastConsumerConfig::builder(brokers, group).tier(tier).topics([topic]).build()?;
    // So that a setting can be tried: `CONSUMER_PROPERTY_…`.
    Ok(config.overlay(|name| std::env::var(name).ok())?)
}

/// Counts what comes, from the first record on.
struct Count {
    begun: Option<(Instant, f64)>,
    read: usize,
    records: usize,
    bytes: usize,
}

impl Count {
    fn of(records: usize) -> Self {
        Self { begun: None, read: 0, records, bytes: 0 }
    }

    fn begin(&mut self) {
        self.begun.get_or_insert_with(|| (Instant::now(), cpu_seconds()));
    }

    /// Whether that was all.
    fn add(&mut self, records: usize, bytes: usize) -> bool {
        self.read += records;
        self.bytes += bytes;
        self.read >= self.records
    }

    fn tell(&self) -> Result<(), Failure> {
        let (at, cpu) = self.begun.ok_or("no record came")?;
        let took = at.elapsed().as_secs_f64();
        if self.read != self.records || self.bytes != self.records * RECORD_BYTES {
            return Err(format!("{} records of {} came, with {} bytes", self.read, self.records, self.bytes).into());
        }
        println!("{} {} {}", self.records as f64 / took, cpu_seconds() - cpu, peak_megabytes());
        Ok(())
    }
}

fn read(way: &str, brokers: &str, topic: &str, partitions: i32, records: usize) -> Result<(), Failure> {
    let config = config_of(way, brokers, topic)?;
    let mut count = Count::of(records);
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    match way {
        "ceiling" => {
            let bytes = ceiling(&config.client_config(), &assignment, records, || count.begin())?;
            count.add(records, bytes);
            count.tell()
        }
        "poll" => {
            let consumer: BaseConsumer = config.client_config().create()?;
            consumer.assign(&assignment)?;
            loop {
                let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
                count.begin();
                if count.add(1, message?.payload_len()) {
                    return count.tell();
                }
            }
        }
        _ => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(async move { tokio::spawn(read_tier(way.to_owned(), config, count)).await? })
        }
    }
}

async fn read_tier(way: String, config: FastConsumerConfig, mut count: Count) -> Result<(), Failure> {
    let consumer = ConsumerFactory::create(&config, Raw, Raw)?;
    if matches!(way.as_str(), "stream" | "standard") {
        let mut records = consumer.raw_stream();
        while let Some(delivered) = records.next().await {
            let delivered = delivered?;
            count.begin();
            let bytes = delivered.record().payload().map_or(0, <[u8]>::len);
            delivered.settle();
            if count.add(1, bytes) {
                break;
            }
        }
        drop(records);
    } else {
        let mut batches = match way.as_str() {
            "dedicated" => consumer.dedicated_stream()?,
            _ => consumer.buffered_stream(1_024),
        };
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            count.begin();
            let bytes = batch.records().iter().map(|record| record.payload().map_or(0, <[u8]>::len)).sum();
            let len = batch.len();
            batch.settle_all();
            if count.add(len, bytes) {
                break;
            }
        }
        drop(batches);
    }
    count.tell()?;
    consumer.close().await;
    Ok(())
}

async fn measure_latency(way: &str, brokers: &str, topic: &str) -> Result<(), Failure> {
    let consumer = ConsumerFactory::create(&config_of(way, brokers, topic)?, Raw, Raw)?;
    // Members first, so that joining is not measured.
    while !consumer.events().iter().any(|event| matches!(event, lyceum_consumer::Event::Assigned(_))) {
        drop(consumer.poll(Duration::from_millis(50)).await?);
    }
    let (brokers, to) = (brokers.to_owned(), topic.to_owned());
    let producing = std::thread::spawn(move || -> Result<usize, KafkaError> {
        let producer = producer(&brokers, "0")?;
        let (begun, mut sent) = (Instant::now(), 0_u32);
        while begun.elapsed() < LATENCY {
            let at = now_ns().to_be_bytes();
            let record = BaseRecord::<(), _>::to(&to).partition(sent as i32 % 6).payload(&at[..]);
            producer.send(record).map_err(|(error, _)| error)?;
            sent += 1;
            let next = begun + Duration::from_millis(1) * sent;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        producer.flush(Duration::from_secs(10))?;
        Ok(sent as usize)
    });
    let age = |payload: Option<&[u8]>| -> Result<f64, Failure> {
        let sent = u128::from_be_bytes(payload.ok_or("a record has a time")?.try_into()?);
        Ok(now_ns().saturating_sub(sent) as f64 / 1e6)
    };
    let (mut to_handler, mut to_settled) = (Vec::new(), Vec::new());
    let (mut sent, mut producing) = (usize::MAX, Some(producing));
    let deadline = Instant::now() + 4 * LATENCY;
    while to_handler.len() < sent {
        if Instant::now() > deadline {
            return Err(format!("{} of {sent} records came", to_handler.len()).into());
        }
        if let Some(ended) = producing.take_if(|producing| producing.is_finished()) {
            sent = ended.join().map_err(|_| "the producer panicked")??;
        }
        let Some(message) = consumer.poll(Duration::from_millis(200)).await? else { continue };
        to_handler.push(age(message.record().payload())?);
        let payload = message.record().payload().map(<[u8]>::to_vec);
        message.settle();
        to_settled.push(age(payload.as_deref())?);
    }
    // The first second is that of connections and of a broker that warms up.
    for of in [&mut to_handler, &mut to_settled] {
        drop(of.drain(..sent.min(1_000)));
    }
    let rank = |of: &mut Vec<f64>, share: f64| {
        of.sort_by(f64::total_cmp);
        of[((of.len() - 1) as f64 * share) as usize]
    };
    let [a, b] = [0.5, 0.99].map(|share| rank(&mut to_handler, share));
    let [c, d] = [0.5, 0.99].map(|share| rank(&mut to_settled, share));
    println!("{a} {b} {c} {d}");
    consumer.close().await;
    Ok(())
}

async fn measure_idle(way: &str, brokers: &str, topic: &str) -> Result<(), Failure> {
    let consumer = ConsumerFactory::create(&config_of(way, brokers, topic)?, Raw, Raw)?;
    while !consumer.events().iter().any(|event| matches!(event, lyceum_consumer::Event::Assigned(_))) {
        drop(consumer.poll(Duration::from_millis(50)).await?);
    }
    let before = cpu_seconds();
    let nothing = tokio::time::timeout(IDLE, consumer.raw_stream().next()).await;
    if nothing.is_ok() {
        return Err("a record came".into());
    }
    println!("{}", (cpu_seconds() - before) / IDLE.as_secs_f64() * 100.0);
    consumer.close().await;
    Ok(())
}
