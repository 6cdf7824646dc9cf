//! Which partitions the pollers have: what the group assigns goes to them, what it revokes they release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lyceum_core::ports::event_log::Membership;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::mapping::EventSourceMapping;
use crate::poller::{self, Assigned, PollerTask, Start};

/// The pollers of a mapping.
pub(crate) struct Assignment {
    task: PollerTask,
    held: watch::Receiver<BTreeSet<i32>>,
    /// By partition; one for all goes by -1.
    assigned: BTreeMap<i32, Arc<watch::Sender<Assigned>>>,
    epoch: u64,
}

/// The poller of every partition.
const ALL: i32 = -1;

impl Assignment {
    pub(crate) fn new(
        mapping: Arc<EventSourceMapping>,
        membership: Arc<dyn Membership>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let (held, holding) = watch::channel(BTreeSet::new());
        let task =
            PollerTask { who: ALL, mapping, membership, assigned: Arc::default(), held: Arc::new(held), stopping };
        Self { task, held: holding, assigned: BTreeMap::new(), epoch: 0 }
    }

    /// Gives the partitions to pollers.
    pub(crate) fn assign(&mut self, starts: BTreeMap<i32, i64>, pollers: &mut JoinSet<()>) {
        self.epoch += 1;
        let mix_partitions = self.task.mapping.config.mix_partitions;
        for (partition, offset) in starts {
            let key = if mix_partitions { ALL } else { partition };
            let start = Start { offset, epoch: self.epoch };
            let add = |assigned: &mut Assigned| {
                assigned.starts.insert(partition, start);
            };
            if let Some(assigned) = self.assigned.get(&key) {
                assigned.send_modify(add);
                continue;
            }
            let assigned = Arc::new(watch::Sender::new(Assigned::default()));
            assigned.send_modify(add);
            self.assigned.insert(key, assigned.clone());
            pollers.spawn(poller::run(PollerTask { who: key, assigned, ..self.task.clone() }));
        }
    }

    /// Revokes the partitions; the pollers release them at their next safe point.
    pub(crate) fn withdraw(&mut self, partitions: &BTreeSet<i32>) {
        if let Some(assigned) = self.assigned.get(&ALL) {
            assigned.send_modify(|assigned| assigned.starts.retain(|partition, _| !partitions.contains(partition)));
        }
        for partition in partitions {
            if let Some(assigned) = self.assigned.remove(partition) {
                assigned.send_replace(Assigned { starts: BTreeMap::new(), is_over: true });
            }
        }
    }

    /// Revokes everything.
    pub(crate) fn withdraw_all(&mut self) {
        for (_, assigned) in std::mem::take(&mut self.assigned) {
            assigned.send_replace(Assigned { starts: BTreeMap::new(), is_over: true });
        }
    }

    /// Resolves once no poller works on any partition.
    pub(crate) async fn until_released(&mut self) {
        // The task keeps a sender, so that waiting cannot fail.
        let _ = self.held.wait_for(BTreeSet::is_empty).await;
    }

    /// The partitions that pollers work on.
    pub(crate) fn held(&mut self) -> BTreeSet<i32> {
        self.held.borrow_and_update().clone()
    }

    /// Resolves once a poller has started on or released a partition since the last call of [`Self::held`].
    pub(crate) async fn held_changed(&mut self) {
        // The task keeps a sender, so that waiting cannot fail.
        let _ = self.held.changed().await;
    }
}
