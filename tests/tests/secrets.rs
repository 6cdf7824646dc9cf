//! Secrets reach who needs them, and show nowhere else: neither in a log or a metric, nor in the list of processes; and what
//! AWS Secrets Manager holds not in the process's environment either.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use lyceum_core::clock::ms_since_1970;
use lyceum_services::{Endpoints, Service, Suite};
use lyceum_tests::academy::answered;
use lyceum_tests::otlp::{Collector, Mood};
use lyceum_tests::requests::read_request;
use lyceum_tests::workplace::{Running, Workplace};
use lyceum_tests::{aws, binary, block_on};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// In every secret of these tests, and in nothing else.
const HUSH: &str = "hush";

pub(crate) fn add(suite: &mut Suite) {
    suite.test("a_functions_secrets_are_used_and_show_nowhere", &[Service::Aws], used_and_nowhere);
    suite.test("a_secret_that_cannot_be_used_is_named_and_not_shown", &[Service::Aws], named);
    suite.test("a_collectors_secret_that_is_rotated_loses_no_span", &[Service::Aws], rotated_for_a_collector);
    suite.test("a_process_uses_what_its_secrets_hold_as_a_function_does", &[], used_by_a_process);
    suite.test("what_a_processs_variables_hold_is_in_no_log_metric_or_argument", &[], variables);
}

/// A request as it came: head and body.
type Seen = Arc<Mutex<Vec<String>>>;

/// Lambda's runtime API with one event for a function, and a statement store that takes no credentials.
struct Stand {
    address: String,
    seen: Seen,
}

impl Stand {
    fn start(event: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let seen = Seen::default();
        let (noted, event) = (seen.clone(), Arc::new(Mutex::new(Some(event))));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, event) = (noted.clone(), event.clone());
                thread::spawn(move || answer(stream, &noted, &event));
            }
        });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first request with these words.
    fn wait_for(&self, words: &str, running: &Running) -> String {
        let begun = Instant::now();
        loop {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(request) = seen.into_iter().find(|request| request.contains(words)) {
                return request;
            }
            let said = || format!("{}{}", running.printed(), running.reported());
            assert!(begun.elapsed() < PATIENCE, "nobody sent {words:?}; the function said: {}", said());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The headers of an invocation that must be answered by then.
fn invocation(deadline_ms: i64) -> String {
    format!(
        "Lambda-Runtime-Aws-Request-Id: one\r\nLambda-Runtime-Deadline-Ms: {deadline_ms}\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:statement\r\n"
    )
}

fn answer(mut stream: TcpStream, seen: &Seen, event: &Mutex<Option<String>>) -> Option<()> {
    let is_nothing = event.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some("");
    let (head, body) = read_request(&mut BufReader::new(stream.try_clone().ok()?))?;
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{head}{}", String::from_utf8_lossy(&body)));
    let (status, more, body) = if head.contains("/invocation/next") && is_nothing {
        // A function that cannot start lets an invocation's time pass: here it is over.
        ("200 OK", invocation(1), "{}".to_owned())
    } else if head.contains("/invocation/next") {
        let Some(event) = event.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            // Until the function is ended there is nothing more to do.
            thread::sleep(PATIENCE);
            return None;
        };
        // Ten seconds: what cannot be settled is answered shortly before they are over.
        ("200 OK", invocation(ms_since_1970(SystemTime::now()) + 10_000), event)
    } else if head.contains("/2018-06-01/runtime") {
        ("202 Accepted", String::new(), String::new())
    } else if head.to_lowercase().contains("x-amz-target: amazonssm.getparameter") {
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (asked["Name"].as_str(), asked["WithDecryption"].as_bool()) {
            (Some("/lyceum/search"), Some(true)) => {
                let held = json!({"Parameter": {"Type": "SecureString", "Value": r#"{"api_key": "hush-api-key"}"#}});
                ("200 OK", String::new(), held.to_string())
            }
            _ => ("400 Bad Request", String::new(), r#"{"__type": "ParameterNotFound"}"#.to_owned()),
        }
    } else if head.to_lowercase().contains("x-amz-target: secretsmanager.getsecretvalue") {
        let held = json!({"ARN": "arn", "Name": "name", "SecretString": r#"{"api_key": "hush-api-key"}"#});
        ("200 OK", String::new(), held.to_string())
    } else {
        let reason = r#"{"error":{"type":"security_exception","reason":"unable to authenticate"},"status":401}"#;
        ("401 Unauthorized", String::new(), reason.to_owned())
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{more}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .ok()
}

/// Puts secrets under names of their own; returns their ARNs.
fn put<const N: usize>(endpoint: &str, texts: [&str; N]) -> [String; N] {
    let arns = block_on(async {
        let client = aws_sdk_secretsmanager::Client::new(&aws::config(endpoint).await);
        let mut arns = Vec::new();
        for text in texts {
            let name = format!("lyceum-{}", Uuid::new_v4());
            let created = client.create_secret().name(name).secret_string(text).send().await.expect("a secret");
            arns.push(created.arn().expect("its ARN").to_owned());
        }
        arns
    });
    arns.try_into().expect("one for each")
}

/// The statement function's own program, as Lambda starts it.
fn function(stand: &Stand, endpoint: &str, variables: &[(&str, &str)]) -> Running {
    let mut command = Command::new(binary::function("statement"));
    command.env_clear().envs(aws::VARIABLES).envs([
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_LAMBDA_RUNTIME_API", &stand.address),
        ("AWS_LAMBDA_FUNCTION_NAME", "statement"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("KAFKA_TIMEOUT_MS", "1000"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("ELASTICSEARCH_URL", &stand.url()),
        ("LOG_LEVEL", "trace"),
        ("RETRY_ATTEMPTS", "0"),
    ]);
    Running::start(command.envs(variables.iter().copied()))
}

fn used_and_nowhere(endpoints: &Endpoints) {
    let endpoint = endpoints.url(Service::Aws);
    let authority =
        fs::read_to_string(binary::workspace().join("core/adapters/kafka/tests/certificates/another-authority.pem"));
    let authority = json!({"certificate": authority.expect("a certificate")}).to_string();
    // A key that is none: what the library says of it must not hold it.
    let certificate = json!({
        "certificate": "-----BEGIN CERTIFICATE-----\nhushcertificate\n-----END CERTIFICATE-----",
        "privateKey": "-----BEGIN PRIVATE KEY-----\nhushkey\n-----END PRIVATE KEY-----",
        "privateKeyPassword": "hush-word-of-the-key",
    });
    let [store, of_store, broker, of_broker, of_client] = put(
        endpoint,
        [
            r#"{"api_key": "hush-api-key"}"#,
            &authority,
            r#"{"username": "lyceum", "password": "hush-password"}"#,
            &authority,
            &certificate.to_string(),
        ],
    );
    // A statement, one that is wrong and so becomes a letter, and another statement: both stores are needed.
    let event = binary::workspace().join("events/aws/statement-poison-in-the-middle.json");
    let stand = Stand::start(fs::read_to_string(event).expect("a sample"));
    let variables = [
        ("ELASTICSEARCH_SECRET_ARN", store.as_str()),
        ("ELASTICSEARCH_CA_SECRET_ARN", &of_store),
        ("KAFKA_SASL_SECRET_ARN", &broker),
        ("KAFKA_CA_SECRET_ARN", &of_broker),
        ("KAFKA_CERTIFICATE_SECRET_ARN", &of_client),
    ];
    let running = function(&stand, endpoint, &variables);
    let answered = stand.wait_for("/invocation/one/response", &running);
    assert!(answered.contains("batchItemFailures"), "{answered}");
    let asked = stand.wait_for("GET /xapi-statements ", &running);
    assert!(asked.contains("ApiKey hush-api-key"), "the store is asked with what the secret holds: {asked}");
    // The next invocation is waited for: all that is logged of the first has been written.
    let process = format!("/proc/{}", running.process());
    let arguments = fs::read_to_string(format!("{process}/cmdline")).expect("the process is there");
    let environment = fs::read_to_string(format!("{process}/environ")).expect("the process is there");
    assert!(arguments.contains("lyceum-statement") && environment.contains(&of_client), "{arguments} {environment}");
    let said = format!("{}{}", running.printed(), running.reported());
    assert!(said.contains("credentials are not accepted") && said.contains("lyceum_"), "log and metrics: {said}");
    assert!(said.contains("Kafka"), "the certificate was tried: {said}");
    for (where_, text) in [("arguments", arguments), ("environment", environment), ("log", said)] {
        assert!(!text.contains(HUSH), "a secret is in the {where_}: {text}");
    }
    assert!(!answered.contains(HUSH), "{answered}");
}

fn named(endpoints: &Endpoints) {
    let endpoint = endpoints.url(Service::Aws);
    let stand = Stand::start(String::new());
    let [none, list, other] = put(endpoint, ["hush-no-json", r#"["hush"]"#, r#"{"token": "hush-token"}"#]);
    let missing = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:nobody-made-this-AbCdEf";
    for variable in
        ["ELASTICSEARCH_SECRET_ARN", "KAFKA_SASL_SECRET_ARN", "KAFKA_CA_SECRET_ARN", "KAFKA_CERTIFICATE_SECRET_ARN"]
    {
        for (arn, told) in [
            (missing, "cannot be read: its role needs secretsmanager:GetSecretValue"),
            (none.as_str(), "is no JSON object; it needs fields of `"),
            (&list, "is no JSON object"),
            (&other, "has none of the fields `"),
        ] {
            let ended = function(&stand, endpoint, &[(variable, arn)]).wait().expect_code(1);
            let line: Value = serde_json::from_str(ended.stderr.trim()).expect("one line of JSON");
            let message = line["message"].as_str().expect("a message");
            assert!(message.contains(&format!("the secret of {variable} {told}")), "{message}");
            assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(HUSH), "{message}");
        }
    }
    // A half of what belongs together is reported as its variables would be.
    let [half] = put(endpoint, [r#"{"certificate": "hush"}"#]);
    let ended = function(&stand, endpoint, &[("KAFKA_CERTIFICATE_SECRET_ARN", &half)]).wait().expect_code(1);
    assert!(ended.stderr.contains("KAFKA_SSL_KEY_PEM") && !ended.stderr.contains(HUSH), "{}", ended.stderr);
}

fn rotated_for_a_collector(endpoints: &Endpoints) {
    let endpoint = endpoints.url(Service::Aws);
    let [arn] = put(endpoint, [r#"{"headers": "api-key=hush-one"}"#]);
    let collector = Collector::start(Mood::Takes);
    collector.ask_for("api-key: hush-one");
    let own = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_SECRET_ARN", &arn),
        ("LOG_LEVEL", "debug"),
    ];
    let workplace = Workplace::new();
    let server = workplace.up(&[&aws::VARIABLES[..], &own].concat());
    // A survey's answer, and the span of its batch, in its sender's trace.
    let traced = |trace: &str| {
        let answer = answered(&mut StdRng::seed_from_u64(7), "q1", Uuid::new_v4(), 4);
        let event = json!([{"key": "one", "value": answer, "headers": {"traceparent": format!("00-{trace}-00f067aa0ba902b7-01")}}]);
        assert_eq!(block_on(server.post("/events/nlj.survey.responses", &event, None)).0, 202);
        collector.wait_for(|span| span.name == "invocation" && span.trace == trace);
    };
    traced(&"a".repeat(32));
    block_on(async {
        let client = aws_sdk_secretsmanager::Client::new(&aws::config(endpoint).await);
        let text = r#"{"headers": "api-key=hush-two"}"#;
        client.put_secret_value().secret_id(&arn).secret_string(text).send().await.expect("it is rotated");
    });
    collector.ask_for("api-key: hush-two");
    traced(&"b".repeat(32));
    let (_, metrics) = block_on(server.get("/metrics", None));
    assert!(!metrics.to_string().contains("lyceum_spans_lost_total{"), "{metrics}");
    let ended = server.stop().expect_code(0);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(HUSH), "{}", ended.stderr);
}

/// The store refuses, whatever it is shown: here it only notes what that was.
fn used_by_a_process(_: &Endpoints) {
    let start = |arn: &str| {
        let stand = Stand::start(String::new());
        let url = stand.url();
        let own = [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("ELASTICSEARCH_URL", &url),
            ("ELASTICSEARCH_SECRET_ARN", arn),
            ("LOG_LEVEL", "trace"),
        ];
        let workplace = Workplace::new();
        let ended = workplace.run_with(&[&aws::VARIABLES[..], &own].concat(), &["up", "--port", "0"]).expect_code(1);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(HUSH), "{}", ended.stderr);
        let seen = stand.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (ended.stderr, seen)
    };
    for arn in [
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:search",
        "arn:aws:ssm:eu-central-1:123456789012:parameter/lyceum/search",
    ] {
        let (said, seen) = start(arn);
        assert!(said.contains("credentials are not accepted"), "{said}");
        assert!(seen.iter().any(|request| request.contains("ApiKey hush-api-key")), "{arn}: {seen:?}");
    }
    let (said, _) = start("arn:aws:ssm:eu-central-1:123456789012:parameter/nobody/made/this");
    assert!(said.contains("ssm:GetParameter") && said.contains("ParameterNotFound"), "{said}");
}

fn variables(_: &Endpoints) {
    let workplace = Workplace::new();
    let token = "hush-token-of-16-characters-and-more";
    let tokens = format!("*:read+publish+operate:{token}");
    let server = workplace.up(&[("API_TOKENS", &tokens), ("LOG_LEVEL", "trace")]);
    let (metrics, refused) = block_on(async {
        let (status, metrics) = server.get("/metrics", Some(token)).await;
        assert_eq!(status, 200, "{metrics}");
        let (status, refused) = server.get("/metrics", Some("hush-another-token-of-16")).await;
        assert_eq!(status, 401, "{refused}");
        (metrics.to_string(), refused.to_string())
    });
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", server.running.process())).expect("it runs");
    assert!(metrics.contains("lyceum_") && arguments.contains("lyceum"), "{metrics} {arguments}");
    let ended = server.stop().expect_code(0);
    for text in [&metrics, &refused, &arguments, &ended.stdout, &ended.stderr] {
        assert!(!text.contains(HUSH), "{text}");
    }

    // Services that refuse: their errors are logged, and not what was shown to them.
    let stand = Stand::start(String::new());
    let url = stand.url();
    let store = [("ELASTICSEARCH_URL", url.as_str()), ("ELASTICSEARCH_API_KEY", "hush-api-key")];
    let broker = [
        ("KAFKA_BOOTSTRAP_SERVERS", stand.address.as_str()),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_USERNAME", "lyceum"),
        ("KAFKA_SASL_PASSWORD", "hush-password"),
        ("KAFKA_TIMEOUT_MS", "2000"),
    ];
    for (of_service, told) in [(&store[..], "credentials are not accepted"), (&broker[..], "Kafka")] {
        let variables: Vec<_> = of_service.iter().copied().chain([("LOG_LEVEL", "trace")]).collect();
        let ended = workplace.run_with(&variables, &["up", "--port", "0"]).expect_code(1);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(HUSH), "{}", ended.stderr);
    }
}
