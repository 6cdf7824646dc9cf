//! The registry of the toys' schemas, made unreliable.

use async_trait::async_trait;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};

use super::Line;
use crate::executor::pause;
use crate::fault::Fault;
use crate::toys::avro;

pub(super) struct FaultyRegistry(pub(super) Line);

#[async_trait]
impl FindSchema for FaultyRegistry {
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        pause().await;
        let stage = &self.0.stage;
        if stage.strikes(Fault::CallFails) {
            self.0.tell(format_args!("looks for {schema}: fails"));
            return Err(SchemasError::Unavailable("no connection".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("looks for a schema").await {}
        }
        let found = avro::registered(schema);
        self.0.tell(format_args!("looks for {schema}: {found:?}"));
        pause().await;
        if stage.strikes(Fault::AnswerLost) {
            return Err(SchemasError::Unavailable("the answer was lost".into()));
        }
        Ok(found)
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        Ok(())
    }
}
