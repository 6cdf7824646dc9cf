//! What the page and the API are made of in a process whose stores are services, whichever it is: the container, or a function of AWS Lambda.
//!
//! It knows all functions, for what is kept and what a record is about, and runs none: who consumes is said by whoever runs the process.

pub mod keys;
pub mod release;
mod replays;
pub mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::process::Subscriber;
use lyceum_documents::asyncapi::{Brokers, Deployment};
use lyceum_kafka::settings::Encryption;
use lyceum_server::access::Access;
use lyceum_server::alerts::window::Window;
use lyceum_server::config::Config;
use lyceum_server::connect::Stores;
use lyceum_server::consumers::Consumers;
use lyceum_server::dead_letters::{self, DeadLetterIndex};
use lyceum_server::http::Services;
use lyceum_server::live::Live;
use lyceum_server::questions::{FamilyStates, StatementAnalytics};
use lyceum_server::rebuild::Rebuilds;
use lyceum_server::reconcile::Reconciler;
use lyceum_server::replay::Runner;
use lyceum_server::topics::topics;
use lyceum_server::usage::ThisProcess;
use lyceum_server::work::Work;

use crate::keys::KeysByLook;

/// What the process has beside its settings.
pub struct Given {
    /// Its stores, connected.
    pub stores: Stores,
    /// Of all families.
    pub catalog: Arc<Catalog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For Prometheus.
    pub metrics: Arc<Metrics>,
    /// The last minutes, as far as it sees them.
    pub live: Arc<Live>,
    /// How many events failed lately, as far as it sees them.
    pub window: Arc<Window>,
    /// What it takes of its machine.
    pub usage: Arc<ThisProcess>,
    /// Of every subscription of the release, by name, since any of them may be asked for its state.
    pub functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    /// What records are about.
    pub keys: Arc<KeysByLook>,
    /// How far whoever consumes has come.
    pub consumers: Arc<dyn Consumers>,
    /// What it does for others.
    pub work: Arc<dyn Work>,
    /// Runs replays.
    pub replays: Arc<Runner>,
    /// Projections that are built anew.
    pub rebuilds: Arc<Rebuilds>,
    /// Who may.
    pub access: Access,
    /// Where it is asked, as host and port, for the AsyncAPI document; where somebody asks, that takes the place of it.
    pub at: String,
}

impl Given {
    /// What the page and the API are given.
    pub fn services(self, config: &Config) -> Services {
        let Stores { event_log, ledger, statements, audit, schemas, guards, places } = self.stores;
        let sources = dead_letters::Sources {
            event_log: event_log.clone(),
            ledger: ledger.clone(),
            statements: statements.clone(),
            functions: self.functions.clone(),
            keys: self.keys.clone(),
        };
        let dead_letters = Arc::new(DeadLetterIndex::new(sources, self.catalog.clone(), self.clock.clone()));
        let reconciler = Reconciler {
            event_log: event_log.clone(),
            statements: statements.clone(),
            functions: self.functions.clone(),
            letters: dead_letters.clone(),
            catalog: self.catalog.clone(),
            group: config.group.clone(),
            clock: self.clock.clone(),
        };
        let brokers = config.stores.kafka.as_ref().map(|of| {
            let tls = of.encryption != Encryption::None;
            Brokers::of(&of.bootstrap_servers, tls, of.has_certificate(), of.mechanism())
        });
        let deployment = Deployment {
            topics: topics(&self.catalog),
            group: config.group.clone(),
            kafka: brokers,
            http: self.at,
            asks_for_token: !self.access.is_open(),
        };
        Services {
            analytics: Arc::new(StatementAnalytics {
                statements: statements.clone(),
                learner_home_page: config.learner_home_page.clone(),
            }),
            dead_letters,
            reconciler: Arc::new(reconciler),
            event_log,
            ledger,
            statements,
            audit,
            schemas,
            guards,
            window: self.window,
            process: self.usage,
            live: self.live,
            metrics: self.metrics,
            consumers: self.consumers,
            state: Arc::new(FamilyStates { functions: self.functions }),
            keys: self.keys,
            work: self.work,
            rebuilds: self.rebuilds,
            replays: self.replays,
            clock: self.clock,
            asyncapi: Arc::new(lyceum_documents::asyncapi::document(&deployment)),
            catalog: self.catalog,
            access: self.access,
            default_tenant: config.process.envelope.default_tenant.to_string(),
            data: places.to_string(),
        }
    }
}
