//! How a process reaches the keepers, and starts them where there are none.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::folder::{Folder, open_lock};
use crate::keeper::{Answer, Assignment, Order, Request, RunsAs};
use crate::unavailable::Unavailable;
use crate::{Endpoints, Service, program};

/// How long a keeper may take for what it does at once.
const AT_ONCE: Duration = Duration::from_secs(60);

/// Services that run at least as long as this value lives; the kernel gives them back when the process dies.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) endpoints: Endpoints,
    _connections: Vec<Connection>,
}

/// Starts what is missing of these services, side by side, waits until all answer, and keeps them running; `pins`: even
/// without this value, until [`down`].
pub(crate) fn lease(folder: &Folder, runs_as: RunsAs, services: &[Service], pins: bool) -> Result<Lease, Unavailable> {
    folder.prepare()?;
    let assignments: Vec<Assignment> = services.iter().map(|service| assignment(folder, *service, runs_as)).collect();
    let reached = assignments.iter().map(|assignment| need(folder, assignment, pins));
    let reached: Vec<Connection> = reached.collect::<Result<_>>()?;
    let (mut endpoints, mut failed, mut connections) = (Endpoints::default(), Vec::new(), Vec::new());
    for (assignment, connection) in assignments.iter().zip(reached) {
        match ready(folder, assignment, pins, connection) {
            Ok((these, connection)) => {
                endpoints = endpoints.and(these);
                connections.push(connection);
            }
            Err(why) => failed.push(why),
        }
    }
    match Unavailable::all(failed) {
        None => Ok(Lease { endpoints, _connections: connections }),
        Some(why) => Err(why),
    }
}

fn need(folder: &Folder, assignment: &Assignment, pins: bool) -> Result<Connection> {
    let mut connection = reach(folder, assignment)?;
    // One that ends at this moment is heard, or rather not.
    let _ = connection.say(&Request::Need { version: assignment.version(), pins });
    Ok(connection)
}

/// Waits until the service answers. A keeper that was about to end is followed by another one.
fn ready(
    folder: &Folder,
    assignment: &Assignment,
    pins: bool,
    mut connection: Connection,
) -> Result<(Endpoints, Connection), Unavailable> {
    let mut assignment = assignment.clone();
    for _ in 0..100 {
        match connection.hear() {
            Some(Answer::Ready { endpoints, .. }) => return Ok((endpoints, connection)),
            Some(Answer::Failed(why)) => return Err(why),
            Some(Answer::Over { pinned }) => {
                assignment.pinned = pinned;
                while connection.hear().is_some() {}
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(20));
        connection = need(folder, &assignment, pins)?;
    }
    let log = log(folder);
    Err(Unavailable::Broken(format!(
        "no keeper of {} stays; what they said is in {}",
        assignment.service,
        log.display()
    )))
}

/// What a keeper says of its service.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) service: Service,
    pub(crate) runs_as: RunsAs,
    pub(crate) answer: Answer,
}

/// What runs of these services.
pub(crate) fn status(folder: &Folder, services: &[Service]) -> Vec<Status> {
    let found = running(folder, services).filter_map(|(assignment, mut connection)| {
        connection.say(&Request::Status).ok()?;
        let Assignment { service, runs_as, .. } = assignment;
        Some(Status { service, runs_as, answer: connection.hear()? })
    });
    found.collect()
}

/// Ends these services; false where none runs.
pub(crate) fn down(folder: &Folder, services: &[Service]) -> Result<bool> {
    let mut asked: Vec<_> = running(folder, services).collect();
    for (_, connection) in &mut asked {
        let _ = connection.say(&Request::Down);
    }
    let any = !asked.is_empty();
    for (assignment, mut connection) in asked {
        let began = Instant::now();
        // The kernel closes it when the keeper has ended.
        while connection.hear().is_some() {}
        if began.elapsed() >= AT_ONCE {
            bail!("the keeper of {} did not end; what it does is in {}", assignment.service, log(folder).display());
        }
    }
    Ok(any)
}

/// The keepers of these services that can be reached.
fn running<'a>(folder: &'a Folder, services: &'a [Service]) -> impl Iterator<Item = (Assignment, Connection)> + 'a {
    let kinds = services.iter().flat_map(|service| [(*service, RunsAs::Process), (*service, RunsAs::Container)]);
    kinds.filter_map(|(service, runs_as)| {
        let assignment = assignment(folder, service, runs_as);
        let stream = at_socket(&assignment, |path| UnixStream::connect(path)).ok()?;
        stream.set_read_timeout(Some(AT_ONCE)).ok()?;
        Some((assignment, Connection::new(stream).ok()?))
    })
}

fn assignment(folder: &Folder, service: Service, runs_as: RunsAs) -> Assignment {
    let kind = if runs_as == RunsAs::Container { "-container" } else { "" };
    let (name, cache) = (format!("{}{kind}", service.name()), folder.cache());
    Assignment { service, runs_as, folder: folder.shared().join(name), cache, private: false, pinned: false }
}

fn log(folder: &Folder) -> PathBuf {
    folder.path().join("keeper.log")
}

/// A connection to the keeper that runs, or to one that is started for it.
fn reach(folder: &Folder, assignment: &Assignment) -> Result<Connection> {
    let lock = open_lock(&folder.path().join("start.lock"))?;
    lock.lock().context("waiting for another process that starts a keeper")?;
    let connect = || at_socket(assignment, |path| UnixStream::connect(path));
    if let Ok(stream) = connect() {
        return Connection::new(stream);
    }
    // The socket of one that was killed is still there.
    let _ = fs::remove_file(assignment.socket());
    let listener = at_socket(assignment, |path| UnixListener::bind(path));
    let listener = listener.with_context(|| format!("cannot listen at {}", assignment.socket().display()))?;
    start(folder, assignment, listener.into())?;
    Connection::new(connect().context("the keeper cannot be reached")?)
}

/// Linux names an open folder by its number, so that a socket's path stays below 108 bytes however deep the folder is.
fn at_socket<T>(assignment: &Assignment, call: impl Fn(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let path = assignment.socket();
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if cfg!(target_os = "linux") => {
            let parent = File::open(parent)?;
            call(&PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name))
        }
        _ => call(&path),
    }
}

/// A group of its own: an interrupt on the terminal is for this process, whose connections then close.
fn start(folder: &Folder, assignment: &Assignment, input: OwnedFd) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log(folder)).context("cannot write keeper.log")?;
    let mut command = program::again()?;
    command.arg("keep").arg(serde_json::to_string(assignment)?).process_group(0);
    command.stdin(input).stdout(log.try_clone()?).stderr(Stdio::from(log));
    command.spawn().context("cannot start a keeper")
}

#[derive(Debug)]
struct Connection {
    reader: BufReader<UnixStream>,
}

impl Connection {
    fn new(stream: UnixStream) -> Result<Self> {
        Ok(Self { reader: BufReader::new(stream) })
    }

    fn say(&mut self, request: &Request) -> Result<()> {
        Ok(writeln!(self.reader.get_mut(), "{}", serde_json::to_string(request)?)?)
    }

    /// None: the keeper has ended.
    fn hear(&mut self) -> Option<Answer> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }
}

/// An instance of a service of one's own, with its data on disk. It is a process of this machine whatever the other
/// tests run on, since it is there to be killed, and needs the same Java and Maven. Dropping it, or the end of the test's
/// process, however it comes, ends it and removes what it wrote.
#[derive(Debug)]
pub struct PrivateService {
    service: Service,
    endpoints: Endpoints,
    process: Option<u32>,
    connection: Connection,
    keeper: Child,
}

/// Starts an instance, and waits until it answers.
pub fn private(service: Service) -> Result<PrivateService> {
    let folder = Folder::standard()?;
    folder.prepare()?;
    let name = format!("{}-{:016x}", service.name(), rand::random::<u64>());
    let mut assignment = assignment(&folder, service, RunsAs::Process);
    (assignment.folder, assignment.private) = (folder.private().join(name), true);
    let (ours, keepers) = UnixStream::pair()?;
    let keeper = start(&folder, &assignment, keepers.into())?;
    let connection = Connection::new(ours)?;
    let mut private = PrivateService { service, endpoints: Endpoints::default(), process: None, connection, keeper };
    private.ask(&Request::Need { version: assignment.version(), pins: false })?;
    Ok(private)
}

impl PrivateService {
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
        self.ask(&Request::Order(order)).with_context(|| format!("{order:?} of a private {}", self.service))
    }

    fn ask(&mut self, request: &Request) -> Result<()> {
        self.connection.say(request)?;
        match self.connection.hear().context("its keeper has ended")? {
            Answer::Ready { endpoints, process } => (self.endpoints, self.process) = (endpoints, process),
            Answer::Done => {}
            Answer::Failed(why) => return Err(why.into()),
            other => bail!("its keeper answered {other:?}"),
        }
        Ok(())
    }
}

impl Drop for PrivateService {
    /// Waits until all is removed.
    fn drop(&mut self) {
        let _ = self.connection.reader.get_ref().shutdown(Shutdown::Both);
        let waited = Instant::now();
        while matches!(self.keeper.try_wait(), Ok(None)) && waited.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
