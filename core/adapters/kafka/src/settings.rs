//! What the environment says about Kafka. Pure: no client, no file, no network.

use std::fmt;
use std::time::Duration;

use lyceum_core::environment::{Reading, Table, Variable, choice, milliseconds, optional, optional_whole, text, whole};

const MSK_IAM: Variable<bool> = choice(
    "AWS_MSK_IAM",
    &[("false", false), ("true", true)],
    "whether credentials of AWS IAM are taken (Amazon MSK), over SASL_SSL; the region is `AWS_REGION` or the one in the brokers' names",
);
const BOOTSTRAP_SERVERS: Variable<Option<String>> =
    optional("KAFKA_BOOTSTRAP_SERVERS", "brokers as `host:port`, separated by commas").alias("KAFKA_BROKERS");
const CLIENT_ID: Variable<String> =
    text("KAFKA_CLIENT_ID", "lyceum", "what the brokers call this client in their logs, quotas and metrics");
const MAX_RECORD_BYTES: Variable<usize> = whole(
    "KAFKA_MAX_RECORD_BYTES",
    2_097_152,
    100_000..=(64 << 20) - 1,
    "the largest record that is sent, and `max.message.bytes` of topics that are created; room for a dead letter's headers beside the largest record of a sender",
);
const REPLICATION_FACTOR: Variable<Option<u16>> = optional_whole(
    "KAFKA_REPLICATION_FACTOR",
    1..=100,
    "copies of each partition of a topic that is created; empty: the brokers' default",
);
const SASL_MECHANISM: Variable<&str> = choice(
    "KAFKA_SASL_MECHANISM",
    &[("SCRAM-SHA-512", "SCRAM-SHA-512"), ("SCRAM-SHA-256", "SCRAM-SHA-256"), ("PLAIN", "PLAIN")],
    "how user and password are proven, where SASL is used",
);
const SASL_PASSWORD: Variable<Option<String>> =
    optional("KAFKA_SASL_PASSWORD", "the password; or name a secret with `KAFKA_SASL_SECRET_ARN`");
const SASL_SECRET_ARN: Variable<Option<String>> = optional(
    "KAFKA_SASL_SECRET_ARN",
    "a secret of AWS Secrets Manager with `{\"username\": …, \"password\": …}`, as Amazon MSK wants it",
);
const SASL_USERNAME: Variable<Option<String>> =
    optional("KAFKA_SASL_USERNAME", "the user, beside `KAFKA_SASL_PASSWORD`");
const SECURITY_PROTOCOL: Variable<Option<String>> = optional(
    "KAFKA_SECURITY_PROTOCOL",
    "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`; empty: `SASL_SSL` with a user, a secret or IAM, else `PLAINTEXT`",
);
const SSL_CA_LOCATION: Variable<Option<String>> =
    optional("KAFKA_SSL_CA_LOCATION", "a file of certificates (PEM) that brokers are trusted by; empty: the system's");
const SSL_CA_PEM: Variable<Option<String>> =
    optional("KAFKA_SSL_CA_PEM", "those certificates themselves, in place of a file");
const SSL_CERTIFICATE_LOCATION: Variable<Option<String>> = optional(
    "KAFKA_SSL_CERTIFICATE_LOCATION",
    "this client's certificate (PEM), where brokers ask for one (mutual TLS)",
);
const SSL_CERTIFICATE_PEM: Variable<Option<String>> =
    optional("KAFKA_SSL_CERTIFICATE_PEM", "that certificate itself, in place of a file");
const SSL_KEY_LOCATION: Variable<Option<String>> =
    optional("KAFKA_SSL_KEY_LOCATION", "the key of that certificate (PEM)");
const SSL_KEY_PASSWORD: Variable<Option<String>> =
    optional("KAFKA_SSL_KEY_PASSWORD", "the password of that key, where it has one");
const SSL_KEY_PEM: Variable<Option<String>> = optional("KAFKA_SSL_KEY_PEM", "that key itself, in place of a file");
const TIMEOUT: Variable<Duration> = milliseconds(
    "KAFKA_TIMEOUT_MS",
    30_000,
    1_000..=300_000,
    "how long a call, and a record on its way, may take; a function waits no longer than its own time lasts, and what it gave up may still be sent",
);

/// Where Kafka is and how a client proves who it is.
pub const KAFKA_VARIABLES: Table = &[
    &MSK_IAM,
    &BOOTSTRAP_SERVERS,
    &CLIENT_ID,
    &MAX_RECORD_BYTES,
    &REPLICATION_FACTOR,
    &SASL_MECHANISM,
    &SASL_PASSWORD,
    &SASL_SECRET_ARN,
    &SASL_USERNAME,
    &SECURITY_PROTOCOL,
    &SSL_CA_LOCATION,
    &SSL_CA_PEM,
    &SSL_CERTIFICATE_LOCATION,
    &SSL_CERTIFICATE_PEM,
    &SSL_KEY_LOCATION,
    &SSL_KEY_PASSWORD,
    &SSL_KEY_PEM,
    &TIMEOUT,
];

/// How long AWS signs a token for.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever sends it to the broker.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How Kafka is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// `client.id`.
    pub client_id: String,
    /// How the connection is kept private.
    pub encryption: Encryption,
    /// How the client proves who it is, beside a certificate.
    pub sasl: Option<Sasl>,
    /// For topics that are created; `None` is the brokers' default.
    pub replication_factor: Option<u16>,
    /// The largest record that is sent, in bytes with its frame.
    pub max_record_bytes: usize,
    /// The limit of a call, and of a record on its way.
    pub timeout: Duration,
}

/// Whether bytes on the wire can be read by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// They can.
    None,
    /// TLS.
    Tls {
        /// Trusted authorities; `None` is the system's.
        authorities: Option<Pem>,
        /// For brokers that ask for a certificate.
        certificate: Option<ClientCertificate>,
    },
}

/// What is written as PEM. A text never shows in `Debug`: it may be a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// In a file.
    File(String),
    /// The text itself.
    Text(Secret),
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// Where the key is encrypted.
    pub key_password: Option<Secret>,
}

/// Credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sasl {
    /// A user and a password.
    Password {
        /// `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`.
        mechanism: String,
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// User and password that a secret holds, which was not read before the settings were.
    InSecret {
        /// `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`.
        mechanism: String,
        /// The secret of AWS Secrets Manager.
        arn: String,
    },
    /// A token that AWS IAM's credentials sign.
    AwsIam {
        /// The cluster's region.
        region: String,
        /// How long a token is used at most: [`TOKEN_LIFETIME`], or less where the cluster takes them for less.
        token_lifetime: Duration,
    },
}

impl KafkaSettings {
    /// Settings without encryption and credentials.
    pub fn plaintext(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            client_id: "lyceum".to_owned(),
            encryption: Encryption::None,
            sasl: None,
            replication_factor: None,
            max_record_bytes: 2 * 1024 * 1024,
            timeout: Duration::from_secs(30),
        }
    }

    /// Reads [`KAFKA_VARIABLES`]; `None` where no broker is named.
    pub fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let servers = reading.read(&BOOTSTRAP_SERVERS);
        let is_iam = reading.read(&MSK_IAM);
        let protocol = protocol(reading, is_iam);
        let sasl = sasl(reading, is_iam, &protocol, servers.as_deref().unwrap_or_default());
        let encryption = encryption(reading, &protocol);
        let replication_factor = reading.read(&REPLICATION_FACTOR);
        let max_record_bytes = reading.read(&MAX_RECORD_BYTES);
        let timeout = reading.read(&TIMEOUT);
        let client_id = reading.read(&CLIENT_ID);
        let Some(bootstrap_servers) = servers else {
            if sasl.is_some() || encryption != Encryption::None {
                reading.refuse("KAFKA_BOOTSTRAP_SERVERS is empty, but credentials or encryption for Kafka are given: name the brokers as host:port");
            }
            return None;
        };
        for server in bootstrap_servers.split(',').map(str::trim) {
            let port =
                server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                reading.refuse(format!(
                    "KAFKA_BOOTSTRAP_SERVERS has {server:?}, and must have host:port, separated by commas"
                ));
            }
        }
        Some(Self { bootstrap_servers, client_id, encryption, sasl, replication_factor, max_record_bytes, timeout })
    }

    /// `security.protocol`.
    pub fn protocol(&self) -> &'static str {
        match (&self.encryption, &self.sasl) {
            (Encryption::None, None) => "PLAINTEXT",
            (Encryption::None, Some(_)) => "SASL_PLAINTEXT",
            (Encryption::Tls { .. }, None) => "SSL",
            (Encryption::Tls { .. }, Some(_)) => "SASL_SSL",
        }
    }

    /// The mechanism of SASL, where it is used.
    pub fn mechanism(&self) -> Option<&str> {
        self.sasl.as_ref().map(|sasl| match sasl {
            Sasl::Password { mechanism, .. } | Sasl::InSecret { mechanism, .. } => mechanism.as_str(),
            Sasl::AwsIam { .. } => "OAUTHBEARER",
        })
    }

    /// Whether the client shows a certificate.
    pub fn has_certificate(&self) -> bool {
        matches!(self.encryption, Encryption::Tls { certificate: Some(_), .. })
    }
}

fn protocol(reading: &mut Reading<'_>, is_iam: bool) -> String {
    let known = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    match reading.read(&SECURITY_PROTOCOL) {
        Some(given) => {
            if !known.contains(&given.as_str()) {
                let known = known.join(", ");
                reading.refuse(format!("KAFKA_SECURITY_PROTOCOL is {given:?}, and must be one of {known}"));
            }
            if is_iam && given != "SASL_SSL" {
                reading.refuse(format!(
                    "AWS_MSK_IAM works over SASL_SSL, and KAFKA_SECURITY_PROTOCOL is {given:?}: leave it empty"
                ));
            }
            given
        }
        None => {
            let credentials = [SASL_USERNAME, SASL_PASSWORD, SASL_SECRET_ARN];
            let has_credentials = is_iam || credentials.iter().any(|of| reading.is_given(of));
            if has_credentials { "SASL_SSL" } else { "PLAINTEXT" }.to_owned()
        }
    }
}

fn sasl(reading: &mut Reading<'_>, is_iam: bool, protocol: &str, servers: &str) -> Option<Sasl> {
    let [username, password, arn] = [SASL_USERNAME, SASL_PASSWORD, SASL_SECRET_ARN].map(|of| reading.read(&of));
    if !protocol.starts_with("SASL") {
        if username.is_some() || password.is_some() || arn.is_some() {
            reading.refuse(format!(
                "KAFKA_SASL_… gives credentials, and KAFKA_SECURITY_PROTOCOL is {protocol:?}, which has no use for them: say SASL_SSL"
            ));
        }
        return None;
    }
    if is_iam {
        if username.is_some() || password.is_some() || arn.is_some() || reading.is_given(&SASL_MECHANISM) {
            reading.refuse("AWS_MSK_IAM signs with credentials of AWS: leave every KAFKA_SASL_… empty");
        }
        let region = reading.foreign("AWS_REGION").or_else(|| region_of(servers));
        if region.is_none() {
            reading.refuse("AWS_MSK_IAM needs a region: set AWS_REGION");
        }
        return region.map(|region| Sasl::AwsIam { region, token_lifetime: TOKEN_LIFETIME });
    }
    let mechanism = reading.read(&SASL_MECHANISM).to_owned();
    match (username, password, arn) {
        (None, None, Some(arn)) => Some(Sasl::InSecret { mechanism, arn }),
        (Some(username), Some(password), None) => {
            Some(Sasl::Password { mechanism, username, password: Secret(password) })
        }
        (_, _, Some(_)) => {
            reading.refuse("KAFKA_SASL_SECRET_ARN holds user and password: leave KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD empty");
            None
        }
        _ => {
            reading.refuse(format!(
                "KAFKA_SECURITY_PROTOCOL is {protocol:?}, which needs KAFKA_SASL_USERNAME with KAFKA_SASL_PASSWORD, or KAFKA_SASL_SECRET_ARN, or AWS_MSK_IAM"
            ));
            None
        }
    }
}

/// The region in a name such as `b-1.events.x1y2z3.c4.kafka.eu-central-1.amazonaws.com:9098`.
fn region_of(servers: &str) -> Option<String> {
    let host = servers.split(',').next()?.rsplit_once(':')?.0;
    let (before, _) = host.split_once(".amazonaws.com")?;
    before.rsplit_once('.').map(|(_, region)| region.to_owned())
}

fn encryption(reading: &mut Reading<'_>, protocol: &str) -> Encryption {
    let authorities = pem(reading, &SSL_CA_LOCATION, &SSL_CA_PEM);
    let certificate = pem(reading, &SSL_CERTIFICATE_LOCATION, &SSL_CERTIFICATE_PEM);
    let key = pem(reading, &SSL_KEY_LOCATION, &SSL_KEY_PEM);
    let key_password = reading.read(&SSL_KEY_PASSWORD);
    if !protocol.ends_with("SSL") {
        if authorities.is_some() || certificate.is_some() || key.is_some() || key_password.is_some() {
            reading.refuse(format!(
                "KAFKA_SSL_… is given, and KAFKA_SECURITY_PROTOCOL is {protocol:?}, which is not encrypted: say SSL or SASL_SSL"
            ));
        }
        return Encryption::None;
    }
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(ClientCertificate { certificate, key, key_password: key_password.map(Secret) })
        }
        (None, None) if key_password.is_none() => None,
        _ => {
            reading
                .refuse("KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION belong together, and so do KAFKA_SSL_CERTIFICATE_PEM and KAFKA_SSL_KEY_PEM: give both or none");
            None
        }
    };
    Encryption::Tls { authorities, certificate }
}

fn pem(reading: &mut Reading<'_>, location: &Variable<Option<String>>, text: &Variable<Option<String>>) -> Option<Pem> {
    match (reading.read(location), reading.read(text)) {
        (Some(_), Some(_)) => {
            let (location, text) = (location.name(), text.name());
            reading.refuse(format!("{location} and {text} say the same (a function's secret is the latter): give one"));
            None
        }
        (Some(file), None) => Some(Pem::File(file)),
        (None, text) => text.map(|text| Pem::Text(Secret(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lyceum_core::environment::WrongEnvironment;

    fn read(variables: &[(&str, &str)]) -> Result<Option<KafkaSettings>, WrongEnvironment> {
        lyceum_testing::environment::read(variables, KafkaSettings::read)
    }

    const SERVERS: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "one:9092,two:9092");

    #[test]
    fn without_brokers_there_is_no_kafka() {
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn brokers_alone_are_reached_in_plain_text_with_the_defaults_of_the_table() {
        let settings = read(&[SERVERS]).unwrap().unwrap();
        assert_eq!(settings, KafkaSettings::plaintext("one:9092,two:9092"));
        assert_eq!(read(&[("KAFKA_BROKERS", "one:9092,two:9092")]).unwrap().unwrap(), settings);
        assert_eq!(settings.protocol(), "PLAINTEXT");
    }

    #[test]
    fn a_user_means_encryption_and_scram_unless_said_otherwise() {
        let user = [SERVERS, ("KAFKA_SASL_USERNAME", "alice"), ("KAFKA_SASL_PASSWORD", "alice-secret")];
        let settings = read(&user).unwrap().unwrap();
        assert_eq!(settings.protocol(), "SASL_SSL");
        assert!(matches!(&settings.sasl, Some(Sasl::Password { mechanism, .. }) if mechanism == "SCRAM-SHA-512"));
        let plain = [("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"), ("KAFKA_SASL_MECHANISM", "PLAIN")];
        assert_eq!(read(&[&user[..], &plain].concat()).unwrap().unwrap().protocol(), "SASL_PLAINTEXT");
    }

    #[test]
    fn a_secret_is_named_by_its_arn_until_it_is_read_and_a_password_is_never_printed() {
        let settings = read(&[SERVERS, ("KAFKA_SASL_SECRET_ARN", "arn:aws:secretsmanager:x")]).unwrap().unwrap();
        assert!(matches!(&settings.sasl, Some(Sasl::InSecret { arn, .. }) if arn == "arn:aws:secretsmanager:x"));
        let user = [SERVERS, ("KAFKA_SASL_USERNAME", "alice"), ("KAFKA_SASL_PASSWORD", "alice-secret")];
        let given = read(&user).unwrap().unwrap();
        assert!(matches!(&given.sasl, Some(Sasl::Password { password, .. }) if password.reveal() == "alice-secret"));
        assert!(!format!("{given:?}").contains("alice-secret"));
    }

    #[test]
    fn iam_takes_its_region_from_the_environment_or_from_the_brokers() {
        let msk = ("KAFKA_BOOTSTRAP_SERVERS", "b-1.events.x1.c4.kafka.eu-central-1.amazonaws.com:9098");
        let region = |settings: KafkaSettings| match settings.sasl {
            Some(Sasl::AwsIam { region, .. }) => region,
            other => panic!("{other:?}"),
        };
        let iam = ("AWS_MSK_IAM", "true");
        assert_eq!(region(read(&[msk, iam]).unwrap().unwrap()), "eu-central-1");
        assert_eq!(region(read(&[msk, iam, ("AWS_REGION", "us-east-1")]).unwrap().unwrap()), "us-east-1");
        let wrong = read(&[SERVERS, iam]).unwrap_err().to_string();
        assert!(wrong.contains("AWS_REGION"), "{wrong}");
    }

    #[test]
    fn what_makes_no_sense_together_is_reported_together() {
        let wrong = read(&[
            ("KAFKA_BOOTSTRAP_SERVERS", "one,two:99999"),
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
            ("KAFKA_SASL_MECHANISM", "GSSAPI"),
            ("KAFKA_SASL_USERNAME", "alice"),
            ("KAFKA_SSL_KEY_LOCATION", "/key.pem"),
            ("KAFKA_REPLICATION_FACTOR", "0"),
            ("KAFKA_TIMEOUT_MS", "soon"),
        ])
        .unwrap_err();
        let text = wrong.to_string();
        for part in [
            "\"one\"",
            "two:99999",
            "KAFKA_SASL_MECHANISM",
            "KAFKA_SASL_PASSWORD",
            "KAFKA_SSL_CERTIFICATE_LOCATION",
            "KAFKA_REPLICATION_FACTOR",
            "KAFKA_TIMEOUT_MS",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(wrong.0.len(), 7, "{text}");
        for unused in [
            [("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_SASL_PASSWORD", "alice-secret")],
            [("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"), ("KAFKA_SSL_CA_LOCATION", "/ca.pem")],
            [("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"), ("KAFKA_SSL_CA_PEM", "a certificate")],
            [("AWS_MSK_IAM", "true"), ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")],
        ] {
            let text = read(&[&[SERVERS, ("AWS_REGION", "r")][..], &unused].concat()).unwrap_err().to_string();
            assert!(text.contains("KAFKA_SECURITY_PROTOCOL") && !text.contains("alice-secret"), "{text}");
        }
        assert!(read(&[("KAFKA_SSL_CA_LOCATION", "/ca.pem"), ("KAFKA_SECURITY_PROTOCOL", "SSL")]).is_err());
        let half =
            [SERVERS, ("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_SSL_KEY_PEM", "a key without its certificate")];
        assert!(read(&half).unwrap_err().to_string().contains("KAFKA_SSL_CERTIFICATE_PEM and KAFKA_SSL_KEY_PEM"));
    }

    #[test]
    fn certificates_come_as_files_or_as_text_and_a_text_is_never_printed() {
        let tls = ("KAFKA_SECURITY_PROTOCOL", "SSL");
        let texts = [
            SERVERS,
            tls,
            ("KAFKA_SSL_CA_PEM", "hush-authority"),
            ("KAFKA_SSL_CERTIFICATE_PEM", "hush-certificate"),
            ("KAFKA_SSL_KEY_PEM", "hush-key"),
            ("KAFKA_SSL_KEY_PASSWORD", "hush-word"),
        ];
        let settings = read(&texts).unwrap().unwrap();
        let Encryption::Tls { authorities: Some(Pem::Text(authorities)), certificate: Some(certificate) } =
            &settings.encryption
        else {
            panic!("{settings:?}")
        };
        assert_eq!(authorities.reveal(), "hush-authority");
        assert_eq!(certificate.key, Pem::Text(Secret::new("hush-key")));
        assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
        let both = read(&[SERVERS, tls, ("KAFKA_SSL_CA_LOCATION", "/ca.pem"), ("KAFKA_SSL_CA_PEM", "hush-authority")]);
        let wrong = both.unwrap_err().to_string();
        assert!(wrong.contains("KAFKA_SSL_CA_PEM say the same") && !wrong.contains("hush"), "{wrong}");
    }
}
