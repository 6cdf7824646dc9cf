//! Events in Avro as apache-avro, which shares no code with the format, writes them.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, rabin::Rabin};

/// A schema with its fingerprint.
pub struct Writer {
    /// As apache-avro reads it.
    pub schema: Schema,
    fingerprint: Vec<u8>,
}

impl Writer {
    /// Of a schema's text.
    pub fn of(text: &str) -> Self {
        let schema = Schema::parse_str(text).expect("a schema of the catalog");
        let fingerprint = schema.fingerprint::<Rabin>().bytes;
        Self { schema, fingerprint }
    }

    /// The event without a framing.
    pub fn bare(&self, event: Value) -> Vec<u8> {
        bare(&self.schema, event)
    }

    /// The event as a single object.
    pub fn single(&self, event: Value) -> Vec<u8> {
        [&[0xC3, 1], self.fingerprint.as_slice(), &self.bare(event)].concat()
    }
}

/// A value without a framing.
pub(crate) fn bare(schema: &Schema, value: Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().expect("a schema that can be written by");
    writer.write_value_to_vec(value).expect("a value of the schema")
}

/// A record of these fields.
pub fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A value, or null, of a union of null and its type.
pub fn or_null(value: Option<Value>) -> Value {
    match value {
        Some(value) => Value::Union(1, Box::new(value)),
        None => Value::Union(0, Box::new(Value::Null)),
    }
}

/// What every event has around its payload, which is of that branch.
pub fn event(id: &str, (at, symbol): (u32, &str), occurred_at_ms: i64, user: &str, payload: (u32, Value)) -> Value {
    record(vec![
        ("event_id", Value::Uuid(id.parse().expect("a UUID"))),
        ("event_type", Value::Enum(at, symbol.to_owned())),
        ("occurred_at", Value::TimestampMillis(occurred_at_ms)),
        ("user_id", Value::String(user.to_owned())),
        ("tenant_id", Value::String("academy".to_owned())),
        ("correlation_id", or_null(Some(Value::String("week-9".to_owned())))),
        ("payload", Value::Union(payload.0, Box::new(payload.1))),
    ])
}
