//! The functions' own programs, as AWS Lambda starts and calls them: what they do in an outage, and what they tell of themselves.

use std::time::{Duration, Instant};

use lyceum_lambda_event::brake::LEFT_FOR_ANSWERING;
use lyceum_tests::academy::video_statements;
use lyceum_tests::runtime_api::{Invocation, RuntimeApi, batch};
use lyceum_tests::workplace::Running;
use serde_json::{Value, json};

/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);
const TOPIC: &str = "nlj.xapi.statements";
const HOUR: Duration = Duration::from_secs(3_600);

fn invocation(id: &str, time: Duration, payload: String) -> Invocation {
    Invocation { id: id.to_owned(), time, payload }
}

/// The records that an answer names.
fn failures(answer: &Value) -> Vec<(String, i64)> {
    let named = |failure: &Value| {
        let identifier = &failure["itemIdentifier"];
        Some((identifier["partition"].as_str()?.to_owned(), identifier["offset"].as_i64()?))
    };
    let named = answer["batchItemFailures"].as_array().expect("a list").iter().map(named);
    named.collect::<Option<_>>().unwrap_or_else(|| panic!("{answer}"))
}

/// The lines of an invocation that hold these words, once there is one.
fn lines(running: &Running, id: &str, words: &str) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let said = running.reported();
        let parsed = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found: Vec<Value> = parsed
            .filter(|line| {
                line["span"]["request_id"] == id && line["message"].as_str().is_some_and(|of| of.contains(words))
            })
            .collect();
        if !found.is_empty() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "no line of {id} with {words:?} in {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_answer_is_held_until_shortly_before_its_end_where_nothing_was_settled_and_given_at_once_where_anything_was() {
    let statements = video_statements(1, 3);
    let api = RuntimeApi::start(vec![
        invocation("nothing", Duration::from_secs(6), batch(TOPIC, 0, 5, &statements)),
        // Held, it would last an hour.
        invocation("something", HOUR, batch(TOPIC, 0, 5, &[json!(null), statements[0].clone()])),
    ]);
    let running = api.function("statement", &[("LOG_LEVEL", "info"), ("METRICS_NAMESPACE", "Lyceum/test")]);

    let answer = api.wait_for("nothing", &running);
    let partition = format!("{TOPIC}-0");
    assert_eq!(failures(&answer.body), [5, 6, 7].map(|offset| (partition.clone(), offset)));
    let left_ms = i64::try_from(LEFT_FOR_ANSWERING.as_millis()).expect("it is short");
    assert!(answer.before_its_end_ms <= left_ms, "it was held: {answer:?}");
    let answer = api.wait_for("something", &running);
    assert_eq!(failures(&answer.body), [(partition, 6)]);

    // One line for the batch and not one for each record, with what was said of the environment.
    let found = lines(&running, "nothing", "batch processed");
    let [line] = &*found else { panic!("{found:?}") };
    assert_eq!(
        (&line["level"], &line["positions"]),
        (&json!("WARN"), &json!(format!("{TOPIC}/0/5 {TOPIC}/0/6 {TOPIC}/0/7")))
    );
    assert!(
        line["reasons"].as_str().is_some_and(|of| of.starts_with("3 × ") && of.contains("ELASTICSEARCH_URL")),
        "{line}"
    );
    let told = ["cold_start", "function_memory_size", "function_version", "function_name"];
    assert_eq!(told.map(|key| line["span"][key].clone()), [json!(true), json!(512), json!("7"), json!("lyceum-test")]);
    assert_eq!(lines(&running, "nothing", "the answer is held").len(), 1);
    assert_eq!(lines(&running, "something", "batch processed")[0]["span"]["cold_start"], false);

    let documents = running.printed();
    let documents: Vec<Value> = documents.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let cold = documents.iter().filter(|of| of["ColdStart"].is_number()).collect::<Vec<_>>();
    assert!(matches!(&*cold, [one] if one["function_name"] == "lyceum-test"), "{documents:?}");
    let lag = documents.iter().find(|of| of["lyceum_consumer_lag_seconds"].is_number()).expect("it tells its lag");
    assert_eq!((&lag["topic"], &lag["subscription"]), (&json!(TOPIC), &json!("statement")));
}

#[test]
fn two_invocations_at_once_in_one_process_have_answers_and_lines_of_their_own() {
    let (one, two) = (video_statements(1, 2), video_statements(2, 1));
    let api = RuntimeApi::start(vec![
        invocation("held", HOUR, batch(TOPIC, 0, 1, &one)),
        invocation("beside", Duration::from_secs(5), batch(TOPIC, 1, 40, &two)),
    ]);
    let running = api.function("statement", &[("AWS_LAMBDA_MAX_CONCURRENCY", "2"), ("LOG_LEVEL", "info")]);
    // The first one is held for an hour: the second one is answered beside it, or never.
    let answer = api.wait_for("beside", &running);
    assert_eq!(failures(&answer.body), [(format!("{TOPIC}-1"), 40)]);
    assert!(!api.has_answer("held"));
    for (id, positions) in [("held", format!("{TOPIC}/0/1 {TOPIC}/0/2")), ("beside", format!("{TOPIC}/1/40"))] {
        let found = lines(&running, id, "batch processed");
        assert!(matches!(&*found, [line] if line["positions"] == positions), "{id}: {found:?}");
    }
}

#[test]
fn lines_below_the_level_are_written_of_a_sample_and_else_where_an_invocation_fails() {
    // No answer can name an entry without an offset, and its letter finds no broker.
    let nameless = json!({"records": {(format!("{TOPIC}-0")): [{"topic": TOPIC, "partition": 0, "value": "e30="}]}});
    let statement = video_statements(1, 1);
    let invocations = vec![
        invocation("well", HOUR, batch(TOPIC, 0, 3, &[json!(null), statement[0].clone()])),
        invocation("badly", Duration::from_secs(6), nameless.to_string()),
    ];
    let api = RuntimeApi::start(invocations.clone());
    let kept = api.function("statement", &[("LOG_LEVEL", "warn"), ("LOG_BUFFER_BYTES", "20000")]);
    api.wait_for("well", &kept);
    let answer = api.wait_for("badly", &kept);
    assert!(answer.is_error && answer.body.to_string().contains("without an offset"), "{answer:?}");
    let line = &lines(&kept, "badly", "record is redelivered")[0];
    assert_eq!((&line["level"], &line["topic"]), (&json!("DEBUG"), &json!(TOPIC)));
    let said = kept.reported();
    assert!(!said.lines().any(|line| line.contains("\"DEBUG\"") && line.contains("\"well\"")), "{said}");

    let api = RuntimeApi::start(invocations);
    let sampled = api.function("statement", &[("LOG_LEVEL", "warn"), ("LOG_SAMPLE_RATE", "1")]);
    api.wait_for("well", &sampled);
    assert_eq!(lines(&sampled, "well", "record is redelivered")[0]["offset"], 4);
}

#[test]
fn a_function_that_cannot_start_says_why_at_once_and_ends_when_its_first_invocation_is_nearly_over() {
    let api = RuntimeApi::start(vec![invocation("one", LEFT_FOR_ANSWERING, "{}".to_owned())]);
    let ended = api.function("statement", &[("ELASTICSEARCH_URL", ""), ("KAFKA_TIMEOUT_MS", "soon")]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot start") && ended.stderr.contains("KAFKA_TIMEOUT_MS"), "{}", ended.stderr);
    assert!(!api.has_answer("one"), "Lambda reports that the process ended");
}
