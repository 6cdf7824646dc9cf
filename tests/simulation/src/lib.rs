//! Attacks exactly-once processing: the real code of `lyceum_core::process` runs against models in memory, and a seed
//! decides who moves next, who crashes, which call fails and which answer is lost.
//!
//! Two worlds take turns: [`academy`] runs the families training and survey and compares with a plain fold; [`counter`]
//! runs a family of this package that remembers what its decisions saw. A third one, [`toys`], has the effects and wire forms
//! that no family of this release has, [`content`] generation, and [`modules`] the modules' families with their reactions. [`run`] is one seed,
//! [`defect`] what can be
//! planted, [`check`] what is checked.

pub mod academy;
mod audit;
pub mod check;
mod clock;
pub mod content;
pub mod counter;
pub mod defect;
mod executor;
pub mod fault;
pub mod modules;
mod ports;
pub mod random;
pub mod run;
mod schedule;
pub mod stage;
pub mod subject;
pub mod swap;
pub mod toys;
mod trace;
mod watch;
mod worker;
