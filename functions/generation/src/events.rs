//! The events of the generation family, and how each is read from a statement.

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, TypedEvent};
use lyceum_core::formats::statement::StatementFormat;
use lyceum_core::formats::statement::field::Fields;
use lyceum_core::outcome::Finding;
use serde::Serialize;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::state::{GENERATION, Usage};
use crate::{COMPLETED, FAILED, PROGRESSED};

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Last segment of the generation's IRI.
    pub generation_id: SmolStr,
    /// The request that it is about, where it says so.
    pub request_id: Option<Uuid>,
    /// What happened.
    pub what: What,
}

/// What happened to a generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `content.generation.requested`: one of prompt and source is there.
    Requested {
        /// What kind of content: `lesson`, `quiz` …
        kind: SmolStr,
        /// What to write.
        prompt: Option<String>,
        /// What to write from.
        source: Option<String>,
    },
    /// `content.generation.progressed`
    Progressed {
        /// 0 to 100.
        percent: u8,
    },
    /// `content.generation.completed`
    Completed {
        /// Where the content is.
        content_reference: SmolStr,
        /// Who wrote it, and what that took, where it is said.
        usage: Usage,
    },
    /// `content.generation.failed`
    Failed {
        /// A word, or a sentence.
        reason: String,
    },
}

impl TypedEvent for Event {
    type Format = StatementFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &Envelope<'_>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let (generation_id, request_id) = (fields.object_id("generation_id"), fields.optional_uuid("request_id"));
        let what = match envelope.event_type {
            PROGRESSED => What::Progressed { percent: fields.percent("percent") },
            COMPLETED => What::Completed {
                content_reference: fields.id("content_reference"),
                usage: Usage {
                    model: fields.optional_id("model"),
                    input_tokens: fields.optional_whole_number("input_tokens"),
                    output_tokens: fields.optional_whole_number("output_tokens"),
                },
            },
            FAILED => What::Failed { reason: fields.text("reason") },
            _ => {
                let (prompt, source) = (fields.optional_text("prompt"), fields.optional_text("source"));
                fields.required((prompt.is_some() || source.is_some()).then_some(()), "/context/extensions", || {
                    "a request needs the extension prompt or the extension source".to_owned()
                });
                What::Requested { kind: fields.id("kind"), prompt, source }
            }
        };
        fields.finish(Event { generation_id, request_id, what })
    }

    fn key(&self, _: &Envelope<'_>) -> String {
        self.generation_id.to_string()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: GENERATION, id: self.generation_id.clone() }]
    }
}
