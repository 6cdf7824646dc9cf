//! Events of the families behind every framing: what a writer of any release wrote is read alike behind all of them and in JSON, and
//! no bytes do more than be refused.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use apache_avro::types::Value;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use lyceum_catalog::{content, engagement, learning};
use lyceum_core::catalog::{Catalog, FamilySpec};
use lyceum_core::envelope::{EnvelopeConfig, Hint, RULES};
use lyceum_core::family::TypedEvent;
use lyceum_core::formats::avro::{Avro, AvroEvents, MAPPING_HEADER, Schema, Writer};
use lyceum_core::formats::{Format, Opened};
use lyceum_core::outcome::Finding;
use lyceum_core::ports::schemas::{SchemaRef, Schemas};
use lyceum_core::record::{Header, Position, Record};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::choices::Choices;
use crate::schemas::{Both, value_of};
use crate::written::bare;

/// So much memory may reading a record take, where nothing is inflated, and where something is.
const MEMORY: [u64; 2] = [256 << 10, 64 << 20];
/// And so much for each of its bytes.
const MEMORY_A_BYTE: u64 = 200;

/// A family, as what is checked of it needs it.
struct Family {
    topic: &'static str,
    /// Of each version, oldest first.
    schemas: Vec<Json>,
    fingerprints: Vec<u64>,
    /// Each of them with itself, as both implementations have it.
    pairs: Vec<Both>,
    /// The event types of each branch of a payload.
    types: &'static [&'static [&'static str]],
    registered: Schemas<Writer>,
    open: fn(&Record, &Schemas<Writer>) -> Verdict,
}

/// What a record turned out to be.
#[derive(Debug, PartialEq)]
enum Verdict {
    Tombstone,
    Missing(SchemaRef),
    Invalid,
    Event(Json),
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(lyceum_catalog::catalog);
static CONFIG: LazyLock<EnvelopeConfig> = LazyLock::new(EnvelopeConfig::default);
static FAMILIES: LazyLock<[Family; 3]> = LazyLock::new(|| {
    [
        family::<_, lyceum_learning::events::Event>(
            &learning::SCHEMAS,
            learning::SPEC.topics[0].name,
            |record, schemas| open::<lyceum_learning::events::Event>(&learning::SPEC, record, schemas),
        ),
        family::<_, lyceum_content::events::Event>(
            &content::SCHEMAS,
            content::SPEC.topics[0].name,
            |record, schemas| open::<lyceum_content::events::Event>(&content::SPEC, record, schemas),
        ),
        family::<_, lyceum_engagement::events::Event>(
            &engagement::SCHEMAS,
            engagement::SPEC.topics[0].name,
            |record, schemas| open::<lyceum_engagement::events::Event>(&engagement::SPEC, record, schemas),
        ),
    ]
});

fn family<E: AvroEvents, T: TypedEvent<Format = Avro<E>>>(
    texts: &[&'static str],
    topic: &'static str,
    open: fn(&Record, &Schemas<Writer>) -> Verdict,
) -> Family {
    let names = |version: usize| {
        let number = Uuid::from_u128(version as u128);
        [SchemaRef::Id(version as i32), SchemaRef::Guid(number), SchemaRef::Version(number)]
    };
    let registered = texts.iter().enumerate().flat_map(|(version, text)| {
        let parsed = Arc::new(T::Format::parse(text).expect("a schema of the catalog"));
        names(version).map(|name| (name, Some(Arc::clone(&parsed))))
    });
    Family {
        topic,
        schemas: texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect(),
        fingerprints: texts.iter().map(|text| Schema::parse(text).expect("a schema").fingerprint()).collect(),
        pairs: texts.iter().map(|text| Both::of(text, text)).collect(),
        types: E::TYPES,
        registered: registered.collect(),
        open,
    }
}

/// Opens a record as its family's function does, and reads what the family reads of it.
fn open<T: TypedEvent<Format: Format<Schema = Writer>>>(
    spec: &'static FamilySpec,
    record: &Record,
    schemas: &Schemas<Writer>,
) -> Verdict {
    let hint = Hint { family: Some(spec), catalog: &CATALOG, config: &CONFIG };
    match T::Format::open(record, hint, schemas) {
        Opened::Tombstone => Verdict::Tombstone,
        Opened::Missing(schema) => Verdict::Missing(schema),
        Opened::Invalid(invalid) => {
            judge(&invalid.findings);
            Verdict::Invalid
        }
        Opened::Event(envelope) => match T::read(&envelope) {
            Ok(event) => {
                let fields = serde_json::to_vec(&event).expect("fields");
                Verdict::Event(json!({
                    "id": envelope.id, "type": envelope.event_type, "tenant": envelope.tenant,
                    "correlation": envelope.correlation_id, "at": envelope.occurred_at_ms, "key": event.key(&envelope),
                    "fields": serde_json::from_slice::<Json>(&fields).expect("fields"),
                    "sameness": T::Format::sameness(&envelope, &fields),
                }))
            }
            Err(findings) => {
                judge(&findings);
                Verdict::Invalid
            }
        },
    }
}

/// What is refused says why, by rules that are known, and not without end.
fn judge(findings: &[Finding]) {
    assert!((1..=64).contains(&findings.len()), "{} findings", findings.len());
    let is_known = |finding: &Finding| RULES.contains(&&*finding.rule);
    assert!(findings.iter().all(is_known), "{findings:?}");
}

impl Family {
    fn any(choices: &mut Choices<'_>) -> &'static Self {
        &FAMILIES[choices.below(FAMILIES.len())]
    }

    /// What a record is, within the memory that it may take.
    fn judge(&self, (value, headers): (Vec<u8>, Vec<Header>)) -> Verdict {
        let is_inflated = value.starts_with(&[3, 5]);
        let most = MEMORY[usize::from(is_inflated)] + MEMORY_A_BYTE * value.len() as u64;
        let position = Position::new(self.topic, 0, 3);
        let record = Record { position, timestamp_ms: 5, key: None, value: Some(value.into()), headers };
        let mut verdict = Verdict::Tombstone;
        let taken = allocation_counter::measure(|| verdict = (self.open)(&record, &self.registered));
        assert!(taken.bytes_max <= most, "{} bytes of memory for {record:?}", taken.bytes_max);
        verdict
    }
}

/// How a schema is named.
const FRAMINGS: usize = 9;

/// A value and its headers by one of the framings.
fn framed(framing: usize, version: usize, fingerprint: u64, event: &[u8]) -> (Vec<u8>, Vec<Header>) {
    let number = Uuid::from_u128(version as u128).into_bytes();
    let header = |name: &str, value: Vec<u8>| (event.to_vec(), vec![Header::new(name, value)]);
    let value = match framing {
        0 => [&[0xC3, 1], &fingerprint.to_le_bytes()[..], event].concat(),
        1 => [&[0], &(version as i32).to_be_bytes()[..], event].concat(),
        2 => [&[3, 0], &number[..], event].concat(),
        3 => {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
            zlib.write_all(event).expect("memory takes it");
            [&[3, 5], &number[..], &zlib.finish().expect("memory takes it")].concat()
        }
        4 => return header("__value_schema_id", [&[0], &(version as i32).to_be_bytes()[..]].concat()),
        5 => return header("__value_schema_id", [&[1], &number[..]].concat()),
        6 => return header("avro-fingerprint", fingerprint.to_le_bytes().to_vec()),
        7 => return header("avro-fingerprint", format!("{fingerprint:016x}").into_bytes()),
        _ => return header(MAPPING_HEADER, version.to_string().into_bytes()),
    };
    (value, Vec::new())
}

/// Any bytes, framed or not, are no more than refused.
pub(crate) fn check_any(choices: &mut Choices<'_>) {
    let family = Family::any(choices);
    let (framing, version) = (choices.below(FRAMINGS + 4), choices.below(family.schemas.len() + 1));
    // A schema that nobody knows is a framing, too.
    let print = family.fingerprints.get(version).copied().unwrap_or_else(|| u64::from_le_bytes(choices.array()));
    let record = match framing {
        0..FRAMINGS => framed(framing, version, print, choices.rest()),
        FRAMINGS => ([b"{\"event_id\":", choices.rest()].concat(), Vec::new()),
        10 => (choices.rest().to_vec(), vec![Header::new("__value_schema_id", choices.array::<5>().to_vec())]),
        // What is inflated is any bytes again.
        11 => ([&[3, 5], &Uuid::from_u128(version as u128).into_bytes()[..], choices.rest()].concat(), Vec::new()),
        _ => (choices.rest().to_vec(), Vec::new()),
    };
    let verdict = family.judge(record);
    assert_ne!(verdict, Verdict::Tombstone, "it has a value");
}

/// An event that another implementation wrote is read alike behind every framing and in JSON; changed, it is another one or none.
pub(crate) fn check_written(choices: &mut Choices<'_>) {
    let family = Family::any(choices);
    let version = choices.below(family.schemas.len());
    let (schema, print, both) = (&family.schemas[version], family.fingerprints[version], &family.pairs[version]);
    let event = event_of(schema, family.types, choices);
    let bytes = bare(&both.writer.1, event.clone());
    let verdict = family.judge(framed(0, version, print, &bytes));
    let Verdict::Event(said) = &verdict else { panic!("{event:?} is {verdict:?}") };
    for (name, place) in [("event_id", "/id"), ("tenant_id", "/tenant"), ("occurred_at", "/at")] {
        assert_eq!(said.pointer(place), Some(&json_of(member(&event, name))), "{event:?}");
    }
    for framing in 1..FRAMINGS {
        assert_eq!(family.judge(framed(framing, version, print, &bytes)), verdict, "framing {framing} of {event:?}");
    }
    let as_json = json_of(&event).to_string().into_bytes();
    assert_eq!(family.judge((as_json.clone(), Vec::new())), verdict, "{event:?} in JSON");
    both.check(&bytes, true);
    // Changed before it is framed, or behind.
    let framing = choices.below(FRAMINGS + 1);
    if framing == FRAMINGS {
        let mut changed = as_json;
        choices.change(&mut changed);
        family.judge((changed, Vec::new()));
        return;
    }
    let mut changed = bytes.clone();
    choices.change(&mut changed);
    both.check(&changed, false);
    family.judge(framed(framing, version, print, &changed));
    let (mut value, headers) = framed(framing, version, print, &bytes);
    choices.change(&mut value);
    family.judge((value, headers));
}

/// An event of a schema that its family takes.
fn event_of(schema: &Json, types: &[&[&str]], choices: &mut Choices<'_>) -> Value {
    let Value::Record(mut fields) = value_of(schema, choices, true) else { panic!("{schema} is no record") };
    let member = |name: &str| {
        let is_it = |field: &&Json| field["name"] == name;
        &schema["fields"].as_array().expect("fields").iter().find(is_it).expect("a field of every event")["type"]
    };
    let symbols: Vec<&str> =
        member("event_type")["symbols"].as_array().expect("symbols").iter().filter_map(Json::as_str).collect();
    let known = symbols.iter().filter(|symbol| **symbol != "unknown").count();
    let at = choices.below(known);
    let branch = types.iter().position(|of| of.contains(&&*symbols[at].replace('_', "."))).expect("a branch");
    let payload = value_of(&member("payload")[branch], choices, true);
    for (name, value) in &mut fields {
        match name.as_str() {
            "event_type" => *value = Value::Enum(at as u32, symbols[at].to_owned()),
            "payload" => *value = Value::Union(branch as u32, Box::new(payload.clone())),
            _ => {}
        }
    }
    Value::Record(fields)
}

fn member<'v>(event: &'v Value, name: &str) -> &'v Value {
    let Value::Record(fields) = event else { panic!("{event:?} is no record") };
    &fields.iter().find(|(of, _)| of == name).expect("a field of every event").1
}

/// As a person writes it in JSON: a union is what stands in it.
fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(is) => json!(is),
        Value::Int(number) => json!(number),
        Value::Long(number) | Value::TimestampMillis(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::Uuid(id) => json!(id),
        Value::Enum(_, symbol) => json!(symbol),
        Value::Union(_, inner) => json_of(inner),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Record(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect::<Map<_, _>>())
        }
        other => panic!("no event has {other:?}"),
    }
}
