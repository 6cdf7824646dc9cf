//! `before/aiokafka_consumer.py` and `before/faststream_consumer.py` on this crate: the type is checked where the value is asked for, and what is no
//! statement is a value, so that it stops nothing.

use std::env::var;
use std::time::Duration;

use lyceum_consumer::{ConsumerFactory, ConsumerTier, FastConsumerConfig, Json, KafkaStreamConsumer, Message, Raw};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(serde::Deserialize)]
struct Statement {
    id: String,
    #[serde(rename = "verb")]
    _verb: serde_json::Map<String, serde_json::Value>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let config = FastConsumerConfig::builder(var("BROKERS")?, var("GROUP")?)
        .topics([var("TOPIC")?])
        .tier(ConsumerTier::Standard)
        .build()?;
    let consumer = ConsumerFactory::create(&config, Raw, Json::<Statement>::default())?;
    tokio::select! {
        ended = consumer.stream().for_each(handle) => ended?,
        _ = tokio::signal::ctrl_c() => {}
    }
    consumer.close().await;
    Ok(())
}

async fn handle(message: &Message<Raw, Json<Statement>>) -> Result<(), Failure> {
    match message.value() {
        Ok(Some(statement)) => store(&statement).await,
        // A tombstone.
        Ok(None) => Ok(()),
        Err(unreadable) => {
            // Here a dead letter would be written.
            eprintln!("{unreadable}");
            Ok(())
        }
    }
}

async fn store(statement: &Statement) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(var("STORE_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(2))).await;
    println!("{}", statement.id);
    Ok(())
}
