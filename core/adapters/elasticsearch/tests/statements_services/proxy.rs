//! An HTTP server between client and engine that does what a test tells it: pass on, answer by itself, change an answer,
//! lose it, or hang.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::response::Response;
use axum::serve::Listener;
use bytes::Bytes;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What becomes of one request.
pub(crate) enum Act {
    /// The engine answers.
    Pass,
    /// The engine never sees it.
    Answer(u16, &'static str),
    /// The engine answers, and this becomes of its answer.
    Change(fn(&mut Value)),
    /// The engine does it, and the connection breaks before the answer is whole.
    Lose,
    /// The engine never sees it, and nothing comes.
    Hang,
}

type Behaviour = Arc<dyn Fn(&Parts, &Bytes) -> Act + Send + Sync>;

/// A running proxy; dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) url: String,
    server: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct Between {
    engine: String,
    behaviour: Behaviour,
    http: reqwest::Client,
}

impl Proxy {
    pub(crate) async fn start(engine: &str, behaviour: impl Fn(&Parts, &Bytes) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(engine, url, listener, Arc::new(behaviour))
    }

    /// Over TLS, by the name `localhost`.
    pub(crate) async fn start_with_tls(engine: &str, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        Self::serve(engine, url, Tls { listener, acceptor }, Arc::new(|_, _| Act::Pass))
    }

    fn serve(engine: &str, url: String, listener: impl Listener<Addr = SocketAddr>, behaviour: Behaviour) -> Self {
        let between = Between { engine: engine.to_owned(), behaviour, http: reqwest::Client::new() };
        let router = Router::new().fallback(stand_between).with_state(between);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, server }
    }
}

async fn stand_between(State(between): State<Between>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let act = (between.behaviour)(&parts, &body);
    match act {
        Act::Hang => std::future::pending().await,
        Act::Answer(status, json) => answer(status, json.to_owned().into()),
        Act::Pass | Act::Change(_) | Act::Lose => {
            for name in [ACCEPT_ENCODING, CONTENT_LENGTH, HOST] {
                parts.headers.remove(name);
            }
            let url = format!("{}{}", between.engine, parts.uri);
            let passed =
                between.http.request(parts.method, url).headers(parts.headers).body(body).send().await.unwrap();
            let (status, body) = (passed.status().as_u16(), passed.bytes().await.unwrap());
            match act {
                Act::Lose => {
                    let broken =
                        futures::stream::iter([Ok(body.slice(..body.len() / 2)), Err(io::Error::other("cut"))]);
                    answer(status, Body::from_stream(broken))
                }
                Act::Change(change) => {
                    let mut value = serde_json::from_slice(&body).unwrap();
                    change(&mut value);
                    answer(status, value.to_string().into())
                }
                _ => answer(status, body.into()),
            }
        }
    }
}

fn answer(status: u16, body: Body) -> Response {
    Response::builder().status(status).header(CONTENT_TYPE, "application/json").body(body).unwrap()
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
