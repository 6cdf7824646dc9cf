//! Events that will never be sent as they are, kept for a person: lines of the form that `lyceum ingest` reads, so that they are sent
//! once their cause is mended. The reasons are in the log.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lyceum_core::record::NewRecord;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::spill::{beside, options};

/// The file of events that were set aside.
pub(crate) struct Aside {
    path: PathBuf,
    most_bytes: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(&'a str, &'a str)>,
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Json(&'a RawValue),
    Bytes { base64: String },
}

impl Aside {
    /// Beside that spill file.
    pub(crate) fn of(spill_file: &std::path::Path, most_bytes: u64) -> Self {
        Self { path: beside(spill_file, "refused.jsonl"), most_bytes }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Keeps an event, durably.
    ///
    /// # Errors
    /// Where it could not be kept: the file is as before, or ends in a part of a line, which `lyceum ingest` names.
    pub(crate) fn keep(&self, topic: &str, record: &NewRecord) -> io::Result<()> {
        let mut line = write(topic, record)?;
        line.push(b'\n');
        let mut file: File = options().create(true).truncate(false).open(&self.path)?;
        let end = file.seek(SeekFrom::End(0))?;
        if end + line.len() as u64 > self.most_bytes {
            let message = format!("it has {end} bytes of at most {}: ingest it and remove it", self.most_bytes);
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        if written.is_err() {
            // The other error is the one to tell.
            let _ = file.set_len(end);
        }
        written
    }
}

fn write(topic: &str, record: &NewRecord) -> io::Result<Vec<u8>> {
    let value = record.value.as_deref().unwrap_or_default();
    // One that is spread over lines would be several.
    let json = (!value.contains(&b'\n')).then(|| serde_json::from_slice::<&RawValue>(value).ok()).flatten();
    // What looks like bytes would be read as such.
    let json = json.filter(|json| !json.get().trim_start().starts_with("{\"base64\""));
    let line = Line {
        topic,
        key: record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()),
        headers: record
            .headers
            .iter()
            .filter_map(|of| Some((&*of.name, std::str::from_utf8(of.value.as_deref()?).ok()?)))
            .collect(),
        value: json.map_or_else(|| Value::Bytes { base64: BASE64.encode(value) }, Value::Json),
    };
    Ok(serde_json::to_vec(&line)?)
}

#[cfg(test)]
mod tests {
    use lyceum_core::record::Header;

    use super::*;

    #[test]
    fn an_event_is_a_line_with_all_that_it_needs_to_be_sent() {
        let folder = tempfile::tempdir().unwrap();
        let aside = Aside::of(&folder.path().join("spill"), 400);
        let json = NewRecord {
            key: Some("k".into()),
            value: Some(r#"{"a":  1.0}"#.into()),
            headers: vec![Header::new("event-id", "e"), Header { name: "none".to_owned(), value: None }],
            ..NewRecord::default()
        };
        let lines = NewRecord { value: Some("{\n}".into()), ..NewRecord::default() };
        let bytes = NewRecord { value: Some(vec![0, 1].into()), ..NewRecord::default() };
        for record in [&json, &lines, &bytes] {
            aside.keep("t", record).unwrap();
        }
        let expected = concat!(
            "{\"topic\":\"t\",\"key\":\"k\",\"headers\":[[\"event-id\",\"e\"]],\"value\":{\"a\":  1.0}}\n",
            "{\"topic\":\"t\",\"value\":{\"base64\":\"ewp9\"}}\n",
            "{\"topic\":\"t\",\"value\":{\"base64\":\"AAE=\"}}\n",
        );
        assert_eq!(std::fs::read_to_string(aside.path()).unwrap(), expected);
        let large = NewRecord { value: Some(vec![b'1'; 400].into()), ..NewRecord::default() };
        let full = aside.keep("t", &large).unwrap_err();
        assert!(full.to_string().contains("at most 400"), "{full}");
        assert_eq!(std::fs::read_to_string(aside.path()).unwrap(), expected);
    }
}
