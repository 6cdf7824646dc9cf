//! A server that answers as its script says, one request a turn.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of one request.
pub(crate) enum Turn {
    /// These bytes.
    Answer(Vec<u8>),
    /// The connection ends without an answer.
    HangUp,
    /// The connection ends in the middle of an answer whose length was told.
    Cut(Vec<String>),
    /// Nothing comes, and the connection stays.
    Silent,
}

pub(crate) struct Scripted {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scripted {
    pub(crate) async fn start(turns: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        let serving = tokio::spawn(async move {
            let mut silent = Vec::new();
            for turn in turns {
                let (mut connection, _) = listener.accept().await.unwrap();
                let request = read(&mut connection).await;
                kept.lock().unwrap().push(request);
                match turn {
                    // A model writes bit by bit.
                    Turn::Answer(bytes) => {
                        for piece in bytes.chunks(300) {
                            connection.write_all(piece).await.unwrap();
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                    }
                    Turn::HangUp => {}
                    Turn::Cut(events) => {
                        let head =
                            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n";
                        let bytes = [head.as_bytes(), &wire(&events[..4])].concat();
                        connection.write_all(&bytes).await.unwrap();
                    }
                    Turn::Silent => silent.push(connection),
                }
            }
        });
        Self { url, asked, serving }
    }

    /// Heads and bodies of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn read(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = connection.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let told = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= told.unwrap_or(0) {
                return text;
            }
        }
        assert!(length > 0, "a request breaks off: {text}");
    }
}

/// The events of an answer that ends for that reason.
pub(crate) fn content(stop_reason: &str) -> Vec<String> {
    let delta =
        |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let long = "A half of a half is a quarter. ".repeat(10);
    let usage = json!({"input_tokens": 40, "output_tokens": 1});
    [
        json!({"type": "message_start", "message": {"model": "writer-1-2026", "content": [], "usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        delta(&long),
        delta(&long),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 200}}),
        json!({"type": "message_stop"}),
    ]
    .map(|event| event.to_string())
    .to_vec()
}

fn wire(events: &[String]) -> Vec<u8> {
    events.iter().map(|event| format!("event: any\ndata: {event}\n\n")).collect::<String>().into_bytes()
}

/// An answer of these events, which ends where its connection does.
pub(crate) fn stream(events: Vec<String>) -> Turn {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    Turn::Answer([head.as_bytes(), &wire(&events)].concat())
}

/// An error with these headers beside.
pub(crate) fn error(status: u16, kind: &str, headers: &[&str]) -> Turn {
    let body = json!({"type": "error", "error": {"type": kind, "message": "no"}}).to_string();
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Any\r\n{more}connection: close\r\ncontent-length: {length}\r\n\r\n");
    Turn::Answer([head.as_bytes(), body.as_bytes()].concat())
}
