//! The command line: one file a command.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lyceum_functions::Function;
use lyceum_spans::Spans;

use crate::config::Config;
use crate::ingest::Unreadable;

mod asyncapi;
mod audit;
mod capacity;
mod check;
mod dead_letters;
mod doctor;
mod generate;
mod ingest;
mod inspect;
mod invoke;
mod judge;
mod rebuild;
mod reconcile;
mod replay;
mod schemas;
mod session;
mod shadow;
mod table;
mod tail;
mod up;
mod validate;
mod validation;

/// Prints a line. Once the reader has gone (`lyceum topics | head`) there is nothing left to do, and that is a good end.
macro_rules! say {
    ($($text:tt)*) => {
        crate::cli::print_line(format_args!($($text)*))
    };
}
use say;

fn print_line(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    check_printed(writeln!(std::io::stdout(), "{line}"));
}

/// Prints bytes as they are.
fn print_bytes(bytes: &[u8]) {
    use std::io::Write;
    check_printed(std::io::stdout().write_all(bytes));
}

fn check_printed(printed: std::io::Result<()>) {
    use std::io::ErrorKind;
    match printed {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("error: cannot write the output: {error}");
            std::process::exit(1);
        }
    }
}

/// Processes the events of learning platforms: proves each one valid, applies its effect exactly once, stores it, and
/// answers the questions of a learning team.
#[derive(Debug, Parser)]
#[command(name = "lyceum", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The event log is this Kafka instead of the embedded one (KAFKA_BOOTSTRAP_SERVERS)
    #[arg(long, global = true, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Says also what is of no consequence where all is well: which process answers
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything in one process and shows it on a page (`lyceum` alone is `lyceum up --demo`)
    Up(up::Options),
    /// Publishes events from files and waits until every one of them is settled
    Ingest(ingest::Options),
    /// Makes events of a made-up academy, of every family, and says what must come out
    Generate(generate::Options),
    /// Judges each xAPI statement of files; stores nothing
    Validate(validate::Options),
    /// Shows the state kept of a program, session, booking or survey response
    Show(inspect::Show),
    /// Answers questions over the stored statements
    Query(inspect::Query),
    /// Looks at dead letters, sends them again, and marks them as done with
    DeadLetters(dead_letters::Options),
    /// Has what stands on topics read once more: for the topic, one subscriber, another topic, or files
    Replay(Box<replay::Options>),
    /// Says what senders broke since when: violations by rule, sender, topic and time
    Validation(validation::Options),
    /// Looks into the audit log, and tells whether it is whole
    Audit(audit::Options),
    /// Prints a receipt for one event: what became of it, and what shows that
    Prove(audit::Prove),
    /// Builds a projection anew from the log beside the live one, and swaps it in
    Rebuild(rebuild::Options),
    /// Compares the log with what the stores keep of it, and repairs what is missing
    Reconcile(reconcile::Options),
    /// Prints the records of a topic
    Tail(tail::Options),
    /// Calls one function with an event file, as AWS Lambda would, and prints its answer
    Invoke(invoke::Options),
    /// Says what this release decides about records, without any effect
    #[command(hide = true)]
    Judge(judge::Options),
    /// Lists topics with their partitions, end offsets and lag
    Topics(inspect::Topics),
    /// Shows how each part is
    Status(inspect::Status),
    /// Prints topics, who reads and writes them, and every event as an AsyncAPI document
    Asyncapi(asyncapi::Options),
    /// Says what the events of a checkout still lack: samples, schemas, documents, tests
    Check(check::Options),
    /// Says what is wrong with an installation, and what to do
    Doctor(doctor::Options),
    /// Lists the schemas that are built in, and registers them
    Schemas(schemas::Options),
}

/// Where the data is.
#[derive(Clone, Debug, Args)]
struct Data {
    /// The data folder; one process at a time owns it, others talk to that one
    #[arg(long, value_name = "DIR", env = "LYCEUM_DATA", default_value = DATA)]
    data: PathBuf,
}

/// The data folder where nobody names one.
const DATA: &str = ".lyceum";

/// Names as a sentence has them: "training, survey or statement".
fn one_of(names: impl IntoIterator<Item = &'static str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[value(alias = "text")]
    Table,
    /// One JSON object
    Json,
}

/// How long the end of a process waits for its last spans to be sent.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    main_of(lyceum_functions::functions().collect())
}

/// The same of another release: with these functions, one for each subscription of the registry.
pub fn main_of(release: Vec<Function>) -> ExitCode {
    let cli = Cli::parse();
    match run(cli, release) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            code_of(&error)
        }
    }
}

/// 2 where a file cannot be read, as where an argument cannot.
fn code_of(error: &anyhow::Error) -> ExitCode {
    let is_unreadable = error.chain().any(|cause| cause.downcast_ref::<Unreadable>().is_some());
    if is_unreadable { ExitCode::from(2) } else { ExitCode::FAILURE }
}

fn run(cli: Cli, release: Vec<Function>) -> Result<ExitCode> {
    let mut config = Config::from_environment(cli.kafka.as_deref())?;
    config.release = release;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let command = cli.command.unwrap_or_else(|| Command::Up(up::Options::demo()));
    // The others only look.
    let processes = matches!(command, Command::Up(_) | Command::Ingest(_) | Command::Generate(_) | Command::Invoke(_));
    if processes && config.server.spans.is_some() {
        // What the collector is shown may be in a secret.
        config = runtime.block_on(config.with_secrets())?;
    }
    let settings = config.server.spans.clone().filter(|_| processes);
    let shown = lyceum_connect::shown_to_collector(settings.as_ref(), config.server.stores.secrets.as_ref());
    let (spans, layer) = Spans::start(settings, shown)?;
    lyceum_log::start(&config.server.log, layer, std::io::stderr().is_terminal())?;
    runtime.spawn(spans.clone().send_for_ever());
    config.spans = spans.clone();
    config.is_verbose = cli.verbose;
    if let Command::Up(options) = &command {
        config.functions = options.functions.clone();
    }
    let code = runtime.block_on(async {
        match command {
            Command::Up(options) => up::run(options, config).await,
            Command::Ingest(options) => ingest::run(options, config).await,
            Command::Generate(options) => generate::run(options, config).await,
            Command::Validate(options) => validate::run(&options),
            Command::Show(options) => inspect::show(options, config).await,
            Command::Query(options) => inspect::query(options, config).await,
            Command::DeadLetters(options) => dead_letters::run(options, config).await,
            Command::Replay(options) => replay::run(*options, config).await,
            Command::Validation(options) => validation::run(options, config).await,
            Command::Audit(options) => audit::run(options, config).await,
            Command::Prove(options) => audit::prove(options, config).await,
            Command::Rebuild(options) => rebuild::run(options, config).await,
            Command::Reconcile(options) => reconcile::run(options, config).await,
            Command::Tail(options) => tail::run(options, config).await,
            Command::Invoke(options) => invoke::run(options, config).await,
            Command::Judge(options) => judge::run(options, config).await,
            Command::Topics(options) => inspect::topics(options, config).await,
            Command::Status(options) => inspect::status(options, config).await,
            Command::Asyncapi(options) => asyncapi::run(&options, &config),
            Command::Check(options) => check::run(options, config).await,
            Command::Doctor(options) => doctor::run(options).await,
            Command::Schemas(options) => schemas::run(options, config).await,
        }
    });
    runtime.block_on(spans.flush(LAST_SPANS));
    // A thread that still reads standard input must not keep the process.
    runtime.shutdown_background();
    code
}

/// `lyceum tail … | head` ends well.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(closed))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
