//! A hand-written loop over rdkafka's `StreamConsumer`, as many programs have it; `after_stream_consumer` is the same on this crate.
//! It commits what was fetched: a record whose effect was under way when the process dies is lost.

use std::env::var;
use std::time::Duration;

use lyceum_consumer::rdkafka::config::ClientConfig;
use lyceum_consumer::rdkafka::consumer::{Consumer, StreamConsumer};
use lyceum_consumer::rdkafka::message::Message;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", var("BROKERS")?)
        .set("group.id", var("GROUP")?)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "true")
        // Often, so that the loss shows soon.
        .set("auto.commit.interval.ms", "1")
        // So that the next one need not wait for 45 seconds until the group believes that this one is dead.
        .set("session.timeout.ms", "10000")
        .create()?;
    consumer.subscribe(&[&var("TOPIC")?])?;
    loop {
        let message = consumer.recv().await?;
        store(message.payload().unwrap_or_default()).await?;
    }
}

async fn store(payload: &[u8]) -> Result<(), Failure> {
    let statement: serde_json::Value = serde_json::from_slice(payload)?;
    tokio::time::sleep(Duration::from_millis(var("STORE_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(2))).await;
    println!("{}", statement["id"].as_str().unwrap_or_default());
    Ok(())
}
