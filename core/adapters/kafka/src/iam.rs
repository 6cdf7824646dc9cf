//! Tokens of AWS IAM for Amazon MSK: SASL's OAUTHBEARER with a request to the cluster that was signed beforehand.
//!
//! The brokers take a URL with the signature of AWS in its query, in base64, as AWS's signers for other languages make it.
//!
//! Source: <https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html>

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign as sign_request,
};
use aws_sigv4::sign::v4::SigningParams;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;

/// How long credentials may take to be found and to sign.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a token holds, as with AWS's own signers; librdkafka asks for the next one before.
const LIFETIME: Duration = Duration::from_secs(900);

/// A token, and when it ends, in milliseconds since 1970.
type Token = (String, i64);

/// Signs a token. librdkafka asks from a thread of its own, outside of any runtime, and may be asked inside of one; so the
/// signer gets a thread and a runtime of its own, and is not waited for longer than the limit.
pub(super) fn sign(region: &str) -> Result<OAuthToken, Box<dyn Error>> {
    let region = region.to_owned();
    let (answer, answered) = mpsc::sync_channel(1);
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let token = runtime
            .map_err(|error| error.to_string())
            .and_then(|runtime| runtime.block_on(find_and_sign(&region)).map_err(|error| error.to_string()));
        // Whoever waited too long is gone.
        let _ = answer.send(token);
    };
    thread::Builder::new().name("kafka-token".to_owned()).spawn(work)?;
    let (token, lifetime_ms) = answered
        .recv_timeout(LIMIT)
        .map_err(|_| format!("no credentials of AWS within {} seconds", LIMIT.as_secs()))?
        .map_err(|why| format!("no token from credentials of AWS: {why}"))?;
    Ok(OAuthToken { token, principal_name: "lyceum".to_owned(), lifetime_ms })
}

/// Signs with the credentials that AWS's own tools would find.
async fn find_and_sign(region: &str) -> Result<Token, Box<dyn Error>> {
    let config = lyceum_aws::loader().region(Region::new(region.to_owned())).load().await;
    let provider = config.credentials_provider().ok_or("no provider of credentials")?;
    token(region, provider.provide_credentials().await?, SystemTime::now())
}

/// The token of these credentials at this time.
fn token(region: &str, credentials: Credentials, now: SystemTime) -> Result<Token, Box<dyn Error>> {
    let url = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFETIME);
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kafka-cluster")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (signature, _) = sign_request(request, &parameters)?.into_parts();
    let signed = serde_urlencoded::to_string(signature.params())?;
    // Brokers log the name of the signer; it is no part of what is signed.
    let url = format!("{url}&{signed}&User-Agent=lyceum%2F{}", env!("CARGO_PKG_VERSION"));
    let since_1970 = now.duration_since(UNIX_EPOCH)?.as_secs() + LIFETIME.as_secs();
    Ok((BASE64_URL_SAFE_NO_PAD.encode(url), i64::try_from(since_1970)? * 1000))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_token_is_what_awss_own_signer_makes_of_the_same_credentials_at_the_same_time() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_687_200_700);
        let session = Some("session/token+of=alice".to_owned());
        let credentials = Credentials::new("AKIDEXAMPLE", "secret/of+alice", session, None, "test");
        let (token, lifetime_ms) = token("eu-central-1", credentials, at).unwrap();
        assert_eq!(lifetime_ms, 1_795_687_200_000 + 900_000);

        let url = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
        let query = url.strip_prefix("https://kafka.eu-central-1.amazonaws.com/?").unwrap();
        let mut parts: BTreeMap<String, String> = serde_urlencoded::from_str(query).unwrap();
        assert!(parts.remove("User-Agent").unwrap().starts_with("lyceum/"));
        let expected = [
            ("Action", "kafka-cluster:Connect"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "AKIDEXAMPLE/20261126/eu-central-1/kafka-cluster/aws4_request"),
            ("X-Amz-Date", "20261126T100000Z"),
            ("X-Amz-Expires", "900"),
            ("X-Amz-Security-Token", "session/token+of=alice"),
            // Made by botocore's SigV4QueryAuth.
            ("X-Amz-Signature", "71e35726373515e562b6299abe55e81a015148cc12869563c04888abc54ff463"),
            ("X-Amz-SignedHeaders", "host"),
        ];
        assert_eq!(parts, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
