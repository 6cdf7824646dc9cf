//! Functions' bootstrap binaries under AWS's runtime interface emulator, which speaks Lambda's runtime API to the binary
//! and the invoke endpoint to whoever calls.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use lyceum_event_source_mapping::{HttpFunction, Invoke, InvokeError};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Semaphore;

/// Where the emulator is: `LYCEUM_RIE`, or `aws-lambda-rie` on the `PATH`.
///
/// # Errors
/// A sentence that says how to get one.
pub fn find() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("LYCEUM_RIE").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { Err(format!("LYCEUM_RIE is {}: no such file", path.display())) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("aws-lambda-rie")).find(|path| path.is_file());
    found.ok_or_else(|| {
        "AWS's runtime interface emulator is missing: install aws-sam-cli, and set LYCEUM_RIE to \
         samcli/local/rapid/aws-lambda-rie-x86_64 below its site-packages"
            .to_owned()
    })
}

/// One function under emulators of its own; each takes one invocation at a time. Gone when it is dropped.
pub struct Emulated {
    addresses: Vec<String>,
    free: Mutex<Vec<HttpFunction>>,
    turns: Semaphore,
    // When they are dropped, whoever keeps the emulators ends them.
    _keepers: Vec<(Child, ChildStdin)>,
}

/// How a function is started.
pub struct Bootstrap<'a> {
    /// A program of ours that runs another one until its stdin ends.
    pub keeper: &'a Path,
    /// The emulator.
    pub emulator: &'a Path,
    /// The function's own program.
    pub binary: &'a Path,
    /// What its environment says beside what the emulator says.
    pub environment: &'a BTreeMap<&'static str, String>,
    /// Where its output goes, a file for each emulator.
    pub logs: &'a Path,
}

impl Emulated {
    /// Starts so many emulators and waits until they take invocations.
    ///
    /// # Errors
    /// Where one does not come up.
    pub async fn start(bootstrap: &Bootstrap<'_>, number: usize) -> Result<Self> {
        let (mut addresses, mut free, mut keepers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..number {
            let [invoke, runtime] = free_ports()?;
            let name = bootstrap.binary.file_name().and_then(|name| name.to_str()).context("the binary has a name")?;
            let log = File::create(bootstrap.logs.join(format!("{name}-{invoke}.log")))?;
            let mut keeper = Command::new(bootstrap.keeper)
                .arg("keep")
                .arg(bootstrap.emulator)
                .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{invoke}")])
                .args(["--runtime-api-address", &format!("127.0.0.1:{runtime}")])
                .arg(bootstrap.binary)
                .envs(bootstrap.environment)
                .stdin(Stdio::piped())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| format!("starting {}", bootstrap.keeper.display()))?;
            let stdin = keeper.stdin.take().context("stdin is piped")?;
            keepers.push((keeper, stdin));
            until_open(invoke).await.with_context(|| format!("starting {name} under the emulator"))?;
            let address = format!("http://127.0.0.1:{invoke}");
            free.push(HttpFunction::new(&address, "function")?);
            addresses.push(address);
        }
        Ok(Self { addresses, turns: Semaphore::new(free.len()), free: Mutex::new(free), _keepers: keepers })
    }

    /// Where the emulators answer, each `http://host:port`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

/// Ports that nobody has now.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

async fn until_open(port: u16) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if Instant::now() > until {
            bail!("nothing listens on port {port}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Gives the function back, also where the invocation is given up.
struct Lent<'a> {
    to: &'a Mutex<Vec<HttpFunction>>,
    function: Option<HttpFunction>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.to.lock().unwrap_or_else(PoisonError::into_inner).extend(self.function.take());
    }
}

#[async_trait]
impl Invoke for Emulated {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let gone = || InvokeError::function("Emulator", "no emulator is free");
        let _turn = self.turns.acquire().await.map_err(|_| gone())?;
        let function = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lent = Lent { to: &self.free, function };
        lent.function.as_ref().ok_or_else(gone)?.invoke(payload).await
    }
}
