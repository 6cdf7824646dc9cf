//! How each service is started as a process: its files, its command, and the call that proves that it answers.

mod aws;
mod dynamodb;
pub(crate) mod kafka;
mod registry;
mod search;

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rand::RngExt as _;

use crate::{Endpoints, Service, download, java};

/// Where a service is to live.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Downloaded programs.
    pub(crate) cache: &'a Path,
    /// Everything that the service writes.
    pub(crate) folder: &'a Path,
    /// As many as [`ports`] says; the same ones at each start.
    pub(crate) ports: &'a [u16],
    /// `host:port` that Kafka tells its clients instead of its own listener's: a proxy's.
    pub(crate) advertised: Option<&'a str>,
}

/// What starts a service, and how one sees that it runs.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Whether it refuses to be root.
    pub(crate) refuses_root: bool,
    pub(crate) ready: Ready,
    pub(crate) endpoints: Endpoints,
}

/// A call that only a service which is ready answers rightly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A metadata request that names one broker.
    Kafka {
        /// `host:port` of PLAINTEXT.
        address: String,
    },
    /// DynamoDB's ListTables.
    ListTables {
        /// The endpoint.
        url: String,
    },
    /// 200, with this in the body.
    Get {
        /// What is asked for.
        url: String,
        /// What the answer holds.
        holds: &'static str,
    },
}

/// How many ports a service takes.
pub(crate) fn ports(service: Service) -> usize {
    match service {
        Service::Kafka => 6,
        Service::Elasticsearch | Service::OpenSearch => 2,
        Service::DynamoDb | Service::Registry | Service::Aws => 1,
    }
}

/// Downloads what is missing, and writes the service's files. Doing it again on a folder with data changes no data.
pub(crate) fn prepare(service: Service, place: &Place<'_>) -> Result<Launch> {
    fs::create_dir_all(place.folder).with_context(|| format!("cannot make {}", place.folder.display()))?;
    match service {
        Service::Kafka => kafka::prepare(place),
        Service::DynamoDb => dynamodb::prepare(place),
        Service::Elasticsearch | Service::OpenSearch => search::prepare(service, place),
        Service::Registry => registry::prepare(place),
        Service::Aws => aws::prepare(place),
    }
}

/// What is missing on this machine for the service to run as a process, as a sentence.
pub(crate) fn missing(service: Service, cache: &Path) -> Option<String> {
    let (java, downloaded) = match service {
        Service::DynamoDb => return None,
        Service::Aws => {
            let there = download::is_complete(cache, &aws::name()) || download::find_program("python3").is_some();
            return (!there).then(|| "python3 is missing".to_owned());
        }
        Service::Kafka => {
            let names = [download::kafka_name(), download::msk_iam_name()];
            (17, names.iter().all(|name| download::is_complete(cache, name)))
        }
        Service::Elasticsearch | Service::OpenSearch => match search::version(service) {
            Ok(version) => (search::java(version), download::is_complete(cache, &search::name(service, version))),
            Err(why) => return Some(why),
        },
        Service::Registry => (registry::JAVA, download::is_complete(cache, &registry::name())),
    };
    if !java::is_at_hand(java, cache) {
        return Some(format!("Java {java} or newer is missing"));
    }
    let fetched = downloaded || download::find_program("mvn").is_some();
    (!fetched).then(|| "Maven (mvn) is missing".to_owned())
}

/// Free ports, below those that the system gives to outgoing connections, so that none takes the place of a service
/// that is away for a moment.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut found = Vec::new();
    for _ in 0..1000 {
        if found.len() == count {
            return Ok(found);
        }
        let port = rand::rng().random_range(20_000..32_000);
        if is_free(port) && !found.contains(&port) {
            found.push(port);
        }
    }
    bail!("no free port between 20000 and 32000")
}

/// Whether nobody listens there.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

impl Launch {
    /// The command; what it says goes into `service.log`. A Linux kernel ends it with its parent.
    pub(crate) fn command(&self, folder: &Path) -> Result<Command> {
        let root = rustix::process::geteuid().is_root();
        let mut command = match download::find_program("setpriv").filter(|_| cfg!(target_os = "linux")) {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                if self.refuses_root && root {
                    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
                }
                command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
                command
            }
            None if self.refuses_root && root => {
                bail!(
                    "setpriv is missing, and the service refuses to run as root: install util-linux, or be another user"
                )
            }
            None => Command::new(&self.program),
        };
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("service.log"))?;
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(folder).stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

/// Java's options for a service that is to start fast and stay small.
fn small_jvm(heap_mb: u32) -> Vec<OsString> {
    [format!("-Xmx{heap_mb}m"), "-XX:+UseSerialGC".to_owned(), "-XX:TieredStopAtLevel=1".to_owned()]
        .map(OsString::from)
        .to_vec()
}
