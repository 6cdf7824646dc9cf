//! The aggregations that this port promises, read from Elasticsearch's JSON: `terms`, `cardinality`, `min`, `max`, `avg`,
//! `stats`, `filter` and `missing` with sub-aggregations. A store that has an engine of its own translates them; the model evaluates
//! them. What is not promised is refused by name, so that no question works on one store alone.
//!
//! Source: <https://www.elastic.co/docs/reference/aggregations>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::StatementsError;
use super::semantics::{FIELDS, Field, FieldKind, FieldValue, index_term};

/// The most buckets of an answer; Elasticsearch's `search.max_buckets` is as good as the same.
pub const MAX_BUCKETS: u32 = 65_000;

/// Aggregations by the names that the asker gave them.
pub type Aggregations = BTreeMap<String, Aggregation>;

/// One aggregation and what is asked of each of its buckets.
pub struct Aggregation {
    /// What it does.
    pub kind: AggregationKind,
    /// Sub-aggregations; empty under a metric.
    pub aggregations: Aggregations,
}

/// What an aggregation does.
pub enum AggregationKind {
    /// A bucket for each value, most documents first, then by value.
    Terms {
        /// Whose values.
        field: &'static Field,
        /// How many buckets at most; 10 where the asker does not say.
        size: u32,
    },
    /// One bucket of the documents that have this value.
    Filter {
        /// Whose value.
        field: &'static Field,
        /// Which value.
        value: FieldValue<'static>,
    },
    /// One bucket of the documents that have no value.
    Missing {
        /// Whose value.
        field: &'static Field,
    },
    /// How many different values there are.
    Cardinality {
        /// Whose values.
        field: &'static Field,
    },
    /// A number over all values.
    Metric {
        /// Which number.
        metric: Metric,
        /// Whose values; not a text.
        field: &'static Field,
    },
}

/// A number over all values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The arithmetic mean.
    Avg,
    /// All of them, with count and sum.
    Stats,
}

impl Metric {
    /// Its name in the JSON of a question.
    pub fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Stats => "stats",
        }
    }
}

/// Reads aggregations; the error says which one is wrong and what would be right.
pub fn parse(aggregations: &Value) -> Result<Aggregations, StatementsError> {
    object(aggregations, "aggregations")?
        .iter()
        .map(|(name, body)| Ok((name.clone(), parse_one(name, body)?)))
        .collect()
}

fn parse_one(name: &str, body: &Value) -> Result<Aggregation, StatementsError> {
    let mut kind = None;
    let mut aggregations = Aggregations::new();
    for (key, value) in object(body, name)? {
        match key.as_str() {
            "aggs" | "aggregations" => aggregations = parse(value)?,
            _ if kind.is_some() => return Err(refuse(name, "has two types")),
            _ => kind = Some(parse_kind(name, key, object(value, name)?)?),
        }
    }
    let kind = kind.ok_or_else(|| refuse(name, "has no type; name one of terms, filter, cardinality, min …"))?;
    let is_metric = matches!(kind, AggregationKind::Cardinality { .. } | AggregationKind::Metric { .. });
    if is_metric && !aggregations.is_empty() {
        return Err(refuse(name, "is a metric, which has no sub-aggregations"));
    }
    Ok(Aggregation { kind, aggregations })
}

fn parse_kind(name: &str, kind: &str, body: &Map<String, Value>) -> Result<AggregationKind, StatementsError> {
    let metric = |metric| {
        let field = field_of(name, body, &["field"])?;
        match field.kind {
            FieldKind::Text => Err(refuse(name, &format!("asks {kind} of the text field {}", field.name))),
            _ => Ok(AggregationKind::Metric { metric, field }),
        }
    };
    match kind {
        "terms" => {
            let field = field_of(name, body, &["field", "size"])?;
            let size = body.get("size").map_or(Some(10), Value::as_u64);
            let size = size.and_then(|size| u32::try_from(size).ok()).filter(|size| (1..=MAX_BUCKETS).contains(size));
            let size = size.ok_or_else(|| refuse(name, &format!("needs a size from 1 to {MAX_BUCKETS}")))?;
            Ok(AggregationKind::Terms { field, size })
        }
        "missing" => Ok(AggregationKind::Missing { field: field_of(name, body, &["field"])? }),
        "cardinality" => Ok(AggregationKind::Cardinality { field: field_of(name, body, &["field"])? }),
        "min" => metric(Metric::Min),
        "max" => metric(Metric::Max),
        "avg" => metric(Metric::Avg),
        "stats" => metric(Metric::Stats),
        "filter" => {
            let term = body.get("term").filter(|_| body.len() == 1).and_then(Value::as_object);
            let (field, value) = term
                .filter(|term| term.len() == 1)
                .and_then(|term| term.iter().next())
                .ok_or_else(|| refuse(name, r#"needs the form {"filter": {"term": {"<field>": <value>}}}"#))?;
            let field = known_field(name, field)?;
            let value = field_value(field.kind, value)
                .ok_or_else(|| refuse(name, &format!("compares {} with a value of another kind", field.name)))?;
            Ok(AggregationKind::Filter { field, value })
        }
        other => Err(refuse(
            name,
            &format!("is of type {other:?}; there are terms, filter, missing, cardinality, min, max, avg and stats"),
        )),
    }
}

fn field_value(kind: FieldKind, value: &Value) -> Option<FieldValue<'static>> {
    Some(match kind {
        FieldKind::Text => FieldValue::Text(Cow::Owned(index_term(value.as_str()?).into_owned())),
        FieldKind::Long => FieldValue::Long(value.as_i64()?),
        FieldKind::Double => FieldValue::Double(value.as_f64()? + 0.0),
        FieldKind::Boolean => FieldValue::Boolean(value.as_bool()?),
    })
}

fn field_of(name: &str, body: &Map<String, Value>, allowed: &[&str]) -> Result<&'static Field, StatementsError> {
    if let Some(key) = body.keys().find(|key| !allowed.contains(&key.as_str())) {
        return Err(refuse(name, &format!("has the parameter {key:?}; there are {}", allowed.join(", "))));
    }
    let field = body.get("field").and_then(Value::as_str).ok_or_else(|| refuse(name, "names no field"))?;
    known_field(name, field)
}

fn known_field(name: &str, field: &str) -> Result<&'static Field, StatementsError> {
    Field::named(field).ok_or_else(|| {
        let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        refuse(name, &format!("names the field {field:?}; there are {}", names.join(", ")))
    })
}

fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, StatementsError> {
    value.as_object().ok_or_else(|| refuse(name, "is no JSON object"))
}

fn refuse(name: &str, reason: &str) -> StatementsError {
    StatementsError::Refused(format!("the aggregation {name:?} {reason}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_promised_is_refused_and_named() {
        for (aggregations, named) in [
            (json!([]), "no JSON object"),
            (json!({"a": {}}), "no type"),
            (json!({"a": {"date_histogram": {"field": "day"}}}), "date_histogram"),
            (json!({"a": {"terms": {"field": "verbs"}}}), "verbs"),
            (json!({"a": {"terms": {"field": "verb", "order": {}}}}), "order"),
            (json!({"a": {"terms": {"field": "verb", "size": 0}}}), "size"),
            (json!({"a": {"min": {"field": "verb"}}}), "text field"),
            (json!({"a": {"min": {"field": "score_raw"}, "aggs": {"b": {"max": {"field": "score_raw"}}}}}), "metric"),
            (json!({"a": {"filter": {"range": {}}}}), "term"),
            (json!({"a": {"filter": {"term": {"success": 1}}}}), "another kind"),
            (json!({"a": {"terms": {"field": "verb"}, "avg": {"field": "score_raw"}}}), "two types"),
        ] {
            let Err(error) = parse(&aggregations) else { panic!("{aggregations} was accepted") };
            assert!(matches!(&error, StatementsError::Refused(reason) if reason.contains(named)), "{error}");
        }
    }
}
