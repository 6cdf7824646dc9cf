//! A server that answers as it is told to, by what it is asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The head, with names of headers in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What becomes of a question.
pub(crate) enum Reply {
    Answer(u16, String),
    /// The connection ends without an answer.
    HangUp,
    /// Nothing comes, and the connection stays.
    Silent,
}

pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (asked.clone(), Arc::new(answer));
        let serving = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (kept, answer) = (kept.clone(), answer.clone());
                tokio::spawn(async move { serve(connection, &kept, &*answer).await });
            }
        });
        Self { url, asked, serving }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut connection: TcpStream, kept: &Mutex<Vec<Asked>>, answer: &(dyn Fn(&Asked) -> Reply + Send + Sync)) {
    let Some(asked) = read(&mut connection).await else { return };
    let reply = answer(&asked);
    kept.lock().unwrap().push(asked);
    match reply {
        Reply::Answer(status, body) => {
            let place = if (300..400).contains(&status) { "location: https://elsewhere.example\r\n" } else { "" };
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} as told\r\n{place}content-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
        }
        Reply::HangUp => {}
        Reply::Silent => std::future::pending().await,
    }
}

async fn read(connection: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = connection.read(&mut piece).await.ok()?;
        bytes.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let mut first = lines.next()?.split(' ');
            let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
            let lower = |line: &str| match line.split_once(": ") {
                Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
                None => String::new(),
            };
            let asked = Asked { method, path, head: lines.map(lower).collect(), body: body.to_owned() };
            let told = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= told {
                return Some(asked);
            }
        }
        if length == 0 {
            return None;
        }
    }
}
