//! Lambda's event filtering, on the value of a record.
//!
//! Source: AWS Lambda developer guide, "Control which events Lambda sends to your function" and "Filtering events from
//! Amazon MSK and self-managed Apache Kafka event sources" (a Kafka mapping filters on `value` alone); EventBridge user
//! guide, "Comparison operators". The README says what is chosen where those pages are silent.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `FilterCriteria` as in a template: a record that matches any of the patterns reaches the function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FilterCriteria {
    /// Up to ten (AWS: five, ten on request).
    pub filters: Vec<FilterPattern>,
}

impl FilterCriteria {
    /// One filter for each pattern.
    pub fn of<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self { filters: patterns.into_iter().map(|pattern| FilterPattern { pattern: pattern.into() }).collect() }
    }
}

/// One of the filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FilterPattern {
    /// JSON as text, up to 4,096 characters: `{"value": {"verb": ["completed"]}}`.
    pub pattern: String,
}

/// Why the criteria cannot be used: every fault, each with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFilter(pub Vec<String>);

impl fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the filter criteria are invalid: {}", self.0.join("; "))
    }
}

impl std::error::Error for InvalidFilter {}

/// What the filter says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// The function gets it.
    Matched,
    /// No pattern matches.
    Dropped,
    /// A pattern asks for JSON and the value is none (or no UTF-8 at all); AWS drops such a record.
    DroppedUnreadable,
}

/// The compiled criteria.
#[derive(Clone, Debug)]
pub struct Filter {
    patterns: Vec<ObjectPattern>,
    asks_for_json: bool,
}

impl Filter {
    /// Compiles the criteria.
    ///
    /// # Errors
    /// Every fault together, each naming the filter and the JSON pointer within its pattern.
    pub fn new(criteria: &FilterCriteria) -> Result<Self, InvalidFilter> {
        let mut faults = Faults::default();
        if !(1..=10).contains(&criteria.filters.len()) {
            faults.0.push(format!("Filters has {} patterns: write 1 to 10", criteria.filters.len()));
        }
        let mut patterns = Vec::new();
        for (ordinal, FilterPattern { pattern }) in criteria.filters.iter().enumerate() {
            let place = format!("Filters/{ordinal}/Pattern");
            if pattern.chars().count() > 4096 {
                faults.add(&place, "is longer than 4,096 characters");
            }
            match serde_json::from_str(pattern) {
                Ok(Value::Object(object)) => {
                    let compiled = faults.compile_object(&place, &object);
                    faults.require_value_only(&place, &compiled);
                    patterns.push(compiled);
                }
                Ok(_) => faults.add(&place, "is no JSON object"),
                Err(error) => faults.add(&place, format_args!("is no JSON: {error}")),
            }
        }
        if !faults.0.is_empty() {
            return Err(InvalidFilter(faults.0));
        }
        let asks_for_json = patterns.iter().any(ObjectPattern::has_nested);
        Ok(Self { patterns, asks_for_json })
    }

    /// Judges a record's value; `None` is a tombstone, which reads as JSON's null.
    pub fn judge(&self, value: Option<&[u8]>) -> Filtering {
        let data = match value {
            None => Data::Json(Value::Null),
            Some(bytes) => match (serde_json::from_slice(bytes), std::str::from_utf8(bytes)) {
                (Ok(json @ (Value::Object(_) | Value::Array(_))), _) => Data::Json(json),
                (_, Ok(text)) => Data::Text(Value::String(text.to_owned())),
                (_, Err(_)) => return Filtering::DroppedUnreadable,
            },
        };
        if self.patterns.iter().any(|pattern| pattern.matches_record(&data)) {
            Filtering::Matched
        } else if self.asks_for_json && matches!(data, Data::Text(_)) {
            Filtering::DroppedUnreadable
        } else {
            Filtering::Dropped
        }
    }
}

/// A record's value: a JSON document, or plain text.
enum Data {
    Json(Value),
    Text(Value),
}

/// All fields match, and where there are alternatives, one of them does.
#[derive(Clone, Debug, Default)]
struct ObjectPattern {
    fields: Vec<(String, Node)>,
    alternatives: Vec<ObjectPattern>,
}

#[derive(Clone, Debug)]
enum Node {
    Object(ObjectPattern),
    Leaf(Vec<Matcher>),
}

#[derive(Clone, Debug)]
enum Matcher {
    Equals(Value),
    Exists(bool),
    Prefix(String),
    Suffix(String),
    /// Lower case.
    EqualsIgnoreCase(String),
    AnythingBut(Vec<Matcher>),
    Numeric(Vec<(Comparison, f64)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl ObjectPattern {
    fn has_nested(&self) -> bool {
        self.fields.iter().any(|(_, node)| matches!(node, Node::Object(_)))
            || self.alternatives.iter().any(Self::has_nested)
    }

    /// The outermost level, whose only field is `value`: a list there is for plain text, an object for JSON.
    fn matches_record(&self, data: &Data) -> bool {
        let matches_value = |node: &Node| match (node, data) {
            (Node::Object(_), Data::Text(_)) => false,
            (Node::Leaf(_), Data::Json(Value::Object(_) | Value::Array(_))) => false,
            (node, Data::Json(value) | Data::Text(value)) => node.matches(Some(value)),
        };
        self.fields.iter().all(|(_, node)| matches_value(node))
            && (self.alternatives.is_empty() || self.alternatives.iter().any(|pattern| pattern.matches_record(data)))
    }

    fn matches(&self, object: &Map<String, Value>) -> bool {
        self.fields.iter().all(|(name, node)| node.matches(object.get(name)))
            && (self.alternatives.is_empty() || self.alternatives.iter().any(|pattern| pattern.matches(object)))
    }
}

impl Node {
    fn matches(&self, value: Option<&Value>) -> bool {
        match self {
            // Fields of one pattern object have to meet in one and the same element of a list.
            Self::Object(pattern) => {
                let mut elements = Vec::new();
                collect_elements(value, &mut elements);
                let mut objects = elements.into_iter().filter_map(Value::as_object).peekable();
                match objects.peek() {
                    Some(_) => objects.any(|object| pattern.matches(object)),
                    // Nothing there: what asks for absence holds.
                    None => pattern.matches(&Map::new()),
                }
            }
            Self::Leaf(matchers) => {
                let mut leaves = Vec::new();
                collect_elements(value, &mut leaves);
                leaves.retain(|leaf| !leaf.is_object());
                matchers.iter().any(|matcher| match matcher {
                    Matcher::Exists(wanted) => *wanted != leaves.is_empty(),
                    matcher => leaves.iter().any(|leaf| matcher.matches(leaf)),
                })
            }
        }
    }
}

/// The value itself or, where it is a list, everything in it however deep.
fn collect_elements<'a>(value: Option<&'a Value>, elements: &mut Vec<&'a Value>) {
    match value {
        Some(Value::Array(list)) => list.iter().for_each(|element| collect_elements(Some(element), elements)),
        Some(value) => elements.push(value),
        None => {}
    }
}

impl Matcher {
    fn matches(&self, leaf: &Value) -> bool {
        let text = leaf.as_str();
        match self {
            Self::Equals(Value::Number(wanted)) => {
                leaf.as_number().is_some_and(|number| number == wanted || number.as_f64() == wanted.as_f64())
            }
            Self::Equals(wanted) => leaf == wanted,
            Self::Exists(wanted) => *wanted,
            Self::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix)),
            Self::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix)),
            Self::EqualsIgnoreCase(lower) => text.is_some_and(|text| text.to_lowercase() == *lower),
            Self::AnythingBut(matchers) => !matchers.iter().any(|matcher| matcher.matches(leaf)),
            Self::Numeric(conditions) => leaf.as_f64().is_some_and(|number| {
                conditions.iter().all(|(comparison, bound)| match comparison {
                    Comparison::Equal => number == *bound,
                    Comparison::Above => number > *bound,
                    Comparison::AtLeast => number >= *bound,
                    Comparison::Below => number < *bound,
                    Comparison::AtMost => number <= *bound,
                })
            }),
        }
    }
}

/// Compiles, and gathers what is wrong on the way.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, place: &str, fault: impl fmt::Display) {
        self.0.push(format!("{place} {fault}"));
    }

    fn require_value_only(&mut self, place: &str, pattern: &ObjectPattern) {
        for (name, _) in pattern.fields.iter().filter(|(name, _)| name != "value") {
            self.add(place, format_args!("asks for {name:?}: a Kafka mapping filters on \"value\" alone"));
        }
        for alternative in &pattern.alternatives {
            self.require_value_only(place, alternative);
        }
    }

    fn compile_object(&mut self, place: &str, object: &Map<String, Value>) -> ObjectPattern {
        if object.is_empty() {
            self.add(place, "is an empty object, which would match nothing: leave it out");
        }
        let mut pattern = ObjectPattern::default();
        for (name, value) in object {
            let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
            match value {
                Value::Array(list) if name == "$or" => pattern.alternatives = self.compile_alternatives(&place, list),
                _ if name == "$or" => self.add(&place, "is no list of patterns"),
                Value::Object(object) => {
                    pattern.fields.push((name.clone(), Node::Object(self.compile_object(&place, object))));
                }
                Value::Array(list) => pattern.fields.push((name.clone(), Node::Leaf(self.compile_list(&place, list)))),
                scalar => self.add(&place, format_args!("is {scalar}: write what it may be as a list, [{scalar}]")),
            }
        }
        pattern
    }

    fn compile_alternatives(&mut self, place: &str, list: &[Value]) -> Vec<ObjectPattern> {
        if list.is_empty() {
            self.add(place, "is empty: name at least one alternative");
        }
        let mut alternatives = Vec::new();
        for (ordinal, alternative) in list.iter().enumerate() {
            let place = format!("{place}/{ordinal}");
            match alternative {
                Value::Object(object) => alternatives.push(self.compile_object(&place, object)),
                other => self.add(&place, format_args!("is {other}, not a pattern")),
            }
        }
        alternatives
    }

    fn compile_list(&mut self, place: &str, list: &[Value]) -> Vec<Matcher> {
        if list.is_empty() {
            self.add(place, "is an empty list, which would match nothing");
        }
        let places = (0..).map(|ordinal| format!("{place}/{ordinal}"));
        list.iter().zip(places).filter_map(|(value, place)| self.compile_matcher(&place, value)).collect()
    }

    fn compile_matcher(&mut self, place: &str, value: &Value) -> Option<Matcher> {
        let operator = match value {
            Value::Object(object) => object,
            Value::Array(_) => return self.refuse(place, "is a list within a list"),
            scalar => return Some(Matcher::Equals(scalar.clone())),
        };
        let mut entries = operator.iter();
        let (Some((name, operand)), None) = (entries.next(), entries.next()) else {
            return self.refuse(place, "has to have exactly one operator");
        };
        let place = format!("{place}/{name}");
        match (name.as_str(), operand) {
            ("exists", Value::Bool(wanted)) => Some(Matcher::Exists(*wanted)),
            ("exists", _) => self.refuse(&place, "takes true or false"),
            ("anything-but", operand) => self.compile_anything_but(&place, operand),
            ("numeric", Value::Array(conditions)) => self.compile_numeric(&place, conditions),
            ("numeric", _) => self.refuse(&place, "takes a list, for example [\">\", 0, \"<=\", 5]"),
            (name, operand) => self.compile_text_operator(&place, name, operand),
        }
    }

    fn compile_text_operator(&mut self, place: &str, name: &str, operand: &Value) -> Option<Matcher> {
        let make: fn(String) -> Matcher = match name {
            "prefix" => Matcher::Prefix,
            "suffix" => Matcher::Suffix,
            "equals-ignore-case" => |text| Matcher::EqualsIgnoreCase(text.to_lowercase()),
            _ => {
                let known = "exists, prefix, suffix, equals-ignore-case, anything-but and numeric";
                return self.refuse(place, format_args!("is no operator of Lambda's filters: they are {known}"));
            }
        };
        match operand {
            Value::String(text) => Some(make(text.clone())),
            _ => self.refuse(place, "takes a text"),
        }
    }

    fn compile_anything_but(&mut self, place: &str, operand: &Value) -> Option<Matcher> {
        let excluded = match operand {
            Value::Array(list) if list.is_empty() => return self.refuse(place, "is empty: name what is excluded"),
            Value::Array(list) if list.iter().all(|value| value.is_string() || value.is_number()) => {
                list.iter().cloned().map(Matcher::Equals).collect()
            }
            Value::String(_) | Value::Number(_) => vec![Matcher::Equals(operand.clone())],
            Value::Object(object) if object.len() == 1 => {
                let (name, operand) = object.iter().next()?;
                let place = format!("{place}/{name}");
                let operands = operand.as_array().map_or(std::slice::from_ref(operand), Vec::as_slice);
                if operands.is_empty() {
                    return self.refuse(&place, "is empty: name what is excluded");
                }
                operands.iter().filter_map(|operand| self.compile_text_operator(&place, name, operand)).collect()
            }
            _ => {
                return self.refuse(place, "takes texts or numbers, or one of prefix, suffix and equals-ignore-case");
            }
        };
        Some(Matcher::AnythingBut(excluded))
    }

    fn compile_numeric(&mut self, place: &str, conditions: &[Value]) -> Option<Matcher> {
        let (pairs, rest) = conditions.as_chunks::<2>();
        if !rest.is_empty() || !(1..=2).contains(&pairs.len()) {
            return self.refuse(place, "takes one comparison and number, or two for a range");
        }
        let mut compiled = Vec::new();
        for [comparison, bound] in pairs {
            let comparison = match comparison.as_str() {
                Some("=") => Comparison::Equal,
                Some(">") => Comparison::Above,
                Some(">=") => Comparison::AtLeast,
                Some("<") => Comparison::Below,
                Some("<=") => Comparison::AtMost,
                _ => return self.refuse(place, format_args!("has {comparison}: it is one of = > >= < <=")),
            };
            // The range of EventBridge's numeric comparisons.
            match bound.as_f64() {
                Some(bound) if bound.abs() <= 5e9 => compiled.push((comparison, bound)),
                _ => return self.refuse(place, format_args!("has {bound}: a number from -5e9 to 5e9")),
            }
        }
        use Comparison::{Above, AtLeast, AtMost, Below};
        match compiled[..] {
            [_] => Some(Matcher::Numeric(compiled)),
            [(Above | AtLeast, low), (Below | AtMost, high)] if low < high => Some(Matcher::Numeric(compiled)),
            _ => self.refuse(place, "is no range: write the lower bound first, and a higher upper one"),
        }
    }

    fn refuse(&mut self, place: &str, fault: impl fmt::Display) -> Option<Matcher> {
        self.add(place, fault);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn judge(pattern: Value, value: &str) -> Filtering {
        let criteria = FilterCriteria::of([pattern.to_string()]);
        Filter::new(&criteria).unwrap_or_else(|error| panic!("{error}")).judge(Some(value.as_bytes()))
    }

    #[test]
    fn each_operator_means_what_aws_says() {
        for (pattern, value, matched) in [
            // Equals: texts, numbers, booleans, null, the empty text.
            (json!({"a": ["x"]}), json!({"a": "x"}), true),
            (json!({"a": ["x"]}), json!({"a": "y"}), false),
            (json!({"a": ["x"]}), json!({}), false),
            (json!({"a": ["x", "y"]}), json!({"a": "y"}), true),
            (json!({"a": [1]}), json!({"a": 1}), true),
            (json!({"a": [1]}), json!({"a": 1.0}), true),
            (json!({"a": [1]}), json!({"a": "1"}), false),
            (json!({"a": [true]}), json!({"a": true}), true),
            (json!({"a": [true]}), json!({"a": "true"}), false),
            (json!({"a": [null]}), json!({"a": null}), true),
            (json!({"a": [null]}), json!({}), false),
            (json!({"a": [""]}), json!({"a": ""}), true),
            // And, nested objects.
            (json!({"a": ["x"], "b": [1]}), json!({"a": "x", "b": 1}), true),
            (json!({"a": ["x"], "b": [1]}), json!({"a": "x", "b": 2}), false),
            (json!({"a": {"b": {"c": ["x"]}}}), json!({"a": {"b": {"c": "x"}}}), true),
            (json!({"a": {"b": ["x"]}}), json!({"a": "x"}), false),
            // Exists: of leaves.
            (json!({"a": [{"exists": true}]}), json!({"a": 0}), true),
            (json!({"a": [{"exists": true}]}), json!({"a": null}), true),
            (json!({"a": [{"exists": true}]}), json!({}), false),
            (json!({"a": [{"exists": true}]}), json!({"a": {"b": 1}}), false),
            (json!({"a": [{"exists": false}]}), json!({}), true),
            (json!({"a": [{"exists": false}]}), json!({"a": 1}), false),
            (json!({"a": {"b": [{"exists": false}]}}), json!({}), true),
            (json!({"a": {"b": [{"exists": false}]}}), json!({"a": {"b": 1}}), false),
            // Prefix, suffix, case.
            (json!({"a": [{"prefix": "ab"}]}), json!({"a": "abc"}), true),
            (json!({"a": [{"prefix": "ab"}]}), json!({"a": "ba"}), false),
            (json!({"a": [{"suffix": "bc"}]}), json!({"a": "abc"}), true),
            (json!({"a": [{"suffix": "bc"}]}), json!({"a": 5}), false),
            (json!({"a": [{"equals-ignore-case": "ÄBc"}]}), json!({"a": "äbC"}), true),
            (json!({"a": [{"equals-ignore-case": "abc"}]}), json!({"a": "abcd"}), false),
            // Anything but.
            (json!({"a": [{"anything-but": "x"}]}), json!({"a": "y"}), true),
            (json!({"a": [{"anything-but": "x"}]}), json!({"a": "x"}), false),
            (json!({"a": [{"anything-but": "x"}]}), json!({}), false),
            (json!({"a": [{"anything-but": ["x", 1]}]}), json!({"a": 1}), false),
            (json!({"a": [{"anything-but": ["x", 1]}]}), json!({"a": 2}), true),
            (json!({"a": [{"anything-but": {"prefix": "x"}}]}), json!({"a": "xy"}), false),
            (json!({"a": [{"anything-but": {"prefix": ["x", "y"]}}]}), json!({"a": "yx"}), false),
            (json!({"a": [{"anything-but": {"suffix": "x"}}]}), json!({"a": "xy"}), true),
            (json!({"a": [{"anything-but": {"equals-ignore-case": "X"}}]}), json!({"a": "x"}), false),
            // Numeric.
            (json!({"a": [{"numeric": ["=", 5]}]}), json!({"a": 5.0}), true),
            (json!({"a": [{"numeric": [">", 5]}]}), json!({"a": 5}), false),
            (json!({"a": [{"numeric": [">=", 5]}]}), json!({"a": 5}), true),
            (json!({"a": [{"numeric": ["<", 5]}]}), json!({"a": 4.9}), true),
            (json!({"a": [{"numeric": ["<=", 5]}]}), json!({"a": 5.1}), false),
            (json!({"a": [{"numeric": [">", 0, "<=", 5]}]}), json!({"a": 5}), true),
            (json!({"a": [{"numeric": [">", 0, "<=", 5]}]}), json!({"a": 0}), false),
            (json!({"a": [{"numeric": [">", 0]}]}), json!({"a": "5"}), false),
            // Lists in the event: any element; fields of one object meet in one element.
            (json!({"a": ["x"]}), json!({"a": ["y", "x"]}), true),
            (json!({"a": ["x"]}), json!({"a": [["x"]]}), true),
            (json!({"a": [{"anything-but": "x"}]}), json!({"a": ["x", "y"]}), true),
            (json!({"a": [{"anything-but": "x"}]}), json!({"a": ["x"]}), false),
            (json!({"a": {"b": [1], "c": [2]}}), json!({"a": [{"b": 1, "c": 2}]}), true),
            (json!({"a": {"b": [1], "c": [2]}}), json!({"a": [{"b": 1}, {"c": 2}]}), false),
            (json!({"a": [{"exists": false}]}), json!({"a": []}), true),
            // Or over several fields.
            (json!({"$or": [{"a": [1]}, {"b": [2]}]}), json!({"b": 2}), true),
            (json!({"$or": [{"a": [1]}, {"b": [2]}]}), json!({"a": 2, "b": 1}), false),
            (json!({"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}), json!({"a": 1}), false),
            (json!({"n": {"$or": [{"a": [1]}, {"b": {"c": [2]}}]}}), json!({"n": {"b": {"c": 2}}}), true),
        ] {
            let expected = if matched { Filtering::Matched } else { Filtering::Dropped };
            assert_eq!(judge(json!({"value": pattern}), &value.to_string()), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn several_patterns_are_alternatives() {
        let criteria = FilterCriteria::of([r#"{"value": {"a": [1]}}"#, r#"{"value": {"a": [2]}}"#]);
        let filter = Filter::new(&criteria).unwrap();
        assert_eq!(filter.judge(Some(br#"{"a": 2}"#)), Filtering::Matched);
        assert_eq!(filter.judge(Some(br#"{"a": 3}"#)), Filtering::Dropped);
    }

    #[test]
    fn criteria_are_read_as_templates_write_them() {
        let criteria: FilterCriteria =
            serde_json::from_str(r#"{"Filters": [{"Pattern": "{\"value\": {\"a\": [1]}}"}]}"#).unwrap();
        assert_eq!(criteria, FilterCriteria::of([r#"{"value": {"a": [1]}}"#]));
    }

    #[test]
    fn a_value_that_is_no_json_is_dropped_by_a_pattern_for_json() {
        for value in ["plain", "", "{", "5", "\"quoted\""] {
            assert_eq!(judge(json!({"value": {"a": [1]}}), value), Filtering::DroppedUnreadable, "{value}");
        }
        let filter = Filter::new(&FilterCriteria::of([r#"{"value": [{"exists": true}]}"#])).unwrap();
        assert_eq!(filter.judge(Some(b"\xff")), Filtering::DroppedUnreadable);
    }

    #[test]
    fn a_list_directly_under_value_is_for_plain_text() {
        let not_error = json!({"value": [{"anything-but": ["error"]}]});
        assert_eq!(judge(not_error.clone(), "fine"), Filtering::Matched);
        assert_eq!(judge(not_error.clone(), "error"), Filtering::Dropped);
        assert_eq!(judge(not_error, r#"{"a": 1}"#), Filtering::Dropped);
    }

    #[test]
    fn a_tombstone_reads_as_null() {
        let judge = |pattern: &str| Filter::new(&FilterCriteria::of([pattern])).unwrap().judge(None);
        assert_eq!(judge(r#"{"value": [null]}"#), Filtering::Matched);
        assert_eq!(judge(r#"{"value": {"a": [1]}}"#), Filtering::Dropped);
        assert_eq!(judge(r#"{"value": {"a": [{"exists": false}]}}"#), Filtering::Matched);
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused_with_its_place() {
        for (pattern, place) in [
            ("{", "Filters/0/Pattern is no JSON"),
            ("[]", "Filters/0/Pattern is no JSON object"),
            ("{}", "Filters/0/Pattern is an empty object"),
            (r#"{"key": ["x"]}"#, "asks for \"key\""),
            (r#"{"$or": [{"value": {"a": [1]}}, {"topic": ["t"]}]}"#, "asks for \"topic\""),
            (r#"{"value": "x"}"#, "Filters/0/Pattern/value is \"x\""),
            (r#"{"value": {}}"#, "Pattern/value is an empty object"),
            (r#"{"value": {"a": []}}"#, "Pattern/value/a is an empty list"),
            (r#"{"value": {"a/b": 1}}"#, "Pattern/value/a~1b is 1"),
            (r#"{"value": {"a": [[1]]}}"#, "Pattern/value/a/0 is a list within a list"),
            (r#"{"value": {"a": [1, {"wildcard": "*"}]}}"#, "Pattern/value/a/1/wildcard is no operator"),
            (r#"{"value": {"a": [{"prefix": "x", "suffix": "y"}]}}"#, "a/0 has to have exactly one operator"),
            (r#"{"value": {"a": [{}]}}"#, "a/0 has to have exactly one operator"),
            (r#"{"value": {"a": [{"exists": 1}]}}"#, "a/0/exists takes true or false"),
            (r#"{"value": {"a": [{"prefix": 1}]}}"#, "a/0/prefix takes a text"),
            (r#"{"value": {"a": [{"anything-but": []}]}}"#, "a/0/anything-but is empty"),
            (r#"{"value": {"a": [{"anything-but": [true]}]}}"#, "a/0/anything-but takes"),
            (r#"{"value": {"a": [{"anything-but": {"numeric": [1]}}]}}"#, "anything-but/numeric is no operator"),
            (r#"{"value": {"a": [{"numeric": [">"]}]}}"#, "a/0/numeric takes one comparison"),
            (r#"{"value": {"a": [{"numeric": ["~", 1]}]}}"#, "a/0/numeric has \"~\""),
            (r#"{"value": {"a": [{"numeric": [">", 6e9]}]}}"#, "a/0/numeric has 6000000000"),
            (r#"{"value": {"a": [{"numeric": [">", 5, "<", 1]}]}}"#, "a/0/numeric is no range"),
            (r#"{"value": {"a": [{"numeric": ["<", 1, ">", 5]}]}}"#, "a/0/numeric is no range"),
            (r#"{"value": {"$or": {"a": [1]}}}"#, "value/$or is no list"),
            (r#"{"value": {"$or": []}}"#, "value/$or is empty"),
            (r#"{"value": {"$or": [1]}}"#, "value/$or/0 is 1"),
        ] {
            let error = Filter::new(&FilterCriteria::of([pattern])).unwrap_err();
            assert!(error.to_string().contains(place), "{pattern}: {error}");
        }
    }

    #[test]
    fn every_fault_is_reported_together() {
        let error = Filter::new(&FilterCriteria::of([r#"{"value": {"a": 1, "b": []}}"#, "x"])).unwrap_err();
        assert_eq!(error.0.len(), 3, "{error}");
        assert!(Filter::new(&FilterCriteria::default()).is_err());
        assert!(Filter::new(&FilterCriteria::of(vec![r#"{"value": ["x"]}"#; 11])).is_err());
        assert!(Filter::new(&FilterCriteria::of([format!(r#"{{"value": ["{}"]}}"#, "x".repeat(4096))])).is_err());
    }

    proptest! {
        /// The oracle goes over the bytes of the document instead of over a tree.
        #[test]
        fn a_filter_equals_a_naive_matcher(wanted in "[ab]{1,3}", found in "[ab]{0,4}", number in -3i64..4, bound in -3i64..4) {
            let value = json!({"text": found, "number": number}).to_string();
            for (pattern, expected) in [
                (json!({"text": [wanted]}), value.contains(&format!("\"text\":\"{wanted}\""))),
                (json!({"text": [{"prefix": wanted}]}), value.contains(&format!("\"text\":\"{wanted}"))),
                (json!({"text": [{"suffix": wanted}]}), value.contains(&format!("{wanted}\"}}"))
                    || value.contains(&format!("{wanted}\",")) ),
                (json!({"text": [{"anything-but": wanted}]}), !value.contains(&format!("\"text\":\"{wanted}\""))),
                (json!({"number": [bound]}), number == bound),
                (json!({"number": [{"numeric": [">", bound]}]}), number > bound),
                (json!({"number": [{"numeric": [">=", bound, "<", bound + 2]}]}), (bound..bound + 2).contains(&number)),
            ] {
                let matched = judge(json!({"value": pattern}), &value) == Filtering::Matched;
                prop_assert_eq!(matched, expected, "{} on {}", pattern, value);
            }
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in ".{0,80}", value in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(filter) = Filter::new(&FilterCriteria::of([pattern])) {
                filter.judge(Some(&value));
            }
        }
    }
}
