//! What an answer of the engine that is no success means: to the caller of a whole request, or to one document of a bulk.
//!
//! Sources: <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>,
//! <https://docs.opensearch.org/latest/api-reference/document-apis/bulk/>, and what Elasticsearch 8.19 and OpenSearch 3.6
//! were seen to answer. The engines name some errors differently, so that only those names count that both have.

use serde::Deserialize;
use serde_json::Value;

use lyceum_core::ports::statements::StatementsError;

/// The most bytes of an engine's reason that a message repeats.
const MAX_REASON_BYTES: usize = 400;

/// Both say so where the alias leads to no index that is written to.
const NO_WRITE_INDEX: &str = "no write index is defined";
/// So it is said where an alias that has to be there is not.
const NO_ALIAS: &str = "required alias [";
/// Both say so where `index.default_pipeline` or `index.final_pipeline` names nothing.
const NO_PIPELINE: &str = "pipeline with id";
/// Both say so where a shard has as many documents as Lucene counts: 2,147,483,519.
const FULL_SHARD: &str = "Number of documents in";
/// Both say so where the cluster may have no further shard (`cluster.max_shards_per_node`).
const NO_MORE_SHARDS: &str = "Validation Failed: 1: this action would add";

/// An error as both engines write it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EngineError {
    #[serde(rename = "type")]
    kind: String,
    reason: Option<String>,
    root_cause: Vec<EngineError>,
    caused_by: Option<Box<EngineError>>,
}

impl EngineError {
    /// Reads the body of a failed request; one that is not the engine's, as of a proxy, has no name.
    pub(super) fn of_body(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        // Amazon's front door refuses in words of its own.
        let of_aws = ["Message", "message"].into_iter().find_map(|name| body[name].as_str());
        match of_aws.filter(|_| body["error"].is_null()) {
            Some(reason) => Self { reason: Some(reason.to_owned()), ..Self::default() },
            None => Self::of_value(&body["error"]),
        }
    }

    /// Reads the error of one document.
    pub(super) fn of_value(error: &Value) -> Self {
        match error {
            Value::String(reason) => Self { reason: Some(reason.clone()), ..Self::default() },
            error => Self::deserialize(error).unwrap_or_default(),
        }
    }

    /// Whether it, or what caused it, has this name.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind == kind
            || self.root_cause.iter().any(|cause| cause.is(kind))
            || self.caused_by.as_ref().is_some_and(|cause| cause.is(kind))
    }

    /// The status that it would have had as an answer by itself: one document that was asked for among many has none.
    pub(super) fn status_of_one(&self) -> u16 {
        if self.is("index_not_found_exception") {
            404
        } else if self.is("security_exception") {
            403
        } else {
            503
        }
    }

    /// Whether it is the engines' error for whatever has no name of its own, with a reason that begins so. What a document
    /// holds may stand in other errors' reasons, and never begins one of these.
    fn says(&self, words: &str) -> bool {
        matches!(self.kind.as_str(), "illegal_argument_exception" | "validation_exception")
            && self.reason.as_ref().is_some_and(|reason| reason.starts_with(words))
    }

    /// Whether an alias is not there that was to be removed: of some versions an answer of 400.
    pub(super) fn lacks_alias(&self) -> bool {
        self.says(NO_ALIAS)
    }

    /// Whether an answer of 400 is about the index and not about a document: every one would get it.
    fn is_of_the_index(&self) -> bool {
        self.is("index_closed_exception")
            || self.kind == "strict_dynamic_mapping_exception"
            || [NO_WRITE_INDEX, NO_PIPELINE, FULL_SHARD].iter().any(|words| self.says(words))
    }

    /// Name, reason and the innermost cause, on one line.
    fn text(&self, status: u16) -> String {
        let mut innermost = self.root_cause.first().unwrap_or(self);
        while let Some(cause) = &innermost.caused_by {
            innermost = cause;
        }
        let one = |error: &Self| match error.reason.as_deref().map(without_request) {
            Some(reason) if error.kind.is_empty() => reason.to_owned(),
            Some(reason) => format!("{}: {reason}", error.kind),
            None => error.kind.clone(),
        };
        let mut text = one(self);
        if innermost.reason != self.reason || innermost.kind != self.kind {
            text = format!("{text}: {}", one(innermost));
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = &text[..text.floor_char_boundary(MAX_REASON_BYTES)];
        if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}, {text}") }
    }
}

/// Some of the engines' reasons end with the request, in which a learner's statement stands.
fn without_request(reason: &str) -> &str {
    reason.split_once(", request: [").map_or(reason, |(reason, _)| reason)
}

/// What became of one document of a bulk that was not stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The id is taken.
    Taken,
    /// There is no document of that id.
    Missing,
    /// It may be taken later.
    Later(String),
    /// This document never.
    Never(String),
    /// It says nothing of the document: the whole call fails with it.
    Call(StatementsError),
}

/// Judges one document's answer.
pub(super) fn judge(status: u16, error: &EngineError, index: &str) -> Verdict {
    match status {
        409 => Verdict::Taken,
        404 if error.is("document_missing_exception") => Verdict::Missing,
        401 | 403 | 404 => match explain(status, error, index) {
            StatementsError::Unavailable(reason) => Verdict::Later(reason),
            refused => Verdict::Call(refused),
        },
        400 if error.is_of_the_index() => match explain(status, error, index) {
            StatementsError::Unavailable(reason) => Verdict::Later(reason),
            refused => Verdict::Call(refused),
        },
        _ => match explain(status, error, index) {
            StatementsError::Unavailable(reason) => Verdict::Later(reason),
            refused @ StatementsError::Unauthorized(_) => Verdict::Call(refused),
            StatementsError::Refused(reason) => Verdict::Never(reason),
        },
    }
}

/// What the failure of a whole request means, and what to do.
pub(super) fn explain(status: u16, error: &EngineError, index: &str) -> StatementsError {
    let text = error.text(status);
    if error.is("cluster_block_exception") {
        // The engine sets and lifts this block by its disk watermarks; a person sets it, too.
        return StatementsError::Unavailable(format!(
            "the index of {index} takes no writes ({text}): free disk space or add a node, and lift the block if a \
             person set it; nothing is lost meanwhile"
        ));
    }
    if error.is("index_create_block_exception") || error.says(NO_MORE_SHARDS) {
        return StatementsError::Unavailable(format!(
            "the cluster makes no index for {index} now ({text}): lift cluster.blocks.create_index, or delete indices \
             that nobody needs, add a node or raise cluster.max_shards_per_node"
        ));
    }
    if error.is("index_closed_exception") {
        return StatementsError::Unavailable(format!(
            "the index of {index} is closed ({text}): open it, POST /{index}/_open; nothing is lost meanwhile"
        ));
    }
    if error.says(FULL_SHARD) {
        return StatementsError::Unavailable(format!(
            "a shard of {index} is full ({text}): move to an index with more shards, as operations tell; nothing is lost \
             meanwhile"
        ));
    }
    match status {
        401 => StatementsError::Unauthorized(format!(
            "the credentials are not accepted ({text}): correct ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and \
             ELASTICSEARCH_PASSWORD"
        )),
        403 => StatementsError::Unauthorized(format!(
            "the credentials lack a right ({text}): grant read, write, view_index_metadata and maintenance on \
             {index} and {index}-v*, and to whoever creates the index manage on it, monitor and manage_index_templates"
        )),
        404 if error.is("index_not_found_exception") => StatementsError::Refused(format!(
            "there is no alias {index} ({text}): prepare the index, or correct ELASTICSEARCH_INDEX"
        )),
        400 if error.says(NO_WRITE_INDEX) => StatementsError::Refused(format!(
            "the alias {index} leads to no index that is written to ({text}): leave one index in it, with \
             is_write_index true"
        )),
        400 if error.says(NO_PIPELINE) => StatementsError::Refused(format!(
            "the index of {index} sends documents through a pipeline that is not there ({text}): set \
             index.default_pipeline and index.final_pipeline to null"
        )),
        400 if error.kind == "strict_dynamic_mapping_exception" => StatementsError::Refused(format!(
            "the mapping of {index} lacks a field that every release writes ({text}): it is not Lyceum's own; move to an \
             index that Lyceum made"
        )),
        _ if error.is("too_many_buckets_exception") => StatementsError::Refused(format!(
            "the aggregation has more buckets than the engine counts ({text}): narrow the filter or ask for smaller sizes"
        )),
        408 | 429 | 500.. => StatementsError::Unavailable(text),
        _ => StatementsError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(body: Value) -> EngineError {
        EngineError::of_body(json!({"error": body}).to_string().as_bytes())
    }

    #[test]
    fn one_documents_failure_is_told_from_the_whole_calls() {
        let named = |kind: &str| error(json!({"type": kind, "reason": "because"}));
        let judged = |status, kind: &str| judge(status, &named(kind), "xapi");
        assert_eq!(judged(409, "version_conflict_engine_exception"), Verdict::Taken);
        assert_eq!(judged(404, "document_missing_exception"), Verdict::Missing);
        for (status, kind) in [
            (429, "es_rejected_execution_exception"),
            (429, "rejected_execution_exception"),
            (429, "cluster_block_exception"),
            (403, "cluster_block_exception"),
            (503, "unavailable_shards_exception"),
            (500, "some_exception"),
        ] {
            assert!(matches!(judged(status, kind), Verdict::Later(_)), "{status} {kind}");
        }
        for (status, kind) in
            [(400, "mapper_parsing_exception"), (400, "document_parsing_exception"), (413, "too_large")]
        {
            assert!(matches!(judged(status, kind), Verdict::Never(_)), "{status} {kind}");
        }
        for (status, kind) in
            [(401, "security_exception"), (403, "security_exception"), (404, "index_not_found_exception")]
        {
            let Verdict::Call(error) = judged(status, kind) else { panic!("{status} {kind}") };
            assert!(!error.is_transient());
            // These are worth a look whether there are other credentials by now.
            assert_eq!(matches!(error, StatementsError::Unauthorized(_)), status != 404, "{status} {kind}");
        }
    }

    #[test]
    fn a_document_that_may_not_be_read_is_refused_for_the_credentials() {
        let explained = |kind: &str| {
            let of_one = EngineError::of_value(&json!({"type": kind, "reason": "because"}));
            explain(of_one.status_of_one(), &of_one, "xapi")
        };
        assert!(matches!(explained("security_exception"), StatementsError::Unauthorized(_)));
        assert!(matches!(explained("index_not_found_exception"), StatementsError::Refused(_)));
        assert!(matches!(explained("shard_not_available_exception"), StatementsError::Unavailable(_)));
    }

    #[test]
    fn what_is_the_indexs_state_is_no_documents_fault_and_makes_no_letter() {
        let judged =
            |status, kind: &str, reason: &str| judge(status, &error(json!({"type": kind, "reason": reason})), "xapi");
        for (status, kind, reason, told) in [
            (400, "index_closed_exception", "closed", "POST /xapi/_open"),
            (400, "illegal_argument_exception", "Number of documents in the shard cannot exceed [9]", "more shards"),
            (400, "illegal_argument_exception", "Number of documents in shard [x][0] exceeds the limit", "more shards"),
            (403, "index_create_block_exception", "blocked by: [create-index]", "cluster.blocks.create_index"),
        ] {
            let Verdict::Later(reason) = judged(status, kind, reason) else { panic!("{status} {kind}") };
            assert!(reason.contains(told), "{reason}");
        }
        for (kind, reason, told) in [
            ("illegal_argument_exception", "no write index is defined for alias [xapi]", "is_write_index true"),
            ("illegal_argument_exception", "pipeline with id [none] does not exist", "index.default_pipeline"),
            ("strict_dynamic_mapping_exception", "mapping set to strict", "an index that Lyceum made"),
        ] {
            let Verdict::Call(error) = judged(400, kind, reason) else { panic!("{kind} {reason}") };
            assert!(!error.is_transient() && error.to_string().contains(told), "{error}");
        }
        // What a document holds decides nothing.
        for (kind, reason) in [
            ("document_parsing_exception", "failed to parse: 'no write index is defined'"),
            ("mapper_parsing_exception", "pipeline with id [x] does not exist"),
            ("illegal_argument_exception", "Document contains an immense term"),
        ] {
            assert!(matches!(judged(400, kind, reason), Verdict::Never(_)), "{kind} {reason}");
        }
    }

    #[test]
    fn a_message_repeats_no_statement() {
        let reason =
            "primary shard is not active Timeout: [1m], request: [BulkShardRequest [x] containing [source[{}]]]";
        let told = error(json!({"type": "unavailable_shards_exception", "reason": reason})).text(503);
        assert_eq!(told, "HTTP 503, unavailable_shards_exception: primary shard is not active Timeout: [1m]");
    }

    #[test]
    fn a_message_has_the_engines_reason_on_one_line_and_no_more_of_it_than_needed() {
        let cause = json!({"type": "number_format_exception", "reason": "For input\n string"});
        let parsing =
            error(json!({"type": "mapper_parsing_exception", "reason": "x".repeat(9_000), "caused_by": cause}));
        let told = explain(400, &parsing, "xapi").to_string();
        assert!(told.len() < 600 && !told.contains('\n'), "{told}");
        let short = error(json!({"type": "a", "reason": "b", "caused_by": cause}));
        assert_eq!(
            explain(400, &short, "xapi"),
            StatementsError::Refused("HTTP 400, a: b: number_format_exception: For input string".into())
        );
        let proxy = EngineError::of_body(b"<html>Bad Gateway</html>");
        assert_eq!(explain(502, &proxy, "xapi"), StatementsError::Unavailable("HTTP 502".into()));
        let aws = EngineError::of_body(br#"{"Message":"User: arn:x is not authorized to perform: es:ESHttpPost"}"#);
        assert!(explain(403, &aws, "xapi").to_string().contains("es:ESHttpPost"));
        let bare = EngineError::of_body(br#"{"error":"alias [xapi] missing","status":404}"#);
        assert_eq!(explain(404, &bare, "xapi"), StatementsError::Refused("HTTP 404, alias [xapi] missing".into()));
    }
}
