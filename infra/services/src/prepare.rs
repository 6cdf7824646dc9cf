//! How each service becomes a process of this machine: what it lacks, its files and its command.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::cache::{self, is_complete};
use crate::launch::{Launch, Place, free_ports, small_jvm};
use crate::{Endpoints, Service, java, kafka, maven, pinned, program, search};

/// The least Java of the registry.
const REGISTRY_JAVA: u32 = 21;

fn registry_name() -> String {
    format!("registry-{}", pinned::REGISTRY)
}

fn aws_name() -> String {
    format!("ministack-{}", pinned::MINISTACK)
}

/// What is missing on this machine for the service to run as a process, as a sentence.
pub(crate) fn missing(service: Service, cache: &Path) -> Option<String> {
    let (java, names) = match service {
        Service::DynamoDb => return None,
        Service::Aws => {
            let there = is_complete(cache, &aws_name()) || program::find("python3").is_some();
            return (!there).then(|| "python3 is missing".to_owned());
        }
        Service::Kafka => (17, vec![maven::kafka_name(), maven::msk_iam_name()]),
        Service::Elasticsearch | Service::OpenSearch | Service::Secured => match search::version(service) {
            Ok(version) => (search::java(version), vec![search::name(service, version)]),
            Err(why) => return Some(why),
        },
        Service::Registry => (REGISTRY_JAVA, vec![registry_name()]),
    };
    if !java::is_at_hand(java, cache) {
        return Some(format!("Java {java} or newer is missing"));
    }
    let fetched = names.iter().all(|name| is_complete(cache, name)) || program::find("mvn").is_some();
    (!fetched).then(|| "Maven (mvn) is missing".to_owned())
}

/// Fetches what the cache lacks, and writes the service's files into its folder; its command, where it will answer, and its
/// ports.
pub(crate) fn prepare(service: Service, cache: &Path, folder: &Path) -> Result<(Launch, Endpoints, Vec<u16>)> {
    let ports = free_ports(match service {
        Service::Kafka => 6,
        Service::Elasticsearch | Service::OpenSearch | Service::Secured => 2,
        Service::DynamoDb | Service::Registry | Service::Aws => 1,
    })?;
    let place = Place { cache, folder, ports: &ports };
    let launch = match service {
        Service::Kafka => {
            let (launch, endpoint) = kafka::prepare(&place)?;
            return Ok((launch, Endpoints::of_kafka(endpoint), ports));
        }
        Service::DynamoDb => dynamodb(&place)?,
        Service::Elasticsearch | Service::OpenSearch | Service::Secured => search::prepare(service, &place)?,
        Service::Registry => registry(&place)?,
        Service::Aws => aws(&place)?,
    };
    Ok((launch, Endpoints::at(service, &format!("127.0.0.1:{}", ports[0])), ports))
}

/// dynoxide as a server: a process of this program's own.
fn dynamodb(place: &Place<'_>) -> Result<Launch> {
    let mut server = program::again()?;
    server
        .args(["serve-dynamodb", "--port", &place.ports[0].to_string(), "--data"])
        .arg(place.folder.join("tables.sqlite"));
    Ok(Launch {
        program: server.get_program().into(),
        arguments: server.get_args().map(Into::into).collect(),
        environment: Vec::new(),
        refuses_root: false,
    })
}

/// Apicurio Registry, in memory, with Confluent's API.
fn registry(place: &Place<'_>) -> Result<Launch> {
    let artifact = format!("io.apicurio:apicurio-registry-app:{}:tar.gz:all", pinned::REGISTRY);
    let program = maven::archive(place.cache, &registry_name(), &artifact, None)?;
    let home = java::home(REGISTRY_JAVA, place.cache)?;
    let mut arguments = small_jvm(256);
    // The management interface, which cannot be left out once it is built in, would take port 9000 of every address.
    let free = ["http.host=127.0.0.1", "management.host=127.0.0.1", "management.port=0"];
    arguments.extend(free.map(|property| format!("-Dquarkus.{property}").into()));
    arguments.push(format!("-Dquarkus.http.port={}", place.ports[0]).into());
    arguments.extend(["-jar".into(), program.join("quarkus-run.jar").into()]);
    Ok(Launch { program: home.join("bin/java"), arguments, environment: Vec::new(), refuses_root: false })
}

/// ministack: AWS's API, in one Python process.
fn aws(place: &Place<'_>) -> Result<Launch> {
    let program = cache::python(place.cache, &aws_name(), &format!("ministack[full]=={}", pinned::MINISTACK))?;
    let data = place.folder.join("data");
    fs::create_dir_all(data.join("tmp"))?;
    Ok(Launch {
        program: program.join("bin/python"),
        arguments: vec!["-m".into(), "ministack".into()],
        environment: vec![
            ("GATEWAY_PORT", place.ports[0].to_string().into()),
            ("S3_DATA_DIR", data.join("s3").into()),
            ("STATE_DIR", data.join("state").into()),
            ("TMPDIR", data.join("tmp").into()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ],
        refuses_root: false,
    })
}
