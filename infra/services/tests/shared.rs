//! Each service is started for the test that names it, and answers; and one of a test's own survives being killed.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use lyceum_services::{Endpoints, Service, Suite, private};

fn main() {
    let mut suite = Suite::default();
    suite.test("kafka_has_every_listener_that_a_client_may_use", &[Service::Kafka], |endpoints| {
        let kafka = endpoints.kafka();
        let secured = [&kafka.sasl_plaintext, &kafka.sasl_ssl, &kafka.mutual_tls, &kafka.iam];
        let listeners = secured.into_iter().map(Option::as_ref).chain([Some(&kafka.plaintext)]);
        for listener in listeners.flatten() {
            drop(TcpStream::connect(listener).expect("somebody listens"));
        }
        assert!(kafka.ca_file.iter().all(|file| file.is_file()));
    });
    suite.test("dynamodb_lists_its_tables", &[Service::DynamoDb], |endpoints| {
        assert!(tables(endpoints.url(Service::DynamoDb)).contains("TableNames"));
    });
    suite.test("elasticsearch_tells_its_health", &[Service::Elasticsearch], |endpoints| {
        let health = get(endpoints.url(Service::Elasticsearch), "/_cluster/health");
        assert!(health.contains("\"status\":\"green\""), "{health}");
    });
    suite.test("opensearch_tells_its_version", &[Service::OpenSearch], |endpoints| {
        let about = get(endpoints.url(Service::OpenSearch), "/");
        assert!(about.contains("\"distribution\""), "{about}");
    });
    suite.test("the_registry_lists_its_subjects", &[Service::Registry], |endpoints| {
        // Other tests may have registered some.
        let subjects = get(endpoints.url(Service::Registry), "/subjects");
        assert!(subjects.contains('['), "{subjects}");
    });
    suite.test("the_aws_endpoint_lists_its_tables", &[Service::Aws], |endpoints| {
        assert!(tables(endpoints.url(Service::Aws)).contains("TableNames"));
    });
    suite.test("a_test_gets_all_that_it_names", &[Service::DynamoDb, Service::Kafka], |endpoints| {
        assert!(endpoints.has(Service::DynamoDb) && endpoints.has(Service::Kafka));
    });
    suite.test_private("a_private_dynamodb_keeps_its_tables_when_it_is_killed", &[Service::DynamoDb], &[], |_: &Endpoints| {
        let mut dynamodb = private(Service::DynamoDb).expect("it starts");
        let url = dynamodb.endpoint().to_owned();
        call(
            &url,
            "CreateTable",
            r#"{"TableName":"kept","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}]}"#,
        );
        dynamodb.kill().expect("it is killed");
        assert!(TcpStream::connect(url.trim_start_matches("http://")).is_err());
        dynamodb.start().expect("it starts again");
        assert_eq!(dynamodb.endpoint(), url);
        assert!(tables(&url).contains("kept"));
    });
    suite.test_private(
        "a_private_kafka_is_paused_killed_and_started_again",
        &[Service::Kafka],
        &[],
        |_: &Endpoints| {
            let mut kafka = private(Service::Kafka).expect("it starts");
            kafka.pause().expect("it is paused");
            let state = |process| {
                std::fs::read_to_string(Path::new("/proc").join(format!("{process}/stat"))).unwrap_or_default()
            };
            let process = kafka.process().expect("it is a process");
            assert!(state(process).is_empty() || state(process).contains(") T "), "{}", state(process));
            kafka.resume().expect("it goes on");
            kafka.kill().expect("it is killed");
            let error = kafka.pause().expect_err("there is nothing to pause");
            assert!(format!("{error:#}").contains("does not run"), "{error:#}");
            kafka.start().expect("it starts again");
            assert_ne!(kafka.process(), Some(process));
            kafka.stop().expect("it ends");
        },
    );
    suite.test_private(
        "a_port_that_was_taken_while_a_service_was_away_is_named",
        &[Service::DynamoDb],
        &[],
        |_: &Endpoints| {
            let mut dynamodb = private(Service::DynamoDb).expect("it starts");
            let address = dynamodb.endpoint().trim_start_matches("http://").to_owned();
            dynamodb.kill().expect("it is killed");
            let taken = std::net::TcpListener::bind(&address).expect("the port is free");
            let error = format!("{:#}", dynamodb.start().expect_err("the port is taken"));
            let port = address.rsplit(':').next().expect("a port");
            assert!(error.contains(port) && error.contains("taken by another process"), "{error}");
            drop(taken);
            dynamodb.start().expect("now it starts");
        },
    );
    suite.run()
}

fn tables(url: &str) -> String {
    call(url, "ListTables", "{}")
}

fn call(url: &str, operation: &str, body: &'static str) -> String {
    let credential = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=none";
    let request = lyceum_https::client().post(url).header("content-type", "application/x-amz-json-1.0");
    let request = request.header("x-amz-target", format!("DynamoDB_20120810.{operation}")).body(body);
    send(request.header("x-amz-date", "20260101T000000Z").header("authorization", credential))
}

fn get(url: &str, path: &str) -> String {
    send(lyceum_https::client().get(format!("{url}{path}")))
}

fn send(request: reqwest::RequestBuilder) -> String {
    let answer = async {
        let answer = request.timeout(Duration::from_secs(30)).send().await?;
        answer.error_for_status()?.text().await
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(answer).expect("an answer")
}
