//! The functions of a release on the stores of a process, with what builds their generations anew and what replays: the local
//! runner's, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use lyceum_core::catalog::Catalog;
use lyceum_core::generations::marker::Generations;
use lyceum_core::metrics::Metrics;
use lyceum_core::process::Subscriber;
use lyceum_functions::{Function, Ports};
use lyceum_server::config::Config;
use lyceum_server::connect::Stores;
use lyceum_server::questions::StatementAnalytics;
use lyceum_server::rebuild::{self, Group, Rebuilds};
use lyceum_server::replay::{HandOver, Runner};

use crate::replays;

/// What the functions are made of.
pub struct Release<'a> {
    /// The process's settings.
    pub config: &'a Config,
    /// Its stores.
    pub stores: &'a Stores,
    /// What the functions use.
    pub ports: &'a Ports,
    /// Of all families.
    pub catalog: &'a Arc<Catalog>,
    /// For Prometheus.
    pub metrics: &'a Arc<Metrics>,
    /// All functions, to whose subscriptions replays may go.
    pub functions: &'a [Function],
    /// Those of them that are made.
    pub made: &'a [Function],
    /// The consumer groups.
    pub group: Group,
    /// As in [`rebuild::Sources`].
    pub alone_since_ms: Option<i64>,
    /// How long the process lives.
    pub lives: Lives,
}

/// How long a process lives, and with it who goes on with a replay.
pub enum Lives {
    /// It stays, and does so itself.
    On,
    /// From one invocation to the next: then it is handed over to somebody, where there is anybody.
    ByInvocation(Option<Arc<dyn HandOver>>),
}

/// What is made of them.
pub struct Made {
    /// By subscription, each processing in the generation that is live.
    pub functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    /// Builds their generations.
    pub rebuilds: Arc<Rebuilds>,
    /// Runs replays.
    pub replays: Arc<Runner>,
}

impl Release<'_> {
    /// Makes them.
    pub fn make(self) -> Made {
        let Self { config, stores, ports, catalog, metrics, functions, made, group, alone_since_ms, lives } = self;
        let clock = ports.services.clock.clone();
        let generations = Arc::new(Generations::new(stores.ledger.clone(), clock));
        let replays = replays::runner(config, stores, functions, ports, &generations, catalog, metrics);
        let replays = match lives {
            Lives::On => replays,
            Lives::ByInvocation(hand_over) => replays.by_invocation(hand_over),
        };
        let live = made.iter().map(|of| {
            let function = of.build_live(ports.clone(), &generations, catalog.clone(), config.process.clone());
            (of.subscription.name, function)
        });
        let functions = live.collect();
        let muted =
            made.iter().map(|of| (of.subscription, of.muted(ports.clone(), catalog.clone(), config.process.clone())));
        let analytics = StatementAnalytics {
            statements: stores.statements.clone(),
            learner_home_page: config.learner_home_page.clone(),
        };
        let rebuilds = Rebuilds::new(rebuild::Sources {
            log: stores.event_log.clone(),
            subscriptions: muted.collect(),
            statements: stores.statements.clone(),
            generations,
            group,
            analytics: Arc::new(analytics),
            default_tenant: config.process.envelope.default_tenant.to_string(),
            learner_home_page: config.process.envelope.learner_home_page.to_string(),
            alone_since_ms,
        });
        Made { functions, rebuilds: Arc::new(rebuilds), replays: Arc::new(replays) }
    }
}
