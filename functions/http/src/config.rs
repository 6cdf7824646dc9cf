//! What the environment says to a function behind HTTP.

use lyceum_core::environment::{LogConfig, Reading, Table, Variable, choice, optional, text};
use lyceum_server::access::{Access, Issuer};
use lyceum_server::config::Config;
use lyceum_server::http::Part;

/// The settings of such a function.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// What any process has that serves people.
    pub server: Config,
    /// `HTTP_PART`
    pub part: Part,
    /// `API_TOKENS`, `OIDC_…`, `HTTP_ALLOWED_ORIGINS`: who may.
    pub access: Access,
    /// `REPLAY_MACHINE_ARN`: who goes on with replays.
    pub replay_machine: Option<String>,
}

const HTTP_PART: Variable<Part> = choice(
    "HTTP_PART",
    &[("whole", Part::Whole), ("read", Part::Read), ("publish", Part::Publish), ("operate", Part::Operate)],
    "of a function behind HTTP: which routes it serves, by the role that they need",
);
const HTTP_ALLOWED_ORIGINS: Variable<Option<String>> = optional(
    "HTTP_ALLOWED_ORIGINS",
    "of a function behind HTTP: origins whose pages may ask, as `https://academy.example`, separated by spaces or commas; without it its own alone",
);
const OIDC_ISSUER: Variable<Option<String>> = optional(
    "OIDC_ISSUER",
    "of a function behind HTTP: the issuer whose tokens its JWT authorizer verifies, which `iss` must be",
);
const OIDC_AUDIENCE: Variable<Option<String>> = optional(
    "OIDC_AUDIENCE",
    "of a function behind HTTP: for whom such a token is (`aud`, else `client_id`), one or several, separated by spaces or commas",
);
const OIDC_TENANT_CLAIM: Variable<String> =
    text("OIDC_TENANT_CLAIM", "tenant", "of a function behind HTTP: the claim that names the tenant; `*` is every one");
const OIDC_ROLES_CLAIM: Variable<String> = text(
    "OIDC_ROLES_CLAIM",
    "roles",
    "of a function behind HTTP: the claim that lists roles: `read`, `publish`, `operate`, or each behind `lyceum-`",
);

const REPLAY_MACHINE_ARN: Variable<Option<String>> = optional(
    "REPLAY_MACHINE_ARN",
    "of a function behind HTTP: the state machine of Step Functions that goes on with replays; without it none is begun",
);

/// What such a function reads beside what any process does that serves people.
pub const HTTP_VARIABLES: Table = &[
    &HTTP_PART,
    &HTTP_ALLOWED_ORIGINS,
    &OIDC_ISSUER,
    &OIDC_AUDIENCE,
    &OIDC_TENANT_CLAIM,
    &OIDC_ROLES_CLAIM,
    &REPLAY_MACHINE_ARN,
];

/// A list, parts separated by spaces or commas.
fn list(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split([' ', ',']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Whether a text is an origin as a browser writes one: no path, not even `/`.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@']))
}

/// What any process has that serves people, of a function, whose stores are services.
pub fn of_services(reading: &mut Reading<'_>) -> Config {
    // Of several functions each would tell: who watches a deployment on AWS is an alarm of CloudWatch.
    let server = Config { alerts: None, ..Config::read(reading) };
    for (is_there, name, what) in [
        (server.stores.kafka.is_some(), "KAFKA_BOOTSTRAP_SERVERS", "the brokers"),
        (server.stores.dynamodb.is_some(), "DYNAMODB_TABLE", "the ledger"),
        (server.stores.elasticsearch.is_some(), "ELASTICSEARCH_URL", "the statement store"),
    ] {
        if !is_there {
            reading.refuse(format!("{name} is missing: name {what}"));
        }
    }
    server
}

impl HttpConfig {
    /// Reads the settings. Every wrong value is reported together by [`Reading::finish`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let server = of_services(reading);
        let part = reading.read(&HTTP_PART);
        let issuer = reading.read(&OIDC_ISSUER);
        let audiences = list(reading.read(&OIDC_AUDIENCE));
        let (tenant_claim, roles_claim) = (reading.read(&OIDC_TENANT_CLAIM), reading.read(&OIDC_ROLES_CLAIM));
        if issuer.is_some() && audiences.is_empty() {
            reading.refuse("OIDC_ISSUER is set and OIDC_AUDIENCE is not: say for whom its tokens are");
        }
        if issuer.is_none() && server.tokens.is_empty() {
            reading.refuse(
                "neither API_TOKENS nor OIDC_ISSUER is set, and whoever finds the address would see every tenant: name a secret with API_TOKENS_SECRET_ARN, or an issuer",
            );
        }
        let origins = list(reading.read(&HTTP_ALLOWED_ORIGINS));
        for wrong in origins.iter().filter(|origin| !is_origin(origin)) {
            reading.refuse(format!(
                "HTTP_ALLOWED_ORIGINS has {wrong:?}, and an origin is written https://host, with a port where it has one, and no path"
            ));
        }
        let access = Access::new(server.tokens.clone()).with_origins(origins);
        let access = match issuer {
            Some(issuer) => access.with_issuer(Issuer { issuer, audiences, tenant_claim, roles_claim }),
            None => access,
        };
        Self { server, part, access, replay_machine: reading.read(&REPLAY_MACHINE_ARN) }
    }

    /// How the function logs.
    pub fn log(&self) -> &LogConfig {
        &self.server.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: [(&str, &str); 3] =
        [("KAFKA_BOOTSTRAP_SERVERS", "a:9092"), ("DYNAMODB_TABLE", "table"), ("ELASTICSEARCH_URL", "http://b:9200")];
    const TOKEN: (&str, &str) = ("API_TOKENS", "acme:read:a-very-long-secret");

    fn read(more: &[(&str, &str)]) -> Result<HttpConfig, String> {
        let variables: Vec<_> = PLACES.iter().chain(more).copied().collect();
        lyceum_testing::environment::read(&variables, HttpConfig::read).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_function_that_anybody_could_ask_does_not_start() {
        let told = read(&[]).unwrap_err();
        assert!(told.contains("neither API_TOKENS nor OIDC_ISSUER"), "{told}");
        assert!(!read(&[TOKEN]).unwrap().access.is_open());
        let told = read(&[("OIDC_ISSUER", "https://id.example")]).unwrap_err();
        assert!(told.contains("OIDC_AUDIENCE"), "{told}");
        let by_issuer = read(&[("OIDC_ISSUER", "https://id.example"), ("OIDC_AUDIENCE", "lyceum")]).unwrap();
        assert!(!by_issuer.access.is_open() && by_issuer.part == Part::Whole);
    }

    #[test]
    fn what_is_missing_and_what_is_wrong_is_told_together() {
        let variables = [("HTTP_PART", "some"), ("HTTP_ALLOWED_ORIGINS", "https://a.example/ *")];
        let told = lyceum_testing::environment::read(&variables, HttpConfig::read).unwrap_err().to_string();
        for hint in [
            "HTTP_PART",
            "\"https://a.example/\"",
            "\"*\"",
            "KAFKA_BOOTSTRAP_SERVERS",
            "DYNAMODB_TABLE",
            "ELASTICSEARCH_URL",
        ] {
            assert!(told.contains(hint), "{hint}: {told}");
        }
    }

    #[test]
    fn parts_are_called_as_they_call_themselves() {
        for part in Part::ALL {
            assert_eq!(read(&[TOKEN, ("HTTP_PART", part.name())]).unwrap().part, part);
        }
    }
}
