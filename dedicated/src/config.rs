//! What the environment says to this process beside what it says to any.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use lyceum_consumer::Assignor;
pub use lyceum_core::environment::WrongEnvironment;
use lyceum_core::environment::{Reading, Row, Table, Variable, choice, optional, whole};
use lyceum_core::retry::Backoff;
use lyceum_core::subscription::Subscription;
use lyceum_secrets::Secrets;
use lyceum_server::config::{BATCH_SIZE, Config as ServerConfig, WINDOW_SIZE, WORKERS};

use crate::lanes::Limits;

const BATCH_BYTES: Variable<usize> = whole(
    "BATCH_BYTES",
    4 << 20,
    1_000..=64 << 20,
    "of the container: bytes of keys, values and headers a batch, unless its first record alone has more",
);
const BATCHES_IN_FLIGHT: Variable<usize> = whole(
    "BATCHES_IN_FLIGHT",
    8,
    1..=1_024,
    "of the container: batches that are processed at once, all subscriptions together",
);
const HTTP_BIND: Variable<Option<String>> = optional(
    "HTTP_BIND",
    "of the container: the address that its HTTP API listens on; empty: 127.0.0.1, and with `API_TOKENS` every one of its machine",
);
const HTTP_PORT: Variable<u16> =
    whole("HTTP_PORT", 8080, 0..=65_535, "of the container: the port of its HTTP API; 0: a free one");
const IN_HAND_BYTES: Variable<usize> = whole(
    "IN_HAND_BYTES",
    16 << 20,
    1_000_000..=1 << 30,
    "of the container: bytes of keys, values and headers that a subscription has in hand, batches in flight included, before it takes no more; a partition that stands still may hold its part of as many, and is paused",
);
const KAFKA_ASSIGNOR: Variable<Assignor> = choice(
    "KAFKA_ASSIGNOR",
    &[("cooperative", Assignor::Cooperative), ("eager", Assignor::Eager), ("consumer", Assignor::Consumer)],
    "of the container: how its groups share partitions; all members of a group have the same: `cooperative` is cooperative-sticky, as `lyceum up` has it, `eager` range and roundrobin, `consumer` KIP-848, for which brokers are 4.0 or later",
);
const KAFKA_GROUPS: Variable<Groups> = choice(
    "KAFKA_GROUPS",
    &[("subscription", Groups::OfSubscriptions), ("mapping", Groups::OfMappings)],
    "of the container: its consumer groups: `subscription` is one for each subscription, as `lyceum up` has it, `mapping` one for each of its topics, as a stack on AWS has it",
);
const LANES: Variable<usize> = whole(
    "LANES",
    4,
    1..=256,
    "of the container: lanes of a subscription, each with one batch in flight; records of one key are always of one lane",
);
const SUBSCRIPTIONS: Variable<Option<String>> = optional(
    "LYCEUM_SUBSCRIPTIONS",
    "of the container: the subscriptions that it runs, separated by spaces or commas, each by its name or, of some of its topics alone, as `name:topic+topic`; empty: every one of the release",
);

/// What this process reads and no other.
pub const DEDICATED_VARIABLES: Table = &[
    &BATCH_BYTES,
    &BATCHES_IN_FLIGHT,
    &HTTP_BIND,
    &HTTP_PORT,
    &IN_HAND_BYTES,
    &KAFKA_ASSIGNOR,
    &KAFKA_GROUPS,
    &LANES,
    &SUBSCRIPTIONS,
];

/// The rows of [`DEDICATED_VARIABLES`]. The table of docs/operations.md is tested against them.
pub fn variables() -> impl Iterator<Item = Row> {
    DEDICATED_VARIABLES.iter().map(|variable| variable.row())
}

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those of any process.
    pub server: ServerConfig,
    /// What it subscribes to.
    pub subscriptions: Vec<Subscribed>,
    /// How batches are made, of each subscription.
    pub limits: Limits,
    /// `KAFKA_GROUPS`
    pub groups: Groups,
    /// `KAFKA_ASSIGNOR`
    pub assignor: Assignor,
    /// `BATCHES_IN_FLIGHT`
    pub batches_in_flight: usize,
    /// `WORKERS`: the threads on which events are processed; `None`: as many as there are processors.
    pub workers: Option<usize>,
    /// `METRICS_NAMESPACE`, where it is set: metrics are told in the log, too.
    pub metrics_namespace: Option<String>,
    /// `OTEL_SERVICE_NAME`
    pub service: String,
    /// `HTTP_PORT`
    pub port: u16,
    /// `HTTP_BIND`
    pub bind: Option<IpAddr>,
}

/// Which consumer groups there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// One for each subscription.
    OfSubscriptions,
    /// One for each topic of a subscription.
    OfMappings,
}

/// What is read as a member of one group.
#[derive(Clone, Debug)]
pub struct Membership {
    /// For which subscription.
    pub subscription: &'static Subscription,
    /// The group: that of its function, wherever that one runs.
    pub group: String,
    /// The topics, at least one.
    pub topics: Vec<&'static str>,
}

/// A subscription of the release, and those of its topics that this process reads.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// Which.
    pub subscription: &'static Subscription,
    /// Its topics, at least one.
    pub topics: Vec<&'static str>,
}

/// The longest wait before what failed is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Config {
    /// Reads the environment, with what the secrets hold that it names. `given` stands for variables: name and value.
    ///
    /// # Errors
    /// Every wrong value together; and where a secret cannot be read.
    pub async fn from_environment(given: &[(&'static str, Option<String>)]) -> anyhow::Result<Self> {
        let given = |name: &str| given.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.clone());
        let secrets = match Secrets::load().await {
            Ok(secrets) => secrets,
            Err(error) => {
                // What can be told without them is told, too.
                let plain = Self::read(&|name| given(name).or_else(|| std::env::var(name).ok()));
                return Err(match plain {
                    Ok(_) => error,
                    Err(wrong) => error.context(wrong.to_string()),
                });
            }
        };
        let environment = secrets.environment();
        let mut config = Self::read(&|name| given(name).or_else(|| environment.variable(name)))?;
        if !environment.is_plain() {
            config.server.stores.secrets = Some(secrets);
        }
        Ok(config)
    }

    /// Reads any environment.
    ///
    /// # Errors
    /// Every wrong value together.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, WrongEnvironment> {
        let mut reading = Reading::new(variable);
        let server = ServerConfig::read(&mut reading);
        let stores = &server.stores;
        for (is_named, what) in [
            (stores.kafka.is_some(), "KAFKA_BOOTSTRAP_SERVERS is empty: name the brokers as host:port"),
            (
                stores.dynamodb.is_some(),
                "DYNAMODB_TABLE is empty: name the ledger's table, and AWS_ENDPOINT_URL_DYNAMODB where it is not AWS's",
            ),
            (
                stores.elasticsearch.is_some(),
                "ELASTICSEARCH_URL is empty: name Elasticsearch or OpenSearch, where statements are stored",
            ),
        ] {
            if !is_named {
                reading.refuse(format!("{what} (nothing is embedded in this process; `lyceum up` embeds its stores)"));
            }
        }
        let subscriptions = subscriptions(&mut reading);
        let bind = reading.read(&HTTP_BIND).and_then(|text| {
            let address = text.parse::<IpAddr>();
            if address.is_err() {
                reading.refuse(format!("HTTP_BIND is {text:?}, and must be an address, as 127.0.0.1, 0.0.0.0 or ::"));
            }
            address.ok()
        });
        if server.tokens.is_empty() && bind.is_some_and(|address| !address.is_loopback()) {
            reading.refuse("without API_TOKENS everybody may do everything: set them, or leave HTTP_BIND empty");
        }
        let backoff = Backoff { base: server.process.retry.base, cap: LONGEST_WAIT };
        let limits = Limits {
            lanes: reading.read(&LANES),
            records: reading.read(&BATCH_SIZE),
            bytes: reading.read(&BATCH_BYTES),
            delay: reading.read(&WINDOW_SIZE),
            in_hand_bytes: reading.read(&IN_HAND_BYTES),
            backoff,
        };
        let config = Self {
            server,
            subscriptions,
            limits,
            groups: reading.read(&KAFKA_GROUPS),
            assignor: reading.read(&KAFKA_ASSIGNOR),
            batches_in_flight: reading.read(&BATCHES_IN_FLIGHT),
            workers: reading.read(&WORKERS),
            // Whoever reads `/metrics` needs no lines.
            metrics_namespace: reading.foreign("METRICS_NAMESPACE"),
            service: reading.foreign("OTEL_SERVICE_NAME").unwrap_or_else(|| "lyceum".to_owned()),
            port: reading.read(&HTTP_PORT),
            bind,
        };
        reading.finish(config)
    }

    /// The groups that it joins, and what it reads in each.
    pub fn memberships(&self) -> Vec<Membership> {
        let prefix = &self.server.group;
        let of = |Subscribed { subscription, topics }: &Subscribed| match self.groups {
            Groups::OfSubscriptions => {
                let group = format!("{prefix}-{}", subscription.name);
                vec![Membership { subscription, group, topics: topics.clone() }]
            }
            Groups::OfMappings => {
                let of_topic = |topic: &&'static str| {
                    let group = format!("{prefix}-{}", subscription.mapping_group(topic));
                    Membership { subscription, group, topics: vec![topic] }
                };
                topics.iter().map(of_topic).collect()
            }
        };
        self.subscriptions.iter().flat_map(of).collect()
    }
}

fn subscriptions(reading: &mut Reading<'_>) -> Vec<Subscribed> {
    let every = || lyceum_functions::functions().map(|of| of.subscription);
    if !reading.is_given(&SUBSCRIPTIONS) {
        let all =
            |subscription: &'static Subscription| Subscribed { subscription, topics: subscription.topics().collect() };
        return every().map(all).collect();
    }
    let chosen: Vec<Subscribed> = reading.list(&SUBSCRIPTIONS, "subscription");
    let mut names = BTreeSet::new();
    for Subscribed { subscription, .. } in &chosen {
        if !names.insert(subscription.name) {
            reading.refuse(format!(
                "LYCEUM_SUBSCRIPTIONS names {} twice: name it once, its topics joined by +",
                subscription.name
            ));
        }
    }
    chosen
}

impl FromStr for Subscribed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, topics) = text.split_once(':').map_or((text, None), |(name, topics)| (name, Some(topics)));
        let mut every = lyceum_functions::functions().map(|of| of.subscription);
        let Some(subscription) = every.find(|of| of.name == name) else {
            let names: Vec<&str> = lyceum_functions::functions().map(|of| of.subscription.name).collect();
            return Err(format!("{name:?} is no subscription; there are {}", names.join(", ")));
        };
        let all: Vec<&'static str> = subscription.topics().collect();
        let Some(topics) = topics else { return Ok(Self { subscription, topics: all }) };
        let mut chosen = Vec::new();
        for topic in topics.split('+') {
            let Some(known) = all.iter().find(|known| **known == topic) else {
                return Err(format!("{name} reads no topic {topic:?}; it reads {}", all.join(", ")));
            };
            if !chosen.contains(known) {
                chosen.push(*known);
            }
        }
        Ok(Self { subscription, topics: chosen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: [(&str, &str); 3] = [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
        ("DYNAMODB_TABLE", "lyceum"),
        ("ELASTICSEARCH_URL", "http://search:9200"),
    ];

    fn read(variables: &[(&str, &str)]) -> Result<Config, WrongEnvironment> {
        let all = [&SERVICES[..], variables].concat();
        // The last one counts.
        Config::read(&|name| all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn with_its_services_alone_it_runs_every_subscription_of_the_release_on_all_its_topics() {
        let config = read(&[]).unwrap();
        assert_eq!(config.subscriptions.len(), lyceum_functions::functions().count());
        for Subscribed { subscription, topics } in &config.subscriptions {
            assert_eq!(*topics, subscription.topics().collect::<Vec<_>>());
        }
        assert_eq!((config.limits.records, config.limits.delay), (500, Duration::from_millis(50)));
    }

    fn groups(variables: &[(&str, &str)]) -> Vec<(String, usize)> {
        let memberships = read(variables).unwrap().memberships();
        memberships.into_iter().map(|of| (of.group, of.topics.len())).collect()
    }

    #[test]
    fn groups_are_those_of_the_functions_wherever_they_run() {
        let chosen = ("LYCEUM_SUBSCRIPTIONS", "survey training");
        let of = |name: &str, topics| (name.to_owned(), topics);
        assert_eq!(groups(&[chosen]), [of("lyceum-survey", 1), of("lyceum-training", 3)]);
        let stack = [chosen, ("KAFKA_GROUPS", "mapping"), ("KAFKA_GROUP_ID", "acme")];
        let [programs, sessions, bookings] =
            ["programs", "sessions", "bookings"].map(|topic| of(&format!("acme-training-{topic}"), 1));
        assert_eq!(groups(&stack), [of("acme-survey", 1), programs, sessions, bookings]);
    }

    #[test]
    fn subscriptions_are_chosen_by_name_and_their_topics_by_name_too() {
        let config =
            read(&[("LYCEUM_SUBSCRIPTIONS", "statement, training:nlj.training.sessions+nlj.training.bookings")])
                .unwrap();
        let chosen: Vec<_> = config.subscriptions.iter().map(|of| (of.subscription.name, of.topics.clone())).collect();
        assert_eq!(chosen[0], ("statement", vec!["nlj.xapi.statements"]));
        assert_eq!(chosen[1], ("training", vec!["nlj.training.sessions", "nlj.training.bookings"]));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_what_there_is_instead() {
        let wrong = read(&[
            ("ELASTICSEARCH_URL", ""),
            ("DYNAMODB_TABLE", ""),
            ("LYCEUM_SUBSCRIPTIONS", "surveys training:nlj.nothing statement statement"),
            ("HTTP_BIND", "everywhere"),
            ("LANES", "0"),
        ]);
        let text = wrong.unwrap_err().to_string();
        for part in [
            "ELASTICSEARCH_URL",
            "DYNAMODB_TABLE",
            "\"surveys\" is no subscription",
            "survey, ",
            "nlj.training.sessions",
            "statement twice",
            "HTTP_BIND",
            "LANES",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn it_listens_to_others_only_with_tokens() {
        let text = read(&[("HTTP_BIND", "0.0.0.0")]).unwrap_err().to_string();
        assert!(text.contains("API_TOKENS"), "{text}");
        let tokens = ("API_TOKENS", "*:operate:a-very-secret-secret");
        assert!(read(&[("HTTP_BIND", "0.0.0.0"), tokens]).is_ok());
    }
}
