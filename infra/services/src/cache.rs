//! What is fetched goes into the cache once, whoever asks first. A repository that fails is asked three times more; half
//! of a program is never taken for a whole one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::folder::{open_lock, remove};
use crate::program::{self, run};

const MARK: &str = ".complete";

/// A repository did not hand out what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotFetched(String);

/// Runs a command whose failure is a repository's.
pub(crate) fn fetch(command: &mut Command) -> Result<()> {
    run(command).map(drop).map_err(|error| NotFetched(format!("{error:#}")).into())
}

/// Whether the cache has all of `name`.
pub(crate) fn is_complete(cache: &Path, name: &str) -> bool {
    cache.join(name).join(MARK).exists()
}

/// The folder `name` of the cache. Where it is not complete, `fill` makes its content, and other processes wait.
pub(crate) fn folder(cache: &Path, name: &str, fill: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache.join(name);
    if is_complete(cache, name) {
        return Ok(folder);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot make the cache {}", cache.display()))?;
    let lock = open_lock(&cache.join(format!("{name}.lock")))?;
    lock.lock().context("waiting for another process that fetches the same")?;
    if is_complete(cache, name) {
        return Ok(folder);
    }
    let from_the_start = || {
        remove(&folder)?;
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fill(&folder)
    };
    let mut pauses = pauses().into_iter();
    while let Err(error) = from_the_start() {
        if !error.is::<NotFetched>() {
            return Err(error.context(format!("{name} could not be made")));
        }
        let Some(pause) = pauses.next() else {
            return Err(error.context(format!("{name} could not be fetched, after three more tries")));
        };
        eprintln!("{name} could not be fetched, and is tried again in {} s: {error:#}", pause.as_secs());
        std::thread::sleep(pause);
    }
    fs::write(folder.join(MARK), "")?;
    Ok(folder)
}

/// Before the second, third and fourth try.
fn pauses() -> [Duration; 3] {
    let given = std::env::var("LYCEUM_SERVICES_RETRY_S").ok().and_then(|value| value.parse().ok());
    [1, 2, 4].map(|times| Duration::from_secs(times * given.unwrap_or(5)))
}

/// A virtual environment with one package of PyPI.
pub(crate) fn python(cache: &Path, name: &str, requirement: &str) -> Result<PathBuf> {
    folder(cache, name, |folder| {
        let Some(python) = program::find("python3") else {
            bail!("python3 is missing: install it (Debian: apt-get install python3-venv)");
        };
        run(Command::new(python).args(["-m", "venv"]).arg(folder))
            .context("python3 makes no virtual environment (Debian: apt-get install python3-venv)")?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", requirement];
        fetch(Command::new(folder.join("bin/python")).args(pip))?;
        open_to_all(folder)
    })
}

/// A service that does not run as root has to read what root unpacked.
pub(crate) fn open_to_all(folder: &Path) -> Result<()> {
    run(Command::new("chmod").arg("-R").arg("a+rX").arg(folder)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_is_no_repositorys_fault_is_not_tried_again_and_its_half_is_thrown_away() {
        let (cache, tries) = (tempfile::tempdir().expect("a folder"), AtomicUsize::new(0));
        let broken = folder(cache.path(), "program", |folder| {
            tries.fetch_add(1, Ordering::Relaxed);
            fs::write(folder.join("half"), "")?;
            bail!("the compiler refused it")
        });
        let error = format!("{:#}", broken.expect_err("it failed"));
        assert_eq!(error, "program could not be made: the compiler refused it");
        assert_eq!(tries.into_inner(), 1);
        assert!(!is_complete(cache.path(), "program"));
        let whole = folder(cache.path(), "program", |folder| {
            assert!(!folder.join("half").exists());
            Ok(fs::write(folder.join("whole"), "")?)
        });
        assert!(whole.expect("it works").join("whole").exists());
    }

    #[test]
    fn a_program_is_fetched_once_however_many_ask() {
        let (cache, count) = (tempfile::tempdir().expect("a folder"), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    folder(cache.path(), "program", |_| {
                        count.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }
}
