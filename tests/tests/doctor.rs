//! What is wrong with a deployment to AWS is told by name, with what to do, and by the exit code.

use std::time::{Duration, Instant};

use lyceum_proxies::http::{Act, HttpProxy, ProxiedRequest};
use lyceum_services::{Endpoints, Service, Suite};
use lyceum_tests::workplace::Workplace;
use lyceum_tests::{aws, block_on};
use serde_json::{Value, json};
use uuid::Uuid;

/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn add(suite: &mut Suite) {
    suite.test("the_doctor_names_what_is_wrong_with_a_stack", &[Service::Aws], names_what_is_wrong);
    suite.test("the_doctor_says_that_a_mapping_cannot_poll_and_why", &[Service::Aws], names_who_cannot_poll);
    suite.test("the_doctor_finds_a_stack_that_is_right", &[Service::Aws], finds_what_is_right);
    suite.test("without_a_stack_or_a_region_the_doctor_says_what_it_needs", &[Service::Aws], without_a_stack);
}

/// Asks CloudFormation.
fn ask(endpoint: &str, action: &str, more: &[(&str, &str)]) -> String {
    let form = [&[("Action", action), ("Version", "2010-05-15")], more].concat();
    block_on(async {
        let scope = format!("{}/20260302/{}/cloudformation/aws4_request", aws::KEY, aws::REGION);
        let client = lyceum_https::builder().no_proxy().build().expect("a client");
        let asked = client
            .post(endpoint)
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&"));
        asked.send().await.expect("an answer").text().await.expect("a text")
    })
}

fn encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// A stack of these resources, once it is there; its name.
fn stack_of(endpoint: &str, resources: &Value) -> String {
    let stack = format!("doctor-{}", Uuid::new_v4().simple());
    let template = json!({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}).to_string();
    let answer = ask(endpoint, "CreateStack", &[("StackName", &stack), ("TemplateBody", &template)]);
    assert!(answer.contains("StackId"), "{answer}");
    let started = Instant::now();
    loop {
        let told = ask(endpoint, "DescribeStacks", &[("StackName", &stack)]);
        if told.contains("CREATE_COMPLETE") {
            return stack;
        }
        assert!(!told.contains("FAILED") && started.elapsed() < PATIENCE, "{told}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn alarm(name: &str, actions: Value) -> Value {
    json!({"Type": "AWS::CloudWatch::Alarm", "Properties": {
        "AlarmName": name, "AlarmDescription": "Look at the log.", "Namespace": "AWS/Lambda", "MetricName": "Errors",
        "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": actions,
    }})
}

fn table(name: &str) -> Value {
    json!({"Type": "AWS::DynamoDB::Table", "Properties": {
        "TableName": name, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    }})
}

fn variables(endpoint: &str) -> Vec<(&str, &str)> {
    [&aws::VARIABLES[..], &[("AWS_ENDPOINT_URL", endpoint)]].concat()
}

fn names_what_is_wrong(endpoints: &Endpoints) {
    let endpoint = endpoints.url(Service::Aws);
    let id = Uuid::new_v4().simple().to_string();
    let (silent, deployment) = (format!("{id}-lag"), format!("{id}-version-errors"));
    let resources = json!({
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": format!("{id}-alarms")}},
        "Told": alarm(&format!("{id}-errors"), json!([{"Ref": "Topic"}])),
        "Silent": alarm(&silent, json!([])),
        "OfDeployments": alarm(&deployment, json!([])),
    });
    let stack = stack_of(endpoint, &resources);
    let run = |arguments: &[&str]| {
        let arguments = [&["doctor", "aws", &stack, "--wait", "0"], arguments].concat();
        Workplace::new().run_with(&variables(endpoint), &arguments)
    };
    let told = run(&[]).expect_code(1).stdout;
    assert!(told.contains(&format!("alarm {silent} has no destination: it tells nobody")), "{told}");
    assert!(told.contains("→ Deploy with AlarmTopicArn"), "{told}");
    assert!(told.contains(&format!("{id}-alarms nobody listens")), "{told}");
    assert!(!told.contains(&deployment), "an alarm that only stops deployments tells nobody: {told}");
    assert!(told.contains(&format!("{stack}: 2 wrong")), "{told}");
    let answer = run(&["--format", "json", "--all"]).expect_code(1).json();
    let findings = answer["findings"].as_array().expect("a list");
    let of = |about: &str| {
        let found = findings.iter().find(|of| of["about"].as_str().is_some_and(|of| of.contains(about)));
        found.unwrap_or_else(|| panic!("nothing of {about}: {answer:#}"))["verdict"].clone()
    };
    assert_eq!((of(&silent), of(&deployment)), (json!("wrong"), json!("fine")));
}

/// Lambda says of a mapping what became of its last poll; the stand-in says nothing, and a proxy says it for it.
fn names_who_cannot_poll(endpoints: &Endpoints) {
    let endpoint = endpoints.url(Service::Aws);
    let name = format!("polling-{}", Uuid::new_v4().simple());
    let resources = json!({
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": name, "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
        }}},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": {
            "FunctionName": name, "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Runtime": "python3.13", "Handler": "index.handler",
            "Code": {"ZipFile": "def handler(event, context): return {}"},
        }},
        "Bookings": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {
            "FunctionName": {"Ref": "Function"}, "Topics": ["nlj.training.bookings"], "StartingPosition": "TRIM_HORIZON",
            "SelfManagedEventSource": {"Endpoints": {"KafkaBootstrapServers": ["broker.example:9092"]}},
        }},
    });
    let stack = stack_of(endpoint, &resources);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let said = |result: &'static str| {
        let rule = move |asked: &ProxiedRequest<'_>, _: u64| {
            match asked.uri.path().rsplit_once('/') {
            Some((of, id)) if of.ends_with("/event-source-mappings") => Act::Answer(200, json!({
                "UUID": id, "State": "Enabled", "StateTransitionReason": "USER_INITIATED", "Topics": ["nlj.training.bookings"],
                "LastProcessingResult": result, "FunctionArn": "arn:aws:lambda:eu-central-1:000000000000:function:training:live",
            }).to_string()),
            _ => Act::Pass,
        }
        };
        let lambda = runtime.block_on(HttpProxy::to(endpoint, rule)).expect("a proxy");
        let told =
            Workplace::new().run_with(&variables(lambda.url()), &["doctor", "aws", &stack, "--wait", "0", "--all"]);
        told.expect_code(1).stdout
    };
    let of_bookings = |told: &str| {
        let lines = told.lines().skip_while(|line| !line.contains("nlj.training.bookings"));
        lines.take(2).collect::<Vec<_>>().join("\n")
    };
    let told =
        of_bookings(&said("PROBLEM: Connection error. Please check your event source connection configuration."));
    assert!(told.contains("WRONG") && told.contains("does not poll: PROBLEM: Connection error"), "{told}");
    assert!(told.contains("→") && told.contains("security group"), "{told}");
    let told = of_bookings(&said("OK"));
    assert!(!told.contains("does not poll"), "{told}");
}

fn finds_what_is_right(endpoints: &Endpoints) {
    let endpoint = endpoints.url(Service::Aws);
    let name = format!("ledger-{}", Uuid::new_v4().simple());
    let stack = stack_of(endpoint, &json!({"Ledger": table(&name)}));
    let told = Workplace::new()
        .run_with(&variables(endpoint), &["doctor", "aws", &stack, "--wait", "0", "--all"])
        .expect_code(0)
        .stdout;
    assert!(told.contains(&format!("fine    table {name} is active")), "{told}");
    assert!(told.contains(&format!("{stack}: 0 wrong")), "{told}");
    // Whoever deletes by hand what a stack has is found out.
    block_on(async {
        let client = aws_sdk_dynamodb::Client::new(&aws::config(endpoint).await);
        client.delete_table().table_name(&name).send().await.expect("it is deleted");
    });
    let told = Workplace::new()
        .run_with(&variables(endpoint), &["doctor", "aws", &stack, "--wait", "0"])
        .expect_code(1)
        .stdout;
    assert!(told.contains(&format!("table {name} is not there")), "{told}");
}

fn without_a_stack(endpoints: &Endpoints) {
    let endpoint = endpoints.url(Service::Aws);
    let workplace = Workplace::new();
    let ended = workplace.run_with(&variables(endpoint), &["doctor", "aws", "nobody-made-this"]).expect_code(2);
    assert!(ended.stderr.contains("nobody-made-this") && ended.stdout.is_empty(), "{}", ended.stderr);
    workplace.run(&["doctor"]).expect_code(2);
    let no_region = [
        ("AWS_REGION", ""),
        ("AWS_DEFAULT_REGION", ""),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("HOME", "/nonexistent"),
    ];
    let ended = workplace.run_with(&no_region, &["doctor", "aws", "any"]).expect_code(2);
    assert!(ended.stderr.contains("--region"), "{}", ended.stderr);
}
