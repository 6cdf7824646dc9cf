//! Which services tests run on: what `LYCEUM_TEST_SERVICES` says, or what the machine has.

use std::env;
use std::fmt;
use std::sync::OnceLock;

use anyhow::Result;

use crate::folder::Folder;
use crate::guard::RunsAs;
use crate::{Endpoints, Lease, Service, client, container, launch};

/// Where services come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those that the environment names, and no others.
    Endpoints,
    /// Processes of this machine, from Maven Central and PyPI.
    Maven,
    /// Containers.
    Docker,
    /// An AWS endpoint for what it speaks, DynamoDB among it: the one that `AWS_ENDPOINT_URL` names, or ministack. The
    /// others as without a mode.
    LocalStack,
}

impl Mode {
    /// The mode that `LYCEUM_TEST_SERVICES` names, if it is set.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        match variable("LYCEUM_TEST_SERVICES").as_deref() {
            None | Some("") => Ok(None),
            Some("endpoints") => Ok(Some(Self::Endpoints)),
            Some("maven") => Ok(Some(Self::Maven)),
            Some("docker") => Ok(Some(Self::Docker)),
            Some("localstack") => Ok(Some(Self::LocalStack)),
            Some(other) => Err(format!(
                "LYCEUM_TEST_SERVICES is '{other}': write docker, maven, localstack or endpoints, or unset it"
            )),
        }
    }
}

/// Why a test cannot have what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The machine has nothing to run it with: the test is reported as ignored.
    Missing(String),
    /// It should have run and did not: the test fails.
    Broken(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) | Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Where each service that is needed comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) named: Endpoints,
    pub(crate) processes: Vec<Service>,
    pub(crate) containers: Vec<Service>,
    /// Whether the AWS endpoint is DynamoDB, too.
    pub(crate) dynamodb_is_aws: bool,
}

/// What the machine has, asked when it matters.
pub(crate) trait Machine {
    /// What is missing for the service to run as a process.
    fn missing(&self, service: Service) -> Option<String>;
    /// What is missing for containers.
    fn no_engine(&self) -> Option<String>;
}

/// Decides; touches nothing.
pub(crate) fn plan(
    mode: Option<Mode>,
    named: &Endpoints,
    machine: &impl Machine,
    needs: &[Service],
) -> Result<Plan, Unavailable> {
    let mut plan = Plan::default();
    let aws = mode == Some(Mode::LocalStack);
    let mut missing = Vec::new();
    for service in needs {
        let service = if aws && *service == Service::DynamoDb { Service::Aws } else { *service };
        plan.dynamodb_is_aws |= aws && service == Service::Aws;
        let names_it = named.has(service) && matches!(mode, None | Some(Mode::Endpoints | Mode::LocalStack));
        if names_it {
            plan.named = plan.named.clone().and(named.only(&[service]));
            continue;
        }
        let process = || machine.missing(service);
        let container = || machine.no_engine();
        let (from, why) = match mode {
            Some(Mode::Endpoints) => {
                let variable = variable(service);
                (None, format!("LYCEUM_TEST_SERVICES=endpoints, and {variable} does not name {service}"))
            }
            Some(Mode::Maven) => match process() {
                None => (Some(RunsAs::Process), String::new()),
                Some(why) => (None, why),
            },
            Some(Mode::Docker) => match container() {
                None => (Some(RunsAs::Container), String::new()),
                Some(why) => (None, why),
            },
            None | Some(Mode::LocalStack) => match (process(), container()) {
                (None, _) => (Some(RunsAs::Process), String::new()),
                (Some(_), None) => (Some(RunsAs::Container), String::new()),
                (Some(why), Some(engine)) => {
                    (None, format!("{why}; {engine}; and {} names no {service}", variable(service)))
                }
            },
        };
        match from {
            Some(RunsAs::Process) if !plan.processes.contains(&service) => plan.processes.push(service),
            Some(RunsAs::Container) if !plan.containers.contains(&service) => plan.containers.push(service),
            Some(_) => {}
            None => missing.push(format!("{service}: {why}")),
        }
    }
    if missing.is_empty() { Ok(plan) } else { Err(Unavailable::Missing(missing.join("\n"))) }
}

fn variable(service: Service) -> &'static str {
    match service {
        Service::Kafka => "KAFKA_BOOTSTRAP_SERVERS",
        Service::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
        Service::Elasticsearch => "ELASTICSEARCH_URL",
        Service::OpenSearch => "OPENSEARCH_URL",
        Service::Registry => "SCHEMA_REGISTRY_URL",
        Service::Aws => "AWS_ENDPOINT_URL",
    }
}

/// This machine.
struct Here {
    folder: Folder,
}

impl Machine for Here {
    fn missing(&self, service: Service) -> Option<String> {
        launch::missing(service, &self.folder.cache())
    }

    fn no_engine(&self) -> Option<String> {
        static ASKED: OnceLock<Option<String>> = OnceLock::new();
        ASKED.get_or_init(container::missing).clone()
    }
}

/// What is missing for the services to run as processes of this machine.
pub(crate) fn missing_processes(services: &[Service]) -> Result<Option<String>> {
    let here = Here { folder: Folder::standard()? };
    Ok(lacking(&here, services))
}

fn lacking(machine: &impl Machine, services: &[Service]) -> Option<String> {
    let why = |service: &Service| Some(format!("{service} of the test's own: {}", machine.missing(*service)?));
    let all: Vec<String> = services.iter().filter_map(why).collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

/// Services that were found or started, as long as this value lives.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) endpoints: Endpoints,
    _leases: Vec<Lease>,
}

/// Finds or starts what is needed.
pub(crate) fn hold(needs: &[Service]) -> Result<Held, Unavailable> {
    let broken = |error: anyhow::Error| Unavailable::Broken(format!("{error:#}"));
    let variable = |name: &str| env::var(name).ok();
    let mode = Mode::from_environment(variable).map_err(Unavailable::Broken)?;
    let folder = Folder::standard().map_err(broken)?;
    let here = Here { folder };
    let plan = plan(mode, &Endpoints::from_environment(variable), &here, needs)?;
    let mut endpoints = plan.named.clone();
    let mut leases = Vec::new();
    for (runs_as, services) in [(RunsAs::Process, &plan.processes), (RunsAs::Container, &plan.containers)] {
        if !services.is_empty() {
            let lease = client::lease(&here.folder, runs_as, services).map_err(broken)?;
            endpoints = endpoints.and(lease.endpoints().clone());
            leases.push(lease);
        }
    }
    if plan.dynamodb_is_aws {
        let url = endpoints.url(Service::Aws).to_owned();
        endpoints = endpoints.and(Endpoints::of(Service::DynamoDb, url));
    }
    Ok(Held { endpoints, _leases: leases })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine, as far as it matters.
    struct Made {
        java: bool,
        engine: bool,
    }

    impl Machine for Made {
        fn missing(&self, service: Service) -> Option<String> {
            let runs = self.java || service == Service::DynamoDb;
            (!runs).then(|| "Java 17 or newer is missing".to_owned())
        }

        fn no_engine(&self) -> Option<String> {
            (!self.engine).then(|| "no Docker engine answers".to_owned())
        }
    }

    const BARE: Made = Made { java: false, engine: false };
    const FULL: Made = Made { java: true, engine: true };
    const NEEDS: &[Service] = &[Service::Kafka, Service::DynamoDb];

    fn named() -> Endpoints {
        Endpoints::of(Service::DynamoDb, "http://named".to_owned())
    }

    fn planned(mode: Option<Mode>, named: &Endpoints, machine: &Made) -> Plan {
        plan(mode, named, machine, NEEDS).expect("the machine has it")
    }

    #[test]
    fn a_mode_that_does_not_exist_is_named_with_those_that_do() {
        let error = Mode::from_environment(|_| Some("podman".to_owned())).expect_err("there is none");
        assert!(error.contains("'podman'") && error.contains("docker, maven, localstack or endpoints"), "{error}");
        assert_eq!(Mode::from_environment(|_| Some("maven".to_owned())), Ok(Some(Mode::Maven)));
        assert_eq!(Mode::from_environment(|_| None), Ok(None));
    }

    #[test]
    fn without_a_mode_what_is_named_is_used_and_the_rest_is_started() {
        let plan = planned(None, &named(), &FULL);
        assert_eq!(plan.named, named());
        assert_eq!((plan.processes, plan.containers), (vec![Service::Kafka], vec![]));
    }

    #[test]
    fn without_java_services_are_containers_where_an_engine_answers() {
        let plan = planned(None, &Endpoints::default(), &Made { java: false, engine: true });
        assert_eq!((plan.processes, plan.containers), (vec![Service::DynamoDb], vec![Service::Kafka]));
    }

    #[test]
    fn a_mode_is_obeyed_even_where_endpoints_are_named() {
        let plan = planned(Some(Mode::Maven), &named(), &FULL);
        assert_eq!((plan.processes.as_slice(), plan.named), (NEEDS, Endpoints::default()));
        assert_eq!(planned(Some(Mode::Docker), &named(), &FULL).containers, NEEDS);
    }

    #[test]
    fn on_an_aws_endpoint_dynamodb_is_what_it_speaks() {
        let plan = planned(Some(Mode::LocalStack), &Endpoints::default(), &FULL);
        assert_eq!(plan.processes, [Service::Kafka, Service::Aws]);
        assert!(plan.dynamodb_is_aws);
        let aws = Endpoints::of(Service::Aws, "http://localstack".to_owned());
        let plan = planned(Some(Mode::LocalStack), &aws, &FULL);
        assert_eq!((plan.processes, plan.named), (vec![Service::Kafka], aws));
    }

    #[test]
    fn what_a_test_starts_for_itself_is_a_process_even_where_an_engine_answers() {
        let engine = Made { java: false, engine: true };
        assert_eq!(lacking(&engine, NEEDS).as_deref(), Some("Kafka of the test's own: Java 17 or newer is missing"));
        assert_eq!(lacking(&engine, &[Service::DynamoDb]), None);
        assert_eq!(lacking(&FULL, NEEDS), None);
    }

    #[test]
    fn what_a_machine_lacks_is_told_for_each_service() {
        let missing =
            |mode, machine: &Made| plan(mode, &Endpoints::default(), machine, NEEDS).expect_err("it lacks it");
        let Unavailable::Missing(why) = missing(None, &BARE) else { panic!("nothing is broken") };
        assert_eq!(
            why,
            "Kafka: Java 17 or newer is missing; no Docker engine answers; and KAFKA_BOOTSTRAP_SERVERS names no Kafka"
        );
        let Unavailable::Missing(why) = missing(Some(Mode::Endpoints), &FULL) else { panic!("nothing is broken") };
        assert!(why.contains("KAFKA_BOOTSTRAP_SERVERS does not name Kafka"), "{why}");
        assert!(why.contains("AWS_ENDPOINT_URL_DYNAMODB does not name DynamoDB"), "{why}");
    }
}
