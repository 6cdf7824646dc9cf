//! What it takes to start a service as a process.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use rand::RngExt as _;

/// Where a service is to live.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Programs that were fetched.
    pub(crate) cache: &'a Path,
    /// Everything that the service writes; empty.
    pub(crate) folder: &'a Path,
    pub(crate) ports: &'a [u16],
}

/// A service that is prepared.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Whether it refuses to be root.
    pub(crate) refuses_root: bool,
}

/// Free ports, below those that the system gives to outgoing connections, so that none takes the place of a service
/// that is unavailable for a moment.
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

/// Java's options for a service that is to start fast and stay small.
pub(crate) fn small_jvm(heap_mb: u32) -> Vec<OsString> {
    let options = [format!("-Xmx{heap_mb}m"), "-XX:+UseSerialGC".to_owned(), "-XX:TieredStopAtLevel=1".to_owned()];
    options.map(OsString::from).to_vec()
}
