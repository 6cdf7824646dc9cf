//! The one writer: takes every call that waits into one commit and answers them after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use parking_lot::RwLock;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy, UserOperation};
use tantivy::{Index, IndexReader, IndexWriter};
use tokio::sync::oneshot;

use super::schema::{Encoded, Key};
use super::view::View;
use super::{StatementsOptions, refuse_or_retry};
use lyceum_core::ports::statements::semantics::meet_again;
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreOutcome};

/// A commit costs a dozen flushes of the disk whatever its size, so a group waits this long for one more call.
const LINGER: Duration = Duration::from_millis(1);
/// A group takes no further call from here on, so that its memory and its answer's delay stay bounded.
const GROUP_DOCUMENTS: usize = 20_000;
/// See [`GROUP_DOCUMENTS`].
const GROUP_BYTES: usize = 32 << 20;
/// So many documents, or bytes of statements, are handed to tantivy's thread at once: it sleeps where there are none, and waking it costs
/// as much as indexing one.
const HANDED_DOCUMENTS: usize = 64;
/// See [`HANDED_DOCUMENTS`].
const HANDED_BYTES: usize = 1 << 20;
/// So many segments of like size become one. Merging takes five microseconds a statement, since every dictionary is written anew, and a
/// look-up a seventh of one in each segment: storing costs least between twenty and thirty, and a question less with fewer.
const MERGED_SEGMENTS: usize = 20;
/// Segments above this are no longer merged, which bounds a merge's memory and time.
const MERGED_DOCUMENTS: usize = 1_000_000;

/// One call of `store`.
pub(super) struct Call {
    pub(super) documents: Vec<StatementDocument>,
    pub(super) reply: oneshot::Sender<Result<Vec<StoreOutcome>, StatementsError>>,
}

/// Owns tantivy's writer; lives on a thread of its own.
pub(super) struct Writer {
    pub(super) index: Index,
    pub(super) reader: IndexReader,
    pub(super) view: Arc<RwLock<View>>,
    pub(super) options: StatementsOptions,
    /// `None` after a failure from which tantivy's writer could not be taken back.
    pub(super) writer: Option<IndexWriter<Encoded>>,
    /// Since when storing fails without a success in between, and how often it did.
    pub(super) failing: Failing,
}

/// A failure that goes on, logged when it begins and when it ends: a full disk fails every call, several a second.
#[derive(Debug, Default)]
pub(super) struct Failing {
    failures: u64,
}

impl Failing {
    /// Whether it is news.
    fn begins(&mut self) -> bool {
        self.failures += 1;
        self.failures == 1
    }

    /// How many failures are over now.
    fn ends(&mut self) -> u64 {
        std::mem::take(&mut self.failures)
    }
}

/// Opens tantivy's writer, and with it takes the folder's lock.
pub(super) fn open_writer(index: &Index, options: &StatementsOptions) -> tantivy::Result<IndexWriter<Encoded>> {
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(1)
        .memory_budget_per_thread(options.memory_bytes)
        .build();
    let writer = index.writer_with_options(options)?;
    let mut policy = LogMergePolicy::default();
    policy.set_min_num_segments(MERGED_SEGMENTS);
    policy.set_max_docs_before_merge(MERGED_DOCUMENTS);
    writer.set_merge_policy(Box::new(policy));
    Ok(writer)
}

impl Writer {
    /// Serves calls until no one can call any more, then waits for merges.
    pub(super) fn run(mut self, calls: &Receiver<Call>) {
        while let Ok(first) = calls.recv() {
            let (documents, replies): (Vec<_>, Vec<_>) =
                gather(first, calls).into_iter().map(|call| (call.documents, call.reply)).unzip();
            let outcomes = self.store(documents).map_err(|error| {
                let is_news = self.failing.begins();
                if is_news {
                    tracing::warn!(%error, "storing statements fails; the writer goes back to its last commit, and it is tried again");
                } else {
                    tracing::debug!(%error, "storing statements still fails");
                }
                self.recover(is_news);
                refuse_or_retry(error)
            });
            if outcomes.is_ok() {
                let failures = self.failing.ends();
                if failures > 0 {
                    tracing::warn!(failures, "storing statements succeeds again");
                }
            }
            let mut outcomes = outcomes.map(Vec::into_iter);
            for reply in replies {
                let answer = match &mut outcomes {
                    Ok(outcomes) => Ok(outcomes.next().unwrap_or_default()),
                    Err(error) => Err(error.clone()),
                };
                // Who no longer waits needs no answer.
                let _ = reply.send(answer);
            }
        }
        if let Some(Err(error)) = self.writer.map(IndexWriter::wait_merging_threads) {
            tracing::warn!(%error, "merging statements failed at the end; nothing is lost, the next start merges again");
        }
    }

    /// Stores a group of calls in one commit; an outcome for each document of each call.
    fn store(&mut self, calls: Vec<Vec<StatementDocument>>) -> tantivy::Result<Vec<Vec<StoreOutcome>>> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(open_writer(&self.index, &self.options)?),
        };
        let mut view = self.view.read().clone();
        let keys = view.keys()?;
        // Ids that this group brings: tantivy shows them after the commit only.
        let mut uncommitted: HashMap<Key, StatementDocument> = HashMap::new();
        let (mut handed, mut handed_bytes) = (Vec::with_capacity(HANDED_DOCUMENTS), 0);
        let mut outcomes = Vec::with_capacity(calls.len());
        for documents in calls {
            let mut outcomes_of_call = Vec::with_capacity(documents.len());
            for document in documents {
                let key = Key::of(&document);
                let indexed = view.schema.indexed(&key);
                let outcome = if let Some(first) = uncommitted.get(&key) {
                    meet_again(&first.source, &first.raw, &document, self.options.same)
                } else if let Some(first) = view.find(&keys, &key, &indexed)? {
                    meet_again(&first.source, &first.raw, &document, self.options.same)
                } else {
                    match view.schema.encode(&document, &indexed) {
                        Ok(encoded) => {
                            handed_bytes += document.raw.len();
                            handed.push(UserOperation::Add(encoded));
                            if handed.len() == HANDED_DOCUMENTS || handed_bytes >= HANDED_BYTES {
                                writer.run(handed.drain(..))?;
                                handed_bytes = 0;
                            }
                            uncommitted.insert(key, document);
                            StoreOutcome::Created
                        }
                        Err(error) => StoreOutcome::Refused { reason: format!("it cannot be written: {error}") },
                    }
                };
                outcomes_of_call.push(outcome);
            }
            outcomes.push(outcomes_of_call);
        }
        if !uncommitted.is_empty() {
            writer.run(handed)?;
            writer.commit()?;
            self.reader.reload()?;
            view.searcher = self.reader.searcher();
            for document in uncommitted.values().filter(|document| document.fields.voids.is_some()) {
                Arc::make_mut(&mut view.voided).learn(document);
            }
            *self.view.write() = view;
        }
        Ok(outcomes)
    }

    /// Goes back to the last commit, which a failed one may have become after all.
    fn recover(&mut self, is_news: bool) {
        if let Some(mut writer) = self.writer.take()
            && writer.rollback().is_ok()
        {
            self.writer = Some(writer);
        }
        let schema = self.view.read().schema.clone();
        match self.reader.reload().and_then(|()| View::load(schema, self.reader.searcher())) {
            Ok(view) => *self.view.write() = view,
            Err(error) if is_news => {
                tracing::warn!(%error, "the statement index cannot be read again; its last commit is shown");
            }
            Err(error) => tracing::debug!(%error, "the statement index still cannot be read again"),
        }
    }
}

/// The first call and every one that waits behind it.
fn gather(first: Call, calls: &Receiver<Call>) -> Vec<Call> {
    let size = |call: &Call| call.documents.iter().map(|document| document.raw.len()).sum::<usize>();
    let (mut documents, mut bytes) = (first.documents.len(), size(&first));
    let mut group = vec![first];
    while documents < GROUP_DOCUMENTS && bytes < GROUP_BYTES {
        match calls.recv_timeout(LINGER) {
            Ok(call) => {
                documents += call.documents.len();
                bytes += size(&call);
                group.push(call);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_once_and_its_end_too() {
        let mut failing = Failing::default();
        assert_eq!(failing.ends(), 0);
        assert_eq!([failing.begins(), failing.begins(), failing.begins()], [true, false, false]);
        assert_eq!((failing.ends(), failing.ends()), (3, 0));
        assert!(failing.begins());
    }
}
