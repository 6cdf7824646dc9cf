//! A registry in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use lyceum_core::formats::avro::Schema;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use parking_lot::Mutex;

/// Knows what it was given.
#[derive(Debug, Default)]
pub struct MemorySchemas(Mutex<HashMap<SchemaRef, String>>);

impl MemorySchemas {
    /// Gives it a schema; it is found by this name and by its fingerprint.
    ///
    /// # Panics
    /// Where it is no schema.
    pub fn register(&self, name: SchemaRef, text: &str) {
        let print = Schema::parse(text).expect("a schema").fingerprint();
        let mut schemas = self.0.lock();
        schemas.insert(name, text.to_owned());
        schemas.insert(SchemaRef::Fingerprint(print), text.to_owned());
    }
}

#[async_trait]
impl FindSchema for MemorySchemas {
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        Ok(self.0.lock().get(schema).cloned())
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        Ok(())
    }
}
