//! A TCP proxy whose line goes bad when a test says so: refused, cut, silent, slow, ended after so many bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Source: Kafka protocol guide, "Protocol Primitive Types"; a frame larger than this is none.
const MAX_FRAME_BYTES: usize = 128 * 1024 * 1024;

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Line {
    /// Everything passes.
    #[default]
    Pass,
    /// Connections are reset, those that are open and those that come.
    Refuse,
    /// Connections stay open and come about, and no byte passes: the other side seems to have gone without a word.
    Silent,
    /// Each piece (up to 16 KiB, Kafka's frames whole) waits `latency`, then for its bytes at that rate.
    Slow {
        /// The wait for each piece and direction.
        latency: Duration,
        /// At least 1.
        bytes_per_second: u64,
    },
    /// Each connection is reset once the server has sent so many bytes on it.
    EndAfter(u64),
}

/// What becomes of a connection that asks a Kafka broker this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It goes on.
    Pass,
    /// It ends, and the broker never sees the question.
    Cut,
    /// From now on every answer on it is late by so much.
    Late(Duration),
}

type Hears = Arc<dyn Fn(&[u8]) -> Heard + Send + Sync>;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    line: Line,
    /// Connections of an earlier generation are reset.
    generation: u64,
}

/// A proxy on a port of its own; gone when it is dropped.
pub struct TcpProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: AbortHandle,
}

impl TcpProxy {
    /// Stands in front of `upstream`, `host:port`.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn to(upstream: impl Into<String>) -> io::Result<Self> {
        Self::start(upstream.into(), None).await
    }

    /// Stands in front of a Kafka broker: the broker's own address in its answers becomes the proxy's, so that clients
    /// stay behind it.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn to_broker(upstream: impl Into<String>) -> io::Result<Self> {
        Self::to_broker_hearing(upstream, |_| Heard::Pass).await
    }

    /// The same; `hears` is shown every question, from its API key on, before the broker is.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn to_broker_hearing(
        upstream: impl Into<String>,
        hears: impl Fn(&[u8]) -> Heard + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start(upstream.into(), Some(Arc::new(hears))).await
    }

    async fn start(upstream: String, hears: Option<Hears>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(State::default());
        let broker = hears.map(|hears| (hears, Rename::new(&upstream, address.port())));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(client, upstream.clone(), watched.clone(), broker.clone()));
            }
        });
        Ok(Self { address, state, task: task.abort_handle() })
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on the line does this.
    pub fn set(&self, line: Line) {
        self.state.send_modify(|state| state.line = line);
    }

    /// Resets the connections that are open; new ones pass.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, upstream: String, state: watch::Receiver<State>, broker: Option<(Hears, Rename)>) {
    let born = state.borrow().generation;
    let mut ending = state.clone();
    let is_over = move |state: &State| state.generation != born || state.line == Line::Refuse;
    let _ = client.set_nodelay(true);
    let pumps = async {
        pass_or_wait(&state).await;
        let Ok(server) = TcpStream::connect(&upstream).await else { return };
        let _ = server.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let late_ms = AtomicU64::new(0);
        let (question, answer) = match &broker {
            Some((hears, rename)) => (Piece::Question(hears, &late_ms), Piece::Answer(rename, &late_ms)),
            None => (Piece::Bytes, Piece::Bytes),
        };
        let up = Pump { from: from_client, to: to_server, state: state.clone(), piece: question, limited: false };
        let down = Pump { from: from_server, to: to_client, state, piece: answer, limited: true };
        // One direction that has ended ends the other: neither Kafka nor HTTP sends on after a half is closed.
        tokio::select! { () = up.run() => {} () = down.run() => {} }
    };
    tokio::select! { () = pumps => {} _ = ending.wait_for(is_over) => {} }
}

/// Waits while the line is silent.
async fn pass_or_wait(state: &watch::Receiver<State>) {
    let mut state = state.clone();
    let _ = state.wait_for(|state| state.line != Line::Silent).await;
}

/// What is passed on at once.
enum Piece<'a> {
    /// Up to 16 KiB.
    Bytes,
    /// A frame to a broker; it may make the answers late by so many milliseconds.
    Question(&'a Hears, &'a AtomicU64),
    /// A frame from a broker, so late.
    Answer(&'a Rename, &'a AtomicU64),
}

struct Pump<'a> {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    state: watch::Receiver<State>,
    piece: Piece<'a>,
    /// Whether [`Line::EndAfter`] counts this direction.
    limited: bool,
}

impl Pump<'_> {
    async fn run(mut self) {
        let mut passed = 0u64;
        while let Some(mut piece) = self.next().await {
            pass_or_wait(&self.state).await;
            let line = self.state.borrow().line;
            match line {
                Line::Slow { latency, bytes_per_second } => {
                    let rate = Duration::from_secs_f64(piece.len() as f64 / bytes_per_second.max(1) as f64);
                    tokio::time::sleep(latency + rate).await;
                }
                Line::EndAfter(limit) if self.limited => {
                    let left = usize::try_from(limit.saturating_sub(passed)).unwrap_or(usize::MAX);
                    if piece.len() > left {
                        piece.truncate(left);
                        let _ = self.to.write_all(&piece).await;
                        return;
                    }
                }
                _ => {}
            }
            passed += piece.len() as u64;
            if self.to.write_all(&piece).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        if matches!(self.piece, Piece::Bytes) {
            let mut piece = vec![0; 16 * 1024];
            let read = self.from.read(&mut piece).await.ok().filter(|read| *read > 0)?;
            piece.truncate(read);
            return Some(piece);
        }
        let mut size = [0; 4];
        self.from.read_exact(&mut size).await.ok()?;
        let length = usize::try_from(i32::from_be_bytes(size)).ok().filter(|length| *length <= MAX_FRAME_BYTES)?;
        let mut frame = vec![0; 4 + length];
        frame[..4].copy_from_slice(&size);
        self.from.read_exact(&mut frame[4..]).await.ok()?;
        match self.piece {
            Piece::Bytes => {}
            Piece::Question(hears, late_ms) => match hears(&frame[4..]) {
                Heard::Pass => {}
                Heard::Cut => return None,
                Heard::Late(by) => late_ms.store(by.as_millis() as u64, Relaxed),
            },
            Piece::Answer(rename, late_ms) => {
                rename.apply(&mut frame[4..]);
                tokio::time::sleep(Duration::from_millis(late_ms.load(Relaxed))).await;
            }
        }
        Some(frame)
    }
}

/// In Kafka's answers a broker is its host's name and, directly behind it, its port in four bytes.
#[derive(Clone)]
struct Rename {
    advertised: Vec<Vec<u8>>,
    port: [u8; 4],
}

impl Rename {
    fn new(upstream: &str, port: u16) -> Self {
        let (host, upstream_port) = upstream.rsplit_once(':').unwrap_or((upstream, "9092"));
        let upstream_port = i32::from(upstream_port.parse::<u16>().unwrap_or(9092));
        let named = |host: &str| [host.as_bytes(), &upstream_port.to_be_bytes()[..]].concat();
        let mut advertised: Vec<Vec<u8>> = ["localhost", "127.0.0.1"].map(named).into();
        if !advertised.contains(&named(host)) {
            advertised.push(named(host));
        }
        Self { advertised, port: i32::from(port).to_be_bytes() }
    }

    fn apply(&self, frame: &mut [u8]) {
        for advertised in &self.advertised {
            let mut from = 0;
            while let Some(at) = find(&frame[from..], advertised) {
                let end = from + at + advertised.len();
                frame[end - 4..end].copy_from_slice(&self.port);
                from = end;
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let port = &wanted[wanted.len() - 4..];
    // Cheap for large frames: the port's bytes are rare, the host's first letter is not.
    memchr::memmem::find_iter(bytes, port)
        .filter_map(|at| at.checked_sub(wanted.len() - 4))
        .find(|&at| bytes[at..].starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn said(stream: &mut TcpStream, word: &[u8]) -> Option<Vec<u8>> {
        stream.write_all(word).await.ok()?;
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer)
    }

    #[tokio::test]
    async fn what_passes_is_what_was_said() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut line = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut line, b"hello").await.as_deref(), Some(&b"hello"[..]));
        proxy.set(Line::Slow { latency: Duration::from_millis(1), bytes_per_second: 1_000_000 });
        assert_eq!(said(&mut line, b"slowly").await.as_deref(), Some(&b"slowly"[..]));
    }

    #[tokio::test]
    async fn a_cut_line_ends_what_is_open_and_takes_what_comes() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut line = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(said(&mut line, b"a").await.is_some());
        proxy.cut();
        assert!(said(&mut line, b"b").await.is_none());
        let mut line = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(said(&mut line, b"c").await.is_some());
    }

    #[tokio::test]
    async fn a_refused_line_takes_nothing_until_it_passes_again() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        proxy.set(Line::Refuse);
        let mut line = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(said(&mut line, b"a").await.is_none());
        proxy.set(Line::Pass);
        let mut line = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(said(&mut line, b"b").await.is_some());
    }

    #[tokio::test]
    async fn a_silent_line_brings_its_bytes_once_it_passes() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        let mut line = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Line::Silent);
        let (answer, ()) = tokio::join!(said(&mut line, b"late"), async {
            tokio::task::yield_now().await;
            proxy.set(Line::Pass);
        });
        assert_eq!(answer.as_deref(), Some(&b"late"[..]));
    }

    #[tokio::test]
    async fn a_line_ends_after_so_many_bytes() {
        let proxy = TcpProxy::to(echo().await).await.unwrap();
        proxy.set(Line::EndAfter(3));
        let mut line = TcpStream::connect(proxy.address()).await.unwrap();
        line.write_all(b"hello").await.unwrap();
        let mut answer = Vec::new();
        let _ = line.read_to_end(&mut answer).await;
        assert_eq!(answer, b"hel");
    }

    #[test]
    fn a_brokers_address_becomes_the_proxys_wherever_it_stands() {
        let rename = Rename::new("localhost:19092", 4_242);
        let mut frame =
            b"\x00\x09localhost\x00\x00\x4a\x94..\x0a127.0.0.1\x00\x00\x4a\x94localhost\x00\x00\x4a\x95".to_vec();
        rename.apply(&mut frame);
        let want = b"\x00\x09localhost\x00\x00\x10\x92..\x0a127.0.0.1\x00\x00\x10\x92localhost\x00\x00\x4a\x95";
        assert_eq!(frame, want);
    }
}
