//! A registry of AWS Glue, by signed requests: its client would be by far the largest part of a function that needs two calls of it.
//!
//! Source: <https://docs.aws.amazon.com/glue/latest/webapi/API_GetSchemaVersion.html>, and the pages of the other actions.

use std::time::Duration;

use lyceum_aws::call::{CallError, Service};
use lyceum_aws::sign::{Signer, SigningError};
use lyceum_core::ports::schemas::{SchemaRef, SchemasError};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::said::{Look, Registered};

/// A version that was registered is judged within a moment; so often it is looked at again, and after so long.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub(crate) struct Glue {
    service: Service,
    name: String,
    timeout: Duration,
}

impl Glue {
    pub(crate) fn new(region: &str, name: &str, endpoint: Option<&str>, timeout: Duration) -> Self {
        let given = |of: &str| endpoint.filter(|_| of == "AWS_ENDPOINT_URL_GLUE").map(str::to_owned);
        Self { service: Service::new("glue", region, given), name: name.to_owned(), timeout }
    }

    pub(crate) fn signed_by(self, signer: Signer) -> Self {
        Self { service: self.service.signed_by(signer), ..self }
    }

    pub(crate) async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        // A registry of Glue has no other names.
        let (SchemaRef::Version(version) | SchemaRef::Guid(version)) = schema else { return Ok(None) };
        let question = json!({"SchemaVersionId": version.to_string()});
        let Some(found) = self.ask("GetSchemaVersion", &question).await? else { return Ok(None) };
        // `arn:aws:glue:REGION:ACCOUNT:schema/REGISTRY/NAME`
        let arn = found["SchemaArn"].as_str().unwrap_or_default();
        let registry = arn.split_once(":schema/").and_then(|(_, name)| name.split('/').next());
        if registry.is_some_and(|of| of != self.name) {
            tracing::warn!(%schema, arn, registry = self.name, "a record names a schema of another registry");
            return Ok(None);
        }
        if found["DataFormat"].as_str().is_some_and(|of| of != "AVRO") {
            tracing::warn!(%schema, format = %found["DataFormat"], "the registry has a schema of another kind than Avro by that name");
            return Ok(None);
        }
        match (found["Status"].as_str(), found["SchemaDefinition"].as_str()) {
            (Some("PENDING"), _) => Err(SchemasError::Unavailable(format!("AWS Glue has not judged {schema} yet"))),
            (Some("FAILURE"), _) => Ok(None),
            (_, Some(text)) => Ok(Some(text.to_owned())),
            (_, None) => Err(SchemasError::Unavailable(format!(
                "{} answered GetSchemaVersion without a SchemaDefinition",
                self.service.endpoint()
            ))),
        }
    }

    pub(crate) async fn ping(&self) -> Result<(), SchemasError> {
        match self.ask("GetRegistry", &json!({"RegistryId": {"RegistryName": self.name}})).await? {
            Some(_) => Ok(()),
            None => {
                Err(SchemasError::Refused(format!("AWS Glue has no registry {}: check SCHEMA_REGISTRY_URL", self.name)))
            }
        }
    }

    fn schema_id(&self, topic: &str) -> Value {
        json!({"RegistryName": self.name, "SchemaName": topic})
    }

    pub(crate) async fn look(&self, topic: &str, schema: &str) -> Result<Look, SchemasError> {
        let question = json!({"SchemaId": self.schema_id(topic), "SchemaDefinition": schema});
        if let Some(found) = self.ask("GetSchemaByDefinition", &question).await? {
            return Ok(Look::There(format!("version {}", text(&found["SchemaVersionId"]))));
        }
        match self.ask("GetSchema", &json!({"SchemaId": self.schema_id(topic)})).await? {
            None => Ok(Look::New),
            Some(found) => Ok(Look::Unjudged(text(&found["Compatibility"]))),
        }
    }

    pub(crate) async fn register(&self, topic: &str, schema: &str) -> Result<Registered, SchemasError> {
        let question = json!({"SchemaId": self.schema_id(topic), "SchemaDefinition": schema});
        let mut made = self.ask("RegisterSchemaVersion", &question).await?;
        if made.is_none() {
            let question = json!({
                "RegistryId": {"RegistryName": self.name},
                "SchemaName": topic,
                "DataFormat": "AVRO",
                "Compatibility": "BACKWARD",
                "SchemaDefinition": schema,
            });
            made = self.ask("CreateSchema", &question).await?;
        }
        let Some(made) = made else {
            return Err(SchemasError::Refused(format!(
                "AWS Glue has no registry {}: check SCHEMA_REGISTRY_URL",
                self.name
            )));
        };
        let version = text(&made["SchemaVersionId"]);
        let mut status = text(if made["Status"].is_null() { &made["SchemaVersionStatus"] } else { &made["Status"] });
        for _ in 0..LOOKS {
            if status != "PENDING" {
                break;
            }
            sleep(BETWEEN_LOOKS).await;
            let found = self.ask("GetSchemaVersion", &json!({"SchemaVersionId": version})).await?.unwrap_or_default();
            status = text(&found["Status"]);
        }
        match status.as_str() {
            "AVAILABLE" => Ok(Registered::As(format!("version {version}"))),
            "FAILURE" => {
                Ok(Registered::Incompatible("AWS Glue found it incompatible with the versions before".to_owned()))
            }
            other => Err(SchemasError::Unavailable(format!("AWS Glue says {other:?} of the version {version}"))),
        }
    }

    /// The answer; `None` where what was asked for is not there.
    async fn ask(&self, action: &str, question: &Value) -> Result<Option<Value>, SchemasError> {
        let target = format!("AWSGlue.{action}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let (question, endpoint) = (question.to_string(), self.service.endpoint());
        let Ok(answer) = timeout(self.timeout, self.service.send("POST", "/", &headers, &question)).await else {
            let seconds = self.timeout.as_secs();
            return Err(SchemasError::Unavailable(format!("{endpoint}: no answer within {seconds} s")));
        };
        let answer = answer.map_err(|error| match &error {
            CallError::Unsigned(SigningError::NoCredentials(_)) => SchemasError::Unauthorized(error.to_string()),
            CallError::Unsigned(SigningError::Request(_)) => SchemasError::Refused(error.to_string()),
            CallError::Unsigned(SigningError::Unavailable(_)) | CallError::Unanswered { .. } => {
                SchemasError::Unavailable(error.to_string())
            }
        })?;
        let body: Option<Value> = serde_json::from_str(&answer.body).ok();
        if answer.status == 200 {
            let why = || {
                SchemasError::Unavailable(format!("{endpoint} answered {action} with what AWS Glue does not answer"))
            };
            return body.filter(Value::is_object).map(Some).ok_or_else(why);
        }
        let body = body.unwrap_or_default();
        // `com.amazonaws.glue#EntityNotFoundException`
        let kind = text(&body["__type"]);
        let kind = kind.rsplit('#').next().unwrap_or_default();
        let said = ["Message", "message"].into_iter().find_map(|name| body[name].as_str()).unwrap_or_default();
        let told = format!("{endpoint} answered {action} with {} {kind}: {said}", answer.status);
        Err(match kind {
            "EntityNotFoundException" => return Ok(None),
            "AccessDeniedException" => SchemasError::Unauthorized(format!(
                "{told}; the role needs glue:{action}, on the registry and its schemas, or on * where versions are named by their id"
            )),
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException" => SchemasError::Unauthorized(told),
            _ if kind.contains("Throttl") || kind.contains("TooMany") || kind.contains("Concurrent") => {
                SchemasError::Unavailable(told)
            }
            _ => match answer.status {
                401 | 403 => SchemasError::Unauthorized(told),
                408 | 429 | 500.. => SchemasError::Unavailable(told),
                _ => SchemasError::Refused(told),
            },
        })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
