//! Everyone who is told how records ended.

use std::sync::Arc;

use lyceum_core::outcome::{Observer, Report};

/// Several observers, told one after the other.
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn observe(&self, reports: &[Report]) {
        self.0.iter().for_each(|observer| observer.observe(reports));
    }

    fn retried(&self, family: &'static str) {
        self.0.iter().for_each(|observer| observer.retried(family));
    }
}
