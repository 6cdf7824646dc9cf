//! How other programs publish events to Lyceum: never in the way of what they do.
//!
//! ```
//! use lyceum_publisher::{Event, Publisher};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let publisher = Publisher::from_environment()?;
//! let created = json!({
//!     "id": "2eb1d45d-011b-560c-a551-12ab025cbc9a",
//!     "type": "mission.created",
//!     "source": "mission",
//!     "timestamp": "2026-03-02T08:01:00Z",
//!     "payload": {"mission_id": "open-day", "title": "Open day"},
//!     "meta": {"schema_version": "1.0", "producer": "mission-service", "source_module": "mission", "tenant_id": "academy"}
//! });
//! // Neither waits nor fails: the mission is created, whatever becomes of its event.
//! publisher.publish(Event::json("mission.events.v1", &created)?);
//! # Ok(())
//! # }
//! ```
//!
//! In a function, whose process is frozen once it has answered, the acknowledgement is awaited:
//!
//! ```
//! # use lyceum_publisher::{Event, Publisher, Receipt};
//! async fn answer(publisher: &Publisher, event: Event) -> Result<(), String> {
//!     match publisher.publish_and_wait(event).await {
//!         Receipt::Sent(_) | Receipt::Spilled | Receipt::Logged => Ok(()),
//!         // Fails the invocation, so that its record is delivered again.
//!         Receipt::Waiting(why) | Receipt::Refused(why) => Err(why),
//!         Receipt::Dropped => Err("there is no room for the event".to_owned()),
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! #     let publisher = Publisher::start(Default::default(), None).expect("it needs nothing");
//! #     let wrong = answer(&publisher, Event::new("nlj.xapi.statements", "{}")).await.expect_err("it is no statement");
//! #     assert!(wrong.contains("actor"), "{wrong}");
//! # }
//! ```
//!
//! # What happens to an event
//!
//! 1. [`Publisher::publish`] puts it into a queue in memory. A thread of the publisher's own does all the rest.
//! 2. It is judged by the code of its consumers ([`judge`]): payload, topic, headers. One that they could not read is refused
//!    ([`Check`]): logged, counted, and kept in `<spill file>.refused.jsonl`, unless it may hold a secret. It gets the key under which its
//!    family keeps order, the time at which it was published, and, where it brings no id, an id.
//! 3. It is sent, in the order in which it was published: nothing overtakes an event of its topic and key.
//! 4. Where the stream is unavailable, or takes longer than [`PublisherSettings::spill_after`], it goes to the spill file, and everything
//!    behind it, too. From there they are sent in order, after a restart as well.
//! 5. An event that the stream will never take (too large, a time that the topic refuses) is refused in the same way, and holds up
//!    nothing. A topic that is missing, or that this client may not write, is waited for: [`PublisherSettings::patience`].
//!
//! # What can be lost, and when
//!
//! - **The process is killed, or the machine ends:** what is in memory. That is what was published since the stream's last acknowledgement,
//!   and no older than `spill_after` where there is a spill file; without one all that waits. With `spill_after` zero only what is younger
//!   than one write to disk.
//! - **The queue is full:** the newest events are dropped and counted. With a spill file that takes a stream that is unavailable *and* a file
//!   at its bound, or a disk that is full or slower than the program.
//! - **The publisher ends in order** ([`Publisher::close`], the last handle dropped): nothing with a spill file; without one what could not
//!   be sent within the limit.
//! - **The disk breaks:** the events in what is damaged. Each has a checksum; the others are sent.
//!
//! Delivery is at least once: a call whose acknowledgement was lost is repeated, and what a killed process had sent from the spill file may
//! be sent again by the next one. A copy has the id of its event, by which consumers know it: Lyceum's own apply it once.
//!
//! # Order
//!
//! Of events with one topic and key the first copies stand in the order of publishing, whatever fails in between; what was set aside as
//! refused is left out. A call of the stream has one event of a key at most, so that a single key passes as fast as the stream
//! acknowledges: some hundred a second. Events without a key have no order among each other.

mod aside;
mod counts;
mod event;
pub mod judge;
mod publisher;
mod settings;
mod spill;
pub mod strict;
mod worker;

pub use counts::Counts;
pub use event::Event;
pub use publisher::{Publisher, StartError};
pub use settings::{Check, PUBLISHER_VARIABLES, PublisherSettings};
pub use spill::SpillError;
pub use worker::Receipt;
