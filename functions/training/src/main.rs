//! The training function on AWS Lambda: wiring. It keeps state, so that it has a ledger.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_core::adapters::production::{self, ProductionSettings};
use lyceum_core::process::Processor;
use lyceum_training::Training;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read)?;
        let catalog = Arc::new(lyceum_functions::catalog());
        let services = production::connect(&settings, telemetry.observer(), &telemetry.metrics(), catalog.families());
        telemetry.serve(Processor::<Training>::new(services, catalog, settings.process)).await
    })
}
