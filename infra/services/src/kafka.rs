//! One Kafka broker that is its own controller, from its jars.
//!
//! `MskIam.java` beside this file makes one listener a stand-in for the IAM listener of Amazon MSK.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::folder::Folder;
use crate::launch::{Launch, Place, small_jvm};
use crate::{KafkaEndpoint, certificates, java, maven, program};

/// A cluster has an id; which one does not matter.
const CLUSTER: &str = "bG9jYWwta2Fma2EtMDAwMQ";

/// The region, and for each access key of IAM its secret and how many seconds its tokens are taken.
const IAM: &str = r#"region="eu-central-1" AKIDLYCEUM="lyceum-iam-secret 900" AKIDBRIEF="lyceum-iam-secret 8""#;

/// Where a broker listens, and what it tells its clients.
#[derive(Debug)]
pub(crate) struct Listeners<'a> {
    /// The address that is bound.
    pub(crate) bind: &'a str,
    /// The host that is advertised to clients for listeners without TLS, and with it: a certificate names `localhost`.
    pub(crate) host: &'a str,
    /// PLAINTEXT, controller, SASL_PLAINTEXT, SASL_SSL, SSL, IAM: as bound.
    pub(crate) ports: &'a [u16],
    /// The same as clients reach them.
    pub(crate) outside: &'a [u16],
    /// Whether there is a listener for IAM: the class that judges its tokens is then in the class path.
    pub(crate) has_iam: bool,
}

/// The broker's configuration. `certificates` and `data` are paths as the broker sees them.
pub(crate) fn properties(listeners: &Listeners<'_>, certificates: &Path, data: &Path) -> String {
    let Listeners { bind, host, ports, outside, has_iam } = listeners;
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let plain = r#"org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret";"#;
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://{bind}:{p0},CONTROLLER://localhost:{controller},SASL_PLAINTEXT://{bind}:{p2},SASL_SSL://{bind}:{p3},SSL://{bind}:{p4}{iam}
advertised.listeners=PLAINTEXT://{host}:{o0},SASL_PLAINTEXT://{host}:{o2},SASL_SSL://localhost:{o3},SSL://localhost:{o4}{told_iam}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,IAM:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.pem
listener.name.ssl.ssl.client.auth=required
log.dirs={data}
message.max.bytes=10486784
replica.fetch.max.bytes=10486784
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
",
        p0 = ports[0],
        controller = ports[1],
        p2 = ports[2],
        p3 = ports[3],
        p4 = ports[4],
        o0 = outside[0],
        o2 = outside[2],
        o3 = outside[3],
        o4 = outside[4],
        iam = if *has_iam { format!(",IAM://{bind}:{}", ports[5]) } else { String::new() },
        told_iam = if *has_iam { format!(",IAM://localhost:{}", outside[5]) } else { String::new() },
        certificates = certificates.display(),
        data = data.display(),
    );
    for listener in ["sasl_plaintext", "sasl_ssl"] {
        for (mechanism, module) in [("scram-sha-512", scram), ("scram-sha-256", scram), ("plain", plain)] {
            text += &format!("listener.name.{listener}.{mechanism}.sasl.jaas.config={module}\n");
        }
    }
    if *has_iam {
        let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
        text += &format!(
            "listener.name.iam.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.iam.oauthbearer.sasl.jaas.config={module} {IAM};
listener.name.iam.oauthbearer.sasl.login.callback.handler.class=lyceum.MskIam
listener.name.iam.oauthbearer.sasl.server.callback.handler.class=lyceum.MskIam
"
        );
    }
    text
}

/// Where the broker answers; the certificates are paths on this machine.
pub(crate) fn endpoint(host: &str, outside: &[u16], has_iam: bool, certificates: &Path) -> KafkaEndpoint {
    KafkaEndpoint {
        plaintext: format!("{host}:{}", outside[0]),
        sasl_plaintext: Some(format!("{host}:{}", outside[2])),
        sasl_ssl: Some(format!("localhost:{}", outside[3])),
        mutual_tls: Some(format!("localhost:{}", outside[4])),
        iam: has_iam.then(|| format!("localhost:{}", outside[5])),
        ca_file: Some(certificates.join("ca.pem")),
        client_certificate: Some((certificates.join("client.pem"), certificates.join("client.key"))),
    }
}

/// Arguments of the tool that formats the data folder: the users of SCRAM are kept with the data.
pub(crate) fn format_arguments(properties: &str) -> Vec<String> {
    let user = |mechanism: &str| format!("{mechanism}=[name=alice,password=alice-secret]");
    let arguments =
        ["kafka.tools.StorageTool", "format", "-c", properties, "-t", CLUSTER, "--standalone", "--add-scram"];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.extend([user("SCRAM-SHA-512"), "--add-scram".to_owned(), user("SCRAM-SHA-256")]);
    arguments
}

/// Gives a user another password for SCRAM-SHA-512, by Kafka's own tool, as an administrator does: a broker changes one
/// mechanism of a user at once. Connections that are there stay.
///
/// # Errors
/// Where the tool cannot run, or the broker does not do it.
pub fn change_password(bootstrap_servers: &str, user: &str, password: &str) -> Result<()> {
    let cache = Folder::standard()?.cache();
    let java = java::home(17, &cache)?.join("bin/java");
    let mut tool = Command::new(java);
    tool.args(small_jvm(128)).arg("-cp").arg(maven::kafka(&cache)?.join("*")).args([
        "kafka.admin.ConfigCommand",
        "--bootstrap-server",
        bootstrap_servers,
        "--alter",
        "--entity-type",
        "users",
        "--entity-name",
        user,
        "--add-config",
        &format!("SCRAM-SHA-512=[password={password}]"),
    ]);
    program::run(&mut tool).map(drop).with_context(|| format!("the password of {user} cannot be changed"))
}

pub(crate) fn prepare(place: &Place<'_>) -> Result<(Launch, KafkaEndpoint)> {
    let jars = maven::kafka(place.cache)?;
    let iam = maven::msk_iam(place.cache)?;
    let home = java::home(17, place.cache)?;
    let (data, tls) = (place.folder.join("data"), place.folder.join("certificates"));
    certificates::write(&tls)?;
    let (host, ports) = ("127.0.0.1", place.ports);
    let listeners = Listeners { bind: host, host, ports, outside: ports, has_iam: true };
    let file = place.folder.join("server.properties");
    fs::write(&file, properties(&listeners, &tls, &data))?;

    let java = home.join("bin/java");
    let classes = PathBuf::from(format!("{}/*:{}", jars.display(), iam.display()));
    fs::create_dir_all(&data)?;
    let mut format = Command::new(&java);
    format.args(small_jvm(256)).arg("-cp").arg(&classes).args(format_arguments(&file.display().to_string()));
    program::run(&mut format).context("Kafka's data folder cannot be formatted")?;
    let mut arguments = small_jvm(256);
    // Kafka's jars carry no log configuration, and without one only errors are said.
    arguments.extend(["-Dlog4j2.level=INFO".into(), "-cp".into(), classes.into(), "kafka.Kafka".into(), file.into()]);
    let launch = Launch { program: java, arguments, environment: Vec::new(), refuses_root: false };
    Ok((launch, endpoint(host, ports, true, &tls)))
}
