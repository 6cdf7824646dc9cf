//! Stores for as long as something is tried out: a ledger and documents in one file that has no name, so that nothing of it is left
//! once its process has ended, however it ended.
//!
//! It holds what memory would not, and nothing is synced: nobody reads it after a crash. All writes go into one open transaction of
//! [redb](https://docs.rs/redb), which is put into the file now and then, so that memory stays bounded. One thread at a time is in it.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};

mod documents;
mod form;
mod ledger;

pub use documents::ScratchDocuments;
pub use ledger::ScratchLedger;

/// What redb keeps of the file in memory.
const CACHE_BYTES: usize = 64 << 20;

/// After so many writes they are put into the file.
const WRITES_A_TRANSACTION: u32 = 4_096;

/// Tables of names and values, both bytes.
type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Why there is no such store.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// No file can be made there.
    #[error("no temporary file can be made in {folder}: {reason}; TMPDIR names another folder")]
    File {
        /// The system's folder for temporary files.
        folder: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The file cannot be used.
    #[error("the temporary file in {folder} cannot be used: {reason}; TMPDIR names another folder")]
    Database {
        /// The system's folder for temporary files.
        folder: String,
        /// What the database said.
        reason: String,
    },
}

/// The file; cheap to share.
#[derive(Clone)]
pub struct Scratch(Arc<Mutex<State>>);

struct State {
    /// Before the database, which is closed by the last of both.
    transaction: Option<WriteTransaction>,
    database: Database,
    writes: u32,
    /// Why it cannot be used any more.
    failed: Option<String>,
}

impl Scratch {
    /// An empty one, in the system's folder for temporary files.
    ///
    /// # Errors
    /// Where no file can be made there, or used.
    pub fn open() -> Result<Self, ScratchError> {
        let folder = || std::env::temp_dir().display().to_string();
        let file = tempfile::tempfile().map_err(|reason| ScratchError::File { folder: folder(), reason })?;
        let unusable = |reason: String| ScratchError::Database { folder: folder(), reason };
        let file = FileBackend::new(file).map_err(|error| unusable(error.to_string()))?;
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Unsynced(file));
        let database = database.map_err(|error| unusable(error.to_string()))?;
        Ok(Self(Arc::new(Mutex::new(State { transaction: None, database, writes: 0, failed: None }))))
    }

    /// The ledger in it.
    pub fn ledger(&self) -> ScratchLedger {
        ScratchLedger::new(self.clone())
    }

    /// Why it could not do what it was asked for, where that ever happened: what came of it means nothing then.
    pub fn failed(&self) -> Option<String> {
        self.0.lock().failed.clone()
    }

    /// Does the work in the open transaction; `writes` is how much of it changes something.
    fn work<T>(
        &self,
        writes: u32,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, String> {
        let mut state = self.0.lock();
        if let Some(reason) = &state.failed {
            return Err(reason.clone());
        }
        let done = state.work(writes, work).map_err(|error| {
            let folder = std::env::temp_dir();
            format!("the temporary file in {} cannot be used: {error}; TMPDIR names another folder", folder.display())
        });
        state.failed = done.as_ref().err().cloned();
        done
    }
}

impl State {
    fn work<T>(
        &mut self,
        writes: u32,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let transaction = match self.transaction.take() {
            Some(transaction) if self.writes >= WRITES_A_TRANSACTION => {
                transaction.commit()?;
                self.writes = 0;
                self.database.begin_write()?
            }
            Some(transaction) => transaction,
            None => self.database.begin_write()?,
        };
        let done = work(&transaction);
        self.transaction = Some(transaction);
        self.writes += writes;
        done
    }
}

fn get(transaction: &WriteTransaction, table: Table, name: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = transaction.open_table(table)?;
    Ok(table.get(name)?.map(|held| held.value().to_vec()))
}

fn put(transaction: &WriteTransaction, table: Table, name: &[u8], value: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(table)?.insert(name, value)?;
    Ok(())
}

/// A file whose writes nobody waits for.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.0.close()
    }
}
