//! Every tier on a real broker: each message once, in its partition's order, whatever groups, processes and brokers do.
//!
//! How long members join and leave is `LYCEUM_CONSUMER_CHURN_SECONDS`, 16 where it is not set.

use lyceum_consumer::ConsumerTier;
use lyceum_services::{Endpoints, Service, Suite};

mod crashes;
mod given;
mod groups;
mod moves;
mod tiers;
mod transactions;

fn main() {
    if let Ok(story) = std::env::var(crashes::STORY) {
        return crashes::tell(&story);
    }
    // They wait most of the time; those that wait longest begin.
    let mut suite = Suite::default().at_once(14);
    crashes::add(&mut suite);
    let mut test = |name: String, body: Box<dyn FnOnce(&str) + Send>| {
        suite.test(name, &[Service::Kafka], move |endpoints: &Endpoints| body(&endpoints.kafka().plaintext));
    };
    for (tier, assignor) in groups::churns() {
        let tier_named = named(tier);
        let name =
            format!("members_of_{tier_named}_come_and_go_with_{assignor:?}_and_every_message_is_acknowledged_once");
        test(name.to_lowercase(), Box::new(move |brokers| groups::churn(brokers, tier, assignor)));
    }
    for (name, body) in groups::TESTS.iter().chain(transactions::TESTS).chain(moves::TESTS).chain(tiers::TESTS) {
        test((*name).to_owned(), Box::new(body));
    }
    for tier in given::TIERS {
        for (name, body) in tiers::OF_EACH_TIER {
            test(format!("{}::{name}", named(tier)), Box::new(move |brokers| body(brokers, tier)));
        }
    }
    suite.run();
}

fn named(tier: ConsumerTier) -> String {
    match tier {
        ConsumerTier::Buffered { .. } => "buffered".to_owned(),
        tier => tier.to_string(),
    }
}
