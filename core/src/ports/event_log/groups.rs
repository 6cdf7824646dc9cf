//! Consumer groups within one process: who has which partition. For logs that have one owner anyway; it needs no runtime.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::ports::event_log::{Change, EventLogError, Membership};

/// Writes offsets that a member may commit.
pub type Write = Box<dyn Fn(Vec<(i32, i64)>) -> BoxFuture<'static, Result<(), EventLogError>> + Send + Sync>;

/// The groups of one log, by group and topic.
#[derive(Clone, Default)]
pub struct Groups(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    joined: u64,
    groups: BTreeMap<(String, String), Group>,
}

#[derive(Default)]
struct Group {
    /// In the order of joining.
    members: BTreeMap<u64, Member>,
    owners: Vec<Option<Owner>>,
}

#[derive(Default)]
struct Member {
    changes: VecDeque<Change>,
    waiting: Option<Waker>,
}

struct Owner {
    member: u64,
    /// It was asked to release the partition.
    is_asked: bool,
}

impl Group {
    fn tell(&mut self, news: BTreeMap<u64, BTreeSet<i32>>, change: fn(BTreeSet<i32>) -> Change) {
        for (member, partitions) in news {
            if let Some(member) = self.members.get_mut(&member) {
                member.changes.push_back(change(partitions));
                if let Some(waker) = member.waiting.take() {
                    waker.wake();
                }
            }
        }
    }

    /// Gives what is free to whose turn it is, and asks for what others are to have: the partitions go round the members.
    fn balance(&mut self) {
        let members: Vec<u64> = self.members.keys().copied().collect();
        let (mut assigned, mut revoked) =
            (BTreeMap::<u64, BTreeSet<i32>>::new(), BTreeMap::<u64, BTreeSet<i32>>::new());
        if members.is_empty() {
            return;
        }
        for (index, owner) in self.owners.iter_mut().enumerate() {
            let partition = index as i32;
            let next = members[index % members.len()];
            match owner {
                None => {
                    *owner = Some(Owner { member: next, is_asked: false });
                    assigned.entry(next).or_default().insert(partition);
                }
                Some(owner) if owner.member != next && !owner.is_asked => {
                    owner.is_asked = true;
                    revoked.entry(owner.member).or_default().insert(partition);
                }
                Some(_) => {}
            }
        }
        self.tell(revoked, Change::Revoked);
        self.tell(assigned, Change::Assigned);
    }

    fn is_own(&self, member: u64, partition: i32) -> bool {
        let owner = usize::try_from(partition).ok().and_then(|partition| self.owners.get(partition)?.as_ref());
        owner.is_some_and(|owner| owner.member == member)
    }
}

impl Groups {
    /// A new member, for a topic that has so many partitions by now. What it commits goes through `write`.
    pub fn join(&self, group: &str, topic: &str, partitions: i32, write: Write) -> LocalMembership {
        let name = (group.to_owned(), topic.to_owned());
        let mut state = self.0.lock();
        state.joined += 1;
        let member = state.joined;
        let group = state.groups.entry(name.clone()).or_default();
        group.members.insert(member, Member::default());
        group.owners.resize_with(usize::try_from(partitions).unwrap_or(0), || None);
        group.balance();
        LocalMembership { groups: self.clone(), name, member, write }
    }

    /// The topic has so many partitions from now on.
    pub fn resize(&self, topic: &str, partitions: i32) {
        for ((_, of), group) in &mut self.0.lock().groups {
            if of == topic {
                group.owners.resize_with(usize::try_from(partitions).unwrap_or(0), || None);
                group.balance();
            }
        }
    }

    /// Takes partitions from whoever has them, without asking: what becomes of a member that Kafka has not heard of for a
    /// session's time.
    pub fn lose(&self, group: &str, topic: &str, partitions: &BTreeSet<i32>) {
        let mut state = self.0.lock();
        let Some(group) = state.groups.get_mut(&(group.to_owned(), topic.to_owned())) else { return };
        let mut lost = BTreeMap::<u64, BTreeSet<i32>>::new();
        for (index, owner) in group.owners.iter_mut().enumerate() {
            if let Some(owner) = owner.take_if(|_| partitions.contains(&(index as i32))) {
                lost.entry(owner.member).or_default().insert(index as i32);
            }
        }
        group.tell(lost, Change::Lost);
        group.balance();
    }

    /// Whether a commit from outside of the group may be: as in Kafka, only of a group without members.
    ///
    /// # Errors
    /// [`EventLogError::NotAssigned`] where the group has members.
    pub fn check_outsider(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        let name = (group.to_owned(), topic.to_owned());
        let has_members = self.0.lock().groups.get(&name).is_some_and(|group| !group.members.is_empty());
        if has_members && !offsets.is_empty() {
            return Err(not_assigned(&name, offsets.iter().map(|(partition, _)| *partition).collect()));
        }
        Ok(())
    }
}

fn not_assigned((group, topic): &(String, String), partitions: Vec<i32>) -> EventLogError {
    EventLogError::NotAssigned { group: group.clone(), topic: topic.clone(), partitions }
}

/// A member of a group within this process.
pub struct LocalMembership {
    groups: Groups,
    name: (String, String),
    member: u64,
    write: Write,
}

impl LocalMembership {
    fn with_group<T>(&self, work: impl FnOnce(&mut Group) -> T) -> T {
        work(self.groups.0.lock().groups.entry(self.name.clone()).or_default())
    }

    fn go(&self) {
        self.with_group(|group| {
            group.members.remove(&self.member);
            for owner in &mut group.owners {
                owner.take_if(|owner| owner.member == self.member);
            }
            group.balance();
        });
    }
}

#[async_trait]
impl Membership for LocalMembership {
    async fn change(&self) -> Result<Change, EventLogError> {
        poll_fn(|context| {
            self.with_group(|group| match group.members.get_mut(&self.member) {
                None => Poll::Pending,
                Some(member) => match member.changes.pop_front() {
                    Some(change) => Poll::Ready(Ok(change)),
                    None => {
                        member.waiting = Some(context.waker().clone());
                        Poll::Pending
                    }
                },
            })
        })
        .await
    }

    fn release(&self, partitions: &BTreeSet<i32>) {
        self.with_group(|group| {
            for &partition in partitions {
                if group.is_own(self.member, partition) {
                    group.owners[partition as usize] = None;
                }
            }
            group.balance();
        });
    }

    async fn commit(&self, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        let foreign: Vec<i32> = self.with_group(|group| {
            let partitions = offsets.iter().map(|(partition, _)| *partition);
            partitions.filter(|partition| !group.is_own(self.member, *partition)).collect()
        });
        if !foreign.is_empty() {
            return Err(not_assigned(&self.name, foreign));
        }
        if offsets.is_empty() {
            return Ok(());
        }
        (self.write)(offsets.to_vec()).await
    }

    async fn leave(&self) {
        self.go();
    }
}

impl Drop for LocalMembership {
    fn drop(&mut self) {
        self.go();
    }
}
