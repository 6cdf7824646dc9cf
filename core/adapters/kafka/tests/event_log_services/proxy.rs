//! A way to Kafka that a test can cut, at once or at each attempt to authenticate, or make slow for readers. The broker's answers name the proxy where they named the
//! broker, or a client would go past it after its first question.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The number of a question for records. Source: Kafka's protocol, API keys.
const FETCH: [u8; 2] = 1_i16.to_be_bytes();
/// The number of the question which mechanism is to authenticate.
const SASL_HANDSHAKE: [u8; 2] = 17_i16.to_be_bytes();

/// A proxy to one broker on this machine, under the name by which the broker calls itself.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: String,
    is_open: Arc<watch::Sender<bool>>,
    moods: Arc<Moods>,
}

/// How it treats connections.
#[derive(Default)]
struct Moods {
    late_ms: AtomicU64,
    handshakes_to_cut: AtomicU64,
    handshakes_cut: AtomicU64,
}

impl Moods {
    /// Whether a connection that asks this is to be cut.
    fn cuts(&self, question: &[u8]) -> bool {
        let cuts = question.starts_with(&SASL_HANDSHAKE)
            && self
                .handshakes_to_cut
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok();
        self.handshakes_cut.fetch_add(cuts.into(), Ordering::Relaxed);
        cuts
    }
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
        let moods = Arc::new(Moods::default());
        let felt = moods.clone();
        let (from, to) = (name_of(&host, broker_port), name_of(&host, own.port().into()));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut open = opened.subscribe();
                if !*open.borrow_and_update() {
                    continue;
                }
                let (broker, from, to, moods) = (broker.clone(), from.clone(), to.clone(), felt.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = open.wait_for(|open| !open) => {}
                        _ = carry(client, &broker, &from, &to, &moods) => {}
                    }
                });
            }
        });
        Self { address: format!("{host}:{}", own.port()), is_open, moods }
    }

    /// Cuts every connection, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.is_open.send_replace(true);
    }

    /// From now on every answer is late by so much on a connection that asks for records, and on no other.
    pub(crate) fn delay_readers(&self, by: Duration) {
        self.moods.late_ms.store(by.as_millis() as u64, Ordering::Relaxed);
    }

    /// Cuts so many connections from now on where they begin to authenticate, as a broker that ends does.
    pub(crate) fn cut_handshakes(&self, number: u64) {
        self.moods.handshakes_to_cut.store(number, Ordering::Relaxed);
    }

    /// How many it has cut there.
    pub(crate) fn handshakes_cut(&self) -> u64 {
        self.moods.handshakes_cut.load(Ordering::Relaxed)
    }
}

/// A broker's host and port, as they stand in answers: the text, then the port in four bytes.
fn name_of(host: &str, port: i32) -> Vec<u8> {
    [host.as_bytes(), &port.to_be_bytes()].concat()
}

async fn carry(client: TcpStream, broker: &str, from: &[u8], to: &[u8], moods: &Moods) -> std::io::Result<()> {
    let broker = TcpStream::connect(broker).await?;
    let ((mut asked, mut answer), (mut answered, mut ask)) = (client.into_split(), broker.into_split());
    let reads = AtomicBool::new(false);
    let questions = async {
        loop {
            let frame = read_frame(&mut asked).await?;
            if moods.cuts(&frame) {
                return Ok(());
            }
            reads.fetch_or(frame.starts_with(&FETCH), Ordering::Relaxed);
            write_frame(&mut ask, &frame).await?;
        }
    };
    let answers = async {
        loop {
            let mut frame = read_frame(&mut answered).await?;
            while let Some(at) = frame.windows(from.len()).position(|bytes| bytes == from) {
                frame[at..at + to.len()].copy_from_slice(to);
            }
            if reads.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(moods.late_ms.load(Ordering::Relaxed))).await;
            }
            write_frame(&mut answer, &frame).await?;
        }
    };
    tokio::select! {
        ended = questions => ended,
        ended = answers => ended,
    }
}

async fn read_frame(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(to: &mut (impl AsyncWriteExt + Unpin), frame: &[u8]) -> std::io::Result<()> {
    to.write_u32(frame.len() as u32).await?;
    to.write_all(frame).await
}
