//! Apicurio Registry, in memory, with Confluent's API.

use anyhow::Result;

use super::{Launch, Place, Ready, small_jvm};
use crate::{Endpoints, Service, download, java, pinned};

/// The least Java.
pub(super) const JAVA: u32 = 21;

pub(super) fn name() -> String {
    format!("registry-{}", pinned::REGISTRY)
}

pub(super) fn prepare(place: &Place<'_>) -> Result<Launch> {
    let artifact = format!("io.apicurio:apicurio-registry-app:{}:tar.gz:all", pinned::REGISTRY);
    let program = download::archive(place.cache, &name(), &artifact)?;
    let home = java::home(JAVA, place.cache)?;
    let url = format!("http://127.0.0.1:{}/apis/ccompat/v7", place.ports[0]);
    let mut arguments = small_jvm(256);
    // The management interface would take port 9000.
    arguments.extend(["-Dquarkus.http.host=127.0.0.1".into(), "-Dquarkus.management.enabled=false".into()]);
    arguments.push(format!("-Dquarkus.http.port={}", place.ports[0]).into());
    arguments.extend(["-jar".into(), program.join("quarkus-run.jar").into()]);
    Ok(Launch {
        program: home.join("bin/java"),
        arguments,
        environment: Vec::new(),
        refuses_root: false,
        ready: Ready::Get { url: format!("{url}/subjects"), holds: "[" },
        endpoints: Endpoints::of(Service::Registry, url),
    })
}
