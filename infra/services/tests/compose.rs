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

#[test]
fn the_dynamodb_that_is_run_is_the_one_that_is_linked() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = fs::read_to_string(lock).expect("the lock file");
    let entry = format!("name = \"dynoxide-rs\"\nversion = \"{}\"", pinned::DYNOXIDE);
    assert!(lock.contains(&entry), "pinned::DYNOXIDE is {}, and Cargo.lock has another", pinned::DYNOXIDE);
}
