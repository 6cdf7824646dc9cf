//! The data folder: made where it is missing, owned by one process at a time, and telling others where that one listens.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The folder of this process, locked until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    is_new: bool,
    _lock: File,
}

/// Who holds the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process id.
    pub process: u32,
    /// Whose data is meant there where nobody says; `None` of a process of an older release.
    #[serde(default)]
    pub default_tenant: Option<String>,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another process has it and says where it listens.
    #[error("{} is in use by process {} at http://{}", path.display(), holder.process, holder.address)]
    Held {
        /// The folder.
        path: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// Another process has it and does not (yet) say where it listens.
    #[error("{} is in use by another process that does not listen yet; try again in a moment, or name another folder with --data", .0.display())]
    HeldSilently(PathBuf),
    /// It cannot be made or written.
    #[error("cannot use the data folder {}: {why}; name another one with --data, or make this one writable", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why; not named `source`, since the message contains it.
        why: io::Error,
    },
}

const LOCK: &str = "lock";
const HOLDER: &str = "listening.json";

impl DataFolder {
    /// Whether a process has ever taken the folder: only then it holds data.
    pub fn is_one(path: &Path) -> bool {
        path.join(LOCK).exists()
    }

    /// Takes the folder.
    pub fn take(path: &Path) -> Result<Self, DataFolderError> {
        let unusable = |why| DataFolderError::Unusable { path: path.to_owned(), why };
        let is_new = !Self::is_one(path);
        fs::create_dir_all(path).map_err(unusable)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {
                // What a killed process left says nothing about this one.
                match fs::remove_file(path.join(HOLDER)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(error)),
                    _ => Ok(Self { path: path.to_owned(), is_new, _lock: lock }),
                }
            }
            Err(TryLockError::WouldBlock) => Err(match Self::holder(path) {
                Some(holder) => DataFolderError::Held { path: path.to_owned(), holder },
                None => DataFolderError::HeldSilently(path.to_owned()),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// Who says that it has the folder; one that was killed may say so still.
    pub fn holder(path: &Path) -> Option<Holder> {
        serde_json::from_slice(&fs::read(path.join(HOLDER)).ok()?).ok()
    }

    /// Whether it was made just now.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells other commands where this process listens.
    pub fn announce(&self, address: SocketAddr, default_tenant: &str) -> io::Result<()> {
        let default_tenant = Some(default_tenant.to_owned());
        let holder = Holder { address, process: std::process::id(), default_tenant };
        let text = serde_json::to_vec(&holder)?;
        // A reader must never see half of it.
        let written = self.path.join("listening.new");
        let mut file = File::create(&written)?;
        file.write_all(&text)?;
        fs::rename(written, self.path.join(HOLDER))
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // Nobody is hurt where it stays: the lock is what counts.
        let _ = fs::remove_file(self.path.join(HOLDER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_where_the_first_one_listens() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::take(folder.path()).unwrap();
        assert!(matches!(DataFolder::take(folder.path()), Err(DataFolderError::HeldSilently(_))));
        first.announce("127.0.0.1:8080".parse().unwrap(), "default").unwrap();
        let error = DataFolder::take(folder.path()).unwrap_err();
        assert!(error.to_string().contains("http://127.0.0.1:8080"), "{error}");
        drop(first);
        DataFolder::take(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_holds_data_once_it_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!DataFolder::is_one(folder.path()));
        assert!(DataFolder::take(folder.path()).unwrap().is_new());
        assert!(DataFolder::is_one(folder.path()));
        assert!(!DataFolder::take(folder.path()).unwrap().is_new());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataFolder::take(&file.path().join("below")).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
