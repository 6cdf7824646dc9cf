//! What reads batches by velostream's consumers (`buffered_stream`, then `commit` of the position) on this crate: a batch is settled as a whole when
//! it is stored, and what was read and not stored is not committed.

use std::env::var;
use std::time::Duration;

use lyceum_consumer::{Batch, ConsumerFactory, ConsumerTier, FastConsumerConfig, JsonText, KafkaStreamConsumer, Utf8};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let config = FastConsumerConfig::builder(var("BROKERS")?, var("GROUP")?)
        .topics([var("TOPIC")?])
        .tier(ConsumerTier::Buffered { batch_size: 128 })
        .build()?;
    let consumer = ConsumerFactory::create(&config, Utf8, JsonText)?;
    consumer.buffered_stream(128).for_each(store).await
}

async fn store(batch: &Batch) -> Result<(), Failure> {
    let mut ids = Vec::with_capacity(batch.len());
    for payload in batch.records().iter().filter_map(|record| record.payload()) {
        let statement: serde_json::Value = serde_json::from_slice(payload)?;
        ids.push(statement["id"].as_str().unwrap_or_default().to_owned());
    }
    let each: u64 = var("STORE_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(2);
    tokio::time::sleep(Duration::from_millis(each * ids.len() as u64)).await;
    ids.iter().for_each(|id| println!("{id}"));
    Ok(())
}
