//! Programs into the cache: once, whoever asks first; half a download is never taken for a whole one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::folder::{fingerprint, open_lock, remove};
use crate::{java, pinned};

const MARK: &str = ".complete";

/// The class that Kafka judges tokens of IAM with.
const MSK_IAM: &str = include_str!("launch/MskIam.java");

/// Where a program stands in the path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether the cache has all of `name`.
pub(crate) fn is_complete(cache: &Path, name: &str) -> bool {
    cache.join(name).join(MARK).exists()
}

/// The folder `name` of the cache. Where it is not complete, `fill` makes its content, and other processes wait.
fn folder(cache: &Path, name: &str, fill: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache.join(name);
    if is_complete(cache, name) {
        return Ok(folder);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot make the cache {}", cache.display()))?;
    let lock = open_lock(&cache.join(format!("{name}.lock")))?;
    lock.lock().context("waiting for another download")?;
    if is_complete(cache, name) {
        return Ok(folder);
    }
    let from_the_start = || {
        remove(&folder)?;
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fill(&folder)
    };
    // A repository that fails a moment long is asked once more; Maven's own cache keeps what it has.
    from_the_start().or_else(|_| from_the_start()).with_context(|| format!("{name} could not be downloaded"))?;
    fs::write(folder.join(MARK), "")?;
    Ok(folder)
}

/// A broker and its tools, as jars.
pub(crate) fn kafka(cache: &Path) -> Result<PathBuf> {
    folder(cache, &kafka_name(), |folder| {
        let version = pinned::KAFKA;
        let pom = format!(
            r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>lyceum</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{version}</version><exclusions>
<exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion>
<exclusion><groupId>com.fasterxml.jackson.jakarta.rs</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{log4j}</version></dependency>
</dependencies></project>"#,
            log4j = pinned::LOG4J,
        );
        let project = tempfile::tempdir().context("cannot make a temporary folder")?;
        fs::write(project.path().join("pom.xml"), pom)?;
        let goal = ["copy-dependencies", "-DincludeScope=runtime", &format!("-DoutputDirectory={}", folder.display())];
        maven(cache, project.path(), &goal)
    })
}

/// The name of Kafka's folder in the cache.
pub(crate) fn kafka_name() -> String {
    format!("kafka-{}", pinned::KAFKA)
}

/// The class that judges tokens of IAM ([`launch::kafka`](crate::launch)), compiled: the folder for a class path.
pub(crate) fn msk_iam(cache: &Path) -> Result<PathBuf> {
    folder(cache, &msk_iam_name(), |folder| {
        let dependency = |group, artifact, version| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
            )
        };
        let pom = format!(
            r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>lyceum</groupId><artifactId>msk-iam</artifactId><version>1</version><packaging>pom</packaging><dependencies>
{}{}</dependencies></project>"#,
            dependency("org.eclipse.jdt", "ecj", pinned::ECJ),
            dependency("org.apache.kafka", "kafka-clients", pinned::KAFKA),
        );
        let project = tempfile::tempdir().context("cannot make a temporary folder")?;
        fs::write(project.path().join("pom.xml"), pom)?;
        let source = project.path().join("MskIam.java");
        fs::write(&source, MSK_IAM)?;
        maven(cache, project.path(), &["copy-dependencies", "-DexcludeTransitive=true", "-DoutputDirectory=jars"])?;
        let jar = |artifact, version| project.path().join(format!("jars/{artifact}-{version}.jar"));
        let mut compile = Command::new(java::home(17, cache)?.join("bin/java"));
        compile.arg("-jar").arg(jar("ecj", pinned::ECJ)).args(["-17", "-proc:none", "-nowarn", "-cp"]);
        compile.arg(jar("kafka-clients", pinned::KAFKA)).arg("-d").arg(folder).arg(source);
        run(&mut compile)
    })
}

/// The name of that folder in the cache: another one for another source.
pub(crate) fn msk_iam_name() -> String {
    format!("msk-iam-{}-{}-{:016x}", pinned::KAFKA, pinned::ECJ, fingerprint(MSK_IAM))
}

/// An archive of Maven Central, `group:artifact:version:type[:classifier]`, unpacked.
pub(crate) fn archive(cache: &Path, name: &str, artifact: &str) -> Result<PathBuf> {
    folder(cache, name, |folder| {
        let project = tempfile::tempdir().context("cannot make a temporary folder")?;
        let artifact = format!("-Dartifact={artifact}");
        maven(cache, project.path(), &["unpack", &artifact, &format!("-DoutputDirectory={}", folder.display())])?;
        open_to_all(folder)
    })
}

/// A virtual environment with one package.
pub(crate) fn python(cache: &Path, name: &str, requirement: &str) -> Result<PathBuf> {
    folder(cache, name, |folder| {
        let Some(python) = find_program("python3") else {
            bail!("python3 is missing: install it (Debian: apt-get install python3-venv)");
        };
        run(Command::new(python).args(["-m", "venv"]).arg(folder))
            .context("python3 makes no virtual environment (Debian: apt-get install python3-venv)")?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", requirement];
        run(Command::new(folder.join("bin/python")).args(pip))?;
        open_to_all(folder)
    })
}

/// One goal of Maven's dependency plugin; what it fetches has the checksum that the repository states.
fn maven(cache: &Path, project: &Path, goal: &[&str]) -> Result<()> {
    let Some(mvn) = find_program("mvn") else {
        bail!("Maven is missing: install it (Debian: apt-get install maven)");
    };
    let plugin = format!("org.apache.maven.plugins:maven-dependency-plugin:{}", pinned::MAVEN_DEPENDENCY_PLUGIN);
    let mut command = Command::new(mvn);
    command.current_dir(project).env("JAVA_HOME", java::home(17, cache)?);
    command.args(["--quiet", "--batch-mode", "--no-transfer-progress", "--strict-checksums", "-Dstyle.color=never"]);
    command.arg(format!("{plugin}:{}", goal[0])).args(&goal[1..]);
    run(&mut command).context("Maven failed; is its repository reachable (~/.m2/settings.xml names a mirror)?")
}

/// Runs to the end; where that fails, the last lines of what it said are the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{program} ended with {}: {}", output.status, last_lines(&String::from_utf8_lossy(&said), 8))
}

/// The last lines of a log that say something, without a stack's frames.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let says = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("at ");
    let lines: Vec<&str> = text.lines().filter(says).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A service that does not run as root has to read what root unpacked.
fn open_to_all(folder: &Path) -> Result<()> {
    run(Command::new("chmod").arg("-R").arg("a+rX").arg(folder))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn half_a_download_is_thrown_away_before_the_next_try() {
        let cache = tempfile::tempdir().expect("a folder");
        let broken = folder(cache.path(), "program", |folder| {
            fs::write(folder.join("half"), "")?;
            bail!("the line was cut")
        });
        let error = format!("{:#}", broken.expect_err("it failed"));
        assert_eq!(error, "program could not be downloaded: the line was cut");
        assert!(!is_complete(cache.path(), "program"));
        let whole = folder(cache.path(), "program", |folder| {
            assert!(!folder.join("half").exists());
            Ok(fs::write(folder.join("whole"), "")?)
        });
        assert!(whole.expect("it works").join("whole").exists());
    }

    #[test]
    fn a_program_is_downloaded_once_however_many_ask() {
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

    #[test]
    fn the_last_words_of_a_log_are_its_lines_without_a_stacks_frames() {
        let log = "first\n\nFATAL it broke\n\tat some.Class.method(Class.java:1)\nlast\n";
        assert_eq!(last_lines(log, 2), "FATAL it broke\nlast");
    }
}
