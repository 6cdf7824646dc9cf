//! `before_stream_consumer` on this crate: a record is settled, and then committed, when `store` is done with it.

use std::env::var;
use std::time::Duration;

use lyceum_consumer::{ConsumerFactory, Delivered, FastConsumerConfig, KafkaStreamConsumer, Raw};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let config = FastConsumerConfig::builder(var("BROKERS")?, var("GROUP")?).topics([var("TOPIC")?]).build()?;
    let consumer = ConsumerFactory::create(&config, Raw, Raw)?;
    consumer.raw_stream().for_each(handle).await
}

async fn handle(delivered: &Delivered) -> Result<(), Failure> {
    store(delivered.record().payload().unwrap_or_default()).await
}

async fn store(payload: &[u8]) -> Result<(), Failure> {
    let statement: serde_json::Value = serde_json::from_slice(payload)?;
    tokio::time::sleep(Duration::from_millis(var("STORE_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(2))).await;
    println!("{}", statement["id"].as_str().unwrap_or_default());
    Ok(())
}
