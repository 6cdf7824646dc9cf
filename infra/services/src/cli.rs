//! The command line of `lyceum-services`.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::choice::Mode;
use crate::client;
use crate::folder::Folder;
use crate::post::{RunsAs, State};
use crate::{Endpoints, Service, container, keeper, program};

/// Like `println!`, but a reader that has gone (`| head`) ends the program well.
macro_rules! say {
    ($($text:tt)*) => {
        print_line(format_args!($($text)*))
    };
}

fn print_line(line: std::fmt::Arguments<'_>) {
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("error: cannot write the output: {error}");
            std::process::exit(1);
        }
    }
}

/// Real services on this machine, for development and tests: Kafka, DynamoDB, Elasticsearch, OpenSearch, a schema
/// registry, a stand-in for AWS.
#[derive(Debug, Parser)]
#[command(name = "lyceum-services", version)]
struct Cli {
    /// Everything is kept below this folder [default: $LYCEUM_SERVICES_FOLDER, or .lyceum-services in the workspace]
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start services, and leave them running until `down`; comes back when each one answers
    Up {
        /// Which [default: kafka dynamodb elasticsearch opensearch]
        services: Vec<Service>,
        /// As containers instead of processes
        #[arg(long)]
        docker: bool,
    },
    /// End services; all of them, where none is named
    Down {
        /// Which
        services: Vec<Service>,
    },
    /// What runs, and where it answers
    Status {
        /// Which
        services: Vec<Service>,
    },
    /// Run a command with services that run as long as it does; it finds them in its environment
    With {
        /// Which [default: kafka dynamodb elasticsearch opensearch]
        services: Vec<Service>,
        /// As containers instead of processes
        #[arg(long)]
        docker: bool,
        /// The command, after `--`
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Serve DynamoDB's API on 127.0.0.1 until the process is ended
    ServeDynamodb {
        /// The port
        #[arg(long, default_value_t = 8000)]
        port: u16,
        /// The address to listen on; a container needs 0.0.0.0
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        /// A file that keeps the tables [default: none, they are in memory]
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// The process that owns one service
    #[command(hide = true)]
    Keep {
        /// What it is to keep, as JSON
        post: String,
    },
    /// The process that removes a container when its keeper has ended
    #[command(hide = true)]
    Reap {
        /// The folder that the container is marked with
        of: PathBuf,
    },
}

/// Becomes the program that the arguments name, where this process was started as one; else returns. Called first in
/// `main`, before any argument is read.
pub(crate) fn take_over() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if program::is_marked(arguments.next().as_deref()) {
        std::process::exit(run(std::iter::once(name).chain(arguments)));
    }
}

/// Runs a command line; the exit code.
fn run(arguments: impl Iterator<Item = OsString>) -> i32 {
    let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| error.exit());
    match execute(cli) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    }
}

/// The binary's main.
pub fn main() -> ExitCode {
    take_over();
    ExitCode::from(u8::try_from(run(std::env::args_os())).unwrap_or(1))
}

fn execute(cli: Cli) -> Result<()> {
    let folder = || cli.folder.as_deref().map_or_else(Folder::standard, Folder::new);
    match cli.command {
        Command::Up { services, docker } => {
            let folder = folder()?;
            let lease = client::lease(&folder, runs_as(docker)?, &or(services, &USUAL), true)?;
            print(&lease.endpoints);
            write_environment(&folder)?;
            say!("# for a shell: . {}", folder.environment_file().display());
            Ok(())
        }
        Command::With { services, docker, command } => {
            let lease = client::lease(&folder()?, runs_as(docker)?, &or(services, &USUAL), false)?;
            let (program, arguments) = command.split_first().context("no command")?;
            let mut process = std::process::Command::new(program);
            process.args(arguments).envs(lease.endpoints.to_environment());
            let status = process.status().with_context(|| format!("cannot run {}", program.display()))?;
            match status.code() {
                Some(0) => Ok(()),
                Some(code) => std::process::exit(code),
                None => bail!("{} ended with {status}", program.display()),
            }
        }
        Command::Down { services } => {
            let folder = folder()?;
            if !client::down(&folder, &or(services, &Service::ALL))? {
                say!("nothing runs in {}", folder.path().display());
            }
            write_environment(&folder)
        }
        Command::Status { services } => {
            let folder = folder()?;
            let running = client::status(&folder, &or(services, &Service::ALL));
            if running.is_empty() {
                say!("nothing runs in {}", folder.path().display());
            }
            for (post, keeper, state) in running {
                let kind = if post.runs_as == RunsAs::Container { "container" } else { "process" };
                let stays = if post.has("pinned") { "until `down`" } else { "while it is needed" };
                let (service, end) = (post.service, format!("{stays}; keeper {keeper}"));
                match state {
                    State::Ready { process, endpoints, .. } => {
                        let process = process.map(|process| format!(" {process}")).unwrap_or_default();
                        say!("# {service}: ready ({kind}{process}), {end}");
                        print(&endpoints);
                    }
                    State::Ended(why) => say!("# {service}: {why}"),
                    State::Starting | State::AtRest(_) => say!("# {service}: starting ({kind}), {end}"),
                }
            }
            Ok(())
        }
        Command::ServeDynamodb { port, host, data } => serve_dynamodb(&host, port, data.as_deref()),
        Command::Keep { post } => keeper::run(&post),
        Command::Reap { of } => container::reap(&of),
    }
}

const USUAL: [Service; 4] = [Service::Kafka, Service::DynamoDb, Service::Elasticsearch, Service::OpenSearch];

fn or(services: Vec<Service>, others: &[Service]) -> Vec<Service> {
    if services.is_empty() { others.to_vec() } else { services }
}

fn runs_as(docker: bool) -> Result<RunsAs> {
    let mode = Mode::from_environment(|name| std::env::var(name).ok()).map_err(anyhow::Error::msg)?;
    let docker = docker || mode == Some(Mode::Docker);
    Ok(if docker { RunsAs::Container } else { RunsAs::Process })
}

fn print(endpoints: &Endpoints) {
    for (name, value) in endpoints.to_environment() {
        say!("{name}={value}");
    }
}

/// For people: `. .lyceum-services/environment`.
fn write_environment(folder: &Folder) -> Result<()> {
    let mut text = String::new();
    for (_, _, state) in client::status(folder, &Service::ALL) {
        if let State::Ready { endpoints, .. } = state {
            text.extend(endpoints.to_environment().iter().map(|(name, value)| format!("export {name}='{value}'\n")));
        }
    }
    let file = folder.environment_file();
    if text.is_empty() && !file.exists() {
        return Ok(());
    }
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn serve_dynamodb(host: &str, port: u16, data: Option<&std::path::Path>) -> Result<()> {
    let database = match data {
        Some(file) => dynoxide::Database::new(&file.display().to_string()),
        None => dynoxide::Database::memory(),
    };
    let database = database.map_err(|error| anyhow::anyhow!("{error}")).context("the tables cannot be opened")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let options = dynoxide::ServerOptions::quiet();
    let served = runtime.block_on(dynoxide::server::start_with_options(host, port, database, options));
    served.map_err(|error| anyhow::anyhow!("{error}"))
}
