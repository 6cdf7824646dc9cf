//! A keeper: the process that owns one service. Whoever needs the service holds a connection to it, which the kernel closes
//! with the process that holds it, however that dies. Without connections, and unless `up` pinned it, it ends the
//! service and itself.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::folder::{open_lock, remove, sweep, try_lock};
use crate::launch::Launch;
use crate::process::{Process, adopt_orphans, kill_children};
use crate::ready::{Prober, Ready};
use crate::unavailable::Unavailable;
use crate::{Endpoints, Service, prepare, search};

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often a keeper looks; at a container, which the engine is asked for, less often.
const TICK: Duration = Duration::from_millis(100);
const TICK_OF_CONTAINER: Duration = Duration::from_millis(500);
/// How often it chooses other ports when somebody took one before the service did.
const TRIES: usize = 3;

/// What a service runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunsAs {
    /// A process of this machine.
    Process,
    /// A container.
    Container,
}

/// What a keeper is to do; its only argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) service: Service,
    pub(crate) runs_as: RunsAs,
    /// Of this service alone; emptied at the start and, but for a shared one's logs, at the end.
    pub(crate) folder: PathBuf,
    pub(crate) cache: PathBuf,
    /// One test's own: standard input is the one connection, which may order. Of a shared one it is the socket to listen at.
    pub(crate) private: bool,
    /// Whether it stays until it is told to end.
    pub(crate) pinned: bool,
}

impl Assignment {
    /// Where a shared one is reached, below its folder's parent.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.with_extension("socket")
    }

    /// The version of a search engine that this process's environment asks for.
    pub(crate) fn version(&self) -> Option<String> {
        let is_engine = matches!(self.service, Service::Elasticsearch | Service::OpenSearch);
        is_engine.then(|| search::version(self.service).ok().map(str::to_owned)).flatten()
    }
}

/// What a client says, one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// It needs the service as long as the connection is open, or until `Down` where it pins it.
    Need {
        version: Option<String>,
        pins: bool,
    },
    Status,
    Down,
    /// Of a private one.
    Order(Order),
}

/// What a test may do to a service of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Start again what was killed or stopped: same data, same ports.
    Start,
    /// SIGKILL.
    Kill,
    /// SIGTERM, and wait.
    Stop,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
}

/// What a keeper says, one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// The service answers; `process` is its id, where it is a process.
    Ready {
        endpoints: Endpoints,
        process: Option<u32>,
    },
    /// The order was carried out.
    Done,
    Failed(Unavailable),
    /// The service had ended before, and this keeper ends, too: start another one.
    Over {
        pinned: bool,
    },
    Status {
        state: String,
        process: Option<u32>,
        endpoints: Endpoints,
        keeper: u32,
        leases: usize,
        pinned: bool,
    },
}

enum Event {
    Came(u64, UnixStream),
    Asked(u64, Request),
    Gone(u64),
    Prepared(Result<Prepared>),
}

enum Prepared {
    Process(Launch, Vec<u16>),
    Container(Box<Container>),
}

enum Instance {
    Process(Box<Process>),
    Container(Box<Container>),
}

impl Instance {
    fn has_ended(&mut self) -> Option<String> {
        match self {
            Self::Process(process) => process.has_ended(),
            Self::Container(container) => container.has_ended(),
        }
    }

    fn last_words(&self) -> String {
        match self {
            Self::Process(process) => process.last_words(),
            Self::Container(container) => container.last_words(),
        }
    }

    fn ready(&self) -> (&Ready, &Endpoints) {
        match self {
            Self::Process(process) => (&process.launch.ready, &process.launch.endpoints),
            Self::Container(container) => (&container.ready, &container.endpoints),
        }
    }

    fn id(&self) -> Option<u32> {
        match self {
            Self::Process(process) => Some(process.id()),
            Self::Container(_) => None,
        }
    }

    fn end(&mut self) -> Result<()> {
        match self {
            Self::Process(process) => process.kill(),
            Self::Container(container) => container.end(),
        }
    }
}

enum State {
    Preparing,
    Starting {
        since: Instant,
    },
    Ready,
    /// Ended by an order, or by itself where it is one test's own: it may be started again.
    AtRest,
    /// `told`: who needed it knows.
    Ended {
        why: Unavailable,
        told: bool,
    },
}

struct Client {
    stream: UnixStream,
    needs: bool,
    waits: bool,
}

struct Keeper {
    assignment: Assignment,
    version: Option<String>,
    clients: HashMap<u64, Client>,
    pinned: bool,
    idle_since: Instant,
    instance: Option<Instance>,
    state: State,
    tries: usize,
    began: Instant,
    prober: Prober,
    events: Sender<Event>,
}

/// The keeper's own main; returns when it has nothing to keep any more.
pub(crate) fn run(assignment: &str) -> Result<()> {
    let assignment: Assignment = serde_json::from_str(assignment).context("the assignment cannot be read")?;
    let (sender, events) = mpsc::channel();
    hear(assignment.private, sender.clone())?;
    adopt_orphans()?;
    let linger = if assignment.private { Duration::ZERO } else { linger() };
    let lock = own(&assignment);
    let now = Instant::now();
    let mut keeper = Keeper {
        version: assignment.version(),
        clients: HashMap::new(),
        pinned: assignment.pinned,
        // Who started it is about to come.
        idle_since: now + Duration::from_secs(1),
        instance: None,
        state: State::Preparing,
        tries: 0,
        began: now,
        prober: Prober::new()?,
        events: sender,
        assignment,
    };
    match &lock {
        Ok(_) => keeper.prepare(),
        Err(error) => keeper.fail(Unavailable::Broken(format!("{error:#}"))),
    }
    let tick = if keeper.assignment.runs_as == RunsAs::Process { TICK } else { TICK_OF_CONTAINER };
    loop {
        let goes_on = match events.recv_timeout(tick) {
            Ok(event) => keeper.take(event),
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        keeper.look();
        let is_needed = keeper.pinned || keeper.clients.values().any(|client| client.needs);
        let is_reached = keeper.assignment.private || keeper.assignment.socket().exists();
        if !goes_on || !is_reached || !is_needed && Instant::now() >= keeper.idle_since + linger {
            break;
        }
    }
    if lock.is_ok() {
        keeper.end()?;
    }
    Ok(())
}

/// How long a keeper without a connection waits for the next one: `cargo test` runs one binary after the other.
fn linger() -> Duration {
    let given = std::env::var("LYCEUM_SERVICES_LINGER_S").ok().and_then(|value| value.parse().ok());
    Duration::from_secs(given.unwrap_or(30))
}

/// Hears the clients, each by a thread.
fn hear(private: bool, events: Sender<Event>) -> Result<()> {
    let input = std::io::stdin().as_fd().try_clone_to_owned().context("a keeper is given a socket")?;
    if private {
        return hear_client(0, UnixStream::from(input), events);
    }
    let listener = UnixListener::from(input);
    std::thread::spawn(move || {
        for (id, stream) in listener.incoming().flatten().enumerate() {
            let _ = hear_client(id as u64, stream, events.clone());
        }
    });
    Ok(())
}

fn hear_client(id: u64, stream: UnixStream, events: Sender<Event>) -> Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    events.send(Event::Came(id, stream))?;
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(request) = serde_json::from_str(&line) else { break };
            let _ = events.send(Event::Asked(id, request));
        }
        let _ = events.send(Event::Gone(id));
    });
    Ok(())
}

/// The folder, empty and locked; the lock tells others that its owner lives.
fn own(assignment: &Assignment) -> Result<File> {
    let folder = &assignment.folder;
    if let Some(all) = folder.ancestors().nth(2).filter(|_| !assignment.private) {
        sweep(&all.join("private"))?;
    }
    // Beside the folder, since the folder is removed.
    let lock = open_lock(&folder.with_extension("lock"))?;
    // The keeper before may still be cleaning up.
    let waited = Instant::now();
    while !try_lock(&lock)? {
        if waited.elapsed() > Duration::from_secs(20) {
            bail!("another process runs {} in {}", assignment.service, folder.display());
        }
        std::thread::sleep(TICK);
    }
    empty(folder)?;
    Ok(lock)
}

fn empty(folder: &Path) -> Result<()> {
    remove(folder)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

impl Keeper {
    /// To `keeper.log`, which is this process's output.
    fn note(&self, what: &str) {
        eprintln!("{} (keeper {}): {what}", self.assignment.service, std::process::id());
    }

    fn prepare(&mut self) {
        self.note("is prepared");
        self.tries += 1;
        self.state = State::Preparing;
        let (Assignment { service, runs_as, cache, folder, .. }, events) =
            (self.assignment.clone(), self.events.clone());
        std::thread::spawn(move || {
            let prepared =
                match runs_as {
                    RunsAs::Process => prepare::prepare(service, &cache, &folder)
                        .map(|(launch, ports)| Prepared::Process(launch, ports)),
                    RunsAs::Container => Container::start(service, &cache, &folder)
                        .map(|container| Prepared::Container(Box::new(container))),
                };
            let _ = events.send(Event::Prepared(prepared));
        });
    }

    /// False: the keeper is to end.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Came(id, stream) => {
                let needs = self.assignment.private;
                self.clients.insert(id, Client { stream, needs, waits: false });
            }
            Event::Gone(id) => {
                if self.clients.remove(&id).is_some_and(|client| client.needs) {
                    self.idle_since = Instant::now();
                }
            }
            Event::Prepared(prepared) => match prepared.and_then(|prepared| self.start(prepared)) {
                Ok(()) => self.state = State::Starting { since: Instant::now() },
                Err(error) => self.fail(error.into()),
            },
            Event::Asked(id, Request::Status) => self.answer(id, &self.status()),
            Event::Asked(_, Request::Down) => {
                let service = self.assignment.service;
                self.tell(&Answer::Failed(Unavailable::Broken(format!("{service} was taken down meanwhile"))));
                return false;
            }
            Event::Asked(id, Request::Need { version, pins }) => return self.need(id, version, pins),
            Event::Asked(id, Request::Order(order)) => {
                let done = self.order(id, order);
                match done {
                    Ok(true) => self.answer(id, &Answer::Done),
                    Ok(false) => {}
                    Err(error) => self.answer(id, &Answer::Failed(error.into())),
                }
            }
        }
        true
    }

    fn start(&mut self, prepared: Prepared) -> Result<()> {
        let Assignment { service, folder, .. } = &self.assignment;
        self.instance = Some(match prepared {
            Prepared::Process(launch, ports) => {
                Instance::Process(Box::new(Process::start(*service, folder, launch, ports)?))
            }
            Prepared::Container(container) => Instance::Container(container),
        });
        Ok(())
    }

    fn need(&mut self, id: u64, version: Option<String>, pins: bool) -> bool {
        let service = self.assignment.service;
        if let State::Ended { why, told } = &mut self.state {
            let answer = if *told { Answer::Over { pinned: self.pinned } } else { Answer::Failed(why.clone()) };
            let goes_on = !std::mem::replace(told, true);
            self.answer(id, &answer);
            return goes_on;
        }
        if version != self.version {
            let (name, runs) = (service.name(), self.version.as_deref().unwrap_or_default());
            let why = format!(
                "{service} {runs} runs, and another version is asked for: end it by `lyceum-services down {name}`"
            );
            self.answer(id, &Answer::Failed(Unavailable::Broken(why)));
            return true;
        }
        self.pinned |= pins;
        if let Some(client) = self.clients.get_mut(&id) {
            (client.needs, client.waits) = (true, true);
        }
        if let State::Ready = self.state {
            self.tell_ready();
        }
        true
    }

    /// Whether it is done; a start is when the service answers.
    fn order(&mut self, id: u64, order: Order) -> Result<bool> {
        let service = self.assignment.service;
        let Some(Instance::Process(process)) = self.instance.as_mut().filter(|_| self.assignment.private) else {
            bail!("{service} is starting, or shared");
        };
        if let State::Starting { .. } = self.state {
            bail!("{service} is starting");
        }
        match order {
            Order::Pause => process.pause()?,
            Order::Resume => process.signal(Signal::CONT)?,
            Order::Kill => process.kill()?,
            Order::Stop => process.stop()?,
            Order::Start => process.start_again()?,
        }
        match order {
            Order::Kill | Order::Stop => self.state = State::AtRest,
            Order::Start => {
                self.state = State::Starting { since: Instant::now() };
                self.clients.get_mut(&id).into_iter().for_each(|client| client.waits = true);
            }
            Order::Pause | Order::Resume => {}
        }
        Ok(order != Order::Start)
    }

    /// Whether what starts answers, and what runs still runs.
    fn look(&mut self) {
        let (State::Starting { .. } | State::Ready, Some(instance)) = (&self.state, &mut self.instance) else { return };
        // The process first: a stranger on the same port must not be taken for it.
        let ended = instance.has_ended();
        match (&self.state, ended) {
            (State::Starting { .. }, Some(why)) => {
                let words = ["in use", "Address already", "BindException", "Failed to bind", "address already"];
                let is_taken = words.iter().any(|word| why.contains(word));
                let _ = instance.end();
                if self.assignment.private && self.tries == 0 {
                    self.state = State::AtRest;
                    self.tell(&Answer::Failed(Unavailable::Broken(why)));
                } else if is_taken && self.tries < TRIES {
                    match empty(&self.assignment.folder) {
                        Ok(()) => self.prepare(),
                        Err(error) => self.fail(error.into()),
                    }
                } else {
                    self.fail(Unavailable::Broken(why));
                }
            }
            (State::Starting { since }, None) => {
                if self.prober.answers(instance.ready().0) && instance.has_ended().is_none() {
                    self.note(&format!("is ready after {:.1} s", self.began.elapsed().as_secs_f32()));
                    self.tries = 0;
                    self.state = State::Ready;
                    self.tell_ready();
                } else if since.elapsed() > PATIENCE {
                    let (service, words) = (self.assignment.service, instance.last_words());
                    let _ = instance.end();
                    let why = format!("{service} did not answer within {} s: {words}", PATIENCE.as_secs());
                    self.fail(Unavailable::Broken(why));
                }
            }
            (_, Some(why)) if self.assignment.private => {
                self.note(&why);
                self.state = State::AtRest;
            }
            (_, Some(why)) => {
                self.note(&why);
                self.state = State::Ended { why: Unavailable::Broken(why), told: true };
            }
            (_, None) => {}
        }
    }

    /// It did not start: nobody is kept waiting, and nothing is pinned.
    fn fail(&mut self, why: Unavailable) {
        self.note(&format!("{why}"));
        self.pinned = false;
        let told = self.clients.values().any(|client| client.waits);
        self.tell(&Answer::Failed(why.clone()));
        self.state = State::Ended { why, told };
    }

    fn tell_ready(&mut self) {
        if let Some(instance) = &self.instance {
            self.tell(&Answer::Ready { endpoints: instance.ready().1.clone(), process: instance.id() });
        }
    }

    /// To everybody who waits.
    fn tell(&mut self, answer: &Answer) {
        let waiting: Vec<u64> = self.clients.iter().filter(|(_, client)| client.waits).map(|(id, _)| *id).collect();
        for id in waiting {
            self.clients.get_mut(&id).into_iter().for_each(|client| client.waits = false);
            self.answer(id, answer);
        }
    }

    /// One that went away is noticed where it is heard.
    fn answer(&self, id: u64, answer: &Answer) {
        if let Some(mut stream) = self.clients.get(&id).map(|client| &client.stream) {
            let _ = writeln!(stream, "{}", serde_json::to_string(answer).unwrap_or_default());
        }
    }

    fn status(&self) -> Answer {
        let state = match &self.state {
            State::Preparing | State::Starting { .. } => "starting".to_owned(),
            State::Ready => "ready".to_owned(),
            State::AtRest => "at rest".to_owned(),
            State::Ended { why, .. } => why.to_string(),
        };
        let running = self.instance.as_ref().filter(|_| matches!(self.state, State::Ready));
        Answer::Status {
            state,
            process: running.and_then(Instance::id),
            endpoints: running.map(|instance| instance.ready().1.clone()).unwrap_or_default(),
            keeper: std::process::id(),
            leases: self.clients.values().filter(|client| client.needs).count(),
            pinned: self.pinned,
        }
    }

    /// Ends the service, and removes what it wrote; of a shared one the log stays.
    fn end(mut self) -> Result<()> {
        let Assignment { folder, private, runs_as, .. } = self.assignment.clone();
        if !private {
            // From now on nobody comes any more; who has come already finds the connection closed, and starts another.
            let _ = fs::remove_file(self.assignment.socket());
        }
        if let Some(mut instance) = self.instance.take() {
            instance.end()?;
        }
        if runs_as == RunsAs::Process {
            kill_children();
        }
        self.note("ended");
        if private {
            remove(&folder)?;
            let _ = fs::remove_file(folder.with_extension("lock"));
            return Ok(());
        }
        for entry in fs::read_dir(folder)?.flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                remove(&entry)?;
            } else if entry.extension().is_none_or(|extension| extension != "log") {
                fs::remove_file(&entry)?;
            }
        }
        Ok(())
    }
}
