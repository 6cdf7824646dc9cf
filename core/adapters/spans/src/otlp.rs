//! The connections by which OTLP goes out: those of AWS's clients, which every function has, so that no second client is linked.

use async_trait::async_trait;
use lyceum_aws::call::Connections;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};

/// What sends to a collector.
pub(crate) fn exporter(url: &str, headers: &[(String, String)]) -> anyhow::Result<SpanExporter> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client(Connections::default()))
        .with_endpoint(url)
        .with_headers(headers.iter().cloned().collect());
    exporter.build().map_err(|error| anyhow::anyhow!("spans cannot be sent to {url}: {error}"))
}

#[derive(Debug)]
struct Client(Connections);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = value.to_str().map_err(|_| format!("the header {name} holds what no header may"))?;
            Ok((name.as_str().to_owned(), value.to_owned()))
        });
        let headers = headers.collect::<Result<Vec<_>, String>>()?;
        let (status, body) =
            self.0.exchange(parts.method.as_str(), &parts.uri.to_string(), headers, Vec::from(body)).await?;
        Ok(Response::builder().status(status).body(body.into_bytes())?)
    }
}
