//! Requests with AWS's Signature Version 4, for services that no client of AWS's own is linked for.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::time::{Duration, SystemTime};

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// Credentials that end sooner are looked for anew: a request is judged by the time at which it arrives.
const LEAST_LEFT: Duration = Duration::from_secs(60);

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// Nobody has credentials: neither variables, nor a profile, nor a role.
    #[error(
        "there are no credentials of AWS ({0}): give the process a role, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials(String),
    /// Whoever has them does not answer; it may later.
    #[error("credentials of AWS are not given now: {0}")]
    Unavailable(String),
    /// The request cannot be signed as it is.
    #[error("the request cannot be signed: {0}")]
    Request(String),
}

impl SigningError {
    /// Whether the same may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A request that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// All of it, with the query as it is sent.
    pub url: &'a str,
    /// Headers that are signed beside the host and those of the signature.
    pub headers: &'a [(&'a str, &'a str)],
    /// As it is sent.
    pub body: &'a [u8],
}

/// Signs requests for one service in one region, with the credentials that AWS's own tools would find.
#[derive(Debug)]
pub struct Signer {
    region: String,
    service: String,
    config: OnceCell<SdkConfig>,
    held: Mutex<Option<Credentials>>,
}

impl Signer {
    /// Looks for credentials when the first request is signed.
    pub fn new(region: impl Into<String>, service: impl Into<String>) -> Self {
        Self { region: region.into(), service: service.into(), config: OnceCell::new(), held: Mutex::default() }
    }

    /// Signs with these, which are looked for nowhere, until they end.
    pub fn with(region: impl Into<String>, service: impl Into<String>, access_key: &str, secret: &str) -> Self {
        let until = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
        let held = Credentials::new(access_key, secret, None, Some(until), "given");
        Self { held: Mutex::new(Some(held)), ..Self::new(region, service) }
    }

    /// The headers that are sent beside those of the request. Its `Authorization` is a secret.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub async fn sign(&self, request: Unsigned<'_>) -> Result<Vec<(String, String)>, SigningError> {
        let credentials = self.credentials().await?;
        headers(request, credentials, &self.region, &self.service, SystemTime::now())
    }

    async fn credentials(&self) -> Result<Credentials, SigningError> {
        let until = SystemTime::now() + LEAST_LEFT;
        let held = self.held.lock().clone();
        if let Some(held) = held.filter(|held| held.expiry().is_some_and(|ends| ends > until)) {
            return Ok(held);
        }
        let region = Region::new(self.region.clone());
        let config = self.config.get_or_init(|| async { crate::loader().region(region).load().await }).await;
        let provider = config
            .credentials_provider()
            .ok_or_else(|| SigningError::NoCredentials("no provider is configured".to_owned()))?;
        let found = provider.provide_credentials().await.map_err(|error| match error {
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                SigningError::NoCredentials(in_full(&error))
            }
            error => SigningError::Unavailable(in_full(&error)),
        })?;
        *self.held.lock() = Some(found.clone());
        Ok(found)
    }
}

/// An error with what caused it: the outer one often says only where it happened.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// The headers of a signature at this time. The body's hash is among them: OpenSearch Serverless wants it, and the others
/// take it.
fn headers(
    request: Unsigned<'_>,
    credentials: Credentials,
    region: &str,
    service: &str,
    now: SystemTime,
) -> Result<Vec<(String, String)>, SigningError> {
    let unsigned = |error: &dyn std::error::Error| SigningError::Request(in_full(error));
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    // Source: S3's API reference, "Authenticating Requests": of S3 alone a path is signed as it is sent.
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| unsigned(&error))?
        .into();
    let Unsigned { method, url, headers, body } = request;
    let signable = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body))
        .map_err(|error| unsigned(&error))?;
    let (instructions, _) = sign(signable, &parameters).map_err(|error| unsigned(&error))?.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_signature_is_what_awss_own_signer_makes_of_the_same_request_at_the_same_time() {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "secret/of+alice", Some("session/token+of=alice".to_owned()), None, "test");
        let request = Unsigned {
            method: "POST",
            url: "https://search.eu-central-1.es.amazonaws.com/xapi-statements/_search?allow_partial_search_results=false",
            headers: &[("content-type", "application/json")],
            body: br#"{"size":0}"#,
        };
        let at = UNIX_EPOCH + Duration::from_secs(1_795_687_200);
        let signed: BTreeMap<_, _> =
            headers(request, credentials, "eu-central-1", "es", at).unwrap().into_iter().collect();
        let signed_headers = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
        // Made by botocore's SigV4Auth with the same headers.
        let signature = "f5eb46b82bf607459eda750cbcb2e836693a5aca61f24813c3b7bdb3a28d94e3";
        let expected = [
            (
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/eu-central-1/es/aws4_request, SignedHeaders={signed_headers}, Signature={signature}"
                ),
            ),
            ("x-amz-content-sha256", "8692dd0b13a01d48f9b7f36a046a773b769b06bc0b54eac0413aaf1e162a8acb".to_owned()),
            ("x-amz-date", "20261126T100000Z".to_owned()),
            ("x-amz-security-token", "session/token+of=alice".to_owned()),
        ];
        assert_eq!(signed, expected.map(|(name, value)| (name.to_owned(), value)).into());
    }
}
