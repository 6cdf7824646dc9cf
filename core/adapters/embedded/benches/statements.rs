//! How many statements a second the embedded store takes: six callers at once, calls of 500 to 3,500 statements, and the
//! same statements once more, as a replay would bring them. `LYCEUM_BENCH_CORPUS` names a file of JSON lines (or `.gz`).

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use lyceum_core::ports::statements::{
    Filter, QueryDocuments, StatementDocument, StatementFields, StoreDocuments, StoreOutcome,
};
use lyceum_core::record::Position;
use lyceum_embedded::statements::{EmbeddedStatements, StatementsOptions};
use serde_json::{Value, json};
use uuid::Uuid;

const CALLERS: usize = 6;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let documents = corpus()?;
    let bytes: usize = documents.iter().map(|document| document.raw.len()).sum();
    println!(
        "{} statements of {} bytes on average, {CALLERS} callers",
        documents.len(),
        bytes / documents.len().max(1)
    );
    let folder = tempfile::tempdir()?;
    let statements = EmbeddedStatements::open(folder.path(), StatementsOptions::new(|one, other| one == other))?;
    for round in ["new", "once more"] {
        let took = store(&statements, &documents).await?;
        println!("{round:>10}: {:>7.0} statements/s", documents.len() as f64 / took.as_secs_f64());
    }
    let one_by_one = Instant::now();
    for document in documents.iter().take(50) {
        statements.store(vec![StatementDocument { id: Uuid::new_v4(), ..document.clone() }]).await?;
    }
    println!("  one call: {:>7.1} ms for one statement", one_by_one.elapsed().as_secs_f64() * 1_000.0 / 50.0);
    let asked = json!({"verbs": {"terms": {"field": "verb"}}, "learners": {"cardinality": {"field": "actor"}}});
    let question = Instant::now();
    let answer = statements.aggregate(&Filter::default(), &asked).await?;
    println!("  question: {:>7.1} ms over {} statements", question.elapsed().as_secs_f64() * 1_000.0, answer["hits"]);
    if let Some(peak) = fs::read_to_string("/proc/self/status")?.lines().find(|line| line.starts_with("VmHWM")) {
        println!("    memory: {}", peak.trim_start_matches("VmHWM:").trim());
    }
    Ok(())
}

/// Six callers take a batch each until none is left.
async fn store(statements: &EmbeddedStatements, documents: &[StatementDocument]) -> Result<Duration, Box<dyn Error>> {
    let mut batches = Vec::new();
    let mut rest = documents;
    for size in [500, 3_500, 1_000, 2_000, 3_000, 1_500].into_iter().cycle() {
        let (batch, behind) = rest.split_at(size.min(rest.len()));
        batches.push(batch.to_vec());
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    let batches = std::sync::Mutex::new(batches);
    let start = Instant::now();
    let call = async || {
        loop {
            let Some(batch) = batches.lock().map_err(|_| "a caller broke")?.pop() else { return Ok(()) };
            let outcomes = statements.store(batch).await?;
            if let Some(other) = outcomes.iter().find(|outcome| **outcome != StoreOutcome::Created) {
                return Err(format!("not created: {other:?}").into());
            }
        }
    };
    join_all((0..CALLERS).map(|_| call())).await.into_iter().collect::<Result<Vec<()>, Box<dyn Error>>>()?;
    Ok(start.elapsed())
}

fn corpus() -> Result<Vec<StatementDocument>, Box<dyn Error>> {
    let lines: Vec<String> = match std::env::var("LYCEUM_BENCH_CORPUS") {
        Ok(path) => {
            let file = File::open(&path)?;
            let reader: Box<dyn Read> =
                if path.ends_with(".gz") { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
            BufReader::new(reader).lines().collect::<Result<_, _>>()?
        }
        Err(_) => (0..22_000).map(generate).collect(),
    };
    lines.iter().filter(|line| !line.trim().is_empty()).enumerate().map(|(at, line)| document(at, line)).collect()
}

/// A statement of about 1.2 KB.
fn generate(number: u32) -> String {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes());
    let learner = number % 900;
    let noise: String = (0..9u32).map(|part| Uuid::new_v5(&id, &part.to_be_bytes()).to_string()).collect();
    json!({
        "id": id,
        "actor": {"mbox": format!("mailto:learner-{learner}@example.org"), "name": format!("Learner {learner}")},
        "verb": {"id": format!("http://adlnet.gov/expapi/verbs/verb-{}", number % 12), "display": {"en": "did"}},
        "object": {"id": format!("http://example.org/course/{}/unit/{}", number % 40, number % 997), "definition": {
            "type": "http://adlnet.gov/expapi/activities/lesson", "name": {"en-US": format!("Unit {}", number % 997)}}},
        "result": {"response": format!("answer {}", number % 5_000), "score": {"raw": number % 101, "min": 0, "max": 100},
            "success": number.is_multiple_of(3)},
        "context": {"registration": Uuid::new_v5(&Uuid::NAMESPACE_URL, &learner.to_be_bytes()),
            "extensions": {"http://example.org/ext/noise": noise}},
        "timestamp": jiff::Timestamp::from_second(1_638_144_000 + i64::from(number) * 37).unwrap_or_default().to_string(),
    })
    .to_string()
}

fn document(at: usize, line: &str) -> Result<StatementDocument, Box<dyn Error>> {
    let value: Value = serde_json::from_str(line)?;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let timestamp: jiff::Timestamp =
        text("/timestamp").and_then(|timestamp| timestamp.parse().ok()).unwrap_or_default();
    let id = text("/id").and_then(|id| id.parse().ok());
    let parents = value.pointer("/context/contextActivities/parent").and_then(Value::as_array).into_iter().flatten();
    Ok(StatementDocument {
        tenant: "bench".into(),
        id: id.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, line.as_bytes())),
        raw: Bytes::copy_from_slice(line.as_bytes()),
        stored_ms: timestamp.as_millisecond(),
        source: Position::new("nlj.xapi.statements", (at % 6) as i32, (at / 6) as i64),
        correlation_id: format!("correlation-{at}").into(),
        fields: StatementFields {
            event_type: "statement".into(),
            family: "statement".into(),
            timestamp_ms: timestamp.as_millisecond(),
            day: timestamp.strftime("%Y-%m-%d").to_string().into(),
            actor: text("/actor/mbox")
                .map_or_else(String::new, |mbox| format!("mbox:{}", mbox.trim_start_matches("mailto:"))),
            actor_sha1: text("/actor/mbox")
                .map(|mbox| format!("{:040x}", Uuid::new_v5(&Uuid::NAMESPACE_URL, mbox.as_bytes()).as_u128())),
            verb: text("/verb/id").unwrap_or_default().into(),
            object_type: "Activity".into(),
            object: text("/object/id").unwrap_or_default().into(),
            activity_type: text("/object/definition/type").map(Into::into),
            registration: text("/context/registration"),
            parents: parents.filter_map(|parent| parent["id"].as_str().map(Into::into)).collect(),
            response: text("/result/response").map(Into::into),
            score_raw: value.pointer("/result/score/raw").and_then(Value::as_f64),
            score_scaled: value.pointer("/result/score/scaled").and_then(Value::as_f64),
            success: value.pointer("/result/success").and_then(Value::as_bool),
            ..StatementFields::default()
        },
    })
}
