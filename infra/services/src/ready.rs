//! Whether a service answers, by a real call.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::launch::Ready;

const PATIENCE: Duration = Duration::from_secs(3);

/// Asks, and judges the answer.
pub(crate) struct Asker {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Asker {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { runtime, client })
    }

    pub(crate) fn answers(&self, ready: &Ready) -> bool {
        match ready {
            Ready::Kafka { address } => kafka_answers(address).unwrap_or(false),
            Ready::ListTables { url } => {
                let request = self
                    .client
                    .post(url)
                    .header("content-type", "application/x-amz-json-1.0")
                    .header("x-amz-target", "DynamoDB_20120810.ListTables")
                    .header("x-amz-date", "20260101T000000Z")
                    .header(
                        "authorization",
                        "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                         SignedHeaders=host;x-amz-date, Signature=none",
                    )
                    .body("{}");
                self.body_of(request).is_some_and(|body| body.contains("TableNames"))
            }
            Ready::Get { url, holds } => self.body_of(self.client.get(url)).is_some_and(|body| body.contains(holds)),
        }
    }

    fn body_of(&self, request: reqwest::RequestBuilder) -> Option<String> {
        self.runtime.block_on(async { request.send().await.ok()?.error_for_status().ok()?.text().await.ok() })
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
