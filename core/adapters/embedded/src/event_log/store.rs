//! The file: opening it, its tables, and what becomes of it after an error of the disk.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parking_lot::RwLock;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::chunk::{self, Unreadable};
use lyceum_core::ports::event_log::EventLogError;

/// The layout of the tables below. A file with a larger one is refused.
pub(super) const SCHEMA: u64 = 1;

/// The file's own facts; today its schema.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Topic name → id, partitions, retention age in nanoseconds and bytes. An id is never given twice.
pub(super) const TOPICS: TableDefinition<&str, TopicRow> = TableDefinition::new("topics");

/// Id, partitions, retention age and bytes.
pub(super) type TopicRow = (u32, i32, Option<u128>, Option<u64>);

/// Topic id and partition → what it holds. A partition that never had a record is absent.
pub(super) const PARTITIONS: TableDefinition<(u32, i32), PartitionRow> = TableDefinition::new("partitions");

/// Start, end, payload bytes held, and the largest timestamp that it ever had.
pub(super) type PartitionRow = (i64, i64, u64, i64);

/// Topic id, partition and first offset → a chunk of records.
pub(super) const CHUNKS: TableDefinition<(u32, i32, i64), &[u8]> = TableDefinition::new("chunks");

/// Topic id, partition and timestamp → the chunk that first reached it, by its first offset. Only chunks that raised the
/// partition's largest timestamp are here, so that timestamps and offsets grow together.
pub(super) const PEAKS: TableDefinition<(u32, i32, i64), i64> = TableDefinition::new("peaks");

/// Group, topic id and partition → the committed offset.
pub(super) const COMMITTED: TableDefinition<(&str, u32, i32), i64> = TableDefinition::new("committed");

/// Why a piece of work on the file was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The caller asked for what cannot be; the file is well.
    Caller(EventLogError),
    /// The file or its disk.
    Storage(redb::Error),
    /// The file's content.
    Content(Unreadable),
    /// redb met what it holds to be impossible.
    Panic(String),
}

impl From<EventLogError> for Failure {
    fn from(error: EventLogError) -> Self {
        Self::Caller(error)
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::Content(error)
    }
}

macro_rules! storage_failures {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Storage(error.into())
            }
        }
    )*};
}
storage_failures!(
    io::Error,
    redb::CommitError,
    redb::CompactionError,
    redb::DatabaseError,
    redb::SetDurabilityError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError
);

impl Failure {
    fn from_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Self::Panic(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned())
    }

    /// Whether the database must be opened anew before it can be used.
    fn breaks_database(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::Panic(_))
    }

    /// The error that a caller gets, about the file called `name`.
    fn explain(self, name: &str) -> EventLogError {
        use redb::Error as Redb;
        let damaged = |why: &dyn std::fmt::Display| {
            EventLogError::Refused(format!(
                "{name} is damaged or no event log ({why}): put a backup in its place, or move it away to start an empty log"
            ))
        };
        match self {
            Self::Caller(error) => error,
            Self::Storage(Redb::DatabaseAlreadyOpen) => EventLogError::Refused(format!(
                "{name} is in use by another process: stop that one, or give this one a data folder of its own"
            )),
            Self::Storage(Redb::UpgradeRequired(version)) => EventLogError::Refused(format!(
                "{name} has the old file format {version}, which this program no longer reads: \
                 open it with the program that wrote it, or move it away to start an empty log"
            )),
            Self::Storage(Redb::Io(error)) if is_full(&error) => EventLogError::Unavailable(format!(
                "the disk that holds {name} is full: free space on it and try again ({error})"
            )),
            Self::Storage(Redb::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                damaged(&error)
            }
            Self::Storage(error @ (Redb::Io(_) | Redb::PreviousIo | Redb::DatabaseClosed | Redb::LockPoisoned(_))) => {
                EventLogError::Unavailable(format!(
                    "{name} could not be read or written: see that its disk is there and may be written, and try again ({error})"
                ))
            }
            Self::Storage(error) => damaged(&error),
            Self::Content(Unreadable::Newer(found)) => {
                newer(name, "record format", found.into(), chunk::VERSION.into())
            }
            Self::Content(Unreadable::Damaged) => damaged(&"a chunk of records cannot be decoded"),
            Self::Panic(message) => damaged(&message),
        }
    }
}

fn newer(name: &str, what: &str, found: u64, known: u64) -> EventLogError {
    EventLogError::Refused(format!(
        "{name} has {what} {found}, and this program knows those up to {known}: use the newer program that wrote it"
    ))
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

type Opener = Box<dyn Fn() -> Result<Database, Failure> + Send + Sync>;

/// The database, opened anew after each error of the disk: redb refuses everything after one.
pub(super) struct Store {
    name: String,
    opener: Opener,
    database: RwLock<Option<Database>>,
}

impl Store {
    /// Opens the file, and creates it where there is none.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, EventLogError> {
        let (name, path) = (path.display().to_string(), path.to_owned());
        Self::open_with(name, Box::new(move || open_file(&path, cache_bytes)))
    }

    /// Opens what `opener` opens; the tables must be there (see [`prepare`]).
    pub(super) fn open_with(name: String, opener: Opener) -> Result<Self, EventLogError> {
        let store = Self { name, opener, database: RwLock::new(None) };
        store.run(|_| Ok(()))?;
        Ok(store)
    }

    /// Does the work on the database. A panic comes back as an error. Nothing is tried twice: a commit that failed may
    /// still have reached the disk.
    pub(super) fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, EventLogError> {
        let outcome = self.attempt(work);
        if outcome.as_ref().is_err_and(Failure::breaks_database) {
            self.close();
        }
        outcome.map_err(|failure| failure.explain(&self.name))
    }

    fn attempt<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        loop {
            if let Some(database) = &*self.database.read() {
                return guard(|| work(database));
            }
            let mut database = self.database.write();
            if database.is_none() {
                *database = Some(guard(&self.opener)?);
            }
        }
    }

    /// Waits for whoever reads or writes and closes the file; the next [`run`](Self::run) opens it again.
    pub(super) fn close(&self) {
        let database = self.database.write().take();
        // Closing writes; a file that breaks then is repaired when it is opened.
        let _ = guard(move || {
            drop(database);
            Ok(())
        });
    }
}

fn guard<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Failure::from_panic(&*panic)))
}

/// A file is created under another name, so that one cut short by a crash never bears its own.
fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, Failure> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    if !path.try_exists()? {
        let unfinished = path.with_extension("new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        prepare(&builder.create(&unfinished)?)?;
        fs::rename(&unfinished, path)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
    }
    let mut database = builder.open(path)?;
    check_schema(&database, &path.display().to_string())?;
    if is_mostly_free(&database, fs::metadata(path)?.len())? {
        database.compact()?;
    }
    Ok(database)
}

/// Creates the tables of an empty database.
pub(super) fn prepare(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("schema", SCHEMA)?;
    transaction.open_table(TOPICS)?;
    transaction.open_table(PARTITIONS)?;
    transaction.open_table(CHUNKS)?;
    transaction.open_table(PEAKS)?;
    transaction.open_table(COMMITTED)?;
    Ok(transaction.commit()?)
}

fn check_schema(database: &Database, name: &str) -> Result<(), Failure> {
    let schema = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta.get("schema")?.map(|schema| schema.value()),
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    match schema {
        Some(SCHEMA) => Ok(()),
        Some(found) if found > SCHEMA => Err(newer(name, "schema", found, SCHEMA).into()),
        _ => Err(EventLogError::Refused(format!(
            "{name} is a database, but no event log: name another file, or move it away to start an empty log"
        ))
        .into()),
    }
}

/// Whether more than half of a large file holds nothing, by the payload that its partitions count. Pages are powers of
/// two, which may double what a chunk takes: only what is beyond that can be won back.
fn is_mostly_free(database: &Database, file_bytes: u64) -> Result<bool, Failure> {
    const WORTH_IT_BYTES: u64 = 64 * 1024 * 1024;
    const RECORD_OVERHEAD_BYTES: u64 = 512;
    let mut held_bytes = 0;
    for row in database.begin_read()?.open_table(PARTITIONS)?.iter()? {
        let (start, end, bytes, _) = row?.1.value();
        held_bytes += bytes + RECORD_OVERHEAD_BYTES * end.abs_diff(start);
    }
    Ok(file_bytes > WORTH_IT_BYTES + 4 * held_bytes)
}
