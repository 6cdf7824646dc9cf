//! What the environment says of the content generator.

use std::fmt;
use std::time::Duration;

use lyceum_core::environment::{Reading, Table, Variable, optional, seconds, text, whole};
use reqwest::Url;

const API_KEY: Variable<Option<String>> = optional(
    "CLAUDE_API_KEY",
    "the key of the content generator's API; without it content is written by a stand-in in the process, which needs nothing and always writes the same",
)
.alias("ANTHROPIC_API_KEY");
const MAX_TOKENS: Variable<u32> = whole(
    "CONTENT_GENERATOR_MAX_TOKENS",
    8_192,
    256..=32_000,
    "the longest content, in tokens of the model; what would be longer fails as `cut_off`",
);
const MODEL: Variable<Option<String>> =
    optional("CONTENT_GENERATOR_MODEL", "the model that writes content; needed with `CLAUDE_API_KEY`");
const TIMEOUT: Variable<Duration> = seconds(
    "CONTENT_GENERATOR_TIMEOUT",
    300,
    1..=900,
    "how long one attempt to have content written may take, as long as the function has that time",
);
const URL: Variable<String> = text(
    "CONTENT_GENERATOR_URL",
    "https://api.anthropic.com",
    "where an API of the form of Anthropic's Messages API answers, without `/v1/messages`",
);

/// The variables of the content generator.
pub const GENERATOR_VARIABLES: Table = &[&API_KEY, &MAX_TOKENS, &MODEL, &TIMEOUT, &URL];

/// Who writes content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneratorSettings {
    /// The stand-in in the process.
    Offline,
    /// A model behind HTTP.
    Messages(MessagesSettings),
}

/// How the model is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct MessagesSettings {
    /// `CONTENT_GENERATOR_URL`: scheme and host, without user name and password.
    pub url: String,
    /// `CLAUDE_API_KEY`
    pub api_key: String,
    /// `CONTENT_GENERATOR_MODEL`
    pub model: String,
    /// `CONTENT_GENERATOR_MAX_TOKENS`
    pub max_tokens: u32,
    /// `CONTENT_GENERATOR_TIMEOUT`: from connecting to the last byte of one attempt.
    pub timeout: Duration,
}

/// The key is not among it.
impl fmt::Debug for MessagesSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, model, max_tokens, timeout, api_key: _ } = self;
        f.debug_struct("MessagesSettings")
            .field("url", url)
            .field("model", model)
            .field("max_tokens", max_tokens)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

impl GeneratorSettings {
    /// Reads the variables. Every wrong value is reported together by [`Reading::finish`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let (url, max_tokens, timeout) = (reading.read(&URL), reading.read(&MAX_TOKENS), reading.read(&TIMEOUT));
        let model = reading.read(&MODEL);
        let Some(api_key) = reading.read(&API_KEY) else { return Self::Offline };
        if let Err(wrong) = judge(&url) {
            reading.refuse(format!("CONTENT_GENERATOR_URL {wrong}"));
        }
        if model.is_none() {
            reading.refuse("CONTENT_GENERATOR_MODEL is missing: CLAUDE_API_KEY is set, and the model that is to write has to be named");
        }
        if api_key.chars().any(|c| !c.is_ascii_graphic()) {
            reading
                .refuse("CLAUDE_API_KEY holds a character that no key has: a space, a line break, or one beyond ASCII");
        }
        let (url, model) = (url.trim_end_matches('/').to_owned(), model.unwrap_or_default());
        Self::Messages(MessagesSettings { url, api_key, model, max_tokens, timeout })
    }

    /// What it is, for whoever starts a process: an address and a model, never a key.
    pub fn shown(&self) -> String {
        match self {
            Self::Offline => "a stand-in in this process (set CLAUDE_API_KEY for a language model)".to_owned(),
            Self::Messages(of) => format!("{} at {}", of.model, of.url),
        }
    }
}

/// A key goes over the network only where nobody can read it on the way.
fn judge(url: &str) -> Result<(), String> {
    let parsed = Url::parse(url).map_err(|error| format!("is {url:?}, and no address: {error}"))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("has a user name or a password in it; the key goes into CLAUDE_API_KEY".to_owned());
    }
    let host = parsed.host_str().unwrap_or_default();
    let is_here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if is_here => Ok(()),
        "http" => Err(format!("is {url:?}: over http the key could be read on its way; use https")),
        other => Err(format!("is {url:?}, and must begin with https://, not with {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<GeneratorSettings, String> {
        lyceum_testing::environment::read(variables, GeneratorSettings::read).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn without_a_key_content_is_written_in_the_process_and_says_so() {
        let settings = read(&[("CONTENT_GENERATOR_URL", "https://models.example")]).unwrap();
        assert_eq!(settings, GeneratorSettings::Offline);
        assert!(settings.shown().contains("stand-in") && settings.shown().contains("CLAUDE_API_KEY"));
    }

    #[test]
    fn a_key_under_either_name_asks_the_model_that_is_named() {
        for name in ["CLAUDE_API_KEY", "ANTHROPIC_API_KEY"] {
            let settings = read(&[(name, "k-secret"), ("CONTENT_GENERATOR_MODEL", "writer-1")]).unwrap();
            let GeneratorSettings::Messages(of) = &settings else { panic!("{settings:?}") };
            assert_eq!((&*of.url, &*of.model, of.max_tokens), ("https://api.anthropic.com", "writer-1", 8_192));
            assert_eq!(of.timeout, Duration::from_secs(300));
            assert!(!format!("{settings:?} {}", settings.shown()).contains("k-secret"));
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name_and_never_shows_the_key() {
        let wrong = |more: &[(&str, &str)]| {
            let mut variables = vec![("CLAUDE_API_KEY", "k-secret"), ("CONTENT_GENERATOR_MODEL", "m")];
            variables.splice(0..0, more.iter().copied());
            let text = read(&variables).unwrap_err();
            assert!(!text.contains("k-secret"), "{text}");
            text
        };
        for url in ["http://models.example", "ftp://models.example", "models", "https://u:p@models.example"] {
            assert!(wrong(&[("CONTENT_GENERATOR_URL", url)]).contains("CONTENT_GENERATOR_URL"), "{url}");
        }
        assert!(wrong(&[("CLAUDE_API_KEY", "k-se cret")]).contains("CLAUDE_API_KEY"));
        assert!(wrong(&[("CONTENT_GENERATOR_MAX_TOKENS", "1")]).contains("CONTENT_GENERATOR_MAX_TOKENS"));
        let text = read(&[("CLAUDE_API_KEY", "k-secret")]).unwrap_err();
        assert!(text.contains("CONTENT_GENERATOR_MODEL is missing"), "{text}");
        for here in ["http://127.0.0.1:9/", "http://localhost:9", "http://[::1]:9"] {
            let variables =
                [("CLAUDE_API_KEY", "k"), ("CONTENT_GENERATOR_MODEL", "m"), ("CONTENT_GENERATOR_URL", here)];
            read(&variables).unwrap();
        }
    }
}
