//! The function of the subscription intake-distribution on AWS Lambda: wiring. Its keys are in a ledger.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_connect::ProductionSettings;
use lyceum_core::process::ReactionProcessor;
use lyceum_intake_distribution::Intake;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read)?;
        let catalog = Arc::new(lyceum_catalog::catalog());
        let services =
            lyceum_connect::connect(&settings, telemetry.observer(), &telemetry.metrics(), catalog.families());
        telemetry.serve(ReactionProcessor::<Intake>::new(services.into(), catalog, settings.process)).await
    })
}
