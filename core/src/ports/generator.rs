//! The content generator: writes learning content by a prompt. A language model behind HTTP, or a writer in the process that needs
//! nothing and always writes the same.

use uuid::Uuid;

use super::call::CallPort;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRequest {
    /// The event that asks, for logs: a generator keeps nothing of it.
    pub event_id: Uuid,
    /// What it is generated under.
    pub generation_id: String,
    /// What kind of content: `lesson`, `quiz`, `summary` …
    pub kind: String,
    /// What to write, in the asker's words.
    pub prompt: Option<String>,
    /// What to write from: a text, or where one is.
    pub source: Option<String>,
}

/// What a generator says at the end. Either holds: it is recorded, and nobody asks again. What may pass (it is overloaded, nobody
/// answers, the key is refused) is a [`CallError`](super::call::CallError) instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generated {
    /// It has written.
    Content(Content),
    /// It will not, however often it is asked.
    Failed {
        /// What kind of failure: a word of [`FAILURES`].
        reason: &'static str,
        /// What a person is told of it.
        detail: String,
    },
}

/// Content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What was written.
    pub text: String,
    /// By which model.
    pub model: String,
    /// Tokens that were read.
    pub input_tokens: u64,
    /// Tokens that were written.
    pub output_tokens: u64,
}

/// Why a generator fails for good.
pub const FAILURES: &[&str] = &[CUT_OFF, EMPTY, REFUSED, TOO_LARGE, WRONG_REQUEST];

/// The content would be longer than a generation may be, or ended otherwise before it was whole: what there is of it breaks off.
pub const CUT_OFF: &str = "cut_off";
/// Nothing was written.
pub const EMPTY: &str = "empty";
/// The generator declines to write this.
pub const REFUSED: &str = "refused";
/// The request, or what was written, is larger than it may be.
pub const TOO_LARGE: &str = "too_large";
/// The generator does not take such a request.
pub const WRONG_REQUEST: &str = "wrong_request";

/// Content is at most so long, in bytes: what follows from an event is recorded by its key, and an item of a ledger has a limit.
pub const MAX_CONTENT_BYTES: usize = 128 * 1024;

/// Writes content. Progress is the part of the longest content that may be written.
pub type ContentGenerator = dyn CallPort<GenerationRequest, Generated>;
