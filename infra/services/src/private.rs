//! A service that one test owns, to break it.

use std::sync::mpsc::{self, Receiver};

use anyhow::{Context, Result, bail};

use crate::folder::Folder;
use crate::guard::{Assignment, Guarded, Order, RunsAs, Said};
use crate::{Endpoints, Service, program};

/// An instance of a service of one's own, with its data on disk. It is a process of this machine whatever the other
/// tests run on, since it is there to be killed, and needs the same Java and Maven. Dropping it, or the end of the test's
/// process, however it comes, ends it and removes what it wrote.
#[derive(Debug)]
pub struct PrivateService {
    service: Service,
    endpoints: Endpoints,
    process: Option<u32>,
    said: Receiver<Said>,
    guard: Guarded,
}

/// Starts an instance, and waits until it answers.
pub fn private(service: Service) -> Result<PrivateService> {
    PrivateService::start_with(service, None)
}

/// Starts a broker that tells its clients of PLAINTEXT to connect to `advertised` (`host:port`), where a proxy of the test
/// listens. [`PrivateService::endpoints`] has the address of the broker itself, for the proxy.
pub fn private_kafka_behind(advertised: &str) -> Result<PrivateService> {
    PrivateService::start_with(Service::Kafka, Some(advertised.to_owned()))
}

impl PrivateService {
    fn start_with(service: Service, advertised: Option<String>) -> Result<Self> {
        program::must_take_over()?;
        let folder = Folder::standard()?;
        folder.prepare()?;
        let name = format!("{}-{:016x}", service.name(), rand::random::<u64>());
        let assignment = Assignment {
            service,
            runs_as: RunsAs::Process,
            folder: folder.private().join(name),
            cache: folder.cache(),
            advertised,
            leaves_nothing: true,
        };
        let (sender, said) = mpsc::channel();
        let guard = Guarded::start(&assignment, &[], move |heard| {
            let _ = sender.send(heard);
        })?;
        let mut private = Self { service, endpoints: Endpoints::default(), process: None, said, guard };
        private.wait()?;
        Ok(private)
    }

    /// Where it answers; the same after every start.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The URL, or Kafka's `host:port` of PLAINTEXT.
    pub fn endpoint(&self) -> &str {
        self.endpoints.url(self.service)
    }

    /// The process that a signal may be sent to.
    pub fn process(&self) -> Option<u32> {
        self.process
    }

    /// Kills it as `kill -9` does, with all that it started.
    pub fn kill(&mut self) -> Result<()> {
        self.order(Order::Kill)
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        self.order(Order::Stop)
    }

    /// Starts it again on its data and its ports, after [`kill`](Self::kill) or [`stop`](Self::stop), and waits until it
    /// answers.
    pub fn start(&mut self) -> Result<()> {
        self.order(Order::Start)
    }

    /// Halts it: connections stay open, and nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.order(Order::Pause)
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        self.order(Order::Resume)
    }

    fn order(&mut self, order: Order) -> Result<()> {
        self.guard.order(order)?;
        self.wait().with_context(|| format!("{order:?} of a private {}", self.service))
    }

    /// Until the order is carried out. That a service had ended by itself is told by whichever order comes next.
    fn wait(&mut self) -> Result<()> {
        loop {
            match self.said.recv().context("its guard has ended")? {
                Said::Done => return Ok(()),
                Said::Ready { endpoints, process } => {
                    (self.endpoints, self.process) = (*endpoints, process);
                    return Ok(());
                }
                Said::Failed { why } => bail!("{why}"),
                Said::Ended { .. } => {}
            }
        }
    }
}
