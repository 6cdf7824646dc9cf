//! A service that is a process of this machine, child of its keeper: a Linux kernel ends it with that, however it ends.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::launch::{Launch, is_free};
use crate::{Service, program};

#[derive(Debug)]
pub(crate) struct Process {
    service: Service,
    folder: PathBuf,
    ports: Vec<u16>,
    launch: Launch,
    child: Child,
}

impl Process {
    /// Called by the keeper's main thread: to the kernel, the thread is the parent.
    pub(crate) fn start(service: Service, folder: &Path, launch: Launch, ports: Vec<u16>) -> Result<Self> {
        let child = spawn(&launch, folder)?;
        Ok(Self { service, folder: folder.to_owned(), ports, launch, child })
    }

    /// The same again after its end, on its data and its ports.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        if let Some(port) = self.ports.iter().find(|port| !is_free(**port)) {
            bail!("port {port} of {} was taken by another process meanwhile", self.service);
        }
        self.child = spawn(&self.launch, &self.folder)?;
        Ok(())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Why it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended with {status}: {}", self.service, self.last_words()))
    }

    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(self.folder.join("service.log")).unwrap_or_default();
        program::last_lines(&String::from_utf8_lossy(&log), 12)
    }

    /// Kills it with all that it started; fine when it has ended.
    pub(crate) fn kill(&mut self) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        kill_children();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What it says goes into `service.log`. A group of its own: a launcher and its server get a signal together.
fn spawn(launch: &Launch, folder: &Path) -> Result<Child> {
    let as_nobody = launch.refuses_root && rustix::process::geteuid().is_root();
    let mut command = Command::new(&launch.program);
    if cfg!(target_os = "linux") || as_nobody {
        let setpriv = program::find("setpriv").context("setpriv is missing: install util-linux")?;
        command = Command::new(setpriv);
        if as_nobody {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.args(["--pdeathsig", "KILL", "--"]).arg(&launch.program);
    }
    let log = OpenOptions::new().create(true).append(true).open(folder.join("service.log"))?;
    command.args(&launch.arguments).envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    command.spawn().with_context(|| format!("cannot run {}", launch.program.display()))
}

/// Makes what a service puts into the background a child of this process, when its own parent is gone.
pub(crate) fn adopt_orphans() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Kills the children of this process: what a service had put into the background, or a download that is given up.
pub(crate) fn kill_children() {
    #[cfg(target_os = "linux")]
    loop {
        let own = rustix::process::getpid().as_raw_nonzero();
        let tasks = fs::read_dir(format!("/proc/{own}/task")).into_iter().flatten().flatten();
        let children =
            tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
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
