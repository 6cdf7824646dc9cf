//! A command's way to the data: the process that owns the folder, which is this one where no other does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use indicatif::{ProgressBar, ProgressStyle};
use lyceum_server::access::Access;
use lyceum_server::connect::StoresConfig;
use lyceum_server::dead_letters::letters::BEHIND;
use lyceum_server::http;
pub(super) use lyceum_server::segment::{encode, segment};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use super::up::DEMO;
use crate::config::{CommandToken, Config};
use crate::data_folder::{DataFolder, DataFolderError, Holder};
use crate::runtime::{Purpose, Runtime};

/// Where questions go.
pub(super) struct Session {
    base: String,
    /// Whose data is meant where nobody says.
    default_tenant: String,
    transport: Transport,
}

enum Transport {
    /// The process that owns the data, over HTTP.
    Http { client: reqwest::Client, token: Option<CommandToken> },
    /// This very process: its routes are called as functions, so that nothing listens and no token is needed.
    InProcess {
        router: Router,
        runtime: Arc<Runtime>,
        // Behind the stores in it.
        _folder: Option<TempDir>,
    },
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
        Ok(folder) => {
            let at = absolute(data);
            if folder.is_new() {
                eprintln!("note: {} was made new, and no process serves it", at.display());
            } else {
                eprintln!("note: no process serves {}; this command opens it by itself", at.display());
            }
            Ok(Owned::Here(Box::new(Runtime::open(folder, config.clone(), purpose).await?)))
        }
        Err(DataFolderError::Held { path, holder }) => {
            let Holder { address, process, default_tenant } = holder;
            if config.is_verbose {
                eprintln!("note: {} is in use by process {process}; asking it at http://{address}", path.display());
            }
            let transport = Transport::Http { client: lyceum_https::client(), token: config.token.clone() };
            let default_tenant = default_tenant.unwrap_or_else(|| default_tenant_of(config));
            Ok(Owned::Elsewhere(Session { base: format!("http://{address}"), default_tenant, transport }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Does something while the mappings of this process run, which it starts, and ends afterwards.
///
/// # Errors
/// What was to be done failed, or the mappings did.
pub(super) async fn beside_mappings<T>(runtime: &Arc<Runtime>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let stop = tokio::sync::watch::Sender::new(false);
    let mut stopped = stop.subscribe();
    let running = {
        let runtime = runtime.clone();
        tokio::spawn(async move {
            runtime.run(async move { drop(stopped.wait_for(|stop| *stop).await) }).await;
        })
    };
    let done = work.await;
    stop.send_replace(true);
    running.await.context("the mappings failed")?;
    done
}

/// The line that shows a person how far a command is.
pub(super) fn progress_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn absolute(data: &Path) -> PathBuf {
    std::path::absolute(data).unwrap_or_else(|_| data.to_owned())
}

fn default_tenant_of(config: &Config) -> String {
    config.server.process.envelope.default_tenant.to_string()
}

/// What to say where a question names a folder without data.
fn no_data(data: &Path) -> String {
    let shown = absolute(data);
    let demo = data.join(DEMO);
    let hint = if DataFolder::is_one(&demo) { format!("; the demo's is in {}", demo.display()) } else { String::new() };
    format!("no data in {}; `lyceum up` makes it, or name another with --data or LYCEUM_DATA{hint}", shown.display())
}

/// Every tenant, where one is named.
pub(super) const EVERY_TENANT: &str = "*";

impl Session {
    /// Opens the data to look at it; where no other process has it, this one answers the questions itself. No folder is made.
    pub(super) async fn open(data: &Path, config: &Config) -> Result<Self> {
        if !DataFolder::is_one(data) {
            let stores = &config.server.stores;
            if stores.kafka.is_none() && stores.dynamodb.is_none() && stores.elasticsearch.is_none() {
                bail!("{}", no_data(data));
            }
            // What is asked of is elsewhere; a store that is embedded is empty.
            return Self::in_a_folder_that_goes(config.clone(), Purpose::Look).await;
        }
        match own_or_find(data, config, Purpose::Look).await? {
            Owned::Elsewhere(session) => Ok(session),
            Owned::Here(runtime) => Ok(Self::of(*runtime, config, None)),
        }
    }

    /// Empty stores in this process, whatever the settings name; they are gone afterwards.
    pub(super) async fn scratch(config: &Config) -> Result<Self> {
        let mut config = config.clone();
        config.server.stores = StoresConfig::default();
        config.is_scratch = true;
        Self::in_a_folder_that_goes(config, Purpose::Process).await
    }

    async fn in_a_folder_that_goes(config: Config, purpose: Purpose) -> Result<Self> {
        let folder = TempDir::with_prefix("lyceum-").context("cannot make a temporary folder")?;
        let runtime = Runtime::open(DataFolder::take(folder.path())?, config.clone(), purpose).await?;
        Ok(Self::of(runtime, &config, Some(folder)))
    }

    fn of(runtime: Runtime, config: &Config, folder: Option<TempDir>) -> Self {
        let runtime = Arc::new(runtime);
        let router = http::router(runtime.http_services(Access::open()));
        let transport = Transport::InProcess { router, runtime, _folder: folder };
        Self { base: "http://127.0.0.1".to_owned(), default_tenant: default_tenant_of(config), transport }
    }

    /// The tenant to ask for, of the one that was named: without one DEFAULT_TENANT, or whom the token names; none, which is
    /// every one that the token sees, where `*` was named.
    pub(super) fn tenant<'a>(&'a self, named: Option<&'a str>) -> Option<&'a str> {
        let has_token = matches!(&self.transport, Transport::Http { token: Some(_), .. });
        match named {
            Some(EVERY_TENANT) => None,
            Some(tenant) => Some(tenant),
            None if has_token => None,
            None => Some(&self.default_tenant),
        }
    }

    /// Says whose data there is, where there is none of the tenant that was asked for.
    pub(super) async fn tell_other_tenants(&self, asked: Option<&str>) {
        let Ok(Some(answer)) = self.find("/api/tenants", &[]).await else { return };
        let tenants: Vec<&str> = answer["tenants"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(asked) = asked.filter(|asked| !tenants.contains(asked) && !tenants.is_empty()) {
            eprintln!("note: tenant {asked:?} has no data; there is of {} (--tenant)", tenants.join(", "));
            if answer["is_behind"] == true {
                eprintln!("note: {BEHIND}");
            }
        }
    }

    /// The same; where this process owns the data, it comes with what processes events once it is run.
    pub(super) async fn open_processing(data: &Path, config: &Config) -> Result<(Self, Option<Arc<Runtime>>)> {
        match own_or_find(data, config, Purpose::Process).await? {
            Owned::Elsewhere(session) => Ok((session, None)),
            Owned::Here(runtime) => {
                let session = Self::of(*runtime, config, None);
                let runtime = match &session.transport {
                    Transport::InProcess { runtime, .. } => Some(runtime.clone()),
                    Transport::Http { .. } => None,
                };
                Ok((session, runtime))
            }
        }
    }

    /// Whether this process owns the data.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.transport, Transport::InProcess { .. })
    }

    /// Asks; `None` where there is no such thing.
    pub(super) async fn find(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Option<Value>> {
        Ok(self.ask(path, query).await?.ok())
    }

    /// Asks; where there is no such thing, why.
    pub(super) async fn ask(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Result<Value, String>> {
        let query: Vec<(&str, &str)> = query.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.exchange(Method::GET, url, Bytes::new()).await?;
        // A process that is not well says so with all that it knows.
        let is_health = answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.body["components"].is_object();
        match answer.status {
            status if status.is_success() || is_health => Ok(Ok(answer.body)),
            StatusCode::NOT_FOUND if answer.body["detail"].is_string() => Ok(Err(answer.detail().to_owned())),
            _ => self.refuse(&answer),
        }
    }

    /// Prints an answer of lines as it comes; how many there were.
    pub(super) async fn copy_lines(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<u64> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().extend_pairs(query.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
        let (status, mut body) = self.send(Method::GET, url, Bytes::new()).await?;
        if !status.is_success() {
            return self.refuse(&Answer::read_whole(status, body).await?);
        }
        let mut lines = 0;
        while let Some(part) = body.next().await {
            let part = part.context("the answer was cut off")?;
            lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            super::print_bytes(&part);
        }
        Ok(lines)
    }

    /// Asks for what must be there.
    pub(super) async fn get(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Value> {
        self.find(path, query).await?.with_context(|| format!("the process has no {path}; is it an older release?"))
    }

    /// Asks for something to be done.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let answer = self.exchange(Method::POST, self.url(path)?, serde_json::to_vec(body)?.into()).await?;
        match answer.status {
            status if status.is_success() => answer.read(),
            StatusCode::NOT_FOUND if answer.body["detail"].is_string() => bail!("{}", answer.detail()),
            _ => self.refuse(&answer),
        }
    }

    /// Hands bytes over; what is wrong with them is an answer, too.
    pub(super) async fn post_bytes<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<Result<T, String>> {
        let answer = self.exchange(Method::POST, self.url(path)?, body.into()).await?;
        match answer.status {
            status if status.is_success() => answer.read().map(Ok),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Ok(Err(answer.detail().to_owned())),
            _ => self.refuse(&answer),
        }
    }

    fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}{path}", self.base)).context("a part of the question is no path")
    }

    fn refuse<T>(&self, answer: &Answer) -> Result<T> {
        let detail = answer.detail();
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!("{detail} (commands take their token from LYCEUM_TOKEN)")
            }
            // What is wrong with the question is said in full; who found it does not matter.
            status if status.is_client_error() => bail!("{detail}"),
            status => bail!("{} answered {status}: {detail}", self.name()),
        }
    }

    /// Who answers, for people.
    fn name(&self) -> &str {
        if self.is_own() { "this process" } else { &self.base }
    }

    async fn exchange(&self, method: Method, url: Url, body: Bytes) -> Result<Answer> {
        let (status, body) = self.send(method, url, body).await?;
        Answer::read_whole(status, body).await
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Bytes,
    ) -> Result<(StatusCode, BoxStream<'static, Result<Bytes>>)> {
        match &self.transport {
            Transport::InProcess { router, .. } => {
                let request = Request::builder().method(method).uri(url.as_str());
                let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body))?;
                let response = router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
                let status = response.status();
                let parts = response.into_body().into_data_stream().map(|part| part.map_err(Into::into));
                Ok((status, parts.boxed()))
            }
            Transport::Http { client, token } => {
                let mut request = client.request(method, url).header(CONTENT_TYPE, "application/json").body(body);
                if let Some(CommandToken(token)) = token {
                    request = request.bearer_auth(token);
                }
                let response = request.send().await.with_context(|| format!("cannot reach {}", self.base))?;
                let status = response.status();
                let parts = futures::stream::try_unfold(response, |mut response| async move {
                    Ok(response.chunk().await?.map(|part| (part, response)))
                });
                Ok((status, parts.boxed()))
            }
        }
    }
}

struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    async fn read_whole(status: StatusCode, mut body: BoxStream<'static, Result<Bytes>>) -> Result<Self> {
        let mut whole = Vec::new();
        while let Some(part) = body.next().await {
            whole.extend_from_slice(&part.context("the answer was cut off")?);
        }
        Ok(Self { status, body: serde_json::from_slice(&whole).unwrap_or(Value::Null) })
    }

    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or("it gave no reason")
    }

    fn read<T: DeserializeOwned>(self) -> Result<T> {
        serde_json::from_value(self.body)
            .context("the answer has another form than expected; are the releases the same?")
    }
}
