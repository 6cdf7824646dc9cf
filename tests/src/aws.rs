//! AWS as its stand-ins take it: any key, one region.

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::Credentials;

/// The key, and its secret.
pub const KEY: &str = "test";
/// Where everything is.
pub const REGION: &str = "eu-central-1";
/// The same for a process.
pub const VARIABLES: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", KEY), ("AWS_REGION", REGION)];

/// The same for clients of the service at that URL.
pub async fn config(endpoint: &str) -> SdkConfig {
    let key = Credentials::new(KEY, KEY, None, None, "test");
    lyceum_aws::loader().endpoint_url(endpoint).region(Region::new(REGION)).credentials_provider(key).load().await
}
