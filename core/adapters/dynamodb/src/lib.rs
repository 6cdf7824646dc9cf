//! The ledger in one DynamoDB table.
//!
//! # Items
//!
//! The table has a partition key `pk` and a sort key `sk`, both strings, no index, and time to live on `expires_at`.
//!
//! | item | pk | sk | attributes |
//! |---|---|---|---|
//! | aggregate | `A/acme/program/3` | `=program-1` | `s` 1, `v` 7 (version), `d` `{"title":…}` (state) |
//! | aggregate that is a home | the same | the same | `s` 3, `v`, `d` (none where nothing was applied yet), `k` (a list of keys: id and content hash, epoch, source, recording), `ka` (whether others are apart) |
//! | key | `K/acme/training/0191…-…` | `k` | `s` 1, `st` `applied` or `dead`, `e` 0 (epoch), `h` (content hash), `p` `topic/0/42` (source), `r` (recording), `expires_at` |
//! | key of a home that keeps it no longer | the same | `k/program/=program-1` | the same |
//! | attempts | `K/acme/training/0191…-…` | `a/0` (epoch); of an event that has a home `a/0/program/=program-1` | `s` 1, `c` 3 (count), `expires_at` |
//!
//! Names are short because DynamoDB charges for them: an aggregate with its keys within 1 KB costs 1 write unit, one with a key apart 4.
//! State and recording are strings where they are UTF-8, so that a person can read them in the console, else binary. Above
//! 700 bytes they are deflated (RFC 1951) where that is shorter, as `dz` instead of `d` and `rz` instead of `r`, and the
//! item has `s` 2: in a transaction each further kilobyte costs 2 units with every write.
//!
//! **Names in keys.** `%` and `/` are written `%25` and `%2F`, a leading `~` `%7E`; a part longer than 512 bytes (an
//! aggregate's id: 1,023, behind its kind 490) is written `~` and its SHA-256 in hex. So no two names meet, whatever they hold, and DynamoDB's
//! limits (2,048 and 1,024 bytes) are kept; an id that was hashed is kept whole as attribute `i`. More than
//! [`MAX_NAME_BYTES`](lyceum_core::ports::ledger::MAX_NAME_BYTES) is refused.
//!
//! **Partitions.** Keys spread by themselves: each event has a `pk` of its own. Aggregates of a kind are spread by their
//! id's hash over [`LIST_SHARDS`] partition keys, so that a list is as many queries. One partition key alone would take
//! 1,000 write units per second (500 commits) until DynamoDB splits it; an index would write every aggregate a second
//! time; a scan would read every key of the last weeks.
//!
//! **Schema.** `s` tells how an item is to be read: the lowest number by which it can be. 1 is the plain form; 2 may be
//! deflated; 3 is a home. What a newer program wrote is refused with the item's name: it is
//! never guessed at and, because a commit is conditional on what was read, never overwritten.
//!
//! # Commits
//!
//! A commit is one `TransactWriteItems`; of exactly one item that is written, a conditional `PutItem`, which costs half.
//!
//! The SDK's own retries are switched off, and [`DynamoDbLedger`] repeats calls itself, because an error that ends a row of
//! attempts says nothing of the attempts before: one that was throttled after one whose answer was lost is
//! [`Uncertain`](lyceum_core::ports::ledger::LedgerError::Uncertain), not "nothing happened". A transaction is repeated under one
//! `ClientRequestToken`, so that DynamoDB answers a repetition of what it did with success and not with a failed
//! condition. The token is new in every `commit`: made from what is committed it would answer the second of two equal
//! commits with success for ten minutes, and with a conflict from then on. A `PutItem` and a counted attempt know no token
//! and are only repeated where it is certain that nothing happened.
//!
//! # Expiry
//!
//! DynamoDB deletes expired items within days, not at the second. Until then a key counts as present: it outlives whatever
//! can be replayed, so being remembered for longer harms nobody, whereas forgetting early would apply an event twice.

mod capacity;
mod failure;
mod items;
mod ledger;
mod settings;
mod table;

pub use capacity::{CapacitySnapshot, Consumed, Operation};
pub use failure::{Effect, Failure, Verdict, classify};
pub use items::{LIST_SHARDS, SCHEMA_VERSION};
pub use ledger::DynamoDbLedger;
pub use settings::{DYNAMODB_VARIABLES, DynamoDbSettings, LedgerOptions};
