//! Whoever is told by a webhook.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

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

/// Variables of a process that tells `url` of security alerts and of no limit.
pub fn security_alone(url: &str) -> [(&str, &str); 7] {
    [
        ("ALERT_WEBHOOK_URL", url),
        ("ALERT_DEAD_LETTERS", "0"),
        ("ALERT_ERROR_PERCENT", "0"),
        ("ALERT_CPU_PERCENT", "0"),
        ("ALERT_MEMORY_PERCENT", "0"),
        ("ALERT_LAG_SECONDS", "0"),
        ("ALERT_SILENT_SECONDS", "0"),
    ]
}

/// What governance reports where an approval could not be used, `number` telling one such event from another.
pub fn approval_invalid(tenant: &str, number: u32, fingerprint: &str) -> Value {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("{tenant}/{number}").as_bytes());
    json!({
        "id": id, "type": "ir.approval_invalid", "source": "governance", "target": null, "timestamp": "2026-03-02T08:04:00Z",
        "payload": {"approval_id": format!("ap-{number}"), "reason": "token_mismatch", "actor": "eve", "token_fingerprint": fingerprint},
        "meta": {"schema_version": "1.0", "producer": "governance-service", "source_module": "governance", "tenant_id": tenant,
            "correlation_id": format!("deploy-{number}")},
    })
}

/// The next alert about that tenant, with the status that it was answered with.
///
/// # Panics
/// Where none comes.
pub fn next_of(posted: &mpsc::Receiver<(u16, Value)>, tenant: &str) -> (u16, Value) {
    loop {
        let (status, alert) = posted.recv_timeout(Duration::from_secs(600)).expect("somebody is told");
        if alert["tenant"] == tenant {
            return (status, alert);
        }
    }
}
