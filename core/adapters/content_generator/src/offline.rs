//! The twin in the process: content without a model, the same for the same request.

use async_trait::async_trait;
use lyceum_core::ports::call::{CallError, CallPort, Progress};
use lyceum_core::ports::generator::{Content, Generated, GenerationRequest};

/// What it calls itself, where a model has its name.
const MODEL: &str = "offline";

/// So much of a prompt or a source is taken up.
const QUOTED_CHARS: usize = 2_000;

/// Writes an outline of what it was asked for, for trying things out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

#[async_trait]
impl CallPort<GenerationRequest, Generated> for Offline {
    async fn call(&self, request: &GenerationRequest, progress: &dyn Progress) -> Result<Generated, CallError> {
        let text = write(request);
        for percent in [25, 50, 75] {
            progress.at(percent).await;
        }
        let words = |text: &str| text.split_whitespace().count() as u64;
        let read = request.prompt.iter().chain(&request.source).map(|text| words(text)).sum();
        let (input_tokens, output_tokens) = (read, words(&text));
        Ok(Generated::Content(Content { text, model: MODEL.to_owned(), input_tokens, output_tokens }))
    }
}

fn write(request: &GenerationRequest) -> String {
    let short = |text: &str| text.chars().take(QUOTED_CHARS).collect::<String>().trim().to_owned();
    let mut text = format!(
        "# {}: draft\n\nThis draft was written without a language model. It repeats what was asked for.\n",
        request.kind
    );
    if let Some(prompt) = &request.prompt {
        text += &format!("\n## Asked for\n\n{}\n", short(prompt));
    }
    if let Some(source) = &request.source {
        text += "\n## From the source\n\n";
        let sentences = source.split(['.', '\n']).map(str::trim).filter(|sentence| !sentence.is_empty());
        for sentence in sentences.take(10) {
            text += &format!("- {}\n", short(sentence));
        }
    }
    text
}
