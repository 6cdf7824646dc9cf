//! A test binary whose tests need services: each test says which, and one whose service is missing is reported as
//! ignored, by name, with what is missing.

use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};

use crate::{Endpoints, Service};

/// The tests of one binary (`harness = false`); understands the arguments of the standard harness.
pub struct Suite {
    arguments: Arguments,
    endpoints: Arc<OnceLock<Endpoints>>,
    trials: Vec<Trial>,
}

impl Default for Suite {
    fn default() -> Self {
        Self { arguments: Arguments::from_args(), endpoints: Arc::default(), trials: Vec::new() }
    }
}

impl Suite {
    /// Adds a test. It fails by panicking.
    pub fn test(
        &mut self,
        name: impl Into<String>,
        needs: &[Service],
        body: impl FnOnce(&Endpoints) + Send + 'static,
    ) -> &mut Self {
        let endpoints = self.endpoints.get_or_init(|| Endpoints::from_environment(|name| std::env::var(name).ok()));
        let missing = needs.iter().any(|service| !endpoints.has(*service));
        let endpoints = self.endpoints.clone();
        let trial = Trial::test(name.into(), move || {
            body(endpoints.get().expect("set before"));
            Ok(())
        });
        self.trials.push(trial.with_ignored_flag(missing));
        self
    }

    /// Runs what the arguments ask for, and ends the process.
    pub fn run(self) -> ! {
        libtest_mimic::run(&self.arguments, self.trials).exit()
    }
}
