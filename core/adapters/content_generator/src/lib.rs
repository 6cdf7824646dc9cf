//! Content generators: a language model behind an HTTP API of the form of Anthropic's Messages API ([`Messages`]), and its twin in the
//! process ([`Offline`]), which needs nothing and always writes the same. Both pass the contract of `core/testing`.
//!
//! `settings` is what the environment says, `prompt` what the model is asked, `events` its answer as it streams, `failure` what an error
//! means, `messages` the calls.

mod events;
mod failure;
mod messages;
mod offline;
mod prompt;
mod settings;

pub use messages::Messages;
pub use offline::Offline;
pub use settings::{GENERATOR_VARIABLES, GeneratorSettings, MessagesSettings};
