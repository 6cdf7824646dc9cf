//! `lyceum schemas`: the schemas that are built in, and the registry that senders share.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use lyceum_around::around::Source;
use lyceum_catalog::SCHEMAS;
use lyceum_core::formats::avro::Schema;
use lyceum_registry::{Look, Registered, Registry, RegistrySettings};
use serde_json::json;

use super::table::{Side, Table, escape};
use super::{Format, say};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the schemas that are built in, and what the registry of SCHEMA_REGISTRY_URL says of each
    List {
        /// How the answer is printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Registers them for the values of their topics, the oldest first; what is there stays as it is
    ///
    /// With Confluent's API as `TOPIC-value`, in AWS Glue as the schema `TOPIC`. Ends with 1 where the registry finds one incompatible
    /// with what it has, and registers nothing behind that of the same topic.
    Register {
        /// Asks the registry whether they are compatible, and changes nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// A schema of this release.
struct BuiltIn {
    family: &'static str,
    topic: &'static str,
    /// Counted from 1, the oldest.
    version: usize,
    text: &'static str,
    fingerprint: u64,
}

/// Every schema for the values of every topic, in the order in which they came.
fn built_in() -> Result<Vec<BuiltIn>> {
    let mut all = Vec::new();
    for (family, schemas) in SCHEMAS {
        for topic in family.topics {
            for (at, text) in schemas.iter().enumerate() {
                let schema = Schema::parse(text).map_err(anyhow::Error::msg);
                let fingerprint =
                    schema.with_context(|| format!("schema {} of {}", at + 1, family.name))?.fingerprint();
                all.push(BuiltIn { family: family.name, topic: topic.name, version: at + 1, text, fingerprint });
            }
        }
    }
    Ok(all)
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let config = config.with_secrets().await?;
    let (settings, secrets) = (&config.server.stores.registry, config.server.stores.secrets.as_ref());
    let registry = match settings {
        Some(settings) => Some(lyceum_connect::registry(settings, secrets).adapter().await?),
        None => None,
    };
    match (options.what, settings, registry) {
        (What::List { format }, settings, registry) => list(format, settings.as_ref(), registry.as_deref()).await,
        (What::Register { dry_run }, Some(settings), Some(registry)) => register(settings, &registry, dry_run).await,
        (What::Register { .. }, ..) => {
            bail!("no registry is named: set SCHEMA_REGISTRY_URL to its address, or to the ARN of one of AWS Glue")
        }
    }
}

async fn list(format: Format, settings: Option<&RegistrySettings>, registry: Option<&Registry>) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for of in built_in()? {
        let said = match registry {
            Some(registry) => Some(said(&registry.look(of.topic, of.text).await?)),
            None => None,
        };
        rows.push((of, said));
    }
    if format == Format::Json {
        let schemas = rows.iter().map(|(of, said)| {
            json!({
                "family": of.family, "topic": of.topic, "version": of.version,
                "fingerprint": format!("{:016x}", of.fingerprint), "registry": said,
            })
        });
        let registry = settings.map(RegistrySettings::shown);
        say!("{}", json!({"registry": registry, "schemas": schemas.collect::<Vec<_>>()}));
        return Ok(ExitCode::SUCCESS);
    }
    let head = [("TOPIC", Side::Left), ("VERSION", Side::Right), ("FINGERPRINT", Side::Left), ("REGISTRY", Side::Left)];
    let row = |(of, said): &(BuiltIn, Option<String>)| {
        let said = said.clone().unwrap_or_else(|| "-".to_owned());
        [of.topic.to_owned(), of.version.to_string(), format!("{:016x}", of.fingerprint), said]
    };
    say!("{}", Table::new(head, rows.iter().map(row)).to_string().trim_end());
    match settings {
        Some(settings) => say!("The registry is {}.", settings.shown()),
        None => say!("No registry is named (SCHEMA_REGISTRY_URL): what is read in Avro is read by these."),
    }
    Ok(ExitCode::SUCCESS)
}

async fn register(settings: &RegistrySettings, registry: &Registry, is_trial: bool) -> Result<ExitCode> {
    let mut refused: Vec<&str> = Vec::new();
    for of in built_in()? {
        let name = format!("{} {}", registry.subject(of.topic), of.version);
        if refused.contains(&of.topic) {
            say!("{name}: left out, since the one before is incompatible");
            continue;
        }
        let look = registry.look(of.topic, of.text).await?;
        let told = match &look {
            Look::There(_) => said(&look),
            Look::Incompatible(_) => {
                refused.push(of.topic);
                said(&look)
            }
            // The registry has none to compare the next one with.
            Look::New | Look::Compatible | Look::Unjudged(_) if is_trial => {
                format!("would be registered; {}", said(&look))
            }
            Look::New | Look::Compatible | Look::Unjudged(_) => match registry.register(of.topic, of.text).await? {
                Registered::As(what) => format!("registered: {what}"),
                Registered::Incompatible(why) => {
                    refused.push(of.topic);
                    format!("INCOMPATIBLE: {}", escape(&why))
                }
            },
        };
        say!("{name}: {told}");
    }
    if is_trial {
        say!("A trial: nothing was registered at {}.", settings.shown());
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn said(look: &Look) -> String {
    match look {
        Look::There(what) => format!("there: {what}"),
        Look::New => "the topic has none yet".to_owned(),
        Look::Compatible => "compatible".to_owned(),
        Look::Incompatible(why) if why.is_empty() => "INCOMPATIBLE".to_owned(),
        Look::Incompatible(why) => format!("INCOMPATIBLE: {}", escape(&why.join("; "))),
        Look::Unjudged(rule) => format!("judged when it is registered, by {rule}"),
    }
}
