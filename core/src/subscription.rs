//! Who reads topics, and with which effect. A family's own subscription reads all that is on its topics; others read some events
//! on topics of other families. Each has a consumer group of its own, and idempotency keys of its own.
//!
//! | effect | what happens once | by |
//! |---|---|---|
//! | stateful | states change, follow-ups and a document go out | state and key in one commit: [`StatefulFamily`](crate::family::StatefulFamily) |
//! | documents | a document is stored | its create-only id: [`Family`](crate::family::Family) |
//! | reaction | follow-ups go out | a key: [`Reaction`](crate::effects::Reaction) |
//! | calling | a port is asked, and follow-ups of its answer go out | a lease, and a key that records the answer: [`Calling`](crate::effects::Calling) |
//! | watching | states of its own change by what is on topics of others, and follow-ups go out | state and key in one commit: [`Watching`](crate::effects::Watching) |
//! | counted | numbers change | the offset up to which they hold, after a document whose id makes it once: [`Counted`](crate::effects::Counted) |
//! | audit | a record is an entry of its log | the offset up to which the log holds, after a document: [`AuditProcessor`](crate::process::AuditProcessor) |

use crate::catalog::{DeadLetterTopics, FamilySpec};

/// A subscription as data.
#[derive(Debug)]
pub struct Subscription {
    /// Its function, the suffix of its consumer group, and the subscriber that owns its keys. A family's own has the family's
    /// name.
    pub name: &'static str,
    /// Which records it gets, and which of their events it wants.
    pub reads: Reads,
    /// Where its dead letters go.
    pub dead_letters: DeadLetterTopics,
    /// The topics of what follows from its events: it may write there, and on no other.
    pub publishes: &'static [&'static str],
    /// What it does, and how that happens once.
    pub effect: Effect,
}

/// What a subscription reads.
#[derive(Debug)]
pub enum Reads {
    /// All that is on the topics of its own family, whose dead letters it writes: of what cannot be read and of what belongs
    /// elsewhere, too.
    Own(&'static FamilySpec),
    /// Events on topics of other families. All others there are skipped, and so is what cannot be read: its letter is
    /// written by the topic's owner.
    Others(&'static [Wanted]),
}

/// What a subscription wants of a topic that it does not own.
#[derive(Debug)]
pub struct Wanted {
    /// The topic.
    pub topic: &'static str,
    /// The names of the event types; none: all of them.
    pub event_types: &'static [&'static str],
}

/// How an effect happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// State and idempotency key change in one commit of the ledger.
    Stateful {
        /// Where the keys are.
        keys: KeyPlace,
    },
    /// A document under the event's id; the store's create-only write makes it once.
    Documents,
    /// Follow-ups, which a key records.
    Reaction,
    /// States of its own, of what it reads on topics of others, and follow-ups: in one commit with a key, each an item of its own.
    Watching {
        /// The kinds of aggregate that it keeps.
        kinds: &'static [&'static str],
    },
    /// A call of a port under a lease, whose answer's follow-ups a key records.
    Calling,
    /// Numbers, each with the offset up to which it holds, of events whose documents are stored.
    Counted,
    /// An entry of the audit log for each record, readable or not; logs have the offset up to which they hold.
    Audit,
}

impl Effect {
    /// Whether every event has an idempotency key.
    pub fn has_keys(self) -> bool {
        matches!(self, Self::Stateful { .. } | Self::Watching { .. } | Self::Reaction | Self::Calling)
    }

    /// Whether an event changes the aggregates that it names.
    pub fn keeps_state(self) -> bool {
        matches!(self, Self::Stateful { .. } | Self::Watching { .. })
    }

    /// Whether keys lie with the aggregate that their event names first, while that has few.
    pub fn keys_at_home(self) -> bool {
        matches!(self, Self::Stateful { keys: KeyPlace::Home })
    }
}

/// Where the idempotency keys of a subscription's events are. docs/cost.md tells what either costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// With the aggregate that the event names first, its home, while that has few: one conditional write changes both.
    /// For aggregates of some ten events. An id that comes again with another home is only noticed by the statement store.
    Home,
    /// Each an item of its own. For aggregates of many events, and where an id that comes again for another aggregate
    /// must change nothing.
    Apart,
}

impl Subscription {
    /// A family's own.
    pub const fn own(family: &'static FamilySpec, effect: Effect) -> Self {
        Self { name: family.name, reads: Reads::Own(family), dead_letters: family.dead_letters, publishes: &[], effect }
    }

    /// The same, and what follows from its events goes to these topics.
    #[must_use]
    pub const fn publishing(mut self, topics: &'static [&'static str]) -> Self {
        self.publishes = topics;
        self
    }

    /// The topics that it reads.
    pub fn topics(&self) -> impl Iterator<Item = &'static str> {
        let (own, others) = match self.reads {
            Reads::Own(family) => (family.topics, [].as_slice()),
            Reads::Others(wanted) => ([].as_slice(), wanted),
        };
        own.iter().map(|topic| topic.name).chain(others.iter().map(|wanted| wanted.topic))
    }

    /// What a stack on AWS calls the consumer group of one of its topics, behind the stack's own name for groups: AWS wants one for each mapping.
    /// It is the subscription's name; of several topics with the topic's last part, or with all of the topic where another one ends the same.
    pub fn mapping_group(&self, topic: &str) -> String {
        let last = |topic: &str| topic.rsplit('.').next().unwrap_or_default().to_owned();
        if self.topics().count() == 1 {
            return self.name.to_owned();
        }
        let is_one = self.topics().filter(|other| last(other) == last(topic)).count() == 1;
        let end = if is_one { last(topic) } else { topic.to_owned() };
        format!("{}-{end}", self.name)
    }

    /// The family whose own it is.
    pub fn family(&self) -> Option<&'static FamilySpec> {
        match self.reads {
            Reads::Own(family) => Some(family),
            Reads::Others(_) => None,
        }
    }

    /// The kinds of aggregate that it keeps.
    pub fn kinds(&self) -> &'static [&'static str] {
        match self.effect {
            Effect::Watching { kinds } => kinds,
            Effect::Stateful { .. } | Effect::Counted => self.family().map_or(&[], |family| family.kinds),
            Effect::Documents | Effect::Reaction | Effect::Calling | Effect::Audit => &[],
        }
    }

    /// Whether it wants events of that type from that topic.
    pub fn wants(&self, topic: &str, event_type: &str) -> bool {
        match self.reads {
            Reads::Own(_) => true,
            Reads::Others(wanted) => wanted
                .iter()
                .any(|of| of.topic == topic && (of.event_types.is_empty() || of.event_types.contains(&event_type))),
        }
    }
}
