//! Replays, by the functions of the release that runs: the local runner's, too.

use std::sync::Arc;

use lyceum_core::catalog::Catalog;
use lyceum_core::generations::marker::Generations;
use lyceum_core::metrics::Metrics;
use lyceum_core::process::Services;
use lyceum_core::process::audit::AuditLog;
use lyceum_export::FileSinks;
use lyceum_functions::{Function, Look, Ports};
use lyceum_server::config::Config;
use lyceum_server::connect::Stores;
use lyceum_server::replay::{KEYS_AGE, Runner, Sources, Subscribers};

/// What runs them.
pub(crate) fn runner(
    config: &Config,
    stores: &Stores,
    release: &[Function],
    ports: &Ports,
    live: &Arc<Generations>,
    catalog: &Arc<Catalog>,
    metrics: &Arc<Metrics>,
) -> Runner {
    let process = config.process.clone();
    let clock = ports.services.clock.clone();
    let audit = AuditLog { entries: stores.audit.clone(), ledger: stores.ledger.clone(), clock: clock.clone() };
    let labels = Arc::new(Look::new(process.envelope.clone()));
    let (of_ports, of_catalog) = (ports.clone(), catalog.clone());
    let (live, functions) = (live.clone(), release.to_vec());
    let make = move |name: &str, services: Services| {
        let function = functions.iter().find(|of| of.subscription.name == name)?;
        Some(function.build_live(Ports { services, ..of_ports.clone() }, &live, of_catalog.clone(), process.clone()))
    };
    Runner::new(Sources {
        event_log: stores.event_log.clone(),
        ledger: stores.ledger.clone(),
        labels: labels.clone(),
        audit,
        subscribers: Subscribers {
            services: ports.services.clone(),
            make: Arc::new(make),
            names: release.iter().map(|of| of.subscription.name).collect(),
        },
        sinks: Some(Arc::new(FileSinks::new(labels))),
        keys_age: KEYS_AGE,
        clock,
        metrics: metrics.clone(),
    })
}
