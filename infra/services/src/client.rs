//! How a process gets what it needs: it says so by a lock, and starts a keeper where there is none.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::folder::{Folder, open_lock};
use crate::post::{Post, RunsAs, State};
use crate::unavailable::Unavailable;
use crate::{Endpoints, Service, program};

/// Services that run at least as long as this value lives; the kernel gives them back when the process dies.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) endpoints: Endpoints,
    _needed: Vec<File>,
}

/// Starts what is missing of these services, side by side, waits until all answer, and keeps them running; `pins`: even
/// without this value, until [`down`].
pub(crate) fn lease(folder: &Folder, runs_as: RunsAs, services: &[Service], pins: bool) -> Result<Lease, Unavailable> {
    folder.prepare()?;
    let posts: Vec<Post> = services.iter().map(|service| Post::shared(folder, *service, runs_as)).collect();
    let needed = posts.iter().map(|post| {
        if pins {
            post.make("pinned")?;
        }
        Ok(need(folder, post)?.0)
    });
    let needed = needed.collect::<Result<Vec<File>>>()?;
    let (mut endpoints, mut failed) = (Endpoints::default(), Vec::new());
    for post in &posts {
        match wait(post) {
            Ok((these, _)) => endpoints = endpoints.and(these),
            Err(why) => {
                if pins {
                    post.remove(&["pinned"]);
                }
                failed.push(why);
            }
        }
    }
    Unavailable::all(failed).map_or(Ok(Lease { endpoints, _needed: needed }), Err)
}

/// Locks what says that the service is needed, and starts a keeper unless one lives.
fn need(folder: &Folder, post: &Post) -> Result<(File, Option<Child>)> {
    let needed = post.lock("needed")?;
    needed.lock_shared().context("waiting for a keeper that ends")?;
    let lock = open_lock(&folder.path().join("start.lock"))?;
    lock.lock().context("waiting for another process that starts a keeper")?;
    while post.is_kept() {
        // One whose service has ended is about to leave.
        if !matches!(post.state(), Some((_, State::Ended(_)))) {
            return Ok((needed, None));
        }
        pause();
    }
    post.remove(&["state", "end"]);
    let path = folder.path().join("keeper.log");
    let log = OpenOptions::new().create(true).append(true).open(&path).context("cannot write keeper.log")?;
    let mut command = program::again()?;
    // A group of its own: an interrupt on the terminal is for this process, whose lock is then free.
    command.arg("keep").arg(serde_json::to_string(post)?).process_group(0);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut keeper = command.spawn().context("cannot start a keeper")?;
    while post.state().is_none() {
        if let Some(status) = keeper.try_wait()? {
            bail!("the keeper of {} ended with {status}; what it said is in {}", post.service, path.display());
        }
        pause();
    }
    Ok((needed, Some(keeper)))
}

fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Until the service answers: where, and its process.
fn wait(post: &Post) -> Result<(Endpoints, Option<u32>), Unavailable> {
    let service = post.service;
    loop {
        let is_kept = post.is_kept();
        match post.state().map(|(_, state)| state) {
            Some(State::Ready { version: Some(runs), .. }) if Some(&runs) != post.version().as_ref() => {
                let name = service.name();
                return Err(Unavailable::Broken(format!(
                    "{service} {runs} runs, and another version is asked for: end it by `lyceum-services down {name}`"
                )));
            }
            Some(State::Ready { endpoints, process, .. }) if is_kept => return Ok((*endpoints, process)),
            Some(State::Ended(why) | State::AtRest(Some(why))) => return Err(why),
            _ if !is_kept => return Err(Unavailable::Broken(format!("{service} was taken down meanwhile"))),
            _ => pause(),
        }
    }
}

/// What runs of these services, or has ended by itself, and its keeper.
pub(crate) fn status(folder: &Folder, services: &[Service]) -> Vec<(Post, u32, State)> {
    let kinds = [RunsAs::Process, RunsAs::Container];
    let posts = services.iter().flat_map(|service| kinds.map(|runs_as| Post::shared(folder, *service, runs_as)));
    let known = posts.filter_map(|post| {
        let (keeper, state) = post.state()?;
        (matches!(state, State::Ended(_)) || post.is_kept()).then_some((post, keeper, state))
    });
    known.collect()
}

/// Ends these services; false where none runs.
pub(crate) fn down(folder: &Folder, services: &[Service]) -> Result<bool> {
    let known = status(folder, services);
    for (post, _, _) in &known {
        post.remove(&["pinned"]);
        post.make("end")?;
    }
    let began = Instant::now();
    for (post, keeper, _) in &known {
        while post.is_kept() {
            if began.elapsed() > Duration::from_secs(60) {
                bail!("the keeper of {} ({keeper}) does not end; what it did is in keeper.log", post.service);
            }
            pause();
        }
        post.remove(&["state", "end"]);
    }
    Ok(!known.is_empty())
}

/// An instance of a service of one's own, with its data on disk. It is a process of this machine whatever the other
/// tests run on, since it is there to be killed, and needs the same Java and Maven. Dropping it, or the end of the test's
/// process, however it comes, ends it and removes what it wrote.
#[derive(Debug)]
pub struct PrivateService {
    post: Post,
    endpoints: Endpoints,
    process: Option<u32>,
    needed: Option<File>,
    keeper: Option<Child>,
}

/// Starts an instance, and waits until it answers.
pub fn private(service: Service) -> Result<PrivateService> {
    let folder = Folder::standard()?;
    folder.prepare()?;
    let post = Post::private(&folder, service);
    let (needed, keeper) = need(&folder, &post)?;
    let (endpoints, process) = (Endpoints::default(), None);
    let mut private = PrivateService { post, endpoints, process, needed: Some(needed), keeper };
    (private.endpoints, private.process) = wait(&private.post)?;
    Ok(private)
}

impl PrivateService {
    /// Where it answers; the same after every start.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The URL, or Kafka's `host:port` of PLAINTEXT.
    pub fn endpoint(&self) -> &str {
        self.endpoints.url(self.post.service)
    }

    /// The process that a signal may be sent to.
    pub fn process(&self) -> Option<u32> {
        self.process
    }

    /// Kills it as `kill -9` does, with all that it started; fine when it has ended.
    pub fn kill(&mut self) -> Result<()> {
        // It may have ended a moment ago, which its keeper is about to see.
        let _ = self.signal(Signal::KILL);
        self.until("end", || !self.runs())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.until("end", || !self.runs())
    }

    /// Starts it again on its data and its ports, after [`kill`](Self::kill) or [`stop`](Self::stop), and waits until it
    /// answers.
    pub fn start(&mut self) -> Result<()> {
        if self.runs() {
            bail!("{} runs already", self.post.service);
        }
        self.post.make("again")?;
        self.until("be started", || !self.post.has("again"))?;
        (self.endpoints, self.process) = wait(&self.post)?;
        Ok(())
    }

    /// Halts it: connections stay open, and nothing answers. Comes back when all its threads have halted.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let file = format!("/proc/{}/stat", self.process.unwrap_or_default());
        // The state follows the name, which is in parentheses: proc_pid_stat(5).
        let halted = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
        self.until("halt", || !std::fs::read_to_string(&file).is_ok_and(|stat| !halted(stat)))
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn runs(&self) -> bool {
        matches!(self.post.state(), Some((_, State::Ready { .. })))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let service = self.post.service;
        let group = self.process.filter(|_| self.runs()).with_context(|| format!("{service} does not run"))?;
        let group = Pid::from_raw(group.cast_signed()).context("a process has a number")?;
        rustix::process::kill_process_group(group, signal).with_context(|| format!("cannot signal {service}"))
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > Duration::from_secs(60) || !self.post.is_kept() {
                bail!("a private {} did not {what}", self.post.service);
            }
            pause();
        }
        Ok(())
    }
}

impl Drop for PrivateService {
    /// Waits until all is removed.
    fn drop(&mut self) {
        drop(self.needed.take());
        let Some(keeper) = &mut self.keeper else { return };
        let waited = Instant::now();
        while matches!(keeper.try_wait(), Ok(None)) && waited.elapsed() < Duration::from_secs(30) {
            pause();
        }
        let _ = keeper.kill();
        let _ = keeper.wait();
    }
}
