//! What every content generator keeps to, whatever it writes.

use std::sync::Mutex;

use async_trait::async_trait;
use lyceum_core::ports::call::Progress;
use lyceum_core::ports::generator::{Content, ContentGenerator, Generated, GenerationRequest, MAX_CONTENT_BYTES};
use uuid::Uuid;

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct Watched(Mutex<Vec<u8>>);

impl Watched {
    /// What it was told, in order.
    ///
    /// # Panics
    /// Where someone panicked while telling it.
    pub fn told(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Progress for Watched {
    async fn at(&self, percent: u8) {
        self.0.lock().unwrap().push(percent);
    }
}

/// A request for a lesson.
pub fn request() -> GenerationRequest {
    GenerationRequest {
        event_id: Uuid::from_u128(7),
        generation_id: "g-1".into(),
        kind: "lesson".into(),
        prompt: Some("Explain halves and quarters.".into()),
        source: Some("A half is one of two equal parts. A quarter is a half of a half.".into()),
    }
}

/// It writes content that a ledger takes, says who wrote it and what that took, and tells of progress that never goes backwards and
/// never is the whole.
///
/// # Panics
/// Where it does not.
pub async fn it_writes_content_and_tells_how_far_it_is(generator: &ContentGenerator) {
    let watched = Watched::default();
    let generated = generator.call(&request(), &watched).await.expect("it answers");
    let Generated::Content(Content { text, model, input_tokens, output_tokens }) = generated else {
        panic!("it wrote nothing: {generated:?}")
    };
    assert!(!text.trim().is_empty() && text.len() <= MAX_CONTENT_BYTES && !model.is_empty());
    assert!(input_tokens > 0 && output_tokens > 0);
    let told = watched.told();
    assert!(told.is_sorted() && told.iter().all(|percent| *percent < 100), "{told:?}");
}
