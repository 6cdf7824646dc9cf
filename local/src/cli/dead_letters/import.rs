//! `lyceum dead-letters import`: what AWS Lambda gave up becomes dead letters, which are then sent again like any other.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use lyceum_server::dead_letters::letters::Imported;
use serde_json::Value;

use crate::cli::Data;
use crate::cli::say;
use crate::cli::session::{Session, segment};
use crate::config::Config;
use crate::ingest::reader::BYTE_ORDER_MARK;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// s3://bucket/prefix, sqs://queue-url, kafka://topic, or a file or folder of such records
    #[arg(required = true, value_name = "FROM")]
    from: Vec<From>,
    #[command(flatten)]
    data: Data,
}

/// Where on-failure records are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    /// Objects, one a batch. They stay.
    S3 { bucket: String, prefix: String },
    /// Messages, one a batch. Those whose records all became letters are deleted.
    Sqs { queue_url: String },
    /// Records of a topic of this event log. They stay.
    Kafka { topic: String },
    /// A file, or every file of a folder: an object or message's body, or one a line.
    Path(PathBuf),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err("write s3://bucket or s3://bucket/prefix".to_owned());
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("sqs://") {
            if !rest.contains('/') {
                return Err(
                    "write sqs:// and the queue's URL, as in sqs://sqs.eu-central-1.amazonaws.com/123456789012/failed"
                        .to_owned(),
                );
            }
            let has_scheme = rest.starts_with("http://") || rest.starts_with("https://");
            let queue_url = if has_scheme { rest.to_owned() } else { format!("https://{rest}") };
            return Ok(Self::Sqs { queue_url });
        }
        match text.strip_prefix("kafka://") {
            Some("") => Err("write kafka:// and the topic's name".to_owned()),
            Some(topic) => Ok(Self::Kafka { topic: topic.to_owned() }),
            None => Ok(Self::Path(text.into())),
        }
    }
}

/// What became of all of them.
#[derive(Default)]
struct Tally {
    documents: u64,
    unreadable: u64,
    sum: Imported,
}

pub(super) async fn run(options: &Options, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, config).await?;
    let mut tally = Tally::default();
    for from in &options.from {
        match from {
            From::S3 { bucket, prefix } => from_s3(&session, bucket, prefix, &mut tally).await?,
            From::Sqs { queue_url } => from_sqs(&session, queue_url, &mut tally).await?,
            From::Kafka { topic } => from_topic(&session, topic, &mut tally).await?,
            From::Path(path) => from_path(&session, path, &mut tally).await?,
        }
    }
    let Tally { documents, unreadable, sum } = tally;
    say!(
        "{documents} on-failure records: {} dead letters written; {} have one already, {} were applied meanwhile",
        sum.letters,
        sum.known,
        sum.applied
    );
    if !sum.gone.is_empty() {
        say!(
            "{} ranges are on their topic no more; what stood there is lost unless its sender still has it",
            sum.gone.len()
        );
    }
    if sum.letters > 0 {
        say!(
            "`lyceum dead-letters replay` sends them again. Lambda went on without them: for the keys of these records"
        );
        say!("no order is promised any more, and an event that others have overtaken may be rejected.");
    }
    let is_complete = unreadable == 0 && sum.gone.is_empty() && sum.refused.is_empty();
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Tally {
    /// Hands one record over; returns whether everything in it is taken care of.
    async fn hand_over(&mut self, session: &Session, name: &str, document: Vec<u8>) -> Result<bool> {
        self.documents += 1;
        let imported: Imported = match session.post_bytes("/api/dead-letters/import", document).await? {
            Ok(imported) => imported,
            Err(why) => {
                self.unreadable += 1;
                say!("{name}: {why}");
                return Ok(false);
            }
        };
        let is_complete = imported.gone.is_empty() && imported.refused.is_empty();
        for gone in &imported.gone {
            say!("{name}: not on the topic any more: {gone}");
        }
        for refused in &imported.refused {
            say!("{name}: {refused}");
        }
        self.sum.letters += imported.letters;
        self.sum.known += imported.known;
        self.sum.applied += imported.applied;
        self.sum.gone.extend(imported.gone);
        self.sum.refused.extend(imported.refused);
        Ok(is_complete)
    }
}

async fn from_s3(session: &Session, bucket: &str, prefix: &str, tally: &mut Tally) -> Result<()> {
    let config = lyceum_aws::load().await;
    let has_endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| std::env::var_os(name).is_some());
    // Stand-ins answer at one host, so the bucket goes into the path.
    let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(has_endpoint).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let mut pages = client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|error| explain(&error)).with_context(|| format!("cannot list s3://{bucket}/{prefix}"))?;
        for key in page.contents().iter().filter_map(|object| object.key()) {
            let name = format!("s3://{bucket}/{key}");
            let object = client.get_object().bucket(bucket).key(key).send().await;
            let object = object.map_err(|error| explain(&error)).with_context(|| format!("cannot read {name}"))?;
            let body = object.body.collect().await.with_context(|| format!("{name} was cut off"))?;
            tally.hand_over(session, &name, body.to_vec()).await?;
        }
    }
    Ok(())
}

async fn from_sqs(session: &Session, queue_url: &str, tally: &mut Tally) -> Result<()> {
    let config = lyceum_aws::load().await;
    let client = aws_sdk_sqs::Client::new(&config);
    let mut seen = std::collections::HashSet::new();
    loop {
        let received = client.receive_message().queue_url(queue_url).max_number_of_messages(10).wait_time_seconds(1);
        let received = received.send().await.map_err(|error| explain(&error));
        let received = received.with_context(|| format!("cannot receive from {queue_url}"))?;
        // What was left in the queue is delivered again once its visibility timeout is over.
        let messages: Vec<_> = received
            .messages()
            .iter()
            .filter(|message| seen.insert(message.message_id().unwrap_or_default().to_owned()))
            .collect();
        if messages.is_empty() {
            return Ok(());
        }
        for message in messages {
            let name = format!("message {}", message.message_id().unwrap_or("without id"));
            let body = message.body().unwrap_or_default().as_bytes().to_vec();
            if !tally.hand_over(session, &name, body).await? {
                say!("{name}: it stays in the queue");
                continue;
            }
            let receipt = message.receipt_handle().unwrap_or_default();
            let deleted = client.delete_message().queue_url(queue_url).receipt_handle(receipt).send().await;
            deleted.map_err(|error| explain(&error)).with_context(|| {
                format!("cannot delete {name} from {queue_url}; it is delivered again, and makes no second letter")
            })?;
        }
    }
}

/// An error of the SDK with all its causes; its own text says "service error" alone.
fn explain<E: std::error::Error + Send + Sync + 'static>(error: &E) -> anyhow::Error {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    anyhow::anyhow!("{}", causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

async fn from_topic(session: &Session, topic: &str, tally: &mut Tally) -> Result<()> {
    let path = format!("/api/topics/{}/records", segment(topic));
    let mut next: Option<String> = None;
    loop {
        let from = if next.is_none() { Some("beginning") } else { None };
        let query = [("from", from), ("offsets", next.as_deref()), ("limit", Some("100"))];
        let Some(page) = session.find(&path, &query).await? else {
            bail!("there is no topic {topic}; `lyceum topics` lists those that are")
        };
        let records = page["records"].as_array().map_or(&[][..], Vec::as_slice);
        if records.is_empty() {
            return Ok(());
        }
        for record in records {
            let name = record["position"].as_str().unwrap_or(topic);
            let document = match &record["value"] {
                Value::String(text) => text.clone(),
                json => json.to_string(),
            };
            tally.hand_over(session, name, document.into_bytes()).await?;
        }
        next = page["next"].as_str().map(str::to_owned);
    }
}

async fn from_path(session: &Session, path: &Path, tally: &mut Tally) -> Result<()> {
    let mut files = Vec::new();
    collect_files(path, &mut files)?;
    for file in files {
        let name = file.display().to_string();
        let mut text = std::fs::read(&file).with_context(|| format!("cannot read {name}"))?;
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len());
        }
        if serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok() {
            tally.hand_over(session, &name, text).await?;
            continue;
        }
        for (line, document) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if !document.trim_ascii().is_empty() {
                tally.hand_over(session, &format!("{name}, line {line}"), document.to_vec()).await?;
            }
        }
    }
    Ok(())
}

fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| collect_files(entry, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_its_text() {
        let s3 = |bucket: &str, prefix: &str| From::S3 { bucket: bucket.into(), prefix: prefix.into() };
        for (text, from) in [
            ("s3://failed", s3("failed", "")),
            ("s3://failed/aws/lambda/", s3("failed", "aws/lambda/")),
            ("sqs://host/1/q", From::Sqs { queue_url: "https://host/1/q".into() }),
            ("sqs://http://127.0.0.1:4566/1/q", From::Sqs { queue_url: "http://127.0.0.1:4566/1/q".into() }),
            ("kafka://failed", From::Kafka { topic: "failed".into() }),
            ("failed/one.json", From::Path("failed/one.json".into())),
        ] {
            assert_eq!(text.parse(), Ok(from), "{text}");
        }
        for text in ["s3://", "sqs://queue", "kafka://"] {
            assert!(text.parse::<From>().unwrap_err().contains("write"), "{text}");
        }
    }
}
