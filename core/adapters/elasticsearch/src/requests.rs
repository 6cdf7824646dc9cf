//! One request to the engine: over pooled connections, within the time limit, sent once.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Method, Url};
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
    client: Client,
    /// What paths are joined to: it ends with a slash.
    base: Url,
    /// Of every request; empty where it is signed, or nobody asks.
    authorization: Option<HeaderValue>,
    compresses: bool,
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
    /// Who is to grant what, for people.
    grant: String,
}

impl Requests {
    pub(super) fn new(settings: &ElasticsearchSettings) -> Result<Self, StatementsError> {
        let refused = |why: String| StatementsError::Refused(format!("{}: {why}", settings.url));
        let url = settings.url.trim_end_matches('/').to_owned();
        let base = Url::parse(&format!("{url}/")).map_err(|error| refused(format!("this is no URL ({error})")))?;
        let signing = match &settings.credentials {
            SearchCredentials::Aws { region, service } => {
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
                Some(Arc::new(Signing { signer: Signer::new(region, service.name()), grant }))
            }
            _ => None,
        };
        let named = match &settings.ca_file {
            Some(file) => format!("ELASTICSEARCH_CA_FILE {}", file.display()),
            None => "the certificate of ELASTICSEARCH_CA_PEM, or of the secret ELASTICSEARCH_CA_SECRET_ARN,".to_owned(),
        };
        let unusable = |why: String| refused(format!("{named} cannot be used: {why}"));
        let file = settings.ca_file.as_ref().map(|file| fs::read(file).map_err(|error| unusable(error.to_string())));
        let pem = file.transpose()?.or_else(|| settings.ca_pem.clone().map(String::into_bytes));
        let mut builder = match &pem {
            Some(pem) => lyceum_https::trusting(pem).map_err(|error| unusable(error.to_string()))?,
            None => lyceum_https::builder(),
        };
        builder = builder.timeout(settings.timeout).gzip(true);
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| refused(innermost(&error)))?;
        let authorization = authorization(&settings.credentials).map(|text| {
            let value = HeaderValue::try_from(text);
            value.map_err(|_| refused("the credentials hold a character that no header can have".to_owned()))
        });
        let mut authorization = authorization.transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let is_serverless = settings.is_serverless();
        let refresh = SharedRefresh::new(settings.refresh_interval);
        Ok(Self {
            client,
            base,
            authorization,
            compresses: settings.compresses_requests,
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
            client: self.client.clone(),
            base: self.base.clone(),
            authorization: self.authorization.clone(),
            compresses: self.compresses,
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
        let unsendable = |why: String| self.at(StatementsError::Refused(format!("the request cannot be made: {why}")));
        let mut url = self.base.join(path.trim_start_matches('/')).map_err(|error| unsendable(error.to_string()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lyceum/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(Signing { signer, .. }) = self.signing.as_deref() {
            self.sign(signer, &method, &url, body.as_deref().unwrap_or_default(), &mut headers).await?;
        }
        let body = match body {
            Some(body) if self.compresses => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                Some(gzip(&body).map_err(|error| unsendable(error.to_string()))?)
            }
            body => body,
        };
        let answer = async {
            let mut request = self.client.request(method, url).headers(headers);
            if let Some(body) = body {
                request = request.body(body);
            }
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok(Answer { status, body: response.bytes().await? })
        };
        answer.await.map_err(|error: reqwest::Error| self.at(self.unanswered(&error)))
    }

    /// Adds a signature to the headers, of all that is sent as it is sent.
    async fn sign(
        &self,
        signer: &Signer,
        method: &Method,
        url: &Url,
        body: &[u8],
        headers: &mut HeaderMap,
    ) -> Result<(), StatementsError> {
        let unsigned = |why: String| self.at(StatementsError::Refused(format!("the request cannot be signed: {why}")));
        let signed = signer.sign(Unsigned { method: method.as_str(), url: url.as_str(), headers: &[], body }).await;
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
    fn unanswered(&self, error: &reqwest::Error) -> StatementsError {
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
fn innermost(mut error: &dyn Error) -> String {
    while let Some(deeper) = error.source() {
        error = deeper;
    }
    error.to_string()
}

/// The header's text, where there is one.
fn authorization(credentials: &SearchCredentials) -> Option<String> {
    match credentials {
        SearchCredentials::None | SearchCredentials::Aws { .. } => None,
        // An encoded one has no colon.
        SearchCredentials::ApiKey(key) if key.contains(':') => Some(format!("ApiKey {}", STANDARD.encode(key))),
        SearchCredentials::ApiKey(key) => Some(format!("ApiKey {key}")),
        SearchCredentials::Basic { username, password } => {
            Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
        }
    }
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut compressed = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
    compressed.write_all(body)?;
    compressed.finish().map(Bytes::from)
}
