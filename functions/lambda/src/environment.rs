//! What a function's environment says, secrets included.

use std::sync::Arc;

use anyhow::Result;
use lyceum_connect::ProductionSettings;
use lyceum_core::environment::{FunctionLog, METRICS_NAMESPACE, Reading};
use lyceum_spans::SpansSettings;

use lyceum_server::config::Config;

use crate::Telemetry;

/// The function's environment, and over it what secrets hold.
#[derive(Debug)]
pub struct Environment(pub(crate) Arc<lyceum_secrets::Secrets>);

impl Environment {
    /// Reads the settings of a function, and begins to log as they say.
    ///
    /// # Errors
    /// Every wrong value, together.
    pub fn read<L>(
        &self,
        settings: impl FnOnce(&mut Reading<'_>) -> ProductionSettings<L>,
    ) -> Result<(ProductionSettings<L>, Telemetry)> {
        let (settings, (), telemetry) = self.read_with(settings, |_| ())?;
        Ok((settings, telemetry))
    }

    /// The same, with what this function has of its own.
    ///
    /// # Errors
    /// Every wrong value, together.
    pub fn read_with<L, O>(
        &self,
        settings: impl FnOnce(&mut Reading<'_>) -> ProductionSettings<L>,
        own: impl FnOnce(&mut Reading<'_>) -> O,
    ) -> Result<(ProductionSettings<L>, O, Telemetry)> {
        let environment = self.0.environment();
        let variable = |name: &str| environment.variable(name);
        let mut reading = Reading::new(&variable);
        let (settings, own) = (settings(&mut reading), own(&mut reading));
        let namespace = reading.read(&METRICS_NAMESPACE);
        let of_function = FunctionLog::read(&mut reading);
        let spans = SpansSettings::read(&mut reading);
        let settings = ProductionSettings { secrets: Some(self.0.clone()), ..reading.finish(settings)? };
        let shown = lyceum_connect::shown_to_collector(spans.as_ref(), settings.secrets.as_ref());
        let telemetry = Telemetry::start(&settings.log, of_function, spans, shown, namespace)?;
        Ok((settings, own, telemetry))
    }

    /// Reads the settings of a function that does what a process does that serves people; `server` is its part of what `settings` reads.
    ///
    /// # Errors
    /// Every wrong value, together.
    pub fn read_of_server<S>(
        &self,
        settings: impl FnOnce(&mut Reading<'_>) -> S,
        server: impl FnOnce(&S) -> &Config,
    ) -> Result<(S, Telemetry)> {
        let environment = self.0.environment();
        let variable = |name: &str| environment.variable(name);
        let mut reading = Reading::new(&variable);
        let settings = settings(&mut reading);
        let namespace = reading.read(&METRICS_NAMESPACE);
        let of_function = FunctionLog::read(&mut reading);
        let settings = reading.finish(settings)?;
        let Config { log, spans, .. } = server(&settings).clone();
        let shown = lyceum_connect::shown_to_collector(spans.as_ref(), Some(&self.0));
        let telemetry = Telemetry::start(&log, of_function, spans, shown, namespace)?;
        Ok((settings, telemetry))
    }

    /// Where what is secret among the settings comes from, and is read again.
    pub fn secrets(&self) -> Arc<lyceum_secrets::Secrets> {
        self.0.clone()
    }
}
