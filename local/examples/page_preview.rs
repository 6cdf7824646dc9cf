//! Preview.
#[path = "../tests/fake/mod.rs"]
mod fake;
use lyceum_core::outcome::*;
use std::sync::atomic::Ordering;
#[tokio::main]
async fn main() {
    let is_empty = std::env::args().nth(1).as_deref() == Some("empty");
    let fakes = if is_empty {
        fake::empty(lyceum::http::Access::open())
    } else {
        fake::busy(lyceum::http::Access::open()).await
    };
    if !is_empty {
        let mut o = 1000;
        for s in (0..600).rev() {
            fakes.clock.0.store(fake::NOW_MS - s * 1000, Ordering::SeqCst);
            let n = 20 + ((s as f64 / 40.0).sin() * 12.0) as i64 + (s * 7919 % 11);
            let mut v = vec![];
            for i in 0..n {
                o += 1;
                let out = match (o * 2654435761i64 >> 7) % 23 {
                    0 => Outcome::DeadLettered { kind: DeadLetterKind::Validation },
                    1 | 2 | 3 => Outcome::Duplicate,
                    4 if s > 300 && s < 360 => {
                        Outcome::RetryLater { reason: "the ledger is unavailable: throttled".into() }
                    }
                    _ => Outcome::Applied,
                };
                let mut r = fake::report(if i % 3 == 0 { "globex" } else { "acme" }, o, out.clone());
                if matches!(out, Outcome::DeadLettered { .. }) {
                    r.findings = fake::findings();
                }
                v.push(r);
            }
            fakes.observe(&v);
        }
    }
    let clock = fakes.clock.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            clock.0.fetch_add(1000, Ordering::SeqCst);
        }
    });
    let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", l.local_addr().unwrap());
    lyceum::http::serve(l, fakes.services.clone(), std::future::pending()).await.unwrap();
}
