//! How many statements a second the adapter stores on Elasticsearch or OpenSearch, beside plain `_bulk` requests of the
//! same documents to the same server in the same run; and what waiting for the engine's own refresh would cost instead of
//! asking for one. `ELASTICSEARCH_URL` names the server; `LYCEUM_BENCH_STATEMENTS` how many (22,000).

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lyceum_core::ports::statements::{StatementDocument, StatementFields, StoreDocuments, StoreOutcome};
use lyceum_core::record::Position;
use lyceum_elasticsearch::{Elasticsearch, ElasticsearchSettings, document_id};
use serde_json::{Value, json};
use uuid::Uuid;

type Ended<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Ended<()> {
    let Ok(url) = std::env::var("ELASTICSEARCH_URL") else {
        println!("ELASTICSEARCH_URL names no server: nothing was measured");
        return Ok(());
    };
    let count = std::env::var("LYCEUM_BENCH_STATEMENTS").map_or(Ok(22_000), |count| count.parse())?;
    let documents: Vec<_> = (0..count).map(generate).collect();
    let bytes: usize = documents.iter().map(|document| document.raw.len()).sum();
    println!("{count} statements of {} bytes on average", bytes / documents.len().max(1));
    let bench = Bench { http: lyceum_https::client(), url };
    for size in [500, 1_000] {
        let batches: Vec<_> = documents.chunks(size).map(<[_]>::to_vec).collect();
        // Each way twice, in turn, so that neither has the warmer server.
        let (mut by_adapter, mut plain) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..2 {
            by_adapter += bench.by_adapter(&batches).await?;
            plain += bench.plain(&batches, Some("true")).await?;
        }
        let rate = |took: Duration| 2.0 * documents.len() as f64 / took.as_secs_f64();
        println!(
            "bulks of {size:>5}: adapter {:>6.0}/s, plain _bulk with a refresh {:>6.0}/s: {:.2} of it",
            rate(by_adapter),
            rate(plain),
            rate(by_adapter) / rate(plain)
        );
        for refresh in [None, Some("wait_for")] {
            let some = &batches[..batches.len().min(8)];
            let took = bench.plain(some, refresh).await?;
            println!(
                "              plain _bulk, refresh {:>8}: {:>6.0} ms a bulk",
                refresh.unwrap_or("none"),
                took.as_secs_f64() * 1_000.0 / some.len() as f64
            );
        }
    }
    Ok(())
}

struct Bench {
    http: reqwest::Client,
    url: String,
}

impl Bench {
    async fn by_adapter(&self, batches: &[Vec<StatementDocument>]) -> Ended<Duration> {
        let (settings, statements) = self.index().await?;
        let start = Instant::now();
        for batch in batches {
            let outcomes = statements.store(batch.clone()).await?;
            if let Some(other) = outcomes.iter().find(|outcome| **outcome != StoreOutcome::Created) {
                return Err(format!("not created: {other:?}").into());
            }
        }
        let took = start.elapsed();
        self.remove(&settings).await?;
        Ok(took)
    }

    /// The same index and ids, and documents of about the same size; what the adapter looks up is not looked up.
    async fn plain(&self, batches: &[Vec<StatementDocument>], refresh: Option<&str>) -> Ended<Duration> {
        let (settings, _) = self.index().await?;
        let url = format!("{}/{}/_bulk?refresh={}", self.url, settings.index, refresh.unwrap_or("false"));
        let start = Instant::now();
        for batch in batches {
            let mut body = String::new();
            for document in batch {
                let fields = &document.fields;
                let source = json!({
                    "id": document.id, "tenant": document.tenant, "timestamp_ms": fields.timestamp_ms, "day": fields.day,
                    "actor": fields.actor, "verb": fields.verb, "object": fields.object, "score_raw": fields.score_raw,
                    "response": fields.response, "success": fields.success, "event_type": fields.event_type,
                    "about": {"correlation_id": document.correlation_id, "stored_ms": document.stored_ms},
                    "raw": String::from_utf8_lossy(&document.raw),
                });
                let action = json!({"create": {"_id": document_id(&document.tenant, document.id)}});
                body.push_str(&format!("{action}\n{source}\n"));
            }
            let request = self.http.post(&url).header("content-type", "application/x-ndjson").body(body);
            let answer: Value = request.send().await?.error_for_status()?.json().await?;
            if answer["errors"] != false {
                return Err("the plain bulk has errors".into());
            }
        }
        let took = start.elapsed();
        self.remove(&settings).await?;
        Ok(took)
    }

    async fn index(&self) -> Ended<(ElasticsearchSettings, Elasticsearch)> {
        let index = format!("lyceum-bench-{}", Uuid::new_v4());
        let settings = ElasticsearchSettings { index, replicas: 0, ..ElasticsearchSettings::at(&self.url) };
        let statements = Elasticsearch::connect(&settings, |one, other| one == other)?;
        statements.prepare().await?;
        Ok((settings, statements))
    }

    async fn remove(&self, settings: &ElasticsearchSettings) -> Ended<()> {
        for path in [format!("{}-v1", settings.index), format!("_index_template/{}", settings.index)] {
            self.http.delete(format!("{}/{path}", self.url)).send().await?.error_for_status()?;
        }
        Ok(())
    }
}

/// A statement of about 1.2 KB.
fn generate(number: u64) -> StatementDocument {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes());
    let noise: String = (0..22u32).map(|part| Uuid::new_v5(&id, &part.to_be_bytes()).to_string()).collect();
    let timestamp_ms = 1_638_144_000_000 + number as i64 * 37_000;
    let actor = format!("learner-{}@example.org", number % 900);
    let verb = format!("http://adlnet.gov/expapi/verbs/verb-{}", number % 12);
    let object = format!("http://example.org/course/{}/unit/{}", number % 40, number % 997);
    let raw = json!({
        "id": id, "actor": {"mbox": format!("mailto:{actor}")}, "verb": {"id": verb}, "object": {"id": object},
        "result": {"response": format!("answer {}", number % 5_000), "score": {"raw": number % 101}},
        "context": {"extensions": {"http://example.org/ext/noise": noise}},
    });
    StatementDocument {
        tenant: "bench".into(),
        id,
        raw: Bytes::from(raw.to_string()),
        stored_ms: timestamp_ms,
        source: Position::new("nlj.xapi.statements", (number % 6) as i32, (number / 6) as i64),
        correlation_id: format!("correlation-{number}").into(),
        fields: StatementFields {
            event_type: "statement".into(),
            family: "statement".into(),
            timestamp_ms,
            day: "2021-11-29".into(),
            actor: format!("mbox:{actor}"),
            verb: verb.into(),
            object_type: "Activity".into(),
            object: object.into(),
            response: Some(format!("answer {}", number % 5_000).into()),
            score_raw: Some((number % 101) as f64),
            success: Some(number.is_multiple_of(3)),
            ..StatementFields::default()
        },
    }
}
