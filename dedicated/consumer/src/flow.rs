//! Streams of what has to be settled: whatever a step leaves out it settles, and whatever fails is handed out again.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};

use crate::error::ConsumerError;

/// What has to be settled.
pub trait Settle {
    /// Its effect is confirmed. `false` where its partition was taken away before: then it is not acknowledged.
    fn settle(self) -> bool;
}

/// A stream of what has to be settled, or of errors in its place. After a fatal error it ends.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Flow<S>(pub(crate) S);

/// What a value was made of, with the value.
#[derive(Debug)]
pub struct Mapped<T, M> {
    /// The value.
    pub value: T,
    /// What it was made of.
    pub from: M,
}

impl<T, M: Settle> Settle for Mapped<T, M> {
    fn settle(self) -> bool {
        self.from.settle()
    }
}

impl<S, M> Flow<S>
where
    S: Stream<Item = Result<M, ConsumerError>> + Unpin,
    M: Settle,
{
    /// Only those for which `keep` says yes; the others are settled.
    pub fn filter<F: FnMut(&M) -> bool>(self, keep: F) -> Flow<Filter<S, F>> {
        Flow(Filter { stream: self.0, keep })
    }

    /// A value of each, which keeps what it was made of.
    pub fn map<T, F: FnMut(&M) -> T>(self, make: F) -> Flow<Map<S, F>> {
        Flow(Map { stream: self.0, make })
    }

    /// Does something with each, one after another, and settles it; stops at what fails, which is handed out again.
    ///
    /// # Errors
    /// The first of `act`, or of the stream.
    pub async fn for_each<E>(mut self, mut act: impl AsyncFnMut(&M) -> Result<(), E>) -> Result<(), E>
    where
        E: From<ConsumerError>,
    {
        while let Some(item) = self.0.next().await {
            let item = item?;
            act(&item).await?;
            item.settle();
        }
        Ok(())
    }
}

impl<S: Stream + Unpin> Stream for Flow<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

/// As of [`Flow::filter`].
pub struct Filter<S, F> {
    stream: S,
    keep: F,
}

impl<S: Unpin, F> Unpin for Filter<S, F> {}

impl<S, M, F> Stream for Filter<S, F>
where
    S: Stream<Item = Result<M, ConsumerError>> + Unpin,
    M: Settle,
    F: FnMut(&M) -> bool,
{
    type Item = Result<M, ConsumerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.stream.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(item))) if !(self.keep)(&item) => drop(item.settle()),
                other => return other,
            }
        }
    }
}

/// As of [`Flow::map`].
pub struct Map<S, F> {
    stream: S,
    make: F,
}

impl<S: Unpin, F> Unpin for Map<S, F> {}

impl<S, M, T, F> Stream for Map<S, F>
where
    S: Stream<Item = Result<M, ConsumerError>> + Unpin,
    F: FnMut(&M) -> T,
{
    type Item = Result<Mapped<T, M>, ConsumerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let map = &mut *self;
        map.stream.poll_next_unpin(cx).map(|found| {
            found.map(|item| {
                item.map(|from| {
                    let value = (map.make)(&from);
                    Mapped { value, from }
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::executor::block_on;
    use futures::stream;

    use super::*;

    struct Item<'a>(u32, &'a RefCell<Vec<u32>>);

    impl Settle for Item<'_> {
        fn settle(self) -> bool {
            self.1.borrow_mut().push(self.0);
            true
        }
    }

    #[test]
    fn what_is_left_out_is_settled_and_what_fails_is_not() {
        let settled = RefCell::new(Vec::new());
        let items = Flow(stream::iter((1..=6).map(|number| Ok(Item(number, &settled)))));
        let mut seen = Vec::new();
        let ended = block_on(items.filter(|item| item.0 % 2 == 0).map(|item| item.0 * 10).for_each(async |item| {
            seen.push(item.value);
            if item.value == 60 { Err(ConsumerError::Closed) } else { Ok(()) }
        }));
        assert!(matches!(ended, Err(ConsumerError::Closed)));
        assert_eq!(seen, [20, 40, 60]);
        assert_eq!(*settled.borrow(), [1, 2, 3, 4, 5], "6 failed");
    }
}
