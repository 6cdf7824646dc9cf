//! How fast the validator is, beside serde_json on the same bytes in the same run.
//!
//! `cargo bench -p lyceum-xapi --bench validate` measures a generated corpus; `LYCEUM_BENCH_CORPUS` names another, one
//! statement a line, gzipped if its name ends in `.gz`. The contestants take short turns over the same statements, so that what else
//! the machine does meets a few turns and not one of them; the median of the turns' ratios is what counts.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::time::Instant;

use lyceum_xapi::{Limits, equality, validate};
use serde::de::IgnoredAny;
use serde_json::Value;

const ROUNDS: usize = 15;
/// Statements of a turn: a fraction of a millisecond.
const TURN: usize = 250;

type Contestant = (&'static str, fn(&[u8]) -> bool);

const CONTESTANTS: [Contestant; 4] = [
    ("validate", |bytes| validate(bytes, None, &Limits::default()).is_valid()),
    ("serde_json::Value", |bytes| serde_json::from_slice::<Value>(bytes).is_ok()),
    ("serde_json::IgnoredAny", |bytes| serde_json::from_slice::<IgnoredAny>(bytes).is_ok()),
    ("content_hash", |bytes| equality::content_hash(bytes, b"") != [0; 32]),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let corpus = match std::env::var("LYCEUM_BENCH_CORPUS") {
        Ok(path) => read_corpus(&path).map_err(|error| format!("LYCEUM_BENCH_CORPUS={path}: {error}"))?,
        Err(_) => (0..5_000).map(generate_statement).collect(),
    };
    if corpus.is_empty() {
        return Err("the corpus has no statements".into());
    }
    let bytes: usize = corpus.iter().map(Vec::len).sum();
    println!("{} statements, {:.1} MB, {ROUNDS} rounds", corpus.len(), bytes as f64 / 1e6);
    if let Some(invalid) = corpus.iter().find(|statement| !CONTESTANTS[0].1(statement)) {
        let violations = validate(invalid, None, &Limits::default()).violations;
        return Err(format!("the corpus is to be valid, but has {violations:?}").into());
    }

    // Of each contestant the seconds a statement, turn by turn.
    let mut times = CONTESTANTS.map(|_| Vec::new());
    for round in 0..ROUNDS {
        for part in corpus.chunks_exact(TURN.min(corpus.len())) {
            for turn in 0..CONTESTANTS.len() {
                let contestant = (round + turn) % CONTESTANTS.len();
                let start = Instant::now();
                let accepted = part.iter().filter(|statement| CONTESTANTS[contestant].1(black_box(statement))).count();
                times[contestant].push(start.elapsed().as_secs_f64() / part.len() as f64);
                assert_eq!(accepted, part.len());
            }
        }
    }
    let per_second = |times: &[f64]| 1.0 / median(times.iter().copied());
    let mean_bytes = bytes as f64 / corpus.len() as f64;
    for ((name, _), times) in CONTESTANTS.iter().zip(&times) {
        let statements = per_second(times);
        println!("{name:>22}: {statements:>9.0} statements/s, {:>5.0} MB/s", statements * mean_bytes / 1e6);
    }
    let ratio = |other: usize| median(times[other].iter().zip(&times[0]).map(|(other, own)| other / own));
    println!(
        "validate: {:.0} statements/s, {:.2} × the speed of from_slice::<Value>, {:.2} × that of from_slice::<IgnoredAny>",
        per_second(&times[0]),
        ratio(1),
        ratio(2)
    );
    Ok(())
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn read_corpus(path: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let file = File::open(path)?;
    let reader: Box<dyn Read> =
        if path.ends_with(".gz") { Box::new(flate2::read::GzDecoder::new(file)) } else { Box::new(file) };
    BufReader::new(reader).split(b'\n').filter(|line| !line.as_ref().is_ok_and(Vec::is_empty)).collect()
}

/// Statements of a video player and of a quiz, by turns.
fn generate_statement(n: usize) -> Vec<u8> {
    let (video, learner, second) = (n % 37, n % 211, n % 60);
    if n.is_multiple_of(2) {
        format!(
            r#"{{"id": "9dc99b37-e920-4a68-a066-{n:012x}", "actor": {{"objectType": "Agent", "account": {{"name": "learner-{learner}", "homePage": "https://lms.example.org"}}}}, "verb": {{"id": "https://w3id.org/xapi/video/verbs/seeked", "display": {{"en-US": "seeked"}}}}, "object": {{"definition": {{"type": "https://w3id.org/xapi/video/activity-type/video", "name": {{"en-US": "Lecture {video}"}}}}, "id": "https://lms.example.org/videos/{video}", "objectType": "Activity"}}, "result": {{"extensions": {{"https://w3id.org/xapi/video/extensions/time-from": {second}.692, "https://w3id.org/xapi/video/extensions/time-to": 176.4, "https://w3id.org/xapi/video/extensions/played-segments": "0[.]42.608[,]43.168[.]124.692"}}}}, "context": {{"contextActivities": {{"category": [{{"id": "https://w3id.org/xapi/video"}}], "parent": [{{"id": "https://lms.example.org/courses/1", "definition": {{"type": "http://adlnet.gov/expapi/activities/course"}}}}]}}}}, "timestamp": "2024-11-29T23:09:{second:02}.867219+00:00"}}"#
        )
    } else {
        format!(
            r#"{{"actor":{{"name":"Zoë {learner}","mbox":"mailto:learner-{learner}@example.org"}},"verb":{{"id":"http://adlnet.gov/expapi/verbs/answered","display":{{"en":"answered","de":"beantwortete"}}}},"object":{{"id":"https://lms.example.org/quiz/{video}","definition":{{"type":"http://adlnet.gov/expapi/activities/cmi.interaction","description":{{"en":"Which of these is a \"prime\"?"}},"interactionType":"choice","correctResponsesPattern":["seven"],"choices":[{{"id":"seven","description":{{"en":"7"}}}},{{"id":"nine","description":{{"en":"9"}}}}]}}}},"result":{{"success":true,"response":"seven","duration":"PT{second}.25S","score":{{"raw":{second},"min":0,"max":60,"scaled":0.5}}}},"context":{{"registration":"16fd2706-8baf-433b-82eb-{n:012x}","language":"en-GB","platform":"Lyceum"}},"timestamp":"2024-02-29T08:00:{second:02}Z"}}"#
        )
    }
    .into_bytes()
}
