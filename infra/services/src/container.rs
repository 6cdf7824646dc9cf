//! Services as containers, by testcontainers. Every image can be overridden by a variable; one that is there is not pulled.
//!
//! A container is the engine's child. So a reaper, a process of its own, ends it with the keeper, however that ends.

use std::collections::HashMap;
use std::env;
use std::mem::ManuallyDrop;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tokio::runtime::Runtime;

use crate::launch::free_ports;
use crate::{Endpoints, Service, certificates, kafka, maven, pinned, prepare, program};

/// Marks a container with the folder of the service that it is.
const LABEL: &str = "lyceum.services.folder";
/// Pulling an image is part of the start.
const START: Duration = Duration::from_secs(900);

/// What is missing for containers, as a sentence.
pub(crate) fn missing() -> Option<String> {
    let ping = || -> Result<()> {
        Runtime::new()?.block_on(async {
            let docker = Docker::connect_with_defaults()?;
            tokio::time::timeout(Duration::from_secs(5), docker.ping()).await??;
            Ok(())
        })
    };
    ping().err().map(|_| "no Docker engine answers (DOCKER_HOST, or /var/run/docker.sock)".to_owned())
}

/// A container that was started.
pub(crate) struct Container {
    service: Service,
    pub(crate) endpoints: Endpoints,
    runtime: Runtime,
    /// Not dropped: the reaper removes it, and its own way needs a running runtime.
    container: ManuallyDrop<ContainerAsync<GenericImage>>,
    reaper: Child,
}

impl Container {
    pub(crate) fn start(service: Service, cache: &Path, folder: &Path) -> Result<Self> {
        let runtime = Runtime::new()?;
        runtime.block_on(remove(folder))?;
        let mut command = program::again()?;
        command.arg("reap").arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let reaper = command.spawn().context("cannot start the reaper of containers")?;
        let Plan { image, request, endpoints } = plan(service, cache, folder)?;
        let container = runtime
            .block_on(request.start())
            .with_context(|| format!("{service} did not start from the image {image}"))?;
        Ok(Self { service, endpoints, runtime, container: ManuallyDrop::new(container), reaper })
    }

    /// Why it ended, if it has.
    pub(crate) fn has_ended(&self) -> Option<String> {
        let ended = !self.runtime.block_on(self.container.is_running()).unwrap_or(true);
        ended.then(|| format!("the container of {} ended: {}", self.service, self.last_words()))
    }

    pub(crate) fn last_words(&self) -> String {
        let said = self.runtime.block_on(async {
            let (out, err) = (self.container.stdout_to_vec().await, self.container.stderr_to_vec().await);
            [out.unwrap_or_default(), err.unwrap_or_default()].concat()
        });
        program::last_lines(&String::from_utf8_lossy(&said), 12)
    }
}

impl Drop for Container {
    /// The reaper removes it.
    fn drop(&mut self) {
        drop(self.reaper.stdin.take());
        if !self.reaper.wait().is_ok_and(|status| status.success()) {
            eprintln!("the container of {} could not be removed", self.service);
        }
    }
}

/// The reaper's main: waits for the end of whoever holds its standard input, and removes what is left.
pub(crate) fn reap(folder: &Path) -> Result<()> {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Runtime::new()?.block_on(remove(folder))
}

async fn remove(folder: &Path) -> Result<()> {
    let docker = Docker::connect_with_defaults().context("no Docker engine answers")?;
    let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={}", folder.display())])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    for left in docker.list_containers(Some(options)).await.context("the Docker engine lists no containers")? {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        docker.remove_container(&left.id.unwrap_or_default(), Some(options)).await?;
    }
    Ok(())
}

struct Plan {
    image: String,
    request: ContainerRequest<GenericImage>,
    endpoints: Endpoints,
}

/// The image, `name:tag`: the pinned one, or the one that the environment names.
fn image(service: Service, variable: impl Fn(&str) -> Option<String>) -> Result<(String, String)> {
    let pinned = pinned::image(service);
    let name = format!("LYCEUM_TEST_{}_IMAGE", service.name().to_uppercase());
    let Some(named) = variable(&name).filter(|image| !image.is_empty()) else {
        let tag = match service {
            Service::Elasticsearch | Service::OpenSearch => {
                pinned::search_engine(service, variable).map_err(anyhow::Error::msg)?
            }
            _ => pinned.tag,
        };
        return Ok((pinned.name.to_owned(), tag.to_owned()));
    };
    // A colon before the last slash belongs to a registry's port.
    Ok(match named.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => (name.to_owned(), tag.to_owned()),
        None => (named, "latest".to_owned()),
    })
}

/// Where the ports of containers are reached.
fn host(variable: impl Fn(&str) -> Option<String>) -> String {
    let engine = variable("DOCKER_HOST").unwrap_or_default();
    let remote = engine.strip_prefix("tcp://").and_then(|address| address.split(':').next()).map(str::to_owned);
    variable("TESTCONTAINERS_HOST_OVERRIDE").or(remote).unwrap_or_else(|| "127.0.0.1".to_owned())
}

fn plan(service: Service, cache: &Path, folder: &Path) -> Result<Plan> {
    let variable = |name: &str| env::var(name).ok();
    let (name, tag) = image(service, variable)?;
    let host = host(variable);
    let (inside, variables): (&[u16], &[(&str, &str)]) = match service {
        Service::Kafka => (&[9092, 9093, 9094, 9095, 9096, 9097], &[]),
        Service::DynamoDb => (&[8000], &[]),
        Service::Elasticsearch => (
            &[9200],
            &[
                ("discovery.type", "single-node"),
                ("cluster.routing.allocation.disk.threshold_enabled", "false"),
                ("xpack.security.enabled", "false"),
                ("ES_JAVA_OPTS", "-Xms512m -Xmx512m"),
            ],
        ),
        Service::OpenSearch => (
            &[9200],
            &[
                ("discovery.type", "single-node"),
                ("cluster.routing.allocation.disk.threshold_enabled", "false"),
                ("DISABLE_SECURITY_PLUGIN", "true"),
                ("DISABLE_INSTALL_DEMO_CONFIG", "true"),
                ("OPENSEARCH_JAVA_OPTS", "-Xms512m -Xmx512m"),
            ],
        ),
        Service::Secured => bail!("{service} runs as a process alone"),
        Service::Registry => (&[8080], &[]),
        Service::Aws => (&[4566], &[]),
    };
    // Chosen here, since a broker has to know before it starts what it tells its clients.
    let outside = free_ports(inside.len())?;
    let generic = GenericImage::new(name.clone(), tag.clone());
    let generic = if service == Service::Kafka { generic.with_entrypoint("sh") } else { generic };
    let request = ContainerRequest::from(generic).with_startup_timeout(START);
    let request = request.with_label(LABEL, folder.display().to_string());
    let ports = outside.iter().zip(inside);
    let request = ports.fold(request, |request, (outside, inside)| request.with_mapped_port(*outside, inside.tcp()));
    let request = variables.iter().fold(request, |request, (name, value)| request.with_env_var(*name, *value));
    let image = format!("{name}:{tag}");
    if service != Service::Kafka {
        return Ok(Plan { image, request, endpoints: Endpoints::at(service, &format!("{host}:{}", outside[0])) });
    }
    let tls = folder.join("certificates");
    certificates::write(&tls)?;
    let iam = msk_iam(cache);
    let has_iam = !iam.is_empty();
    let listeners = kafka::Listeners { bind: "0.0.0.0", host: &host, ports: inside, outside: &outside, has_iam };
    let properties = kafka::properties(&listeners, Path::new("/tmp/lyceum"), Path::new("/tmp/kafka-data"));
    let mut files = vec![("server.properties".to_owned(), properties.into_bytes())];
    for name in ["broker.pem", "ca.pem"] {
        files.push((name.to_owned(), std::fs::read(tls.join(name))?));
    }
    files.extend(iam.into_iter().map(|(name, class)| (format!("iam/lyceum/{name}"), class)));
    let copy = |request: ContainerRequest<_>, (name, file)| request.with_copy_to(format!("/tmp/lyceum/{name}"), file);
    let request = files.into_iter().fold(request, copy);
    let java = "java -Xmx256m -XX:+UseSerialGC -Dlog4j2.level=INFO -cp '/opt/kafka/libs/*:/tmp/lyceum/iam'";
    let format = kafka::format_arguments("/tmp/lyceum/server.properties").join("' '");
    let script = format!("{java} '{format}' && exec {java} kafka.Kafka /tmp/lyceum/server.properties");
    let request = request.with_cmd(["-c".to_owned(), script]);
    Ok(Plan { image, request, endpoints: Endpoints::of_kafka(kafka::endpoint(&host, &outside, has_iam, &tls)) })
}

/// The classes of the stand-in for IAM, which this machine compiles; none where it cannot, and then no listener either.
fn msk_iam(cache: &Path) -> Vec<(String, Vec<u8>)> {
    let compiled = || -> Result<Vec<(String, Vec<u8>)>> {
        if let Some(missing) = prepare::missing(Service::Kafka, cache) {
            bail!("{missing}");
        }
        let classes = std::fs::read_dir(maven::msk_iam(cache)?.join("lyceum"))?;
        let read = |file: std::fs::DirEntry| {
            Ok((file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path())?))
        };
        classes.map(|file| read(file?)).collect()
    };
    compiled().unwrap_or_else(|error| {
        eprintln!("Kafka's container has no listener for IAM: {error:#}");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_the_environment_takes_the_place_of_the_pinned_one() {
        let of = |named: &'static str| image(Service::Kafka, move |_| Some(named.to_owned())).expect("an image");
        assert_eq!(
            image(Service::Kafka, |_| None).expect("an image"),
            ("apache/kafka".to_owned(), pinned::KAFKA.to_owned())
        );
        assert_eq!(of(""), ("apache/kafka".to_owned(), pinned::KAFKA.to_owned()));
        assert_eq!(of("mine/kafka:7"), ("mine/kafka".to_owned(), "7".to_owned()));
        assert_eq!(of("registry.example:5000/kafka"), ("registry.example:5000/kafka".to_owned(), "latest".to_owned()));
        assert_eq!(of("registry.example:5000/kafka:7"), ("registry.example:5000/kafka".to_owned(), "7".to_owned()));
    }

    #[test]
    fn ports_of_containers_are_where_the_engine_is() {
        let of = |name: &'static str, value: &'static str| host(move |asked| (asked == name).then(|| value.to_owned()));
        assert_eq!(host(|_| None), "127.0.0.1");
        assert_eq!(of("DOCKER_HOST", "unix:///run/docker.sock"), "127.0.0.1");
        assert_eq!(of("DOCKER_HOST", "tcp://engine.example:2375"), "engine.example");
        assert_eq!(of("TESTCONTAINERS_HOST_OVERRIDE", "172.17.0.1"), "172.17.0.1");
    }
}
