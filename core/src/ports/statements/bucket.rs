//! A bucket of an answer in the shape that every store gives, made of the one that an engine gave.

use serde_json::{Map, Value, json};

use super::aggregation::Aggregations;
use super::semantics::FieldKind;

/// What a store makes of the engine's answer to aggregations.
pub type Shape = fn(&Aggregations, &mut Value) -> Map<String, Value>;

/// A bucket: how many documents it has, and what was asked of them.
pub fn shape_bucket(aggregations: &Aggregations, mut bucket: Value, shape: Shape) -> Map<String, Value> {
    let mut shaped = shape(aggregations, &mut bucket);
    shaped.insert("doc_count".into(), bucket["doc_count"].take());
    shaped
}

/// A bucket of `terms`, with its key as one value of the field. Engines add a text to keys of other kinds, too; of a
/// truth value alone it is promised.
pub fn shape_keyed(kind: FieldKind, aggregations: &Aggregations, mut bucket: Value, shape: Shape) -> Value {
    let key = match kind {
        FieldKind::Text => bucket["key"].take(),
        FieldKind::Long => json!(bucket["key"].as_i64()),
        FieldKind::Double => json!(bucket["key"].as_f64()),
        FieldKind::Boolean => json!(bucket["key"].as_f64().map(|key| key as u8)),
    };
    let text = bucket.get_mut("key_as_string").filter(|_| kind == FieldKind::Boolean).map(Value::take);
    let mut shaped = shape_bucket(aggregations, bucket, shape);
    shaped.insert("key".into(), key);
    shaped.extend(text.map(|text| ("key_as_string".into(), text)));
    Value::Object(shaped)
}
