//! The deployment is what the code and the documents say: a function and mappings for each family, known variables, no
//! secret, and no right that docs/security.md does not explain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lyceum_functions::REGISTRY;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use deployed::Deployed;

#[path = "deployed/mod.rs"]
mod deployed;

/// What AWS's own libraries read; the tables list the rest.
const READ_BY_AWS: &[&str] = &["AWS_ENDPOINT_URL"];
/// The statements whose actions take no resource: Lambda's documentation has them with `*`, too.
const WITHOUT_RESOURCE: &[&str] = &["JoinNetwork", "SeeAlarms", "SeeNetwork", "SendTraces"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A template as JSON; `!Ref x` is `{"Ref": "x"}`, `!Sub x` is `{"Fn::Sub": "x"}`.
fn template(name: &str) -> Value {
    let text = text(name);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    json_of(documents.first().unwrap_or_else(|| panic!("{name} is empty")))
}

fn json_of(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(of)) => json!(of),
        Yaml::Value(Scalar::Integer(of)) => json!(of),
        Yaml::Value(Scalar::FloatingPoint(of)) => json!(of.into_inner()),
        Yaml::Value(Scalar::String(of)) => json!(of),
        Yaml::Representation(of, ..) => json!(of),
        Yaml::Sequence(of) => of.iter().map(json_of).collect(),
        Yaml::Mapping(of) => {
            let name = |key: &Yaml<'_>| json_of(key).as_str().map(str::to_owned).expect("a key is a text");
            Value::Object(of.iter().map(|(key, value)| (name(key), json_of(value))).collect())
        }
        Yaml::Tagged(tag, of) => {
            let name = match tag.suffix.as_str() {
                "Ref" | "Condition" => tag.suffix.to_string(),
                other => format!("Fn::{other}"),
            };
            Value::Object(Map::from_iter([(name, json_of(of))]))
        }
        Yaml::Alias(_) | Yaml::BadValue => panic!("aliases are not used in templates"),
    }
}

fn resources(template: &Value) -> &Map<String, Value> {
    template["Resources"].as_object().expect("a template has resources")
}

/// Every text in a value, keys apart.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(of) => of.iter().for_each(|value| texts(value, found)),
        Value::Object(of) => of.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

fn templates() -> [(&'static str, Value); 5] {
    ["template.yaml", "infra/role.yaml", "infra/mapping.yaml", "infra/alarms.yaml", "infra/dashboard.yaml"]
        .map(|name| (name, template(name)))
}

/// The rows of the table whose first column has that head.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let begins = format!("| {head} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&begins)).skip(2);
    let cells = |row: &str| row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn every_family_has_its_main_its_binary_and_its_function() {
    let template = template("template.yaml");
    let manifest = text("functions/lambda/Cargo.toml");
    for family in REGISTRY.iter().map(|entry| entry.spec.name) {
        let main = root().join("functions").join(family).join("src/main.rs");
        assert!(main.exists(), "functions/{family}/src/main.rs is missing");
        let binary = format!("name = \"lyceum-{family}\"\npath = \"../{family}/src/main.rs\"");
        assert!(manifest.contains(&binary), "functions/lambda/Cargo.toml has no [[bin]] with\n{binary}");
        let is_its = |resource: &&Value| {
            resource["Type"] == "AWS::Serverless::Function"
                && resource["Metadata"]["BuildMethod"] == "rust-cargolambda"
                && resource["Metadata"]["BuildProperties"]["Binary"] == json!(format!("lyceum-{family}"))
        };
        let found = resources(&template).values().filter(is_its).count();
        assert_eq!(found, 1, "template.yaml has {found} functions with the binary lyceum-{family}");
    }
}

#[test]
fn every_topic_of_the_catalog_has_one_mapping_to_its_familys_function() {
    let template = template("template.yaml");
    let mut mapped = BTreeMap::new();
    for resource in resources(&template).values().filter(|of| of["Properties"]["TemplateURL"] == "infra/mapping.yaml") {
        let parameters = &resource["Properties"]["Parameters"];
        let function = parameters["FunctionArn"]["Ref"].as_str().expect("a mapping names its function's alias");
        let function = function.strip_suffix(".Alias").expect("a mapping goes to the alias, which a deployment moves");
        let binary = &template["Resources"][function]["Metadata"]["BuildProperties"]["Binary"];
        let family = binary.as_str().and_then(|binary| binary.strip_prefix("lyceum-")).expect("a family's function");
        assert_eq!(parameters["FunctionName"]["Fn::Sub"], json!(format!("${{AWS::StackName}}-{family}")));
        let topic = parameters["Topic"].as_str().expect("a mapping has a topic").to_owned();
        assert_eq!(mapped.insert(topic.clone(), family.to_owned()), None, "{topic} has two mappings");
    }
    let topics = REGISTRY.iter().flat_map(|entry| entry.spec.topics.iter().map(|topic| (topic, entry.spec.name)));
    let wanted = topics.map(|(topic, family)| (topic.name.to_owned(), family.to_owned())).collect();
    assert_eq!(mapped, wanted);
}

#[test]
fn a_functions_role_reads_the_topics_of_its_family_and_the_ledger_only_where_it_keeps_state() {
    let template = template("template.yaml");
    for spec in REGISTRY.iter().map(|entry| entry.spec) {
        let is_its = |of: &&Value| {
            of["Properties"]["TemplateURL"] == "infra/role.yaml"
                && of["Properties"]["Parameters"]["FunctionName"]["Fn::Sub"]
                    == json!(format!("${{AWS::StackName}}-{}", spec.name))
        };
        let role = resources(&template).values().find(is_its).unwrap_or_else(|| panic!("{} has no role", spec.name));
        let parameters = &role["Properties"]["Parameters"];
        let topics = parameters["SourceTopics"].as_str().expect("a role names its topics");
        let own: BTreeSet<&str> = spec.topics.iter().map(|topic| topic.name).collect();
        assert_eq!(topics.split(',').collect::<BTreeSet<_>>(), own, "{}", spec.name);
        assert_eq!(topics.split(',').count(), 3, "{}: role.yaml takes three entries", spec.name);
        assert_eq!(parameters["TableArn"] != "", !spec.kinds.is_empty(), "{}", spec.name);
    }
}

#[test]
fn every_variable_of_a_function_is_in_a_table() {
    let template = template("template.yaml");
    let known: BTreeSet<&str> =
        lyceum::config::variables().map(|variable| variable.name).chain(READ_BY_AWS.iter().copied()).collect();
    let variables = template["Globals"]["Function"]["Environment"]["Variables"].as_object().expect("variables");
    let unknown: Vec<_> = variables.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(variables.len() > 10 && unknown.is_empty(), "in no table of variables: {unknown:?}");
}

#[test]
fn a_private_authority_and_a_clients_certificate_reach_poller_and_function_alike() {
    let (template, mapping) = (template("template.yaml"), template("infra/mapping.yaml"));
    let variables = &template["Globals"]["Function"]["Environment"]["Variables"];
    assert_eq!(variables["KAFKA_CA_SECRET_ARN"]["Ref"], "KafkaCaSecretArn");
    assert_eq!(variables["ELASTICSEARCH_CA_SECRET_ARN"]["Ref"], "ElasticsearchCaSecretArn");
    let only_where =
        |condition: &str| json!({"Fn::If": [condition, {"Ref": "KafkaSecretArn"}, {"Ref": "AWS::NoValue"}]});
    assert_eq!(variables["KAFKA_CERTIFICATE_SECRET_ARN"], only_where("UsesCertificate"));
    assert_eq!(variables["KAFKA_SASL_SECRET_ARN"], only_where("UsesPassword"));
    let access = mapping["Resources"]["Mapping"]["Properties"]["SourceAccessConfigurations"].to_string();
    for (kind, secret) in
        [("SERVER_ROOT_CA_CERTIFICATE", "KafkaCaSecretArn"), ("CLIENT_CERTIFICATE_TLS_AUTH", "KafkaSecretArn")]
    {
        let wanted = json!({"Type": kind, "URI": {"Ref": secret}}).to_string();
        assert!(access.contains(&wanted), "infra/mapping.yaml lacks {wanted}");
    }
    for role in resources(&template).values().filter(|of| of["Properties"]["TemplateURL"] == "infra/role.yaml") {
        for parameter in ["KafkaSecretArn", "KafkaCaSecretArn", "ElasticsearchCaSecretArn"] {
            assert_eq!(role["Properties"]["Parameters"][parameter]["Ref"], parameter);
        }
    }
}

#[test]
fn no_template_holds_a_secret() {
    let words = ["password", "secret", "api_key", "apikey", "token"];
    for (name, template) in templates() {
        let variables = &template["Globals"]["Function"]["Environment"]["Variables"];
        for (variable, value) in variables.as_object().into_iter().flatten() {
            let is_of_a_secret = words.iter().any(|word| variable.to_lowercase().contains(word));
            // `!If [WHETHER, !Ref PARAMETER, !Ref AWS::NoValue]` gives a parameter or nothing.
            let given = value["Fn::If"].get(1).unwrap_or(value);
            let is_arn = variable.ends_with("_ARN") && given["Ref"].is_string();
            assert!(!is_of_a_secret || is_arn, "{name}: {variable} must be the ARN of a secret, by a parameter");
        }
        for (parameter, of) in template["Parameters"].as_object().into_iter().flatten() {
            let is_of_a_secret = words.iter().any(|word| parameter.to_lowercase().contains(word));
            let is_empty_arn = parameter.ends_with("Arn") && matches!(of["Default"].as_str(), None | Some(""));
            assert!(!is_of_a_secret || is_empty_arn, "{name}: {parameter} must be an ARN without a default");
        }
        let mut found = Vec::new();
        texts(&template, &mut found);
        let looks_random = |text: &&&str| {
            text.len() >= 32
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=_".contains(c))
                && text.contains(|c: char| c.is_ascii_digit())
        };
        let random: Vec<_> = found.iter().filter(looks_random).collect();
        assert!(random.is_empty(), "{name} has what looks like a key: {random:?}");
    }
}

/// Every policy statement of the templates: its name, its actions, its resource.
fn statements(value: &Value, found: &mut Vec<(String, Vec<String>, Value)>) {
    match value {
        Value::Object(of) => {
            if let (Some(sid), Some(resource)) = (of.get("Sid"), of.get("Resource")) {
                let actions = match &of["Action"] {
                    Value::Array(actions) => actions.clone(),
                    action => vec![action.clone()],
                };
                let actions = actions.iter().map(|action| action.as_str().expect("an action").to_owned()).collect();
                found.push((sid.as_str().expect("a name").to_owned(), actions, resource.clone()));
            }
            of.values().for_each(|value| statements(value, found));
        }
        Value::Array(of) => of.iter().for_each(|value| statements(value, found)),
        _ => {}
    }
}

#[test]
fn every_right_of_a_function_stands_in_the_table_of_security_with_why() {
    let mut found = Vec::new();
    let mut allows = 0;
    for (name, template) in templates() {
        statements(&template, &mut found);
        allows += text(name).matches("Effect: Allow").count();
        assert!(!text(name).contains("ManagedPolicyArns"), "{name}: AWS's managed policies allow more than is needed");
    }
    // The trust policies, of the function and of its deployment, have no resource.
    assert_eq!(found.len() + 2, allows, "a statement of a policy has no Sid");
    let mut of_templates: Vec<(String, String)> =
        found.iter().map(|(sid, actions, _)| (format!("`{sid}`"), code(actions))).collect();
    let rows = table(&text("docs/security.md"), "statement");
    let mut told: Vec<(String, String)> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    of_templates.sort();
    told.sort();
    assert_eq!(told, of_templates);
    assert!(rows.iter().all(|row| row.len() == 4 && !row[3].is_empty()), "each right needs its reason");
}

fn code(actions: &[String]) -> String {
    actions.iter().map(|action| format!("`{action}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_right_names_its_resource_wherever_one_can_be_named() {
    let mut found = Vec::new();
    templates().iter().for_each(|(_, template)| statements(template, &mut found));
    for (sid, actions, resource) in found {
        let mut parts = Vec::new();
        texts(&resource, &mut parts);
        let is_everything = parts.contains(&"*");
        assert_eq!(is_everything, WITHOUT_RESOURCE.contains(&sid.as_str()), "{sid}: {resource}");
        assert!(actions.iter().all(|action| !action.contains('*')), "{sid} allows {actions:?}");
        // What is within a name: the streams of one log group, the objects of one bucket.
        let wide: Vec<_> = parts.iter().filter(|part| part.len() > 1 && part.contains('*')).collect();
        let is_known = |part: &&&str| part.ends_with(":log-group:/lyceum/${FunctionName}:*") || part.ends_with("}/*");
        assert!(wide.iter().all(is_known), "{sid}: {wide:?}");
    }
}

#[test]
fn functions_are_compiled_as_the_profile_lambda_says() {
    let profile = text("Cargo.toml");
    let profile = profile.split("[profile.lambda]").nth(1).expect("Cargo.toml has the profile");
    let told = text("functions/lambda/CargoLambda.toml");
    for line in profile.lines().skip(1).take_while(|line| line.contains('=')) {
        let (name, value) = line.split_once(" = ").expect("a setting");
        if name == "inherits" {
            continue;
        }
        let wanted = format!("'profile.release.{name}={value}'");
        assert!(told.contains(&wanted), "functions/lambda/CargoLambda.toml lacks {wanted}");
    }
    assert!(told.contains("'profile.release.panic=\"unwind\"'"), "a panic must fail its record, not the batch");
}

#[test]
fn both_of_the_other_environments_are_configured() {
    let config = text("samconfig.toml");
    for environment in ["default", "dev", "prod"] {
        assert!(config.contains(&format!("[{environment}.deploy.parameters]")), "samconfig.toml lacks {environment}");
    }
    let template = template("template.yaml");
    for line in config.lines().filter_map(|line| line.trim().strip_prefix('"')) {
        let name = line.split('=').next().unwrap_or_default();
        assert!(template["Parameters"][name].is_object(), "samconfig.toml overrides {name}, which is no parameter");
    }
}

/// What every deployment is given.
const PLACE: &[(&str, &str)] =
    &[("BootstrapServers", "b-1.example:9098,b-2.example:9098"), ("ElasticsearchUrl", "https://search.example")];
const CLUSTER: &str = "arn:aws:kafka:eu-central-1:123456789012:cluster/academy/1-2";
const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_lyceum";
const CA: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:authority";
const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1";
const BUCKET: &str = "arn:aws:s3:::academy-failed";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:failed";

fn deployed(given: &[(&str, &str)]) -> Deployed {
    Deployed::new("template.yaml", &[PLACE, given].concat())
}

/// The stacks of a template that another template makes, by their names.
fn stacks(file: &str) -> Vec<String> {
    let template = template("template.yaml");
    let of_file = resources(&template).iter().filter(|(_, of)| of["Properties"]["TemplateURL"] == file);
    of_file.map(|(name, _)| name.clone()).collect()
}

/// The names of a role's statements.
fn rights(role: &Value) -> BTreeSet<String> {
    let mut found = Vec::new();
    statements(&role["Policies"], &mut found);
    found.into_iter().map(|(sid, ..)| sid).collect()
}

/// One way to deploy.
struct Way {
    given: &'static [(&'static str, &'static str)],
    /// Of the function of trainings, beside `ALWAYS`.
    rights: &'static [&'static [&'static str]],
    /// How its mappings reach Kafka.
    access: &'static [(&'static str, &'static str)],
    /// How the function does.
    security: &'static str,
}

const ALWAYS: &[&str] = &["SendTraces", "UseLedger", "WriteOwnLog"];
const MSK: &[&str] = &["FindCluster", "ListScramSecrets"];
const IAM: &[&str] = &["ConnectToCluster", "ReadSourceTopics", "UseConsumerGroup", "WriteLetters"];
const NETWORK: &[&str] = &["JoinNetwork", "SeeNetwork"];

const WAYS: &[Way] = &[
    Way { given: &[("MskClusterArn", CLUSTER)], rights: &[MSK, IAM, NETWORK], access: &[], security: "SASL_SSL" },
    Way {
        given: &[
            ("MskClusterArn", CLUSTER),
            ("SubnetIds", "subnet-1,subnet-2"),
            ("SecurityGroupIds", "sg-1"),
            ("OnFailureDestination", "kafka://nlj.failed"),
            ("KafkaSecretArn", ""),
        ],
        rights: &[MSK, IAM, NETWORK, &["WriteFailedRecords"]],
        access: &[],
        security: "SASL_SSL",
    },
    Way {
        given: &[
            ("MskClusterArn", CLUSTER),
            ("KafkaAuthentication", "SCRAM-SHA-512"),
            ("KafkaSecretArn", SECRET),
            ("KmsKeyArn", KEY),
            ("OnFailureDestination", "kafka://nlj.failed"),
        ],
        rights: &[MSK, NETWORK, &["ReadKafkaSecret", "UseKey"]],
        access: &[("SASL_SCRAM_512_AUTH", SECRET)],
        security: "SASL_SSL",
    },
    Way {
        given: &[
            ("KafkaAuthentication", "SCRAM-SHA-256"),
            ("KafkaSecretArn", SECRET),
            ("KafkaCaSecretArn", CA),
            ("SubnetIds", "subnet-1,subnet-2,subnet-3"),
            ("SecurityGroupIds", "sg-1,sg-2"),
            ("ElasticsearchSecretArn", SECRET),
        ],
        rights: &[NETWORK, &["ReadElasticsearchSecret", "ReadKafkaCa", "ReadKafkaSecret"]],
        access: &[
            ("SASL_SCRAM_256_AUTH", SECRET),
            ("SERVER_ROOT_CA_CERTIFICATE", CA),
            ("VPC_SUBNET", "subnet:subnet-1"),
            ("VPC_SUBNET", "subnet:subnet-2"),
            ("VPC_SECURITY_GROUP", "security_group:sg-1"),
        ],
        security: "SASL_SSL",
    },
    Way {
        given: &[("KafkaAuthentication", "PLAIN"), ("KafkaSecretArn", SECRET), ("OnFailureDestination", QUEUE)],
        rights: &[&["ReadKafkaSecret", "SendFailedBatches"]],
        access: &[("BASIC_AUTH", SECRET)],
        security: "SASL_SSL",
    },
    Way {
        given: &[("KafkaAuthentication", "NONE"), ("KafkaEncryption", "false")],
        rights: &[],
        access: &[],
        security: "PLAINTEXT",
    },
    Way {
        given: &[
            ("KafkaAuthentication", "NONE"),
            ("SubnetIds", "subnet-1,subnet-2"),
            ("SecurityGroupIds", "sg-1"),
            ("GradualDeployment", "false"),
        ],
        rights: &[NETWORK],
        access: &[
            ("VPC_SUBNET", "subnet:subnet-1"),
            ("VPC_SUBNET", "subnet:subnet-2"),
            ("VPC_SECURITY_GROUP", "security_group:sg-1"),
        ],
        security: "SSL",
    },
    Way {
        given: &[
            ("KafkaAuthentication", "NONE"),
            ("KmsKeyArn", KEY),
            ("FilterPattern", r#"{"value": {"actor": [{"exists": true}]}}"#),
            ("OnFailureDestination", BUCKET),
            ("LedgerTable", "restored"),
        ],
        rights: &[&["FindBucket", "UseKey", "WriteFailedBatches"]],
        access: &[],
        security: "SSL",
    },
];

#[test]
fn a_function_has_the_rights_that_its_parameters_need_and_no_other() {
    for way in WAYS {
        let deployed = deployed(way.given);
        assert_eq!(deployed.broken_rules(), [""; 0], "{:?}", way.given);
        let role = deployed.nested("TrainingRole");
        let wanted = way.rights.concat().into_iter().chain(ALWAYS.iter().copied()).map(str::to_owned).collect();
        let found = rights(&role.properties("Role").expect("a function has a role"));
        assert_eq!(found, wanted, "{:?}", way.given);
        let stateless = rights(&deployed.nested("StatementRole").properties("Role").expect("a function has a role"));
        let less: Vec<_> = found.difference(&stateless).collect();
        assert_eq!(less, ["UseLedger"], "{:?}", way.given);
        let deployment = role.properties("Deployment").map(|role| rights(&role));
        let is_gradual = !way.given.contains(&("GradualDeployment", "false"));
        let wanted = is_gradual.then(|| BTreeSet::from(["MoveAlias".to_owned(), "SeeAlarms".to_owned()]));
        assert_eq!(deployment, wanted, "{:?}", way.given);
    }
}

#[test]
fn function_and_mappings_reach_kafka_as_the_parameters_say() {
    for way in WAYS {
        let deployed = deployed(way.given);
        let variables = deployed.variables();
        assert_eq!(variables["KAFKA_SECURITY_PROTOCOL"], way.security, "{:?}", way.given);
        let given = |name| way.given.iter().find(|(of, _)| *of == name).map(|(_, value)| *value);
        let login = given("KafkaAuthentication").unwrap_or("IAM");
        assert_eq!(variables["AWS_MSK_IAM"], if login == "IAM" { "true" } else { "false" }, "{:?}", way.given);
        let mechanism = ["IAM", "NONE"].contains(&login).then_some(Value::Null).unwrap_or(json!(login));
        assert_eq!(variables["KAFKA_SASL_MECHANISM"], mechanism, "{:?}", way.given);
        for name in stacks("infra/mapping.yaml") {
            let mapping = deployed.nested(&name).properties("Mapping").expect("a mapping");
            let access = way.access.iter().map(|(kind, of)| json!({"Type": kind, "URI": of})).collect::<Vec<_>>();
            let access = if access.is_empty() { Value::Null } else { json!(access) };
            assert_eq!(mapping["SourceAccessConfigurations"], access, "{name}, {:?}", way.given);
            let is_msk = given("MskClusterArn").is_some();
            let of_cluster = ["EventSourceArn", "AmazonManagedKafkaEventSourceConfig"];
            let of_brokers = ["SelfManagedEventSource", "SelfManagedKafkaEventSourceConfig"];
            assert!(of_cluster.iter().all(|of| mapping[of].is_null() != is_msk), "{name}, {:?}", way.given);
            assert!(of_brokers.iter().all(|of| mapping[of].is_null() == is_msk), "{name}, {:?}", way.given);
            let filter = given("FilterPattern").map_or(Value::Null, |of| json!({"Filters": [{"Pattern": of}]}));
            assert_eq!(mapping["FilterCriteria"], filter, "{name}, {:?}", way.given);
            let key = given("FilterPattern").and(given("KmsKeyArn")).map_or(Value::Null, |of| json!(of));
            assert_eq!(mapping["KmsKeyArn"], key, "{name}, {:?}", way.given);
        }
    }
}

#[test]
fn a_mapping_gives_nothing_up_without_a_destination_and_by_age_with_one() {
    for way in WAYS {
        let deployed = deployed(way.given);
        let destination = way.given.iter().find(|(name, _)| *name == "OnFailureDestination").map(|(_, value)| *value);
        for name in stacks("infra/mapping.yaml") {
            let stack = deployed.nested(&name);
            let mapping = stack.properties("Mapping").expect("a mapping");
            assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
            assert_eq!(mapping["BisectBatchOnFunctionError"], true);
            assert!(mapping["ProvisionedPollerConfig"].is_object(), "what follows needs provisioned pollers");
            // With a destination, AWS takes -1 attempts for 10.
            let (attempts, age) = if destination.is_some() { (10_000, 7 * 24 * 60 * 60) } else { (-1, -1) };
            assert_eq!(mapping["MaximumRetryAttempts"], attempts, "{name}, {:?}", way.given);
            assert_eq!(mapping["MaximumRecordAgeInSeconds"], age, "{name}, {:?}", way.given);
            let config = destination.map_or(Value::Null, |of| json!({"OnFailure": {"Destination": of}}));
            assert_eq!(mapping["DestinationConfig"], config, "{name}, {:?}", way.given);

            let own = json!([{"Name": "EventSourceMappingUUID", "Value": "<Mapping>"}]);
            let dropped = stack.properties("Dropped").expect("an alarm");
            assert_eq!((&dropped["MetricName"], &dropped["Dimensions"]), (&json!("DroppedEventCount"), &own));
            let given_up = stack.properties("GivenUp");
            assert_eq!(given_up.is_some(), destination.is_some(), "{name}, {:?}", way.given);
            if let Some(alarm) = given_up {
                assert_eq!(alarm["MetricName"], "OnFailureDestinationDeliveredEventCount");
                assert_eq!(alarm["Dimensions"], own);
            }
            // The alarms' metrics are counted where they are asked for.
            assert!(mapping["MetricsConfig"]["Metrics"].as_array().is_some_and(|of| of.contains(&json!("EventCount"))));
        }
    }
    let endless = deployed(&[("OnFailureDestination", BUCKET), ("MaximumRecordAgeSeconds", "-1")]);
    let mapping = endless.nested("SurveyResponsesMapping").properties("Mapping").expect("a mapping");
    assert_eq!(mapping["MaximumRecordAgeInSeconds"], -1);
}

#[test]
fn parameters_that_cannot_work_together_are_refused() {
    let msk = ("MskClusterArn", CLUSTER);
    let secret = ("KafkaSecretArn", SECRET);
    let is = |how| ("KafkaAuthentication", how);
    let open = ("KafkaEncryption", "false");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "IAM is for MSK."),
        (&[is("PLAIN")], "SCRAM, PLAIN and mutual TLS need KafkaSecretArn."),
        (&[is("CLIENT_CERTIFICATE_TLS_AUTH")], "SCRAM, PLAIN and mutual TLS need KafkaSecretArn."),
        (&[msk, ("KafkaCaSecretArn", SECRET)], "KafkaCaSecretArn is for self-managed brokers."),
        (&[msk, secret, is("PLAIN")], "MSK knows"),
        (&[msk, secret, is("SCRAM-SHA-256")], "MSK knows"),
        (&[msk, secret, is("SCRAM-SHA-512")], "MSK takes a secret only under a key of your own."),
        (&[is("NONE"), open, ("KafkaCaSecretArn", SECRET)], "KafkaCaSecretArn is for encrypted connections."),
        (&[msk, open], "Only NONE goes without KafkaEncryption."),
        (&[secret, is("SCRAM-SHA-512"), open], "Only NONE goes without KafkaEncryption."),
        (&[msk, ("SubnetIds", "subnet-1,subnet-2")], "SubnetIds need SecurityGroupIds."),
    ];
    for (given, told) in cases {
        let deployed = deployed(given);
        let broken = deployed.broken_rules();
        assert!(matches!(&*broken, [one] if one.starts_with(told)), "{given:?}: {broken:?}");
    }
}

#[test]
fn every_mapping_has_a_consumer_group_of_its_own_which_its_functions_role_may_use() {
    let template = template("template.yaml");
    let deployed = deployed(&[("MskClusterArn", CLUSTER)]);
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in stacks("infra/mapping.yaml") {
        let mapping = deployed.nested(&name).properties("Mapping").expect("a mapping");
        let group = mapping["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"].as_str().expect("a group");
        let topic = &mapping["Topics"][0];
        let has_topic = |spec: &&lyceum_core::family::FamilySpec| spec.topics.iter().any(|of| topic == of.name);
        let spec = REGISTRY.iter().map(|entry| entry.spec).find(has_topic).expect("the topic is a family's");
        let last = topic.as_str().and_then(|topic| topic.rsplit('.').next()).expect("a topic has a last part");
        let wanted = match spec.topics.len() {
            1 => format!("lyceum-{}", spec.name),
            _ => format!("lyceum-{}-{last}", spec.name),
        };
        assert_eq!(group, wanted, "{topic}");
        let is_new = groups.entry(spec.name.to_owned()).or_default().insert(group.to_owned());
        assert!(is_new, "{group} is the group of two mappings");
    }
    for name in stacks("infra/role.yaml") {
        let function = &template["Resources"][&name]["Properties"]["Parameters"]["FunctionName"]["Fn::Sub"];
        let family = function.as_str().and_then(|name| name.strip_prefix("${AWS::StackName}-")).expect("a family's");
        let mut found = Vec::new();
        statements(&deployed.nested(&name).properties("Role").expect("a role"), &mut found);
        let (_, _, resource) = found.iter().find(|(sid, ..)| sid == "UseConsumerGroup").expect("a right on groups");
        let mut arns = Vec::new();
        texts(resource, &mut arns);
        let begins = "arn:aws:kafka:eu-central-1:123456789012:group/academy/1-2/";
        let may: BTreeSet<String> = arns.iter().map(|arn| arn.replace(begins, "")).collect();
        assert_eq!(may, groups[family], "{family}");
    }
}

#[test]
fn another_release_publishes_every_function() {
    let template = template("template.yaml");
    let functions = resources(&template).iter().filter(|(_, of)| of["Type"] == "AWS::Serverless::Function");
    for (name, function) in functions {
        // SAM sees no other parameter's value; it takes ten characters of this one.
        assert_eq!(function["Properties"]["AutoPublishCodeSha256"], json!({"Ref": "Release"}), "{name}");
        // Lambda would filter once more, at INFO, what LOG_LEVEL lets through.
        assert_eq!(function["Properties"]["LoggingConfig"]["ApplicationLogLevel"], "TRACE", "{name}");
    }
    assert_eq!(template["Parameters"]["Release"]["AllowedPattern"], "^[0-9A-Za-z]{1,10}$");
    assert!(text(".ci/deploy").contains("\"Release=$(date +%s)\""), "the deployment that is tried has a release");
}

#[test]
fn a_deployment_goes_back_when_invocations_records_or_letters_say_so() {
    let template = template("template.yaml");
    let mut count = 0;
    for function in resources(&template).values().filter(|of| of["Type"] == "AWS::Serverless::Function") {
        let binary = function["Metadata"]["BuildProperties"]["Binary"].as_str().expect("a binary");
        let family = binary.strip_prefix("lyceum-").expect("a family's");
        let name = family[..1].to_uppercase() + &family[1..];
        let preference = &function["Properties"]["DeploymentPreference"];
        let alarms = ["Errors", "Duration", "DeadLetters", "RetryLater"];
        let wanted = alarms.map(|alarm| json!({"Fn::GetAtt": format!("{name}Alarms.Outputs.{alarm}")}));
        assert_eq!(preference["Alarms"], json!(wanted), "{family}");
        assert_eq!(preference["Role"], json!({"Fn::GetAtt": format!("{name}Role.Outputs.DeploymentArn")}), "{family}");
        let alarm = deployed(&[]).nested(&format!("{name}Alarms")).properties("RetryLater").expect("an alarm");
        let dimensions = json!([{"Name": "family", "Value": family}, {"Name": "outcome", "Value": "retry_later"}]);
        assert_eq!((&alarm["MetricName"], &alarm["Dimensions"]), (&json!("lyceum_events_total"), &dimensions));
        assert_eq!(alarm["Namespace"], deployed(&[]).variables()["METRICS_NAMESPACE"]);
        let noisy = deployed(&[("ToleratedLetters", "5")]).nested(&format!("{name}Alarms"));
        assert_eq!(noisy.properties("DeadLetters").expect("an alarm")["Threshold"], 5);
        count += 1;
    }
    assert_eq!(count, REGISTRY.len());
}

#[test]
fn a_time_out_is_one_that_mappings_of_kafka_take_and_its_alarm_rings_before() {
    let template = template("template.yaml");
    for seconds in template["Parameters"]["TimeoutSeconds"]["AllowedValues"].as_array().expect("a list") {
        let seconds = seconds.as_u64().expect("a number");
        assert!(seconds <= 14 * 60, "AWS: mappings of Kafka take functions of 14 minutes at most");
        let deployed = deployed(&[("TimeoutSeconds", &seconds.to_string())]);
        let alarm = deployed.nested("TrainingAlarms").properties("Duration").expect("an alarm");
        assert_eq!(alarm["Threshold"], seconds * 800);
    }
}

#[test]
fn a_table_that_is_there_takes_the_place_of_the_stacks_own() {
    let own = deployed(&[]);
    let ledger = own.properties("Ledger").expect("a table");
    assert_eq!(ledger["DeletionProtectionEnabled"], "true");
    assert_eq!(own.variables()["DYNAMODB_TABLE"], "<Ledger>");
    let quick = deployed(&[("GradualDeployment", "false")]).properties("Ledger").expect("a table");
    assert_eq!(quick["DeletionProtectionEnabled"], "true", "how a release goes out says nothing of the table");

    let restored = deployed(&[("LedgerTable", "restored")]);
    assert_eq!(restored.properties("Ledger"), None);
    assert_eq!(restored.variables()["DYNAMODB_TABLE"], "restored");
    let mut found = Vec::new();
    statements(&restored.nested("TrainingRole").properties("Role").expect("a role"), &mut found);
    let (_, _, table) = found.iter().find(|(sid, ..)| sid == "UseLedger").expect("a right on the table");
    assert_eq!(table, "arn:aws:dynamodb:eu-central-1:123456789012:table/restored");
}

#[test]
fn the_index_is_made_with_the_shards_and_copies_that_are_asked_for() {
    let variables = deployed(&[("ElasticsearchShards", "6"), ("ElasticsearchReplicas", "2")]).variables();
    assert_eq!((&variables["ELASTICSEARCH_SHARDS"], &variables["ELASTICSEARCH_REPLICAS"]), (&json!(6), &json!(2)));
}

#[test]
fn the_dashboard_finds_what_is_of_this_stack_only() {
    let dashboard = deployed(&[]).nested("Dashboard").properties("Dashboard").expect("a dashboard");
    let body = dashboard["DashboardBody"].as_str().expect("a text");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body}"));
    let mut found = Vec::new();
    texts(&body, &mut found);
    let searches: Vec<_> = found.into_iter().filter_map(|text| text.strip_prefix("SEARCH('{")).collect();
    for search in &searches {
        // AWS: a namespace with other characters than letters and digits stands in quotes.
        let is_ours = search.starts_with("\"Lyceum/academy\",");
        let names = |of: Vec<String>| of.iter().all(|name| search.contains(&format!("\"{name}\"")));
        let functions = || REGISTRY.iter().map(|entry| format!("academy-{}", entry.spec.name)).collect();
        let mappings =
            || stacks("infra/mapping.yaml").iter().map(|name| format!("<{name}.Outputs.MappingId>")).collect();
        let is_lambdas = search.starts_with("AWS/Lambda,FunctionName}") && names(functions())
            || search.starts_with("AWS/Lambda,EventSourceMappingUUID}") && names(mappings());
        assert!(is_ours || is_lambdas, "{search}");
    }
    assert!(searches.len() > 6, "{searches:?}");
}

#[test]
fn every_alarm_stands_in_the_table_of_operations_with_what_to_do() {
    let mut alarms = BTreeSet::new();
    for (_, template) in templates() {
        for alarm in resources(&template).values().filter(|of| of["Type"] == "AWS::CloudWatch::Alarm") {
            let name = alarm["Properties"]["AlarmName"]["Fn::Sub"].as_str().expect("an alarm has a name");
            let name = name.strip_prefix("${FunctionName}-").expect("it begins with the function");
            alarms.insert(name.replace("${Topic}-", "TOPIC-"));
        }
    }
    let rows = table(&text("docs/operations.md"), "alarm");
    let told: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').replace('…', "")).collect();
    let told = told.iter().map(|name| name.trim_start_matches('-').to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(told, alarms);
    assert!(rows.iter().all(|row| row.len() == 3 && !row[2].is_empty()), "each alarm needs what to do");
}
