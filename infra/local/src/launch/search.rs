//! Elasticsearch and OpenSearch: one node, without security, on this machine alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Launch, Place, Ready};
use crate::folder::{must_be_open, write_whole};
use crate::{Endpoints, Service, download, java, pinned};

/// The folder in the cache, and the folder within the archive.
pub(super) fn name(service: Service) -> String {
    let version = if service == Service::OpenSearch { pinned::OPENSEARCH } else { pinned::ELASTICSEARCH };
    format!("{}-{version}", service.name())
}

/// The least Java.
pub(super) fn java(service: Service) -> u32 {
    if service == Service::OpenSearch { 21 } else { 17 }
}

pub(super) fn prepare(service: Service, place: &Place<'_>) -> Result<Launch> {
    let is_opensearch = service == Service::OpenSearch;
    let artifact = if is_opensearch {
        format!("org.opensearch.distribution.integ-test-zip:opensearch:{}:zip", pinned::OPENSEARCH)
    } else {
        format!("org.elasticsearch.distribution.integ-test-zip:elasticsearch:{}:zip", pinned::ELASTICSEARCH)
    };
    let program = download::archive(place.cache, &name(service), &artifact)?.join(name(service));
    let home = java::home(java(service), place.cache)?;
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
    write_whole(&config.join(format!("{}.yml", service.name())), settings(service, place).as_bytes())?;
    write_whole(&config.join("jvm.options"), jvm_options(is_opensearch, &home, place.folder)?.as_bytes())?;
    if rustix::process::geteuid().is_root() {
        download::run(Command::new("chown").args(["-R", "65534:65534"]).arg(place.folder))?;
    }

    let url = format!("http://127.0.0.1:{}", place.ports[0]);
    let [java_home, path_conf, tmpdir] = if is_opensearch {
        ["OPENSEARCH_JAVA_HOME", "OPENSEARCH_PATH_CONF", "OPENSEARCH_TMPDIR"]
    } else {
        ["ES_JAVA_HOME", "ES_PATH_CONF", "ES_TMPDIR"]
    };
    Ok(Launch {
        program: PathBuf::from("/bin/bash"),
        // The script's mode is not kept by every way of unpacking.
        arguments: vec![program.join("bin").join(service.name()).into()],
        environment: vec![
            ("HOME", place.folder.into()),
            (java_home, home.into()),
            (path_conf, config.into()),
            (tmpdir, place.folder.join("tmp").into()),
        ],
        refuses_root: true,
        ready: Ready::Get {
            url: format!("{url}/_cluster/health?wait_for_status=yellow&timeout=1s"),
            holds: "\"timed_out\":false",
        },
        endpoints: Endpoints::of(service, url),
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
    if service == Service::Elasticsearch {
        settings += "xpack.security.enabled: false\n";
    }
    settings
}

/// Options of our own: the delivered ones write into the program's folder, which is shared and may not be writable.
fn jvm_options(is_opensearch: bool, home: &Path, folder: &Path) -> Result<String> {
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
    let modules = Command::new(home.join("bin/java")).arg("--list-modules").output().context("java does not run")?;
    // A Java that was cut down may lack it, and then refuses to start when it is named.
    if String::from_utf8_lossy(&modules.stdout).contains("jdk.incubator.vector") {
        options += "20-:--add-modules=jdk.incubator.vector\n";
    }
    if is_opensearch {
        options += "21-:-javaagent:agent/opensearch-agent.jar\n";
    }
    Ok(options)
}
