//! Services as containers, by testcontainers. Every image can be overridden by a variable ([`crate::pinned`]); one that is
//! there is not pulled.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tokio::runtime::Runtime;

use crate::guard::{self, Assignment, Order, Said};
use crate::launch::{self, Ready, kafka};
use crate::ready::Asker;
use crate::{Endpoints, Service, certificates, download, pinned};

/// Marks a container with the folder of the service that it is.
const LABEL: &str = "lyceum.services.folder";
/// Pulling an image is part of the start.
const START: Duration = Duration::from_secs(900);
/// How long a container that runs may take to answer.
const PATIENCE: Duration = Duration::from_secs(240);
const TICK: Duration = Duration::from_millis(200);

/// What is missing for containers, as a sentence.
pub(crate) fn missing() -> Option<String> {
    let ping = || -> Result<()> {
        let runtime = Runtime::new()?;
        runtime.block_on(async {
            let docker = Docker::connect_with_defaults()?;
            tokio::time::timeout(Duration::from_secs(5), docker.ping()).await??;
            Ok(())
        })
    };
    ping().err().map(|_| "no Docker engine answers (DOCKER_HOST, or /var/run/docker.sock)".to_owned())
}

/// A guard whose service is a container.
pub(crate) fn guard(assignment: &Assignment, orders: &Receiver<Order>) -> Result<()> {
    let _lock = guard::own(assignment)?;
    let runtime = Runtime::new()?;
    let result = runtime.block_on(remove_left(&assignment.folder)).and_then(|()| watch(assignment, &runtime, orders));
    guard::clean(assignment)?;
    result
}

fn watch(assignment: &Assignment, runtime: &Runtime, orders: &Receiver<Order>) -> Result<()> {
    let service = assignment.service;
    let plan = plan(assignment)?;
    let image = plan.image.clone();
    let container = runtime
        .block_on(plan.request.start())
        .with_context(|| format!("{service} did not start from the image {image}"))?;
    let result = serve(service, runtime, &container, (&plan.ready, plan.endpoints), orders);
    runtime.block_on(container.rm()).with_context(|| format!("the container of {service} cannot be removed"))?;
    result
}

fn serve(
    service: Service,
    runtime: &Runtime,
    container: &ContainerAsync<GenericImage>,
    (ready, endpoints): (&Ready, Endpoints),
    orders: &Receiver<Order>,
) -> Result<()> {
    let asker = Asker::new()?;
    let began = Instant::now();
    while !asker.answers(ready) {
        if !runtime.block_on(container.is_running())? {
            bail!("the container of {service} ended: {}", last_words(runtime, container));
        }
        if began.elapsed() > PATIENCE {
            bail!("{service} did not answer within {} s: {}", PATIENCE.as_secs(), last_words(runtime, container));
        }
        if matches!(orders.recv_timeout(TICK), Err(RecvTimeoutError::Disconnected)) {
            return Ok(());
        }
    }
    guard::say(&Said::Ready { endpoints: Box::new(endpoints), process: None });
    let mut told = false;
    loop {
        match orders.recv_timeout(Duration::from_secs(1)) {
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(order) => guard::say(&Said::Failed { why: format!("{order:?}: a container is shared") }),
            Err(RecvTimeoutError::Timeout) if told => {}
            Err(RecvTimeoutError::Timeout) => {
                if !runtime.block_on(container.is_running())? {
                    told = true;
                    guard::say(&Said::Ended { why: format!("{service} ended: {}", last_words(runtime, container)) });
                }
            }
        }
    }
}

fn last_words(runtime: &Runtime, container: &ContainerAsync<GenericImage>) -> String {
    let said = runtime.block_on(async {
        [container.stdout_to_vec().await.unwrap_or_default(), container.stderr_to_vec().await.unwrap_or_default()]
            .concat()
    });
    download::last_lines(&String::from_utf8_lossy(&said), 12)
}

/// Containers of guards that were killed.
async fn remove_left(folder: &Path) -> Result<()> {
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
    ready: Ready,
    endpoints: Endpoints,
}

/// The image, `name:tag`: the pinned one, or the one that the environment names.
fn image(service: Service, variable: impl Fn(&str) -> Option<String>) -> Result<(String, String)> {
    let pinned = pinned::image(service);
    let Some(named) = variable(pinned.variable).filter(|image| !image.is_empty()) else {
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

fn plan(assignment: &Assignment) -> Result<Plan> {
    let (service, folder) = (assignment.service, &assignment.folder);
    let variable = |name: &str| env::var(name).ok();
    let (name, tag) = image(service, variable)?;
    let host = host(variable);
    let inside: &[u16] = match service {
        Service::Kafka => &[9092, 9093, 9094, 9095, 9096, 9097],
        Service::DynamoDb => &[8000],
        Service::Elasticsearch | Service::OpenSearch => &[9200],
        Service::Registry => &[8080],
        Service::Aws => &[4566],
    };
    // Chosen here, since a broker has to know before it starts what it tells its clients.
    let outside = launch::free_ports(inside.len())?;
    let url = format!("http://{host}:{}", outside[0]);
    let (mut generic, mut endpoints) = (GenericImage::new(name.clone(), tag.clone()), Endpoints::default());
    if service == Service::Kafka {
        generic = generic.with_entrypoint("sh");
    }
    let mut request: ContainerRequest<GenericImage> = generic.into();
    request = request.with_startup_timeout(START).with_label(LABEL, folder.display().to_string());
    for (outside, inside) in outside.iter().zip(inside) {
        request = request.with_mapped_port(*outside, inside.tcp());
    }
    let health = |path: &str, holds| Ready::Get { url: format!("{url}{path}"), holds };
    let ready = match service {
        Service::Kafka => {
            let tls = folder.join("certificates");
            certificates::write(&tls)?;
            let there = Path::new("/tmp/lyceum");
            let iam = msk_iam(&assignment.cache);
            let has_iam = !iam.is_empty();
            let (bind, ports) = ("0.0.0.0", inside);
            let listeners = kafka::Listeners { bind, host: &host, ports, outside: &outside, advertised: None, has_iam };
            let properties = kafka::properties(&listeners, there, &PathBuf::from("/tmp/kafka-data"));
            request = request.with_copy_to("/tmp/lyceum/server.properties", properties.into_bytes());
            for file in ["broker.pem", "ca.pem"] {
                request = request.with_copy_to(format!("/tmp/lyceum/{file}"), std::fs::read(tls.join(file))?);
            }
            for (name, class) in iam {
                request = request.with_copy_to(format!("/tmp/lyceum/iam/lyceum/{name}"), class);
            }
            let java = "java -Xmx256m -XX:+UseSerialGC -Dlog4j2.level=INFO -cp '/opt/kafka/libs/*:/tmp/lyceum/iam'";
            let format = kafka::format_arguments("/tmp/lyceum/server.properties").join("' '");
            let script = format!("{java} '{format}' && exec {java} kafka.Kafka /tmp/lyceum/server.properties");
            request = request.with_cmd(["-c".to_owned(), script]);
            let kafka = kafka::endpoint(&host, &outside, has_iam, &tls);
            let ready = Ready::Kafka { address: kafka.plaintext.clone() };
            endpoints = Endpoints::of_kafka(kafka);
            ready
        }
        Service::DynamoDb | Service::Aws => Ready::ListTables { url: url.clone() },
        Service::Elasticsearch => {
            request = request
                .with_env_var("discovery.type", "single-node")
                .with_env_var("xpack.security.enabled", "false")
                .with_env_var("cluster.routing.allocation.disk.threshold_enabled", "false")
                .with_env_var("ES_JAVA_OPTS", "-Xms512m -Xmx512m");
            health("/_cluster/health?wait_for_status=yellow&timeout=1s", "\"timed_out\":false")
        }
        Service::OpenSearch => {
            request = request
                .with_env_var("discovery.type", "single-node")
                .with_env_var("DISABLE_SECURITY_PLUGIN", "true")
                .with_env_var("DISABLE_INSTALL_DEMO_CONFIG", "true")
                .with_env_var("cluster.routing.allocation.disk.threshold_enabled", "false")
                .with_env_var("OPENSEARCH_JAVA_OPTS", "-Xms512m -Xmx512m");
            health("/_cluster/health?wait_for_status=yellow&timeout=1s", "\"timed_out\":false")
        }
        Service::Registry => health("/apis/ccompat/v7/subjects", "["),
    };
    if service != Service::Kafka {
        let path = if service == Service::Registry { "/apis/ccompat/v7" } else { "" };
        endpoints = Endpoints::of(service, format!("{url}{path}"));
    }
    Ok(Plan { image: format!("{name}:{tag}"), request, ready, endpoints })
}

/// The classes of the stand-in for IAM, which this machine compiles; none where it cannot, and then no listener either.
fn msk_iam(cache: &Path) -> Vec<(String, Vec<u8>)> {
    let compiled = || -> Result<Vec<(String, Vec<u8>)>> {
        if let Some(missing) = launch::missing(Service::Kafka, cache) {
            bail!("{missing}");
        }
        let classes = std::fs::read_dir(download::msk_iam(cache)?.join("lyceum"))?;
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
