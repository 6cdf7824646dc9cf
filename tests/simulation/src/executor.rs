//! Futures that are moved by hand: no thread, no timer, no runtime.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// A worker's work.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lets the others go on; a worker may crash here.
pub(crate) async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        // Within one worker several transactions are under way at once: who is not woken is not polled again.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Moves the work to its next pause; whether it is done.
pub(crate) fn advance(work: &mut Work) -> bool {
    work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// The answer of a model in memory, which never waits.
pub(crate) fn answer<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("a model in memory answers at once"),
    }
}
