//! `lyceum dead-letters replay` and `discard`: call by call, each of which ends soon. What was done is remembered by the process that
//! owns the data, so that one who was cut off begins again where it stopped.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use lyceum_server::dead_letters::letters::LetterState;
use serde_json::{Value, json};

use super::Which;
use crate::cli::say;
use crate::cli::session::{EVERY_TENANT, Session, encode};
use crate::cli::table::escape;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    chosen: Chosen,
    /// At most so many a second, so that what reads the topics is not flooded
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    per_second: Option<u32>,
    /// Sends named letters though they were sent again or discarded already
    #[arg(long, requires = "positions")]
    again: bool,
    /// Waits until what was sent is processed, and tells how each ended
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Where a process runs: stops itself where more than so many percent failed again, of at least 20 whose end is known; 100 never stops
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    stop_at: u8,
}

#[derive(Debug, Args)]
pub(super) struct Discard {
    #[command(flatten)]
    chosen: Chosen,
    /// Discards every letter that is not done with; without it a filter or positions are needed
    #[arg(long, conflicts_with = "positions")]
    all: bool,
    #[arg(long, value_parser = super::state, help = "waiting or parked alone")]
    state: Option<LetterState>,
}

#[derive(Debug, Args)]
struct Chosen {
    /// topic/partition/offset of letters; without, all that match and are not done with
    positions: Vec<Position>,
    #[command(flatten)]
    which: Which,
    /// Shows what would be done and why each failed, and does nothing
    #[arg(long)]
    dry_run: bool,
    /// At most so many
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

/// So many letters one call is about at most, as the running process takes them.
const AT_ONCE: usize = 1000;
/// The same where it is waited for what was sent: a call waits ten seconds.
const AWAITED_AT_ONCE: usize = 200;

/// After so many calls that did nothing there is nothing to wait for.
const IDLE_CALLS: usize = 20;

impl Chosen {
    fn path(&self, session: &Session, verb: &str) -> String {
        // A position says by itself whose letter is meant.
        let named = self.which.tenant.as_deref();
        let tenant = if self.positions.is_empty() { session.tenant(named) } else { named };
        match tenant.filter(|tenant| *tenant != EVERY_TENANT) {
            Some(tenant) => format!("/api/dead-letters/{verb}?tenant={}", encode(tenant)),
            None => format!("/api/dead-letters/{verb}"),
        }
    }

    fn narrows(&self) -> bool {
        let Which { topic, kind, rule, since, until, tenant: _, data: _ } = &self.which;
        kind.is_some() || [topic, rule, since, until].iter().any(|part| part.is_some())
    }

    /// A call's body, without what one verb alone has.
    fn body(&self, named: Option<&[Position]>, most: usize, up_to: &Value) -> Value {
        let Which { topic, kind, rule, since, until, .. } = &self.which;
        let dry_run = self.dry_run;
        match named {
            Some(positions) => json!({"positions": positions, "dry_run": dry_run, "limit": most}),
            None => json!({
                "topic": topic, "kind": kind.map(DeadLetterKind::name), "rule": rule, "since": since, "until": until,
                "all": !self.narrows(), "dry_run": dry_run, "limit": most, "up_to": up_to,
            }),
        }
    }

    /// Calls until all is done, or the limit is reached. `tell` prints an answer and returns how many letters it was about.
    /// Returns their sum and the last answer.
    async fn call(
        &self,
        session: &Session,
        verb: &str,
        at_once: usize,
        pause: Duration,
        extend: impl Fn(&mut Value),
        mut tell: impl FnMut(&Value) -> usize,
    ) -> Result<(usize, Value)> {
        let path = self.path(session, verb);
        let mut named = self.positions.chunks(at_once);
        let (mut sum, mut left, mut up_to, mut last) = (0, self.limit.max(1), Value::Null, Value::Null);
        let mut idle = 0;
        while left > 0 {
            let started = Instant::now();
            let most = if self.dry_run { left.min(1000) } else { left.min(at_once) };
            let mut body = if self.positions.is_empty() {
                self.body(None, most, &up_to)
            } else {
                let Some(positions) = named.next() else { break };
                self.body(Some(positions), most, &up_to)
            };
            extend(&mut body);
            let summary: Value = match session.post(&path, &body).await {
                Err(error) if sum > 0 => {
                    return Err(
                        error.context(format!("{sum} are done and remembered; the same command goes on behind them"))
                    );
                }
                answer => answer?,
            };
            let done = tell(&summary);
            sum += done;
            left = left.saturating_sub(done);
            up_to = summary["up_to"].clone();
            // A call without any is one whose letters others were faster with.
            idle = if done == 0 { idle + 1 } else { 0 };
            let is_done = self.positions.is_empty()
                && (summary["remaining"] == 0 || self.dry_run || idle == IDLE_CALLS || summary["stopped"].is_string());
            last = summary;
            if is_done || left == 0 {
                break;
            }
            tokio::time::sleep(pause.saturating_sub(started.elapsed())).await;
        }
        Ok((sum, last))
    }
}

pub(super) async fn replay(options: &Replay, config: &Config) -> Result<ExitCode> {
    let data = &options.chosen.which.data.data;
    if !options.wait {
        let session = Session::open(data, config).await?;
        return send(options, &session).await;
    }
    // What is sent is to be processed, by the process that runs or by this one.
    let (session, runtime) = Session::open_processing(data, config).await?;
    let Some(runtime) = runtime else { return send(options, &session).await };
    let stop = tokio::sync::watch::Sender::new(false);
    let mut stopped = stop.subscribe();
    let running = {
        let runtime = Arc::clone(&runtime);
        tokio::spawn(async move {
            runtime.run(async move { drop(stopped.wait_for(|stop| *stop).await) }).await;
        })
    };
    let done = send(options, &session).await;
    stop.send_replace(true);
    running.await.context("the mappings failed")?;
    done
}

async fn send(options: &Replay, session: &Session) -> Result<ExitCode> {
    let Replay { chosen, per_second, again, wait, stop_at } = options;
    let (dry_run, is_named) = (chosen.dry_run, !chosen.positions.is_empty());
    let most = if *wait { AWAITED_AT_ONCE } else { AT_ONCE };
    let at_once = per_second.map_or(most, |per_second| most.min(per_second as usize));
    let pause = per_second.map_or(0.0, |per_second| at_once as f64 / f64::from(per_second));
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    // Without a process nothing ends meanwhile.
    let stops = !is_named && !dry_run && *stop_at < 100 && (*wait || !session.is_own());
    let ends = std::cell::RefCell::new(json!({"known": 0, "failed": 0}));
    let extend = |body: &mut Value| {
        body["wait"] = json!(wait);
        if stops {
            body["stop_at"] = json!(stop_at);
            body["ends"] = ends.borrow().clone();
        }
        if is_named {
            body["again"] = json!(again);
        }
    };
    let tell = |summary: &Value| {
        let replayed = summary["replayed"].as_array().map_or(&[][..], Vec::as_slice);
        for letter in replayed {
            tell_sent(letter, dry_run);
            if let Some(ending) = letter["ended"]["outcome"].as_str() {
                *endings.entry(ending.to_owned()).or_default() += 1;
            }
        }
        tell_refused(summary);
        ends.replace(summary["ends"].clone());
        replayed.len()
    };
    let pause = Duration::from_secs_f64(pause);
    let (sent, last) = chosen.call(session, "replay", at_once, pause, extend, tell).await?;
    let number = |name: &str| last[name].as_u64().unwrap_or(0);
    let verb = if dry_run { "would be sent again" } else { "sent again" };
    say!("{sent} {verb}, {} parked, {} left for the next call", number("parked"), number("remaining"));
    if number("unsendable") > 0 {
        say!("{} cannot be sent again: their originals are not here", number("unsendable"));
    }
    for (ending, number) in &endings {
        say!("  {:<14} {number:>10}", ending_in_words(ending));
    }
    if let Some(why) = last["stopped"].as_str() {
        say!("{}; --stop-at 100 sends all the same", escape(why));
        return Ok(ExitCode::from(SOME_FAILED));
    }
    if !dry_run && !wait && session.is_own() && sent > 0 {
        say!("they are processed at the next `lyceum up` or `lyceum ingest`");
    }
    let has_failed = endings.contains_key("dead-lettered");
    Ok(if has_failed { ExitCode::from(SOME_FAILED) } else { ExitCode::SUCCESS })
}

/// As `lyceum ingest` ends where something was dead-lettered.
const SOME_FAILED: u8 = 3;

fn ending_in_words(ending: &str) -> &str {
    match ending {
        "dead-lettered" => "failed again",
        "pending" => "not processed yet",
        other => other,
    }
}

fn tell_sent(letter: &Value, dry_run: bool) {
    let text = |name: &str| escape(letter[name].as_str().unwrap_or("-"));
    let to = if dry_run { format!("would go to {}", text("topic")) } else { format!("→ {}", text("sent_to")) };
    let ended = match (letter["ended"]["outcome"].as_str(), letter["ended"]["letter"].as_str()) {
        (Some(ending), Some(letter)) => format!("  {}: {}", ending_in_words(ending), escape(letter)),
        (Some(ending), None) => format!("  {}", ending_in_words(ending)),
        (None, _) => String::new(),
    };
    say!("{:<32} {:<12} {to}{ended}", text("position"), text("kind"));
    if dry_run {
        tell_why(letter);
    }
}

fn tell_why(letter: &Value) {
    if let Some(why) = letter["why"].as_str().filter(|why| !why.is_empty()) {
        say!("    {}", escape(why));
    }
}

fn tell_refused(summary: &Value) {
    for refused in summary["refused"].as_array().into_iter().flatten() {
        let text = |name: &str| escape(refused[name].as_str().unwrap_or("-"));
        say!("{:<32} cannot be sent again: {}", text("position"), text("reason"));
    }
}

pub(super) async fn discard(options: &Discard, config: &Config) -> Result<ExitCode> {
    let Discard { chosen, all, state } = options;
    if chosen.positions.is_empty() && !chosen.narrows() && state.is_none() && !all && chosen.which.tenant.is_none() {
        anyhow::bail!(
            "say which: positions, --kind, --rule, --topic, --tenant, --since, --until, or --all for every one"
        );
    }
    let session = Session::open(&chosen.which.data.data, config).await?;
    let is_named = !chosen.positions.is_empty();
    let mut already = 0;
    let extend = |body: &mut Value| {
        if !is_named {
            body["state"] = json!(state.map(LetterState::name));
        }
    };
    let tell = |summary: &Value| {
        let discarded = summary["discarded"].as_array().map_or(&[][..], Vec::as_slice);
        for letter in discarded {
            let text = |name: &str| escape(letter[name].as_str().unwrap_or("-"));
            say!("{:<32} {:<12} from {}", text("position"), text("kind"), text("topic"));
            if chosen.dry_run {
                tell_why(letter);
            }
        }
        already += summary["already"].as_u64().unwrap_or(0);
        discarded.len()
    };
    let (number, last) = chosen.call(&session, "discard", AT_ONCE, Duration::ZERO, extend, tell).await?;
    let verb = if chosen.dry_run { "would be discarded" } else { "discarded" };
    say!("{number} {verb}, {} left for the next call", last["remaining"].as_u64().unwrap_or(0));
    if already > 0 {
        say!("{already} were discarded or sent again before");
    }
    Ok(ExitCode::SUCCESS)
}
