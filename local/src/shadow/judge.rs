//! What this release decides about a record, and what would come of it, without any of it coming about.
//!
//! Every subscription that reads the record's topic gets it by itself, with ports that only note. Its clock stands at the record's own
//! time, and no id is drawn: the same records in the same order are judged the same, byte for byte.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_connect::generator::GeneratorSettings;
use lyceum_core::catalog::Catalog;
use lyceum_core::outcome::{Anomaly, Finding, Outcome, Report};
use lyceum_core::ports::ledger::{AggregateId, KeyStatus};
use lyceum_core::ports::schemas::FindSchema;
use lyceum_core::ports::statements::semantics::{FIELDS, FieldValue};
use lyceum_core::ports::statements::{StatementDocument, StoreOutcome};
use lyceum_core::process::{Delivery, ProcessConfig, Services, Subscriber};
use lyceum_core::record::{Header, NewRecord, Position, Record};
use lyceum_core::subscription::Effect;
use lyceum_embedded::scratch::Scratch;
use lyceum_functions::Ports;
use lyceum_xapi::equality;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::protocol::{Settings, Welcome};
use super::recording::{Noted, NotedDocuments, NotedLedger, NotedLog, Notes, RecordClock, Unobserved, WrittenKey};

/// Makes the subscriptions of a release; [`of_this_release`] makes those of this one.
pub type Make = fn(&Ports, &Arc<Catalog>, &ProcessConfig) -> Vec<Arc<dyn Subscriber>>;

/// A record that is to be redelivered is given again at once, so often: more than any policy of attempts asks for.
const DELIVERIES: u32 = 8;

/// An invocation has so long, of a time that passes only while something is waited for.
const INVOCATION_MS: i64 = 60_000;

/// Every subscription of this release.
pub fn of_this_release(ports: &Ports, catalog: &Arc<Catalog>, config: &ProcessConfig) -> Vec<Arc<dyn Subscriber>> {
    lyceum_functions::functions().map(|of| of.build(ports.clone(), catalog.clone(), config.clone())).collect()
}

/// A release that judges.
pub struct Judge {
    subscribers: Vec<Arc<dyn Subscriber>>,
    by_topic: HashMap<&'static str, Vec<usize>>,
    dead_letter_topics: Vec<&'static str>,
    notes: Notes,
    clock: Arc<RecordClock>,
    scratch: Scratch,
}

impl Judge {
    /// Begins with stores that are empty, and gone with this process. `schemas` is only read.
    ///
    /// # Errors
    /// Where there is no room for the stores.
    pub fn open(make: Make, settings: &Settings, schemas: Option<Arc<dyn FindSchema>>) -> anyhow::Result<Self> {
        let scratch = Scratch::open()?;
        let (notes, clock) = (Notes::default(), Arc::new(RecordClock::default()));
        let documents = |name| {
            let documents = scratch.documents(name, equality::same);
            Arc::new(NotedDocuments { notes: notes.clone(), name, documents })
        };
        let services = Services {
            event_log: Arc::new(NotedLog { notes: notes.clone() }),
            ledger: Arc::new(NotedLedger { notes: notes.clone(), ledger: scratch.ledger() }),
            statements: documents("statements"),
            schemas,
            clock: clock.clone(),
            observer: Arc::new(Unobserved),
        };
        // Nobody is asked for content: what a model would answer is another thing each time.
        let generator = lyceum_connect::generator::connect(&GeneratorSettings::Offline, None)?;
        let ports = Ports { services, generator, audit: documents("audit") };
        let catalog = Arc::new(lyceum_catalog::catalog());
        let subscribers = make(&ports, &catalog, &settings.process_config());
        let mut by_topic: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for (at, subscriber) in subscribers.iter().enumerate() {
            for topic in subscriber.subscription().topics() {
                by_topic.entry(topic).or_default().push(at);
            }
        }
        Ok(Self { subscribers, by_topic, dead_letter_topics: catalog.dead_letter_topics(), notes, clock, scratch })
    }

    /// What it greets with.
    pub fn welcome(&self) -> Welcome {
        let names = self.subscribers.iter().map(|of| of.subscription().name.to_owned()).collect();
        let mut topics: Vec<String> = self.by_topic.keys().map(|topic| (*topic).to_owned()).collect();
        topics.sort_unstable();
        Welcome::new(names, topics)
    }

    /// Judges the next record; a line of JSON, without the line's end.
    ///
    /// # Errors
    /// Where a store cannot be used: what was judged then means nothing.
    pub async fn judge(&self, record: &Record) -> anyhow::Result<Vec<u8>> {
        let readers = self.by_topic.get(&*record.position.topic).map_or(&[][..], Vec::as_slice);
        let mut judged = Vec::with_capacity(readers.len());
        for &at in readers {
            judged.push(self.judge_by(&*self.subscribers[at], record).await?);
        }
        if let Some(reason) = self.scratch.failed() {
            anyhow::bail!(reason);
        }
        Ok(serde_json::to_vec(&Line { at: &record.position, judged })?)
    }

    async fn judge_by(&self, subscriber: &dyn Subscriber, record: &Record) -> anyhow::Result<Judged> {
        let delivery = [Delivery::Record(record.clone())];
        let mut deliveries = 0;
        let report = loop {
            self.clock.set(record.timestamp_ms.max(0));
            deliveries += 1;
            let invocation = subscriber.invocation(record.timestamp_ms.max(0) + INVOCATION_MS);
            let report = subscriber.process(&delivery, &invocation).await.into_iter().next();
            let report = report.unwrap_or_else(|| Report::of(record.position.clone(), subscriber.subscription().name));
            if report.outcome.is_settled() || deliveries == DELIVERIES {
                break report;
            }
        };
        let noted = self.notes.take();
        let states = self.states(subscriber, &noted).await?;
        // What a view asked for is no decision's.
        self.notes.take();
        Ok(self.write(subscriber.subscription().name, report, deliveries, noted, states))
    }

    async fn states(&self, subscriber: &dyn Subscriber, noted: &Noted) -> anyhow::Result<States> {
        let subscription = subscriber.subscription();
        let mut states = States::new();
        for (id, state) in &noted.states {
            let AggregateId { tenant, kind, id } = id;
            let shown = match subscription.effect {
                // Numbers are shown of all partitions together.
                Effect::Counted => id.splitn(3, '/').nth(2),
                _ => Some(id.as_str()),
            };
            let view = match shown.filter(|_| subscription.kinds().contains(&kind.as_str())) {
                Some(shown) => subscriber.show(tenant, kind, shown).await?,
                None => None,
            };
            let of_kind = states.entry(kind.to_string()).or_default();
            let of_tenant = of_kind.entry(tenant.to_string()).or_default();
            of_tenant.insert(id.to_string(), State { state: Body::of(state), view });
        }
        Ok(states)
    }

    fn write(&self, by: &'static str, report: Report, deliveries: u32, noted: Noted, states: States) -> Judged {
        let Report { event_type, event_id, tenant, correlation_id, outcome, findings, anomalies, .. } = report;
        let (mut follow_ups, mut letters) = (Vec::new(), Vec::new());
        for (topic, record) in noted.publications {
            match self.dead_letter_topics.contains(&topic.as_str()) {
                true => letters.push(Letter::of(topic, &record)),
                false => follow_ups.push(FollowUp::of(topic, &record)),
            }
        }
        let (kind, reason) = match &outcome {
            Outcome::DeadLettered { kind } => (Some(kind.name()), None),
            Outcome::RetryLater { reason } => (None, Some(reason.to_string())),
            _ => (None, None),
        };
        // An aggregate that keeps keys writes those of earlier events once more.
        let own = |((tenant, id), key)| (Some(id) == event_id).then(|| Key::of(tenant, key));
        let keys = noted.keys.into_iter().filter_map(own).collect();
        Judged {
            by,
            event_type,
            event_id,
            tenant: tenant.map(Into::into),
            correlation_id: correlation_id.map(Into::into),
            outcome: outcome.name(),
            kind,
            reason,
            deliveries,
            findings,
            anomalies,
            named: noted.named.iter().map(|of| format!("{} {} of {}", of.kind, of.id, of.tenant)).collect(),
            states,
            keys,
            documents: noted.documents.iter().map(Document::of).collect(),
            follow_ups,
            letters,
        }
    }
}

/// An answer; [`super::protocol::beginning_of_answer`] is its beginning.
#[derive(Serialize)]
struct Line<'a> {
    at: &'a Position,
    judged: Vec<Judged>,
}

/// What one subscription decided about a record.
#[derive(Serialize)]
struct Judged {
    by: &'static str,
    event_type: &'static str,
    event_id: Option<Uuid>,
    tenant: Option<String>,
    correlation_id: Option<String>,
    outcome: &'static str,
    /// Of a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Why it is to be redelivered, also after several deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    deliveries: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    anomalies: Vec<Anomaly>,
    /// The aggregates that it asked for: by these one difference is known to come from another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    named: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    states: States,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Key>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    documents: Vec<Document>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    follow_ups: Vec<FollowUp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    letters: Vec<Letter>,
}

/// By kind, tenant and id.
type States = BTreeMap<String, BTreeMap<String, BTreeMap<String, State>>>;

#[derive(Serialize)]
struct State {
    /// As it is kept.
    state: Body,
    /// As a person is shown it.
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<Value>,
}

/// The event's idempotency key, by which the next release is to know it again.
#[derive(Serialize)]
struct Key {
    tenant: String,
    status: &'static str,
    content_sha256: String,
    home: Option<String>,
}

impl Key {
    fn of(tenant: String, key: WrittenKey) -> Self {
        let status = match key.status {
            KeyStatus::Applied => "applied",
            KeyStatus::Dead => "dead",
        };
        Self { tenant, status, content_sha256: hex(&key.content_hash), home: key.home }
    }
}

#[derive(Serialize)]
struct Document {
    store: &'static str,
    id: Uuid,
    stored: &'static str,
    stored_ms: i64,
    source: Position,
    correlation_id: String,
    fields: BTreeMap<&'static str, Value>,
    raw_bytes: usize,
    raw_sha256: String,
}

impl Document {
    fn of((store, document, outcome): &(&'static str, StatementDocument, StoreOutcome)) -> Self {
        let stored = match outcome {
            StoreOutcome::Created => "created",
            StoreOutcome::Duplicate { .. } => "duplicate",
            StoreOutcome::Conflict { .. } => "conflict",
            StoreOutcome::Refused { .. } => "refused",
            StoreOutcome::Unavailable { .. } => "unavailable",
        };
        let mut fields = BTreeMap::new();
        for field in &FIELDS {
            let mut values = Vec::new();
            field.for_each_value(document, |value: FieldValue<'_>| values.push(value.to_json()));
            let value = match values.len() {
                0 => continue,
                1 => values.remove(0),
                _ => Value::Array(values),
            };
            fields.insert(field.name, value);
        }
        Self {
            store,
            id: document.id,
            stored,
            stored_ms: document.stored_ms,
            source: document.source.clone(),
            correlation_id: document.correlation_id.to_string(),
            fields,
            raw_bytes: document.raw.len(),
            raw_sha256: hex(&Sha256::digest(&document.raw)),
        }
    }
}

#[derive(Serialize)]
struct FollowUp {
    topic: String,
    key: Option<Body>,
    headers: BTreeMap<String, Option<Body>>,
    value: Option<Body>,
}

impl FollowUp {
    fn of(topic: String, record: &NewRecord) -> Self {
        Self {
            topic,
            key: record.key.as_ref().map(Body::text),
            headers: headers(&record.headers),
            value: record.value.as_ref().map(Body::of),
        }
    }
}

#[derive(Serialize)]
struct Letter {
    topic: String,
    key: Option<Body>,
    headers: BTreeMap<String, Option<Body>>,
    /// The original is the record's own, and need not be told; `None` where the letter goes without.
    value_bytes: Option<usize>,
    value_sha256: Option<String>,
}

impl Letter {
    fn of(topic: String, record: &NewRecord) -> Self {
        Self {
            topic,
            key: record.key.as_ref().map(Body::text),
            headers: headers(&record.headers),
            value_bytes: record.value.as_ref().map(Bytes::len),
            value_sha256: record.value.as_ref().map(|value| hex(&Sha256::digest(value))),
        }
    }
}

/// By name; a further one of a name has its number behind it.
fn headers(headers: &[Header]) -> BTreeMap<String, Option<Body>> {
    let mut named = BTreeMap::new();
    for Header { name, value } in headers {
        let mut unique = name.clone();
        let mut number = 1;
        while named.contains_key(&unique) {
            number += 1;
            unique = format!("{name}#{number}");
        }
        named.insert(unique, value.as_ref().map(Body::text));
    }
    named
}

/// Bytes as JSON says them best.
#[derive(Serialize)]
#[serde(untagged)]
enum Body {
    /// JSON, as it was written.
    Raw(Box<RawValue>),
    Value(Value),
    Text(String),
    Bytes {
        base64: String,
    },
}

impl Body {
    /// Of what is mostly JSON.
    fn of(bytes: &Bytes) -> Self {
        // An answer is one line.
        if bytes.contains(&b'\n') {
            return serde_json::from_slice(bytes).map_or_else(|_| Self::text(bytes), Self::Value);
        }
        let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
        let raw = text.and_then(|text| RawValue::from_string(text).ok());
        raw.map_or_else(|| Self::text(bytes), Self::Raw)
    }

    /// Of what is mostly text.
    fn text(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: BASE64.encode(bytes) },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
