//! Bodies of requests: how many bytes of them are held at once, how long they may take to come, how many events one may
//! hold, and where they are read. Whatever is sent, the process's memory and its other answers stay as they are.

use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures::TryStreamExt;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::access::Caller;
use crate::problem::{Kind, Problem};
use crate::shares::{NoneLeft, Share, Shares};

/// How many events one request may hold.
pub(super) const EVENTS: usize = 10_000;
/// How many headers one event may have.
pub(super) const HEADERS: usize = 100;
/// How long a body may take to come.
const BODY_TIME_LIMIT: Duration = Duration::from_secs(30);
/// How many bytes of bodies the process holds at once, and of one tenant; whoever brings more is told to come again.
const HELD_BYTES: [usize; 2] = [128 << 20, 40 << 20];
/// How many large bodies are read at once, and of one tenant; the others wait for their turn.
const READ_AT_ONCE: [usize; 2] = [2, 1];
/// How many large bodies are worked on at once, and of one tenant; apart from the others, since the work waits for stores.
const WORKED_ON_AT_ONCE: [usize; 2] = [2, 1];
/// One event that is not larger is read in less time than a turn takes.
const SMALL_BYTES: usize = 64 << 10;

// Of the process, as its memory and its processors are.
static HELD: LazyLock<Shares> = LazyLock::new(|| Shares::new(HELD_BYTES[0], HELD_BYTES[1]));
static READING: LazyLock<Shares> = LazyLock::new(|| Shares::new(READ_AT_ONCE[0], READ_AT_ONCE[1]));
static WORKING: LazyLock<Shares> = LazyLock::new(|| Shares::new(WORKED_ON_AT_ONCE[0], WORKED_ON_AT_ONCE[1]));

/// Bytes together with their share of what may be held.
struct Held {
    bytes: Vec<u8>,
    _share: Option<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body up to a limit. What says itself that it is larger is refused before any of it comes.
pub(super) async fn read_body(caller: &Caller, body: Body, limit_bytes: usize) -> Result<Bytes, Problem> {
    read_body_within(&HELD, caller.tenant.as_deref(), body, limit_bytes).await
}

async fn read_body_within(
    held: &Shares,
    tenant: Option<&str>,
    body: Body,
    limit_bytes: usize,
) -> Result<Bytes, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit_bytes {
        return Err(too_large(limit_bytes));
    }
    let mut body = body.into_data_stream();
    let reading = async {
        let mut read = Held { bytes: Vec::with_capacity(announced), _share: None };
        loop {
            let cut_off = |_| Problem::bad_request("the body was cut off: send the request once more");
            let Some(chunk) = body.try_next().await.map_err(cut_off)? else { return Ok(read) };
            if read.bytes.len() + chunk.len() > limit_bytes {
                return Err(too_large(limit_bytes));
            }
            let share = held.try_acquire(tenant, chunk.len()).map_err(no_room)?;
            match &mut read._share {
                Some(shares) => shares.merge(share),
                none => *none = Some(share),
            }
            read.bytes.extend_from_slice(&chunk);
        }
    };
    match timeout(BODY_TIME_LIMIT, reading).await {
        Ok(read) => read.map(Bytes::from_owner),
        Err(_) => {
            let detail = format!("the body did not come within {BODY_TIME_LIMIT:?}; send less at once");
            Err(Problem::new(Kind::TIMED_OUT, detail))
        }
    }
}

fn no_room(left: NoneLeft) -> Problem {
    match left {
        NoneLeft::OfTenant => Problem::new(
            Kind::TOO_MANY,
            "your other requests take all the room that a tenant has: send this one after them",
        ),
        NoneLeft::OfAll => Problem::new(
            Kind::BUSY,
            "the bodies of other requests take all the room that there is: send the request once more",
        ),
    }
}

fn too_large(limit_bytes: usize) -> Problem {
    Problem::new(Kind::TOO_LARGE, format!("the body is larger than {limit_bytes} bytes; send less at once"))
}

/// Reads what was sent: many events or a large one on a thread of its own, since the runtime's threads have everybody's requests to
/// answer.
pub(super) async fn read_aside<T: Send + 'static>(
    caller: &Caller,
    body: Bytes,
    read: impl FnOnce(&Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if body.len() <= SMALL_BYTES && !body.trim_ascii_start().starts_with(b"[") {
        return read(&body);
    }
    on_a_thread(&READING, caller, move || read(&body)).await
}

/// Does the work that a body of so many bytes asks for: that of a large one on a thread of its own, as it is read and worked on
/// piece by piece. It ends where nobody waits for it any more.
pub(super) async fn work_aside<T: Send + 'static>(
    caller: &Caller,
    bytes: usize,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= SMALL_BYTES {
        return Ok(work.await);
    }
    let unwanted = CancellationToken::new();
    let _waiting = unwanted.clone().drop_guard();
    let runtime = Handle::current();
    let work = move || runtime.block_on(unwanted.run_until_cancelled_owned(work)).ok_or_else(ending);
    on_a_thread(&WORKING, caller, work).await
}

/// Waits for a turn, and does something on a thread of its own.
async fn on_a_thread<T: Send + 'static>(
    turns: &Shares,
    caller: &Caller,
    act: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let turn = turns.acquire(caller.tenant.as_deref()).await.ok_or_else(ending)?;
    // The turn ends with the act, also where nobody waits for it any more.
    let acting = spawn_blocking(move || {
        let done = act();
        drop(turn);
        done
    });
    match acting.await {
        Ok(done) => done,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(ending()),
        },
    }
}

fn ending() -> Problem {
    Problem::new(Kind::UNAVAILABLE, "the process is ending")
}

/// A JSON array of at most [`EVENTS`] items; of a longer one, none is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Events<T> {
    These(Vec<T>),
    TooMany,
}

impl<T> Events<T> {
    /// The items, or the problem that there are too many.
    pub(super) fn these(self) -> Result<Vec<T>, Problem> {
        match self {
            Self::These(items) => Ok(items),
            Self::TooMany => {
                let detail = format!(
                    "the body has more than {EVENTS} events, and none was stored: send at most {EVENTS} at once"
                );
                Err(Problem::new(Kind::TOO_LARGE, detail))
            }
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Events<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Events<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < EVENTS {
                    match array.next_element()? {
                        Some(item) => items.push(item),
                        None => return Ok(Events::These(items)),
                    }
                }
                if array.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Events::These(items));
                }
                drop(items);
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Events::TooMany)
            }
        }

        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// Headers of an event, as an object or as pairs; too many are refused as they are read.
pub(super) fn read_headers<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<(String, V)>, D::Error> {
    struct Headers<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Headers<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("headers")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            read(|| object.next_entry())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
            read(|| pairs.next_element())
        }
    }

    fn read<V, E: serde::de::Error>(mut next: impl FnMut() -> Result<Option<V>, E>) -> Result<Vec<V>, E> {
        let mut headers = Vec::new();
        while let Some(header) = next()? {
            if headers.len() == HEADERS {
                return Err(E::custom(format_args!("an event has at most {HEADERS} headers")));
            }
            headers.push(header);
        }
        Ok(headers)
    }

    deserializer.deserialize_any(Headers(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(items: usize) -> Result<usize, u16> {
        let json = format!("[{}]", vec!["0"; items].join(","));
        let events: Events<u8> = serde_json::from_str(&json).unwrap();
        events.these().map(|items| items.len()).map_err(|problem| problem.kind.status.as_u16())
    }

    #[test]
    fn an_array_has_as_many_events_as_the_bound_and_not_one_more() {
        assert_eq!(count(0), Ok(0));
        assert_eq!(count(EVENTS), Ok(EVENTS));
        assert_eq!(count(EVENTS + 1), Err(413));
        let broken = format!("[{}", "0,".repeat(2 * EVENTS));
        assert!(serde_json::from_str::<Events<u8>>(&broken).is_err(), "what is no JSON is so behind the bound, too");
    }

    #[test]
    fn an_event_has_as_many_headers_as_the_bound_and_not_one_more() {
        let read = |headers: usize| {
            let object: String = (0..headers).map(|at| format!(",\"{at}\":null")).collect();
            let object = format!("{{{}}}", object.trim_start_matches(','));
            let mut deserializer = serde_json::Deserializer::from_str(&object);
            read_headers::<_, Option<String>>(&mut deserializer).map(|headers| headers.len())
        };
        assert_eq!(read(HEADERS).unwrap(), HEADERS);
        assert!(read(HEADERS + 1).unwrap_err().to_string().contains("at most 100 headers"));
    }

    #[tokio::test]
    async fn bodies_that_are_held_leave_no_room_for_more_until_they_are_dropped() {
        let room = Shares::new(10, 10);
        let first = read_body_within(&room, None, Body::from("12345678"), 100).await.unwrap();
        let part = first.slice(2..3);
        drop(first);
        let refused = read_body_within(&room, None, Body::from("123"), 100).await.unwrap_err();
        assert_eq!((refused.kind, room.left()), (Kind::BUSY, 2));
        drop(part);
        assert_eq!(read_body_within(&room, None, Body::from("123"), 100).await.unwrap(), "123");
    }

    #[tokio::test]
    async fn a_body_that_says_itself_that_it_is_too_large_is_refused_before_it_comes() {
        let endless = futures::stream::pending::<Result<Bytes, std::convert::Infallible>>();
        let announced = Announced(Body::from_stream(endless));
        let refused = read_body_within(&Shares::new(100, 100), None, Body::new(announced), 100).await.unwrap_err();
        assert_eq!(refused.kind, Kind::TOO_LARGE);
    }

    /// A body of 2 GB, of which nothing comes.
    struct Announced(Body);

    impl HttpBody for Announced {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
            std::pin::Pin::new(&mut self.0).poll_frame(context)
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(2 << 30)
        }
    }
}
