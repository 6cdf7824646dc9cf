//! A folder of this machine. A file is written beside its place, made durable, and renamed, so that a reader sees all of it or none.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::replay::SinkError;

use super::Place;

/// How the name of a file ends that is not whole yet; it begins with a point.
const UNFINISHED: &str = ".part";

pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Runs what waits for the disk where it keeps nobody waiting.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let root = self.0.clone();
        let ran = tokio::task::spawn_blocking(move || work(&root)).await;
        ran.unwrap_or_else(|error| Err(SinkError::Unavailable(format!("the process is ending: {error}"))))
    }
}

/// Why something did not work, and whether it may work later.
fn failed(what: &str, path: &Path, error: &io::Error) -> SinkError {
    let path = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SinkError::Unavailable(format!(
            "the disk of {path} is full: make room, and it goes on where it stopped ({error})"
        )),
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput
        | ErrorKind::FileTooLarge => {
            SinkError::Refused(format!("cannot {what} {path}: {error}; name a folder that this process may write"))
        }
        _ => SinkError::Unavailable(format!("cannot {what} {path}: {error}")),
    }
}

/// Everything below a folder, as paths from the root on.
fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<(), SinkError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look into", folder, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("look into", folder, &error))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(|error| failed("look at", folder, &error))?);
        if kind.is_dir() {
            walk(root, &path, found)?;
            continue;
        }
        let below = path.strip_prefix(root).unwrap_or(&path);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        found.push(parts.join("/"));
    }
    Ok(())
}

/// Whether a name is that of a file that a process was writing when it died.
fn is_unfinished(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    last.starts_with('.') && last.ends_with(UNFINISHED)
}

fn write(root: &Path, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
    let path = root.join(name);
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder).map_err(|error| failed("make the folder", folder, &error))?;
    let file_name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let unfinished = folder.join(format!(".{file_name}{UNFINISHED}"));
    let written = (|| {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_folders(root, folder)
    })();
    written.map_err(|error| {
        // Of a full disk it would hold what room there is.
        let _ = fs::remove_file(&unfinished);
        failed("write", &path, &error)
    })
}

fn remove(root: &Path, names: &[String]) -> Result<(), SinkError> {
    for name in names {
        let path = root.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("remove", &path, &error)),
            _ => {}
        }
        // The folders of a day go with its last file.
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != root && folder.starts_with(root)) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// A name is durable once its folder is, and that one's in its own.
#[cfg(unix)]
fn sync_folders(root: &Path, folder: &Path) -> io::Result<()> {
    for folder in folder.ancestors() {
        File::open(folder)?.sync_all()?;
        if folder == root {
            break;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn sync_folders(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

#[async_trait]
impl Place for Folder {
    async fn list(&self) -> Result<Vec<String>, SinkError> {
        let list = |root: &Path| {
            let mut found = Vec::new();
            walk(root, root, &mut found)?;
            found.retain(|name| !is_unfinished(name));
            Ok(found)
        };
        self.run(list).await
    }

    async fn sweep(&self) -> Result<(), SinkError> {
        let sweep = |root: &Path| {
            let mut found = Vec::new();
            walk(root, root, &mut found)?;
            found.retain(|name| is_unfinished(name));
            remove(root, &found)
        };
        self.run(sweep).await
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>, SinkError> {
        let name = name.to_owned();
        let read = move |root: &Path| match fs::read(root.join(&name)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &root.join(&name), &error)),
        };
        self.run(read).await
    }

    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), SinkError> {
        let name = name.to_owned();
        self.run(move |root| write(root, &name, &bytes)).await
    }

    async fn remove(&self, names: &[String]) -> Result<(), SinkError> {
        let names = names.to_vec();
        self.run(move |root| remove(root, &names)).await
    }

    async fn look(&self) -> Result<(), SinkError> {
        let look = |root: &Path| {
            let absolute = std::path::absolute(root).map_err(|error| failed("find", root, &error))?;
            // What is not there is made below what is.
            for folder in absolute.ancestors() {
                match fs::metadata(folder) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(failed("look at", folder, &error)),
                    Ok(of) if !of.is_dir() => {
                        let why = format!("{} is a file: name a folder", folder.display());
                        return Err(SinkError::Refused(why));
                    }
                    Ok(of) if of.permissions().readonly() => {
                        let error = io::Error::from(ErrorKind::PermissionDenied);
                        return Err(failed("write into", folder, &error));
                    }
                    Ok(_) => return Ok(()),
                }
            }
            Ok(())
        };
        self.run(look).await
    }

    fn show(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}
