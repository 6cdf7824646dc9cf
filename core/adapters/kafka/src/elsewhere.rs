//! For clients of Kafka that are not this crate's: what they are configured with, and tokens of AWS IAM.

use std::error::Error;

use rdkafka::client::OAuthToken;

use super::client::{configure, now_ms};
use super::iam;
use super::settings::{KafkaSettings, Sasl};
use lyceum_core::ports::event_log::EventLogError;

/// librdkafka's properties: where the brokers are, how the connection is kept private, and how the client proves who it is. Some
/// are secrets.
///
/// # Errors
/// Where the credentials are in a secret that was not read.
pub fn properties(settings: &KafkaSettings) -> Result<Vec<(String, String)>, EventLogError> {
    let config = configure(settings)?;
    Ok(config.config_map().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A token, where the settings say AWS IAM (`sasl.mechanisms` is `OAUTHBEARER`). Blocks, ten seconds at most; may be called within a runtime.
///
/// # Errors
/// Where the settings say otherwise, or AWS's credentials are not found.
pub fn token(settings: &KafkaSettings) -> Result<OAuthToken, Box<dyn Error>> {
    let Some(Sasl::AwsIam { region, token_lifetime }) = &settings.sasl else {
        return Err("only AWS_MSK_IAM has tokens".into());
    };
    let mut token = iam::sign(region)?;
    let longest = i64::try_from(token_lifetime.as_millis()).unwrap_or(i64::MAX);
    token.lifetime_ms = token.lifetime_ms.min(now_ms().saturating_add(longest));
    Ok(token)
}
