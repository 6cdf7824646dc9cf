//! The learning function on AWS Lambda: wiring. It counts, so that it has a ledger.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_connect::ProductionSettings;
use lyceum_core::process::CountedProcessor;
use lyceum_learning::Learning;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read)?;
        let catalog = Arc::new(lyceum_catalog::catalog());
        let services =
            lyceum_connect::connect(&settings, telemetry.observer(), &telemetry.metrics(), catalog.families());
        telemetry.serve(CountedProcessor::<Learning>::new(services.into(), catalog, settings.process)).await
    })
}
