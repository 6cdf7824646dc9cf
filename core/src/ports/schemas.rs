//! The schemas that senders registered: how the bytes of a record are to be read, by the name that the record gives.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

/// How a record names its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaRef {
    /// The number that a registry gave.
    Id(i32),
    /// The identifier that a registry gave.
    Guid(Uuid),
    /// A version in AWS Glue.
    Version(Uuid),
    /// Avro's fingerprint of the schema (CRC-64-AVRO).
    Fingerprint(u64),
}

impl fmt::Display for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "schema {id}"),
            Self::Version(version) => write!(f, "the schema version {version}"),
            Self::Guid(guid) => write!(f, "schema {guid}"),
            Self::Fingerprint(print) => write!(f, "the schema of fingerprint {print:016x}"),
        }
    }
}

/// Why a registry says nothing about a schema. What is read by it is undecided, whichever this is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemasError {
    /// It did not answer now.
    #[error("the schema registry is unavailable: {0}")]
    Unavailable(String),
    /// It does not accept the credentials, or they lack a right.
    #[error("the schema registry gives no access: {0}")]
    Unauthorized(String),
    /// It will answer the same until a person acts: what answers is no registry, or it is asked in a wrong way.
    #[error("the schema registry refuses: {0}")]
    Refused(String),
}

impl SchemasError {
    /// Whether the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Finds schemas.
#[async_trait]
pub trait FindSchema: Send + Sync {
    /// The schema as it was registered; `None` where there is none of that name, now.
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError>;

    /// Whether it answers, and would answer about schemas.
    async fn ping(&self) -> Result<(), SchemasError>;
}

/// Schemas that were looked for, parsed.
#[derive(Debug)]
pub struct Schemas<S> {
    looked_for: HashMap<SchemaRef, Option<Arc<S>>>,
}

impl<S> Default for Schemas<S> {
    fn default() -> Self {
        Self { looked_for: HashMap::new() }
    }
}

impl<S> Clone for Schemas<S> {
    fn clone(&self) -> Self {
        Self { looked_for: self.looked_for.clone() }
    }
}

impl<S> FromIterator<(SchemaRef, Option<Arc<S>>)> for Schemas<S> {
    fn from_iter<I: IntoIterator<Item = (SchemaRef, Option<Arc<S>>)>>(found: I) -> Self {
        Self { looked_for: found.into_iter().collect() }
    }
}

impl<S> Schemas<S> {
    /// The schema; `None` where it was not looked for yet, `Some(None)` where it was, and there is none.
    pub fn get(&self, schema: &SchemaRef) -> Option<Option<&S>> {
        self.looked_for.get(schema).map(Option::as_deref)
    }

    /// Keeps what was looked for; `None`: there is no such schema.
    pub fn insert(&mut self, schema: SchemaRef, found: Option<Arc<S>>) {
        self.looked_for.insert(schema, found);
    }
}
