//! A keeper: the process that owns one service. It starts it, says how it is, and ends it when nobody needs it any more.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::container::Container;
use crate::folder::{remove, sweep, try_lock};
use crate::post::{Post, RunsAs, State};
use crate::process::{Process, adopt_orphans, kill_children};
use crate::ready::Prober;
use crate::{Endpoints, prepare};

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often it chooses other ports when somebody took one before the service did.
const TRIES: usize = 3;

enum Instance {
    Process(Process),
    Container(Box<Container>),
}

impl Instance {
    /// Why it ended, if it has.
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
}

struct Keeper {
    post: Post,
    needed: File,
    /// How long nobody has to need it: `cargo test` runs one binary after the other.
    linger: Duration,
    idle_since: Instant,
    tick: Duration,
}

/// The keeper's own main; returns when it has nothing to keep any more.
pub(crate) fn run(post: &str) -> Result<()> {
    let post: Post = serde_json::from_str(post).context("what is to be kept cannot be read")?;
    let lock = post.lock("keeper")?;
    let began = Instant::now();
    // Those who look whether a keeper lives hold it for a moment.
    while !try_lock(&lock)? {
        if began.elapsed() > Duration::from_secs(10) {
            bail!("another process keeps {}", post.folder.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    post.say(&State::Starting)?;
    adopt_orphans()?;
    let linger = std::env::var("LYCEUM_SERVICES_LINGER_S").ok().and_then(|value| value.parse().ok()).unwrap_or(30);
    let linger = if post.private { Duration::ZERO } else { Duration::from_secs(linger) };
    // The engine is asked for a container, and not so often.
    let tick = Duration::from_millis(if post.runs_as == RunsAs::Process { 50 } else { 500 });
    let mut keeper = Keeper { needed: post.lock("needed")?, linger, idle_since: Instant::now(), tick, post };
    let kept = keeper.keep();
    if keeper.post.runs_as == RunsAs::Process {
        // A download that nobody waits for.
        kill_children();
    }
    let Keeper { post, needed: _needed, .. } = keeper;
    clean(&post)?;
    match kept {
        Ok(()) => post.remove(&["state"]),
        Err(error) => {
            note(&post, &format!("{error:#}"));
            post.say(&State::Ended(error.into()))?;
        }
    }
    post.remove(&["end"]);
    if post.private {
        post.remove(&["state", "needed", "keeper"]);
    }
    note(&post, "ended");
    Ok(())
}

/// To `keeper.log`, which is this process's output.
fn note(post: &Post, what: &str) {
    eprintln!("{} (keeper {}): {what}", post.service, std::process::id());
}

/// Removes what the service wrote; of a shared one the log stays.
fn clean(post: &Post) -> Result<()> {
    if post.private {
        return remove(&post.folder);
    }
    for entry in fs::read_dir(&post.folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if entry.is_dir() {
            remove(&entry)?;
        } else if entry.extension().is_none_or(|extension| extension != "log") {
            fs::remove_file(&entry)?;
        }
    }
    Ok(())
}

impl Keeper {
    /// Until nobody needs the service any more. An error: it did not start, or ended by itself.
    fn keep(&mut self) -> Result<()> {
        let folder = self.post.folder.clone();
        if let Some(all) = folder.ancestors().nth(2).filter(|_| !self.post.private) {
            sweep(&all.join("private"))?;
        }
        for left in (0..TRIES).rev() {
            remove(&folder)?;
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let began = Instant::now();
            let Some((mut instance, endpoints)) = self.start(&folder)? else { return Ok(()) };
            match self.wait_until_ready(&mut instance, &endpoints) {
                Ok(true) => {
                    note(&self.post, &format!("ready after {:.1} s", began.elapsed().as_secs_f32()));
                    return self.watch(instance, &endpoints);
                }
                Ok(false) => return Ok(()),
                Err(error) if left == 0 || !says_port_is_taken(&format!("{error:#}")) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// None: nobody needs it any more.
    fn start(&mut self, folder: &Path) -> Result<Option<(Instance, Endpoints)>> {
        let Post { service, runs_as, cache, .. } = self.post.clone();
        if runs_as == RunsAs::Container {
            let container = Container::start(service, &cache, folder)?;
            let endpoints = container.endpoints.clone();
            return Ok(Some((Instance::Container(Box::new(container)), endpoints)));
        }
        let of_service = folder.to_owned();
        let preparing = std::thread::spawn(move || prepare::prepare(service, &cache, &of_service));
        while !preparing.is_finished() {
            if self.is_over()? {
                return Ok(None);
            }
            std::thread::sleep(self.tick);
        }
        let (launch, endpoints, ports) = preparing.join().expect("preparing does not panic")?;
        let process = Process::start(service, folder, launch, ports)?;
        Ok(Some((Instance::Process(process), endpoints)))
    }

    /// False: nobody needs it any more.
    fn wait_until_ready(&mut self, instance: &mut Instance, endpoints: &Endpoints) -> Result<bool> {
        let (began, prober) = (Instant::now(), Prober::new()?);
        loop {
            // The process first: a stranger on the same port must not be taken for it.
            if let Some(why) = instance.has_ended() {
                bail!("{why}");
            }
            if prober.answers(self.post.service, endpoints) && instance.has_ended().is_none() {
                let process = match instance {
                    Instance::Process(process) => Some(process.id()),
                    Instance::Container(_) => None,
                };
                let (endpoints, version) = (Box::new(endpoints.clone()), self.post.version());
                self.post.say(&State::Ready { endpoints, process, version })?;
                return Ok(true);
            }
            if began.elapsed() > PATIENCE {
                let (service, words) = (self.post.service, instance.last_words());
                bail!("{service} did not answer within {} s: {words}", PATIENCE.as_secs());
            }
            if self.is_over()? {
                return Ok(false);
            }
            std::thread::sleep(self.tick);
        }
    }

    fn watch(&mut self, mut instance: Instance, endpoints: &Endpoints) -> Result<()> {
        while !self.is_over()? {
            std::thread::sleep(self.tick);
            let Some(why) = instance.has_ended() else { continue };
            let Instance::Process(process) = &mut instance else { bail!("{why}") };
            process.kill();
            if !self.post.private {
                bail!("{why}");
            }
            self.post.say(&State::AtRest(None))?;
            while !self.post.has("again") {
                if self.is_over()? {
                    return Ok(());
                }
                std::thread::sleep(self.tick);
            }
            self.post.say(&State::Starting)?;
            self.post.remove(&["again"]);
            let started = process.start_again();
            if let Err(error) = started.and_then(|()| self.wait_until_ready(&mut instance, endpoints)) {
                self.post.say(&State::AtRest(Some(error.into())))?;
            }
        }
        Ok(())
    }

    /// Whether it is to end: it was asked to, its files are gone, or nobody has needed it for a while.
    fn is_over(&mut self) -> Result<bool> {
        if self.post.has("end") || !self.post.has("keeper") {
            return Ok(true);
        }
        if self.post.has("pinned") || !try_lock(&self.needed)? {
            self.idle_since = Instant::now();
            return Ok(false);
        }
        if self.idle_since.elapsed() >= self.linger {
            // The lock stays until this process has ended: whoever comes now waits, and starts another one.
            return Ok(true);
        }
        self.needed.unlock()?;
        Ok(false)
    }
}

fn says_port_is_taken(why: &str) -> bool {
    ["in use", "Address already", "BindException", "Failed to bind", "address already"]
        .iter()
        .any(|word| why.contains(word))
}
