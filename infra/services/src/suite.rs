//! A test binary whose tests need services: each test says which. A service is started when the first test that needs
//! it runs, and shared with the other binaries of the same `cargo test`. A test whose service this machine cannot run is
//! reported as ignored, by name, with what is missing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::choice::{self, Held};
use crate::unavailable::Unavailable;
use crate::{Endpoints, Service, cli};

type Answer = Arc<OnceLock<Result<Held, Unavailable>>>;

/// The tests of one binary (`harness = false`); understands the arguments of the standard harness.
pub struct Suite {
    arguments: Arguments,
    held: Arc<Mutex<HashMap<Vec<Service>, Answer>>>,
    trials: Vec<(Vec<Service>, Trial)>,
    /// What the selected tests need between them.
    all: Arc<OnceLock<Vec<Service>>>,
}

impl Default for Suite {
    /// Has to be the first thing in `main`: the same binary is started again to look after what its tests need.
    fn default() -> Self {
        cli::take_over();
        Self { arguments: Arguments::from_args(), held: Arc::default(), trials: Vec::new(), all: Arc::default() }
    }
}

impl Suite {
    /// So many tests run at once, where the arguments say nothing else; without it as many as there are processors.
    #[must_use]
    pub fn at_once(mut self, tests: usize) -> Self {
        self.arguments.test_threads.get_or_insert(tests);
        self
    }

    /// Adds a test. It fails by panicking.
    pub fn test(
        &mut self,
        name: impl Into<String>,
        needs: &[Service],
        body: impl FnOnce(&Endpoints) + Send + 'static,
    ) -> &mut Self {
        self.test_where(name, needs, |_| None, body)
    }

    /// Adds a test that starts services of its own ([`private`](crate::private)), beside those that it shares. Its own are
    /// processes, whatever the shared ones are: where this machine cannot run them, the test is reported as ignored.
    pub fn test_private(
        &mut self,
        name: impl Into<String>,
        own: &[Service],
        shared: &[Service],
        body: impl FnOnce(&Endpoints) + Send + 'static,
    ) -> &mut Self {
        let own = own.to_vec();
        self.test_where(name, shared, move |_| choice::missing_of_own(&own), body)
    }

    /// Adds a test that needs something of a service which not every one has: where it is missing, the test is reported
    /// as ignored, with what `missing` says.
    pub fn test_where(
        &mut self,
        name: impl Into<String>,
        needs: &[Service],
        missing: impl FnOnce(&Endpoints) -> Option<String> + Send + 'static,
        body: impl FnOnce(&Endpoints) + Send + 'static,
    ) -> &mut Self {
        let mut needs = needs.to_vec();
        needs.sort();
        needs.dedup();
        let (held, all, own) = (self.held.clone(), self.all.clone(), needs.clone());
        let name = name.into();
        let trial = Trial::ignorable_test(name.clone(), move || {
            if !needs.is_empty() {
                prepare(&all);
            }
            let answer = held.lock().unwrap_or_else(PoisonError::into_inner).entry(needs.clone()).or_default().clone();
            match answer.get_or_init(|| choice::hold(&needs).inspect_err(|why| tell(&needs, why))) {
                Ok(held) => {
                    if let Some(why) = missing(&held.endpoints) {
                        tell_missing(&name, &why);
                        return Ok(Completion::ignored_with(why));
                    }
                    body(&held.endpoints);
                    Ok(Completion::Completed)
                }
                Err(Unavailable::Missing(why)) => Ok(Completion::ignored_with(why)),
                Err(Unavailable::NotFetched(why)) => {
                    Err(format!("NOT FETCHED, so nothing is known of it: {why}").into())
                }
                Err(Unavailable::Broken(why)) => Err(why.into()),
            }
        });
        self.trials.push((own, trial));
        self
    }

    /// Reports a test as ignored, by name: the machine lacks what it needs beside services.
    pub fn missing(&mut self, name: impl Into<String>, why: impl Into<String>) -> &mut Self {
        let (name, why) = (name.into(), why.into());
        tell_missing(&name, &why);
        let trial = Trial::ignorable_test(name, move || Ok(Completion::ignored_with(why)));
        self.trials.push((Vec::new(), trial));
        self
    }

    /// Runs what the arguments ask for, and ends the process.
    pub fn run(self) -> ! {
        let selected = self.trials.iter().filter(|(_, trial)| !self.arguments.is_filtered_out(trial));
        let mut all: Vec<Service> = selected.flat_map(|(needs, _)| needs.iter().copied()).collect();
        all.sort();
        all.dedup();
        self.all.get_or_init(|| all);
        let trials = self.trials.into_iter().map(|(_, trial)| trial).collect();
        libtest_mimic::run(&self.arguments, trials).exit()
    }
}

/// The first test that needs a service has those of the later ones started beside its own. What does not start is reported
/// by the tests that need it.
fn prepare(all: &OnceLock<Vec<Service>>) {
    static ONCE: Once = Once::new();
    if let Some(all) = all.get().filter(|all| all.len() > 1).cloned() {
        ONCE.call_once(|| {
            std::thread::spawn(move || {
                let _held = choice::hold(&all);
                loop {
                    std::thread::park();
                }
            });
        });
    }
}

/// Nobody overlooks that a test does not run.
fn tell_missing(name: &str, why: &str) {
    eprintln!("\n!!! {} DOES NOT RUN HERE\n{why}\n", name.to_uppercase());
}

/// Nobody overlooks why tests do not run.
fn tell(needs: &[Service], why: &Unavailable) {
    let names: Vec<String> = needs.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    let what = match why {
        Unavailable::Missing(_) => format!("TESTS THAT NEED {} DO NOT RUN HERE", names.to_uppercase()),
        Unavailable::NotFetched(_) => format!("NOT FETCHED: {names}"),
        Unavailable::Broken(_) => format!("{names} CANNOT BE STARTED"),
    };
    eprintln!("\n!!! {what}\n{why}\n");
}
