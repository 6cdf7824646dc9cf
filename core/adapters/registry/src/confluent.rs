//! A registry with Confluent's HTTP API: Confluent's own, Redpanda's, Apicurio's, Karapace.
//!
//! Source: <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>; what Apicurio Registry 3.3 was seen to answer.

use std::fs;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use lyceum_aws::call::Connections;
use lyceum_core::formats::avro;
use lyceum_core::ports::schemas::{SchemaRef, SchemasError};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::said::{Look, Registered};
use crate::settings::{Credentials, RegistrySettings};

const JSON: &str = "application/vnd.schemaregistry.v1+json";
/// The most bytes of an answer that a message repeats.
const MAX_REASON_BYTES: usize = 300;
/// What is listed at once where a schema is looked for by its fingerprint, and how often.
const PAGE: usize = 500;
const PAGES: usize = 20;

/// What a registry says that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Subject,
    /// Or a version of one.
    Schema,
}

impl Missing {
    /// "Subject not found", "Version not found", "Schema not found".
    fn of(code: u64) -> Option<Self> {
        match code {
            40_401 => Some(Self::Subject),
            40_402 | 40_403 => Some(Self::Schema),
            _ => None,
        }
    }
}

pub(crate) struct Confluent {
    url: String,
    authorization: Option<String>,
    connections: Connections,
    timeout: Duration,
}

/// What a registry answers of a schema.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Schema {
    schema: String,
    /// Absent where it is Avro.
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Value>,
}

/// An answer that is no outage and no refusal.
enum Answer {
    /// 2xx.
    Done(Vec<u8>),
    /// What was asked for is not there; whether the registry itself says so, and of what, by a code of its own.
    Nothing { of: Option<Missing>, said: String },
    /// Another 4xx.
    Wrong { status: u16, code: u64, said: String },
}

impl Confluent {
    pub(crate) fn connect(
        settings: &RegistrySettings,
        url: &str,
        credentials: &Credentials,
    ) -> Result<Self, SchemasError> {
        let named = match &settings.ca_file {
            Some(file) => format!("SCHEMA_REGISTRY_CA_FILE {}", file.display()),
            None => {
                "the certificate of SCHEMA_REGISTRY_CA_PEM, or of the secret SCHEMA_REGISTRY_CA_SECRET_ARN,".to_owned()
            }
        };
        let unusable = |why: String| SchemasError::Refused(format!("{named} cannot be used: {why}"));
        let file = settings.ca_file.as_ref().map(|file| fs::read(file).map_err(|error| unusable(error.to_string())));
        let pem = file.transpose()?.or_else(|| settings.ca_pem.clone().map(String::into_bytes));
        let authorization = match credentials {
            Credentials::None => None,
            Credentials::Basic { username, password } => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
            }
            Credentials::Bearer(token) => Some(format!("Bearer {token}")),
        };
        let connections = Connections::to(url, pem.as_deref()).map_err(unusable)?;
        Ok(Self { url: url.to_owned(), authorization, connections, timeout: settings.timeout })
    }

    pub(crate) async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        let path = match schema {
            SchemaRef::Id(id) => format!("/schemas/ids/{id}"),
            SchemaRef::Guid(guid) => format!("/schemas/guids/{guid}"),
            SchemaRef::Fingerprint(print) => return self.find_by_fingerprint(*print).await,
            // It is Glue's.
            SchemaRef::Version(_) => return Ok(None),
        };
        let mut found = match self.ask("GET", &path, None).await? {
            Answer::Done(body) => self.read::<Schema>(&path, &body)?,
            Answer::Nothing { of: Some(_), .. } => return Ok(None),
            Answer::Nothing { said, .. } => {
                // An older registry knows no GUIDs, and never gave one; what is no registry knows nothing.
                self.ping().await?;
                if matches!(schema, SchemaRef::Guid(_)) {
                    return Ok(None);
                }
                return Err(self.refuses(&path, 404, &said));
            }
            Answer::Wrong { status, said, .. } => return Err(self.refuses(&path, status, &said)),
        };
        if !found.references.is_empty() {
            // Types of other subjects, which a registry writes out where it can.
            let resolved = format!("{path}?format=resolved");
            if let Answer::Done(body) = self.ask("GET", &resolved, None).await? {
                found = self.read(&resolved, &body)?;
            }
        }
        let kind = found.schema_type.unwrap_or_default();
        if !kind.is_empty() && kind != "AVRO" {
            tracing::warn!(%schema, kind, "the registry has a schema of another kind than Avro by that name");
            return Ok(None);
        }
        Ok(Some(found.schema))
    }

    /// Confluent's API does not know fingerprints: all schemas are looked through.
    async fn find_by_fingerprint(&self, print: u64) -> Result<Option<String>, SchemasError> {
        for page in 0..PAGES {
            let path = format!("/schemas?latestOnly=false&offset={}&limit={PAGE}", page * PAGE);
            let listed = match self.ask("GET", &path, None).await? {
                Answer::Done(body) => self.read::<Vec<Schema>>(&path, &body)?,
                // Not every registry can list them.
                Answer::Nothing { .. } | Answer::Wrong { .. } => return self.ping().await.map(|()| None),
            };
            let is_last = listed.len() < PAGE;
            let is_it = |of: &Schema| {
                avro::Schema::parse(&of.schema)
                    .is_ok_and(|of| [of.fingerprint(), of.wrapped_fingerprint()].contains(&print))
            };
            let is_avro = |of: &Schema| of.schema_type.as_deref().is_none_or(|kind| kind == "AVRO");
            if let Some(found) = listed.into_iter().find(|of| is_avro(of) && is_it(of)) {
                return Ok(Some(found.schema));
            }
            if is_last {
                return Ok(None);
            }
        }
        let most = PAGES * PAGE;
        tracing::warn!(most, "the registry has more schemas than are looked through for a fingerprint");
        Ok(None)
    }

    pub(crate) async fn ping(&self) -> Result<(), SchemasError> {
        let path = "/schemas/types";
        match self.ask("GET", path, None).await? {
            Answer::Done(body) => self.read::<Vec<String>>(path, &body).map(drop),
            Answer::Nothing { said, .. } => Err(self.refuses(path, 404, &said)),
            Answer::Wrong { status, said, .. } => Err(self.refuses(path, status, &said)),
        }
    }

    pub(crate) fn subject(topic: &str) -> String {
        format!("{topic}-value")
    }

    pub(crate) async fn look(&self, topic: &str, schema: &str) -> Result<Look, SchemasError> {
        let (subject, body) = (Self::subject(topic), json!({"schema": schema, "schemaType": "AVRO"}).to_string());
        let path = format!("/subjects/{subject}");
        match self.ask("POST", &path, Some(&body)).await? {
            Answer::Done(body) => {
                let found: Value = self.read(&path, &body)?;
                return Ok(Look::There(format!("id {}, version {}", found["id"], found["version"])));
            }
            Answer::Nothing { of: Some(Missing::Subject), .. } => return Ok(Look::New),
            Answer::Nothing { of: Some(Missing::Schema), .. } => {}
            Answer::Nothing { said, .. } => return Err(self.refuses(&path, 404, &said)),
            Answer::Wrong { status, said, .. } => return Err(self.refuses(&path, status, &said)),
        }
        let path = format!("/compatibility/subjects/{subject}/versions/latest?verbose=true");
        match self.ask("POST", &path, Some(&body)).await? {
            Answer::Done(body) => {
                let judged: Value = self.read(&path, &body)?;
                let why = judged["messages"].as_array().into_iter().flatten().map(text).collect();
                Ok(if judged["is_compatible"] == json!(true) { Look::Compatible } else { Look::Incompatible(why) })
            }
            Answer::Nothing { of: Some(_), .. } => Ok(Look::New),
            Answer::Nothing { said, .. } => Err(self.refuses(&path, 404, &said)),
            Answer::Wrong { status, said, .. } => Err(self.refuses(&path, status, &said)),
        }
    }

    pub(crate) async fn register(&self, topic: &str, schema: &str) -> Result<Registered, SchemasError> {
        let path = format!("/subjects/{}/versions", Self::subject(topic));
        let body = json!({"schema": schema, "schemaType": "AVRO"}).to_string();
        match self.ask("POST", &path, Some(&body)).await? {
            Answer::Done(body) => Ok(Registered::As(format!("id {}", self.read::<Value>(&path, &body)?["id"]))),
            Answer::Wrong { status: 409, said, .. } => Ok(Registered::Incompatible(said)),
            Answer::Nothing { said, .. } => Err(self.refuses(&path, 404, &said)),
            Answer::Wrong { status, said, code } => Err(self.refuses(&path, status, &format!("{said} ({code})"))),
        }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Result<Answer, SchemasError> {
        let mut headers = vec![("accept".to_owned(), format!("{JSON}, application/json"))];
        headers.extend(self.authorization.clone().map(|of| ("authorization".to_owned(), of)));
        headers.extend(body.map(|_| ("content-type".to_owned(), JSON.to_owned())));
        let url = format!("{}{path}", self.url);
        let exchange = self.connections.exchange(method, &url, headers, body.unwrap_or_default().to_owned());
        let late = || Err(format!("no answer within {} s", self.timeout.as_secs()));
        let exchanged = timeout(self.timeout, exchange).await.unwrap_or_else(|_| late());
        let (status, body) = exchanged.map_err(|why| SchemasError::Unavailable(format!("{}: {why}", self.url)))?;
        let body = body.into_bytes().to_vec();
        if (200..300).contains(&status) {
            return Ok(Answer::Done(body));
        }
        let (code, said) = error_of(&body);
        match status {
            401 | 403 => Err(SchemasError::Unauthorized(format!(
                "{} answered {path} with {status}: {said}; check SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, or \
                 SCHEMA_REGISTRY_TOKEN, or the secret of SCHEMA_REGISTRY_SECRET_ARN, and that they may read",
                self.url
            ))),
            404 => Ok(Answer::Nothing { of: Missing::of(code), said }),
            408 | 429 | 500.. => {
                Err(SchemasError::Unavailable(format!("{} answered {path} with {status}: {said}", self.url)))
            }
            400.. => Ok(Answer::Wrong { status, code, said }),
            _ => Err(self.refuses(path, status, &said)),
        }
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, path: &str, body: &[u8]) -> Result<T, SchemasError> {
        serde_json::from_slice(body).map_err(|error| {
            let said = reason(&String::from_utf8_lossy(body));
            SchemasError::Unavailable(format!(
                "{} answered {path} with what no registry answers ({error}): {said}",
                self.url
            ))
        })
    }

    fn refuses(&self, path: &str, status: u16, said: &str) -> SchemasError {
        SchemasError::Refused(format!(
            "{} answered {path} with {status}: {said}; is SCHEMA_REGISTRY_URL where a registry with Confluent's API answers, with its path?",
            self.url
        ))
    }
}

/// The registry's own code, and what it said.
fn error_of(body: &[u8]) -> (u64, String) {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = json["message"].as_str().map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    (json["error_code"].as_u64().unwrap_or_default(), reason(&said))
}

fn reason(said: &str) -> String {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match said.as_str() {
        "" => "it said nothing".to_owned(),
        said => said[..said.floor_char_boundary(MAX_REASON_BYTES)].to_owned(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
