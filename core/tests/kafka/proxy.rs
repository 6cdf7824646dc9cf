//! A way to Kafka that a test can cut. The broker's answers name the proxy where they named the broker, or a client would
//! go past it after its first question.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy to one broker on this machine, under the name by which the broker calls itself.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: String,
    is_open: Arc<watch::Sender<bool>>,
}

impl Proxy {
    pub(crate) async fn start(broker: &str) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(own) = listener.local_addr().unwrap() else { panic!("no IPv4 address") };
        let broker = broker.to_owned();
        let (host, port) = broker.rsplit_once(':').unwrap();
        let (host, broker_port) = (host.to_owned(), port.parse().unwrap());
        let is_open = Arc::new(watch::Sender::new(true));
        let opened = is_open.clone();
        let (from, to) = (name_of(&host, broker_port), name_of(&host, own.port().into()));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut open = opened.subscribe();
                if !*open.borrow_and_update() {
                    continue;
                }
                let (broker, from, to) = (broker.clone(), from.clone(), to.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = open.wait_for(|open| !open) => {}
                        _ = carry(client, &broker, &from, &to) => {}
                    }
                });
            }
        });
        Self { address: format!("{host}:{}", own.port()), is_open }
    }

    /// Cuts every connection, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.is_open.send_replace(true);
    }
}

/// A broker's host and port, as they stand in answers: the text, then the port in four bytes.
fn name_of(host: &str, port: i32) -> Vec<u8> {
    [host.as_bytes(), &port.to_be_bytes()].concat()
}

async fn carry(client: TcpStream, broker: &str, from: &[u8], to: &[u8]) -> std::io::Result<()> {
    let broker = TcpStream::connect(broker).await?;
    let ((mut asked, mut answer), (mut answered, mut ask)) = (client.into_split(), broker.into_split());
    let questions = tokio::io::copy(&mut asked, &mut ask);
    let answers = async {
        loop {
            let length = answered.read_u32().await?;
            let mut frame = vec![0; length as usize];
            answered.read_exact(&mut frame).await?;
            while let Some(at) = frame.windows(from.len()).position(|bytes| bytes == from) {
                frame[at..at + to.len()].copy_from_slice(to);
            }
            answer.write_u32(length).await?;
            answer.write_all(&frame).await?;
        }
    };
    tokio::select! {
        ended = questions => ended.map(drop),
        ended = answers => ended,
    }
}
