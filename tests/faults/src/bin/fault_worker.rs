//! A worker that the fault matrix starts, kills and starts again; see `lyceum_faults::worker`. With `keep PROGRAM …` it
//! runs that program until stdin ends, so that it does not outlive whoever asked for it.

use std::process::ExitCode;

use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == "keep") {
        return keep(arguments.collect()).await;
    }
    lyceum_faults::worker::main().await?;
    Ok(ExitCode::SUCCESS)
}

async fn keep(command: Vec<std::ffi::OsString>) -> anyhow::Result<ExitCode> {
    let Some((program, arguments)) = command.split_first() else { anyhow::bail!("keep what? name a program") };
    // A group of its own: what it starts ends with it.
    let mut command = tokio::process::Command::new(program);
    let mut kept = command.args(arguments).process_group(0).stdin(std::process::Stdio::null()).spawn()?;
    let group = kept.id();
    let orphaned = async {
        let mut rest = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    let ended = tokio::select! {
        status = kept.wait() => Some(status?),
        () = orphaned => None,
    };
    if let Some(group) = group {
        let _ = tokio::process::Command::new("kill").args(["-9", "--", &format!("-{group}")]).status().await;
    }
    let _ = kept.wait().await;
    // The runtime would wait for the blocked read of stdin.
    std::process::exit(i32::from(!ended.is_some_and(|status| status.success())));
}
