//! Elasticsearch and OpenSearch: one node, on this machine alone; without security, but for the one that is there for it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::folder::must_be_open;
use crate::launch::{Launch, Place};
use crate::{Service, certificates, java, maven, pinned, program};

/// The version that the environment asks for.
pub(crate) fn version(service: Service) -> Result<&'static str, String> {
    pinned::search_engine(service, |name| env::var(name).ok())
}

/// The folder in the cache.
pub(crate) fn name(service: Service, version: &str) -> String {
    format!("{}-{version}", service.name())
}

/// The least Java.
pub(crate) fn java(version: &str) -> u32 {
    if [pinned::OPENSEARCH, pinned::ELASTICSEARCH_9].contains(&version) { 21 } else { 17 }
}

pub(crate) fn prepare(service: Service, place: &Place<'_>) -> Result<Launch> {
    let is_opensearch = service != Service::Elasticsearch;
    let version = version(service).map_err(anyhow::Error::msg)?;
    let product = if is_opensearch { "opensearch" } else { "elasticsearch" };
    let name = name(service, version);
    let fetched = if service == Service::Secured {
        maven::secured(place.cache, &name)?
    } else {
        let artifact = format!("org.{product}.distribution.integ-test-zip:{product}:{version}:zip");
        let sha256 = (version == pinned::ELASTICSEARCH_9).then_some(pinned::ELASTICSEARCH_9_SHA256);
        maven::archive(place.cache, &name, &artifact, sha256)?
    };
    let program = fetched.join(format!("{product}-{version}"));
    let home = java::home(java(version), place.cache)?;
    if rustix::process::geteuid().is_root() {
        for reached in [place.folder, &program, &home] {
            must_be_open(reached, service)?;
        }
    }

    let config = place.folder.join("config");
    for folder in ["config", "data", "logs", "tmp"] {
        fs::create_dir_all(place.folder.join(folder))?;
    }
    for entry in fs::read_dir(program.join("config")).context("the archive has no config folder")? {
        let file = entry?.path();
        if let Some(name) = file.file_name().filter(|_| file.is_file()) {
            fs::copy(&file, config.join(name))?;
        }
    }
    if service == Service::Secured {
        secure(&program, &config)?;
    }
    fs::write(config.join(format!("{product}.yml")), settings(service, place))?;
    fs::write(config.join("jvm.options"), jvm_options(&program, &home, place.folder)?)?;
    if rustix::process::geteuid().is_root() {
        program::run(Command::new("chown").args(["-R", "65534:65534"]).arg(place.folder))?;
    }

    let [java_home, path_conf, tmpdir] = if is_opensearch {
        ["OPENSEARCH_JAVA_HOME", "OPENSEARCH_PATH_CONF", "OPENSEARCH_TMPDIR"]
    } else {
        ["ES_JAVA_HOME", "ES_PATH_CONF", "ES_TMPDIR"]
    };
    Ok(Launch {
        program: PathBuf::from("/bin/bash"),
        // The script's mode is not kept by every way of unpacking.
        arguments: vec![program.join("bin").join(product).into()],
        environment: vec![
            ("HOME", place.folder.into()),
            (java_home, home.into()),
            (path_conf, config.into()),
            (tmpdir, place.folder.join("tmp").into()),
        ],
        refuses_root: true,
    })
}

fn settings(service: Service, place: &Place<'_>) -> String {
    let mut settings = format!(
        "cluster.name: lyceum
node.name: one
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
path.data: {folder}/data
path.logs: {folder}/logs
cluster.routing.allocation.disk.threshold_enabled: false
",
        http = place.ports[0],
        transport = place.ports[1],
        folder = place.folder.display(),
    );
    match service {
        Service::Elasticsearch => settings += "xpack.security.enabled: false\n",
        Service::Secured => settings += SECURITY,
        _ => {}
    }
    settings
}

/// Whoever asks over HTTP shows a name and a password; between nodes the plugin wants TLS, also of a single one. Its users, roles and
/// rights are made at the first start from the files beside the settings, and may be changed by who has all access.
const SECURITY: &str = "plugins.security.ssl.transport.pemcert_filepath: certificates/node.pem
plugins.security.ssl.transport.pemkey_filepath: certificates/node.key
plugins.security.ssl.transport.pemtrustedcas_filepath: certificates/ca.pem
plugins.security.ssl.transport.enforce_hostname_verification: false
plugins.security.ssl.http.enabled: false
plugins.security.nodes_dn: [CN=node]
plugins.security.allow_default_init_securityindex: true
plugins.security.restapi.roles_enabled: [all_access]
";

/// The node's certificate, and the plugin's own users and roles, `admin` among them.
fn secure(program: &Path, config: &Path) -> Result<()> {
    certificates::write(&config.join("certificates"))?;
    let own = config.join("opensearch-security");
    fs::create_dir_all(&own)?;
    let delivered = program.join("plugins/opensearch-security/config");
    for entry in fs::read_dir(&delivered).with_context(|| format!("the plugin has no {}", delivered.display()))? {
        let file = entry?.path();
        if let Some(name) = file.file_name().filter(|_| file.extension().is_some_and(|of| of == "yml")) {
            fs::copy(&file, own.join(name))?;
        }
    }
    Ok(())
}

/// Options of our own: the delivered ones write into the program's folder, which is shared and may not be writable.
fn jvm_options(program: &Path, home: &Path, folder: &Path) -> Result<String> {
    let mut options = format!(
        "-Xms512m
-Xmx512m
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-Djava.io.tmpdir={}/tmp
-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1
",
        folder.display()
    );
    let modules = program::run(Command::new(home.join("bin/java")).arg("--list-modules"))?;
    // A Java that was cut down may lack it, and then refuses to start when it is named.
    if modules.contains("jdk.incubator.vector") {
        options += "20-:--add-modules=jdk.incubator.vector\n";
    }
    // OpenSearch 3 has it in place of the security manager that Java has no more.
    if program.join("agent/opensearch-agent.jar").exists() {
        options += "21-:-javaagent:agent/opensearch-agent.jar\n";
    }
    Ok(options)
}
