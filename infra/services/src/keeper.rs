//! The keeper: one process per folder, which owns the guards. Clients connect and name services; the keeper answers
//! when these are ready, and the connection is the client's lease. Without leases, and unless `up` pinned it, it ends
//! everything after a while.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::folder::{Folder, try_lock, write_whole};
use crate::guard::{self, Assignment, Guarded, RunsAs, Said};
use crate::{Endpoints, Service, pinned};

/// How to reach the keeper: the content of `keeper.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reach {
    pub(crate) port: u16,
    /// Known to those who may read the file.
    pub(crate) token: String,
    pub(crate) process: u32,
}

/// What a client asks, one line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) token: String,
    pub(crate) ask: Ask,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ask {
    /// These services, as long as the connection is open.
    Lease(Wanted),
    /// These services, until `down`.
    Up(Wanted),
    /// These services no more; all of them and the keeper, where none is named.
    Down {
        services: Vec<Service>,
    },
    Status,
}

/// Services, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) runs_as: RunsAs,
    pub(crate) services: Vec<Service>,
    /// Where the caller has downloaded programs.
    pub(crate) cache: PathBuf,
    /// Variables of the caller that tell how to start: the keeper may have been started by somebody else.
    pub(crate) environment: Vec<(String, String)>,
}

impl Wanted {
    pub(crate) fn new(folder: &Folder, runs_as: RunsAs, services: &[Service]) -> Self {
        let known = [
            "PATH",
            "HOME",
            "JAVA_HOME",
            "LYCEUM_JAVA_HOME",
            "DOCKER_HOST",
            "DOCKER_CONFIG",
            "DOCKER_CERT_PATH",
            "DOCKER_TLS_VERIFY",
            "TESTCONTAINERS_HOST_OVERRIDE",
        ];
        let images = Service::ALL.map(|service| pinned::image(service).variable);
        let given = known
            .into_iter()
            .chain(images)
            .chain(pinned::MAJORS)
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        Self { runs_as, services: services.to_vec(), cache: folder.cache(), environment: given.collect() }
    }

    /// The version of a search engine that the caller asks for.
    fn version(&self, service: Service) -> Option<&'static str> {
        let variable =
            |name: &str| self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let is_engine = matches!(service, Service::Elasticsearch | Service::OpenSearch);
        if is_engine { pinned::search_engine(service, variable).ok() } else { None }
    }
}

/// What the keeper answers, one line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// All of what was asked for is ready.
    Ready(Box<Endpoints>),
    Failed(String),
    Status {
        services: Vec<ServiceStatus>,
        leases: usize,
        pinned: bool,
        process: u32,
    },
    Done,
    /// The keeper is about to end: connect anew.
    Closing,
}

/// One service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServiceStatus {
    pub(crate) service: Service,
    pub(crate) runs_as: RunsAs,
    /// `starting`, or `ready`, or why it failed.
    pub(crate) state: String,
    pub(crate) process: Option<u32>,
    pub(crate) endpoints: Endpoints,
}

type Key = (Service, RunsAs);

struct Slot {
    state: State,
    /// Of a search engine.
    version: Option<&'static str>,
    guard: Option<Guarded>,
    /// Distinguishes what a former guard of this service says.
    generation: u64,
}

enum State {
    Starting,
    Ready { endpoints: Box<Endpoints>, process: Option<u32> },
    Failed(String),
}

#[derive(Default)]
struct Inner {
    slots: HashMap<Key, Slot>,
    leases: usize,
    pinned: bool,
    closing: bool,
    generation: u64,
    idle_since: Option<Instant>,
}

struct Keeper {
    folder: Folder,
    token: String,
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// How long a keeper without a lease waits for the next one: `cargo test` runs one binary after the other.
fn linger() -> Duration {
    let given = std::env::var("LYCEUM_SERVICES_LINGER_S").ok().and_then(|value| value.parse().ok());
    Duration::from_secs(given.unwrap_or(30))
}

/// The keeper's own main; returns when it has nothing to keep any more.
pub(crate) fn run(folder: Folder) -> Result<()> {
    folder.prepare()?;
    let lock = folder.keeper_lock()?;
    if !try_lock(&lock)? {
        bail!("another keeper holds {}", folder.path().display());
    }
    // What a keeper left that was killed.
    guard::sweep(&folder.private())?;
    let _ = std::fs::remove_file(folder.environment_file());
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on 127.0.0.1")?;
    let token = format!("{:032x}", rand::random::<u128>());
    let reach = Reach { port: listener.local_addr()?.port(), token: token.clone(), process: std::process::id() };
    write_whole(&folder.keeper_file(), &serde_json::to_vec(&reach)?)?;
    say(&format!("keeper {} of {}", reach.process, folder.path().display()));

    let inner = Mutex::new(Inner { idle_since: Some(Instant::now()), ..Inner::default() });
    let keeper = Arc::new(Keeper { folder, token, inner, changed: Condvar::new() });
    let accepting = keeper.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let keeper = accepting.clone();
            std::thread::spawn(move || {
                if let Err(error) = keeper.serve(stream) {
                    say(&format!("a client: {error:#}"));
                }
            });
        }
    });
    keeper.wait_for_the_end();
    let _ = std::fs::remove_file(keeper.folder.keeper_file());
    let _ = std::fs::remove_file(keeper.folder.environment_file());
    say("ended");
    drop(lock);
    Ok(())
}

/// To `keeper.log`, which is this process's output.
fn say(line: &str) {
    eprintln!("{line}");
}

impl Keeper {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_the_end(&self) {
        let linger = linger();
        let mut inner = self.inner();
        loop {
            if inner.closing {
                break;
            }
            let idle = inner.idle_since.filter(|_| inner.leases == 0 && !inner.pinned).map(|since| since.elapsed());
            if idle.is_some_and(|idle| idle >= linger) {
                say("nobody needs anything any more");
                inner.closing = true;
                break;
            }
            let wait = self.changed.wait_timeout(inner, Duration::from_millis(200));
            inner = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        let guards: Vec<Guarded> = inner.slots.drain().filter_map(|(_, slot)| slot.guard).collect();
        drop(inner);
        end_all(guards);
        self.changed.notify_all();
    }

    fn serve(self: &Arc<Self>, mut stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        let request: Request = serde_json::from_str(&line).context("no request")?;
        if request.token != self.token {
            bail!("a wrong token");
        }
        stream.set_read_timeout(None)?;
        match request.ask {
            Ask::Status => answer(&mut stream, &self.status()),
            Ask::Down { services } => {
                let done = self.down(&services);
                answer(&mut stream, &done)
            }
            Ask::Up(wanted) => {
                let keeps = {
                    let mut inner = self.inner();
                    inner.pinned |= !inner.closing;
                    !inner.closing
                };
                if !keeps {
                    return answer(&mut stream, &Answer::Closing);
                }
                let ready = self.have(&wanted);
                answer(&mut stream, &ready)
            }
            Ask::Lease(wanted) => {
                {
                    let mut inner = self.inner();
                    if inner.closing {
                        drop(inner);
                        return answer(&mut stream, &Answer::Closing);
                    }
                    inner.leases += 1;
                    inner.idle_since = None;
                }
                let ready = self.have(&wanted);
                let answered = answer(&mut stream, &ready);
                // Ends when the client does, or closes.
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                let mut inner = self.inner();
                inner.leases -= 1;
                if inner.leases == 0 {
                    inner.idle_since = Some(Instant::now());
                }
                answered
            }
        }
    }

    /// Starts what is missing, all at once, and waits until everything answers or something failed.
    fn have(self: &Arc<Self>, wanted: &Wanted) -> Answer {
        let Wanted { runs_as, services, .. } = wanted;
        for service in services {
            self.start(*service, wanted);
        }
        let mut inner = self.inner();
        loop {
            let mut endpoints = Endpoints::default();
            let (mut waits, mut failed) = (false, Vec::new());
            for service in services {
                let slot = inner.slots.get(&(*service, *runs_as));
                if let Some(version) = slot.and_then(|slot| slot.version)
                    && Some(version) != wanted.version(*service)
                {
                    let name = service.name();
                    return Answer::Failed(format!(
                        "{service} {version} runs, and another version is asked for: end it by `lyceum-services down {name}`"
                    ));
                }
                match slot.map(|slot| &slot.state) {
                    None => return Answer::Failed(format!("{service} was taken down meanwhile")),
                    Some(State::Failed(why)) => failed.push(why.clone()),
                    Some(State::Starting) => waits = true,
                    Some(State::Ready { endpoints: these, .. }) => endpoints = endpoints.and(Endpoints::clone(these)),
                }
            }
            if !waits {
                return if failed.is_empty() {
                    Answer::Ready(Box::new(endpoints))
                } else {
                    Answer::Failed(failed.join("\n"))
                };
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn start(self: &Arc<Self>, service: Service, wanted: &Wanted) {
        let runs_as = wanted.runs_as;
        let key = (service, runs_as);
        let mut inner = self.inner();
        let exists = inner.slots.get(&key).is_some_and(|slot| !matches!(slot.state, State::Failed(_)));
        if exists || inner.closing {
            return;
        }
        inner.generation += 1;
        let generation = inner.generation;
        let former = inner
            .slots
            .insert(key, Slot { state: State::Starting, version: wanted.version(service), guard: None, generation });
        drop(inner);
        // Ends a guard whose service had failed; its folder is the same.
        drop(former);
        say(&format!("starting {service}"));
        let folder = match runs_as {
            RunsAs::Process => self.folder.shared(service),
            RunsAs::Container => self.folder.path().join("containers").join(service.name()),
        };
        let cache = wanted.cache.clone();
        let assignment = Assignment { service, runs_as, folder, cache, advertised: None, leaves_nothing: false };
        let keeper = self.clone();
        let began = Instant::now();
        let started = Guarded::start(&assignment, &wanted.environment, move |said| {
            let state = match said {
                Said::Ready { endpoints, process } => {
                    say(&format!("{service} is ready after {:.1} s", began.elapsed().as_secs_f32()));
                    State::Ready { endpoints, process }
                }
                Said::Failed { why } | Said::Ended { why } => State::Failed(why),
                Said::Done => return,
            };
            keeper.set(key, generation, state);
        });
        match started {
            Err(error) => self.set(key, generation, State::Failed(format!("{error:#}"))),
            Ok(guard) => {
                let mut inner = self.inner();
                match inner.slots.get_mut(&key).filter(|slot| slot.generation == generation) {
                    Some(slot) => slot.guard = Some(guard),
                    None => {
                        drop(inner);
                        drop(guard);
                    }
                }
            }
        }
    }

    fn set(&self, key: Key, generation: u64, state: State) {
        let mut inner = self.inner();
        if let Some(slot) = inner.slots.get_mut(&key).filter(|slot| slot.generation == generation) {
            // The first reason is the real one; that the guard ended follows from it.
            if !matches!(slot.state, State::Failed(_)) {
                if let State::Failed(why) = &state {
                    say(&format!("{}: {why}", key.0));
                }
                slot.state = state;
            }
        }
        self.write_environment(&inner);
        drop(inner);
        self.changed.notify_all();
    }

    /// For people: `. .lyceum-services/environment`.
    fn write_environment(&self, inner: &Inner) {
        let ready = inner.slots.values().filter_map(|slot| match &slot.state {
            State::Ready { endpoints, .. } => Some(Endpoints::clone(endpoints)),
            _ => None,
        });
        let endpoints = ready.fold(Endpoints::default(), Endpoints::and);
        let line = |(name, value): (&str, String)| format!("export {name}='{value}'\n");
        let text: String = endpoints.to_environment().into_iter().map(line).collect();
        if let Err(error) = write_whole(&self.folder.environment_file(), text.as_bytes()) {
            say(&format!("{error:#}"));
        }
    }

    fn down(&self, services: &[Service]) -> Answer {
        let mut inner = self.inner();
        let all = services.is_empty();
        let keys: Vec<Key> =
            inner.slots.keys().filter(|(service, _)| all || services.contains(service)).copied().collect();
        let guards: Vec<Guarded> = keys.iter().filter_map(|key| inner.slots.remove(key)?.guard).collect();
        self.write_environment(&inner);
        drop(inner);
        self.changed.notify_all();
        end_all(guards);
        let mut inner = self.inner();
        if all {
            inner.closing = true;
        }
        if inner.slots.is_empty() {
            inner.pinned = false;
            inner.idle_since.get_or_insert_with(Instant::now);
        }
        drop(inner);
        self.changed.notify_all();
        Answer::Done
    }

    fn status(&self) -> Answer {
        let inner = self.inner();
        let mut services: Vec<ServiceStatus> = inner
            .slots
            .iter()
            .map(|((service, runs_as), slot)| {
                let (state, process, endpoints) = match &slot.state {
                    State::Starting => ("starting".to_owned(), None, Endpoints::default()),
                    State::Ready { endpoints, process } => ("ready".to_owned(), *process, Endpoints::clone(endpoints)),
                    State::Failed(why) => (why.clone(), None, Endpoints::default()),
                };
                ServiceStatus { service: *service, runs_as: *runs_as, state, process, endpoints }
            })
            .collect();
        services.sort_by_key(|status| status.service);
        Answer::Status { services, leases: inner.leases, pinned: inner.pinned, process: std::process::id() }
    }
}

fn answer(stream: &mut TcpStream, answer: &Answer) -> Result<()> {
    let line = serde_json::to_string(answer)?;
    writeln!(stream, "{line}").context("the client is gone")
}

/// Ends guards side by side, since each takes a moment.
fn end_all(guards: Vec<Guarded>) {
    std::thread::scope(|scope| {
        for guard in guards {
            scope.spawn(move || drop(guard));
        }
    });
}
