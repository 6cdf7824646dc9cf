//! The registries that senders put their schemas into, behind [`FindSchema`](lyceum_core::ports::schemas::FindSchema): one that speaks
//! Confluent's HTTP API (`confluent.rs`), and AWS Glue's (`glue.rs`); [`Cached`] stands before either.
//!
//! A schema that was registered never changes, so that what was found is kept for ever; that there is none of a name holds for a while
//! ([`Cached`]). Registering the schemas of this release ([`Registry::register`]) is for a person's command alone.

mod cached;
mod confluent;
mod glue;
mod registry;
mod said;
mod settings;

pub use cached::{Cached, NONE_HOLDS_FOR};
pub use registry::Registry;
pub use said::{Look, Registered};
pub use settings::{Credentials, Place, REGISTRY_VARIABLES, RegistrySettings};
