//! The function of the subscription staging-course on AWS Lambda: wiring. Its keys are in a ledger.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_connect::ProductionSettings;
use lyceum_core::process::ReactionProcessor;
use lyceum_staging_course::Staging;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read)?;
        let catalog = Arc::new(lyceum_catalog::catalog());
        let services =
            lyceum_connect::connect(&settings, telemetry.observer(), &telemetry.metrics(), catalog.families());
        telemetry.serve(ReactionProcessor::<Staging>::new(services.into(), catalog, settings.process)).await
    })
}
