//! A candidate release with one change of behaviour, which `PLANTED` names; without it one that behaves as it should. It judges as
//! `lyceum judge` does. Some of the changes are no release's, but what a program does that is broken: it ends, hangs, or says something else.

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use lyceum::shadow::judge::of_this_release;
use lyceum::shadow::serve::{Release, judge_lines};
use lyceum_core::catalog::Catalog;
use lyceum_core::dead_letter::Publication;
use lyceum_core::outcome::{DeadLetterKind, Finding, Outcome, Report};
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_core::ports::ledger::{Commit, KeyStatus, Ledger, LedgerError};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};
use lyceum_core::process::{Delivery, Held, Invocation, ProcessConfig, Subscriber};
use lyceum_core::record::{Header, NewRecord, Position, Record, header_text};
use lyceum_core::subscription::Subscription;
use lyceum_functions::Ports;
use lyceum_testing::handing::{HandOn, Handing};
use serde_json::Value;

/// What is changed.
fn planted() -> String {
    std::env::var("PLANTED").unwrap_or_default()
}

fn is(name: &str) -> bool {
    planted() == name
}

#[tokio::main]
async fn main() {
    match planted().as_str() {
        "dies" => std::process::exit(7),
        "hangs" => std::thread::sleep(std::time::Duration::from_secs(3_600)),
        "says something else" => {
            println!("Usage: something else");
            return;
        }
        "speaks another version" => {
            println!(r#"{{"protocol": "lyceum-judge", "version": 99}}"#);
            return;
        }
        _ => {}
    }
    let release = Release { make, schemas: None };
    let judged = judge_lines(&release, tokio::io::stdin(), tokio::io::stdout()).await;
    if let Err(error) = judged {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn make(ports: &Ports, catalog: &Arc<Catalog>, config: &ProcessConfig) -> Vec<Arc<dyn Subscriber>> {
    let mut ports = ports.clone();
    ports.services.event_log = Arc::new(Log(ports.services.event_log.clone()));
    ports.services.ledger = Arc::new(Handing(States(ports.services.ledger.clone())));
    ports.services.statements = Arc::new(Documents(ports.services.statements.clone()));
    let made = of_this_release(&ports, catalog, config);
    let log = ports.services.event_log;
    made.into_iter().map(|inner| Arc::new(Changed { inner, log: log.clone() }) as Arc<dyn Subscriber>).collect()
}

/// A subscription that decides otherwise.
struct Changed {
    inner: Arc<dyn Subscriber>,
    log: Arc<dyn Publish>,
}

impl Changed {
    /// The record as this one reads it: an actor or a verb that is none is taken for one.
    fn read(&self, delivery: &Delivery) -> Delivery {
        let mut delivery = delivery.clone();
        if is("accepts an invalid record")
            && self.subscription().family().is_some()
            && let Delivery::Record(record) = &mut delivery
            && let Some(value) = record.value.as_ref().and_then(|value| std::str::from_utf8(value).ok())
        {
            let mended = value
                .replace(r#"{"name":"somebody"}"#, r#"{"mbox":"mailto:somebody@academy.example"}"#)
                .replace(r#""no IRI""#, r#""http://adlnet.gov/expapi/verbs/experienced""#);
            record.value = Some(mended.into());
        }
        delivery
    }

    async fn change(&self, record: &Record, report: &mut Report) {
        let name = self.subscription().name;
        if is("dies in the middle") && record.position.offset >= 3 {
            eprintln!("it is broken");
            std::process::exit(9);
        }
        if is("hangs in the middle") && record.position.offset >= 3 {
            std::thread::sleep(std::time::Duration::from_secs(3_600));
        }
        if is("says something else in the middle") && record.position.offset >= 3 {
            println!("this is no judgement");
            let _ = std::io::stdout().flush();
        }
        if is("refuses a valid type")
            && name == "training"
            && report.event_type == "program.published"
            && report.outcome == Outcome::Applied
        {
            report.outcome = Outcome::DeadLettered { kind: DeadLetterKind::Rejected };
            report.findings = vec![Finding {
                rule: "program.publish.never".into(),
                pointer: String::new(),
                message: "nothing is published any more".into(),
                requirement: "".into(),
            }];
            let Publication { topic, record } =
                Publication { topic: "nlj.errors.validation".to_owned(), record: NewRecord::default() };
            let _ = self.log.produce(&topic, vec![record]).await;
        }
        if is("finds it elsewhere") && name == "training" {
            report.findings.iter_mut().for_each(|finding| finding.pointer += "/elsewhere");
        }
    }
}

#[async_trait]
impl Subscriber for Changed {
    fn subscription(&self) -> &'static Subscription {
        self.inner.subscription()
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        self.inner.invocation(deadline_ms)
    }

    async fn process(&self, batch: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        let read: Vec<Delivery> = batch.iter().map(|of| self.read(of)).collect();
        let mut reports = self.inner.process(&read, invocation).await;
        for (delivery, report) in batch.iter().zip(&mut reports) {
            if let Delivery::Record(record) = delivery {
                self.change(record, report).await;
            }
        }
        reports
    }

    async fn held(&self, records: &[Record], invocation: &Invocation) -> Result<Vec<Held>, LedgerError> {
        self.inner.held(records, invocation).await
    }

    async fn made(&self, records: &[Record], invocation: &Invocation) -> Vec<Held> {
        self.inner.made(records, invocation).await
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        let mut shown = self.inner.show(tenant, kind, id).await?;
        if is("shows less") && kind == "booking" {
            shown.iter_mut().filter_map(Value::as_object_mut).for_each(|shown| drop(shown.remove("status")));
        }
        Ok(shown)
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.inner.ended(records).await
    }
}

/// A log that gets something else.
struct Log(Arc<dyn Publish>);

#[async_trait]
impl Publish for Log {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let confirmed = (0..).zip(&records).map(|(offset, _)| Position::new(topic, 0, offset)).collect();
        let mut changed = Vec::new();
        for mut record in records {
            let event_type = header_text(&record.headers, "event-type").unwrap_or_default().to_owned();
            let is_letter = header_text(&record.headers, "lyceum-error-kind").is_some();
            if !is_letter && event_type == "distribution.created" {
                if is("lets a follow-up out") {
                    continue;
                }
                if is("doubles a follow-up") {
                    changed.push(record.clone());
                }
                if is("gives a follow-up another key") {
                    record.key = Some("another".into());
                }
                if is("gives a follow-up to another tenant") {
                    set(&mut record.headers, "tenant-id", "another");
                }
                if is("says something else in a follow-up")
                    && let Some(mut value) =
                        record.value.as_ref().and_then(|value| serde_json::from_slice::<Value>(value).ok())
                {
                    value["payload"]["slug"] = "another".into();
                    record.value = Some(value.to_string().into());
                }
            }
            if is_letter && is("calls a letter otherwise") {
                set(&mut record.headers, "lyceum-error-kind", "database");
            }
            changed.push(record);
        }
        self.0.produce(topic, changed).await?;
        Ok(confirmed)
    }
}

fn set(headers: &mut [Header], name: &str, value: &'static str) {
    headers.iter_mut().filter(|header| header.name == name).for_each(|header| header.value = Some(value.into()));
}

/// A ledger that keeps something else.
struct States(Arc<dyn Ledger>);

#[async_trait]
impl HandOn for States {
    fn ledger(&self) -> &dyn Ledger {
        &*self.0
    }

    async fn commit(&self, mut commit: Commit) -> Result<(), LedgerError> {
        for write in &mut commit.aggregates {
            let Some(state) = write.content.as_mut().and_then(|content| content.state.as_mut()) else { continue };
            let Ok(mut read) = serde_json::from_slice::<Value>(state) else { continue };
            let kind = write.id.kind.as_str();
            if is("counts otherwise") && kind == "session" {
                read["session"]["next_sequence"] = 7.into();
            }
            if is("has forgotten what it counted") && kind == "learner" {
                read["through"] = (-1).into();
            }
            *state = read.to_string().into();
        }
        for write in &mut commit.keys {
            if is("knows events by something else") {
                write.key.content_hash[0] ^= 1;
            }
        }
        self.0.commit(commit).await
    }
}

/// A store that gets something else.
struct Documents(Arc<dyn StoreDocuments>);

#[async_trait]
impl StoreDocuments for Documents {
    async fn store(&self, mut documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        if is("stores nothing") {
            return Ok(vec![StoreOutcome::Created; documents.len()]);
        }
        for document in &mut documents {
            if document.fields.family == "survey" {
                if is("stores another field") {
                    document.fields.verb = "http://another.example/verb".into();
                }
                if is("stores for another tenant") {
                    document.tenant = "another".into();
                }
                if is("stores other bytes") {
                    document.raw = "{}".into();
                }
            }
        }
        self.0.store(documents).await
    }
}
