//! Whether a service answers, by a real call.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::{Endpoints, Service};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Judges the answers.
pub(crate) struct Prober {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Prober {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = lyceum_https::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { runtime, client })
    }

    /// Makes the call that only a service which is ready answers rightly.
    pub(crate) fn answers(&self, service: Service, endpoints: &Endpoints) -> bool {
        let url = endpoints.url(service);
        let get = |path: &str, text| self.holds(self.client.get(format!("{url}{path}")), text);
        match service {
            Service::Kafka => kafka_answers(url).unwrap_or(false),
            Service::DynamoDb | Service::Aws => {
                let credential = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                                  SignedHeaders=host;x-amz-date, Signature=none";
                let request = self.client.post(url).header("content-type", "application/x-amz-json-1.0");
                let request = request.header("x-amz-target", "DynamoDB_20120810.ListTables");
                let request = request.header("x-amz-date", "20260101T000000Z").header("authorization", credential);
                self.holds(request.body("{}"), "TableNames")
            }
            Service::Elasticsearch | Service::OpenSearch => {
                get("/_cluster/health?wait_for_status=yellow&timeout=1s", "\"timed_out\":false")
            }
            Service::Secured => {
                let health = self.client.get(format!("{url}/_cluster/health?wait_for_status=yellow&timeout=1s"));
                self.holds(health.basic_auth("admin", Some("admin")), "\"timed_out\":false")
            }
            Service::Registry => get("/subjects", "["),
        }
    }

    /// Whether the answer is a good one, and has this text.
    fn holds(&self, request: reqwest::RequestBuilder, text: &str) -> bool {
        let body = async { request.send().await?.error_for_status()?.text().await };
        self.runtime.block_on(body).is_ok_and(|body| body.contains(text))
    }
}

/// Metadata, version 1, of no topic (<https://kafka.apache.org/protocol#The_Messages_Metadata>): the answer counts the
/// brokers, which are none until the broker has joined its controller.
fn kafka_answers(address: &str) -> std::io::Result<bool> {
    let address = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Length; api key 3, version 1, correlation id 1, no client id; an empty array of topics.
    stream.write_all(b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\0\0\0\0")?;
    // Length, correlation id, count of brokers.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer[8..] == [0, 0, 0, 1])
}
