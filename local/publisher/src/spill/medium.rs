//! Where the bytes of a spill file are: a file, and in tests a model that is killed at any write.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes that outlive a process.
pub(crate) trait Medium: Send {
    /// How many there are.
    fn length(&mut self) -> io::Result<u64>;

    /// Those from a place on: so many, or what is there.
    fn read(&mut self, at: u64, most: usize) -> io::Result<Vec<u8>>;

    /// Writes at a place that is there or the end. Where it fails, any part may be written.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes all of it outlive the machine's own end.
    fn sync(&mut self) -> io::Result<()>;

    /// Forgets what is behind a length.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Puts a head and the bytes of this range in place of everything: at once, or not at all.
    fn keep(&mut self, head: &[u8], from: u64, to: u64) -> io::Result<()>;
}

/// Why a spill file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// Another process has it.
    #[error(
        "the spill file {0} is in use by another process: give each process one of its own by PUBLISHER_SPILL_FILE"
    )]
    InUse(PathBuf),
    /// It is something else.
    #[error("{0} is no spill file: it is left as it is; name another file by PUBLISHER_SPILL_FILE")]
    Foreign(PathBuf),
    /// It was written by a newer release.
    #[error(
        "the spill file {0} was written by a newer release: let that one send it, or name another file by PUBLISHER_SPILL_FILE"
    )]
    Newer(PathBuf),
    /// The file system refuses.
    #[error(
        "the spill file {path} cannot be used ({why}); check PUBLISHER_SPILL_FILE, its folder, its rights and the room on its disk"
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it says.
        why: io::Error,
    },
}

/// A file, locked against other processes as long as this lives.
pub(crate) struct FileMedium {
    path: PathBuf,
    file: File,
    /// Beside the file, which is replaced by another one at times.
    _lock: File,
}

impl FileMedium {
    /// Opens or makes it, and its folder.
    pub(crate) fn open(path: &Path) -> Result<Self, SpillError> {
        let unusable = |why| SpillError::Unusable { path: path.to_owned(), why };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(unusable)?;
        }
        let open = |path: &Path| options().create(true).truncate(false).open(path).map_err(unusable);
        let lock = open(&beside(path, "lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpillError::InUse(path.to_owned())),
            Err(TryLockError::Error(why)) => return Err(unusable(why)),
        }
        let file = open(path)?;
        // A new file's name is to outlive the machine's end as its bytes do.
        sync_folder_of(path).map_err(unusable)?;
        Ok(Self { path: path.to_owned(), file, _lock: lock })
    }
}

/// A file beside the spill file.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    name.into()
}

/// Of files that hold events: nobody else may read them.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Medium for FileMedium {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&mut self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(at))?;
        (&mut self.file).take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn keep(&mut self, head: &[u8], from: u64, to: u64) -> io::Result<()> {
        let path = beside(&self.path, "new");
        let mut file = options().create(true).truncate(true).open(&path)?;
        let write = |file: &mut File, old: &mut File| {
            file.write_all(head)?;
            old.seek(SeekFrom::Start(from))?;
            io::copy(&mut old.take(to - from), file)?;
            file.sync_all()?;
            std::fs::rename(&path, &self.path)?;
            sync_folder_of(&self.path)
        };
        match write(&mut file, &mut self.file) {
            Ok(()) => {
                self.file = file;
                Ok(())
            }
            Err(error) => {
                // What is left of it is in nobody's way.
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }
}
