//! What AWS Lambda writes to an on-failure destination when it gives records up, read and written.
//!
//! Sources: AWS Lambda developer guide, "Capturing discarded batches for Amazon MSK and self-managed Apache Kafka event
//! sources" (SNS and SQS: where the batch stood; S3: the same and the invocation's event as text) and "Using a Kafka topic
//! as an on-failure destination" (one message a record, with the event of that record).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::{self, Entry, EventSource, InvalidEvent, write_event};
use lyceum_core::record::{NO_TIMESTAMP, Position, Record};
use lyceum_xapi::utc_time::UtcTime;

/// Why Lambda gives records up, as its own records name it.
pub mod condition {
    /// `MaximumRetryAttempts` is spent. The page on Kafka destinations calls it `RetriesExhausted`.
    pub const RETRY_ATTEMPTS_EXHAUSTED: &str = "RetryAttemptsExhausted";
    /// Older than `MaximumRecordAgeInSeconds`.
    pub const RECORD_AGE_EXCEEDED: &str = "RecordAgeExceeded";
    /// A record alone makes more JSON than an invocation may have.
    pub const MAXIMUM_PAYLOAD_SIZE_EXCEEDED: &str = "MaximumPayloadSizeExceeded";
    /// The mapping decodes values by a registry, which has no schema of the record's. The function was not asked.
    pub const SCHEMA_NOT_FOUND: &str = "SCHEMA_NOT_FOUND";
    /// The mapping decodes values by a registry, and this one is not what its schema says. The function was not asked.
    pub const DESERIALIZATION_ERROR: &str = "DESERIALIZATION_ERROR";
}

/// An on-failure record, from whichever destination.
#[derive(Clone, Debug, PartialEq)]
pub struct OnFailureRecord {
    /// Why it was given up: [`condition`], or a name that AWS adds.
    pub condition: String,
    /// The function's ARN.
    pub function_arn: Option<String>,
    /// The last invocation.
    pub request_id: Option<String>,
    /// Invocations so far, as far as Lambda counts them.
    pub invocations: Option<u32>,
    /// `Unhandled` …, where the function answered at all.
    pub function_error: Option<String>,
    /// When, RFC 3339, as AWS wrote it.
    pub at: Option<String>,
    /// What was given up.
    pub lost: Lost,
}

/// What was given up.
#[derive(Clone, Debug, PartialEq)]
pub enum Lost {
    /// The records themselves (S3, Kafka), each for itself readable or not.
    Entries(Vec<Entry>),
    /// Where they stood (SNS, SQS, and what is too large for its destination).
    Ranges(Vec<LostRange>),
}

/// Offsets of one partition, both ends included. What lies between may be other records, too: those that were filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The first record's offset.
    pub first: i64,
    /// The last record's offset.
    pub last: i64,
}

impl OnFailureRecord {
    /// A sentence for a person: why Lambda gave up.
    pub fn reason(&self) -> String {
        let mut reason = format!("AWS Lambda gave the record up: {}", self.condition);
        match self.condition.as_str() {
            condition::SCHEMA_NOT_FOUND => reason.push_str(
                ", since the registry of its event source mapping had no schema of the record's id: register it, and replay",
            ),
            condition::DESERIALIZATION_ERROR => reason.push_str(
                ", since its event source mapping could not decode the record by its schema: its sender wrote something else",
            ),
            _ => {}
        }
        if let Some(invocations) = self.invocations {
            reason.push_str(&format!(", after {invocations} invocations"));
        }
        if let Some(error) = &self.function_error {
            reason.push_str(&format!("; the function's error was {error}"));
        }
        reason
    }
}

/// Why a text is no on-failure record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOnFailure {
    /// It is no JSON, or lacks what every such record has.
    #[error("it is no on-failure record of a Kafka event source mapping: {0}")]
    Shape(String),
    /// It is about an invocation by another source, which holds no Kafka records.
    #[error("it is about {0}, and only records of Kafka event source mappings can be sent again")]
    OtherSource(&'static str),
    /// Its payload is no event.
    #[error("its payload cannot be read: {0}")]
    Payload(#[from] InvalidEvent),
}

/// The names of a JSON object of which only the presence counts.
type Any = serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    request_context: RequestContext,
    #[serde(default)]
    response_context: Option<ResponseContext>,
    timestamp: Option<String>,
    #[serde(rename = "KafkaBatchInfo")]
    kafka: Option<BatchInfo>,
    #[serde(rename = "KinesisBatchInfo")]
    kinesis: Option<Any>,
    #[serde(rename = "DDBStreamBatchInfo")]
    dynamodb: Option<Any>,
    /// A text on S3, an object on Kafka.
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: Option<String>,
    function_arn: Option<String>,
    condition: String,
    approximate_invoke_count: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: Option<u32>,
    executed_version: Option<String>,
    function_error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo {
    records_info: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What SNS puts around a message (`Type`, `Message`), also where it hands it on to SQS.
#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Message")]
    message: String,
}

/// Reads an on-failure record: an S3 object, an SQS message's body, an SNS notification, or a Kafka message's value.
///
/// # Errors
/// Where it is none, or is about another event source.
pub fn parse(text: &[u8]) -> Result<OnFailureRecord, InvalidOnFailure> {
    let shape = |error: &dyn std::fmt::Display| InvalidOnFailure::Shape(error.to_string());
    if let Ok(notification) = serde_json::from_slice::<Notification>(text)
        && notification.kind == "Notification"
    {
        return parse(notification.message.as_bytes());
    }
    let wire: Wire<'_> = serde_json::from_slice(text).map_err(|error| shape(&error))?;
    match (&wire.kafka, &wire.kinesis, &wire.dynamodb) {
        (None, Some(_), _) => return Err(InvalidOnFailure::OtherSource("a Kinesis stream")),
        (None, _, Some(_)) => return Err(InvalidOnFailure::OtherSource("a DynamoDB stream")),
        _ => {}
    }
    let lost = match (wire.payload, wire.kafka.and_then(|kafka| kafka.records_info)) {
        (Some(payload), _) if payload.get() != "null" => {
            let event: String;
            let payload = if payload.get().starts_with('"') {
                event = serde_json::from_str(payload.get()).map_err(|error| shape(&error))?;
                event.as_str()
            } else {
                payload.get()
            };
            Lost::Entries(event::parse(payload.as_bytes())?.entries)
        }
        (_, Some(ranges)) => Lost::Ranges(ranges.iter().map(read_range).collect::<Result<_, _>>()?),
        _ => return Err(shape(&"it has neither a payload nor KafkaBatchInfo.recordsInfo")),
    };
    let response = wire.response_context;
    Ok(OnFailureRecord {
        condition: wire.request_context.condition,
        function_arn: wire.request_context.function_arn,
        request_id: wire.request_context.request_id,
        invocations: wire.request_context.approximate_invoke_count,
        function_error: response.and_then(|response| response.function_error),
        at: wire.timestamp,
        lost,
    })
}

fn read_range((name, info): (&String, &serde_json::Value)) -> Result<LostRange, InvalidOnFailure> {
    let shape = |why: String| InvalidOnFailure::Shape(why);
    let split = name.rsplit_once('-').and_then(|(topic, partition)| Some((topic, partition.parse::<i32>().ok()?)));
    let (topic, partition) =
        split.ok_or_else(|| shape(format!("recordsInfo has {name:?}, which is no <topic>-<partition>")))?;
    let offset = |field: &str| {
        // AWS writes a text; a number is read as one.
        let value = &info[field];
        let offset = value.as_i64().or_else(|| value.as_str()?.parse().ok()).filter(|offset| *offset >= 0);
        offset.ok_or_else(|| shape(format!("{field} of {name} is {value}, which is no Kafka offset")))
    };
    let (first, last) = (offset("firstRecordOffset")?, offset("lastRecordOffset")?);
    if last < first {
        return Err(shape(format!("{name} goes from {first} back to {last}")));
    }
    Ok(LostRange { topic: topic.to_owned(), partition, first, last })
}

/// What a mapping knows of a record that it gives up.
#[derive(Clone, Debug)]
pub struct GivenUp<'a> {
    /// One of [`condition`].
    pub condition: &'a str,
    /// The function's name.
    pub function: &'a str,
    /// Names this giving-up; it stands where AWS has the last invocation's id.
    pub request_id: String,
    /// Invocations that had the record.
    pub invocations: u32,
    /// The function's error; none where it was not invoked.
    pub error: Option<&'a str>,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Where the mapping reads from.
    pub source: &'a EventSource,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    request_context: RequestContext,
    response_context: Option<ResponseContext>,
    version: &'static str,
    timestamp: String,
    #[serde(rename = "KafkaBatchInfo")]
    kafka: WrittenInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenInfo<'a> {
    batch_size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_source_arn: Option<&'a str>,
    bootstrap_servers: &'a str,
    payload_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_info: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_info: Option<serde_json::Value>,
}

/// Writes what a Kafka destination gets for a record: with its payload, or, where that is too large for the topic, with
/// the place where it stood, as SQS gets it.
pub fn write(record: &Record, given_up: &GivenUp<'_>, with_payload: bool) -> Bytes {
    let mut event = Vec::new();
    write_event(given_up.source, std::iter::once(record), &mut event);
    let payload_size = event.len();
    let event = String::from_utf8(event).ok().and_then(|event| RawValue::from_string(event).ok());
    let Position { topic, partition, offset } = &record.position;
    let time = (record.timestamp_ms != NO_TIMESTAMP).then(|| written(record.timestamp_ms));
    let (record_info, records_info) = if with_payload {
        (Some(serde_json::json!({"offset": offset.to_string(), "timestamp": time})), None)
    } else {
        let range = serde_json::json!({
            "firstRecordOffset": offset.to_string(),
            "lastRecordOffset": offset.to_string(),
            "firstRecordTimestamp": time,
            "lastRecordTimestamp": time,
        });
        (None, Some(serde_json::json!({ (event::batch_identifier(topic, *partition)): range })))
    };
    let response_context = given_up.error.map(|error| ResponseContext {
        status_code: Some(200),
        executed_version: Some("$LATEST".to_owned()),
        function_error: Some(error.to_owned()),
    });
    let written = Written {
        request_context: RequestContext {
            request_id: Some(given_up.request_id.clone()),
            function_arn: Some(format!("arn:aws:lambda:local:000000000000:function:{}", given_up.function)),
            condition: given_up.condition.to_owned(),
            approximate_invoke_count: Some(given_up.invocations),
        },
        response_context,
        version: "1.0",
        timestamp: written(given_up.at_ms),
        kafka: WrittenInfo {
            batch_size: 1,
            event_source_arn: given_up.source.arn.as_deref(),
            bootstrap_servers: &given_up.source.bootstrap_servers,
            payload_size,
            record_info,
            records_info,
        },
        payload: event.as_deref().filter(|_| with_payload),
    };
    serde_json::to_vec(&written).unwrap_or_default().into()
}

/// With three digits, as AWS writes it.
fn written(ms: i64) -> String {
    format!("{:.3}", UtcTime::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lyceum_core::record::Header;

    fn record() -> Record {
        Record {
            position: Position::new("nlj.training-events", 2, 41),
            timestamp_ms: 1_700_000_000_123,
            key: Some("p1".into()),
            value: Some("{}".into()),
            headers: vec![Header::new("event-id", "e"), Header { name: "empty".into(), value: None }],
        }
    }

    fn given_up(source: &EventSource) -> GivenUp<'_> {
        GivenUp {
            condition: condition::RETRY_ATTEMPTS_EXHAUSTED,
            function: "training",
            request_id: "r-1".to_owned(),
            invocations: 3,
            error: Some("Unhandled"),
            at_ms: 1_700_000_001_000,
            source,
        }
    }

    #[test]
    fn what_is_written_is_read_back_with_the_record_byte_for_byte() {
        let source = EventSource { bootstrap_servers: "b:9092".to_owned(), ..EventSource::default() };
        let read = parse(&write(&record(), &given_up(&source), true)).unwrap();
        let Lost::Entries(entries) = &read.lost else { panic!("{read:?}") };
        let [Entry::Record(delivered)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(delivered.record, record());
        assert_eq!((read.condition.as_str(), read.invocations), ("RetryAttemptsExhausted", Some(3)));
        assert!(read.reason().contains("after 3 invocations"), "{}", read.reason());
    }

    #[test]
    fn what_a_mapping_could_not_decode_by_its_registry_says_what_to_do() {
        let source = EventSource { bootstrap_servers: "b:9092".to_owned(), ..EventSource::default() };
        for (condition, told) in [
            (condition::SCHEMA_NOT_FOUND, "register it, and replay"),
            (condition::DESERIALIZATION_ERROR, "wrote something else"),
        ] {
            let given_up = GivenUp { condition, invocations: 0, error: None, ..given_up(&source) };
            let read = parse(&write(&record(), &given_up, true)).unwrap();
            assert_eq!(read.condition, condition);
            assert!(read.reason().contains(told), "{}", read.reason());
            let Lost::Entries(entries) = &read.lost else { panic!("{read:?}") };
            assert!(matches!(&entries[..], [Entry::Record(delivered)] if delivered.record == record()));
        }
    }

    #[test]
    fn without_its_payload_the_place_is_told() {
        let source = EventSource::default();
        let read = parse(&write(&record(), &given_up(&source), false)).unwrap();
        let range = LostRange { topic: "nlj.training-events".to_owned(), partition: 2, first: 41, last: 41 };
        assert_eq!(read.lost, Lost::Ranges(vec![range]));
    }

    #[test]
    fn a_notification_of_sns_is_unwrapped() {
        let source = EventSource::default();
        let message = String::from_utf8(write(&record(), &given_up(&source), false).to_vec()).unwrap();
        let notification = serde_json::json!({"Type": "Notification", "MessageId": "m", "Message": message});
        assert!(matches!(parse(notification.to_string().as_bytes()).unwrap().lost, Lost::Ranges(_)));
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, word) in [
            ("no json", "no on-failure record"),
            ("{}", "requestContext"),
            (r#"{"requestContext": {"condition": "x"}}"#, "neither a payload"),
            (r#"{"requestContext": {"condition": "x"}, "KinesisBatchInfo": {}}"#, "Kinesis"),
            (r#"{"requestContext": {"condition": "x"}, "KafkaBatchInfo": {}, "payload": "[]"}"#, "payload"),
            (
                r#"{"requestContext": {"condition": "x"}, "KafkaBatchInfo": {"recordsInfo": {"a": {}}}}"#,
                "<topic>-<partition>",
            ),
            (
                r#"{"requestContext": {"condition": "x"}, "KafkaBatchInfo": {"recordsInfo": {"a-0": {"firstRecordOffset": "49601189658422359378836298521827638475320189012309704722"}}}}"#,
                "no Kafka offset",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
