//! Publishes each file as an event to a topic, as a program does beside its own work: `publish TOPIC FILE…`. The environment says where
//! to, and what becomes of an event while Kafka is unavailable: docs/publishing.md.

use std::error::Error;
use std::time::Duration;

use lyceum_publisher::{Event, Publisher};

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().ok_or("name a topic, and files of one event each")?;
    let publisher = Publisher::from_environment()?;
    for file in arguments {
        let event = std::fs::read(&file).map_err(|error| format!("{file} cannot be read: {error}"))?;
        publisher.publish(Event::new(&topic, event));
    }
    // At a program's end: what cannot be sent by then is in the spill file, and sent at its next start.
    print!("{}", publisher.close(Duration::from_secs(10)).prometheus());
    Ok(())
}
