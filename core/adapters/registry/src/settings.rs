//! What the environment says of the registry.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lyceum_aws::call::is_loopback;
use lyceum_core::environment::{Reading, Table, Variable, optional, seconds};

const CA_FILE: Variable<Option<String>> = optional(
    "SCHEMA_REGISTRY_CA_FILE",
    "a PEM file of certificate authorities that are trusted beside those of the machine, for a registry with its own",
);
const CA_PEM: Variable<Option<String>> =
    optional("SCHEMA_REGISTRY_CA_PEM", "those certificates themselves, in place of a file");
const PASSWORD: Variable<Option<String>> = optional(
    "SCHEMA_REGISTRY_PASSWORD",
    "the password of `SCHEMA_REGISTRY_USERNAME`; of Confluent Cloud an API secret",
);
const TIMEOUT: Variable<Duration> =
    seconds("SCHEMA_REGISTRY_TIMEOUT", 5, 1..=60, "how long one question to the registry may take");
const TOKEN: Variable<Option<String>> =
    optional("SCHEMA_REGISTRY_TOKEN", "a bearer token; instead of user name and password");
const URL: Variable<Option<String>> = optional(
    "SCHEMA_REGISTRY_URL",
    "where a registry with Confluent's API answers (`https://registry.example.org`; of Apicurio with `/apis/ccompat/v7`), or the ARN of a registry of AWS Glue (`arn:aws:glue:REGION:ACCOUNT:registry/NAME`); without it what is read in Avro is read by the schemas that are built in",
);
const USERNAME: Variable<Option<String>> =
    optional("SCHEMA_REGISTRY_USERNAME", "a user name for basic authentication; of Confluent Cloud an API key");

/// The variables of the schema registry.
pub const REGISTRY_VARIABLES: Table = &[&CA_FILE, &CA_PEM, &PASSWORD, &TIMEOUT, &TOKEN, &URL, &USERNAME];

/// Who asks. Its secrets never show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A registry without security.
    None,
    /// Basic authentication.
    Basic {
        /// Without a colon.
        username: String,
        /// Whatever it holds.
        password: String,
    },
    /// A token.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { username, .. } => write!(f, "Basic {{ username: {username:?}, password: … }}"),
            Self::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}

/// Which registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One with Confluent's API.
    Confluent {
        /// Scheme, host and port, and a path where it has one; no slash at its end, never a password.
        url: String,
        /// Who asks.
        credentials: Credentials,
    },
    /// One of AWS Glue, asked with the credentials of AWS that the process has.
    Glue {
        /// The registry's.
        arn: String,
        /// The registry's.
        region: String,
        /// The registry's.
        name: String,
        /// `AWS_ENDPOINT_URL_GLUE` or `AWS_ENDPOINT_URL`: another place than AWS's own.
        endpoint: Option<String>,
    },
}

/// How the registry is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// `SCHEMA_REGISTRY_URL`
    pub place: Place,
    /// `SCHEMA_REGISTRY_TIMEOUT`: from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// `SCHEMA_REGISTRY_CA_FILE`
    pub ca_file: Option<PathBuf>,
    /// `SCHEMA_REGISTRY_CA_PEM`
    pub ca_pem: Option<String>,
}

impl RegistrySettings {
    /// Reads [`REGISTRY_VARIABLES`]; `None` where no registry is named.
    pub fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let (timeout, given) = (reading.read(&TIMEOUT), reading.read(&URL));
        let (username, password, token) = (reading.read(&USERNAME), reading.read(&PASSWORD), reading.read(&TOKEN));
        let (ca_file, ca_pem) = (reading.read(&CA_FILE).map(PathBuf::from), reading.read(&CA_PEM));
        let has_credentials = username.is_some() || password.is_some() || token.is_some();
        let has_authority = ca_file.is_some() || ca_pem.is_some();
        let Some(given) = given else {
            if has_credentials || has_authority {
                reading.refuse(
                    "SCHEMA_REGISTRY_URL is missing, and other variables of the registry are set: say where it is",
                );
            }
            return None;
        };
        if ca_file.is_some() && ca_pem.is_some() {
            reading.refuse("SCHEMA_REGISTRY_CA_FILE and SCHEMA_REGISTRY_CA_PEM say the same: give one");
        }
        let place = if given.starts_with("arn:") {
            if has_credentials || has_authority {
                reading.refuse(
                    "SCHEMA_REGISTRY_URL is an ARN, and a registry of AWS Glue is asked with the credentials of AWS: leave \
                     SCHEMA_REGISTRY_USERNAME, SCHEMA_REGISTRY_PASSWORD, SCHEMA_REGISTRY_TOKEN and the certificates empty",
                );
            }
            read_arn(reading, given)
        } else {
            let credentials = read_credentials(reading, username, password, token);
            if let Err(wrong) = judge(&given, credentials != Credentials::None) {
                reading.refuse(format!("SCHEMA_REGISTRY_URL {wrong}"));
            }
            Place::Confluent { url: given.trim_end_matches('/').to_owned(), credentials }
        };
        Some(Self { place, timeout, ca_file, ca_pem })
    }

    /// A registry of that address without security, everything else by the defaults of the table.
    pub fn at(url: &str) -> Self {
        let place = Place::Confluent { url: url.trim_end_matches('/').to_owned(), credentials: Credentials::None };
        let timeout = Reading::new(&|_| None).read(&TIMEOUT);
        Self { place, timeout, ca_file: None, ca_pem: None }
    }

    /// Where it is, for a person: never a secret.
    pub fn shown(&self) -> &str {
        match &self.place {
            Place::Confluent { url, .. } => url,
            Place::Glue { arn, .. } => arn,
        }
    }
}

/// What is wrong is told without a password that may be in it.
fn judge(url: &str, has_credentials: bool) -> Result<(), String> {
    let wrong = || {
        Err("must be like https://registry.example.org or an ARN like arn:aws:glue:REGION:ACCOUNT:registry/NAME"
            .to_owned())
    };
    let Some((scheme, rest)) = url.split_once("://") else { return wrong() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "holds a user name or password: move them to SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"
                .to_owned(),
        );
    }
    if authority.is_empty() || url.contains(['?', '#', ' ']) || !matches!(scheme, "http" | "https") {
        return wrong();
    }
    if has_credentials && scheme == "http" && !is_loopback(url) {
        return Err("begins with http://, and credentials could be read on their way: use https".to_owned());
    }
    Ok(())
}

fn read_arn(reading: &mut Reading<'_>, arn: String) -> Place {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [region, name] = match parts[..] {
        ["arn", _, "glue", region, account, resource] if !region.is_empty() && !account.is_empty() => {
            let name = resource.strip_prefix("registry/").filter(|name| !name.is_empty() && !name.contains('/'));
            [Some(region), name]
        }
        _ => [None, None],
    };
    let (Some(region), Some(name)) = (region, name) else {
        reading.refuse("SCHEMA_REGISTRY_URL is an ARN, and no registry's: it must be like arn:aws:glue:REGION:ACCOUNT:registry/NAME");
        return Place::Glue { arn: String::new(), region: String::new(), name: String::new(), endpoint: None };
    };
    let endpoint = ["AWS_ENDPOINT_URL_GLUE", "AWS_ENDPOINT_URL"].into_iter().find_map(|name| reading.foreign(name));
    Place::Glue { region: region.to_owned(), name: name.to_owned(), endpoint, arn }
}

fn read_credentials(
    reading: &mut Reading<'_>,
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
) -> Credentials {
    match (username, password, token) {
        (None, None, None) => Credentials::None,
        (None, None, Some(token)) => {
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                reading.refuse("SCHEMA_REGISTRY_TOKEN holds a character that no token has");
            }
            Credentials::Bearer(token)
        }
        (Some(username), Some(password), None) => {
            if username.contains(':') {
                reading.refuse("SCHEMA_REGISTRY_USERNAME holds a colon, which basic authentication cannot send");
            }
            Credentials::Basic { username, password }
        }
        (.., Some(_)) => {
            reading.refuse(
                "SCHEMA_REGISTRY_TOKEN is given instead of SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD",
            );
            Credentials::None
        }
        (..) => {
            reading.refuse("SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD are given together or not at all");
            Credentials::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<RegistrySettings>, String> {
        lyceum_testing::environment::read(variables, RegistrySettings::read).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn no_registry_is_none_and_an_address_alone_is_one_without_security() {
        assert_eq!(read(&[]), Ok(None));
        let settings = read(&[("SCHEMA_REGISTRY_URL", "http://registry:8080/apis/ccompat/v7/")]);
        assert_eq!(settings, Ok(Some(RegistrySettings::at("http://registry:8080/apis/ccompat/v7"))));
    }

    #[test]
    fn an_arn_is_a_registry_of_glue_in_its_own_region() {
        let arn = "arn:aws-cn:glue:cn-north-1:123456789012:registry/events";
        let settings =
            read(&[("SCHEMA_REGISTRY_URL", arn), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]).unwrap().unwrap();
        let endpoint = Some("http://127.0.0.1:1".to_owned());
        let [arn, region, name] = [arn, "cn-north-1", "events"].map(str::to_owned);
        assert_eq!(settings.place, Place::Glue { arn, region, name, endpoint });
    }

    #[test]
    fn what_cannot_work_is_refused_by_name_and_no_secret_is_shown() {
        for (variables, told) in [
            (vec![("SCHEMA_REGISTRY_URL", "registry:8081")], "must be like"),
            (vec![("SCHEMA_REGISTRY_URL", "ftp://registry")], "must be like"),
            (vec![("SCHEMA_REGISTRY_URL", "https://u:hush@registry")], "holds a user name"),
            (vec![("SCHEMA_REGISTRY_URL", "arn:aws:glue:eu-central-1:1:schema/events")], "no registry's"),
            (
                vec![
                    ("SCHEMA_REGISTRY_URL", "arn:aws:glue:eu-central-1:1:registry/a"),
                    ("SCHEMA_REGISTRY_TOKEN", "hush"),
                ],
                "with the credentials of AWS",
            ),
            (
                vec![("SCHEMA_REGISTRY_URL", "https://r"), ("SCHEMA_REGISTRY_PASSWORD", "hush")],
                "together or not at all",
            ),
            (
                vec![
                    ("SCHEMA_REGISTRY_URL", "https://r"),
                    ("SCHEMA_REGISTRY_PASSWORD", "hush"),
                    ("SCHEMA_REGISTRY_TOKEN", "hush"),
                ],
                "instead of",
            ),
            (vec![("SCHEMA_REGISTRY_URL", "http://r"), ("SCHEMA_REGISTRY_TOKEN", "hush")], "use https"),
            (vec![("SCHEMA_REGISTRY_TOKEN", "hush")], "SCHEMA_REGISTRY_URL is missing"),
            (
                vec![
                    ("SCHEMA_REGISTRY_URL", "https://r"),
                    ("SCHEMA_REGISTRY_CA_FILE", "a"),
                    ("SCHEMA_REGISTRY_CA_PEM", "b"),
                ],
                "give one",
            ),
        ] {
            let wrong = read(&variables).unwrap_err();
            assert!(wrong.contains(told) && !wrong.contains("hush"), "{variables:?}: {wrong}");
        }
        let settings =
            read(&[("SCHEMA_REGISTRY_URL", "http://127.0.0.1:9"), ("SCHEMA_REGISTRY_TOKEN", "hush")]).unwrap().unwrap();
        assert!(!format!("{settings:?} {}", settings.shown()).contains("hush"));
    }
}
