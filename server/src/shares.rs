//! What all tenants of a process share, and how much of it one of them may take: whoever takes what it can leaves enough for
//! the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lyceum_core::record::Position;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::consumers::{ConsumerState, ConsumerStatus};

/// Turns, places or bytes, of which each tenant may have a part at most. A caller of no tenant is an operator, who is bounded
/// by what there is alone.
#[derive(Debug)]
pub(crate) struct Shares {
    all: Arc<Semaphore>,
    each: usize,
    /// Of those tenants that have some now.
    by_tenant: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// Taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of_tenant: Option<OwnedSemaphorePermit>,
    of_all: OwnedSemaphorePermit,
}

/// Why there is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoneLeft {
    /// The tenant has all that it may have.
    OfTenant,
    /// All together have all that there is.
    OfAll,
}

impl Shares {
    /// `all` for everybody, `each` for one tenant at most.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, by_tenant: Mutex::default() }
    }

    fn of_tenant(&self, tenant: &str) -> Arc<Semaphore> {
        let mut by_tenant = locked(&self.by_tenant);
        if let Some(semaphore) = by_tenant.get(tenant).and_then(Weak::upgrade) {
            return semaphore;
        }
        // Whoever has none any more needs no entry.
        by_tenant.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.each));
        by_tenant.insert(tenant.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }

    /// One, as soon as there is one. It stands in line behind those of its own tenant first, so that many of one tenant do not
    /// come before another's one. `None` where the process is ending.
    pub(crate) async fn acquire(&self, tenant: Option<&str>) -> Option<Share> {
        let of_tenant = match tenant {
            Some(tenant) => Some(self.of_tenant(tenant).acquire_owned().await.ok()?),
            None => None,
        };
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Share { of_tenant, of_all })
    }

    /// So many, where they are there now.
    pub(crate) fn try_acquire(&self, tenant: Option<&str>, many: usize) -> Result<Share, NoneLeft> {
        let many = u32::try_from(many).map_err(|_| NoneLeft::OfAll)?;
        let of_tenant = tenant.map(|tenant| self.of_tenant(tenant).try_acquire_many_owned(many));
        let of_tenant = of_tenant.transpose().map_err(|_| NoneLeft::OfTenant)?;
        let of_all = Arc::clone(&self.all).try_acquire_many_owned(many).map_err(|_| NoneLeft::OfAll)?;
        Ok(Share { of_tenant, of_all })
    }

    /// How many nobody has.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.all.available_permits()
    }
}

impl Share {
    /// Both together; of the same shares and the same tenant.
    pub(crate) fn merge(&mut self, other: Self) {
        self.of_all.merge(other.of_all);
        match (&mut self.of_tenant, other.of_tenant) {
            (Some(own), Some(other)) => own.merge(other),
            (own, other) => *own = own.take().or(other),
        }
    }
}

/// How many events a tenant may be ahead of those who process them. What stands in a partition before another tenant's event is
/// worked on before it: without a bound whoever publishes fastest would have all the others wait.
#[derive(Debug)]
pub(crate) struct Ahead {
    most: usize,
    by_tenant: Mutex<HashMap<String, Published>>,
}

/// What a tenant published and is not known to be settled.
#[derive(Debug, Default)]
struct Published {
    /// On its way into the log.
    reserved: usize,
    unsettled: BTreeMap<Partition, Vec<Part>>,
}

type Partition = (Arc<str>, i32);

/// What one request has in one partition.
#[derive(Clone, Copy, Debug)]
struct Part {
    last_offset: i64,
    events: usize,
}

impl Published {
    fn count(&self) -> usize {
        let unsettled = self.unsettled.values().flatten().map(|part| part.events).sum::<usize>();
        self.reserved + unsettled
    }

    fn settle(&mut self, consumers: &[ConsumerStatus]) {
        for ((topic, partition), published) in &mut self.unsettled {
            let settled_below = settled_below(consumers, topic, *partition);
            published.retain(|part| part.last_offset >= settled_below);
        }
        self.unsettled.retain(|_, published| !published.is_empty());
    }
}

/// Below which offset everybody has settled a partition who is at work on it. Who is not at work is waited for by nobody: the
/// log keeps what is published meanwhile.
fn settled_below(consumers: &[ConsumerStatus], topic: &str, partition: i32) -> i64 {
    let at_work =
        consumers.iter().filter(|consumer| consumer.topic == topic && consumer.state == ConsumerState::Running);
    let of_partition = |consumer: &ConsumerStatus| {
        let progress = consumer.partitions.iter().find(|progress| progress.partition == partition);
        progress.map(|progress| progress.committed.unwrap_or(0))
    };
    at_work.filter_map(of_partition).min().unwrap_or(i64::MAX)
}

/// Events of a tenant that are about to be published.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    ahead: &'a Ahead,
    tenant: &'a str,
    events: usize,
}

impl Ahead {
    /// A tenant is at most so many events ahead.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, by_tenant: Mutex::default() }
    }

    /// Whether it has to be asked how far the consumers are, before [`Self::reserve`] says no.
    pub(crate) fn is_near(&self, tenant: &str, events: usize) -> bool {
        locked(&self.by_tenant).get(tenant).is_some_and(|published| published.count() + events > self.most)
    }

    /// Forgets what was settled since.
    pub(crate) fn settle(&self, tenant: &str, consumers: &[ConsumerStatus]) {
        if let Some(published) = locked(&self.by_tenant).get_mut(tenant) {
            published.settle(consumers);
        }
    }

    /// So many events more, unless the tenant is too far ahead; one request is always taken.
    pub(crate) fn reserve<'a>(&'a self, tenant: &'a str, events: usize) -> Option<Reserved<'a>> {
        let mut by_tenant = locked(&self.by_tenant);
        let published = by_tenant.entry(tenant.to_owned()).or_default();
        let count = published.count();
        if count > 0 && count + events > self.most {
            return None;
        }
        published.reserved += events;
        Some(Reserved { ahead: self, tenant, events })
    }

    fn release(&self, tenant: &str, events: usize, at: &[Position]) {
        let mut by_tenant = locked(&self.by_tenant);
        let Some(published) = by_tenant.get_mut(tenant) else { return };
        published.reserved -= events;
        let mut parts: BTreeMap<(&Arc<str>, i32), Part> = BTreeMap::new();
        for position in at {
            let none = Part { last_offset: position.offset, events: 0 };
            let part = parts.entry((&position.topic, position.partition)).or_insert(none);
            part.last_offset = part.last_offset.max(position.offset);
            part.events += 1;
        }
        for ((topic, partition), part) in parts {
            published.unsettled.entry((Arc::clone(topic), partition)).or_default().push(part);
        }
        if published.count() == 0 {
            by_tenant.remove(tenant);
        }
    }
}

impl Reserved<'_> {
    /// They stand in the log.
    pub(crate) fn published(mut self, at: &[Position]) {
        let events = std::mem::take(&mut self.events);
        self.ahead.release(self.tenant, events, at);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.events > 0 {
            self.ahead.release(self.tenant, self.events, &[]);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::consumers::PartitionProgress;

    #[tokio::test]
    async fn many_of_one_tenant_leave_a_turn_for_another() {
        let turns = Shares::new(2, 1);
        let first = turns.acquire(Some("acme")).await.expect("it is free");
        assert!(turns.acquire(Some("acme")).now_or_never().is_none(), "it waits for its own");
        let other = turns.acquire(Some("beta")).now_or_never().flatten().expect("it does not wait for acme");
        assert!(turns.acquire(None).now_or_never().is_none(), "there are two");
        drop((first, other));
        assert!(turns.acquire(Some("acme")).now_or_never().is_some());
        assert_eq!(turns.left(), 2);
    }

    #[test]
    fn what_a_tenant_may_hold_is_less_than_what_there_is() {
        let bytes = Shares::new(100, 40);
        let mut acme = bytes.try_acquire(Some("acme"), 30).unwrap();
        acme.merge(bytes.try_acquire(Some("acme"), 10).unwrap());
        assert_eq!(bytes.try_acquire(Some("acme"), 1).unwrap_err(), NoneLeft::OfTenant);
        let everything = bytes.try_acquire(None, 60).unwrap();
        assert_eq!(bytes.try_acquire(Some("beta"), 1).unwrap_err(), NoneLeft::OfAll);
        drop(acme);
        assert!(bytes.try_acquire(Some("acme"), 40).is_ok());
        drop(everything);
        assert_eq!(bytes.left(), 100);
    }

    fn consumer(state: ConsumerState, topic: &str, committed: &[i64]) -> ConsumerStatus {
        let progress = |(partition, committed): (i32, &i64)| PartitionProgress {
            partition,
            committed: Some(*committed),
            end: 1_000,
            lag: 1_000 - committed,
            lag_ms: 0,
        };
        ConsumerStatus {
            name: topic.to_owned(),
            topic: topic.to_owned(),
            group: "lyceum".to_owned(),
            function: "statement".to_owned(),
            state,
            silent_ms: 0,
            partitions: (0..).zip(committed).map(progress).collect(),
            work: None,
        }
    }

    fn positions(partition: i32, offsets: std::ops::Range<i64>) -> Vec<Position> {
        offsets.map(|offset| Position::new("events", partition, offset)).collect()
    }

    #[test]
    fn a_tenant_goes_on_as_far_as_its_events_were_settled_by_whoever_is_at_work() {
        let ahead = Ahead::new(10);
        let at = [positions(0, 0..4), positions(1, 0..4)].concat();
        ahead.reserve("acme", 8).unwrap().published(&at);
        assert!(ahead.reserve("acme", 3).is_none());
        assert!(
            ahead.reserve("beta", 30).is_some(),
            "one request is always taken, and another's events are not its own"
        );
        assert!(ahead.is_near("acme", 3) && !ahead.is_near("acme", 2));

        ahead.settle("acme", &[consumer(ConsumerState::Running, "events", &[3, 4])]);
        assert!(ahead.reserve("acme", 7).is_none(), "the last of four in partition 0 is under way");
        let slower = consumer(ConsumerState::Running, "events", &[0, 0]);
        let failing = consumer(ConsumerState::BackingOff, "events", &[0, 0]);
        ahead.settle("acme", &[consumer(ConsumerState::Running, "events", &[4, 4]), slower]);
        assert!(ahead.reserve("acme", 7).is_none());
        ahead.settle("acme", &[consumer(ConsumerState::Running, "events", &[4, 4]), failing]);
        assert!(ahead.reserve("acme", 10).is_some());
    }

    #[test]
    fn what_was_not_published_after_all_is_not_waited_for() {
        let ahead = Ahead::new(10);
        let reserved = ahead.reserve("acme", 10).unwrap();
        assert!(ahead.reserve("acme", 1).is_none());
        drop(reserved);
        assert!(ahead.reserve("acme", 10).is_some());
        assert!(locked(&ahead.by_tenant).is_empty());
    }
}
