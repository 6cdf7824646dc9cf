//! Event family: alerts about what governance reports.
//!
//! [`events`] are the alerts, which the family stores. Who raises them is a subscription of its own, in the folder `watch-security`.

pub use lyceum_catalog::security::{SPEC, SUBSCRIPTION};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::family::{EnvelopeOf, Family};
use lyceum_core::formats::{Stored, document};
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::subscription::Subscription;

pub mod events;

use events::Event;

/// The security family.
#[derive(Debug)]
pub struct Security;

impl Family for Security {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}
