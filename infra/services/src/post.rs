//! The files by which a keeper and those who need its service know of each other. Locks tell who lives, since the kernel
//! frees those of a process that is killed. Beside the service's folder, by their endings:
//!
//! * `keeper` is locked by the keeper; `needed` by everybody who needs the service, together;
//! * `state` is what the keeper said last;
//! * `pinned` is there from `up` until `down`, `end` from `down` until the keeper has ended, `again` while a test wants its
//!   own service to be started again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::folder::{Folder, open_lock};
use crate::unavailable::Unavailable;
use crate::{Endpoints, Service, search};

/// What a service runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RunsAs {
    /// A process of this machine.
    Process,
    /// A container.
    Container,
}

/// One service that is to run: a keeper's order, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) service: Service,
    pub(crate) runs_as: RunsAs,
    /// Of this service alone; emptied at the start and, but for a shared one's logs, at the end.
    pub(crate) folder: PathBuf,
    pub(crate) cache: PathBuf,
    /// One test's own: it may be started again, and leaves nothing.
    pub(crate) private: bool,
}

/// What a keeper says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum State {
    Starting,
    /// `process` is its id, where it is a process; `version` that of a search engine.
    Ready {
        endpoints: Box<Endpoints>,
        process: Option<u32>,
        version: Option<String>,
    },
    /// One test's own has ended; or why it could not be started again.
    AtRest(Option<Unavailable>),
    /// It did not start, or ended by itself; the keeper ends, too.
    Ended(Unavailable),
}

impl Post {
    pub(crate) fn shared(folder: &Folder, service: Service, runs_as: RunsAs) -> Self {
        let kind = if runs_as == RunsAs::Container { "-container" } else { "" };
        let of_service = folder.path().join(format!("shared/{}{kind}", service.name()));
        Self { service, runs_as, folder: of_service, cache: folder.cache(), private: false }
    }

    pub(crate) fn private(folder: &Folder, service: Service) -> Self {
        let of_test = folder.private().join(format!("{}-{:016x}", service.name(), rand::random::<u64>()));
        let post = Self::shared(folder, service, RunsAs::Process);
        Self { folder: of_test, private: true, ..post }
    }

    pub(crate) fn file(&self, what: &str) -> PathBuf {
        self.folder.with_extension(what)
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.file(what).exists()
    }

    pub(crate) fn make(&self, what: &str) -> Result<()> {
        fs::write(self.file(what), "").with_context(|| format!("cannot write {}", self.file(what).display()))
    }

    /// That they are not there is fine.
    pub(crate) fn remove(&self, what: &[&str]) {
        for what in what {
            let _ = fs::remove_file(self.file(what));
        }
    }

    pub(crate) fn lock(&self, what: &str) -> Result<File> {
        open_lock(&self.file(what))
    }

    /// Whether a keeper lives.
    pub(crate) fn is_kept(&self) -> bool {
        File::open(self.file("keeper")).is_ok_and(|lock| lock.try_lock_shared().is_err())
    }

    /// The keeper's process, and what it said last: as a whole, since the file takes the former one's place.
    pub(crate) fn state(&self) -> Option<(u32, State)> {
        serde_json::from_slice(&fs::read(self.file("state")).ok()?).ok()
    }

    pub(crate) fn say(&self, state: &State) -> Result<()> {
        let path = self.file("state");
        let mut file = tempfile::NamedTempFile::new_in(path.parent().context("a folder")?)?;
        file.write_all(&serde_json::to_vec(&(std::process::id(), state))?)?;
        file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    /// The version of a search engine that this process's environment asks for.
    pub(crate) fn version(&self) -> Option<String> {
        let is_engine = matches!(self.service, Service::Elasticsearch | Service::OpenSearch);
        is_engine.then(|| search::version(self.service).ok().map(str::to_owned)).flatten()
    }
}
