//! Replays of this process, by the functions that it has.

use std::sync::Arc;

use lyceum_core::catalog::Catalog;
use lyceum_core::metrics::Metrics;
use lyceum_core::process::Services;
use lyceum_core::process::audit::AuditLog;
use lyceum_functions::{Look, Ports};
use lyceum_server::connect::Stores;
use lyceum_server::replay::{KEYS_AGE, Runner, Sources, Subscribers};

use crate::config::Config;

/// What runs them.
pub(super) fn runner(
    config: &Config,
    stores: &Stores,
    ports: &Ports,
    catalog: &Arc<Catalog>,
    metrics: &Arc<Metrics>,
) -> Arc<Runner> {
    let process = config.server.process.clone();
    let clock = ports.services.clock.clone();
    let audit = AuditLog { entries: stores.audit.clone(), ledger: stores.ledger.clone(), clock: clock.clone() };
    let labels = Arc::new(Look::new(process.envelope.clone()));
    let (of_ports, of_catalog) = (ports.clone(), catalog.clone());
    let make = move |name: &str, services: Services| {
        let ports = Ports { services, ..of_ports.clone() };
        lyceum_functions::subscriber(name, ports, of_catalog.clone(), process.clone())
    };
    Arc::new(Runner::new(Sources {
        event_log: stores.event_log.clone(),
        ledger: stores.ledger.clone(),
        labels,
        audit,
        subscribers: Subscribers {
            services: ports.services.clone(),
            make: Arc::new(make),
            generations: None,
            names: lyceum_functions::functions().map(|of| of.subscription.name).collect(),
        },
        sinks: None,
        keys_age: config.server.stores.dynamodb.as_ref().map_or(KEYS_AGE, |ledger| ledger.key_ttl),
        clock,
        metrics: metrics.clone(),
    }))
}
