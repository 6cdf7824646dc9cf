//! What a registry said, kept: a schema for ever, since it never changes; that there is none for a while, since somebody may register it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use parking_lot::Mutex;
use tokio::time::Instant;

/// So long holds that there is no schema of a name. What is read meanwhile by that name becomes a letter without asking again.
pub const NONE_HOLDS_FOR: Duration = Duration::from_secs(30);

/// So many names are kept. A sender of nonsense names ever new ones; what was found of a registry is never so many.
const MOST: usize = 4_096;

/// What is known of a name; whoever asks about it holds this, so that nobody else asks meanwhile.
type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

enum Known {
    Schema(String),
    NoneAt(Instant),
}

/// A registry that is asked once about a name, by one at a time.
pub struct Cached<F: ?Sized> {
    known: Mutex<HashMap<SchemaRef, Slot>>,
    registry: Arc<F>,
}

impl<F: FindSchema + ?Sized> Cached<F> {
    /// Nothing is known yet.
    pub fn new(registry: Arc<F>) -> Self {
        Self { known: Mutex::default(), registry }
    }

    fn slot(&self, schema: &SchemaRef) -> Slot {
        let mut known = self.known.lock();
        if known.len() >= MOST && !known.contains_key(schema) {
            // What was found stays, and who is asking keeps their own.
            known.retain(|_, slot| slot.try_lock().is_ok_and(|of| matches!(&*of, Some(Known::Schema(_)))));
            if known.len() >= MOST {
                known.clear();
            }
        }
        known.entry(*schema).or_default().clone()
    }
}

#[async_trait]
impl<F: FindSchema + ?Sized> FindSchema for Cached<F> {
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        let slot = self.slot(schema);
        let mut known = slot.lock().await;
        match &*known {
            Some(Known::Schema(text)) => return Ok(Some(text.clone())),
            Some(Known::NoneAt(at)) if at.elapsed() < NONE_HOLDS_FOR => return Ok(None),
            _ => {}
        }
        let found = self.registry.find(schema).await?;
        *known = Some(found.clone().map_or_else(|| Known::NoneAt(Instant::now()), Known::Schema));
        Ok(found)
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        self.registry.ping().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// Knows even numbers, is away where it is told to be, and counts questions.
    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        is_away: Mutex<bool>,
        learned: Mutex<Option<i32>>,
    }

    #[async_trait]
    impl FindSchema for Counting {
        async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
            self.asked.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            let SchemaRef::Id(id) = schema else { return Ok(None) };
            if *self.is_away.lock() {
                return Err(SchemasError::Unavailable("away".to_owned()));
            }
            let is_known = id % 2 == 0 || *self.learned.lock() == Some(*id);
            Ok(is_known.then(|| format!("schema {id}")))
        }

        async fn ping(&self) -> Result<(), SchemasError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_about_one_schema_at_once_make_one_question_and_it_is_kept_for_ever() {
        let cached = Cached::new(Arc::new(Counting::default()));
        let two = SchemaRef::Id(2);
        let (one, other, third) = tokio::join!(cached.find(&two), cached.find(&two), cached.find(&two));
        assert_eq!([one, other, third], [0; 3].map(|_| Ok(Some("schema 2".to_owned()))));
        tokio::time::advance(NONE_HOLDS_FOR * 100).await;
        *cached.registry.is_away.lock() = true;
        assert_eq!(cached.find(&two).await, Ok(Some("schema 2".to_owned())));
        assert_eq!(cached.registry.asked.load(SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_none_holds_for_a_while_and_a_failure_is_not_kept() {
        let cached = Cached::new(Arc::new(Counting::default()));
        let one = SchemaRef::Id(1);
        *cached.registry.is_away.lock() = true;
        assert!(cached.find(&one).await.is_err() && cached.find(&one).await.is_err());
        assert_eq!(cached.registry.asked.load(SeqCst), 2);
        *cached.registry.is_away.lock() = false;
        assert_eq!((cached.find(&one).await, cached.find(&one).await), (Ok(None), Ok(None)));
        assert_eq!(cached.registry.asked.load(SeqCst), 3);
        *cached.registry.learned.lock() = Some(1);
        assert_eq!(cached.find(&one).await, Ok(None), "it was registered since, and is looked for later");
        tokio::time::advance(NONE_HOLDS_FOR).await;
        assert_eq!(cached.find(&one).await, Ok(Some("schema 1".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn names_of_nothing_do_not_fill_the_memory_and_drop_nothing_that_was_found() {
        let cached = Cached::new(Arc::new(Counting::default()));
        cached.find(&SchemaRef::Id(2)).await.unwrap();
        for print in 0..2 * MOST as u64 {
            cached.find(&SchemaRef::Fingerprint(print)).await.unwrap();
        }
        assert!(cached.known.lock().len() <= MOST);
        let before = cached.registry.asked.load(SeqCst);
        cached.find(&SchemaRef::Id(2)).await.unwrap();
        assert_eq!(cached.registry.asked.load(SeqCst), before);
    }
}
