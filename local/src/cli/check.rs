//! `lyceum check`: what the events of a checkout still lack.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::session::Session;
use super::{Data, Format, one_of, say};
use crate::check::{Lack, Phase, Seen, families, lacks_of_files, lacks_of_topics};
use crate::config::Config;

/// Samples, schema, documents and tests of every event type; and, asked with --live, what is on the topics
///
/// docs/migrating-a-module.md tells the six phases. The first two are judged by the files of the checkout, the next two with --live
/// by what a process has; the last two are yours to judge. Ends with 0 where nothing lacks, with 1 where something does.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[arg(help = one_of(families()), value_name = "FAMILY")]
    families: Vec<String>,
    /// The checkout
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Looks also at what is on the topics of the process that has the data
    #[arg(long)]
    live: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    if !options.root.join("events").is_dir() || !options.root.join("functions").is_dir() {
        eprintln!(
            "error: {} is no checkout of Lyceum: it has no events and functions; name one with --root",
            options.root.display()
        );
        return Ok(ExitCode::from(2));
    }
    let known = families();
    if let Some(unknown) = options.families.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!(
            "error: no family is called {unknown:?}: there are {}. A module that has none begins with phase 1 of docs/migrating-a-module.md",
            known.join(", ")
        );
        return Ok(ExitCode::from(2));
    }
    let is_wanted = |name: &&str| options.families.is_empty() || options.families.iter().any(|of| of == name);
    let wanted: Vec<&str> = known.into_iter().filter(is_wanted).collect();
    let mut lacks = lacks_of_files(&options.root, &wanted);
    let mut seen = Vec::new();
    if options.live {
        let session = Session::open(&options.data.data, &config).await?;
        for family in &wanted {
            let of = look(&session, family).await?;
            lacks.extend(lacks_of_topics(family, &of));
            seen.push((*family, of));
        }
    }
    match options.format {
        Format::Json => say!("{:#}", json!({"families": wanted, "live": options.live, "lacks": lacks})),
        Format::Table => tell(&wanted, &lacks, &seen),
    }
    Ok(if lacks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is on the topics of a family.
async fn look(session: &Session, family: &str) -> Result<Seen> {
    let Some(spec) = lyceum_catalog::FAMILIES.iter().find(|of| of.name == family) else { bail!("no family {family}") };
    let all = session.get("/api/topics", &[]).await?;
    let mut seen = Seen::default();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    for topic in spec.topics {
        let its = all["topics"].as_array().into_iter().flatten().filter(|of| of["topic"] == topic.name);
        for partition in its.flat_map(|of| of["partitions"].as_array().into_iter().flatten()) {
            seen.records += number(&partition["end"]);
            seen.lag += number(&partition["lag"]);
        }
        let letters = session
            .get("/api/dead-letters/summary", &[("topic", Some(topic.name)), ("state", Some("waiting"))])
            .await?;
        seen.letters +=
            letters["causes"].as_array().into_iter().flatten().map(|of| number(&of["waiting"])).sum::<u64>();
    }
    Ok(seen)
}

fn tell(families: &[&str], lacks: &[Lack], seen: &[(&str, Seen)]) {
    for family in families {
        let its: Vec<&Lack> = lacks.iter().filter(|lack| lack.family == **family).collect();
        say!("{family}");
        for (number, phase) in (1..).zip(Phase::ALL) {
            let of_phase: Vec<&&Lack> = its.iter().filter(|lack| lack.phase == phase).collect();
            let looked = seen.iter().find(|(of, _)| of == family);
            let (mark, note) = match phase {
                _ if !of_phase.is_empty() => (" ", String::new()),
                Phase::Name | Phase::Schema => ("x", String::new()),
                Phase::DualPublish | Phase::Compare => match looked {
                    Some((_, of)) if of.records == 0 => (" ", String::new()),
                    Some((_, of)) => (
                        "x",
                        if of.records == 1 { " (1 record)".to_owned() } else { format!(" ({} records)", of.records) },
                    ),
                    None => ("?", " (--live asks the process)".to_owned()),
                },
                Phase::Switch | Phase::Remove => ("?", " (yours to judge)".to_owned()),
            };
            say!("  [{mark}] {number}. {}{note}", phase.title());
            for Lack { what, todo, .. } in of_phase {
                say!("        {what}");
                say!("        → {todo}");
            }
        }
    }
    match lacks.len() {
        0 => say!("Nothing lacks."),
        1 => say!("One thing lacks."),
        many => say!("{many} things lack."),
    }
}
