//! A second index beside the live one: documents are put there with fields that are made anew, and it takes the place of the first in
//! one step. Whoever stores meanwhile stores in both; how, is the affair of what stands around the store
//! (`lyceum_around::beside`), and who fills it is [`documents`](crate::generations::documents).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Statements, StatementsError};

/// So long after an index was made, whoever stores in a store that processes share stores in both: `lyceum_around::beside` has no batch
/// answered for by what it knew for longer than half of it.
pub const SETTLED_AFTER: Duration = Duration::from_secs(12);

/// Which indices a store has, each by its number: 0 is the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indices {
    /// The one that is stored and found in.
    pub live: u32,
    /// The one that is filled beside it, where one is.
    pub next: Option<u32>,
    /// Those that nobody uses.
    pub old: BTreeSet<u32>,
    /// So long after the next one was made all that is answered for is in both, or is found in the live one.
    pub settled_after: Duration,
}

/// The index that is filled beside the live one.
#[derive(Clone)]
pub struct Next {
    /// Its number; never that of another one whose documents somebody could take for its own.
    pub number: u32,
    /// Its documents. Calls fail once it is live, or abandoned.
    pub documents: Arc<dyn Statements>,
}

/// Which index is live, and which one is filled beside it.
#[derive(Clone)]
pub struct Current {
    /// The number of the live one, larger after every swap.
    pub live: u32,
    /// The one that is filled, where one is.
    pub next: Option<Next>,
}

impl Current {
    /// Whether nothing was made, taken away or swapped in between the two.
    pub fn is_as(&self, other: &Self) -> bool {
        let number = |of: &Self| of.next.as_ref().map(|next| next.number);
        self.live == other.live && number(self) == number(other)
    }
}

/// What a store of documents can do beside storing and finding them.
#[async_trait]
pub trait Reindex: Send + Sync {
    /// Which indices there are.
    async fn indices(&self) -> Result<Indices, StatementsError>;

    /// The live one and the one that is filled, as they are at one moment; a cheap call, since whoever stores makes it.
    async fn current(&self) -> Result<Current, StatementsError>;

    /// The one that is filled.
    async fn next(&self) -> Result<Option<Next>, StatementsError> {
        Ok(self.current().await?.next)
    }

    /// Makes an empty one to be filled, where there is none; its number, which is larger than those of all that are there, and than `above`.
    async fn create_next(&self, above: u32) -> Result<u32, StatementsError>;

    /// Makes the next one live, in one step and durably; the one before is old from then on. Done already, it does nothing.
    ///
    /// # Errors
    /// `Refused` where that number is neither the next nor the live one's.
    async fn swap(&self, number: u32) -> Result<(), StatementsError>;

    /// Nobody fills it any more: it is old from then on. Where it is not the next one it does nothing.
    async fn abandon(&self, number: u32) -> Result<(), StatementsError>;

    /// Deletes those that are old; which.
    async fn drop_old(&self) -> Result<BTreeSet<u32>, StatementsError>;
}

/// The statement store with its indices: for whoever has its documents made anew.
pub trait IndexedStatements: Statements + Reindex {}

impl<T: Statements + Reindex + ?Sized> IndexedStatements for T {}
