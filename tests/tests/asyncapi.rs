//! The AsyncAPI document: what others' tools say of it, and that a process answers the same.

use std::process::Command;

use lyceum_given::binary::workspace;
use lyceum_tests::workplace::Workplace;
use serde_json::{Value, json};

fn is_left_out() -> bool {
    let is_left_out = std::env::var("LYCEUM_TEST_DOCUMENTS").is_ok_and(|value| value == "skip");
    if is_left_out {
        assert!(std::env::var_os("CI").is_none(), "LYCEUM_TEST_DOCUMENTS=skip leaves out what .ci/run is for");
        eprintln!(
            "NOT RUN: LYCEUM_TEST_DOCUMENTS=skip; nobody but us has read the AsyncAPI document, or tried the snippets"
        );
    }
    is_left_out
}

/// The document that a command prints, in an environment of its own.
fn printed(workplace: &Workplace, environment: &[(&str, &str)]) -> Value {
    workplace.run_with(environment, &["asyncapi"]).expect_code(0).json()
}

/// With a plain environment, and with one that has whatever a document can say of it.
#[test]
fn the_parser_of_asyncapi_has_nothing_to_say_of_the_document_and_every_example_fits_its_schema() {
    if is_left_out() {
        return;
    }
    let workplace = Workplace::new();
    let whole = [
        ("KAFKA_BOOTSTRAP_SERVERS", "b-1.example:9094,b-2.example:9094"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_USERNAME", "lyceum"),
        ("KAFKA_SASL_PASSWORD", "a-secret-of-this-test"),
        ("API_TOKENS", "*:read+publish+operate:a-long-secret-of-everybody"),
    ];
    for environment in [&[][..], &whole] {
        workplace
            .run_with(environment, &["asyncapi", "--out", "asyncapi.json"])
            .expect_code(0)
            .expect_print(&["channels"]);
        let file = workplace.path().join("asyncapi.json");
        let text = std::fs::read_to_string(&file).expect("the document is there");
        assert!(!text.contains("secret-of"), "no secret is in the document");
        let checked = Command::new("bash").arg(".ci/asyncapi").arg(&file).current_dir(workspace()).output();
        let checked = checked.expect("bash runs");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(
            checked.status.success(),
            "{said}\n.ci/asyncapi needs Node 18, npm and Python 3 (apt-get install nodejs npm python3-venv), and fetches the parser once; \
             or set LYCEUM_TEST_DOCUMENTS=skip"
        );
        assert!(said.contains("no diagnostic") && said.contains("by fastavro"), "{said}");
    }
}

#[test]
fn the_document_says_how_brokers_want_to_be_shown_who_asks_and_names_the_groups() {
    let workplace = Workplace::new();
    let scheme = |environment: &[(&str, &str)]| {
        let document = printed(&workplace, environment);
        let kafka = document["servers"]["kafka"].clone();
        let schemes = document["components"]["securitySchemes"].as_object().cloned().unwrap_or_default();
        let schemes: Vec<String> = schemes.keys().cloned().collect();
        (kafka["host"].clone(), kafka["protocol"].clone(), schemes.join(" "))
    };
    let broker = ("KAFKA_BOOTSTRAP_SERVERS", "a.example:9092");
    let (user, password) = (("KAFKA_SASL_USERNAME", "u"), ("KAFKA_SASL_PASSWORD", "p"));
    let of = |host: &str, protocol: &str, schemes: &str| (json!(host), json!(protocol), schemes.to_owned());
    assert_eq!(scheme(&[]), of("{brokers}", "kafka", ""));
    assert_eq!(scheme(&[broker]), of("a.example:9092", "kafka", ""));
    assert_eq!(scheme(&[broker, user, password]), of("a.example:9092", "kafka-secure", "scramSha512"));
    let plain = ("KAFKA_SASL_MECHANISM", "PLAIN");
    assert_eq!(scheme(&[broker, user, password, plain]), of("a.example:9092", "kafka-secure", "plain"));
    let (iam, region) = (("AWS_MSK_IAM", "true"), ("AWS_REGION", "eu-north-1"));
    assert_eq!(scheme(&[broker, iam, region]), of("a.example:9092", "kafka-secure", "awsIam"));
    assert_eq!(scheme(&[("API_TOKENS", "*:read:a-long-secret-of-everybody")]), of("{brokers}", "kafka", "bearer"));
    let document = printed(&workplace, &[("KAFKA_GROUP_ID", "school")]);
    let operation = &document["operations"]["training.receives.nlj.training.bookings"];
    assert_eq!(operation["bindings"]["kafka"]["groupId"]["enum"], json!(["school-training"]));
    assert_eq!(operation["messages"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_process_answers_with_the_document_at_the_address_by_which_it_is_asked() {
    let workplace = Workplace::new();
    let mut wanted = printed(&workplace, &[]);
    let server = workplace.up(&[]);
    let (status, document) = server.get("/asyncapi.json", None).await;
    wanted["servers"]["http"]["host"] = json!(server.base.trim_start_matches("http://"));
    assert_eq!((status, document), (200, wanted));
    server.stop().expect_code(0);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let workplace = Workplace::new();
    let refused = workplace.run(&["asyncapi", "--out", "no/such/folder/asyncapi.json"]).expect_code(1);
    assert!(refused.stderr.contains("cannot write no/such/folder/asyncapi.json"), "{}", refused.stderr);
    let refused = workplace.run(&["asyncapi", "--outt", "x"]).expect_code(2);
    assert!(refused.stderr.contains("--out"), "{}", refused.stderr);
}

/// Runs each snippet as `docs/events.md` shows it, in a folder with an `event.json`.
#[tokio::test]
async fn an_event_is_published_as_the_documentation_shows_it_in_each_language() {
    if is_left_out() {
        return;
    }
    let workplace = Workplace::new();
    let server = workplace.up(&[("API_TOKENS", "demo:read+publish:a-long-secret-of-everybody")]);
    let documented = std::fs::read_to_string(workspace().join("docs/events.md")).expect("docs/events.md is there");
    let section = documented.split("#### program.created\n").nth(1).expect("it has the event");
    let block = |language: &str| {
        let begin = format!("```{language}\n");
        section.split(&begin).nth(1).and_then(|rest| rest.split("```").next()).expect("it has a block").to_owned()
    };
    let event: Value = serde_json::from_str(&block("json")).expect("the example is JSON");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        workplace.prepare(command.args(arguments));
        command.env("LYCEUM_URL", &server.base).env("LYCEUM_TOKEN", "a-long-secret-of-everybody");
        let output = command.output().unwrap_or_else(|error| panic!("{program} is needed here: {error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("nlj.training.programs"), "{program}: {said}");
    };
    for (at, language) in ["bash", "python", "rust"].into_iter().enumerate() {
        let mut event = event.clone();
        event["id"] = json!(format!("00000000-0000-4000-8000-00000000000{at}"));
        event["object"]["id"] = json!(format!("http://nlj.platform/activities/program/by-{language}"));
        workplace.write("event.json", event.to_string());
        match language {
            "bash" => run("bash", &["-c", &block("bash")]),
            "python" => run("python3", &["-c", &block("python")]),
            _ => run(env!("CARGO_BIN_EXE_publish"), &[]),
        }
    }
    let token = Some("a-long-secret-of-everybody");
    for language in ["bash", "python", "rust"] {
        let path = format!("/api/state/program/by-{language}");
        let mut answer = server.get(&path, token).await;
        while answer.0 == 404 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            answer = server.get(&path, token).await;
        }
        assert_eq!(answer.0, 200, "{}", answer.1);
    }
    server.stop().expect_code(0);
}
