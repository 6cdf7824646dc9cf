//! The statement store's twin: a tantivy index in a folder.
//!
//! Tantivy knows no unique key. So one thread writes; it takes every call that waits into one group, looks each (tenant,
//! id) up in the last commit and among the group's own, commits (which flushes to the disk), lets readers see the commit
//! and only then answers. What was answered survives `kill -9`; what was not is not there or found again by its id.
//!
//! Limits: one process a folder; good for some thousand statements a second and some tens of millions in all, on one
//! machine. A value over 8 KiB is searched and counted by its beginning and digest. Different values are counted exactly
//! up to 65,000 and estimated (2 %) beyond.

use std::fs;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use parking_lot::RwLock;
use serde_json::Value;
use tantivy::directory::MmapDirectory;
use tantivy::directory::error::LockError;
use tantivy::error::DataCorruption;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyError};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use self::schema::{Encoded, IndexSchema, Version};
use self::view::{Scanned, View};
use self::writer::{Call, Writer, open_writer};
use lyceum_core::ports::statements::semantics::StatementEquality;
use lyceum_core::ports::statements::{
    Filter, Page, QueryDocuments, ScanPart, ScanPlace, StatementDocument, StatementsError, StoreDocuments,
    StoreOutcome, StoredStatement,
};

mod indices;
mod schema;
mod view;
mod writer;

pub use indices::EmbeddedIndices;

const VERSION_FILE: &str = "schema-version";
const INDEX_FOLDER: &str = "index";
/// So many blocks of stored statements stay unpacked for each segment. One that is larger than a block has one of its own, so that
/// these are megabytes where statements are; who reads many reads each block once.
const CACHED_BLOCKS: usize = 4;

/// How an [`EmbeddedStatements`] works.
#[derive(Clone, Debug)]
pub struct StatementsOptions {
    /// What the writer gathers in memory before it writes a segment, in bytes; at least 15,000,000, which tantivy needs.
    pub memory_bytes: usize,
    /// Statement equality: tells a duplicate from a conflict. Production passes the validator's.
    pub same: StatementEquality,
    /// What a new folder is made for; one that is there stays what it is.
    pub holds: Holds,
}

/// What a folder is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Statements, which are counted by any of their fields.
    Statements,
    /// Entries of logs, each of which has texts of its own. They are found by any field, and counted by tenant, verb and what no filter
    /// names: half of the work of keeping one.
    Logs,
}

impl Holds {
    fn version(self) -> Version {
        match self {
            Self::Statements => Version::Third,
            Self::Logs => Version::Logs,
        }
    }
}

impl StatementsOptions {
    /// The defaults, with which a process stays under 256 MB.
    pub fn new(same: StatementEquality) -> Self {
        Self { memory_bytes: 30_000_000, same, holds: Holds::Statements }
    }
}

/// A statement store in a folder, which it locks. Its calls need a tokio runtime. Dropping it finishes what was called.
pub struct EmbeddedStatements {
    index: Index,
    view: Arc<RwLock<View>>,
    /// `None` only while it is dropped.
    calls: Option<mpsc::Sender<Call>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStatements {
    /// Opens the store in `folder`, which is created where it is not there.
    ///
    /// # Errors
    /// `Refused` where another process has it open, where it was written by a newer version, and where the folder holds
    /// something else or a damaged index; `Unavailable` where the disk fails.
    pub fn open(folder: &Path, options: StatementsOptions) -> Result<Self, StatementsError> {
        let (index_folder, version) = claim(folder, options.holds)?;
        // Tantivy panics on some damaged files.
        let opened =
            catch_unwind(AssertUnwindSafe(|| open_index(&index_folder, version, &options))).unwrap_or_else(|_| {
                Err(TantivyError::DataCorruption(DataCorruption::comment_only("a file of the index is damaged")))
            });
        let opened = opened.map_err(|error| {
            let refused = |reason: &str| StatementsError::Refused(format!("{}: {reason}", folder.display()));
            match error {
                TantivyError::LockFailure(LockError::LockBusy, _) => {
                    refused("another process has this statement store open; stop it, or talk to it instead")
                }
                error if is_of_system(&error) => StatementsError::Unavailable(format!("{}: {error}", folder.display())),
                error => refused(&format!(
                    "the statement index cannot be opened ({error}); restore the folder from a copy, or move it away \
                     and replay the topics"
                )),
            }
        })?;
        let Opened { index, reader, writer, view } = opened;
        let view = Arc::new(RwLock::new(view));
        let (calls, waiting) = mpsc::channel();
        let state = Writer {
            index: index.clone(),
            reader,
            view: view.clone(),
            options,
            writer: Some(writer),
            failing: <_>::default(),
        };
        let thread = thread::Builder::new().name("statements-writer".to_owned()).spawn(move || state.run(&waiting));
        let writer = thread.map_err(|error| StatementsError::Unavailable(format!("no thread to write: {error}")))?;
        Ok(Self { index, view, calls: Some(calls), writer: Some(writer) })
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&View) -> Result<T, StatementsError> + Send + 'static,
    ) -> Result<T, StatementsError> {
        let view = self.view.read().clone();
        let answer = spawn_blocking(move || question(&view)).await;
        answer.unwrap_or_else(|error| Err(StatementsError::Unavailable(format!("the question broke off: {error}"))))
    }
}

impl Drop for EmbeddedStatements {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the statement writer broke; what it had not answered may be missing");
        }
    }
}

fn writer_gone() -> StatementsError {
    StatementsError::Unavailable("its writer has stopped; start the process again".to_owned())
}

#[async_trait]
impl StoreDocuments for EmbeddedStatements {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        let (reply, answer) = oneshot::channel();
        let calls = self.calls.as_ref().ok_or_else(writer_gone)?;
        calls.send(Call { documents, reply }).map_err(|_| writer_gone())?;
        answer.await.map_err(|_| writer_gone())?
    }
}

#[async_trait]
impl QueryDocuments for EmbeddedStatements {
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        let tenant = tenant.to_owned();
        self.ask(move |view| view.get(&tenant, id)).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        let (filter, after) = (filter.clone(), after.map(str::to_owned));
        self.ask(move |view| view.search(&filter, limit, after.as_deref())).await
    }

    async fn scan(&self, filter: &Filter, place: Option<ScanPlace>) -> Result<ScanPart, StatementsError> {
        let filter = filter.clone();
        let scanned = place.map(ScanPlace::read::<Scanned>).transpose()?;
        self.ask(move |view| match scanned {
            Some(scanned) => scanned.next_part(),
            None => view.scan(&filter)?.next_part(),
        })
        .await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        let (filter, aggregations) = (filter.clone(), aggregations.clone());
        self.ask(move |view| view.aggregate(&filter, &aggregations)).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        if self.writer.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(writer_gone());
        }
        let index = self.index.clone();
        self.ask(move |_| index.load_metas().map(drop).map_err(refuse_or_retry)).await
    }
}

/// What a failure of tantivy means to the caller.
fn refuse_or_retry(error: TantivyError) -> StatementsError {
    use TantivyError as E;
    use tantivy::directory::error::OpenReadError::IncompatibleIndex;
    match error {
        E::OpenReadError(IncompatibleIndex(_)) => StatementsError::Refused(error.to_string()),
        // Tantivy tells a full disk in several ways, of which one is an internal error.
        E::IoError(_)
        | E::OpenReadError(_)
        | E::OpenWriteError(_)
        | E::ErrorInThread(_)
        | E::InternalError(_)
        | E::LockFailure(..)
        | E::Poisoned
        | E::SystemError(_) => StatementsError::Unavailable(format!("{error}; is the disk full or gone?")),
        error => StatementsError::Refused(error.to_string()),
    }
}

/// Whether the operating system told it, rather than tantivy on reading a damaged file.
fn is_of_system(error: &TantivyError) -> bool {
    use TantivyError as E;
    use tantivy::directory::error::{OpenReadError, OpenWriteError};
    match error {
        E::IoError(error)
        | E::OpenReadError(OpenReadError::IoError { io_error: error, .. })
        | E::OpenWriteError(OpenWriteError::IoError { io_error: error, .. }) => error.raw_os_error().is_some(),
        E::SystemError(_) => true,
        _ => false,
    }
}

/// Makes sure that the folder is a statement store of a version that is known here, or becomes one of the newest of its kind; returns the
/// index's own folder, and the version.
fn claim(folder: &Path, holds: Holds) -> Result<(PathBuf, Version), StatementsError> {
    let refused = |reason: &str| StatementsError::Refused(format!("{}: {reason}", folder.display()));
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            refused(&format!("is no folder that can be written to ({error})"))
        }
        _ => StatementsError::Unavailable(format!("{}: {error}", folder.display())),
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let version_file = folder.join(VERSION_FILE);
    let version = match fs::read(&version_file) {
        Ok(version) => {
            let number = std::str::from_utf8(&version).ok().and_then(|text| text.trim().parse::<u32>().ok());
            let newest = Version::LAST as u32;
            match (number.and_then(Version::of), number) {
                (Some(version), _) => version,
                (None, Some(newer)) if newer > newest => {
                    return Err(refused(&format!(
                        "was written by a newer version (schema {newer}, this one reads up to {newest}); use that version"
                    )));
                }
                _ => return Err(refused("its file schema-version is damaged; restore it from a copy")),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut others = fs::read_dir(folder).map_err(failed)?.map_while(Result::ok);
            if others.any(|entry| !entry.file_name().to_string_lossy().starts_with(VERSION_FILE)) {
                return Err(refused("holds something else than a statement store; name an empty folder"));
            }
            write_durably(&version_file, &format!("{}\n", holds.version() as u32)).map_err(failed)?;
            holds.version()
        }
        Err(error) => return Err(failed(error)),
    };
    let index_folder = folder.join(INDEX_FOLDER);
    fs::create_dir_all(&index_folder).map_err(failed)?;
    let holds = |extension: &str| -> io::Result<bool> {
        let mut entries = fs::read_dir(&index_folder)?.map_while(Result::ok);
        Ok(entries.any(|entry| entry.path().extension().is_some_and(|found| found == extension)))
    };
    if !index_folder.join("meta.json").exists() && holds("store").map_err(failed)? {
        return Err(refused("its index has statements but lacks meta.json; restore the folder from a copy"));
    }
    Ok((index_folder, version))
}

/// Whole or not at all, also when the power fails.
fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

struct Opened {
    index: Index,
    reader: IndexReader,
    writer: IndexWriter<Encoded>,
    view: View,
}

fn open_index(folder: &Path, version: Version, options: &StatementsOptions) -> tantivy::Result<Opened> {
    let schema = Arc::new(IndexSchema::new(version));
    let index = Index::open_or_create(MmapDirectory::open(folder)?, schema.schema.clone())?;
    let writer = open_writer(&index, options)?;
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(CACHED_BLOCKS);
    let reader = reader.try_into()?;
    let view = View::load(schema, reader.searcher())?;
    Ok(Opened { index, reader, writer, view })
}
