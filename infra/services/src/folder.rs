//! The one folder below which everything is kept: programs, data, logs, and who runs what.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::Service;

/// ```text
/// cache/              programs, downloaded once ($LYCEUM_SERVICES_CACHE: elsewhere)
/// shared/<service>/   data, configuration and logs of a running service
/// private/<name>/     the same of a service that one test owns
/// keeper.json         how to reach the keeper; keeper.lock is locked while it lives
/// keeper.log          what the keeper did
/// environment         the endpoints, as variables for a shell
/// ```
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: &Path) -> Result<Self> {
        let root = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
        Ok(Self { root })
    }

    /// `$LYCEUM_SERVICES_FOLDER`, or `.lyceum-services/` in the workspace. Where that is closed to other users, as a
    /// checkout below root's home is, a folder among the temporary ones: the search engines refuse to run as root.
    pub fn standard() -> Result<Self> {
        if let Some(folder) = env::var_os("LYCEUM_SERVICES_FOLDER").filter(|value| !value.is_empty()) {
            return Self::new(Path::new(&folder));
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = manifest.ancestors().nth(2).unwrap_or(manifest);
        if rustix::process::geteuid().is_root() && closed_to_others(workspace).is_some() {
            let name = format!("lyceum-services-{:016x}", fingerprint(workspace));
            return Self::new(&env::temp_dir().join(name));
        }
        Self::new(&workspace.join(".lyceum-services"))
    }

    /// Makes the folder, and proves that it can be written.
    pub fn prepare(&self) -> Result<()> {
        let advice = || {
            format!(
                "cannot write to {}: make it writable, or name another folder by --folder or LYCEUM_SERVICES_FOLDER",
                self.root.display()
            )
        };
        fs::create_dir_all(&self.root).with_context(advice)?;
        let mut probe = tempfile::tempfile_in(&self.root).with_context(advice)?;
        probe.write_all(b"written").with_context(advice)
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Programs that were downloaded.
    pub fn cache(&self) -> PathBuf {
        let elsewhere = env::var_os("LYCEUM_SERVICES_CACHE").filter(|value| !value.is_empty());
        elsewhere.map_or_else(|| self.root.join("cache"), PathBuf::from)
    }

    pub(crate) fn shared(&self, service: Service) -> PathBuf {
        self.root.join("shared").join(service.name())
    }

    pub(crate) fn private(&self) -> PathBuf {
        self.root.join("private")
    }

    pub(crate) fn keeper_file(&self) -> PathBuf {
        self.root.join("keeper.json")
    }

    pub(crate) fn keeper_log(&self) -> PathBuf {
        self.root.join("keeper.log")
    }

    pub(crate) fn environment_file(&self) -> PathBuf {
        self.root.join("environment")
    }

    /// Locked by the keeper while it lives.
    pub(crate) fn keeper_lock(&self) -> Result<File> {
        open_lock(&self.root.join("keeper.lock"))
    }

    /// Locked while a client looks whether a keeper lives, and starts one.
    pub(crate) fn start_lock(&self) -> Result<File> {
        open_lock(&self.root.join("start.lock"))
    }
}

/// Opens a file that serves as a lock, and makes it where it is missing.
pub(crate) fn open_lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    opened.with_context(|| format!("cannot open the lock {}", path.display()))
}

/// Whether the lock was free; it is this process's now.
pub(crate) fn try_lock(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).context("this file system knows no locks: name a local folder"),
    }
}

/// Writes a file so that a reader sees all of it or nothing.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write in {}", folder.display()))?;
    file.write_all(content)?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Removes a folder and what is in it; that it is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The folder on the way to `path` that only its owner may enter.
pub(crate) fn closed_to_others(path: &Path) -> Option<&Path> {
    use std::os::unix::fs::PermissionsExt as _;
    let closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o001 == 0);
    path.ancestors().find(closed)
}

/// Refuses a folder that a service which does not run as root could not reach.
pub(crate) fn must_be_open(path: &Path, service: Service) -> Result<()> {
    match closed_to_others(path) {
        Some(closed) => bail!(
            "{service} refuses to run as root, and another user cannot enter {}: name a folder that all may enter by \
             LYCEUM_SERVICES_FOLDER (and LYCEUM_SERVICES_CACHE, where that is set)",
            closed.display()
        ),
        None => Ok(()),
    }
}

/// Tells one value from another, in a name.
pub(crate) fn fingerprint(value: impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
