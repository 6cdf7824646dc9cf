//! How far each topic reaches as far as this process knows, and who waits for it to reach further.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The partitions' ends that any call has seen.
pub(super) type Ends = BTreeMap<i32, i64>;

/// One topic.
pub(super) struct Topic {
    ends: Mutex<Ends>,
    /// Changes whenever there may be more: something was produced here, or came to a reader.
    stirred: watch::Sender<()>,
}

impl Topic {
    pub(super) fn ends(&self) -> Ends {
        self.ends.lock().clone()
    }

    /// What the broker said.
    pub(super) fn note(&self, ends: &Ends) {
        self.ends.lock().extend(ends);
    }

    /// A record was appended below that end.
    pub(super) fn reach(&self, partition: i32, end: i64) {
        let mut ends = self.ends.lock();
        let known = ends.entry(partition).or_insert(end);
        *known = end.max(*known);
    }

    pub(super) fn stir(&self) {
        self.stirred.send_replace(());
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.stirred.subscribe()
    }
}

/// All topics.
#[derive(Default)]
pub(super) struct Growth(Mutex<HashMap<String, Arc<Topic>>>);

impl Growth {
    pub(super) fn topic(&self, name: &str) -> Arc<Topic> {
        let mut topics = self.0.lock();
        if let Some(topic) = topics.get(name) {
            return Arc::clone(topic);
        }
        let topic = Arc::new(Topic { ends: Mutex::default(), stirred: watch::Sender::new(()) });
        topics.insert(name.to_owned(), Arc::clone(&topic));
        topic
    }
}

/// Whether an end is not where it was; ends that were not known before tell nothing.
pub(super) fn has_moved(before: &Ends, now: &Ends) -> bool {
    now.iter().any(|(partition, end)| before.get(partition).is_some_and(|known| known != end))
}
