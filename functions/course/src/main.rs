//! The course function on AWS Lambda: wiring. It keeps state, so that it has a ledger.

use std::process::ExitCode;
use std::sync::Arc;

use lyceum_connect::ProductionSettings;
use lyceum_core::process::StatefulProcessor;
use lyceum_course::Courses;

fn main() -> ExitCode {
    lyceum_lambda::run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read)?;
        let catalog = Arc::new(lyceum_catalog::catalog());
        let services =
            lyceum_connect::connect(&settings, telemetry.observer(), &telemetry.metrics(), catalog.families());
        telemetry.serve(StatefulProcessor::<Courses>::new(services.into(), catalog, settings.process)).await
    })
}
