//! The topics of a catalog: those of its families, and those of their dead letters.

use std::time::Duration;

use lyceum_core::catalog::Catalog;
use lyceum_core::ports::event_log::{Retention, TopicSpec};

/// Records are kept for 7 days, dead letters for 30 (event catalog).
const RECORDS_KEPT: Duration = Duration::from_secs(7 * 86_400);
const LETTERS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Every topic, dead letters included, as it is made where it is missing.
pub fn topics(catalog: &Catalog) -> Vec<TopicSpec> {
    let spec = |name: &str, partitions, age| TopicSpec {
        name: name.to_owned(),
        partitions,
        retention: Retention { age: Some(age), bytes: None },
    };
    let of_families = catalog.families().iter().flat_map(|family| family.topics);
    let of_families = of_families.map(|topic| spec(topic.name, topic.partitions, RECORDS_KEPT));
    of_families.chain(catalog.dead_letter_topics().into_iter().map(|name| spec(name, 1, LETTERS_KEPT))).collect()
}
