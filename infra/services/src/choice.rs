//! Which services tests run on: what `LYCEUM_TEST_SERVICES` says, or what the machine has.

use std::env;
use std::sync::OnceLock;

use anyhow::Result;

use crate::client::{self, Lease};
use crate::folder::Folder;
use crate::post::RunsAs;
use crate::unavailable::Unavailable;
use crate::{Endpoints, Service, container, prepare};

/// Where services come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
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
    pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
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

/// Where each service that is needed comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) named: Endpoints,
    pub(crate) processes: Vec<Service>,
    pub(crate) containers: Vec<Service>,
    /// Whether the AWS endpoint is DynamoDB, too.
    pub(crate) dynamodb_is_aws: bool,
}

/// Decides; touches nothing. `missing` says what the machine lacks for a service to run that way.
pub(crate) fn plan(
    mode: Option<Mode>,
    named: &Endpoints,
    missing: impl Fn(Service, RunsAs) -> Option<String>,
    needs: &[Service],
) -> Result<Plan, Unavailable> {
    let mut plan = Plan::default();
    let mut lacking = Vec::new();
    for service in needs {
        let is_aws = mode == Some(Mode::LocalStack) && [Service::DynamoDb, Service::Aws].contains(service);
        let service = if is_aws { Service::Aws } else { *service };
        plan.dynamodb_is_aws |= is_aws;
        if named.has(service) && matches!(mode, None | Some(Mode::Endpoints | Mode::LocalStack)) {
            plan.named = plan.named.and(named.only(service));
            continue;
        }
        let variable = service.variable();
        let (ways, also): (&[RunsAs], _) = match mode {
            Some(Mode::Endpoints) => {
                (&[], Some(format!("LYCEUM_TEST_SERVICES=endpoints, and {variable} does not name {service}")))
            }
            Some(Mode::Maven) => (&[RunsAs::Process], None),
            Some(Mode::Docker) => (&[RunsAs::Container], None),
            None | Some(Mode::LocalStack) => {
                (&[RunsAs::Process, RunsAs::Container], Some(format!("and {variable} names no {service}")))
            }
        };
        let mut why = Vec::new();
        let found = ways.iter().find(|way| missing(service, **way).map(|lacks| why.push(lacks)).is_none());
        let services = match found {
            Some(RunsAs::Process) => &mut plan.processes,
            Some(RunsAs::Container) => &mut plan.containers,
            None => {
                why.extend(also);
                lacking.push(format!("{service}: {}", why.join("; ")));
                continue;
            }
        };
        if !services.contains(&service) {
            services.push(service);
        }
    }
    if lacking.is_empty() { Ok(plan) } else { Err(Unavailable::Missing(lacking.join("\n"))) }
}

/// What this machine lacks for a service to run that way.
fn missing(folder: &Folder, service: Service, runs_as: RunsAs) -> Option<String> {
    static NO_ENGINE: OnceLock<Option<String>> = OnceLock::new();
    match runs_as {
        RunsAs::Process => prepare::missing(service, &folder.cache()),
        RunsAs::Container if service == Service::Secured => Some("it runs as a process alone".to_owned()),
        RunsAs::Container => NO_ENGINE.get_or_init(container::missing).clone(),
    }
}

/// What this machine lacks for the services that a test starts for itself, which are processes whatever else it has.
pub(crate) fn missing_of_own(services: &[Service]) -> Option<String> {
    // What keeps the folder from being named keeps them from starting, which says so.
    let folder = Folder::standard().ok()?;
    lacking_of_own(|service, runs_as| missing(&folder, service, runs_as), services)
}

fn lacking_of_own(missing: impl Fn(Service, RunsAs) -> Option<String>, services: &[Service]) -> Option<String> {
    let why = |service: &Service| Some(format!("{service} of the test's own: {}", missing(*service, RunsAs::Process)?));
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
    let variable = |name: &str| env::var(name).ok();
    let mode = Mode::from_environment(variable).map_err(Unavailable::Broken)?;
    let folder = Folder::standard()?;
    let missing = |service, runs_as| missing(&folder, service, runs_as);
    let plan = plan(mode, &Endpoints::from_environment(variable), missing, needs)?;
    let (mut endpoints, mut leases) = (plan.named, Vec::new());
    for (runs_as, services) in [(RunsAs::Process, &plan.processes), (RunsAs::Container, &plan.containers)] {
        if !services.is_empty() {
            let lease = client::lease(&folder, runs_as, services, false)?;
            endpoints = endpoints.and(lease.endpoints.clone());
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

    impl Made {
        fn missing(&self, service: Service, runs_as: RunsAs) -> Option<String> {
            let (runs, lacks) = match runs_as {
                RunsAs::Process => (self.java || service == Service::DynamoDb, "Java 17 or newer is missing"),
                RunsAs::Container => (self.engine, "no Docker engine answers"),
            };
            (!runs).then(|| lacks.to_owned())
        }
    }

    const BARE: Made = Made { java: false, engine: false };
    const FULL: Made = Made { java: true, engine: true };
    const NEEDS: &[Service] = &[Service::Kafka, Service::DynamoDb];

    fn named() -> Endpoints {
        Endpoints::of(Service::DynamoDb, "http://named".to_owned())
    }

    fn planned(mode: Option<Mode>, named: &Endpoints, machine: &Made) -> Plan {
        plan(mode, named, |service, runs_as| machine.missing(service, runs_as), NEEDS).expect("the machine has it")
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
        let lacking = |machine: Made, services: &[Service]| {
            lacking_of_own(|service, runs_as| machine.missing(service, runs_as), services)
        };
        let of_kafka = lacking(engine, NEEDS);
        assert_eq!(of_kafka.as_deref(), Some("Kafka of the test's own: Java 17 or newer is missing"));
        assert_eq!(lacking(Made { java: false, engine: true }, &[Service::DynamoDb]), None);
        assert_eq!(lacking(FULL, NEEDS), None);
    }

    #[test]
    fn what_a_machine_lacks_is_told_for_each_service() {
        let missing = |mode, machine: &Made| {
            plan(mode, &Endpoints::default(), |service, runs_as| machine.missing(service, runs_as), NEEDS)
                .expect_err("it lacks it")
        };
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
