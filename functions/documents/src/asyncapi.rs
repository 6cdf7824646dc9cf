//! The AsyncAPI document (3.1.0, Kafka bindings 0.5.0): topics as channels, subscriptions as operations, event types as messages.

use std::collections::BTreeMap;

use lyceum_catalog::FAMILIES;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::payload::{Criticality, Field, Form};
use lyceum_core::ports::event_log::TopicSpec;
use lyceum_core::subscription::{Effect, Subscription};
use lyceum_functions::functions;
use serde_json::{Map, Value, json};

use crate::{Event, events, schema};

/// Of AsyncAPI.
const VERSION: &str = "3.1.0";
/// Of its Kafka bindings.
const BINDINGS: &str = "0.5.0";
/// Of a Kafka message; its parser knows no other name for Avro's JSON.
const AVRO: &str = "application/vnd.apache.avro;version=1.9.0";
/// The message of a dead letter.
const DEAD_LETTER: &str = "dead_letter";

/// What the document says of where it holds.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The topics with their partitions and retention, those of dead letters included.
    pub topics: Vec<TopicSpec>,
    /// The beginning of each consumer group's name: `lyceum` of `lyceum-training`.
    pub group: String,
    /// The brokers; `None` where the environment names none.
    pub kafka: Option<Brokers>,
    /// Where the HTTP API is: `127.0.0.1:8080`.
    pub http: String,
    /// Whether the HTTP API asks for a token.
    pub asks_for_token: bool,
}

/// The brokers, and how a client proves who it is.
#[derive(Clone, Debug)]
pub struct Brokers {
    /// `host:port` each.
    pub hosts: Vec<String>,
    /// Whether the connection is by TLS.
    pub tls: bool,
    /// How a client proves who it is.
    pub security: Vec<Proof>,
}

/// How a client proves to brokers who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// User and password, as they are.
    Plain,
    /// SCRAM-SHA-256.
    Scram256,
    /// SCRAM-SHA-512.
    Scram512,
    /// A token signed with credentials of AWS IAM.
    Iam,
    /// A certificate.
    Certificate,
}

impl Brokers {
    /// Of what a client is configured with: `host:port` separated by commas, and the mechanism of SASL, where it uses that.
    pub fn of(servers: &str, tls: bool, has_certificate: bool, mechanism: Option<&str>) -> Self {
        let certificate = has_certificate.then_some(Proof::Certificate);
        let sasl = mechanism.map(|mechanism| match mechanism {
            "PLAIN" => Proof::Plain,
            "SCRAM-SHA-256" => Proof::Scram256,
            "OAUTHBEARER" => Proof::Iam,
            _ => Proof::Scram512,
        });
        let hosts = servers.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty());
        Self { hosts: hosts.collect(), tls, security: certificate.into_iter().chain(sasl).collect() }
    }
}

impl Proof {
    fn scheme(self) -> (&'static str, Value) {
        match self {
            Self::Plain => ("plain", json!({"type": "plain", "description": "SASL PLAIN: user and password"})),
            Self::Scram256 => {
                ("scramSha256", json!({"type": "scramSha256", "description": "SASL SCRAM-SHA-256: user and password"}))
            }
            Self::Scram512 => {
                ("scramSha512", json!({"type": "scramSha512", "description": "SASL SCRAM-SHA-512: user and password"}))
            }
            Self::Iam => (
                "awsIam",
                json!({
                    "type": "apiKey", "in": "password",
                    "description": "SASL OAUTHBEARER: a token signed with credentials of AWS IAM, as Amazon MSK takes it",
                }),
            ),
            Self::Certificate => {
                ("certificate", json!({"type": "X509", "description": "Mutual TLS: a certificate of the client"}))
            }
        }
    }
}

/// The document.
pub fn document(of: &Deployment) -> Value {
    let mut schemes = Map::new();
    if let Some(kafka) = &of.kafka {
        schemes
            .extend(kafka.security.iter().map(|proof| proof.scheme()).map(|(name, scheme)| (name.to_owned(), scheme)));
    }
    if of.asks_for_token {
        let scheme = json!({"type": "http", "scheme": "bearer", "description": "A token gives a tenant and roles; publishing needs the role publish"});
        schemes.insert("bearer".to_owned(), scheme);
    }
    let mut components = json!({
        "messages": messages(),
        "schemas": schemas(),
    });
    if !schemes.is_empty() {
        components["securitySchemes"] = Value::Object(schemes);
    }
    json!({
        "asyncapi": VERSION,
        "info": {
            "title": "Lyceum",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description(),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": FAMILIES.iter().map(|family| json!({"name": family.name})).collect::<Vec<_>>(),
        },
        "defaultContentType": "application/json",
        "servers": servers(of),
        "channels": channels(of),
        "operations": operations(of),
        "components": components,
    })
}

fn description() -> String {
    let mut text = "The events of learning platforms that Lyceum takes and publishes: each is proved valid, its effect happens \
                    once, and what can never succeed becomes a dead letter that says why. `x-criticality` says how bad it is when one is late or lost:"
        .to_owned();
    for of in Criticality::ALL {
        text.push_str(&format!(" {}: {};", of.name(), of.meaning()));
    }
    text.pop();
    text.push('.');
    text
}

fn servers(of: &Deployment) -> Value {
    let mut servers = Map::new();
    match &of.kafka {
        Some(kafka) => {
            let security: Vec<Value> = kafka
                .security
                .iter()
                .map(|proof| json!({"$ref": format!("#/components/securitySchemes/{}", proof.scheme().0)}))
                .collect();
            for (at, host) in kafka.hosts.iter().enumerate() {
                let name = if at == 0 { "kafka".to_owned() } else { format!("kafka{}", at + 1) };
                let mut server = json!({
                    "host": host,
                    "protocol": if kafka.tls { "kafka-secure" } else { "kafka" },
                    "description": "A broker from which the others are found",
                });
                if !security.is_empty() {
                    server["security"] = json!(security);
                }
                servers.insert(name, server);
            }
        }
        None => {
            let server = json!({
                "host": "{brokers}",
                "protocol": "kafka",
                "description": "The brokers of a deployment. The environment names none: a process that has it keeps its events in a file of \
                                its own, and takes the same events over HTTP",
                "variables": {"brokers": {"default": "localhost:9092", "description": "KAFKA_BOOTSTRAP_SERVERS"}},
            });
            servers.insert("kafka".to_owned(), server);
        }
    }
    let mut http = json!({
        "host": of.http,
        "protocol": "http",
        "description": "POST /events/{topic} takes one event or an array of them, for who has no Kafka client",
    });
    if of.asks_for_token {
        http["security"] = json!([{"$ref": "#/components/securitySchemes/bearer"}]);
    }
    servers.insert("http".to_owned(), http);
    Value::Object(servers)
}

fn messages_on(topic: &str) -> impl Iterator<Item = Event> {
    events().filter(move |event| event.topic.name == topic)
}

fn channels(of: &Deployment) -> Value {
    let families: BTreeMap<&str, (&str, &str)> = FAMILIES
        .iter()
        .flat_map(|family| family.topics.iter().map(|topic| (topic.name, (family.name, topic.key))))
        .collect();
    let mut channels = Map::new();
    for topic in &of.topics {
        let mut messages: Map<String, Value> = messages_on(&topic.name)
            .map(|event| (event.name.to_owned(), json!({"$ref": format!("#/components/messages/{}", event.name)})))
            .collect();
        let family = families.get(topic.name.as_str());
        let description = match family {
            Some((family, key)) => format!("Events of the family {family}, keyed by {key}: order holds for a key."),
            None => "Dead letters: the original record with headers that say why it can never succeed.".to_owned(),
        };
        if messages.is_empty() {
            messages.insert(DEAD_LETTER.to_owned(), json!({"$ref": format!("#/components/messages/{DEAD_LETTER}")}));
        }
        let mut configuration = json!({"cleanup.policy": ["delete"]});
        if let Some(age) = topic.retention.age {
            configuration["retention.ms"] = json!(age.as_millis() as u64);
        }
        if let Some(bytes) = topic.retention.bytes {
            configuration["retention.bytes"] = json!(bytes);
        }
        let mut channel = json!({
            "address": topic.name,
            "title": topic.name,
            "description": description,
            "messages": messages,
            "bindings": {"kafka": {
                "topic": topic.name, "partitions": topic.partitions, "topicConfiguration": configuration, "bindingVersion": BINDINGS,
            }},
        });
        if let Some((family, _)) = family {
            channel["tags"] = json!([{ "name": family }]);
        }
        channels.insert(topic.name.clone(), channel);
    }
    Value::Object(channels)
}

/// What a subscription does, for people.
pub(crate) fn what_it_does(of: &Subscription) -> &'static str {
    match of.effect {
        Effect::Stateful { .. } => "keeps state, and stores each event as a document",
        Effect::Documents => "stores each event as a document",
        Effect::Counted => "stores each event as a document, and counts it",
        Effect::Reaction => "answers events with others",
        Effect::Watching { .. } => "keeps watch over events, and answers some with others",
        Effect::Calling => "asks a service, and publishes its answer",
        Effect::Audit => "keeps every record, readable or not, in the audit log",
    }
}

fn operations(of: &Deployment) -> Value {
    let mut operations = Map::new();
    let reference = |topic: &str, message: &str| json!({"$ref": format!("#/channels/{topic}/messages/{message}")});
    for subscription in functions().map(|function| function.subscription) {
        let binding = json!({
            "groupId": {"type": "string", "enum": [format!("{}-{}", of.group, subscription.name)]}, "bindingVersion": BINDINGS,
        });
        for topic in subscription.topics() {
            let mut messages: Vec<Value> = messages_on(topic)
                .filter(|event| subscription.wants(topic, event.name))
                .map(|event| reference(topic, event.name))
                .collect();
            if messages.is_empty() {
                messages.push(reference(topic, DEAD_LETTER));
            }
            let operation = json!({
                "action": "receive",
                "channel": {"$ref": format!("#/channels/{topic}")},
                "title": format!("{} receives", subscription.name),
                "summary": format!("{} reads {topic}: it {}.", subscription.name, what_it_does(subscription)),
                "messages": messages,
                "bindings": {"kafka": binding},
            });
            operations.insert(format!("{}.receives.{topic}", subscription.name), operation);
        }
        for topic in subscription.publishes {
            let messages: Vec<Value> = messages_on(topic).map(|event| reference(topic, event.name)).collect();
            let operation = json!({
                "action": "send",
                "channel": {"$ref": format!("#/channels/{topic}")},
                "title": format!("{} sends", subscription.name),
                "summary": format!("What follows from the events of {}.", subscription.name),
                "messages": messages,
            });
            operations.insert(format!("{}.sends.{topic}", subscription.name), operation);
        }
        // Whatever a record is, it has an entry.
        if subscription.effect == Effect::Audit {
            continue;
        }
        let letters = subscription.dead_letters;
        let mut topics = vec![letters.validation, letters.processing, letters.database];
        topics.dedup();
        for topic in topics {
            let operation = json!({
                "action": "send",
                "channel": {"$ref": format!("#/channels/{topic}")},
                "title": format!("{} gives up", subscription.name),
                "summary": format!("What can never succeed of what {} reads.", subscription.name),
                "messages": [reference(topic, DEAD_LETTER)],
            });
            operations.insert(format!("{}.sends.{topic}", subscription.name), operation);
        }
    }
    Value::Object(operations)
}

fn messages() -> Value {
    let mut messages: Map<String, Value> = events().map(|event| (event.name.to_owned(), message(&event))).collect();
    let letter = json!({
        "name": DEAD_LETTER,
        "title": "A dead letter",
        "summary": "The original record, key, value and headers byte for byte, and headers that say why.",
        "contentType": "application/octet-stream",
        "headers": {"$ref": "#/components/schemas/dead_letter_headers"},
        "payload": {},
    });
    messages.insert(DEAD_LETTER.to_owned(), letter);
    Value::Object(messages)
}

/// The fields as people read them.
fn fields(event: &Event) -> Vec<Value> {
    let field = |of: &Field| {
        json!({
            "name": of.name, "place": schema::place(event.form, of), "holds": schema::words(of.kind),
            "required": of.presence.words(), "about": of.about,
        })
    };
    event.payload.fields.iter().map(field).collect()
}

/// The name of a family's Avro schema among the components.
fn avro_name(event: &Event) -> String {
    format!("{}.avro", event.family.name)
}

fn message(event: &Event) -> Value {
    let examples: Vec<Value> =
        event.examples().into_iter().map(|(name, payload)| json!({"name": name, "payload": payload})).collect();
    let (content_type, payload) = match event.form {
        Form::Avro => {
            ("application/vnd.apache.avro", json!({"$ref": format!("#/components/schemas/{}", avro_name(event))}))
        }
        Form::Statement | Form::Charter => {
            let mut schema = schema::of(event);
            if let Some(members) = schema.as_object_mut() {
                members.retain(|name, _| !matches!(name.as_str(), "examples" | "x-criticality"));
            }
            ("application/json", schema)
        }
    };
    let effect = event.event_type.map_or("stored for search and analytics", |of| of.effect);
    json!({
        "name": event.name,
        "title": event.name,
        "summary": event.payload.purpose,
        "description": format!("Effect: {effect}."),
        "contentType": content_type,
        "headers": {"$ref": "#/components/schemas/headers"},
        "correlationId": {"location": "$message.header#/correlation-id"},
        "payload": payload,
        "tags": [{"name": event.family.name}],
        "bindings": {"kafka": {"key": {"type": "string", "description": format!("The {}", event.topic.key)}, "bindingVersion": BINDINGS}},
        "examples": examples,
        "x-criticality": event.payload.criticality.name(),
        "x-effect": effect,
        "x-fields": fields(event),
    })
}

fn schemas() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let mut letter = json!({
        "lyceum-error-kind": {"type": "string", "enum": DeadLetterKind::ALL.map(DeadLetterKind::name), "description": "What is wrong"},
        "lyceum-error-detail": text("JSON: every finding, or the chain of causes"),
        "lyceum-source": text("topic/partition/offset of the original"),
        "lyceum-source-timestamp": text("When the original was written"),
        "lyceum-attempts": text("How often it was tried"),
        "lyceum-first-failed-at": text("RFC 3339"),
        "lyceum-last-failed-at": text("RFC 3339"),
        "lyceum-family": text("The subscription that gave it up"),
        "correlation-id": text("That of the original"),
    });
    // What the original had.
    letter["event-id"] = text("That of the original");
    let mut schemas = json!({
        "headers": {
            "type": "object",
            "description": "None is needed; what the value says, too, must be the same",
            "properties": {
                "event-id": {"type": "string", "format": "uuid", "description": "Names the event once and for all"},
                "event-type": text("As in the value"),
                "correlation-id": text("Travels with everything that follows from the event"),
                "tenant-id": text("Whose it is"),
                "traceparent": text("A trace context of W3C: carried, never begun"),
                "schema-version": text("Of a module's envelope"),
            },
        },
        "dead_letter_headers": {"type": "object", "properties": letter},
    });
    for event in events().filter(|event| event.form == Form::Avro) {
        let schema = event.avro_schema().and_then(|text| serde_json::from_str::<Value>(text).ok());
        schemas[avro_name(&event)] = json!({"schemaFormat": AVRO, "schema": schema});
    }
    schemas
}
