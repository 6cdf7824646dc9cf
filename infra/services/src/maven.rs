//! Programs of Maven Central, by Maven itself: it knows the mirror, and checks what it fetches. What has no checksum there
//! must have the one that is pinned here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::cache::{fetch, folder, open_to_all};
use crate::folder::fingerprint;
use crate::program::{self, run};
use crate::{java, pinned};

/// The class that Kafka judges tokens of IAM with.
const MSK_IAM: &str = include_str!("MskIam.java");

/// The name of Kafka's folder in the cache.
pub(crate) fn kafka_name() -> String {
    format!("kafka-{}", pinned::KAFKA)
}

/// A broker and its tools, as jars.
pub(crate) fn kafka(cache: &Path) -> Result<PathBuf> {
    folder(cache, &kafka_name(), |folder| {
        let dependencies = [
            dependency("org.apache.kafka", "kafka_2.13", pinned::KAFKA, &[]),
            dependency(
                "org.apache.kafka",
                "kafka-tools",
                pinned::KAFKA,
                &[("org.apache.kafka", "connect-runtime"), ("com.fasterxml.jackson.jakarta.rs", "*")],
            ),
            dependency("org.apache.logging.log4j", "log4j-slf4j-impl", pinned::LOG4J, &[]),
        ];
        let project = project(&dependencies)?;
        copy(cache, project.path(), "-DincludeScope=runtime", folder)
    })
}

/// The name of the folder of the class for IAM in the cache: another one for another source.
pub(crate) fn msk_iam_name() -> String {
    format!("msk-iam-{}-{}-{:016x}", pinned::KAFKA, pinned::ECJ, fingerprint(MSK_IAM))
}

/// The class that judges tokens of IAM, compiled: the folder for a class path.
pub(crate) fn msk_iam(cache: &Path) -> Result<PathBuf> {
    folder(cache, &msk_iam_name(), |folder| {
        let project = project(&[
            dependency("org.eclipse.jdt", "ecj", pinned::ECJ, &[]),
            dependency("org.apache.kafka", "kafka-clients", pinned::KAFKA, &[]),
        ])?;
        let (source, jars) = (project.path().join("MskIam.java"), project.path().join("jars"));
        fs::write(&source, MSK_IAM)?;
        copy(cache, project.path(), "-DexcludeTransitive=true", &jars)?;
        let mut compile = Command::new(java::home(17, cache)?.join("bin/java"));
        compile.arg("-jar").arg(jars.join(format!("ecj-{}.jar", pinned::ECJ))).args(["-17", "-proc:none", "-nowarn"]);
        compile.arg("-cp").arg(jars.join(format!("kafka-clients-{}.jar", pinned::KAFKA)));
        run(compile.arg("-d").arg(folder).arg(source)).map(drop)
    })
}

/// An archive of Maven Central, `group:artifact:version:type[:classifier]`, unpacked. It has the checksum that the repository
/// states, or that SHA-256.
pub(crate) fn archive(cache: &Path, name: &str, artifact: &str, sha256: Option<&str>) -> Result<PathBuf> {
    folder(cache, name, |folder| {
        let project = tempfile::tempdir().context("cannot make a temporary folder")?;
        let artifact = format!("-Dartifact={artifact}");
        let Some(sha256) = sha256 else {
            maven(cache, project.path(), &["unpack", &artifact], folder)?;
            return open_to_all(folder);
        };
        // A repository of its own, thrown away: what is unpacked is what was judged, and nothing unjudged stays where others read.
        let repository = format!("-Dmaven.repo.local={}", project.path().join("repository").display());
        let fetched = project.path().join("fetched");
        maven(cache, project.path(), &["copy", &artifact, &repository, "--lax-checksums"], &fetched)?;
        must_have(&fetched, sha256)?;
        maven(cache, project.path(), &["unpack", &artifact, &repository, "--lax-checksums", "--offline"], folder)?;
        open_to_all(folder)
    })
}

/// OpenSearch with its security plugin where a release has its plugins.
pub(crate) fn secured(cache: &Path, name: &str) -> Result<PathBuf> {
    folder(cache, name, |folder| {
        let project = tempfile::tempdir().context("cannot make a temporary folder")?;
        let version = pinned::OPENSEARCH_SECURED;
        let core = format!("-Dartifact=org.opensearch.distribution.integ-test-zip:opensearch:{version}:zip");
        maven(cache, project.path(), &["unpack", &core], folder)?;
        let plugin =
            format!("-Dartifact=org.opensearch.plugin:opensearch-security:{}:zip", pinned::OPENSEARCH_SECURITY);
        let place = folder.join(format!("opensearch-{version}/plugins/opensearch-security"));
        maven(cache, project.path(), &["unpack", &plugin], &place)?;
        open_to_all(folder)
    })
}

/// Refuses a folder unless it has one file, and that with this SHA-256.
fn must_have(folder: &Path, sha256: &str) -> Result<()> {
    let files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let [file] = &files[..] else { bail!("Maven copied {} files instead of one", files.len()) };
    let found: String = Sha256::digest(fs::read(file)?).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != sha256 {
        let name = file.file_name().unwrap_or_default().display();
        bail!(
            "{name} has the SHA-256 {found}, and {sha256} is pinned (infra/services/src/pinned.rs): the repository handed out \
             something else; ask another one (~/.m2/settings.xml names a mirror)"
        );
    }
    Ok(())
}

fn dependency(group: &str, artifact: &str, version: &str, without: &[(&str, &str)]) -> String {
    let name = |group: &str, artifact: &str| format!("<groupId>{group}</groupId><artifactId>{artifact}</artifactId>");
    let exclusion = |(group, artifact): &(&str, &str)| format!("<exclusion>{}</exclusion>", name(group, artifact));
    let without: String = without.iter().map(exclusion).collect();
    let name = name(group, artifact);
    format!("<dependency>{name}<version>{version}</version><exclusions>{without}</exclusions></dependency>\n")
}

fn project(dependencies: &[String]) -> Result<tempfile::TempDir> {
    let pom = format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>lyceum</groupId>
<artifactId>service</artifactId><version>1</version><packaging>pom</packaging><dependencies>{}</dependencies></project>"#,
        dependencies.concat()
    );
    let project = tempfile::tempdir().context("cannot make a temporary folder")?;
    fs::write(project.path().join("pom.xml"), pom)?;
    Ok(project)
}

fn copy(cache: &Path, project: &Path, which: &str, into: &Path) -> Result<()> {
    maven(cache, project, &["copy-dependencies", which], into)
}

/// One goal of Maven's dependency plugin; what it fetches has the checksum that the repository states, unless the goal's
/// arguments say otherwise.
fn maven(cache: &Path, project: &Path, goal: &[&str], into: &Path) -> Result<()> {
    let Some(mvn) = program::find("mvn") else {
        bail!("Maven is missing: install it (Debian: apt-get install maven)");
    };
    let plugin = format!("org.apache.maven.plugins:maven-dependency-plugin:{}", pinned::MAVEN_DEPENDENCY_PLUGIN);
    let mut command = Command::new(mvn);
    command.current_dir(project).env("JAVA_HOME", java::home(17, cache)?);
    command.args(["--quiet", "--batch-mode", "--no-transfer-progress", "-Dstyle.color=never"]);
    if !goal.contains(&"--lax-checksums") {
        command.arg("--strict-checksums");
    }
    command.arg(format!("{plugin}:{}", goal[0])).args(&goal[1..]);
    command.arg(format!("-DoutputDirectory={}", into.display()));
    fetch(&mut command).context("Maven failed; is its repository reachable (~/.m2/settings.xml names a mirror)?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_with_the_checksum_that_is_pinned_alone() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("program.zip"), "abc").expect("a file");
        must_have(folder.path(), abc).expect("it has it");
        fs::write(folder.path().join("program.zip"), "abd").expect("a file");
        let refused = must_have(folder.path(), abc).expect_err("it has another one").to_string();
        assert!(refused.starts_with("program.zip has the SHA-256 a52d159f"), "{refused}");
    }
}
