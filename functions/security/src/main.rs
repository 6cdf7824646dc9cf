//! The security function on AWS Lambda: wiring. It keeps no state, so that nothing of DynamoDB is linked or connected.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_connect::ProductionSettings;
use lyceum_core::process::DocumentProcessor;
use lyceum_security::Security;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read_stateless)?;
        let services = lyceum_connect::connect_stateless(&settings, telemetry.observer(), &telemetry.metrics());
        let catalog = Arc::new(lyceum_catalog::catalog());
        telemetry.serve(DocumentProcessor::<Security>::new(services, catalog, settings.process)).await
    })
}
