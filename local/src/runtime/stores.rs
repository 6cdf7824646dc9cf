//! The stores of a process: each one a service that is there for others, too, or embedded in the data folder. Which of the
//! two is said by the settings, for each store by itself.

use std::sync::Arc;

use anyhow::{Context, Result};
use lyceum_around::beside::Beside;
use lyceum_around::last_write::KnowingItsWrites;
use lyceum_around::measured::Measured;
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::statements::IndexedStatements;
use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_embedded::event_log::{EmbeddedEventLog, EventLogOptions};
use lyceum_embedded::statements::{EmbeddedIndices, Holds, StatementsOptions};
use lyceum_server::connect::{Connecting, Places, Purpose, Stores, StoresConfig};
use lyceum_xapi::equality;

use crate::data_folder::DataFolder;

/// Opens the stores; the folder holds those that are embedded. The embedded DynamoDB, where there is one, drops what has
/// expired when it is asked to.
pub(super) async fn open(
    config: &StoresConfig,
    folder: &DataFolder,
    purpose: Purpose,
    catalog: &Catalog,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<(Stores, Option<EmbeddedDynamoDb>)> {
    let opening = |what: &str| format!("cannot open the {what} in {}", folder.path().display());
    let places = Places::of(config, &format!("embedded in {}", folder.path().display()));
    let mut services = Connecting::new(config, purpose, places, metrics);
    let event_log = match services.event_log().await? {
        Some(service) => service,
        None => {
            let log = EmbeddedEventLog::open(&folder.join("events.redb"), EventLogOptions::default());
            let log = Arc::new(log.with_context(|| opening("event log"))?);
            Arc::new(Measured::new(Arc::new(KnowingItsWrites::of(log)), metrics.clone())) as Arc<dyn EventLog>
        }
    };
    let (ledger, embedded_dynamodb) = match services.ledger(clock, catalog).await? {
        Some(service) => (service, None),
        None => {
            let embedded = EmbeddedDynamoDb::open(&folder.join("ledger.sqlite")).with_context(|| opening("ledger"))?;
            // The folder is locked, and an embedded store is no other process's.
            let ledger = embedded.sole_ledger(clock.clone()).await.with_context(|| opening("ledger"))?;
            let ledger = Arc::new(ledger.counting_in(metrics.clone(), catalog.families()));
            let ledger = Arc::new(KnowingItsWrites::of(ledger));
            (Arc::new(Measured::new(ledger, metrics.clone())) as Arc<dyn Ledger>, Some(embedded))
        }
    };
    let embedded = |name: &str, what: &str, holds: Holds| -> Result<Arc<dyn IndexedStatements>> {
        let options = StatementsOptions { holds, ..StatementsOptions::new(equality::same) };
        let store = EmbeddedIndices::open(&folder.join(name), options);
        let store = Arc::new(store.with_context(|| opening(what))?);
        let store = match holds {
            Holds::Statements => Beside::of(store, clock.clone()),
            // Evidence is not made anew.
            Holds::Logs => Beside::never(store, clock.clone()),
        };
        let store = Arc::new(KnowingItsWrites::of(Arc::new(store)));
        Ok(Arc::new(Measured::new(store, metrics.clone())))
    };
    let statements = match services.statements().await? {
        Some(service) => service,
        None => embedded("statements", "statement store", Holds::Statements)?,
    };
    let audit = match services.audit().await? {
        Some(service) => service,
        None => embedded("audit", "audit log", Holds::Logs)?,
    };
    Ok((services.finish(event_log, ledger, statements, audit, catalog).await?, embedded_dynamodb))
}
