//! Tokens of AWS IAM for Amazon MSK: SASL's OAUTHBEARER with a request to the cluster that was signed beforehand.
//!
//! Source: <https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html>

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use aws_config::Region;
use rdkafka::client::OAuthToken;

/// How long credentials may take to be found and to sign.
const LIMIT: Duration = Duration::from_secs(10);

/// Signs a token. librdkafka asks from a thread of its own, outside of any runtime, and may be asked inside of one; so the
/// signer gets a thread and a runtime of its own, and is not waited for longer than the limit.
pub(super) fn sign(region: &str) -> Result<OAuthToken, Box<dyn Error>> {
    let region = Region::new(region.to_owned());
    let (answer, answered) = mpsc::sync_channel(1);
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let token = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
            let signed = runtime.block_on(aws_msk_iam_sasl_signer::generate_auth_token(region));
            signed.map_err(|error| error.to_string())
        });
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
