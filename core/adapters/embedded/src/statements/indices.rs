//! The statement store of a process: an index in a folder, and a second one beside it while documents are made anew.
//!
//! The live index is always the folder itself; any other one has its number behind that name. Which number is live, and which one is
//! filled, is said by one small file beside them, whose writing is the swap: folders are renamed after it, and whoever opens the store
//! and finds them otherwise than the file says renames them first.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::RwLock;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{EmbeddedStatements, StatementsOptions, write_durably};
use lyceum_core::ports::statements::{
    Current, Filter, Indices, Next, Page, QueryDocuments, Reindex, ScanPart, ScanPlace, StatementDocument,
    StatementsError, StoreDocuments, StoreOutcome, StoredStatement,
};

/// In the folder of an index that is not the first one: its number.
const NUMBER_FILE: &str = "number";

/// The statement store in a folder, of which another index can be filled and swapped in.
pub struct EmbeddedIndices(Arc<Shared>);

struct Shared {
    folder: PathBuf,
    options: StatementsOptions,
    open: RwLock<Open>,
}

struct Open {
    said: Said,
    /// `None` only where a swap failed in its middle.
    live: Option<EmbeddedStatements>,
    next: Option<EmbeddedStatements>,
}

/// What the file beside the folders says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    live: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

impl EmbeddedIndices {
    /// Opens the store in `folder`, as [`EmbeddedStatements::open`]; a swap that was cut off is ended first.
    ///
    /// # Errors
    /// Its, and `Refused` where the folders are not those that the file beside them tells of.
    pub fn open(folder: &Path, options: StatementsOptions) -> Result<Self, StatementsError> {
        let said = settle(folder)?;
        let live = EmbeddedStatements::open(folder, options.clone())?;
        let opened = said.next.map(|number| EmbeddedStatements::open(&path_of(folder, number), options.clone()));
        let (said, next) = match opened.transpose() {
            Ok(next) => (said, next),
            Err(StatementsError::Refused(why)) => (without_next(folder, said, &why)?, None),
            Err(error) => return Err(error),
        };
        let open = RwLock::new(Open { said, live: Some(live), next });
        Ok(Self(Arc::new(Shared { folder: folder.to_owned(), options, open })))
    }
}

/// Beside a folder, under a name that begins like its own.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(what);
    folder.with_file_name(name)
}

fn path_of(folder: &Path, number: u32) -> PathBuf {
    beside(folder, &number.to_string())
}

fn refused(folder: &Path, why: &str) -> StatementsError {
    StatementsError::Refused(format!("{}: {why}", folder.display()))
}

fn failed(folder: &Path) -> impl FnOnce(io::Error) -> StatementsError {
    move |error| StatementsError::Unavailable(format!("{}: {error}; is the disk full or gone?", folder.display()))
}

/// The number of the index in a folder; `None` where there is no folder.
fn number_in(folder: &Path) -> Result<Option<u32>, StatementsError> {
    if !folder.exists() {
        return Ok(None);
    }
    match fs::read_to_string(folder.join(NUMBER_FILE)) {
        Ok(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| refused(folder, "its file number is damaged; restore the folder from a copy")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(0)),
        Err(error) => Err(failed(folder)(error)),
    }
}

/// Reads what is said of the indices, and has the folders be so.
fn settle(folder: &Path) -> Result<Said, StatementsError> {
    let file = beside(folder, "indices");
    let said = match fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            let why =
                format!("cannot be read ({error}); a newer version wrote it, or it is damaged: restore it from a copy");
            refused(&file, &why)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Said::default(),
        Err(error) => return Err(failed(&file)(error)),
    };
    let Said { live, next } = said;
    let there = number_in(folder)?;
    if there != Some(live) && !(there.is_none() && live == 0) {
        // A swap was cut off.
        let to_be_live = path_of(folder, live);
        if number_in(&to_be_live)? != Some(live) {
            return Err(refused(
                folder,
                &format!(
                    "index {live} should be live, and neither this folder nor {} is it; restore both, and {}, from one copy",
                    to_be_live.display(),
                    file.display()
                ),
            ));
        }
        rename(folder, there, live)?;
    }
    match next.map(|next| number_in(&path_of(folder, next)).map(|there| there == Some(next))) {
        None | Some(Ok(true)) => Ok(said),
        Some(Ok(false)) => without_next(folder, said, "it is gone"),
        Some(Err(StatementsError::Refused(why))) => without_next(folder, said, &why),
        Some(Err(error)) => Err(error),
    }
}

/// An index that was filled keeps nobody from the live one: it is filled anew whenever somebody asks for that.
fn without_next(folder: &Path, said: Said, why: &str) -> Result<Said, StatementsError> {
    tracing::warn!(index = said.next, folder = %folder.display(), why, "the index that was being filled is given up");
    let said = Said { next: None, ..said };
    write(folder, said)?;
    Ok(said)
}

/// Has the folder be the index `live`, whatever is in it now.
fn rename(folder: &Path, there: Option<u32>, live: u32) -> Result<(), StatementsError> {
    let renamed = (|| {
        if let Some(there) = there {
            fs::rename(folder, path_of(folder, there))?;
        }
        fs::rename(path_of(folder, live), folder)?;
        folder.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    })();
    renamed.map_err(failed(folder))
}

/// The numbers of all indices but the live one: a folder that only has a name like theirs is somebody's copy.
fn others(folder: &Path) -> Result<BTreeSet<u32>, StatementsError> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name().and_then(|name| name.to_str())) else {
        return Ok(BTreeSet::new());
    };
    let entries = fs::read_dir(parent).map_err(failed(parent))?;
    let number = |entry: fs::DirEntry| {
        let entry = entry.file_name();
        let number: u32 = entry.to_str()?.strip_prefix(name)?.strip_prefix('.')?.parse().ok()?;
        let path = path_of(folder, number);
        let is_its_own = path.file_name() == Some(&entry) && path.is_dir() && number_in(&path).ok()? == Some(number);
        is_its_own.then_some(number)
    };
    Ok(entries.map_while(Result::ok).filter_map(number).collect())
}

fn write(folder: &Path, said: Said) -> Result<(), StatementsError> {
    let file = beside(folder, "indices");
    let text = serde_json::to_string(&said).map_err(|error| refused(&file, &error.to_string()))?;
    write_durably(&file, &text).map_err(failed(&file))
}

impl Shared {
    /// Makes what blocks elsewhere, with nobody at the store.
    async fn alone<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &mut Open) -> Result<T, StatementsError> + Send + 'static,
    ) -> Result<T, StatementsError> {
        let shared = self.clone();
        let done = spawn_blocking(move || {
            let mut open = shared.open.blocking_write();
            work(&shared, &mut open)
        });
        done.await.unwrap_or_else(|error| Err(StatementsError::Unavailable(format!("it broke off: {error}"))))
    }
}

impl Open {
    fn live(&self) -> Result<&EmbeddedStatements, StatementsError> {
        let why = "another index was to be swapped in, which failed; start the process again";
        self.live.as_ref().ok_or_else(|| StatementsError::Unavailable(why.to_owned()))
    }

    fn next(&self, number: u32) -> Result<&EmbeddedStatements, StatementsError> {
        let is_it = self.said.next == Some(number);
        let why = || StatementsError::Refused(format!("index {number} is not filled any more"));
        self.next.as_ref().filter(|_| is_it).ok_or_else(why)
    }
}

/// The index that is filled.
struct EmbeddedNext(Arc<Shared>, u32);

/// Hands every call to the index that is meant, which nobody takes away meanwhile.
macro_rules! handed_on {
    ($type:ty, $open:ident, $self:ident => $index:expr) => {
        #[async_trait]
        impl StoreDocuments for $type {
            async fn store(&$self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
                let $open = $self.0.open.read().await;
                $index?.store(documents).await
            }
        }

        #[async_trait]
        impl QueryDocuments for $type {
            async fn get(&$self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
                let $open = $self.0.open.read().await;
                $index?.get(tenant, id).await
            }

            async fn search(&$self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
                let $open = $self.0.open.read().await;
                $index?.search(filter, limit, after).await
            }

            async fn scan(&$self, filter: &Filter, place: Option<ScanPlace>) -> Result<ScanPart, StatementsError> {
                let $open = $self.0.open.read().await;
                $index?.scan(filter, place).await
            }

            async fn aggregate(&$self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
                let $open = $self.0.open.read().await;
                $index?.aggregate(filter, aggregations).await
            }

            async fn ping(&$self) -> Result<(), StatementsError> {
                let $open = $self.0.open.read().await;
                $index?.ping().await
            }
        }
    };
}

handed_on!(EmbeddedIndices, open, self => open.live());
handed_on!(EmbeddedNext, open, self => open.next(self.1));

#[async_trait]
impl Reindex for EmbeddedIndices {
    async fn indices(&self) -> Result<Indices, StatementsError> {
        let Said { live, next } = self.0.open.read().await.said;
        let mut old = others(&self.0.folder)?;
        old.retain(|number| *number != live && Some(*number) != next);
        // Nobody else has the folder, and whoever stores is waited for.
        Ok(Indices { live, next, old, settled_after: Duration::ZERO })
    }

    async fn current(&self) -> Result<Current, StatementsError> {
        let Said { live, next } = self.0.open.read().await.said;
        let next = next.map(|number| Next { number, documents: Arc::new(EmbeddedNext(self.0.clone(), number)) });
        Ok(Current { live, next })
    }

    async fn create_next(&self, above: u32) -> Result<u32, StatementsError> {
        let create = move |shared: &Shared, open: &mut Open| {
            if let Some(number) = open.said.next {
                return Ok(number);
            }
            let taken = others(&shared.folder)?.last().copied().unwrap_or(0).max(open.said.live);
            let mut number = taken.max(above) + 1;
            while path_of(&shared.folder, number).exists() {
                // Of a process that died before it was said, or somebody's copy.
                number += 1;
            }
            let path = path_of(&shared.folder, number);
            let next = EmbeddedStatements::open(&path, shared.options.clone())?;
            write_durably(&path.join(NUMBER_FILE), &format!("{number}\n")).map_err(failed(&path))?;
            let said = Said { next: Some(number), ..open.said };
            write(&shared.folder, said)?;
            (open.said, open.next) = (said, Some(next));
            Ok(number)
        };
        self.0.alone(create).await
    }

    async fn swap(&self, number: u32) -> Result<(), StatementsError> {
        let swap = move |shared: &Shared, open: &mut Open| {
            if open.said.live == number {
                return Ok(());
            }
            open.next(number)?;
            let (before, said) = (open.said.live, Said { live: number, next: None });
            let place = path_of(&shared.folder, before);
            if place.exists() {
                let why = "the index that is live now is to come here, and something is here already; move it away";
                return Err(refused(&place, why));
            }
            write(&shared.folder, said)?;
            // From here on it is live, whatever fails: what opens the folder next ends it.
            open.said = said;
            // Their writers end, and their locks go.
            (open.live, open.next) = (None, None);
            rename(&shared.folder, Some(before), number)?;
            open.live = Some(EmbeddedStatements::open(&shared.folder, shared.options.clone())?);
            Ok(())
        };
        self.0.alone(swap).await
    }

    async fn abandon(&self, number: u32) -> Result<(), StatementsError> {
        let abandon = move |shared: &Shared, open: &mut Open| {
            if open.said.next == Some(number) {
                let said = Said { next: None, ..open.said };
                write(&shared.folder, said)?;
                (open.said, open.next) = (said, None);
            }
            Ok(())
        };
        self.0.alone(abandon).await
    }

    async fn drop_old(&self) -> Result<BTreeSet<u32>, StatementsError> {
        let drop_old = |shared: &Shared, open: &mut Open| {
            let mut old = others(&shared.folder)?;
            old.retain(|number| *number != open.said.live && Some(*number) != open.said.next);
            for number in &old {
                let path = path_of(&shared.folder, *number);
                fs::remove_dir_all(&path).map_err(failed(&path))?;
            }
            Ok(old)
        };
        self.0.alone(drop_old).await
    }
}
