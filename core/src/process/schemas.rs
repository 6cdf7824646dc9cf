//! The schemas by which a batch is read: those that are missing are fetched, and their records read again. What was found is
//! kept; what was not is looked for again by the next batch, since it may have been registered meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::batch::{Batch, Disposition};
use super::{Delivery, Invocation, Shell};
use crate::family::TypedEvent;
use crate::formats::Format;
use crate::ports::schemas::{FindSchema, SchemaRef, Schemas, SchemasError};

/// The schemas of an event's format.
pub(super) type SchemasOf<E> = Schemas<<<E as TypedEvent>::Format as Format>::Schema>;

/// A record may name so many schemas, one after the other.
const ROUNDS: usize = 4;

/// Where schemas come from, and those that are known.
pub(super) struct SchemaSource<S> {
    registry: Option<Arc<dyn FindSchema>>,
    known: RwLock<Arc<Schemas<S>>>,
}

impl<S> SchemaSource<S> {
    pub(super) fn of(registry: Option<Arc<dyn FindSchema>>) -> Self {
        Self { registry, known: RwLock::default() }
    }

    pub(super) fn known(&self) -> Arc<Schemas<S>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, schema: SchemaRef, found: &Arc<S>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut known).insert(schema, Some(Arc::clone(found)));
    }
}

impl<E: TypedEvent> Shell<E> {
    /// The deliveries, read. What cannot be read for want of a schema that could not be fetched now is redelivered.
    pub(super) async fn read_batch<'a>(&self, deliveries: &'a [Delivery], invocation: &Invocation) -> Batch<'a, E> {
        let mut schemas = self.schemas.known();
        let read = |(index, delivery)| self.read(index, delivery, &schemas, invocation.now_ms());
        let mut entries: Vec<_> = deliveries.iter().enumerate().map(read).collect();
        for _ in 0..ROUNDS {
            let missing: BTreeSet<SchemaRef> = entries.iter().filter_map(|entry| entry.disposition.missing()).collect();
            if missing.is_empty() {
                break;
            }
            let mut unavailable: BTreeMap<SchemaRef, String> = BTreeMap::new();
            for schema in missing {
                match self.fetch(schema, invocation).await {
                    Ok(found) => Arc::make_mut(&mut schemas).insert(schema, found),
                    Err(reason) => drop(unavailable.insert(schema, reason)),
                }
            }
            for (index, entry) in entries.iter_mut().enumerate() {
                let Some(schema) = entry.disposition.missing() else { continue };
                match unavailable.get(&schema) {
                    Some(reason) => entry.disposition = Disposition::redeliver(&**reason),
                    None => *entry = self.read(index, &deliveries[index], &schemas, invocation.now_ms()),
                }
            }
        }
        Batch::new(entries)
    }

    async fn fetch(
        &self,
        schema: SchemaRef,
        invocation: &Invocation,
    ) -> Result<Option<Arc<<E::Format as Format>::Schema>>, String> {
        // Without a registry nobody will ever have it: one record must not hold up its partition for that.
        let Some(registry) = &self.schemas.registry else { return Ok(None) };
        let find = || registry.find(&schema);
        let found =
            invocation.until_it_succeeds(SchemasError::Unavailable, find).await.map_err(|error| error.to_string())?;
        let Some(text) = found else { return Ok(None) };
        let parsed = E::Format::parse(&text)
            .map_err(|error| format!("{schema} cannot be read by this release, as it was registered: {error}"))?;
        let parsed = Arc::new(parsed);
        self.schemas.keep(schema, &parsed);
        Ok(Some(parsed))
    }
}
