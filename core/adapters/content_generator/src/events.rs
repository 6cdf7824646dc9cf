//! The answer of the Messages API as it streams: server-sent events, put together to content. Pure: bytes in, an end out.
//!
//! Sources: the Messages API's page on streaming (`message_start`, `content_block_delta`, `message_delta`, `message_stop`, `ping`, and
//! `error`, which may come after a status of 200); the HTML standard, "Server-sent events". What this release does not know of it,
//! blocks, deltas and events alike, is passed over.

use lyceum_core::ports::generator::{CUT_OFF, Content, EMPTY, Generated, MAX_CONTENT_BYTES, REFUSED, TOO_LARGE};
use serde::Deserialize;

/// No event of an answer is so long.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// An answer so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Of a line that has not ended.
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, which a line feed may follow.
    after_return: bool,
    /// Of an event that has not ended.
    data: Vec<u8>,
    text: String,
    model: String,
    stop_reason: Option<String>,
    input_tokens: u64,
    output_tokens: u64,
    has_ended: bool,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The service said so.
    Error(ApiError),
    /// It is not what the API sends.
    Malformed(String),
}

/// An error as the API tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct ApiError {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) message: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        content_block: Block,
    },
    ContentBlockDelta {
        delta: Delta,
    },
    MessageDelta {
        delta: Stop,
        #[serde(default)]
        usage: Usage,
    },
    MessageStop,
    Error {
        error: ApiError,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    model: String,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta {
    TextDelta {
        text: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Stop {
    stop_reason: Option<String>,
}

/// What an answer took so far; each number is the whole one.
#[derive(Default, Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Answer {
    /// Takes bytes as they come, cut anywhere.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for &byte in bytes {
            let ends_line = match byte {
                b'\n' if self.after_return => {
                    self.after_return = false;
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_return = byte == b'\r';
            if ends_line {
                self.end_line()?;
            } else {
                self.line.push(byte);
                if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                    return Err(Broken::Malformed(format!("an event of the answer is over {MAX_EVENT_BYTES} bytes")));
                }
            }
        }
        Ok(())
    }

    /// Whether all of it was taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// How much is written of at most so many tokens, in hundredths: a token has some four characters.
    pub(crate) fn percent(&self, max_tokens: u32) -> u8 {
        let tokens = (self.text.len() as u64 / 4).max(self.output_tokens);
        u8::try_from((tokens * 100 / u64::from(max_tokens.max(1))).min(99)).unwrap_or(99)
    }

    fn end_line(&mut self) -> Result<(), Broken> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return if data.is_empty() { Ok(()) } else { self.event(&data) };
        }
        // A field's value may have one space before it; lines of other fields say nothing that the data does not.
        if let Some(value) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
        Ok(())
    }

    fn event(&mut self, data: &[u8]) -> Result<(), Broken> {
        let event: Event = serde_json::from_slice(data)
            .map_err(|error| Broken::Malformed(format!("an event of the answer cannot be read: {error}")))?;
        match event {
            Event::MessageStart { message } => {
                self.model = message.model;
                self.count(&message.usage);
            }
            Event::ContentBlockStart { content_block: Block::Text { text } }
            | Event::ContentBlockDelta { delta: Delta::TextDelta { text } } => self.text.push_str(&text),
            Event::MessageDelta { delta, usage } => {
                self.stop_reason = delta.stop_reason.or(self.stop_reason.take());
                self.count(&usage);
            }
            Event::MessageStop => self.has_ended = true,
            Event::Error { error } => return Err(Broken::Error(error)),
            Event::ContentBlockStart { .. } | Event::ContentBlockDelta { .. } | Event::Other => {}
        }
        Ok(())
    }

    fn count(&mut self, usage: &Usage) {
        self.input_tokens = usage.input_tokens.unwrap_or(self.input_tokens);
        self.output_tokens = usage.output_tokens.unwrap_or(self.output_tokens);
    }

    /// What the answer comes to, where it has ended; `asked` is the model that was asked.
    pub(crate) fn finish(self, asked: &str) -> Result<Generated, Broken> {
        if !self.has_ended {
            return Err(Broken::Malformed("the answer breaks off".to_owned()));
        }
        let failed = |reason, detail: String| Ok(Generated::Failed { reason, detail });
        let tokens = self.output_tokens;
        match self.stop_reason.as_deref() {
            Some("end_turn" | "stop_sequence") => {}
            Some("max_tokens") => {
                return failed(
                    CUT_OFF,
                    format!("the content is longer than {tokens} tokens, which is the most that is written"),
                );
            }
            Some("refusal") => return failed(REFUSED, "the model declines to write this".to_owned()),
            Some("model_context_window_exceeded") => {
                return failed(TOO_LARGE, "request and content are more than the model reads at once".to_owned());
            }
            other => {
                let why = other.unwrap_or("nothing");
                return failed(CUT_OFF, format!("the model ended before the content did, for the reason {why:?}"));
            }
        }
        if self.text.trim().is_empty() {
            return failed(EMPTY, "the model wrote nothing".to_owned());
        }
        if self.text.len() > MAX_CONTENT_BYTES {
            let bytes = self.text.len();
            return failed(TOO_LARGE, format!("the content has {bytes} bytes, and may have {MAX_CONTENT_BYTES}"));
        }
        let Self { text, model, input_tokens, output_tokens, .. } = self;
        let model = if model.is_empty() { asked.to_owned() } else { model };
        Ok(Generated::Content(Content { text, model, input_tokens, output_tokens }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wire(events: &[Value], end: &str) -> Vec<u8> {
        let one =
            |event: &Value| format!("event: {}{end}data: {event}{end}{end}", event["type"].as_str().unwrap_or("x"));
        events.iter().map(one).collect::<String>().into_bytes()
    }

    fn of(stop_reason: &str) -> Vec<Value> {
        vec![
            json!({"type": "message_start", "message": {"id": "m", "model": "writer-1-2026", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Half "}}),
            json!({"type": "something_new", "value": 1}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "of ü."}}),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null}, "usage": {"output_tokens": 15}}),
            json!({"type": "message_stop"}),
        ]
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Generated, Broken> {
        let mut answer = Answer::default();
        for piece in bytes.chunks(piece) {
            answer.take(piece)?;
        }
        answer.finish("writer-1")
    }

    #[test]
    fn an_answer_is_put_together_however_it_is_cut_and_whatever_ends_its_lines() {
        let content =
            Content { text: "Half of ü.".into(), model: "writer-1-2026".into(), input_tokens: 9, output_tokens: 15 };
        for end in ["\n", "\r\n", "\r"] {
            let bytes = wire(&of("end_turn"), end);
            for piece in [1, 2, 3, 7, bytes.len()] {
                assert_eq!(
                    read(&bytes, piece),
                    Ok(Generated::Content(content.clone())),
                    "{end:?} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn an_answer_that_breaks_off_anywhere_is_none() {
        let bytes = wire(&of("end_turn"), "\n");
        for length in 0..bytes.len() {
            let broken = read(&bytes[..length], 64);
            assert!(matches!(broken, Err(Broken::Malformed(_))), "{length}: {broken:?}");
        }
    }

    #[test]
    fn what_ends_before_it_is_whole_is_a_failure_with_its_reason() {
        for (stop_reason, reason) in [
            ("max_tokens", CUT_OFF),
            ("refusal", REFUSED),
            ("model_context_window_exceeded", TOO_LARGE),
            ("pause_turn", CUT_OFF),
            ("a_new_reason", CUT_OFF),
        ] {
            let generated = read(&wire(&of(stop_reason), "\n"), 64).unwrap();
            assert!(matches!(generated, Generated::Failed { reason: of, .. } if of == reason), "{stop_reason}");
        }
        let without = |kind: &str| of("end_turn").into_iter().filter(|of| of["type"] != kind).collect::<Vec<_>>();
        let empty = read(&wire(&without("content_block_delta"), "\n"), 64).unwrap();
        assert!(matches!(empty, Generated::Failed { reason: EMPTY, .. }), "{empty:?}");
        let no_reason = read(&wire(&without("message_delta"), "\n"), 64).unwrap();
        assert!(matches!(no_reason, Generated::Failed { reason: CUT_OFF, .. }), "{no_reason:?}");
    }

    #[test]
    fn an_error_in_the_stream_is_one_though_the_status_was_200() {
        let mut events = of("end_turn");
        events.insert(6, json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
        let error = ApiError { kind: "overloaded_error".into(), message: "Overloaded".into() };
        assert_eq!(read(&wire(&events, "\n"), 64), Err(Broken::Error(error)));
    }

    #[test]
    fn content_that_no_ledger_would_take_fails_and_an_event_without_end_is_given_up() {
        let mut events = of("end_turn");
        let long = "x".repeat(MAX_CONTENT_BYTES);
        events[5]["delta"]["text"] = long.into();
        let generated = read(&wire(&events, "\n"), 4096).unwrap();
        assert!(matches!(generated, Generated::Failed { reason: TOO_LARGE, .. }));
        let mut answer = Answer::default();
        assert_eq!(answer.take(&vec![b'x'; MAX_EVENT_BYTES]), Ok(()));
        assert!(matches!(answer.take(b"x"), Err(Broken::Malformed(_))));
        assert!(matches!(read(b"data: {\"type\": \n\n", 64), Err(Broken::Malformed(_))));
    }

    #[test]
    fn progress_is_the_part_of_the_longest_content_and_never_the_whole() {
        let mut answer = Answer::default();
        assert_eq!(answer.percent(100), 0);
        answer.text = "x".repeat(200);
        assert_eq!(answer.percent(100), 50);
        answer.output_tokens = 100;
        assert_eq!((answer.percent(100), answer.percent(0)), (99, 99));
    }
}
