//! The audit function on AWS Lambda: wiring. Unlike any other it knows the wire forms of all families, since it says of every record
//! what it is; and it has a store of its own for entries.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_connect::ProductionSettings;
use lyceum_core::process::AuditProcessor;
use lyceum_functions::Look;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read)?;
        let (metrics, catalog) = (telemetry.metrics(), lyceum_catalog::catalog());
        let services = lyceum_connect::connect(&settings, telemetry.observer(), &metrics, catalog.families());
        let entries = lyceum_connect::audit_entries(&settings, &metrics);
        let labels = Arc::new(Look::new(settings.process.envelope.clone()));
        let subscription = &lyceum_catalog::audit::SUBSCRIPTION;
        telemetry.serve(AuditProcessor::new(subscription, services.into(), entries, labels, &settings.process)).await
    })
}
