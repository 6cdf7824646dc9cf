//! Calls of services of AWS that no client is linked for: signed, sent, and answered as they come.

use std::net::IpAddr;
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::{AggregatedBytes, ByteStream};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::timeout;

use crate::sign::{Signer, SigningError, Unsigned};

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(30);

/// One service, where it answers.
pub struct Service {
    name: String,
    endpoint: String,
    signer: Signer,
    connections: Connections,
}

/// Connections to services that speak HTTP, AWS's or not, as its clients make them: the same cryptography, the same proxy.
#[derive(Debug)]
pub struct Connections(Box<dyn HttpConnector>);

impl Default for Connections {
    fn default() -> Self {
        Self(Box::new(crate::connector(None, None, ProxyConfig::from_env(), TlsContext::default())))
    }
}

impl Connections {
    /// The same, to this address: of this machine none goes by a proxy, and the authorities of `pem` are trusted beside those of the machine.
    ///
    /// # Errors
    /// Where `pem` holds no certificate of an authority, and why.
    pub fn to(url: &str, pem: Option<&[u8]>) -> Result<Self, String> {
        let mut trusted = TrustStore::default();
        if let Some(pem) = pem {
            // What cannot be read is found here: the connector takes for granted that it can.
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let certificates = certificates.map_err(|error| format!("it is no PEM: {error}"))?;
            if certificates.is_empty() {
                return Err("it holds no certificate".to_owned());
            }
            for certificate in &certificates {
                webpki::anchor_from_trusted_cert(certificate)
                    .map_err(|error| format!("it holds no certificate of an authority: {error}"))?;
            }
            trusted = trusted.with_pem_certificate(pem);
        }
        let trusted = TlsContext::builder().with_trust_store(trusted).build().map_err(|error| error.to_string())?;
        let proxy = if is_loopback(url) { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
        Ok(Self(Box::new(crate::connector(None, None, proxy, trusted))))
    }

    /// Sends a request and waits for all of the answer, whatever its status, as long as it takes.
    ///
    /// # Errors
    /// Where there is none, and why.
    pub async fn exchange(
        &self,
        method: &str,
        url: &str,
        headers: impl IntoIterator<Item = (String, String)>,
        body: impl Into<SdkBody>,
    ) -> Result<(u16, AggregatedBytes), String> {
        let mut request = HttpRequest::new(body.into());
        request.set_method(method).map_err(|error| error.to_string())?;
        request.set_uri(url.to_owned()).map_err(|error| error.to_string())?;
        for (name, value) in headers {
            request.headers_mut().try_insert(name, value).map_err(|error| error.to_string())?;
        }
        let response = self.0.call(request).await.map_err(|error| crate::sign::in_full(&error))?;
        let status = response.status().as_u16();
        let body = ByteStream::new(response.into_body()).collect().await;
        Ok((status, body.map_err(|error| crate::sign::in_full(&error))?))
    }
}

/// Whether the address is this machine's own.
pub fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's.
    pub status: u16,
    /// As it came.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was not even asked.
    #[error(transparent)]
    Unsigned(#[from] SigningError),
    /// It does not answer, or not from here.
    #[error("{endpoint} does not answer: {why}")]
    Unanswered {
        /// Where it was looked for.
        endpoint: String,
        /// What the connection said.
        why: String,
    },
}

impl Service {
    /// The service of that name in a region: where `AWS_ENDPOINT_URL_…` with its name or `AWS_ENDPOINT_URL` says, else AWS's own.
    pub fn new(name: &str, region: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        // Three are called otherwise in variables than in addresses.
        let called = match name {
            "monitoring" => "CLOUDWATCH".to_owned(),
            "secretsmanager" => "SECRETS_MANAGER".to_owned(),
            "states" => "SFN".to_owned(),
            name => name.to_uppercase(),
        };
        let own = format!("AWS_ENDPOINT_URL_{called}");
        let given = [own.as_str(), "AWS_ENDPOINT_URL"].into_iter().find_map(variable);
        let (own, signed_for) = place(name, region);
        let endpoint = given.unwrap_or(own).trim_end_matches('/').to_owned();
        let (signer, connections) = (Signer::new(signed_for, name), Connections::default());
        Self { name: name.to_owned(), endpoint, signer, connections }
    }

    /// The same, whose requests this one signs.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        Self { signer, ..self }
    }

    /// Where it answers.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a request and waits for all of the answer, whatever its status.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Result<Answer, CallError> {
        let url = format!("{}{path}", self.endpoint);
        let signed = self.signer.sign(Unsigned { method, url: &url, headers, body: body.as_bytes() }).await?;
        let unanswered = |why: String| CallError::Unanswered { endpoint: self.endpoint.clone(), why };
        let unsigned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let exchange = self.connections.exchange(method, &url, unsigned.chain(signed), body);
        let late = || Err(format!("not within {} s", LIMIT.as_secs()));
        let (status, body) = timeout(LIMIT, exchange).await.unwrap_or_else(|_| late()).map_err(unanswered)?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body.into_bytes()).into_owned() })
    }
}

/// Where AWS has it, and the region that its requests are signed for. Identities are the same in every region.
fn place(name: &str, region: &str) -> (String, String) {
    let is_china = region.starts_with("cn-");
    let domain = if is_china { "amazonaws.com.cn" } else { "amazonaws.com" };
    match name {
        "iam" if is_china => (format!("https://iam.cn-north-1.{domain}"), "cn-north-1".to_owned()),
        "iam" => (format!("https://iam.{domain}"), "us-east-1".to_owned()),
        _ => (format!("https://{name}.{region}.{domain}"), region.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_known_and_what_only_looks_like_one_is_not() {
        for own in ["http://127.0.0.1:8081/a", "http://localhost", "https://[::1]:1/", "http://127.8.0.1"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["http://127.0.0.1.example.org", "https://registry/localhost", "http://10.0.0.1", "http://[::2]"] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_certificate_of_an_authority_is_told_before_anything_is_connected() {
        let block = |der: &str| format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n");
        for (pem, why) in [
            (String::new(), "no certificate"),
            ("certificate".to_owned(), "no certificate"),
            (block("bm90aGluZw=="), "of an authority"),
            (block("%%%%"), "no PEM"),
        ] {
            let told = Connections::to("https://registry.example", Some(pem.as_bytes())).unwrap_err();
            assert!(told.contains(why), "{pem}: {told}");
        }
    }

    #[test]
    fn a_service_is_where_the_environment_says_and_else_where_aws_has_it() {
        let at = |name: &str, region: &str, variables: &[(&str, &str)]| {
            let variable = |asked: &str| {
                let found = variables.iter().find(|(name, _)| *name == asked);
                found.map(|(_, value)| (*value).to_owned())
            };
            Service::new(name, region, variable).endpoint
        };
        assert_eq!(at("lambda", "eu-central-1", &[]), "https://lambda.eu-central-1.amazonaws.com");
        assert_eq!(at("lambda", "cn-north-1", &[]), "https://lambda.cn-north-1.amazonaws.com.cn");
        assert_eq!(at("iam", "eu-central-1", &[]), "https://iam.amazonaws.com");
        assert_eq!(at("states", "eu-central-1", &[]), "https://states.eu-central-1.amazonaws.com");
        let sfn = ("AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:3");
        assert_eq!(at("states", "eu-central-1", &[sfn]), "http://127.0.0.1:3");
        let all = ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/");
        assert_eq!(at("iam", "eu-central-1", &[all]), "http://127.0.0.1:4566");
        let own = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:2");
        assert_eq!(at("secretsmanager", "eu-central-1", &[own]), "http://127.0.0.1:2");
        assert_eq!(
            at("iam", "eu-central-1", &[all, ("AWS_ENDPOINT_URL_IAM", "http://127.0.0.1:1")]),
            "http://127.0.0.1:1"
        );
    }
}
