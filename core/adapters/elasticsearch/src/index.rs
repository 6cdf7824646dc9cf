//! The index: what it is mapped as, how it is created, and whose it is.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::failure::EngineError;
use super::requests::{Answer, Requests};
use super::settings::ElasticsearchSettings;
use lyceum_core::ports::statements::StatementsError;
use lyceum_core::ports::statements::semantics::{FIELDS, FieldKind};

/// Changes whenever an index of today could not be read by the code of yesterday. Kept in the mapping's `_meta`.
pub const SCHEMA_VERSION: u32 = 1;

/// Above what a cluster's own templates have (Elasticsearch uses up to 100).
const TEMPLATE_PRIORITY: u32 = 150;

fn mapping() -> Value {
    let keyword = || json!({"type": "keyword"});
    // Not even parsed: whatever it holds is kept in the source and nowhere else.
    let kept = || json!({"type": "object", "enabled": false});
    let mut properties = Map::new();
    for (name, mapped) in [
        ("id", keyword()),
        ("void_key", keyword()),
        ("voided", json!({"type": "boolean"})),
        ("about", kept()),
        ("raw", kept()),
        ("raw_base64", kept()),
    ] {
        properties.insert(name.into(), mapped);
    }
    for field in &FIELDS {
        let mapped = match field.kind {
            FieldKind::Text => keyword(),
            FieldKind::Long => json!({"type": "long"}),
            FieldKind::Double => json!({"type": "double"}),
            FieldKind::Boolean => json!({"type": "boolean"}),
        };
        properties.insert(field.name.into(), mapped);
    }
    json!({
        "_meta": {"lyceum": {"schema": SCHEMA_VERSION}},
        "dynamic": false,
        "properties": properties,
    })
}

/// Settings and mappings of every index of this alias.
fn made_of(settings: &ElasticsearchSettings, is_opensearch: bool) -> Value {
    let mut of_index = json!({
        "number_of_shards": settings.shards,
        "number_of_replicas": settings.replicas,
        "codec": "best_compression",
    });
    if is_opensearch {
        // With segment replication a refresh returns before the copies have what it shows.
        of_index["replication.type"] = json!("DOCUMENT");
    }
    json!({"settings": {"index": of_index}, "mappings": mapping()})
}

/// For an index that a person makes to reindex into.
fn template(settings: &ElasticsearchSettings, made_of: &Value) -> Value {
    json!({
        "index_patterns": [format!("{}-v*", settings.index)],
        "priority": TEMPLATE_PRIORITY,
        "version": SCHEMA_VERSION,
        "template": made_of,
    })
}

/// What an index is made of, on this engine.
pub(super) async fn new_index(requests: &Requests, settings: &ElasticsearchSettings) -> Result<Value, StatementsError> {
    Ok(match requests.is_serverless {
        // It is asked neither who it is, which it does not say, nor for shards, which are its own affair.
        true => json!({"mappings": mapping()}),
        false => made_of(settings, is_opensearch(requests).await?),
    })
}

/// See [`super::Elasticsearch::prepare`].
pub(super) async fn prepare(requests: &Requests, settings: &ElasticsearchSettings) -> Result<(), StatementsError> {
    // Where the index is there, that is all: a process that only stores needs no right to templates.
    if is_ours(requests).await? {
        return Ok(());
    }
    let found = find_aliases(requests, &format!("{}-v*", settings.index)).await?;
    // Another deployment's alias may begin as ours does, and an index of its own has it.
    let is_anothers = |name: &str, index: &Aliased| {
        let mut aliases = index.aliases.keys();
        aliases.any(|alias| {
            let is_ours = *alias == settings.index || alias.starts_with(&format!("{}-vnext-", settings.index));
            !is_ours && name.starts_with(&format!("{alias}-v"))
        })
    };
    let left = found.into_iter().find(|(name, index)| !is_anothers(name, index));
    if let Some((name, _)) = left {
        return refuse_without_alias(requests, settings, &name).await;
    }
    let mut body = new_index(requests, settings).await?;
    put_template(requests, &template(settings, &body)).await?;
    // The alias comes with the index, so that nobody sees one without the other; and so do settings and mappings, since
    // another template may be the one that the engine takes.
    let name = format!("{}-v{SCHEMA_VERSION}", settings.index);
    body["aliases"] = json!({&settings.index: {"is_write_index": true}});
    let created = send(requests, Method::PUT, &format!("/{name}"), Some(&body)).await?;
    let is_taken = EngineError::of_body(&created.body).is("resource_already_exists_exception");
    if created.status == 400 && is_taken {
        return refuse_without_alias(requests, settings, &name).await;
    }
    requests.read::<IgnoredAny>(&created)?;
    if !is_ours(requests).await? {
        return Err(requests.at(StatementsError::Unavailable(format!(
            "the index {name} was created and is gone again: who deletes it?"
        ))));
    }
    tracing::info!(index = name, shards = settings.shards, "the statement index was created");
    Ok(())
}

/// Another process was first; or the index lost its alias, and a new one would hide what it holds.
async fn refuse_without_alias(
    requests: &Requests,
    settings: &ElasticsearchSettings,
    name: &str,
) -> Result<(), StatementsError> {
    if is_ours(requests).await? {
        return Ok(());
    }
    Err(requests.at(StatementsError::Refused(format!(
        "the index {name} is there and the alias {} is not: give it the alias, or restore both",
        settings.index
    ))))
}

/// The template is written where it is missing or older; what a newer release wrote stays.
async fn put_template(requests: &Requests, template: &Value) -> Result<(), StatementsError> {
    let path = format!("/_index_template/{}", requests.index);
    let found = send(requests, Method::GET, &path, None).await?;
    if found.status != 404 {
        let found: Value = requests.read(&found)?;
        let version = found.pointer("/index_templates/0/index_template/version").and_then(Value::as_u64);
        if version.is_some_and(|version| version >= u64::from(SCHEMA_VERSION)) {
            return Ok(());
        }
    }
    requests.ask::<IgnoredAny>(Method::PUT, &path, &[], Some(template)).await?;
    Ok(())
}

/// OpenSearch says so at its root; of Elasticsearch some builds have nothing there to get, and say 405. Any other failure
/// says nothing of who answers.
async fn is_opensearch(requests: &Requests) -> Result<bool, StatementsError> {
    Ok(opensearch_version(requests).await?.is_some())
}

/// The version of OpenSearch, as it says it; `None` of Elasticsearch.
async fn opensearch_version(requests: &Requests) -> Result<Option<String>, StatementsError> {
    let answer = send(requests, Method::GET, "/", None).await?;
    if answer.status == 405 {
        return Ok(None);
    }
    let body: Value = requests.read(&answer)?;
    let version = &body["version"];
    Ok((version["distribution"] == "opensearch").then(|| version["number"].as_str().unwrap_or_default().to_owned()))
}

/// Whether the engine can swap an index in only where nobody took it away: before one is filled that it cannot.
///
/// # Errors
/// `Refused` where it cannot.
pub(super) async fn expect_version(requests: &Requests) -> Result<(), StatementsError> {
    if requests.is_serverless {
        return Ok(());
    }
    let Some(version) = opensearch_version(requests).await? else { return Ok(()) };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next(), parts.next()) < (Some(2), Some(12)) {
        let why =
            format!("it is OpenSearch {version}, which cannot swap an index in safely: update it to 2.12 or newer");
        return Err(requests.at(StatementsError::Refused(why)));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    mappings: Value,
}

/// An index with its aliases.
#[derive(Deserialize)]
pub(super) struct Aliased {
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, IgnoredAny>,
}

/// Indices by name, each with its aliases; what is not there is left out.
pub(super) async fn find_aliases(
    requests: &Requests,
    what: &str,
) -> Result<BTreeMap<String, Aliased>, StatementsError> {
    // Those that somebody closed are there, too.
    let query = [("filter_path", "*.aliases"), ("ignore_unavailable", "true"), ("expand_wildcards", "open,closed")];
    requests.ask(Method::GET, &format!("/{what}"), &query, None).await
}

/// Whether the alias leads to an index of ours; `false` where there is neither.
async fn is_ours(requests: &Requests) -> Result<bool, StatementsError> {
    let alias = &requests.index;
    let answer = send(requests, Method::GET, &format!("/{alias}"), None).await?;
    if answer.status == 404 {
        return Ok(false);
    }
    let found: BTreeMap<String, Found> = requests.read(&answer)?;
    let refused = |why: String| Err(requests.at(StatementsError::Refused(why)));
    for (name, index) in &found {
        if name == alias {
            return refused(format!(
                "{alias} is an index, and must be an alias: choose another ELASTICSEARCH_INDEX, or move the index away"
            ));
        }
        match index.mappings.pointer("/_meta/lyceum/schema").and_then(Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA_VERSION) => {
                if let Some(what) = mapped_otherwise(&index.mappings) {
                    return refused(format!(
                        "the index {name} has {what}, by a template of someone else's or a person: keep other templates \
                         from {alias}-v*, and move to an index that Lyceum made"
                    ));
                }
            }
            Some(schema) if schema > u64::from(SCHEMA_VERSION) => {
                return refused(format!(
                    "the index {name} was written by a newer version (schema {schema}, this one reads \
                     {SCHEMA_VERSION}); use that version"
                ));
            }
            _ => {
                return refused(format!(
                    "the index {name} behind the alias {alias} is no statement index: choose another \
                     ELASTICSEARCH_INDEX"
                ));
            }
        }
    }
    Ok(!found.is_empty())
}

/// What decides how a field is stored and found. The rest a person may tune: sub-fields, ordinals, notes.
const DECIDING: [&str; 7] = ["type", "enabled", "index", "doc_values", "ignore_above", "null_value", "normalizer"];

/// What of a mapping is not as every release of this schema has it. A field may be missing: one that came later is not
/// indexed in an older index.
fn mapped_otherwise(found: &Value) -> Option<String> {
    // The engines write it as a text.
    if found["dynamic"] != "false" && found["dynamic"] != false {
        return Some(format!("the mapping's dynamic {} in place of false", found["dynamic"]));
    }
    // Without its source a statement could not be read back, and with a routing of its own it would not be found.
    for part in ["_source", "_routing"] {
        if !found[part].is_null() {
            return Some(format!("{part} {} in its mapping", found[part]));
        }
    }
    let ours = mapping();
    let properties = ours["properties"].as_object()?;
    properties.iter().find_map(|(name, wanted)| {
        let mapped = &found["properties"][name];
        let differs = DECIDING.iter().any(|part| mapped[part] != wanted[part]);
        (!mapped.is_null() && differs).then(|| format!("the field {name} mapped as {mapped} in place of {wanted}"))
    })
}

pub(super) async fn send(
    requests: &Requests,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, StatementsError> {
    requests.send(method, path, &[], "application/json", body.map(|body| body.to_string().into())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_tunes_is_ours_still_and_what_stores_otherwise_is_not() {
        let with = |part: &str, of: Value| {
            let mut mapping = mapping();
            mapping["properties"]["id"][part] = of;
            mapped_otherwise(&mapping)
        };
        for (part, of) in [("fields", json!({"text": {"type": "text"}})), ("eager_global_ordinals", json!(true))] {
            assert_eq!(with(part, of), None, "{part}");
        }
        for (part, of) in [("type", json!("text")), ("index", json!(false)), ("ignore_above", json!(10))] {
            assert!(with(part, of).is_some_and(|told| told.contains("the field id")), "{part}");
        }
    }

    #[test]
    fn every_field_is_mapped_and_nothing_is_mapped_by_what_comes() {
        let mapping = mapping();
        assert_eq!(mapping["dynamic"], false);
        for field in &FIELDS {
            assert!(mapping["properties"][field.name]["type"].is_string(), "{}", field.name);
        }
        for name in ["raw", "raw_base64", "about"] {
            assert_eq!(mapping["properties"][name]["enabled"], false, "{name}");
        }
    }

    #[test]
    fn a_mapping_that_somebody_changed_is_told_by_what_was_changed() {
        assert_eq!(mapped_otherwise(&mapping()), None);
        let mut as_answered = mapping();
        as_answered["dynamic"] = json!("false");
        as_answered["properties"].as_object_mut().unwrap().remove("verb");
        as_answered["properties"]["of_somebody"] = json!({"type": "text"});
        assert_eq!(mapped_otherwise(&as_answered), None);
        for (pointer, value, told) in [
            ("/dynamic", json!("true"), "dynamic \"true\""),
            ("/properties/verb", json!({"type": "text"}), "the field verb mapped as"),
            ("/_source", json!({"enabled": false}), "_source"),
            ("/_routing", json!({"required": true}), "_routing"),
        ] {
            let mut changed = mapping();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = value;
            let what = mapped_otherwise(&changed).unwrap();
            assert!(what.contains(told), "{what}");
        }
    }
}
