//! The generator function on AWS Lambda: wiring. It keeps keys, so that it has a ledger, and asks the content generator.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_connect::generator::GeneratorSettings;
use lyceum_connect::{ProductionSettings, generator};
use lyceum_core::process::CallingProcessor;
use lyceum_generator::Generator;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, of_generator, telemetry) =
            environment.read_with(ProductionSettings::read, GeneratorSettings::read)?;
        let catalog = Arc::new(lyceum_catalog::catalog());
        let services =
            lyceum_connect::connect(&settings, telemetry.observer(), &telemetry.metrics(), catalog.families());
        let port = generator::connect(&of_generator, settings.secrets.as_ref())?;
        // No two processes are one holder of a lease.
        let (process, config) = (uuid::Uuid::new_v4(), settings.process);
        telemetry.serve(CallingProcessor::<Generator>::new(services.into(), port, process, catalog, config)).await
    })
}
