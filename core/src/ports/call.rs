//! Ports that are asked about an event, whatever they answer; by an effect of the kind *calling*.

use async_trait::async_trait;

/// What a calling subscription asks.
#[async_trait]
pub trait CallPort<Request, Answer>: Send + Sync {
    /// Asks once. It may be asked again about the same event, by another worker, where the answer of this call was not
    /// recorded.
    async fn call(&self, request: &Request, progress: &dyn Progress) -> Result<Answer, CallError>;
}

/// Is told how far a call is.
#[async_trait]
pub trait Progress: Send + Sync {
    /// So much is done, from 0 to 100. What was told before, or more, is told to nobody again.
    async fn at(&self, percent: u8);
}

/// Whoever does not want to know.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

#[async_trait]
impl Progress for Unwatched {
    async fn at(&self, _: u8) {}
}

/// The port did not answer now: throttled, down, out of time. The event is redelivered, and no attempt of it is spent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CallError(pub String);
