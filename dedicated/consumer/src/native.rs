//! What librdkafka offers and rdkafka does not: the batch call, own queues, wake-ups by a descriptor, commits that are
//! answered on a queue, and what the allocator is told. The only module with `unsafe`.
//!
//! # Invariants
//!
//! 1. **A message lives from the batch call that gave it until [`Message`] is dropped**, and its key, payload and headers do
//!    not move meanwhile. Nothing else destroys it: a pointer is wrapped once, in [`OwnQueue::take`].
//! 2. **Who reads or destroys a message keeps the client alive**: `Messages` holds the [`Client`], and drops its messages first.
//! 3. **The own queue is read by one thread at a time**: [`OwnQueue::take`] needs `&mut`, and so do [`OwnQueue::forward`] and
//!    whatever moves the assignment, a pause or a position, since they belong to the same owner (`Member`).
//! 4. **The own queue is destroyed before the client**: it holds the [`Client`], and is destroyed first.
//! 5. **A descriptor is handed to librdkafka only while it is owned, and disabled before it is closed**: a [`Queue`] that rings
//!    a [`Bell`] holds it, and has librdkafka forget it before it goes.
//! 6. **Headers are parsed once**: librdkafka does it lazily, in the message, so the first reader does it under a [`Once`].
//! 7. **The batch call never sees the consumer's own queue**, where it would swallow a rebalance and assign nothing: an
//!    [`OwnQueue`] is made by `rd_kafka_queue_new` alone.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Once};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::Consumer;
use rdkafka::error::{IsError, KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, TopicPartitionList};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::context::FastContext;

/// The client that messages and queues need alive.
pub(crate) trait Alive: Send + Sync {
    /// librdkafka's handle, which is valid as long as this is.
    fn handle(&self) -> *mut sys::rd_kafka_t;
}

impl Alive for rdkafka::consumer::BaseConsumer<FastContext> {
    fn handle(&self) -> *mut sys::rd_kafka_t {
        self.client().native_ptr()
    }
}

impl Alive for rdkafka::consumer::StreamConsumer<FastContext> {
    fn handle(&self) -> *mut sys::rd_kafka_t {
        self.client().native_ptr()
    }
}

/// A client, kept alive.
pub(crate) type Client = Arc<dyn Alive>;

/// One record of a batch call, or an error in place of one.
pub(crate) struct Message {
    raw: NonNull<sys::rd_kafka_message_t>,
    parsed: Once,
}

// SAFETY: a message is plain memory that librdkafka's threads have let go of (invariant 1). What is reference counted behind
// it (the fetched buffer, the topic) is counted atomically. Reading it changes nothing but the headers (invariant 6).
unsafe impl Send for Message {}
// SAFETY: as above.
unsafe impl Sync for Message {}

impl Message {
    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: it lives until this is dropped (invariant 1).
        unsafe { self.raw.as_ref() }
    }

    /// The error that is in place of a record.
    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        let code = self.raw().err;
        code.is_error().then(|| code.into())
    }

    /// What topic and partition it is of; equal for messages of one partition that live at the same time.
    pub(crate) fn place(&self) -> (usize, i32) {
        (self.raw().rkt as usize, self.raw().partition)
    }

    pub(crate) fn topic(&self) -> String {
        if self.raw().rkt.is_null() {
            return String::new();
        }
        // SAFETY: the message counts as a user of its topic, so the handle and its name live as long as it does.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.raw().rkt)) }.to_string_lossy().into_owned()
    }

    pub(crate) fn partition(&self) -> i32 {
        self.raw().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Milliseconds since 1970, where it has a time.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: both pointers are valid for the call (invariant 1).
        let at = unsafe { sys::rd_kafka_message_timestamp(self.raw.as_ptr(), &mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(at)
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka's pointer and length of the key.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(crate) fn payload(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka's pointer and length of the payload.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// The header at this place.
    pub(crate) fn header(&self, at: usize) -> Option<(&[u8], Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        let find = |headers: *mut *mut sys::rd_kafka_headers_t| {
            // SAFETY: the message lives; the first call, which writes into it, is made by one thread (invariant 6).
            unsafe { sys::rd_kafka_message_headers(self.raw.as_ptr(), headers) }
        };
        self.parsed.call_once(|| {
            find(&mut ptr::null_mut());
        });
        if find(&mut headers).is_error() {
            return None;
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers belong to the message; name and value are valid as long as they are.
        let found = unsafe { sys::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut length) };
        if found.is_error() {
            return None;
        }
        // SAFETY: a name ends with a zero; a value has the length that was said.
        unsafe { Some((CStr::from_ptr(name).to_bytes(), bytes(value, length))) }
    }

    /// Bytes of key and payload.
    pub(crate) fn size(&self) -> usize {
        let raw = self.raw();
        if raw.err.is_error() { 0 } else { raw.len + raw.key_len }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: destroyed once, here, with its client alive (invariants 1 and 2).
        unsafe { sys::rd_kafka_message_destroy(self.raw.as_ptr()) }
    }
}

/// # Safety
/// A pointer that is not null has to be valid for `length` bytes, for as long as the lifetime says.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    NonNull::new(start.cast_mut().cast::<u8>()).map(|start| unsafe { slice::from_raw_parts(start.as_ptr(), length) })
}

/// Messages, with the client that they need. They are dropped before it: fields are dropped in the order they are written.
pub(crate) struct Messages {
    messages: Vec<Message>,
    client: Client,
}

impl Messages {
    pub(crate) fn new(client: &Client) -> Self {
        Self { messages: Vec::new(), client: Arc::clone(client) }
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    pub(crate) fn as_slice(&self) -> &[Message] {
        &self.messages
    }

    /// Those from here on.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        Self { messages: self.messages.split_off(at), client: Arc::clone(&self.client) }
    }

    /// Each by itself, with something that they share.
    pub(crate) fn split<T>(self, value: T) -> impl Iterator<Item = One<T>> {
        let with = Arc::new(Shared { value, client: self.client });
        self.messages.into_iter().map(move |message| One { message, with: Arc::clone(&with) })
    }
}

/// What messages share that are apart: the client among it.
struct Shared<T> {
    value: T,
    #[expect(dead_code, reason = "held")]
    client: Client,
}

/// One message, with the client that it needs (invariant 2: the message is dropped first).
pub(crate) struct One<T> {
    message: Message,
    with: Arc<Shared<T>>,
}

impl<T> One<T> {
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// What they share.
    pub(crate) fn shared(&self) -> &T {
        &self.with.value
    }
}

/// A queue of ours, to which partitions are forwarded and which the batch call reads.
pub(crate) struct OwnQueue {
    queue: Queue,
    pointers: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the queue is locked within librdkafka; the pointers are null between calls.
unsafe impl Send for OwnQueue {}

impl OwnQueue {
    /// `batch` is how many messages a call takes at most.
    pub(crate) fn new(client: &Client, batch: usize) -> Self {
        // SAFETY: the handle is valid as long as `client` is, which the queue holds (invariant 4).
        let raw = unsafe { sys::rd_kafka_queue_new(client.handle()) };
        let raw = NonNull::new(raw).expect("a queue is memory alone");
        let queue = Queue { raw, bell: None, client: Arc::clone(client) };
        Self { queue, pointers: vec![ptr::null_mut(); batch.max(1)] }
    }

    /// Has what is fetched of a partition come here; harmless where it does so already. Before the partition is assigned, else
    /// its first records come to the consumer's own queue; again at every assignment, since a revocation ends it.
    pub(crate) fn forward(&mut self, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: handle and name are valid for the call; the queue that it gives is ours to destroy.
        unsafe {
            let of = sys::rd_kafka_queue_get_partition(self.queue.client.handle(), topic.as_ptr(), partition);
            if !of.is_null() {
                sys::rd_kafka_queue_forward(of, self.queue.raw.as_ptr());
                sys::rd_kafka_queue_destroy(of);
            }
        }
    }

    /// As librdkafka does when a fetch stops late: what is fetched comes to the consumer's own queue again.
    #[cfg(test)]
    pub(crate) fn end_forwarding(&mut self, topic: &str, partition: i32) {
        let topic = CString::new(topic).expect("a topic's name has no zero");
        // SAFETY: as of `forward`.
        unsafe {
            let of = sys::rd_kafka_queue_get_partition(self.queue.client.handle(), topic.as_ptr(), partition);
            sys::rd_kafka_queue_forward(of, Queue::of_consumer(&self.queue.client).expect("in a group").raw.as_ptr());
            sys::rd_kafka_queue_destroy(of);
        }
    }

    /// Takes at most `limit` messages of those that are there, and waits for none. Whoever keeps one puts it into [`Messages`].
    pub(crate) fn take(&mut self, limit: usize) -> impl Iterator<Item = Message> + '_ {
        let limit = limit.min(self.pointers.len());
        // SAFETY: the array has room for so many; nobody else reads this queue (invariants 3 and 7).
        let taken =
            unsafe { sys::rd_kafka_consume_batch_queue(self.queue.raw.as_ptr(), 0, self.pointers.as_mut_ptr(), limit) };
        let taken = usize::try_from(taken).unwrap_or(0);
        let wrap = |raw: &mut *mut sys::rd_kafka_message_t| {
            let raw = std::mem::replace(raw, ptr::null_mut());
            NonNull::new(raw).map(|raw| Message { raw, parsed: Once::new() })
        };
        self.pointers[..taken].iter_mut().filter_map(wrap)
    }

    /// Has it ring the bell; see [`Queue::ring`].
    pub(crate) fn ring(&mut self, bell: &Arc<Bell>) {
        self.queue.ring(bell);
    }
}

/// What librdkafka gives at best, for benches to compare with: a loop of batch calls on the consumer's own queue, of partitions
/// that are assigned without a group. Reads `count` records; how many bytes they had. `begun` is called with the first.
pub fn ceiling(
    config: &rdkafka::ClientConfig,
    assignment: &TopicPartitionList,
    count: usize,
    begun: impl FnOnce(),
) -> Result<usize, KafkaError> {
    let consumer: rdkafka::consumer::BaseConsumer<FastContext> = config.create_with_context(FastContext::default())?;
    let consumer = Arc::new(consumer);
    consumer.assign(assignment)?;
    let client: Client = Arc::clone(&consumer) as Client;
    let gone = || KafkaError::ClientCreation("the consumer has no queue".to_owned());
    let queue = Queue::of_consumer(&client).ok_or_else(gone)?;
    let (mut pointers, mut begun) = (vec![ptr::null_mut(); 1_024], Some(begun));
    let (mut read, mut bytes) = (0, 0);
    while read < count {
        // SAFETY: the array has room for so many; nobody else reads the queue, and without a group it has no rebalance to lose.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(queue.raw.as_ptr(), 100, pointers.as_mut_ptr(), pointers.len())
        };
        for pointer in &pointers[..usize::try_from(taken).unwrap_or(0)] {
            let Some(raw) = NonNull::new(*pointer) else { continue };
            let message = Message { raw, parsed: Once::new() };
            if message.error().is_none() {
                if let Some(begun) = begun.take() {
                    begun();
                }
                read += 1;
                bytes += message.payload().map_or(0, <[u8]>::len);
            }
        }
    }
    Ok(bytes)
}

/// A queue of librdkafka, or a counted reference to one.
pub(crate) struct Queue {
    raw: NonNull<sys::rd_kafka_queue_t>,
    /// What it rings.
    bell: Option<Arc<Bell>>,
    client: Client,
}

// SAFETY: every call that is made of a queue locks it.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// The consumer's own, which has its rebalances, answers and errors, and which `BaseConsumer::poll` serves.
    pub(crate) fn of_consumer(client: &Client) -> Option<Self> {
        // SAFETY: the handle is valid; what it gives is a counted reference.
        let raw = unsafe { sys::rd_kafka_queue_get_consumer(client.handle()) };
        NonNull::new(raw).map(|raw| Self { raw, bell: None, client: Arc::clone(client) })
    }

    /// Rings the bell whenever the queue was empty and is no more. Edge-triggered: after a ring it has to be read until it is
    /// empty. Of the queue that is read, not of one that is forwarded to it.
    pub(crate) fn ring(&mut self, bell: &Arc<Bell>) {
        self.bell = Some(Arc::clone(bell));
        self.tell(bell.end().as_raw_fd());
    }

    /// Says which descriptor is written; -1 is none.
    fn tell(&self, descriptor: i32) {
        let payload = (&raw const RING).cast::<c_void>();
        // SAFETY: the queue is valid, the descriptor is owned by the bell (invariant 5), and the payload, which is copied, is static.
        unsafe { sys::rd_kafka_queue_io_event_enable(self.raw.as_ptr(), descriptor, payload, size_of_val(&RING)) }
    }

    /// How much waits in it.
    pub(crate) fn length(&self) -> usize {
        // SAFETY: the queue is valid.
        unsafe { sys::rd_kafka_queue_length(self.raw.as_ptr()) }
    }

    /// Commits these offsets; the answer comes to this queue, and so to `ConsumerContext::commit_callback`.
    pub(crate) fn commit(&self, offsets: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
        let (client, queue) = (self.client.handle(), self.raw.as_ptr());
        // SAFETY: all three are valid for the call, which copies the list.
        let error = unsafe { sys::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, ptr::null_mut()) };
        if error.is_error() { Err(error.into()) } else { Ok(()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.bell.is_some() {
            self.tell(-1);
        }
        // SAFETY: ours, destroyed once, before the client (invariant 4).
        unsafe { sys::rd_kafka_queue_destroy(self.raw.as_ptr()) }
    }
}

/// A descriptor that is readable once somebody rang.
pub(crate) struct Bell {
    read: OwnedFd,
    /// The other end, where it is a pipe.
    write: Option<OwnedFd>,
}

/// What is written by a ring: one, as an eventfd counts.
static RING: u64 = 1;

impl Bell {
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self { read: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?, write: None })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> std::io::Result<Self> {
        let (read, write) = rustix::pipe::pipe()?;
        for end in [&read, &write] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(end, rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(Self { read, write: Some(write) })
    }

    fn end(&self) -> &OwnedFd {
        self.write.as_ref().unwrap_or(&self.read)
    }

    /// For a task to wait for. Of readiness to read alone: an eventfd is always writable, which would wake the driver for nothing.
    pub(crate) fn of_task(self: &Arc<Self>) -> std::io::Result<AsyncFd<Arc<Self>>> {
        // SAFETY: the descriptor is the bell's, and stays open as long as the bell, which the result holds.
        Ok(unsafe { AsyncFd::register_with_interest(Arc::clone(self), Interest::READABLE) }?)
    }

    /// Wakes whoever waits, now or later.
    pub(crate) fn ring(&self) {
        // One that is full is readable already.
        let _ = rustix::io::write(self.end(), &RING.to_ne_bytes());
    }

    /// Forgets the rings so far.
    pub(crate) fn silence(&self) {
        let mut rings = [0; 512];
        while rustix::io::read(&self.read, &mut rings).is_ok_and(|count| count == rings.len()) {}
    }

    /// Waits until somebody rings, at most so long.
    pub(crate) fn wait(&self, limit: Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        // Interrupted or not: the caller looks again.
        let _ = poll(&mut [PollFd::new(&self.read, PollFlags::IN)], Some(&limit));
        self.silence();
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }
}

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// What a running client was set to, where that is not librdkafka's default; passwords among it. Callbacks and what is set by
/// functions alone is left out.
pub(crate) fn settings_of<C: ClientContext>(client: &rdkafka::client::Client<C>) -> Vec<(String, String)> {
    // SAFETY: the client is alive, and with it its configuration; what is made here is destroyed here.
    let (own, default) = unsafe {
        let own = sys::rd_kafka_conf(client.native_ptr()).cast_mut();
        let default = sys::rd_kafka_conf_new();
        let of_topics = sys::rd_kafka_topic_conf_new();
        let mut defaults = dump(default, sys::rd_kafka_conf_dump);
        defaults.extend(dump(of_topics, sys::rd_kafka_topic_conf_dump));
        sys::rd_kafka_topic_conf_destroy(of_topics);
        sys::rd_kafka_conf_destroy(default);
        let mut found = dump(own, sys::rd_kafka_conf_dump);
        let of_topics = sys::rd_kafka_conf_get_default_topic_conf(own);
        if !of_topics.is_null() {
            found.extend(dump(of_topics, sys::rd_kafka_topic_conf_dump));
        }
        (found, defaults)
    };
    let by_function = |name: &str| {
        name.ends_with("_cb")
            || matches!(name, "opaque" | "default_topic_conf" | "enabled_events" | "interceptors" | "log.queue")
            || matches!(name, "ssl_ca" | "ssl_certificate" | "ssl_key" | "ssl_engine_callback_data" | "partitioner")
    };
    own.into_iter().filter(|found| !default.contains(found) && !by_function(&found.0)).collect()
}

/// # Safety
/// `of` has to be what `call` is for, and valid.
unsafe fn dump<T>(
    of: *mut T,
    call: unsafe extern "C" fn(*mut T, *mut usize) -> *mut *const c_char,
) -> Vec<(String, String)> {
    let mut count = 0;
    // SAFETY: the caller's promise; the array has `count` texts, names and values in turn, and is freed by its own call.
    unsafe {
        let texts = call(of, &mut count);
        let text = |at: usize| {
            let text = *texts.add(at);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        let pairs = (0..count / 2).map(|at| (text(2 * at), text(2 * at + 1))).collect();
        sys::rd_kafka_conf_dump_free(texts, count);
        pairs
    }
}

/// Sets a parameter of glibc's allocator; whether it was accepted.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn set_allocator(parameter: AllocatorParameter, bytes: i32) -> bool {
    let parameter = match parameter {
        AllocatorParameter::MapAbove => libc::M_MMAP_THRESHOLD,
        AllocatorParameter::KeepBelow => libc::M_TRIM_THRESHOLD,
    };
    // SAFETY: changes numbers that the allocator reads under its own lock.
    unsafe { libc::mallopt(parameter, bytes) == 1 }
}

/// Which one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) enum AllocatorParameter {
    MapAbove,
    KeepBelow,
}

/// The end of a partition as the broker last said it with records, without asking; `None` where it said nothing yet.
pub(crate) fn end_of(client: &Client, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the handle is valid, and all pointers are for the call.
    let error =
        unsafe { sys::rd_kafka_get_watermark_offsets(client.handle(), topic.as_ptr(), partition, &mut low, &mut high) };
    (!error.is_error() && high >= 0).then_some(high)
}
