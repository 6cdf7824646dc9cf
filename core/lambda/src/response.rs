//! A function's answer to a Kafka batch: which records failed.
//!
//! Source: AWS Lambda developer guide, "Configuring error handling controls for Kafka event sources" and "Configuring
//! partial batch response". With `ReportBatchItemFailures` an answer that is null, empty or without failures means that
//! all succeeded; one that cannot be read, or that names a record that was not in the batch, makes the whole batch come
//! again.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The answer. The default is: everything succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The records to deliver again.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// One record to deliver again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Which.
    pub item_identifier: ItemIdentifier,
}

/// A record's name within its batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ItemIdentifier {
    /// The key of `records` under which it stood: `<topic>-<partition>`.
    pub partition: String,
    /// Its offset.
    pub offset: i64,
}

/// Why an answer cannot be used: the whole batch counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResponse {
    /// It is not of the form that AWS documents.
    #[error("the function's answer is no batch response, so the whole batch failed: {0}")]
    Malformed(String),
    /// It names a record that the batch did not have.
    #[error("the function reported {} of {}, which was not in the batch, so the whole batch failed", .0.offset, .0.partition)]
    UnknownIdentifier(ItemIdentifier),
}

impl BatchResponse {
    /// The answer that these records failed.
    pub fn failing(identifiers: impl IntoIterator<Item = ItemIdentifier>) -> Self {
        let failures = identifiers.into_iter().map(|item_identifier| BatchItemFailure { item_identifier });
        Self { batch_item_failures: failures.collect() }
    }

    /// Reads an answer with AWS's meaning: nothing at all, `null`, `{}`, and failures that are null or empty are success.
    ///
    /// # Errors
    /// [`InvalidResponse::Malformed`] where it is anything else that is no batch response.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidResponse> {
        if payload.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let malformed = |reason: &dyn fmt::Display| InvalidResponse::Malformed(reason.to_string());
        let answer: Value = serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
        if !answer.is_null() && !answer.is_object() {
            return Err(malformed(&"it is no object"));
        }
        let failures = match &answer["batchItemFailures"] {
            Value::Null => return Ok(Self::default()),
            Value::Array(failures) => failures,
            _ => return Err(malformed(&"batchItemFailures is no list")),
        };
        failures
            .iter()
            .map(|failure| read_identifier(&failure["itemIdentifier"]))
            .collect::<Option<Vec<_>>>()
            .map(Self::failing)
            .ok_or_else(|| {
                malformed(&"each itemIdentifier is {\"partition\": \"<topic>-<partition>\", \"offset\": number}")
            })
    }

    /// The records to deliver again, each once.
    ///
    /// # Errors
    /// [`InvalidResponse::UnknownIdentifier`] where one of them was not `delivered`: then nothing of the answer counts.
    pub fn failed_of(
        self,
        delivered: impl Fn(&ItemIdentifier) -> bool,
    ) -> Result<BTreeSet<ItemIdentifier>, InvalidResponse> {
        let mut failed = BTreeSet::new();
        for BatchItemFailure { item_identifier } in self.batch_item_failures {
            if !delivered(&item_identifier) {
                return Err(InvalidResponse::UnknownIdentifier(item_identifier));
            }
            failed.insert(item_identifier);
        }
        Ok(failed)
    }
}

/// An offset may be the text of a number, as dynamically typed functions write it.
fn read_identifier(identifier: &Value) -> Option<ItemIdentifier> {
    let partition = identifier["partition"].as_str()?.to_owned();
    let offset = &identifier["offset"];
    let offset = offset.as_i64().or_else(|| offset.as_str()?.parse().ok())?;
    Some(ItemIdentifier { partition, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(partition: &str, offset: i64) -> ItemIdentifier {
        ItemIdentifier { partition: partition.into(), offset }
    }

    #[test]
    fn an_answer_is_written_as_aws_reads_it() {
        let response = BatchResponse::failing([identifier("t-0", 100)]);
        let json = serde_json::to_string(&response).unwrap();
        assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"t-0","offset":100}}]}"#);
        assert_eq!(BatchResponse::parse(json.as_bytes()), Ok(response));
        assert_eq!(serde_json::to_string(&BatchResponse::default()).unwrap(), r#"{"batchItemFailures":[]}"#);
    }

    #[test]
    fn null_empty_and_missing_mean_that_all_succeeded() {
        for payload in [
            "",
            " \n",
            "null",
            "{}",
            r#"{"batchItemFailures": null}"#,
            r#"{"batchItemFailures": []}"#,
            r#"{"other": 1}"#,
        ] {
            assert_eq!(BatchResponse::parse(payload.as_bytes()), Ok(BatchResponse::default()), "{payload:?}");
        }
    }

    #[test]
    fn a_malformed_answer_fails_the_whole_batch() {
        for payload in [
            "[]",
            " [[]]",
            "true",
            "\"ok\"",
            "{",
            r#"{"batchItemFailures": {}}"#,
            r#"{"batchItemFailures": [null]}"#,
            r#"{"batchItemFailures": [{}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#,
            r#"{"batchItemFailures": [[["t-0", 1]]]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": {"partition": "t-0"}}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": {"partition": 0, "offset": 1}}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": 1.5}}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": "x"}}]}"#,
        ] {
            assert!(
                matches!(BatchResponse::parse(payload.as_bytes()), Err(InvalidResponse::Malformed(_))),
                "{payload}"
            );
        }
    }

    #[test]
    fn an_offset_may_be_written_as_text() {
        let payload = br#"{"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": "7"}}]}"#;
        assert_eq!(BatchResponse::parse(payload), Ok(BatchResponse::failing([identifier("t-0", 7)])));
    }

    #[test]
    fn a_record_that_is_named_twice_failed_once() {
        let response = BatchResponse::failing([identifier("t-0", 7), identifier("t-0", 7), identifier("t-1", 7)]);
        assert_eq!(response.failed_of(|_| true), Ok([identifier("t-0", 7), identifier("t-1", 7)].into()));
    }

    #[test]
    fn one_unknown_identifier_makes_the_whole_batch_come_again() {
        let response = BatchResponse::failing([identifier("t-0", 1), identifier("t-0", 9)]);
        let failed = response.failed_of(|identifier| identifier.offset < 5);
        assert_eq!(failed, Err(InvalidResponse::UnknownIdentifier(identifier("t-0", 9))));
    }
}
