//! A command's way to the data: the process that owns the folder, which is this one where no other does.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::Config;
use crate::data_folder::{DataFolder, DataFolderError};
use crate::runtime::{Purpose, Runtime};

/// Where questions go.
pub(super) struct Session {
    base: String,
    client: reqwest::Client,
    token: Option<String>,
    /// Whether this process owns the data.
    pub(super) own: Option<Arc<Runtime>>,
}

/// The data, owned or not.
pub(super) enum Owned {
    /// By this process.
    Here(Box<Runtime>),
    /// By another one, which listens there.
    Elsewhere(Session),
}

/// Takes the folder, or finds the process that has it.
pub(super) async fn own_or_find(data: &Path, config: &Config, purpose: Purpose) -> Result<Owned> {
    match DataFolder::take(data) {
        Ok(folder) => Ok(Owned::Here(Box::new(Runtime::open(folder, config.clone(), purpose).await?))),
        Err(DataFolderError::Held { path, holder }) => {
            eprintln!(
                "note: {} is in use by process {}; asking it at http://{}",
                path.display(),
                holder.process,
                holder.address
            );
            Ok(Owned::Elsewhere(Session::to(format!("http://{}", holder.address))))
        }
        Err(error) => Err(error.into()),
    }
}

impl Session {
    /// Opens the data; where no other process has it, this one answers the questions over its own HTTP API.
    pub(super) async fn open(data: &Path, config: &Config) -> Result<Self> {
        match own_or_find(data, config, Purpose::Look).await? {
            Owned::Elsewhere(session) => Ok(session),
            Owned::Here(runtime) => {
                let runtime = Arc::new(*runtime);
                let mut config = config.clone();
                // The questions come from this very process.
                config.tokens.clear();
                let listener =
                    tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on 127.0.0.1")?;
                let address = listener.local_addr()?;
                let services = super::up::http_services(&runtime, &config);
                tokio::spawn(crate::http::serve(listener, services, std::future::pending()));
                let mut session = Self::to(format!("http://{address}"));
                session.token = None;
                session.own = Some(runtime);
                Ok(session)
            }
        }
    }

    fn to(base: String) -> Self {
        let token = std::env::var("LYCEUM_TOKEN").ok().filter(|token| !token.is_empty());
        Self { base, client: reqwest::Client::new(), token, own: None }
    }

    /// Asks; `None` where there is no such thing.
    pub(super) async fn find(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Option<Value>> {
        Ok(self.ask(path, query).await?.ok())
    }

    /// Asks; where there is no such thing, why.
    pub(super) async fn ask(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Result<Value, String>> {
        let query: Vec<(&str, &str)> = query.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
        let mut url =
            reqwest::Url::parse(&format!("{}{path}", self.base)).context("a part of the question is no path")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.get(url)).await
    }

    /// Asks for what must be there.
    pub(super) async fn get(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Value> {
        self.find(path, query).await?.with_context(|| format!("the process has no {path}; is it an older release?"))
    }

    /// Asks for something to be done.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let answer = self.send(request).await?.map_err(anyhow::Error::msg)?;
        serde_json::from_value(answer).context("the answer has another form than expected; are the releases the same?")
    }

    /// Hands bytes over; what is wrong with them is an answer, too.
    pub(super) async fn post_bytes<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<Result<T, String>> {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("cannot reach {}", self.base))?;
        let status = response.status();
        let body = response.bytes().await.context("the answer was cut off")?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let detail = answer["detail"].as_str().unwrap_or("no further word").to_owned();
        match status.as_u16() {
            200 => serde_json::from_value(answer).map(Ok).context("the answer has another form than expected"),
            400 | 413 => Ok(Err(detail)),
            401 | 403 => bail!("{detail} (commands take their token from LYCEUM_TOKEN)"),
            _ => bail!("{} answered {status}: {detail}", self.base),
        }
    }

    /// The answer, or why there is no such thing.
    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<Result<Value, String>> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("cannot reach {}", self.base))?;
        let status = response.status();
        let body = response.bytes().await.context("the answer was cut off")?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() || status == reqwest::StatusCode::SERVICE_UNAVAILABLE && answer["components"].is_object()
        {
            return Ok(Ok(answer));
        }
        let detail = answer["detail"].as_str().unwrap_or("no further word");
        match status.as_u16() {
            404 if answer["detail"].is_string() => Ok(Err(detail.to_owned())),
            401 | 403 => bail!("{detail} (commands take their token from LYCEUM_TOKEN)"),
            _ => bail!("{} answered {status}: {detail}", self.base),
        }
    }
}

/// One segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
