//! What the environment says of the statement store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lyceum_core::environment::{Reading, Table, Variable, choice, milliseconds, optional, seconds, text, whole};
use reqwest::Url;

const API_KEY: Variable<Option<String>> = optional(
    "ELASTICSEARCH_API_KEY",
    "an API key, encoded as Elasticsearch gives it or as `id:key`; instead of user name and password",
);
const AUTH: Variable<bool> = choice(
    "ELASTICSEARCH_AUTH",
    &[("credentials", false), ("aws", true)],
    "how a request says whose it is: `credentials` is by an API key or a user where one is given; `aws` signs it with the credentials of AWS that the process has, as Amazon OpenSearch Service and Serverless want it",
);
const AWS_SERVICE: Variable<Option<AwsService>> = choice(
    "ELASTICSEARCH_AWS_SERVICE",
    &[("auto", None), ("es", Some(AwsService::Domain)), ("aoss", Some(AwsService::Serverless))],
    "what signed requests go to, a domain of OpenSearch Service or a collection of Serverless; `auto` looks at the host's name",
);
const CA_FILE: Variable<Option<String>> = optional(
    "ELASTICSEARCH_CA_FILE",
    "a PEM file of certificate authorities that are trusted beside those of the machine, for a cluster with its own",
);
const CA_PEM: Variable<Option<String>> =
    optional("ELASTICSEARCH_CA_PEM", "those certificates themselves, in place of a file");
const COMPRESSION: Variable<bool> = choice(
    "ELASTICSEARCH_COMPRESSION",
    &[("none", false), ("gzip", true)],
    "of requests, which spends time to save traffic between zones; answers are compressed where the cluster does it",
);
const INDEX: Variable<String> = text(
    "ELASTICSEARCH_INDEX",
    "xapi-statements",
    "the alias under which statements are stored; the index behind it is called this and `-v1`. Entries of the audit log are stored under this and `-audit`",
);
const PASSWORD: Variable<Option<String>> =
    optional("ELASTICSEARCH_PASSWORD", "the password of `ELASTICSEARCH_USERNAME`");
const REPLICAS: Variable<u32> =
    whole("ELASTICSEARCH_REPLICAS", 1, 0..=10, "copies of each shard, when the index is created");
const SHARDS: Variable<u32> = whole(
    "ELASTICSEARCH_SHARDS",
    1,
    1..=1_024,
    "shards, when the index is created; see operations on changing them later",
);
const REFRESH: Variable<Duration> = milliseconds(
    "ELASTICSEARCH_REFRESH_MS",
    0,
    0..=10_000,
    "of a process that stores several batches at once: at most one refresh of the index begins within so long, which a batch waits for; at once they always share them",
);
const TIMEOUT: Variable<Duration> = seconds("ELASTICSEARCH_TIMEOUT", 30, 1..=900, "how long one request may take");
const URL: Variable<Option<String>> = optional(
    "ELASTICSEARCH_URL",
    "where Elasticsearch 8 or 9, or OpenSearch 2 or 3, answers: `https://search.example.org:9200`, without user name and password",
);
const USERNAME: Variable<Option<String>> = optional("ELASTICSEARCH_USERNAME", "a user name for basic authentication");

/// The variables of the statement store on Elasticsearch or OpenSearch.
pub const ELASTICSEARCH_VARIABLES: Table = &[
    &API_KEY,
    &AUTH,
    &AWS_SERVICE,
    &CA_FILE,
    &CA_PEM,
    &COMPRESSION,
    &INDEX,
    &PASSWORD,
    &REFRESH,
    &REPLICAS,
    &SHARDS,
    &TIMEOUT,
    &URL,
    &USERNAME,
];

/// Who asks. Its secrets never show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum SearchCredentials {
    /// A cluster without security.
    None,
    /// An API key as it was given: encoded, or `id:key`.
    ApiKey(String),
    /// Basic authentication.
    Basic {
        /// Without a colon.
        username: String,
        /// Whatever it holds.
        password: String,
    },
    /// Requests are signed with the credentials of AWS that the process has.
    Aws {
        /// The domain's or collection's.
        region: String,
        /// What they are signed for.
        service: AwsService,
    },
}

/// The two that take signed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsService {
    /// A domain of Amazon OpenSearch Service.
    Domain,
    /// A collection of Amazon OpenSearch Serverless.
    Serverless,
}

impl AwsService {
    /// What a signature names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Domain => "es",
            Self::Serverless => "aoss",
        }
    }
}

impl fmt::Debug for SearchCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::ApiKey(_) => f.write_str("ApiKey(…)"),
            Self::Basic { username, .. } => write!(f, "Basic {{ username: {username:?}, password: … }}"),
            Self::Aws { region, service } => write!(f, "Aws {{ region: {region:?}, service: {:?} }}", service.name()),
        }
    }
}

/// How the statement store is reached, and how its index is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticsearchSettings {
    /// `ELASTICSEARCH_URL`: scheme, host and port, and a path where a proxy wants one; never a password.
    pub url: String,
    /// `ELASTICSEARCH_INDEX`: the alias.
    pub index: String,
    /// `ELASTICSEARCH_API_KEY`, or `ELASTICSEARCH_USERNAME` and `ELASTICSEARCH_PASSWORD`.
    pub credentials: SearchCredentials,
    /// `ELASTICSEARCH_TIMEOUT`: from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// `ELASTICSEARCH_REFRESH_MS`: at most one refresh of the index begins within so long.
    pub refresh_interval: Duration,
    /// `ELASTICSEARCH_CA_FILE`
    pub ca_file: Option<PathBuf>,
    /// `ELASTICSEARCH_CA_PEM`
    pub ca_pem: Option<String>,
    /// `ELASTICSEARCH_COMPRESSION`: whether requests are compressed.
    pub compresses_requests: bool,
    /// `ELASTICSEARCH_SHARDS`
    pub shards: u32,
    /// `ELASTICSEARCH_REPLICAS`
    pub replicas: u32,
}

impl ElasticsearchSettings {
    /// A cluster without security at this URL, everything else by the defaults of the table.
    pub fn at(url: impl Into<String>) -> Self {
        let mut settings = Self::read(&mut Reading::new(&|_| None));
        settings.url = url.into();
        settings
    }

    /// The same for the entries of the audit log, which have an index of their own.
    #[must_use]
    pub fn for_audit(mut self) -> Self {
        self.index.push_str("-audit");
        self
    }

    /// Whether the environment says where it is.
    pub fn are_given(reading: &Reading<'_>) -> bool {
        reading.is_given(&URL)
    }

    /// Whether it is a collection of Amazon OpenSearch Serverless, which lacks a part of what others answer.
    pub fn is_serverless(&self) -> bool {
        matches!(self.credentials, SearchCredentials::Aws { service: AwsService::Serverless, .. })
    }

    /// Reads [`ELASTICSEARCH_VARIABLES`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        if reading.is_given(&CA_FILE) && reading.is_given(&CA_PEM) {
            reading.refuse(
                "ELASTICSEARCH_CA_FILE and ELASTICSEARCH_CA_PEM say the same (a function's secret is the latter): give one",
            );
        }
        let url = read_url(reading);
        Self {
            index: read_index(reading),
            credentials: read_credentials(reading, &url),
            url,
            timeout: reading.read(&TIMEOUT),
            refresh_interval: reading.read(&REFRESH),
            ca_file: reading.read(&CA_FILE).map(PathBuf::from),
            ca_pem: reading.read(&CA_PEM),
            compresses_requests: reading.read(&COMPRESSION),
            shards: reading.read(&SHARDS),
            replicas: reading.read(&REPLICAS),
        }
    }
}

/// What is wrong is reported without the value, which may hold a password.
fn read_url(reading: &mut Reading<'_>) -> String {
    let Some(text) = reading.read(&URL) else {
        reading.refuse("ELASTICSEARCH_URL is missing: say where Elasticsearch or OpenSearch answers");
        return String::new();
    };
    match Url::parse(&text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => reading.refuse(
            "ELASTICSEARCH_URL holds a user name or password: move them to ELASTICSEARCH_USERNAME and \
             ELASTICSEARCH_PASSWORD",
        ),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none() => {}
        _ => reading
            .refuse("ELASTICSEARCH_URL must be like https://search.example.org:9200, with http or https and a host"),
    }
    text
}

/// Source of the rules: <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create>.
fn read_index(reading: &mut Reading<'_>) -> String {
    let index = reading.read(&INDEX);
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let begins_well = index.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if !begins_well || index.len() > 200 || !index.bytes().all(fits) {
        reading.refuse(format!(
            "ELASTICSEARCH_INDEX is {index:?}, and must begin with a lower-case letter or digit, go on with those and \
             . _ -, and have 200 characters at most"
        ));
    }
    index
}

/// The region and the service in a name such as `search-x-y.eu-central-1.es.amazonaws.com` or `x.us-east-1.aoss.amazonaws.com`.
fn named_by(url: &str) -> Option<(String, AwsService)> {
    let url = Url::parse(url).ok()?;
    let (before, _) = url.host_str()?.split_once(".amazonaws.com")?;
    let mut parts = before.rsplit('.');
    let service = match parts.next()? {
        "es" => AwsService::Domain,
        "aoss" => AwsService::Serverless,
        _ => return None,
    };
    Some((parts.next()?.to_owned(), service))
}

fn read_signing(reading: &mut Reading<'_>, url: &str, service: Option<AwsService>) -> SearchCredentials {
    if [API_KEY, USERNAME, PASSWORD].iter().any(|of| reading.is_given(of)) {
        reading.refuse(
            "ELASTICSEARCH_AUTH=aws signs requests: leave ELASTICSEARCH_API_KEY, ELASTICSEARCH_USERNAME and \
             ELASTICSEARCH_PASSWORD empty, and ELASTICSEARCH_SECRET_ARN, too",
        );
    }
    if reading.foreign(COMPRESSION.name()).is_some_and(|of| of == "gzip") {
        reading.refuse("ELASTICSEARCH_COMPRESSION is of no use with ELASTICSEARCH_AUTH=aws, which signs what is sent: leave it empty");
    }
    let (of_host, service_of_host) = named_by(url).unzip();
    let service = service.or(service_of_host).unwrap_or(AwsService::Domain);
    let Some(region) = of_host.or_else(|| reading.foreign("AWS_REGION")) else {
        reading.refuse("ELASTICSEARCH_AUTH=aws needs a region: set AWS_REGION");
        return SearchCredentials::None;
    };
    SearchCredentials::Aws { region, service }
}

fn read_credentials(reading: &mut Reading<'_>, url: &str) -> SearchCredentials {
    let signed = reading.read(&AUTH);
    let service = reading.read(&AWS_SERVICE);
    if signed {
        return read_signing(reading, url, service);
    }
    if service.is_some() {
        reading.refuse(
            "ELASTICSEARCH_AWS_SERVICE says what signed requests go to: set ELASTICSEARCH_AUTH=aws, or leave it empty",
        );
    }
    let api_key = reading.read(&API_KEY);
    let username = reading.read(&USERNAME);
    let password = reading.read(&PASSWORD);
    match (api_key, username, password) {
        (None, None, None) => SearchCredentials::None,
        (Some(key), None, None) => {
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                reading.refuse("ELASTICSEARCH_API_KEY holds a character that no API key has");
            }
            SearchCredentials::ApiKey(key)
        }
        (None, Some(username), Some(password)) => {
            if username.contains(':') {
                reading.refuse("ELASTICSEARCH_USERNAME holds a colon, which basic authentication cannot send");
            }
            SearchCredentials::Basic { username, password }
        }
        (None, ..) => {
            reading.refuse("ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD are given together or not at all");
            SearchCredentials::None
        }
        (Some(_), ..) => {
            reading
                .refuse("ELASTICSEARCH_API_KEY is given instead of ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD");
            SearchCredentials::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<ElasticsearchSettings, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut reading = Reading::new(&variable);
        let settings = ElasticsearchSettings::read(&mut reading);
        reading.finish(settings).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_url_alone_is_enough_and_the_rest_has_the_defaults_of_the_table() {
        let settings = read(&[("ELASTICSEARCH_URL", "http://127.0.0.1:9200")]).unwrap();
        assert_eq!(settings, ElasticsearchSettings::at("http://127.0.0.1:9200"));
        assert_eq!((settings.index.as_str(), settings.timeout), ("xapi-statements", Duration::from_secs(30)));
        assert_eq!((settings.shards, settings.replicas, settings.compresses_requests), (1, 1, false));
        assert_eq!(settings.credentials, SearchCredentials::None);
    }

    #[test]
    fn every_wrong_value_is_told_at_once_and_no_secret_with_it() {
        let told = read(&[
            ("ELASTICSEARCH_URL", "https://elastic:hush-1@search.example.org"),
            ("ELASTICSEARCH_INDEX", "Statements"),
            ("ELASTICSEARCH_API_KEY", "hush-2"),
            ("ELASTICSEARCH_PASSWORD", "hush-3"),
            ("ELASTICSEARCH_TIMEOUT", "soon"),
            ("ELASTICSEARCH_SHARDS", "0"),
        ])
        .unwrap_err();
        for name in ["URL holds a user name", "INDEX", "API_KEY is given instead", "TIMEOUT", "SHARDS"] {
            assert!(told.contains(&format!("ELASTICSEARCH_{name}")), "{name} is missing in {told}");
        }
        assert!(!told.contains("hush"), "{told}");
        for url in ["search.example.org:9200", "ftp://search.example.org", "https://", "http://a/?b=c"] {
            let told = read(&[("ELASTICSEARCH_URL", url)]).unwrap_err();
            assert!(told.contains("ELASTICSEARCH_URL must be like"), "{url}: {told}");
        }
        assert!(read(&[]).unwrap_err().contains("ELASTICSEARCH_URL is missing"));
    }

    #[test]
    fn credentials_never_show() {
        let url = ("ELASTICSEARCH_URL", "https://search.example.org");
        let key = read(&[url, ("ELASTICSEARCH_API_KEY", "hush==")]).unwrap();
        let basic = read(&[url, ("ELASTICSEARCH_USERNAME", "ada"), ("ELASTICSEARCH_PASSWORD", "hush")]).unwrap();
        for settings in [key, basic] {
            assert_ne!(settings.credentials, SearchCredentials::None);
            assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
        }
    }

    #[test]
    fn signed_requests_go_to_the_region_and_service_of_the_host_or_to_what_is_given() {
        let read = |variables: &[(&str, &str)]| read(&[variables, &[("ELASTICSEARCH_AUTH", "aws")]].concat());
        let signed = |region: &str, service| SearchCredentials::Aws { region: region.to_owned(), service };
        for (url, region, service) in [
            ("https://search-x-y.eu-central-1.es.amazonaws.com", "eu-central-1", AwsService::Domain),
            ("https://vpc-x.cn-north-1.es.amazonaws.com.cn", "cn-north-1", AwsService::Domain),
            ("https://abc.us-east-1.aoss.amazonaws.com", "us-east-1", AwsService::Serverless),
            ("https://search.example.org", "eu-west-1", AwsService::Domain),
        ] {
            let settings = read(&[("ELASTICSEARCH_URL", url), ("AWS_REGION", "eu-west-1")]).unwrap();
            assert_eq!(settings.credentials, signed(region, service), "{url}");
        }
        let own = ("ELASTICSEARCH_URL", "https://search.example.org");
        let settings = read(&[own, ("AWS_REGION", "eu-west-1"), ("ELASTICSEARCH_AWS_SERVICE", "aoss")]).unwrap();
        assert!(settings.is_serverless());
        assert!(read(&[own]).unwrap_err().contains("set AWS_REGION"));
    }

    #[test]
    fn what_does_not_go_with_signed_requests_is_refused_by_name() {
        let url = ("ELASTICSEARCH_URL", "https://x.us-east-1.es.amazonaws.com");
        let signed = ("ELASTICSEARCH_AUTH", "aws");
        for (name, value) in [
            ("ELASTICSEARCH_API_KEY", "a2V5"),
            ("ELASTICSEARCH_USERNAME", "lyceum"),
            ("ELASTICSEARCH_COMPRESSION", "gzip"),
        ] {
            let wrong = read(&[url, signed, (name, value)]).unwrap_err();
            assert!(wrong.contains(name) && wrong.contains("ELASTICSEARCH_AUTH=aws"), "{wrong}");
        }
        let wrong = read(&[url, ("ELASTICSEARCH_AWS_SERVICE", "es")]).unwrap_err();
        assert!(wrong.contains("ELASTICSEARCH_AUTH=aws"), "{wrong}");
    }
}
