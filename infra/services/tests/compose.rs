//! The compose file has the versions that are pinned. Whether Compose accepts it, `.ci/run` asks Compose's own loader.

use std::fs;
use std::path::{Path, PathBuf};

use lyceum_services::{Service, pinned};
use saphyr::{LoadableYamlNode as _, Yaml};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compose.yaml")
}

fn services(yaml: &Yaml<'_>) -> Vec<(String, String)> {
    let services = yaml["services"].as_mapping().expect("services");
    let text = |value: &Yaml<'_>| value.as_str().expect("text").to_owned();
    services.iter().map(|(name, service)| (text(name), text(&service["image"]))).collect()
}

#[test]
fn the_compose_file_has_the_pinned_images_and_no_others() {
    let text = fs::read_to_string(file()).expect("the compose file");
    let documents = Yaml::load_from_str(&text).expect("YAML");
    let mut expected: Vec<(String, String)> = Service::ALL
        .map(|service| (service, pinned::image(service)))
        .map(|(service, image)| (service.name().to_owned(), format!("{}:{}", image.name, image.tag)))
        .to_vec();
    expected.push(("redpanda".to_owned(), format!("redpandadata/redpanda:{}", pinned::REDPANDA)));
    let mut found = services(&documents[0]);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_service_of_the_compose_file_has_a_health_check_and_a_port_of_this_machine_by_a_variable() {
    let text = fs::read_to_string(file()).expect("the compose file");
    let documents = Yaml::load_from_str(&text).expect("YAML");
    for (name, service) in documents[0]["services"].as_mapping().expect("services") {
        let port = service["ports"][0].as_str().unwrap_or_default();
        assert!(port.starts_with("127.0.0.1:${") && port.contains("_PORT:-"), "{name:?}: {port}");
        assert!(service["healthcheck"]["test"].as_sequence().is_some_and(|test| test.len() > 1), "{name:?}");
    }
}

/// What a value of the file for people stands for: a service's own keys, then those of the anchor that it takes over.
fn of<'a>(service: &'a Yaml<'a>, key: &str) -> Option<&'a Yaml<'a>> {
    service.as_mapping_get(key).or_else(|| service.as_mapping_get("<<")?.as_mapping_get(key))
}

#[test]
fn the_compose_file_for_people_restarts_bounds_and_orders_what_it_starts_and_takes_services_as_development_does() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose.yaml")).expect("the compose file");
    let documents = Yaml::load_from_str(&text).expect("YAML");
    let services = documents[0]["services"].as_mapping().expect("services");
    let mut ours = Vec::new();
    for (name, service) in services {
        let name = name.as_str().expect("a name");
        assert_eq!(of(service, "restart").and_then(Yaml::as_str), Some("unless-stopped"), "{name}");
        assert!(of(service, "profiles").and_then(Yaml::as_sequence).is_some_and(|of| !of.is_empty()), "{name}");
        let limits = of(service, "deploy").map(|deploy| &deploy["resources"]["limits"]);
        assert!(limits.is_some_and(|of| of["memory"].as_str().is_some()), "{name} may take all memory");
        // Of others, taken over; what is built here is ours.
        if let Some(taken) = of(service, "extends") {
            assert_eq!(
                (taken["file"].as_str(), taken["service"].as_str()),
                (Some("services/compose.yaml"), Some(name))
            );
            continue;
        }
        ours.push(name.to_owned());
        let resources = &of(service, "deploy").expect("bounds")["resources"];
        let told =
            ["limits", "reservations"].map(|of| (resources[of]["cpus"].as_str(), resources[of]["memory"].as_str()));
        assert_eq!(told, [(Some("1"), Some("512M")), (Some("0.5"), Some("256M"))], "{name}");
        assert_eq!(of(service, "read_only").and_then(Yaml::as_bool), Some(true), "{name}");
        for (needed, how) in service.as_mapping_get("depends_on").and_then(Yaml::as_mapping).into_iter().flatten() {
            assert_eq!(how["condition"].as_str(), Some("service_healthy"), "{name} on {needed:?}");
        }
    }
    ours.sort();
    assert_eq!(ours, ["dedicated", "lyceum", "lyceum-beside", "lyceum-everything"]);
}

#[test]
fn the_dynamodb_that_is_run_is_the_one_that_is_linked() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = fs::read_to_string(lock).expect("the lock file");
    let entry = format!("name = \"dynoxide-rs\"\nversion = \"{}\"", pinned::DYNOXIDE);
    assert!(lock.contains(&entry), "pinned::DYNOXIDE is {}, and Cargo.lock has another", pinned::DYNOXIDE);
}
