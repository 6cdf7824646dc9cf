//! Storing: each (tenant, id) once, one document's failure apart from the others', and what is voided marked.

use std::collections::{BTreeSet, HashMap};
use std::mem::take;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::{Sent, document_id, void_key};
use super::failure::{EngineError, Verdict, judge};
use super::requests::{Requests, WHOLE};
use super::search::get_many;
use lyceum_core::ports::statements::semantics::{StatementEquality, meet_again};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreOutcome};
use lyceum_core::record::Position;

/// The most documents of one bulk.
pub const MAX_BULK_DOCUMENTS: usize = 1_000;
/// The most bytes of one bulk, unless a single document has more: below the smallest limit that a managed service sets
/// (10 MiB on small instances of Amazon OpenSearch Service).
pub const MAX_BULK_BYTES: usize = 8 << 20;
/// How often the engine repeats a mark that met another write of the same document.
const MARK_RETRIES: u32 = 10;

/// What is known of a (tenant, id) after its first document was sent.
enum Known {
    /// It is stored, from this record with these bytes; `outcome` is the first document's.
    Stored { outcome: StoreOutcome, first: Position, raw: Bytes },
    /// The first document cannot be stored: the next one of this id has its own chance.
    Refused(String),
    /// The first document may be stored later, and must stay the first.
    Unavailable(String),
}

/// See [`lyceum_core::ports::statements::Statements::store`].
pub(super) async fn store(
    requests: &Requests,
    same: StatementEquality,
    documents: &[StatementDocument],
) -> Result<Vec<StoreOutcome>, StatementsError> {
    let ids: Vec<String> = documents.iter().map(|document| document_id(&document.tenant, document.id)).collect();
    let mut outcomes: Vec<Option<StoreOutcome>> = vec![None; documents.len()];
    let mut waiting: Vec<usize> = (0..documents.len()).collect();
    while !waiting.is_empty() {
        // A bulk holds each id once: whatever becomes of one document, the first of its id counts as first.
        let mut first_of: HashMap<&str, usize> = HashMap::new();
        let (mut firsts, mut followers) = (Vec::new(), Vec::new());
        for at in take(&mut waiting) {
            match first_of.get(ids[at].as_str()) {
                Some(first) => followers.push((at, *first)),
                None => {
                    first_of.insert(&ids[at], at);
                    firsts.push(at);
                }
            }
        }
        let known = create(requests, same, documents, &ids, &firsts).await?;
        for (at, first) in followers {
            match &known[&first] {
                Known::Stored { first, raw, .. } => {
                    outcomes[at] = Some(meet_again(first, raw, &documents[at], same));
                }
                Known::Refused(_) => waiting.push(at),
                Known::Unavailable(reason) => {
                    outcomes[at] = Some(StoreOutcome::Unavailable { reason: reason.clone() });
                }
            }
        }
        for (at, known) in known {
            outcomes[at] = Some(match known {
                Known::Stored { outcome, .. } => outcome,
                Known::Refused(reason) => StoreOutcome::Refused { reason },
                Known::Unavailable(reason) => StoreOutcome::Unavailable { reason },
            });
        }
    }
    let outcomes: Vec<StoreOutcome> = outcomes.into_iter().map(or_unavailable).collect();
    make_visible(requests, documents, &ids, &outcomes).await?;
    Ok(outcomes)
}

/// One that nothing was found out about is not left out: every outcome behind it would be another document's.
fn or_unavailable(outcome: Option<StoreOutcome>) -> StoreOutcome {
    outcome.unwrap_or_else(|| StoreOutcome::Unavailable { reason: "the store's answer says nothing of it".to_owned() })
}

/// Creates documents of different ids, by their places in `documents`.
async fn create(
    requests: &Requests,
    same: StatementEquality,
    documents: &[StatementDocument],
    ids: &[String],
    places: &[usize],
) -> Result<HashMap<usize, Known>, StatementsError> {
    let mut known = HashMap::with_capacity(places.len());
    let mut taken = Vec::new();
    let mut rest = places;
    while !rest.is_empty() {
        let mut bulk = Bulk::default();
        while let Some((&at, behind)) = rest.split_first() {
            if !bulk.takes(documents[at].raw.len()) {
                break;
            }
            bulk.create(at, &ids[at], &documents[at]).map_err(|error| {
                StatementsError::Refused(format!("statement {} cannot be written as JSON: {error}", ids[at]))
            })?;
            rest = behind;
        }
        for (at, verdict) in bulk.send(requests).await? {
            let document = &documents[at];
            let of_document = match verdict {
                None => Known::Stored {
                    outcome: StoreOutcome::Created,
                    first: document.source.clone(),
                    raw: document.raw.clone(),
                },
                Some(Verdict::Taken) => {
                    taken.push(at);
                    continue;
                }
                Some(Verdict::Never(reason)) => Known::Refused(reason),
                Some(Verdict::Later(reason)) => Known::Unavailable(reason),
                Some(Verdict::Missing) => Known::Unavailable("the engine did not find what it was to create".into()),
                Some(Verdict::Call(error)) => return Err(requests.at(error)),
            };
            known.insert(at, of_document);
        }
    }
    // Those that are there have about the size of those that are redelivered.
    let mut rest = taken.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(MAX_BULK_DOCUMENTS).take_while(|at| {
            bytes += documents[**at].raw.len();
            bytes <= MAX_BULK_BYTES
        });
        let (now, behind) = rest.split_at(fits.count().max(1));
        rest = behind;
        let wanted: Vec<&str> = now.iter().map(|&at| ids[at].as_str()).collect();
        for (&at, found) in now.iter().zip(get_many(requests, &wanted).await?) {
            let of_document = match found {
                Some(found) => {
                    let (first, raw) = (found.document.source, found.document.raw);
                    Known::Stored { outcome: meet_again(&first, &raw, &documents[at], same), first, raw }
                }
                None => Known::Unavailable("its id was taken, and then nothing was found under it".into()),
            };
            known.insert(at, of_document);
        }
    }
    Ok(known)
}

/// Shows what was stored, and marks what is voided; the order is what makes it safe (see the module's documentation).
async fn make_visible(
    requests: &Requests,
    documents: &[StatementDocument],
    ids: &[String],
    outcomes: &[StoreOutcome],
) -> Result<(), StatementsError> {
    let is_stored = |outcome: &StoreOutcome| matches!(outcome, StoreOutcome::Created | StoreOutcome::Duplicate { .. });
    let stored: Vec<usize> = (0..documents.len()).filter(|at| is_stored(&outcomes[*at])).collect();
    if stored.is_empty() {
        return Ok(());
    }
    refresh(requests).await?;
    let mut marked: BTreeSet<String> = stored.iter().filter_map(|&at| void_key(&documents[at])).collect();
    let targets: Vec<&str> = stored
        .iter()
        .filter(|&&at| outcomes[at] == StoreOutcome::Created && documents[at].fields.voids.is_none())
        .map(|&at| ids[at].as_str())
        .collect();
    for part in targets.chunks(MAX_BULK_DOCUMENTS) {
        marked.extend(voided_among(requests, part).await?);
    }
    if marked.is_empty() {
        return Ok(());
    }
    mark(requests, &marked.into_iter().collect::<Vec<_>>()).await?;
    refresh(requests).await
}

#[derive(Deserialize)]
struct Shards {
    #[serde(rename = "_shards")]
    shards: ShardCount,
}

#[derive(Deserialize)]
struct ShardCount {
    failed: u32,
}

async fn refresh(requests: &Requests) -> Result<(), StatementsError> {
    if requests.is_serverless {
        return Ok(());
    }
    let refresh = async || {
        let answer: Shards = requests.ask(Method::POST, &requests.path("_refresh"), &[], None).await?;
        match answer.shards.failed {
            0 => Ok(()),
            failed => Err(requests.at(StatementsError::Unavailable(format!("{failed} shards could not be refreshed")))),
        }
    };
    requests.refresh.after_now(refresh).await
}

#[derive(Deserialize)]
struct Named {
    aggregations: NamedTargets,
}

#[derive(Deserialize)]
struct NamedTargets {
    targets: Targets,
}

#[derive(Deserialize)]
struct Targets {
    buckets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    key: String,
}

/// Those of the `_id`s that a visible voiding statement names.
async fn voided_among(requests: &Requests, ids: &[&str]) -> Result<Vec<String>, StatementsError> {
    let body = json!({
        "size": 0,
        "track_total_hits": false,
        "query": {"bool": {"filter": [{"terms": {"void_key": ids}}]}},
        "aggs": {"targets": {"terms": {"field": "void_key", "size": ids.len()}}},
    });
    let answer: Named = requests.ask(Method::POST, &requests.path("_search"), WHOLE, Some(&body)).await?;
    Ok(answer.aggregations.targets.buckets.into_iter().map(|target| target.key).collect())
}

/// Marks as voided those of the `_id`s that are there.
async fn mark(requests: &Requests, ids: &[String]) -> Result<(), StatementsError> {
    for part in ids.chunks(MAX_BULK_DOCUMENTS) {
        let mut bulk = Bulk::default();
        for (at, id) in part.iter().enumerate() {
            let action = json!({"update": {"_id": id, "retry_on_conflict": MARK_RETRIES}});
            bulk.push(at, &action, &json!({"doc": {"voided": true}}))
                .map_err(|error| StatementsError::Refused(format!("a mark cannot be written as JSON: {error}")))?;
        }
        for (at, verdict) in bulk.send(requests).await? {
            let id = &part[at];
            let error = match verdict {
                None | Some(Verdict::Missing) => continue,
                Some(Verdict::Taken) => StatementsError::Unavailable(format!("{id} is being written by others")),
                Some(Verdict::Later(reason)) => {
                    StatementsError::Unavailable(format!("{id} could not be marked as voided: {reason}"))
                }
                Some(Verdict::Never(reason)) => {
                    StatementsError::Refused(format!("{id} could not be marked as voided: {reason}"))
                }
                Some(Verdict::Call(error)) => error,
            };
            return Err(requests.at(error));
        }
    }
    Ok(())
}

/// The body of a bulk, and which part of it belongs to which document.
#[derive(Default)]
struct Bulk {
    body: BytesMut,
    parts: Vec<(usize, Range<usize>)>,
}

#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    items: Vec<HashMap<&'a str, Item<'a>>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    status: u16,
    /// Which index took it.
    #[serde(borrow, default, rename = "_index")]
    index: &'a str,
    #[serde(default)]
    error: Option<Value>,
}

impl Bulk {
    /// Whether a further document with that many bytes belongs in.
    fn takes(&self, bytes: usize) -> bool {
        self.parts.is_empty() || (self.parts.len() < MAX_BULK_DOCUMENTS && self.body.len() + bytes <= MAX_BULK_BYTES)
    }

    fn create(&mut self, at: usize, id: &str, document: &StatementDocument) -> serde_json::Result<()> {
        self.push(at, &json!({"create": {"_id": id}}), &Sent(document))
    }

    /// Source of the form: an action and its document, each on a line.
    fn push(&mut self, at: usize, action: &Value, document: &impl Serialize) -> serde_json::Result<()> {
        let begin = self.body.len();
        let mut writer = (&mut self.body).writer();
        serde_json::to_writer(&mut writer, action)?;
        writer.get_mut().put_u8(b'\n');
        serde_json::to_writer(&mut writer, document)?;
        writer.get_mut().put_u8(b'\n');
        self.parts.push((at, begin..self.body.len()));
        Ok(())
    }

    /// Sends it, in halves where it is too large for whoever stands between; `None` is a success.
    async fn send(self, requests: &Requests) -> Result<Vec<(usize, Option<Verdict>)>, StatementsError> {
        let body = self.body.freeze();
        let mut verdicts = Vec::with_capacity(self.parts.len());
        let mut left = vec![self.parts.as_slice()];
        while let Some(parts) = left.pop() {
            let (Some((first, begin)), Some((_, end))) = (parts.first(), parts.last()) else { continue };
            let part = body.slice(begin.start..end.end);
            // Without require_alias a missing index would be made by the engine, with whatever mapping it guesses.
            let query = [("require_alias", "true"), ("filter_path", "items.*.status,items.*.error,items.*._index")];
            let path = requests.path("_bulk");
            let answer = requests.send(Method::POST, &path, &query, "application/x-ndjson", Some(part.clone())).await?;
            if answer.status == 413 && parts.len() > 1 {
                let (one, other) = parts.split_at(parts.len() / 2);
                left.extend([other, one]);
                continue;
            }
            if answer.status == 413 {
                let reason = format!("with {} bytes it is larger than the server takes (HTTP 413)", part.len());
                verdicts.push((*first, Some(Verdict::Never(reason))));
                continue;
            }
            let answered: Answered<'_> = requests.read(&answer)?;
            if answered.items.len() != parts.len() {
                return Err(requests.at(StatementsError::Unavailable(format!(
                    "{} documents were sent and {} answered for",
                    parts.len(),
                    answered.items.len()
                ))));
            }
            let expected = requests.expected_index();
            for ((at, _), item) in parts.iter().zip(answered.items) {
                // Of what was not taken the engine says where it was to go.
                let is_there = |item: &Item<'_>| matches!(item.status, 200..300 | 409);
                let is_elsewhere = |item: &Item<'_>| is_there(item) && !expected.is_empty() && *item.index != *expected;
                if let Some(item) = item.values().find(|item| is_elsewhere(item)) {
                    let why = format!(
                        "{} answered, and {expected} is the index of {} that was looked at",
                        item.index, requests.index
                    );
                    verdicts.push((*at, Some(Verdict::Later(why))));
                    continue;
                }
                let verdict = item.into_values().find(|item| !(200..300).contains(&item.status)).map(|item| {
                    let error = EngineError::of_value(item.error.as_ref().unwrap_or(&Value::Null));
                    judge(item.status, &error, &requests.index)
                });
                verdicts.push((*at, verdict));
            }
        }
        Ok(verdicts)
    }
}
