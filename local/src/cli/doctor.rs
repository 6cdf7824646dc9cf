//! `lyceum doctor`: what is wrong with an installation, and what to do.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};

use super::{Format, say};
use crate::doctor::judge::{Finding, Verdict, is_under_way, judge};
use crate::doctor::{Look, NoStack};

/// How often it is looked again while something is under way.
const AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Place {
    /// A deployment to AWS: mappings, functions, alarms, rights, secrets, table, topics and index
    ///
    /// It changes nothing, and asks with the credentials that AWS's own tools would find. Topics and index are tried from here,
    /// which only works where brokers and store are reached from here. Ends with 0 where nothing is wrong, with 1 where there is
    /// something to do, and with 2 where the stack cannot be looked at.
    Aws(Aws),
}

#[derive(Debug, Args)]
struct Aws {
    /// The stack that was deployed
    stack: String,
    /// Where it is [default: the region of AWS's own tools]
    #[arg(long)]
    region: Option<String>,
    /// How many seconds to wait for what is under way, as mappings are after a deployment
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    wait: u64,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Tells what is fine, too
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(options: Options) -> Result<ExitCode> {
    let Place::Aws(options) = options.place;
    match look(&options).await {
        Ok(findings) => {
            tell(&options, &findings);
            let is_wrong = findings.iter().any(|finding| finding.verdict == Verdict::Wrong);
            Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(2))
        }
    }
}

async fn look(options: &Aws) -> Result<Vec<Finding>> {
    let of_environment = lyceum_aws::load().await.region().map(ToString::to_string).filter(|of| !of.is_empty());
    let region = options
        .region
        .clone()
        .or(of_environment)
        .ok_or_else(|| anyhow!("no region is named: give --region, or set AWS_REGION"))?;
    let look = Look::new(&region, &options.stack);
    let until = Instant::now() + Duration::from_secs(options.wait);
    loop {
        let facts = look.facts().await.map_err(|error: NoStack| anyhow!(error))?;
        if !is_under_way(&facts) || Instant::now() >= until {
            return Ok(judge(&facts));
        }
        eprintln!("Something is under way; looking again in {} s.", AGAIN.as_secs());
        tokio::time::sleep(AGAIN).await;
    }
}

fn tell(options: &Aws, findings: &[Finding]) {
    let shown: Vec<&Finding> =
        findings.iter().filter(|finding| options.all || finding.verdict != Verdict::Fine).collect();
    if options.format == Format::Json {
        let answer = serde_json::json!({"stack": options.stack, "findings": shown});
        say!("{answer:#}");
        return;
    }
    for Finding { verdict, about, found, remedy } in shown {
        let word = match verdict {
            Verdict::Wrong => "WRONG",
            Verdict::Unknown => "unknown",
            Verdict::Noted => "noted",
            Verdict::Fine => "fine",
        };
        say!("{word:<8}{}", super::table::escape(&format!("{about} {found}")));
        if !remedy.is_empty() {
            say!("        → {}", super::table::escape(remedy));
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (wrong, unknown, fine) = (count(Verdict::Wrong), count(Verdict::Unknown), count(Verdict::Fine));
    say!("{}: {wrong} wrong, {unknown} could not be told, {fine} fine.", options.stack);
}
