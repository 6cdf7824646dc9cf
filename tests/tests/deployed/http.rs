//! The page and the HTTP API behind API Gateway, by infra/http.yaml: its routes are those of the table, each function may what its own take,
//! and what cannot work is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lyceum_server::http::{Part, ROUTES, STAYING};
use serde_json::{Value, json};

use super::{
    CLUSTER, COLLECTION, DOMAIN, Deployed, Files, KEY, PLACE, SECRET, code, statements, table, template, text,
};

const FILE: &str = "infra/http.yaml";
const ISSUER: &str = "https://id.example/academy";
const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:academy-replay";
/// What there is always.
const ALWAYS: &[&str] = &["WriteOwnLog"];
const WITH_IAM: &[&str] = &["SeeTopics", "UseConsumerGroups", "SeeConsumerGroups"];

fn given<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let defaults =
        [("MskClusterArn", ""), ("SubnetIds", ""), ("SecurityGroupIds", ""), ("KafkaAuthentication", "NONE")];
    let mut given: BTreeMap<&str, &str> = PLACE.iter().chain(&defaults).copied().collect();
    given.extend(more.iter().copied());
    given.into_iter().collect()
}

fn made(more: &[(&str, &str)]) -> Deployed {
    let files: Rc<Files> = Rc::new([(FILE.to_owned(), template(FILE))].into());
    Deployed::new(files, FILE, &given(more))
}

/// The rights of the role of each function, with their resources.
fn rights(of: &Deployed, part: Part) -> BTreeMap<String, Vec<Value>> {
    let role = match part {
        Part::Read => "ReadRole",
        Part::Publish => "PublishRole",
        Part::Operate | Part::Whole => "OperateRole",
    };
    let mut found = Vec::new();
    statements(&of.properties(role).expect("there is a role"), &mut found);
    let own = [json!(format!("<{role}>"))];
    for (_, policy) in of.of_type("AWS::IAM::RolePolicy") {
        if own.contains(&policy["RoleName"]) {
            statements(&policy, &mut found);
        }
    }
    for (_, policy) in of.of_type("AWS::IAM::Policy") {
        assert_eq!(policy["Roles"].as_array().map(Vec::len), Some(3), "all of them are in the network");
        statements(&policy, &mut found);
    }
    let mut rights: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (sid, _, resource) in found {
        rights.entry(sid).or_default().push(resource);
    }
    rights
}

#[test]
fn the_routes_of_the_api_are_those_of_the_table_each_at_the_function_of_its_part() {
    for (given, asks) in [
        (vec![("ApiTokensSecretArn", SECRET)], "NONE"),
        (vec![("OidcIssuer", ISSUER), ("OidcAudience", "lyceum,other")], "JWT"),
    ] {
        let stack = made(&given);
        let routes = stack.of_type("AWS::ApiGatewayV2::Route");
        let mut by_key = BTreeMap::new();
        for (_, of) in &routes {
            let key = of["RouteKey"].as_str().expect("a key").to_owned();
            assert!(by_key.insert(key.clone(), of.clone()).is_none(), "{key} stands twice");
        }
        let others = by_key.remove("$default").expect("whatever else is asked has a route");
        assert_eq!(
            (&others["Target"], &others["AuthorizationType"]),
            (&json!("integrations/<ReadIntegration>"), &json!(asks))
        );
        for route in ROUTES {
            let key = format!("{} {}", route.method, route.path);
            let stays = STAYING.iter().any(|(method, path, _)| (*method, *path) == (route.method, route.path));
            let part =
                [Part::Read, Part::Publish, Part::Operate].into_iter().find(|part| part.has(route)).expect("a part");
            let found = by_key.remove(&key);
            // What looks goes the way of all others, and so does what is served nowhere.
            let own = match (part, route.needs) {
                _ if stays => None,
                (Part::Read | Part::Whole, Some(_)) => None,
                (Part::Read | Part::Whole, None) => Some(("<ReadIntegration>", "NONE")),
                (Part::Publish, _) => Some(("<PublishIntegration>", asks)),
                (Part::Operate, _) => Some(("<OperateIntegration>", asks)),
            };
            let found =
                found.map(|of| (of["Target"].clone(), of["AuthorizationType"].clone(), of["AuthorizerId"].clone()));
            let wanted = own.map(|(integration, asks)| {
                let authorizer = if asks == "JWT" { json!("<Authorizer>") } else { Value::Null };
                (json!(format!("integrations/{integration}")), json!(asks), authorizer)
            });
            assert_eq!(found, wanted, "{key}");
        }
        assert!(by_key.is_empty(), "{FILE} has routes that nothing serves: {:?}", by_key.keys());
        for (name, of) in stack.of_type("AWS::ApiGatewayV2::Integration") {
            assert_eq!(
                (&of["PayloadFormatVersion"], &of["IntegrationType"]),
                (&json!("2.0"), &json!("AWS_PROXY")),
                "{name}"
            );
            let function = name.strip_suffix("Integration").expect("it is called by its function");
            assert_eq!(of["IntegrationUri"], format!("<{function}.Alias>"));
        }
        for (name, of) in stack.of_type("AWS::Serverless::Function") {
            assert_eq!(of["Environment"]["Variables"]["HTTP_PART"], name.to_lowercase());
            assert_eq!(of["Role"], format!("<{name}Role.Arn>"));
        }
        assert_eq!(stack.of_type("AWS::Lambda::Permission").len(), 3);
    }
}

/// Parameters, and what the role allows with them.
type Case<'a> = (Vec<(&'a str, &'a str)>, Vec<&'a str>);

#[test]
fn each_function_may_what_its_part_takes_and_no_more() {
    let ledger = |part| if part == Part::Read { "ReadLedger" } else { "UseLedger" };
    let tokens = ("ApiTokensSecretArn", SECRET);
    let key = |part| if part == Part::Operate { "UseKey" } else { "DecryptByKey" };
    for part in [Part::Read, Part::Publish, Part::Operate] {
        let has_stores = part != Part::Publish;
        let of_topics = match part {
            Part::Read => &["ReadTopic", "ReadLetters", "ConnectToCluster"][..],
            Part::Publish => &["PublishEvents", "ConnectAndSend"],
            _ => &["SendAgain", "ActOnLetters", "ConnectAndSend"],
        };
        let iam = [("MskClusterArn", CLUSTER), ("KafkaAuthentication", "IAM")];
        let cases: Vec<Case<'_>> = vec![
            (vec![tokens], vec!["ReadApiTokens"]),
            (vec![("OidcIssuer", ISSUER), ("OidcAudience", "lyceum")], vec![]),
            ([&iam[..], &[tokens]].concat(), [WITH_IAM, of_topics, &["ReadApiTokens"]].concat()),
            (
                vec![
                    tokens,
                    ("KafkaAuthentication", "SCRAM-SHA-512"),
                    ("KafkaSecretArn", SECRET),
                    ("KafkaCaSecretArn", SECRET),
                ],
                vec!["ReadApiTokens", "ReadKafkaSecret", "ReadKafkaCa"],
            ),
            (
                vec![tokens, ("KmsKeyArn", KEY), ("SecretsKeyArns", KEY)],
                vec!["ReadApiTokens", key(part), "UseSecretsKeys"],
            ),
            (vec![tokens, ("Tracing", "Active")], vec!["ReadApiTokens", "SendTraces"]),
            (
                vec![tokens, ("ReplayMachineArn", MACHINE)],
                [&["ReadApiTokens"][..], if part == Part::Operate { &["BeginReplays"] } else { &[] }].concat(),
            ),
            (
                vec![tokens, ("SubnetIds", "subnet-1,subnet-2"), ("SecurityGroupIds", "sg-1")],
                vec!["ReadApiTokens", "JoinNetwork"],
            ),
        ];
        for (given, wanted) in cases {
            let mut wanted: BTreeSet<&str> = wanted.into_iter().chain(ALWAYS.iter().copied()).collect();
            if has_stores {
                wanted.insert(ledger(part));
            }
            let rights = rights(&made(&given), part);
            assert_eq!(rights.keys().map(String::as_str).collect::<BTreeSet<_>>(), wanted, "{part:?} with {given:?}");
        }
        let of_store = [("OpenSearchArn", DOMAIN), ("OpenSearchArn", COLLECTION), ("ElasticsearchSecretArn", SECRET)];
        let names = ["SearchDomain", "UseDomain", "UseCollection", "ReadElasticsearchSecret"];
        for (number, store) in of_store.into_iter().enumerate() {
            let rights = rights(&made(&[tokens, store]), part);
            let found: Vec<&str> = names.into_iter().filter(|name| rights.contains_key(*name)).collect();
            let wanted: &[&str] = match (part, number) {
                (Part::Publish, _) => &[],
                (Part::Read, 0) => &["SearchDomain"],
                (_, 0) => &["UseDomain"],
                (_, 1) => &["UseCollection"],
                _ => &["ReadElasticsearchSecret"],
            };
            assert_eq!(found, wanted, "{part:?}");
        }
    }
    // The function that looks changes nothing, and the one that publishes sees no record.
    let stack = made(&[("MskClusterArn", CLUSTER), ("KafkaAuthentication", "IAM"), ("ApiTokensSecretArn", SECRET)]);
    let letters = |rights: &BTreeMap<String, Vec<Value>>, name: &str| rights[name].len();
    assert_eq!(
        letters(&rights(&stack, Part::Read), "ReadLetters"),
        letters(&rights(&stack, Part::Operate), "ActOnLetters")
    );
    let mut of_all = Vec::new();
    statements(&template(FILE), &mut of_all);
    let actions = |role: &str| {
        let mut found = Vec::new();
        statements(&template(FILE)["Resources"][role], &mut found);
        found.into_iter().flat_map(|(_, actions, _)| actions).collect::<BTreeSet<String>>()
    };
    let changes = |action: &str| {
        ["Put", "Update", "Delete", "WriteData", "GenerateDataKey"].iter().any(|part| action.contains(part))
    };
    let of_log = ["logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"];
    let reads: Vec<String> =
        actions("ReadRole").into_iter().filter(|of| changes(of) && !of_log.contains(&of.as_str())).collect();
    assert!(reads.is_empty(), "the function that looks may {reads:?}");
    assert!(
        !actions("PublishRole")
            .iter()
            .any(|of| of.starts_with("dynamodb:") || of.starts_with("es:") || of.contains("ReadData"))
    );
}

#[test]
fn a_right_behind_http_names_its_resource_and_stands_with_why_in_the_table_of_security() {
    let mut found = Vec::new();
    statements(&template(FILE), &mut found);
    let of_template: BTreeSet<(String, String)> =
        found.iter().map(|(sid, actions, _)| (format!("`{sid}`"), code(actions))).collect();
    let rows = table(&text("docs/security.md"), "statement of HTTP");
    let told: BTreeSet<(String, String)> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(told, of_template);
    assert!(rows.iter().all(|row| row.len() == 4 && !row[3].is_empty()), "each right needs its reason");
    assert!(!text(FILE).contains("ManagedPolicyArns"), "AWS's managed policies allow more than is needed");
    for (sid, actions, resource) in found {
        let is_everything = resource == "*";
        assert_eq!(is_everything, ["JoinNetwork", "SendTraces"].contains(&sid.as_str()), "{sid}: {resource}");
        assert!(actions.iter().all(|action| !action.contains('*')), "{sid} allows {actions:?}");
    }
}

#[test]
fn every_alarm_of_http_stands_in_the_table_of_operations_with_what_to_do() {
    let stack =
        made(&[("ApiTokensSecretArn", SECRET), ("AlarmTopicArn", "arn:aws:sns:eu-central-1:123456789012:told")]);
    let alarms = stack.of_type("AWS::CloudWatch::Alarm");
    let names: BTreeSet<String> = alarms
        .iter()
        .map(|(_, of)| {
            of["AlarmName"].as_str().and_then(|name| name.strip_prefix("academy-")).expect("a name").to_owned()
        })
        .collect();
    let rows = table(&text("docs/operations.md"), "alarm of HTTP");
    let told: BTreeSet<String> =
        rows.iter().map(|row| row[0].trim_matches('`').trim_start_matches("…-").to_owned()).collect();
    assert_eq!(told, names);
    assert!(rows.iter().all(|row| row.len() == 3 && !row[2].is_empty()), "each alarm needs what to do");
    for (name, of) in alarms {
        assert_eq!(of["AlarmActions"], json!(["arn:aws:sns:eu-central-1:123456789012:told"]), "{name}");
        assert_eq!(of["TreatMissingData"], "notBreaching", "where nobody asks nothing is wrong: {name}");
    }
    let of_name = made(&[("ApiTokensSecretArn", SECRET), ("Name", "prod")]);
    let (_, alarm) = of_name.of_type("AWS::CloudWatch::Alarm").remove(0);
    assert_eq!(alarm["AlarmActions"], json!(["{{resolve:ssm:/lyceum/prod/alarm-topic}}"]));
}

#[test]
fn every_parameter_of_http_is_told_in_operations() {
    let operations = text("docs/operations.md");
    let section =
        operations.split("\n## HTTP on AWS\n").nth(1).expect("there is a section").split("\n## ").next().unwrap();
    let template = template(FILE);
    let parameters = template["Parameters"].as_object().expect("parameters");
    // Those that it has in common with the other stacks stand with those.
    let common = text("template.yaml");
    for name in parameters.keys().filter(|name| !common.contains(&format!("\n  {name}:\n"))) {
        assert!(section.contains(&format!("`{name}`")), "docs/operations.md, \"HTTP on AWS\", does not tell of {name}");
    }
}

#[test]
fn what_cannot_work_behind_http_is_refused() {
    let tokens = ("ApiTokensSecretArn", SECRET);
    let issuer = ("OidcIssuer", ISSUER);
    let rule =
        |given: &[(&str, &str)]| made(given).broken_rules().iter().map(|told| told.to_string()).collect::<Vec<_>>();
    assert_eq!(rule(&[tokens]), Vec::<String>::new());
    assert_eq!(rule(&[issuer, ("OidcAudience", "lyceum")]), Vec::<String>::new());
    for (given, hint) in [
        (vec![], "One of ApiTokensSecretArn and OidcIssuer"),
        (vec![tokens, issuer], "One of ApiTokensSecretArn and OidcIssuer"),
        (vec![issuer], "Both of OidcIssuer and OidcAudience"),
        (vec![tokens, ("OidcAudience", "lyceum")], "Both of OidcIssuer and OidcAudience"),
        (vec![tokens, ("KafkaAuthentication", "IAM")], "IAM is for MSK"),
        (vec![tokens, ("KafkaAuthentication", "PLAIN")], "need KafkaSecretArn"),
        (vec![tokens, ("KafkaSecretArn", SECRET)], "use no KafkaSecretArn"),
        (vec![tokens, ("OpenSearchArn", DOMAIN), ("ElasticsearchSecretArn", SECRET)], "Either OpenSearchArn"),
        (vec![tokens, ("SubnetIds", "subnet-1,subnet-2")], "Both of SubnetIds and SecurityGroupIds"),
        (
            vec![tokens, ("KafkaAuthentication", "PLAIN"), ("KafkaSecretArn", SECRET), ("KafkaEncryption", "false")],
            "Only NONE goes without",
        ),
    ] {
        let told = rule(&given);
        assert!(told.iter().any(|told| told.contains(hint)), "{given:?}: {told:?}");
    }
    for (name, value) in [
        ("OidcIssuer", "http://id.example"),
        ("OidcIssuer", "https://id.example/"),
        ("OidcAudience", "a, b"),
        ("AllowedOrigins", "*"),
        ("AllowedOrigins", "https://a.example/"),
        ("BootstrapServers", "broker"),
        ("MskClusterArn", "arn:aws:kafka:eu-central-1:1:cluster/a"),
        ("SubnetIds", "subnet-1"),
        ("SecurityGroupIds", "group"),
        ("RequestsPerSecond", "0"),
        ("SlowMilliseconds", "60000"),
        ("OidcRolesClaim", "a b"),
        ("ReservedConcurrency", "0"),
        ("ReplayMachineArn", "academy-replay"),
    ] {
        let files: Rc<Files> = Rc::new([(FILE.to_owned(), template(FILE))].into());
        let refused = Deployed::refusal(files, FILE, &given(&[tokens, (name, value)]));
        assert!(refused.is_some_and(|told| told.contains(name)), "{name} may be {value:?}");
    }
}

#[test]
fn the_topics_of_the_rights_are_the_catalogs() {
    let catalog = lyceum_catalog::catalog();
    let template = template(FILE);
    let default = |name: &str| -> BTreeSet<String> {
        let text = template["Parameters"][name]["Default"].as_str().expect("a default");
        text.split(',').map(str::to_owned).collect()
    };
    let letters: BTreeSet<String> = catalog.dead_letter_topics().into_iter().map(str::to_owned).collect();
    let topics = catalog.families().iter().flat_map(|family| family.topics).map(|topic| topic.name.to_owned());
    assert_eq!(default("DeadLetterTopics"), letters);
    assert_eq!(default("Topics"), topics.filter(|topic| !letters.contains(topic)).collect());
}

#[test]
fn every_variable_of_the_functions_behind_http_is_known() {
    let known: BTreeSet<&str> = lyceum::config::variables()
        .map(|of| of.name)
        .chain(lyceum_http::config::HTTP_VARIABLES.iter().map(|of| of.row().name))
        .chain(["AWS_ENDPOINT_URL"])
        .collect();
    let template = template(FILE);
    let of_all = ["Read", "Publish", "Operate"].into_iter().flat_map(|name| {
        template["Resources"][name]["Properties"]["Environment"]["Variables"].as_object().expect("variables").keys()
    });
    let unknown: Vec<&String> = of_all.filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "in no table of variables: {unknown:?}");
}
