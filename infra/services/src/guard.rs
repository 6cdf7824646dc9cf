//! A guard: the process that owns one service. It starts the service, takes orders as lines on its standard input,
//! answers as lines of JSON, and ends the service when that input ends. The kernel closes it when the owner dies,
//! however it dies, so that no service is left behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::folder::{open_lock, remove, try_lock};
use crate::launch::{self, Launch, Place};
use crate::ready::Asker;
use crate::{Endpoints, Service, container, download, program};

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often a guard looks.
const TICK: Duration = Duration::from_millis(100);
/// How often it chooses other ports when somebody took one before the service did.
const TRIES: usize = 3;

/// What a service runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunsAs {
    /// A process of this machine.
    Process,
    /// A container.
    Container,
}

/// What a guard is to do; its only argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) service: Service,
    pub(crate) runs_as: RunsAs,
    /// Of this service alone; emptied at the start, and removed at the end but for the log.
    pub(crate) folder: PathBuf,
    pub(crate) cache: PathBuf,
    /// `host:port` that Kafka tells its clients of PLAINTEXT.
    pub(crate) advertised: Option<String>,
    /// Whether the log, too, is removed at the end.
    pub(crate) leaves_nothing: bool,
}

/// An order.
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

/// What a guard says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Said {
    /// The service answers; `process` is its id, where it is a process.
    Ready { endpoints: Box<Endpoints>, process: Option<u32> },
    /// The order was carried out.
    Done,
    /// It was not.
    Failed { why: String },
    /// The service ended by itself.
    Ended { why: String },
}

/// A guard as its owner holds it. Dropping it ends the service, and waits until that is done.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    orders: Option<ChildStdin>,
}

impl Guarded {
    /// Starts a guard, with these variables over this process's own; what it says goes to `hear`, from a thread, until it
    /// ends.
    pub(crate) fn start(
        assignment: &Assignment,
        environment: &[(String, String)],
        hear: impl Fn(Said) + Send + 'static,
    ) -> Result<Self> {
        let (program, arguments) = program::again();
        let mut command = Command::new(program);
        command.args(arguments).arg("guard").arg(serde_json::to_string(assignment)?);
        // A group of its own: an interrupt on the terminal is for the owner, who then ends the guard in order.
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = command.spawn().context("cannot start a guard")?;
        let said = guard.stdout.take().context("a guard has an output")?;
        let orders = guard.stdin.take();
        let service = assignment.service;
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                hear(serde_json::from_str(&line).unwrap_or(Said::Failed { why: line }));
            }
            hear(Said::Ended { why: format!("the guard of {service} ended") });
        });
        Ok(Self { guard, orders })
    }

    /// Gives an order; the answer is heard.
    pub(crate) fn order(&mut self, order: Order) -> Result<()> {
        let orders = self.orders.as_mut().context("the guard has ended")?;
        writeln!(orders, "{}", serde_json::to_string(&order)?)?;
        orders.flush().context("the guard does not listen any more")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.orders.take());
        let waited = Instant::now();
        while matches!(self.guard.try_wait(), Ok(None)) {
            if waited.elapsed() > Duration::from_secs(30) {
                let _ = self.guard.kill();
                let _ = self.guard.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The guard's own main.
pub(crate) fn run(assignment: &str) -> Result<()> {
    let assignment: Assignment = serde_json::from_str(assignment).context("the assignment cannot be read")?;
    let orders = listen();
    // Whatever a service starts in the background becomes a child of this process when its parent is gone.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let result = match assignment.runs_as {
        RunsAs::Process => guard_process(&assignment, &orders),
        RunsAs::Container => container::guard(&assignment, &orders),
    };
    if let Err(error) = &result {
        say(&Said::Failed { why: format!("{error:#}") });
    }
    Ok(())
}

/// Orders; the channel closes when the owner is gone.
fn listen() -> Receiver<Order> {
    let (sender, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else { break };
            if sender.send(order).is_err() {
                break;
            }
        }
    });
    orders
}

pub(crate) fn say(said: &Said) {
    let line = serde_json::to_string(said).unwrap_or_default();
    // A gone owner is noticed on the other side, too.
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

fn guard_process(assignment: &Assignment, orders: &Receiver<Order>) -> Result<()> {
    let _lock = own(assignment)?;
    let mut running = match start_anywhere(assignment, orders) {
        Ok(Some(running)) => running,
        Ok(None) => return clean(assignment),
        Err(error) => {
            clean(assignment)?;
            return Err(error);
        }
    };
    running.say_ready();
    let mut at_rest = false;
    loop {
        match orders.recv_timeout(TICK) {
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if !at_rest && let Some(why) = running.has_ended() {
                    at_rest = true;
                    say(&Said::Ended { why });
                }
            }
            Ok(Order::Start) => match running.start_again(assignment, orders) {
                Ok(true) => {
                    at_rest = false;
                    running.say_ready();
                }
                Ok(false) => break,
                Err(error) => say(&Said::Failed { why: format!("{error:#}") }),
            },
            Ok(order) => {
                let done = match order {
                    Order::Pause => running.pause(),
                    Order::Resume => running.signal(Signal::CONT),
                    Order::Stop => running.stop(),
                    Order::Kill | Order::Start => running.kill(),
                };
                at_rest |= matches!(order, Order::Kill | Order::Stop);
                say(&done.map_or_else(|error| Said::Failed { why: format!("{error:#}") }, |()| Said::Done));
            }
        }
    }
    running.kill()?;
    clean(assignment)
}

/// The folder, empty and locked; the lock tells others that its owner lives.
pub(crate) fn own(assignment: &Assignment) -> Result<std::fs::File> {
    let folder = &assignment.folder;
    let make = || format!("cannot make {}", folder.display());
    std::fs::create_dir_all(folder).with_context(make)?;
    let lock = open_lock(&lock_file(folder))?;
    // The guard of a keeper that was killed a moment ago may still be cleaning up.
    let waited = Instant::now();
    while !try_lock(&lock)? {
        if waited.elapsed() > Duration::from_secs(20) {
            bail!("another process runs {} in {}", assignment.service, folder.display());
        }
        std::thread::sleep(TICK);
    }
    remove(folder)?;
    std::fs::create_dir_all(folder).with_context(make)?;
    Ok(lock)
}

/// Beside the folder, since the folder is removed.
fn lock_file(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// Removes what guards that were killed left in this folder.
pub(crate) fn sweep(private: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(private) else { return Ok(()) };
    for file in entries.flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|extension| extension == "lock") && try_lock(&open_lock(&file)?)? {
            remove(&file.with_extension(""))?;
            let _ = std::fs::remove_file(file);
        }
    }
    Ok(())
}

/// Removes what the service wrote; of a shared one the log stays.
pub(crate) fn clean(assignment: &Assignment) -> Result<()> {
    let folder = &assignment.folder;
    if assignment.leaves_nothing {
        remove(folder)?;
        let _ = std::fs::remove_file(lock_file(folder));
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if entry.is_dir() {
            remove(&entry)?;
        } else if entry.extension().is_none_or(|extension| extension != "log") {
            std::fs::remove_file(&entry)?;
        }
    }
    Ok(())
}

/// A service that was started, wherever it is now.
struct Running {
    child: Child,
    launch: Launch,
    ports: Vec<u16>,
    asker: Asker,
    folder: PathBuf,
    service: Service,
}

/// Starts on free ports, and on others when one was taken meanwhile. None: the owner went away.
fn start_anywhere(assignment: &Assignment, orders: &Receiver<Order>) -> Result<Option<Running>> {
    let mut last = anyhow!("it was never tried");
    for _ in 0..TRIES {
        let ports = launch::free_ports(launch::ports(assignment.service))?;
        let launch = prepare(assignment, &ports)?;
        let child = spawn(&launch, &assignment.folder)?;
        let (folder, service) = (assignment.folder.clone(), assignment.service);
        let mut running = Running { child, launch, ports, asker: Asker::new()?, folder, service };
        match running.wait_until_ready(orders) {
            Ok(true) => return Ok(Some(running)),
            Ok(false) => {
                running.kill()?;
                return Ok(None);
            }
            Err(error) => {
                running.kill()?;
                let words = ["in use", "Address already", "BindException", "Failed to bind", "address already"];
                if !words.iter().any(|word| format!("{error:#}").contains(word)) {
                    return Err(error);
                }
                last = error;
            }
        }
    }
    Err(last)
}

fn prepare(assignment: &Assignment, ports: &[u16]) -> Result<Launch> {
    let (cache, folder) = (&assignment.cache, &assignment.folder);
    launch::prepare(assignment.service, &Place { cache, folder, ports, advertised: assignment.advertised.as_deref() })
}

fn spawn(launch: &Launch, folder: &Path) -> Result<Child> {
    // A group of its own: a launcher and its server get a signal together.
    let mut command = launch.command(folder)?;
    command.process_group(0).spawn().with_context(|| format!("cannot run {}", launch.program.display()))
}

impl Running {
    fn say_ready(&self) {
        say(&Said::Ready { endpoints: Box::new(self.launch.endpoints.clone()), process: Some(self.child.id()) });
    }

    /// False: the owner went away.
    fn wait_until_ready(&mut self, orders: &Receiver<Order>) -> Result<bool> {
        let began = Instant::now();
        loop {
            // The process first: a stranger on the same port must not be taken for it.
            if let Some(why) = self.has_ended() {
                bail!("{why}");
            }
            if self.asker.answers(&self.launch.ready) && self.has_ended().is_none() {
                return Ok(true);
            }
            if began.elapsed() > PATIENCE {
                bail!("{} did not answer within {} s: {}", self.service, PATIENCE.as_secs(), self.last_words());
            }
            match orders.recv_timeout(TICK) {
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(order) => say(&Said::Failed { why: format!("{order:?}: {} is starting", self.service) }),
            }
        }
    }

    fn start_again(&mut self, assignment: &Assignment, orders: &Receiver<Order>) -> Result<bool> {
        if self.has_ended().is_none() {
            bail!("{} runs already", self.service);
        }
        if let Some(port) = self.ports.iter().find(|port| !launch::is_free(**port)) {
            bail!("port {port} of {} was taken by another process meanwhile", self.service);
        }
        self.launch = prepare(assignment, &self.ports)?;
        self.child = spawn(&self.launch, &self.folder)?;
        let answers = self.wait_until_ready(orders);
        if answers.is_err() {
            self.kill()?;
        }
        answers
    }

    /// Why it ended, if it has.
    fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended with {status}: {}", self.service, self.last_words()))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read(self.folder.join("service.log")).unwrap_or_default();
        download::last_lines(&String::from_utf8_lossy(&log), 12)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.has_ended().is_some() {
            bail!("{} does not run", self.service);
        }
        let group = Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, signal).with_context(|| format!("cannot signal {}", self.service))
    }

    /// Comes back when it has halted: a process with many threads takes a moment.
    fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let file = format!("/proc/{}/stat", self.child.id());
        let began = Instant::now();
        // The state follows the name, which is in parentheses: proc_pid_stat(5).
        while let Ok(stat) = std::fs::read_to_string(&file)
            && !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        {
            if began.elapsed() > Duration::from_secs(10) {
                bail!("{} did not halt within 10 s", self.service);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let began = Instant::now();
        while self.has_ended().is_none() {
            if began.elapsed() > Duration::from_secs(60) {
                bail!("{} did not stop within a minute", self.service);
            }
            std::thread::sleep(TICK);
        }
        self.kill()
    }

    /// Kills the service with all that it started; fine when it has ended.
    fn kill(&mut self) -> Result<()> {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait().context("waiting for a killed process")?;
        kill_orphans();
        Ok(())
    }
}

/// Kills what the service had put into the background: it belongs to this process now.
fn kill_orphans() {
    #[cfg(target_os = "linux")]
    loop {
        let own = rustix::process::getpid().as_raw_nonzero();
        let Ok(children) = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")) else { return };
        let pids: Vec<Pid> = children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
    }
}
