//! Reading statements back: by id, and by what a filter leaves.

use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use uuid::Uuid;

use super::document::{Kept, document_id};
use super::failure::{EngineError, explain};
use super::requests::{Requests, WHOLE};
use lyceum_core::ports::statements::semantics::{Cursor, check_search, index_term};
use lyceum_core::ports::statements::{Filter, Page, StatementsError, StoredStatement};

#[derive(Deserialize)]
struct Many {
    docs: Vec<Looked>,
}

#[derive(Deserialize)]
struct Looked {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Option<Kept>,
    error: Option<Value>,
}

/// The statements under these `_id`s, each `None` where it is not there; also what was not made visible yet.
pub(super) async fn get_many(
    requests: &Requests,
    ids: &[&str],
) -> Result<Vec<Option<StoredStatement>>, StatementsError> {
    let body = json!({"ids": ids});
    let many: Many = requests.ask(Method::POST, &requests.path("_mget"), &[], Some(&body)).await?;
    let one = |looked: Looked| {
        if let Some(error) = looked.error {
            let error = EngineError::of_value(&error);
            return Err(requests.at(explain(error.status_of_one(), &error, &requests.index)));
        }
        looked.source.map(|kept| whole(requests, &looked.id, kept)).transpose()
    };
    many.docs.into_iter().map(one).collect()
}

fn whole(requests: &Requests, id: &str, kept: Kept) -> Result<StoredStatement, StatementsError> {
    kept.into_statement().ok_or_else(|| {
        requests.at(StatementsError::Refused(format!(
            "the document {id} lacks its bytes: restore the index from a snapshot, or delete it and replay its topic"
        )))
    })
}

/// See [`lyceum_core::ports::statements::Statements::get`].
pub(super) async fn get(
    requests: &Requests,
    tenant: &str,
    id: Uuid,
) -> Result<Option<StoredStatement>, StatementsError> {
    let found = get_many(requests, &[&document_id(tenant, id)]).await?;
    Ok(found.into_iter().next().flatten())
}

/// A filter in the engine's language.
pub(super) fn query(filter: &Filter) -> Value {
    let any_value = |(name, values): (&str, &[String])| {
        let values: Vec<_> = values.iter().map(|value| index_term(value)).collect();
        json!({"terms": {name: values}})
    };
    let any_field = |fields: Vec<_>| {
        let should: Vec<_> = fields.into_iter().map(any_value).collect();
        json!({"bool": {"should": should, "minimum_should_match": 1}})
    };
    let mut clauses: Vec<_> = filter.terms().map(any_field).collect();
    if filter.from_ms.is_some() || filter.to_ms.is_some() {
        let mut range = json!({});
        if let Some(from) = filter.from_ms {
            range["gte"] = json!(from);
        }
        if let Some(to) = filter.to_ms {
            range["lt"] = json!(to);
        }
        clauses.push(json!({"range": {"timestamp_ms": range}}));
    }
    let mut query = json!({"bool": {"filter": clauses}});
    if !filter.include_voided {
        let is_voiding = json!({"exists": {"field": "void_key"}});
        query["bool"]["must_not"] =
            json!([{"bool": {"filter": [{"term": {"voided": true}}], "must_not": [is_voiding]}}]);
    }
    query
}

#[derive(Deserialize)]
struct Searched {
    hits: Hits,
}

/// How many there are, and those that were asked for.
#[derive(Deserialize)]
struct Hits {
    total: Total,
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Kept,
}

/// See [`lyceum_core::ports::statements::Statements::search`].
pub(super) async fn search(
    requests: &Requests,
    filter: &Filter,
    limit: usize,
    after: Option<&str>,
) -> Result<Page, StatementsError> {
    let after = check_search(limit, after)?;
    let mut body = json!({
        "query": query(filter),
        "sort": [{"timestamp_ms": "desc"}, {"id": "asc"}, {"tenant": "asc"}],
        // One more than asked for tells that there is a next page.
        "size": limit + 1,
        "track_total_hits": true,
    });
    if let Some(after) = &after {
        body["search_after"] = json!([after.timestamp_ms(), after.id(), index_term(after.tenant())]);
    }
    let answer: Searched = requests.ask(Method::POST, &requests.path("_search"), WHOLE, Some(&body)).await?;
    let mut hits = answer.hits.hits;
    let more = hits.len() > limit;
    hits.truncate(limit);
    let statements = hits.into_iter().map(|hit| whole(requests, &hit.id, hit.source)).collect::<Result<Vec<_>, _>>()?;
    let next = statements.last().filter(|_| more).map(|last| Cursor::of(&last.document).to_string());
    Ok(Page { statements, total: answer.hits.total.value, next })
}

/// Asks the index for nothing: whether it is there, its shards answer, and it may be read.
pub(super) async fn ping(requests: &Requests) -> Result<(), StatementsError> {
    let body = json!({"size": 0, "track_total_hits": false, "query": {"match_none": {}}});
    requests.ask::<IgnoredAny>(Method::POST, &requests.path("_search"), WHOLE, Some(&body)).await?;
    Ok(())
}
