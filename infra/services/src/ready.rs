//! Whether a service answers, by a real call.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A call that only a service which is ready answers rightly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A metadata request that names one broker, at `host:port` of PLAINTEXT.
    Kafka { address: String },
    /// DynamoDB's ListTables.
    ListTables { url: String },
    /// 200, with this in the body.
    Get { url: String, holds: &'static str },
}

/// Makes the call, and judges the answer.
pub(crate) struct Prober {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Prober {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { runtime, client })
    }

    pub(crate) fn answers(&self, ready: &Ready) -> bool {
        match ready {
            Ready::Kafka { address } => kafka_answers(address).unwrap_or(false),
            Ready::ListTables { url } => {
                let credential = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                                  SignedHeaders=host;x-amz-date, Signature=none";
                let request = self.client.post(url).header("content-type", "application/x-amz-json-1.0");
                let request = request.header("x-amz-target", "DynamoDB_20120810.ListTables");
                let request = request.header("x-amz-date", "20260101T000000Z").header("authorization", credential);
                self.holds(request.body("{}"), "TableNames")
            }
            Ready::Get { url, holds } => self.holds(self.client.get(url), holds),
        }
    }

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
