//! The connections by which OTLP goes out: those of AWS's clients, which every function has, so that no second client is linked.
//! What the collector is shown goes onto each request here, since it may change while the process runs.

use std::fmt;

use async_trait::async_trait;
use lyceum_around::lazily::Settings;
use lyceum_aws::call::Connections;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};

use crate::settings::Headers;

/// What sends to a collector and shows it these.
pub(crate) fn exporter(url: &str, shown: Box<dyn Settings<Headers>>) -> anyhow::Result<SpanExporter> {
    let client = Client { connections: Connections::default(), shown };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(url);
    exporter.build().map_err(|error| anyhow::anyhow!("spans cannot be sent to {url}: {error}"))
}

struct Client {
    connections: Connections,
    shown: Box<dyn Settings<Headers>>,
}

/// Nothing of what is shown: it may be a secret.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connections", &self.connections).finish_non_exhaustive()
    }
}

impl Client {
    async fn send(&self, asked: &Asked, shown: &Headers) -> Result<Response<Bytes>, HttpError> {
        // The last of a name holds, whatever the exporter itself found in the environment.
        let headers = asked.headers.iter().chain(shown).cloned();
        let exchanged = self.connections.exchange(&asked.method, &asked.url, headers, Vec::from(asked.body.clone()));
        let (status, body) = exchanged.await?;
        Ok(Response::builder().status(status).body(body.into_bytes())?)
    }
}

/// A request of the exporter's, which may go out twice.
struct Asked {
    method: String,
    url: String,
    headers: Headers,
    body: Bytes,
}

impl Asked {
    fn of(request: Request<Bytes>) -> Result<Self, HttpError> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = value.to_str().map_err(|_| format!("the header {name} holds what no header may"))?;
            Ok((name.as_str().to_owned(), value.to_owned()))
        });
        let headers = headers.collect::<Result<Headers, String>>()?;
        Ok(Self { method: parts.method.as_str().to_owned(), url: parts.uri.to_string(), headers, body })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let asked = Asked::of(request)?;
        let shown = self.shown.current().await;
        let answer = self.send(&asked, &shown).await?;
        // A rotated secret loses no span, where it holds the new one already.
        if !matches!(answer.status().as_u16(), 401 | 403) || !self.shown.have_others(&shown).await {
            return Ok(answer);
        }
        self.send(&asked, &*self.shown.current().await).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use opentelemetry_sdk::trace::SpanExporter as _;
    use parking_lot::Mutex;

    use super::*;
    use crate::testing::span;

    /// What a secret holds now, and what it was read to hold.
    #[derive(Clone)]
    struct Secret(Arc<Mutex<(Headers, Arc<Headers>)>>);

    fn key(value: &str) -> Headers {
        vec![("api-key".to_owned(), value.to_owned())]
    }

    #[async_trait]
    impl Settings<Headers> for Secret {
        async fn current(&self) -> Arc<Headers> {
            self.0.lock().1.clone()
        }

        async fn have_others(&self, refused: &Arc<Headers>) -> bool {
            let mut held = self.0.lock();
            if held.0 != *held.1 {
                held.1 = Arc::new(held.0.clone());
            }
            !Arc::ptr_eq(&held.1, refused)
        }
    }

    /// A collector that takes what shows it this key, and refuses all else; each key that it was shown.
    fn collector(asks_for: Arc<Mutex<&'static str>>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let noted = seen.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut length, mut shown) = (0, Vec::new());
                for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                    match line.to_lowercase().split_once(": ") {
                        Some(("content-length", value)) => length = value.parse().unwrap(),
                        Some(("api-key", value)) => shown.push(value.to_owned()),
                        _ => {}
                    }
                }
                reader.read_exact(&mut vec![0; length]).unwrap();
                let status = if shown == [*asks_for.lock()] { "200 OK" } else { "401 Unauthorized" };
                noted.lock().push(shown.join(" and "));
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        (url, seen)
    }

    #[tokio::test]
    async fn what_a_rotated_secret_holds_is_shown_as_soon_as_what_it_held_is_refused() {
        let asks_for = Arc::new(Mutex::new("one"));
        let (url, seen) = collector(asks_for.clone());
        let secret = Secret(Arc::new(Mutex::new((key("one"), Arc::new(key("one"))))));
        let exporter = exporter(&url, Box::new(secret.clone())).unwrap();
        exporter.export(vec![span(1)]).await.unwrap();
        // The collector first, then the secret: what is sent in between is lost, and asked for once.
        *asks_for.lock() = "two";
        let refused = exporter.export(vec![span(2)]).await.unwrap_err().to_string();
        assert!(refused.contains("401"), "{refused}");
        secret.0.lock().0 = key("two");
        exporter.export(vec![span(3)]).await.unwrap();
        exporter.export(vec![span(4)]).await.unwrap();
        assert_eq!(*seen.lock(), ["one", "one", "one", "two", "two"]);
    }

    #[test]
    fn what_is_shown_is_in_no_debug_output() {
        let shown = Secret(Arc::new(Mutex::new((key("hunter2"), Arc::new(key("hunter2"))))));
        let exporter = exporter("http://127.0.0.1:1", Box::new(shown)).unwrap();
        assert!(!format!("{exporter:?}").contains("hunter2"), "{exporter:?}");
    }
}
