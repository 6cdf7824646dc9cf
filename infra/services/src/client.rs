//! How a process asks the keeper, and starts it where there is none.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::folder::Folder;
use crate::guard::RunsAs;
use crate::keeper::{Answer, Ask, Reach, Request, Wanted};
use crate::{Endpoints, Service, download, program};

/// Services that run at least as long as this value lives; the kernel gives it back when the process dies.
#[derive(Debug)]
pub struct Lease {
    endpoints: Endpoints,
    _connection: TcpStream,
}

impl Lease {
    /// Where the services answer.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }
}

/// Starts what is missing of these services, waits until all answer, and keeps them running.
pub fn lease(folder: &Folder, runs_as: RunsAs, services: &[Service]) -> Result<Lease> {
    program::must_take_over()?;
    let ask = Ask::Lease(Wanted::new(folder, runs_as, services));
    let (answer, connection) = insist(folder, ask)?;
    Ok(Lease { endpoints: ready(answer)?, _connection: connection })
}

/// The same, until [`down`].
pub(crate) fn up(folder: &Folder, runs_as: RunsAs, services: &[Service]) -> Result<Endpoints> {
    let (answer, _) = insist(folder, Ask::Up(Wanted::new(folder, runs_as, services)))?;
    ready(answer)
}

/// Ends these services, or all and the keeper; false where no keeper runs.
pub(crate) fn down(folder: &Folder, services: &[Service]) -> Result<bool> {
    match connect(folder, &Ask::Down { services: services.to_vec() }) {
        None => Ok(false),
        Some((Answer::Failed(why), _)) => bail!("{why}"),
        Some(_) => {
            let began = Instant::now();
            while services.is_empty() && folder.keeper_file().exists() {
                if began.elapsed() > Duration::from_secs(60) {
                    bail!("the keeper did not end; what it does is in {}", folder.keeper_log().display());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(true)
        }
    }
}

/// What runs; None where no keeper does.
pub(crate) fn status(folder: &Folder) -> Option<Answer> {
    connect(folder, &Ask::Status).map(|(answer, _)| answer)
}

fn ready(answer: Answer) -> Result<Endpoints> {
    match answer {
        Answer::Ready(endpoints) => Ok(*endpoints),
        Answer::Failed(why) => bail!("{why}"),
        other => bail!("the keeper answered {other:?}"),
    }
}

/// Asks the keeper that runs, or one that is started for it.
fn insist(folder: &Folder, ask: Ask) -> Result<(Answer, TcpStream)> {
    folder.prepare()?;
    for _ in 0..100 {
        match connect(folder, &ask) {
            Some((Answer::Closing, _)) => std::thread::sleep(Duration::from_millis(200)),
            Some(answered) => return Ok(answered),
            None => start(folder)?,
        }
    }
    bail!("no keeper can be reached; what they said is in {}", folder.keeper_log().display())
}

/// None where no keeper answers.
fn connect(folder: &Folder, ask: &Ask) -> Option<(Answer, TcpStream)> {
    let reach: Reach = serde_json::from_slice(&fs::read(folder.keeper_file()).ok()?).ok()?;
    let address = SocketAddr::from(([127, 0, 0, 1], reach.port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    // A keeper that was killed has left its file, and its port may be another's by now: ask who it is.
    let status = matches!(ask, Ask::Status | Ask::Down { .. });
    if !status && !matches!(connect(folder, &Ask::Status), Some((Answer::Status { .. }, _))) {
        return None;
    }
    if status {
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    }
    let request = Request { token: reach.token, ask: ask.clone() };
    writeln!(stream, "{}", serde_json::to_string(&request).ok()?).ok()?;
    let mut line = String::new();
    BufReader::new(stream.try_clone().ok()?).read_line(&mut line).ok()?;
    Some((serde_json::from_str(&line).ok()?, stream))
}

/// Starts a keeper, unless one has been started meanwhile, and waits until it can be reached.
fn start(folder: &Folder) -> Result<()> {
    let lock = folder.start_lock()?;
    lock.lock().context("waiting for another client to start the keeper")?;
    if status(folder).is_some() {
        return Ok(());
    }
    let log = fs::File::create(folder.keeper_log()).context("cannot write keeper.log")?;
    let (program, arguments) = program::again();
    let mut command = Command::new(program);
    command.args(arguments).arg("--folder").arg(folder.path()).arg("keeper");
    // It outlives this process: it takes neither its terminal's signals nor its output.
    command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut keeper = command.spawn().context("cannot start the keeper")?;
    let began = Instant::now();
    while status(folder).is_none() {
        if let Some(ended) = keeper.try_wait()? {
            let said = fs::read_to_string(folder.keeper_log()).unwrap_or_default();
            bail!("the keeper ended with {ended}: {}", download::last_lines(&said, 8));
        }
        if began.elapsed() > Duration::from_secs(30) {
            bail!("the keeper cannot be reached; what it says is in {}", folder.keeper_log().display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
