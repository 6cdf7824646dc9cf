//! The one folder below which everything is kept: programs, data, logs, and how to reach who runs what.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// ```text
/// cache/              programs, fetched once ($LYCEUM_SERVICES_CACHE: elsewhere)
/// shared/<service>/   data, configuration and logs of a running service; beside it how it is, and who needs it
/// private/<name>/     the same of a service that one test owns
/// keeper.log          what the keepers did
/// environment         the endpoints, as variables for a shell
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `path`, which need not exist.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let root = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
        Ok(Self { root })
    }

    /// `$LYCEUM_SERVICES_FOLDER`, or `.lyceum-services/` in the workspace. Where that is closed to other users, as a
    /// checkout below root's home is, a folder among the temporary ones: the search engines refuse to run as root.
    pub(crate) fn standard() -> Result<Self> {
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
    pub(crate) fn prepare(&self) -> Result<()> {
        let advice = || {
            format!(
                "cannot write to {}: make it writable, or name another folder by --folder or LYCEUM_SERVICES_FOLDER",
                self.root.display()
            )
        };
        for folder in [self.root.join("shared"), self.private()] {
            fs::create_dir_all(folder).with_context(advice)?;
        }
        let mut probe = tempfile::tempfile_in(&self.root).with_context(advice)?;
        probe.write_all(b"written").with_context(advice)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Programs that were fetched.
    pub(crate) fn cache(&self) -> PathBuf {
        let elsewhere = env::var_os("LYCEUM_SERVICES_CACHE").filter(|value| !value.is_empty());
        elsewhere.map_or_else(|| self.root.join("cache"), PathBuf::from)
    }

    pub(crate) fn private(&self) -> PathBuf {
        self.root.join("private")
    }

    pub(crate) fn environment_file(&self) -> PathBuf {
        self.root.join("environment")
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

/// Removes what keepers that were killed left in this folder: each holds the lock beside its service's folder.
pub(crate) fn sweep(private: &Path) -> Result<()> {
    for file in fs::read_dir(private)?.flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|extension| extension == "keeper") && try_lock(&open_lock(&file)?)? {
            remove(&file.with_extension(""))?;
            for what in ["state", "needed", "again", "keeper"] {
                let _ = fs::remove_file(file.with_extension(what));
            }
        }
    }
    Ok(())
}

/// Removes a folder and what is in it; that it is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Refuses a folder that a service which does not run as root could not reach.
pub(crate) fn must_be_open(path: &Path, service: impl std::fmt::Display) -> Result<()> {
    match closed_to_others(path) {
        Some(closed) => bail!(
            "{service} refuses to run as root, and another user cannot enter {}: name a folder that all may enter by \
             LYCEUM_SERVICES_FOLDER (and LYCEUM_SERVICES_CACHE, where that is set)",
            closed.display()
        ),
        None => Ok(()),
    }
}

/// The folder on the way to `path` that only its owner may enter.
fn closed_to_others(path: &Path) -> Option<&Path> {
    use std::os::unix::fs::PermissionsExt as _;
    let closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o001 == 0);
    path.ancestors().find(closed)
}

/// Tells one value from another, in a name.
pub(crate) fn fingerprint(value: impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
