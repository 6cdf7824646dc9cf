//! Replay on demand: what a person asks for, which steps that is, and how far it has come. Pure; `lyceum-server` runs it, and whoever
//! writes files does so behind [`Sink`].
//!
//! | part | where |
//! |---|---|
//! | what is asked for, and what is wrong in it | [`request`] |
//! | which offsets that is, a step per partition and chunk | [`mod@plan`] |
//! | which records of a step go out together | [`reading`] |
//! | how far it has come: by it a run goes on after any interruption | [`progress`] |
//! | where records go that become files | [`sink`] |
//!
//! A run reads each offset of its plan once and in the order of its partition. It remembers how far it has come after each part
//! ([`reading::Reading`]): a process that dies repeats at most one part.

pub mod plan;
pub mod progress;
pub mod reading;
pub mod request;
pub mod sink;

pub use plan::{Log, OfPartition, Offsets, Plan, Step, plan};
pub use progress::{Counts, Progress, State};
pub use reading::{Chunk, Reading};
pub use request::{FileFormat, Filter, OffsetsOf, Range, Request, Target, Wrong};
pub use sink::{File, Sink, SinkError, Sinks};

#[cfg(test)]
mod tests;
