//! The event catalog: every family as data, its topics, event types and dead-letter topics, and what a name means by it. Who reads a
//! topic is a [`Subscription`](crate::subscription::Subscription); what becomes of an event is the affair of its
//! [`Family`](crate::family::Family). Pure data, which knows no wire form but the words by which a bare statement says an event type.

/// A family as data.
#[derive(Debug)]
pub struct FamilySpec {
    /// `training`, `survey` … also the function's name and the subscriber that owns the effect.
    pub name: &'static str,
    /// The topics that it consumes.
    pub topics: &'static [TopicOf],
    /// What it understands. A family without any takes every statement that no other family claims.
    pub event_types: &'static [EventType],
    /// Where its dead letters go.
    pub dead_letters: DeadLetterTopics,
    /// The kinds of aggregate that it keeps.
    pub kinds: &'static [&'static str],
}

/// A topic of a family.
#[derive(Debug)]
pub struct TopicOf {
    /// Its name.
    pub name: &'static str,
    /// How many partitions it is created with.
    pub partitions: i32,
    /// What its records are keyed by, for the documentation.
    pub key: &'static str,
}

/// One event type of a family.
#[derive(Debug, PartialEq)]
pub struct EventType {
    /// `program.created` …
    pub name: &'static str,
    /// The one topic that carries it.
    pub topic: &'static str,
    /// How a bare statement says it; `None` where only its name does.
    pub statement: Option<StatementForm>,
    /// What it does, for the documentation.
    pub effect: &'static str,
}

/// The topics for dead letters, by kind of failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeadLetterTopics {
    /// For decode, validation, rejected, conflict, unknown-type, oversized.
    pub validation: &'static str,
    /// For attempts spent, and for what was applied but cannot be delivered.
    pub processing: &'static str,
    /// For a store that failed for good.
    pub database: &'static str,
}

/// The dead-letter topics of the platform's families (statements in JSON).
pub const PLATFORM_DEAD_LETTERS: DeadLetterTopics = DeadLetterTopics {
    validation: "nlj.errors.validation",
    processing: "nlj.errors.processing",
    database: "nlj.errors.database",
};

/// The dead-letter topic of the analytics families (Avro): one for all kinds.
pub const ANALYTICS_DEAD_LETTERS: DeadLetterTopics =
    DeadLetterTopics { validation: "analytics.dlq.v1", processing: "analytics.dlq.v1", database: "analytics.dlq.v1" };
/// The dead-letter topic of the modules' families (envelopes of Charter v1.0), for all kinds.
pub const MODULE_DEAD_LETTERS: DeadLetterTopics =
    DeadLetterTopics { validation: "modules.dlq.v1", processing: "modules.dlq.v1", database: "modules.dlq.v1" };

/// How a bare statement says an event type.
#[derive(Debug, PartialEq)]
pub struct StatementForm {
    /// Any of these verbs.
    pub verbs: &'static [&'static str],
    /// This object.
    pub object: ObjectIs,
}

/// The object by which a bare statement's event type is recognised.
#[derive(Debug, PartialEq)]
pub enum ObjectIs {
    /// An activity `http://nlj.platform/activities/<kind>/<id>`.
    Kind(&'static str),
    /// An activity of kind `question`, or a `cmi.interaction` whose parent is a survey of the platform.
    SurveyQuestion,
}

/// All families of a deployment: which event type belongs where.
#[derive(Clone, Debug)]
pub struct Catalog {
    families: Vec<&'static FamilySpec>,
    /// Every event type, in the bucket of its name: each record is looked up.
    buckets: Vec<Vec<Known>>,
}

/// What an event type's name means.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The family that takes it.
    pub family: &'static FamilySpec,
    /// Its name, from the closed set.
    pub name: &'static str,
    /// The topic that carries it.
    pub topic: &'static str,
}

/// The event type of a statement that no family claims.
pub const STATEMENT: &str = "statement";

impl Catalog {
    /// The catalog of these families.
    pub fn new(families: Vec<&'static FamilySpec>) -> Self {
        let mut catalog = Self { families, buckets: Vec::new() };
        let mut buckets = vec![Vec::new(); BUCKETS];
        // Of two of one name the first one is meant: it stands before the other.
        for known in catalog.event_types().map(known) {
            buckets[bucket(known.name)].push(known);
        }
        catalog.buckets = buckets;
        catalog
    }

    /// The families, in the registry's order.
    pub fn families(&self) -> &[&'static FamilySpec] {
        &self.families
    }

    /// Every dead-letter topic of the families, each once.
    pub fn dead_letter_topics(&self) -> Vec<&'static str> {
        let mut topics = Vec::new();
        for DeadLetterTopics { validation, processing, database } in self.families.iter().map(|of| of.dead_letters) {
            for topic in [validation, processing, database] {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
        }
        topics
    }

    /// Every kind of aggregate that a family keeps.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.families.iter().flat_map(|family| family.kinds).copied()
    }

    /// The event type of that name.
    pub fn event_type(&self, name: &str) -> Option<Known> {
        if name == STATEMENT {
            return self.plain_statement();
        }
        self.buckets[bucket(name)].iter().find(|known| known.name == name).copied()
    }

    /// Where a statement goes that no family claims.
    pub fn plain_statement(&self) -> Option<Known> {
        let family = self.families.iter().find(|family| family.event_types.is_empty())?;
        Some(Known { family, name: STATEMENT, topic: family.topics.first()?.name })
    }

    /// The family that consumes a topic.
    pub fn family_of_topic(&self, topic: &str) -> Option<&'static FamilySpec> {
        self.families.iter().copied().find(|family| family.topics.iter().any(|of| of.name == topic))
    }

    /// Every event type with its family.
    pub fn event_types(&self) -> impl Iterator<Item = (&'static FamilySpec, &'static EventType)> {
        self.families.iter().flat_map(|family| family.event_types.iter().map(|event_type| (*family, event_type)))
    }
}

/// A few for each event type, so that most have one of their own.
const BUCKETS: usize = 256;

/// Names are told apart by how they end and how long they are.
fn bucket(name: &str) -> usize {
    let end = name.as_bytes().last_chunk().map_or(0, |end| u64::from_le_bytes(*end));
    // Fibonacci hashing: the upper bits of the product depend on all of the number's.
    let product = (end ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> (u64::BITS - BUCKETS.ilog2())) as usize
}

/// An event type as the catalog knows it.
pub(crate) fn known((family, event_type): (&'static FamilySpec, &'static EventType)) -> Known {
    Known { family, name: event_type.name, topic: event_type.topic }
}
