//! One request to the engine: over pooled connections, within the time limit, sent once.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::Error;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::headers::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use elasticsearch::http::{Method, Url};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{EngineError, explain};
use super::refresh::SharedRefresh;
use super::settings::{AwsService, ElasticsearchSettings, SearchCredentials};
use lyceum_aws::sign::{Signer, SigningError, Unsigned};
use lyceum_core::ports::statements::StatementsError;

/// A search fails where a shard does not answer, instead of counting what the others have.
pub(super) const WHOLE: &[(&str, &str)] = &[("allow_partial_search_results", "false")];

/// The engine's answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// A client for one alias.
pub(super) struct Requests {
    transport: Transport,
    /// The alias.
    pub(super) index: String,
    url: String,
    timeout: Duration,
    signing: Option<Arc<Signing>>,
    /// The index that the alias led to when that was looked at last; nobody looked where it is empty.
    expected: Mutex<Arc<str>>,
    /// What calls at once share.
    pub(super) refresh: SharedRefresh,
    /// Whether it is Amazon OpenSearch Serverless.
    pub(super) is_serverless: bool,
}

/// What signs requests.
struct Signing {
    signer: Signer,
    /// As the transport joins paths to it.
    base: Url,
    /// Who is to grant what, for people.
    grant: String,
}

impl Requests {
    pub(super) fn new(settings: &ElasticsearchSettings) -> Result<Self, StatementsError> {
        let refused = |why: String| StatementsError::Refused(format!("{}: {why}", settings.url));
        let url = Url::parse(&settings.url).map_err(|error| refused(format!("this is no URL ({error})")))?;
        let signing = match &settings.credentials {
            SearchCredentials::Aws { region, service } => {
                let base = Url::parse(&format!("{}/", settings.url.trim_end_matches('/')));
                let base = base.map_err(|error| refused(format!("this is no URL ({error})")))?;
                let grant = match service {
                    AwsService::Domain => format!(
                        "requests are signed for es in {region}: the role needs es:ESHttpGet, es:ESHttpPost and es:ESHttpPut \
                         (and es:ESHttpDelete to delete indices that nobody uses) on the domain, by its own policy or the domain's, and with fine-grained access control a role of the \
                         domain that it is mapped to"
                    ),
                    AwsService::Serverless => format!(
                        "requests are signed for aoss in {region}: the role needs aoss:APIAccessAll on the collection, and a \
                         data access policy that names it"
                    ),
                };
                Some(Arc::new(Signing { signer: Signer::new(region, service.name()), base, grant }))
            }
            _ => None,
        };
        let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url))
            .timeout(settings.timeout)
            .enable_meta_header(false)
            .request_body_compression(settings.compresses_requests);
        builder = match &settings.credentials {
            SearchCredentials::None | SearchCredentials::Aws { .. } => builder,
            SearchCredentials::ApiKey(key) => builder.auth(match key.split_once(':') {
                Some((id, key)) => Credentials::ApiKey(id.to_owned(), key.to_owned()),
                None => Credentials::EncodedApiKey(key.clone()),
            }),
            SearchCredentials::Basic { username, password } => {
                builder.auth(Credentials::Basic(username.clone(), password.clone()))
            }
        };
        if is_loopback {
            builder = builder.disable_proxy();
        }
        let named = match &settings.ca_file {
            Some(file) => format!("ELASTICSEARCH_CA_FILE {}", file.display()),
            None => "the certificate of ELASTICSEARCH_CA_PEM, or of the secret ELASTICSEARCH_CA_SECRET_ARN,".to_owned(),
        };
        let unusable = |why: String| refused(format!("{named} cannot be used: {why}"));
        let file = settings.ca_file.as_ref().map(|file| fs::read(file).map_err(|error| unusable(error.to_string())));
        let pem = file.transpose()?.or_else(|| settings.ca_pem.clone().map(String::into_bytes));
        if let Some(pem) = &pem {
            let certificates = Certificate::from_pem(pem).map_err(|error| unusable(innermost(&error)))?;
            builder = builder.cert_validation(CertificateValidation::Full(certificates));
        }
        // What a certificate holds is looked at only here.
        let transport = builder.build().map_err(|error| match &pem {
            Some(_) => unusable("it holds no certificate authority".to_owned()),
            None => refused(innermost(&error)),
        })?;
        let url = settings.url.trim_end_matches('/').to_owned();
        let is_serverless = settings.is_serverless();
        let refresh = SharedRefresh::new(settings.refresh_interval);
        Ok(Self {
            transport,
            index: settings.index.clone(),
            url,
            timeout: settings.timeout,
            signing,
            expected: Mutex::new(Arc::from("")),
            refresh,
            is_serverless,
        })
    }

    /// The same client for another alias; they share connections.
    pub(super) fn of_alias(&self, alias: String, settings: &ElasticsearchSettings) -> Self {
        Self {
            transport: self.transport.clone(),
            index: alias,
            url: self.url.clone(),
            timeout: self.timeout,
            signing: self.signing.clone(),
            expected: Mutex::new(Arc::from("")),
            refresh: SharedRefresh::new(settings.refresh_interval),
            is_serverless: self.is_serverless,
        }
    }

    /// From here on documents are to go to that index.
    pub(super) fn expect_index(&self, name: impl AsRef<str>) {
        let mut expected = self.expected.lock();
        if **expected != *name.as_ref() {
            *expected = Arc::from(name.as_ref());
        }
    }

    /// The index that documents are to go to; empty where any may take them.
    pub(super) fn expected_index(&self) -> Arc<str> {
        self.expected.lock().clone()
    }

    /// The path of something of the alias.
    pub(super) fn path(&self, what: &str) -> String {
        format!("/{}/{what}", self.index)
    }

    /// Asks with a JSON body and reads a successful answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<T, StatementsError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let answer = self.send(method, path, query, "application/json", body).await?;
        self.read(&answer)
    }

    /// Reads an answer, or explains its failure.
    pub(super) fn read<'a, T: Deserialize<'a>>(&self, answer: &'a Answer) -> Result<T, StatementsError> {
        if !(200..300).contains(&answer.status) {
            return Err(self.at(explain(answer.status, &EngineError::of_body(&answer.body), &self.index)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.at(StatementsError::Refused(format!(
                "the answer is none of Elasticsearch or OpenSearch ({error}): correct ELASTICSEARCH_URL"
            )))
        })
    }

    /// Sends one request and reads its answer to the end.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        content_type: &'static str,
        body: Option<Bytes>,
    ) -> Result<Answer, StatementsError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lyceum/", env!("CARGO_PKG_VERSION"))));
        if let Some(Signing { signer, base, .. }) = self.signing.as_deref() {
            self.sign(signer, base, method, path, query, body.as_deref().unwrap_or_default(), &mut headers).await?;
        }
        let answer = async {
            let response = self.transport.send(method, path, headers, Some(query), body, None).await?;
            let status = response.status_code().as_u16();
            Ok(Answer { status, body: response.bytes().await? })
        };
        answer.await.map_err(|error: Error| self.at(self.unanswered(&error)))
    }

    /// Adds a signature to the headers, of all that is sent as the transport sends it.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    async fn sign(
        &self,
        signer: &Signer,
        base: &Url,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
        headers: &mut HeaderMap,
    ) -> Result<(), StatementsError> {
        let unsigned = |why: String| self.at(StatementsError::Refused(format!("the request cannot be signed: {why}")));
        let mut url = base.join(path.trim_start_matches('/')).map_err(|error| unsigned(error.to_string()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let method = match method {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Head => "HEAD",
        };
        let signed = signer.sign(Unsigned { method, url: url.as_str(), headers: &[], body }).await;
        let signed = signed.map_err(|error| {
            let why = error.to_string();
            self.at(match error {
                SigningError::NoCredentials(_) => StatementsError::Unauthorized(why),
                SigningError::Unavailable(_) => StatementsError::Unavailable(why),
                SigningError::Request(_) => StatementsError::Refused(why),
            })
        })?;
        for (name, value) in signed {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| unsigned(error.to_string()))?;
            let mut value = HeaderValue::from_str(&value).map_err(|error| unsigned(error.to_string()))?;
            value.set_sensitive(name == AUTHORIZATION || name == "x-amz-security-token");
            headers.insert(name, value);
        }
        Ok(())
    }

    /// No answer came, or not all of it: what was sent may have been done.
    fn unanswered(&self, error: &Error) -> StatementsError {
        if error.is_timeout() {
            return StatementsError::Unavailable(format!(
                "no answer within {} s; ELASTICSEARCH_TIMEOUT sets the limit",
                self.timeout.as_secs()
            ));
        }
        let cause = innermost(error);
        if cause.contains("certificate") {
            return StatementsError::Refused(format!(
                "the server's certificate is not trusted ({cause}): name the authority's file in \
                 ELASTICSEARCH_CA_FILE (of a function: its secret in ELASTICSEARCH_CA_SECRET_ARN), or correct the host in \
                 ELASTICSEARCH_URL"
            ));
        }
        StatementsError::Unavailable(format!(
            "the connection failed ({cause}): is the server up and ELASTICSEARCH_URL right?"
        ))
    }

    /// The same, with the server's name in front.
    pub(super) fn at(&self, error: StatementsError) -> StatementsError {
        match error {
            StatementsError::Unavailable(why) => StatementsError::Unavailable(format!("{}: {why}", self.url)),
            StatementsError::Unauthorized(why) => {
                let grant = self.signing.as_ref().map(|signing| format!("; {}", signing.grant)).unwrap_or_default();
                StatementsError::Unauthorized(format!("{}: {why}{grant}", self.url))
            }
            StatementsError::Refused(why) => StatementsError::Refused(format!("{}: {why}", self.url)),
        }
    }
}

/// What began it: the outer errors only say that a request failed.
fn innermost(mut error: &dyn std::error::Error) -> String {
    while let Some(deeper) = error.source() {
        error = deeper;
    }
    error.to_string()
}
