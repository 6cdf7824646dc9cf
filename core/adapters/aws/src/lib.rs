//! AWS as every client reaches it: region and credentials as AWS's own tools find them, connections over rustls with ring;
//! [`sign`](mod@sign) and [`call`](mod@call) are for services that no client is linked for.
//!
//! The SDK's default client would link aws-lc, a second library of cryptography beside the one that Elasticsearch's client
//! has, into every function.

use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient};

pub mod call;
pub mod sign;

/// What clients of AWS are made from, as the environment says: variables, the profile, the container's or the machine's
/// role. Nothing is called yet but what credentials need.
pub async fn load() -> SdkConfig {
    loader().load().await
}

/// The same, for whoever knows part of it better than the environment.
pub fn loader() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest()).http_client(https_client())
}

/// Connections as the SDK's default client makes them, a proxy of the environment included. A configuration that does not
/// come from [`loader`] needs it, since without one the SDK refuses every call.
pub fn https_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let sleep = components.and_then(|components| components.sleep_impl());
        connector(settings.cloned(), sleep, ProxyConfig::from_env(), TlsContext::default())
    })
}

fn connector(
    settings: Option<HttpConnectorSettings>,
    sleep: Option<SharedAsyncSleep>,
    proxy: ProxyConfig,
    trusted: TlsContext,
) -> Connector {
    let mut connector = ConnectorBuilder::default()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(trusted)
        .proxy_config(proxy);
    connector.set_connector_settings(settings);
    connector.set_sleep_impl(sleep);
    connector.build()
}
