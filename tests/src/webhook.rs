//! Whoever is told by a webhook.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::requests::read_request;

/// Takes what is posted, one after the other, and answers each with the next of these statuses; with the last one from then on.
/// Where it listens, and what came.
///
/// # Panics
/// Where no port is free or what comes is no JSON.
pub fn receiver(statuses: &'static [u16]) -> (String, mpsc::Receiver<(u16, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    let (taken, posted) = mpsc::channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let (_, body) = read_request(&mut stream).expect("a whole request");
            let status = statuses[number.min(statuses.len() - 1)];
            let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).expect("it is answered");
            if taken.send((status, serde_json::from_slice(&body).expect("it is JSON"))).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}/a-secret-path"), posted)
}
