//! The deployment is what the code and the documents say: a function and mappings for each family, known variables, no
//! secret, and no right that docs/security.md does not explain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use lyceum_functions::functions;
use lyceum_lambda_event::brake;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use deployed::Deployed;
use subscriptions::{Deployable, MARKED};

#[path = "deployed/mod.rs"]
mod deployed;
#[path = "deployed/http.rs"]
mod http;
#[path = "deployed/replay.rs"]
mod replay;
#[path = "deployed/subscriptions.rs"]
mod subscriptions;

/// Templates by their names.
type Files = BTreeMap<String, Value>;

/// What AWS's own libraries read; the tables list the rest.
const READ_BY_AWS: &[&str] = &["AWS_ENDPOINT_URL"];
/// The statements whose actions take no resource: Lambda's documentation has them with `*`, too.
const WITHOUT_RESOURCE: &[&str] = &["JoinNetwork", "ReadSchemas", "SeeNetwork", "SendTraces"];
const TEMPLATES: [&str; 4] = ["template.yaml", "infra/foundation.yaml", "infra/family.yaml", "infra/monitor.yaml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A template as JSON; `!Ref x` is `{"Ref": "x"}`, `!Sub x` is `{"Fn::Sub": "x"}`.
fn template(name: &str) -> Value {
    parsed(name, &text(name))
}

fn parsed(name: &str, text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
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

fn templates() -> [(&'static str, Value); 4] {
    TEMPLATES.map(|name| (name, template(name)))
}

fn files() -> Rc<Files> {
    thread_local! {
        static FILES: Rc<Files> = Rc::new(templates().into_iter().map(|(name, of)| (name.to_owned(), of)).collect());
    }
    FILES.with(Rc::clone)
}

/// The rows of the table whose first column has that head.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let begins = format!("| {head} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&begins)).skip(2);
    let cells = |row: &str| row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn what_the_catalog_says_stands_between_the_marks_of_the_templates() {
    let wanted = subscriptions::written(&files(), &subscriptions::of_the_catalog());
    let update = std::env::var_os("LYCEUM_UPDATE_DOCS").is_some();
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-tests --test capabilities template";
    for file in MARKED {
        if update {
            fs::write(root().join(file), &wanted[file]).expect("a template can be written");
        }
        assert!(text(file) == wanted[file], "{file} is not what the catalog says; write it anew with {advice}");
    }
}

#[test]
fn every_function_has_its_main_its_binary_and_its_stack() {
    let deployed = deployed(&[("MskClusterArn", CLUSTER)]);
    let manifest = text("functions/lambda/Cargo.toml");
    for family in functions().map(|of| of.subscription.name) {
        let main = root().join("functions").join(family).join("src/main.rs");
        assert!(main.exists(), "functions/{family}/src/main.rs is missing");
        let binary = format!("name = \"lyceum-{family}\"\npath = \"../{family}/src/main.rs\"");
        // One that is made of the registry has a manifest of its own.
        let own = fs::read_to_string(root().join(format!("functions/{family}/Cargo.toml"))).unwrap_or_default();
        let is_own = own.contains(&format!("name = \"lyceum-{family}\"\npath = \"src/main.rs\""));
        assert!(is_own || manifest.contains(&binary), "functions/lambda/Cargo.toml has no [[bin]] with\n{binary}");
    }
    let function = &template("infra/family.yaml")["Resources"]["Function"];
    assert_eq!(function["Metadata"]["BuildProperties"]["Binary"], json!({"Ref": "Binary"}));
    let made = deployed.of_type("AWS::CloudFormation::Stack");
    let stacks = made.iter().filter(|(_, of)| of["TemplateURL"] == "infra/family.yaml");
    let binaries: BTreeSet<&str> =
        stacks.map(|(_, of)| of["Parameters"]["Binary"].as_str().expect("a binary")).collect();
    let wanted: Vec<String> = functions().map(|of| format!("lyceum-{}", of.subscription.name)).collect();
    assert_eq!(binaries, wanted.iter().map(String::as_str).collect());
}

#[test]
fn what_has_an_artifact_is_in_no_loop() {
    // SAM builds the functions of a loop once, and does not follow the template of a stack in one.
    for (name, template) in templates() {
        for (turn, of) in resources(&template).iter().filter(|(name, _)| name.starts_with("Fn::ForEach::")) {
            for resource in of[2].as_object().expect("a loop has a body").values() {
                let kind = resource["Type"].as_str().expect("a resource has a type");
                let has_none = !kind.starts_with("AWS::Serverless::") && kind != "AWS::CloudFormation::Stack";
                assert!(has_none, "{name}: {turn} goes over {kind}");
            }
        }
    }
}

#[test]
fn every_topic_of_a_subscription_has_one_mapping_to_its_functions_alias() {
    let deployed = deployed(&[("MskClusterArn", CLUSTER)]);
    for of in subscriptions::of_the_catalog() {
        let family = deployed.nested(&of.id());
        let mappings = family.of_type("AWS::Lambda::EventSourceMapping");
        // A mapping goes to the alias, which a deployment moves.
        assert!(mappings.iter().all(|(_, mapping)| mapping["FunctionName"] == "<Function.Alias>"), "{}", of.name);
        assert_eq!(
            family.properties("Function").expect("a function")["FunctionName"],
            json!(format!("academy-{}", of.name))
        );
        let topics: Vec<&str> =
            mappings.iter().map(|(_, mapping)| mapping["Topics"][0].as_str().expect("a topic")).collect();
        assert_eq!(
            topics.iter().collect::<BTreeSet<_>>(),
            of.topics.iter().map(String::as_str).collect::<Vec<_>>().iter().collect()
        );
        assert_eq!(topics.len(), of.topics.len(), "{}: a topic has two mappings", of.name);
    }
}

#[test]
fn a_functions_role_reads_the_topics_of_its_family_and_the_ledger_only_where_it_keeps_state() {
    let deployed = deployed(&[("MskClusterArn", CLUSTER)]);
    let begins = "arn:aws:kafka:eu-central-1:123456789012:topic/academy/1-2/";
    for of in subscriptions::of_the_catalog() {
        let found = rights(&deployed.nested(&of.id()));
        assert_eq!(found.contains_key("UseLedger"), of.keeps_state, "{}", of.name);
        let topics = |right: &str| -> BTreeSet<String> {
            let mut arns = Vec::new();
            found[right].iter().for_each(|resource| texts(resource, &mut arns));
            arns.iter().map(|arn| arn.strip_prefix(begins).expect("a topic of the cluster").to_owned()).collect()
        };
        assert_eq!(topics("ReadSourceTopic"), of.topics.iter().cloned().collect(), "{}", of.name);
        assert_eq!(topics("WriteLetters"), of.letters.iter().cloned().collect(), "{}", of.name);
        let follow_ups = if found.contains_key("WriteFollowUps") { topics("WriteFollowUps") } else { BTreeSet::new() };
        assert_eq!(follow_ups, of.publishes.iter().cloned().collect(), "{}", of.name);
    }
}

#[test]
fn every_variable_that_means_something_to_a_function_can_be_set() {
    let template = template("infra/family.yaml");
    let settable = variables_of(&template);
    let told = |name: &str| settable.keys().any(|of| of == name);
    let missing: Vec<_> = lyceum::config::variables()
        .map(|of| of.name)
        .filter(|name| !told(name) && !NOT_OF_A_FUNCTION.contains(name))
        .collect();
    assert!(missing.is_empty(), "Variables in infra/family.yaml cannot set {missing:?}");
    let given = "KAFKA_TIMEOUT_MS=20000;RETRY_ATTEMPTS=5";
    let variables = deployed(&[("MskClusterArn", CLUSTER), ("Variables", given)]).nested("Survey").variables();
    assert_eq!((&variables["KAFKA_TIMEOUT_MS"], &variables["RETRY_ATTEMPTS"]), (&json!("20000"), &json!("5")));
    assert_eq!(variables["DYNAMODB_TIMEOUT_MS"], "", "what is empty has the program's own default");
    let pattern = self::template("template.yaml")["Parameters"]["Variables"]["AllowedPattern"].clone();
    let of_pattern =
        pattern.as_str().and_then(|of| of.strip_prefix("^((")?.split(')').next()).expect("names").split('|');
    let packed =
        settable.iter().filter(|(_, value)| value.to_string().contains("${Variables}")).map(|(name, _)| name.as_str());
    assert_eq!(of_pattern.collect::<BTreeSet<_>>(), packed.collect());
}

/// The variables of a function as its template has them.
fn variables_of(template: &Value) -> &Map<String, Value> {
    let function = &template["Resources"]["Function"]["Properties"];
    function["Environment"]["Variables"].as_object().expect("a function has variables")
}

#[test]
fn every_variable_of_a_function_is_in_a_table() {
    let known: BTreeSet<&str> =
        lyceum::config::variables().map(|variable| variable.name).chain(READ_BY_AWS.iter().copied()).collect();
    let template = template("infra/family.yaml");
    let variables = variables_of(&template);
    let unknown: Vec<_> = variables.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(variables.len() > 10 && unknown.is_empty(), "in no table of variables: {unknown:?}");
}

#[test]
fn a_private_authority_and_a_clients_certificate_reach_poller_and_function_alike() {
    let (root, family) = (template("template.yaml"), template("infra/family.yaml"));
    let variables = variables_of(&family);
    assert_eq!(variables["KAFKA_CA_SECRET_ARN"]["Ref"], "KafkaCaSecretArn");
    assert_eq!(variables["ELASTICSEARCH_CA_SECRET_ARN"]["Ref"], "ElasticsearchCaSecretArn");
    let only_where =
        |condition: &str| json!({"Fn::If": [condition, {"Ref": "KafkaSecretArn"}, {"Ref": "AWS::NoValue"}]});
    assert_eq!(variables["KAFKA_CERTIFICATE_SECRET_ARN"], only_where("UsesCertificate"));
    assert_eq!(variables["KAFKA_SASL_SECRET_ARN"], only_where("UsesPassword"));
    let mapping = &family["Resources"]["Fn::ForEach::Reading"][2]["${id}Mapping"];
    let access = mapping["Properties"]["SourceAccessConfigurations"].to_string();
    for (kind, secret) in
        [("SERVER_ROOT_CA_CERTIFICATE", "KafkaCaSecretArn"), ("CLIENT_CERTIFICATE_TLS_AUTH", "KafkaSecretArn")]
    {
        let wanted = json!({"Type": kind, "URI": {"Ref": secret}}).to_string();
        assert!(access.contains(&wanted), "infra/family.yaml lacks {wanted}");
    }
    for role in resources(&root).values().filter(|of| of["Properties"]["TemplateURL"] == "infra/family.yaml") {
        for parameter in ["KafkaSecretArn", "KafkaCaSecretArn", "ElasticsearchCaSecretArn"] {
            assert_eq!(role["Properties"]["Parameters"][parameter]["Ref"], parameter);
        }
    }
}

#[test]
fn no_template_holds_a_secret() {
    let words = ["password", "secret", "api_key", "apikey", "token"];
    for (name, template) in templates() {
        let variables = &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
        for (variable, value) in variables.as_object().into_iter().flatten() {
            // How many tokens is a number.
            let name_of = variable.to_lowercase();
            let is_of_a_secret = !name_of.ends_with("_tokens") && words.iter().any(|word| name_of.contains(word));
            // `!If [WHETHER, !Ref PARAMETER, !Ref AWS::NoValue]` gives a parameter or nothing.
            let given = value["Fn::If"].get(1).unwrap_or(value);
            let is_arn = variable.ends_with("_ARN") && given["Ref"].is_string();
            assert!(!is_of_a_secret || is_arn, "{name}: {variable} must be the ARN of a secret, by a parameter");
        }
        for (parameter, of) in template["Parameters"].as_object().into_iter().flatten() {
            let is_of_a_secret = words.iter().any(|word| parameter.to_lowercase().contains(word));
            let is_empty_arn = (parameter.ends_with("Arn") || parameter.ends_with("Arns"))
                && matches!(of["Default"].as_str(), None | Some(""));
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
            // A bucket's policy denies, and allows nothing.
            let is_right = of.get("Effect").is_none_or(|effect| effect == "Allow");
            if let (Some(sid), Some(resource), true) = (of.get("Sid"), of.get("Resource"), is_right) {
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
        let within = [":log-group:/aws/lambda/${Name}:*", "}/*", "${ConsumerGroup}-${Family}-*", ":alarm:${Name}-*"];
        let is_known = |part: &&&str| within.iter().any(|end| part.ends_with(end));
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
    for environment in ["dev", "prod"] {
        let file = format!("infra/env/{environment}.yaml");
        assert!(config.contains(&format!("parameter_overrides = [\"file://{file}\"]")), "samconfig.toml lacks {file}");
        let values = template(&file);
        let values = values.as_object().expect("names and values");
        assert_eq!(values.keys().next().map(String::as_str), Some("$include"), "{file}: the defaults come first");
        let given: Vec<(&str, String)> = values
            .iter()
            .filter(|(name, _)| *name != "$include")
            .map(|(name, value)| (name.as_str(), value.as_str().expect("a text, in quotes").to_owned()))
            .collect();
        let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(deployed(&given).broken_rules(), [""; 0], "{file}");
    }
}

#[test]
fn the_file_of_defaults_is_the_templates_own() {
    let file = "infra/env/defaults.yaml";
    let template = template("template.yaml");
    let parameters = template["Parameters"].as_object().expect("a template has parameters");
    let mut lines: Vec<String> = parameters
        .iter()
        .filter(|(_, of)| !of["Default"].is_null())
        .map(|(name, of)| {
            let value = of["Default"].as_str().map_or_else(|| of["Default"].to_string(), str::to_owned);
            format!("{name}: \"{value}\"\n")
        })
        .collect();
    lines.sort();
    let head = "# The defaults of template.yaml, written by its test. A deployment names them all, or what a stack was once given would stay.\n";
    let wanted = head.to_owned() + &lines.concat();
    if std::env::var_os("LYCEUM_UPDATE_DOCS").is_some() {
        fs::write(root().join(file), &wanted).expect("it can be written");
    }
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-tests --test capabilities template";
    assert!(text(file) == wanted, "{file} is not what the template says; write it anew with {advice}");
}

/// What every deployment is given.
const PLACE: &[(&str, &str)] =
    &[("BootstrapServers", "b-1.example:9098,b-2.example:9098"), ("ElasticsearchUrl", "https://search.example")];
/// What only a function on one machine, or nothing in a function, reads.
const NOT_OF_A_FUNCTION: &[&str] = &[
    // A stack has the function or not.
    "AUDIT",
    // Lambda sets it.
    "AWS_XRAY_DAEMON_ADDRESS",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "CLAUDE_API_KEY",
    "ALERT_AFTER_SECONDS",
    "ALERT_CPU_PERCENT",
    "ALERT_DEAD_LETTERS",
    "ALERT_ERROR_PERCENT",
    "ALERT_LAG_SECONDS",
    "ALERT_SILENT_SECONDS",
    "ALERT_MEMORY_PERCENT",
    "ALERT_WEBHOOK_URL",
    "API_TOKENS",
    // Of the functions behind HTTP.
    "API_TOKENS_SECRET_ARN",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "BATCH_SIZE",
    "DEBUG",
    "ELASTICSEARCH_API_KEY",
    "ELASTICSEARCH_CA_FILE",
    "ELASTICSEARCH_CA_PEM",
    "ELASTICSEARCH_PASSWORD",
    // It stores one batch at a time.
    "ELASTICSEARCH_REFRESH_MS",
    "ELASTICSEARCH_USERNAME",
    "KAFKA_GROUP_ID",
    "KAFKA_REPLICATION_FACTOR",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SSL_CA_LOCATION",
    "KAFKA_SSL_CA_PEM",
    "KAFKA_SSL_CERTIFICATE_LOCATION",
    "KAFKA_SSL_CERTIFICATE_PEM",
    "KAFKA_SSL_KEY_LOCATION",
    "KAFKA_SSL_KEY_PASSWORD",
    "KAFKA_SSL_KEY_PEM",
    "SCHEMA_REGISTRY_CA_FILE",
    "SCHEMA_REGISTRY_CA_PEM",
    "SCHEMA_REGISTRY_PASSWORD",
    "SCHEMA_REGISTRY_TOKEN",
    "SCHEMA_REGISTRY_USERNAME",
    "LYCEUM_DATA",
    "LYCEUM_TOKEN",
    "WINDOW_SIZE_MS",
    "WORKERS",
];
const CLUSTER: &str = "arn:aws:kafka:eu-central-1:123456789012:cluster/academy/1-2";
const DOMAIN: &str = "arn:aws:es:eu-central-1:123456789012:domain/academy";
const COLLECTION: &str = "arn:aws:aoss:eu-central-1:123456789012:collection/07tjusf2h91cunochc";
const REGISTRY: &str = "arn:aws:glue:eu-central-1:123456789012:registry/academy";
const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_lyceum";
const CA: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:authority";
const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1";
const OTHER_KEYS: &str = "arn:aws:kms:eu-central-1:123456789012:key/2,arn:aws:kms:eu-central-1:123456789012:key/3";
const SERVERLESS: &str = "arn:aws:kafka:eu-central-1:123456789012:cluster/academy/1-2-s3";
const BUCKET: &str = "arn:aws:s3:::academy-failed";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:failed";

fn deployed(given: &[(&str, &str)]) -> Deployed {
    Deployed::new(files(), "template.yaml", &with_place(given))
}

/// The last of two values counts.
fn with_place<'a>(given: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [PLACE, given].concat()
}

/// Every subscription's stack.
fn families(deployed: &Deployed) -> Vec<(Deployable, Deployed)> {
    subscriptions::of_the_catalog().into_iter().map(|of| (of.clone(), deployed.nested(&of.id()))).collect()
}

/// The statements of a subscription's function, by name, with their resources.
fn rights(family: &Deployed) -> BTreeMap<String, Vec<Value>> {
    let mut found = Vec::new();
    statements(&family.properties("Role").expect("a function has a role"), &mut found);
    family.of_type("AWS::IAM::Policy").iter().for_each(|(_, policy)| statements(policy, &mut found));
    let mut rights: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    found.into_iter().for_each(|(sid, _, resource)| rights.entry(sid).or_default().push(resource));
    rights
}

/// One way to deploy.
struct Way {
    given: &'static [(&'static str, &'static str)],
    /// Of the function of surveys, beside `ALWAYS`.
    rights: &'static [&'static [&'static str]],
    /// How its mappings reach Kafka.
    access: &'static [(&'static str, &'static str)],
    /// How the function does.
    security: &'static str,
}

const ALWAYS: &[&str] = &["UseLedger", "WriteOwnLog"];
const MSK: &[&str] = &["FindCluster", "ListScramSecrets"];
const IAM: &[&str] = &["ConnectToCluster", "ReadSourceTopic", "UseConsumerGroup", "WriteLetters"];
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
            ("SecretsKeyArns", OTHER_KEYS),
            ("OnFailureDestination", "kafka://nlj.failed"),
        ],
        rights: &[MSK, NETWORK, &["ReadKafkaSecret", "UseKey", "UseSecretsKeys"]],
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
        given: &[("KafkaAuthentication", "NONE"), ("OpenSearchArn", DOMAIN)],
        rights: &[&["UseDomain"]],
        access: &[],
        security: "SSL",
    },
    Way {
        given: &[("KafkaAuthentication", "NONE"), ("OpenSearchArn", COLLECTION)],
        rights: &[&["UseCollection"]],
        access: &[],
        security: "SSL",
    },
    Way {
        given: &[("MskServerlessArn", SERVERLESS), ("Tracing", "Active"), ("Spans", "xray")],
        rights: &[MSK, IAM, NETWORK, &["SendTraces"]],
        access: &[],
        security: "SASL_SSL",
    },
    Way {
        given: &[
            ("KafkaAuthentication", "NONE"),
            ("Spans", "otlp"),
            ("OtlpEndpoint", "https://collector.example"),
            ("OtlpSecretArn", SECRET),
        ],
        rights: &[&["ReadOtlpSecret"]],
        access: &[],
        security: "SSL",
    },
    Way {
        given: &[
            ("KafkaAuthentication", "PLAIN"),
            ("KafkaSecretArn", SECRET),
            ("OnFailureDestination", QUEUE),
            ("DestinationKeyArn", KEY),
        ],
        rights: &[&["ReadKafkaSecret", "SendFailedBatches", "UseDestinationKey"]],
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
        let family = deployed.nested("Survey");
        let wanted = way.rights.concat().into_iter().chain(ALWAYS.iter().copied()).map(str::to_owned).collect();
        let found: BTreeSet<String> = rights(&family).into_keys().collect();
        assert_eq!(found, wanted, "{:?}", way.given);
        let stateless: BTreeSet<String> = rights(&deployed.nested("Statement")).into_keys().collect();
        let less: Vec<_> = found.difference(&stateless).collect();
        assert_eq!(less, ["UseLedger"], "{:?}", way.given);
        let is_gradual = !way.given.contains(&("GradualDeployment", "false"));
        let mut found = Vec::new();
        let deployment = family.properties("Deployment");
        deployment.iter().for_each(|role| statements(role, &mut found));
        let names: Vec<&str> = found.iter().map(|(sid, ..)| sid.as_str()).collect();
        let wanted: &[&str] = if is_gradual { &["MoveAlias", "SeeAlarms"] } else { &[] };
        assert_eq!(names, wanted, "{:?}", way.given);
    }
}

#[test]
fn function_and_mappings_reach_kafka_as_the_parameters_say() {
    for way in WAYS {
        let given = |name| way.given.iter().find(|(of, _)| *of == name).map(|(_, value)| *value);
        let login = given("KafkaAuthentication").unwrap_or("IAM");
        for (of, family) in families(&deployed(way.given)) {
            let at = format!("{}, {:?}", of.name, way.given);
            let variables = family.variables();
            assert_eq!(variables["KAFKA_SECURITY_PROTOCOL"], way.security, "{at}");
            assert_eq!(variables["AWS_MSK_IAM"], if login == "IAM" { "true" } else { "false" }, "{at}");
            let mechanism = ["IAM", "NONE"].contains(&login).then_some(Value::Null).unwrap_or(json!(login));
            assert_eq!(variables["KAFKA_SASL_MECHANISM"], mechanism, "{at}");
            for (_, mapping) in family.of_type("AWS::Lambda::EventSourceMapping") {
                let access = way.access.iter().map(|(kind, of)| json!({"Type": kind, "URI": of})).collect::<Vec<_>>();
                let access = if access.is_empty() { Value::Null } else { json!(access) };
                assert_eq!(mapping["SourceAccessConfigurations"], access, "{at}");
                let cluster = given("MskClusterArn").or(given("MskServerlessArn"));
                assert_eq!(mapping["EventSourceArn"], cluster.map_or(Value::Null, |of| json!(of)), "{at}");
                let of_brokers = ["SelfManagedEventSource", "SelfManagedKafkaEventSourceConfig"];
                assert!(mapping["AmazonManagedKafkaEventSourceConfig"].is_null() == cluster.is_none(), "{at}");
                assert!(of_brokers.iter().all(|of| mapping[of].is_null() == cluster.is_some()), "{at}");
                let filter = given("FilterPattern").map_or(Value::Null, |of| json!({"Filters": [{"Pattern": of}]}));
                assert_eq!(mapping["FilterCriteria"], filter, "{at}");
                let key = given("FilterPattern").and(given("KmsKeyArn")).map_or(Value::Null, |of| json!(of));
                assert_eq!(mapping["KmsKeyArn"], key, "{at}");
                // It is there before the mapping reads.
                assert_eq!(mapping["Tags"].is_array(), login == "IAM", "{at}");
            }
        }
    }
}

#[test]
fn a_mapping_gives_nothing_up_without_a_destination_and_by_age_with_one() {
    for way in WAYS {
        let destination = way.given.iter().find(|(name, _)| *name == "OnFailureDestination").map(|(_, value)| *value);
        for (of, family) in families(&deployed(way.given)) {
            for (name, mapping) in family.of_type("AWS::Lambda::EventSourceMapping") {
                let at = format!("{}, {name}, {:?}", of.name, way.given);
                assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
                assert_eq!(mapping["BisectBatchOnFunctionError"], true);
                assert!(mapping["ProvisionedPollerConfig"].is_object(), "what follows needs provisioned pollers");
                // With a destination, AWS takes -1 attempts for 10.
                let (attempts, age) =
                    if destination.is_some() { (json!(MOST_ATTEMPTS), json!("-1")) } else { (json!(-1), json!(-1)) };
                assert_eq!(mapping["MaximumRetryAttempts"], attempts, "{at}");
                assert_eq!(mapping["MaximumRecordAgeInSeconds"], age, "{at}");
                let config = destination.map_or(Value::Null, |of| json!({"OnFailure": {"Destination": of}}));
                assert_eq!(mapping["DestinationConfig"], config, "{at}");
            }
        }
    }
    let aged =
        deployed(&[("MskClusterArn", CLUSTER), ("OnFailureDestination", BUCKET), ("MaximumRecordAgeSeconds", "86400")]);
    let mapping = aged.nested("Survey").properties("SurveyResponsesMapping").expect("a mapping");
    assert_eq!(mapping["MaximumRecordAgeInSeconds"], "86400");
}

/// What AWS takes at most, and the templates name.
const MOST_ATTEMPTS: u32 = 10_000;

#[test]
fn the_table_of_how_long_an_outage_may_last_is_reckoned_from_the_template_and_a_weekend_holds() {
    let template = template("template.yaml");
    let limits = template["Parameters"]["TimeoutSeconds"]["AllowedValues"].as_array().expect("a list");
    let mut table =
        "| `TimeoutSeconds` | an answer is held for at most | the attempts last |\n|---|---|---|\n".to_owned();
    for seconds in limits.iter().map(|of| of.as_u64().expect("a number")) {
        let limit = Duration::from_secs(seconds);
        let lasts = brake::lasts(MOST_ATTEMPTS, limit);
        // From Friday evening to Monday morning.
        assert!(lasts > Duration::from_secs(64 * 3_600), "{seconds}");
        let default = if template["Parameters"]["TimeoutSeconds"]["Default"] == seconds { ", the default" } else { "" };
        let (held, days) = ((limit - brake::LEFT_FOR_ANSWERING).as_secs(), lasts.as_secs_f64() / 86_400.0);
        table += &format!("| {seconds}{default} | {held} s | {days:.1} days |\n");
    }
    let (begin, end) = ("<!-- begin outage table -->\n\n", "\n<!-- end outage table -->");
    let operations = text("docs/operations.md");
    let (before, rest) = operations.split_once(begin).expect("the table has its marks");
    let (found, after) = rest.split_once(end).expect("the table has its marks");
    if std::env::var_os("LYCEUM_UPDATE_DOCS").is_some() {
        fs::write(root().join("docs/operations.md"), format!("{before}{begin}{table}{end}{after}"))
            .expect("it is written");
        return;
    }
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-tests --test capabilities template";
    assert!(found == table, "docs/operations.md is not what the template says; write it anew with {advice}");
}

#[test]
fn a_bucket_of_the_stacks_own_takes_what_is_given_up() {
    let given = [("MskClusterArn", CLUSTER), ("OnFailureDestination", "own")];
    let deployed = deployed(&given);
    let bucket = deployed.nested("Foundation").properties("Failed").expect("a bucket");
    assert_eq!(bucket["PublicAccessBlockConfiguration"]["BlockPublicPolicy"], true);
    // Of no account but this one, should somebody else make a bucket of that name.
    let family = self::deployed(&[("MskClusterArn", CLUSTER), ("OnFailureDestination", BUCKET)]).nested("Survey");
    let role = family.properties("Role").expect("a role").to_string();
    assert_eq!(role.matches(r#"{"StringEquals":{"s3:ResourceAccount":"123456789012"}}"#).count(), 2, "{role}");
    let none = self::deployed(&[("MskClusterArn", CLUSTER)]).nested("Foundation");
    assert_eq!(none.properties("Failed"), None);
}

#[test]
fn each_mapping_has_alarms_that_ring_where_it_does_not_poll_commit_or_deliver() {
    let of_mapping = |given: &[(&str, &str)]| -> BTreeMap<String, Value> {
        let family = deployed(&[&[("MskClusterArn", CLUSTER)], given].concat()).nested("Training");
        let own = json!([{"Name": "EventSourceMappingUUID", "Value": "<TrainingProgramsMapping>"}]);
        let alarms =
            family.of_type("AWS::CloudWatch::Alarm").into_iter().filter(|(_, alarm)| alarm["Dimensions"] == own);
        let by_metric = |alarm: Value| (alarm["MetricName"].as_str().expect("a metric").to_owned(), alarm);
        alarms.map(|(_, alarm)| by_metric(alarm)).collect()
    };
    let always = ["CommitErrorCount", "DroppedEventCount", "PollingErrorCount"];
    let giving_up = ["OnFailureDestinationDeliveredEventCount", "OnFailureDestinationDeliveryErrorCount"];
    let names = |alarms: &BTreeMap<String, Value>| alarms.keys().cloned().collect::<BTreeSet<_>>();
    let wanted = |of: &[&[&str]]| of.concat().into_iter().map(str::to_owned).collect::<BTreeSet<_>>();

    let alarms = of_mapping(&[("OnFailureDestination", BUCKET)]);
    assert_eq!(names(&alarms), wanted(&[&always, &giving_up, &["PolledEventCount"]]));
    // Where Lambda polls it counts, if only 0: what rings is that it counts nothing.
    let silent = &alarms["PolledEventCount"];
    let judged = ["TreatMissingData", "ComparisonOperator", "Threshold"].map(|of| silent[of].clone());
    assert_eq!(judged, [json!("breaching"), json!("LessThanThreshold"), json!(0)]);
    assert_eq!(names(&of_mapping(&[])), wanted(&[&always, &["PolledEventCount"]]));
    // A mapping that is disabled polls nothing, and no mapping has no alarm.
    assert_eq!(names(&of_mapping(&[("Consuming", "false")])), wanted(&[&always]));
    assert_eq!(names(&of_mapping(&[("Consuming", "none")])), wanted(&[]));

    let family = deployed(&[("MskClusterArn", CLUSTER)]).nested("Training");
    let mapping = family.properties("TrainingProgramsMapping").expect("a mapping");
    // What the alarms watch is counted where it is asked for, and what goes wrong is told in the function's log.
    assert_eq!(mapping["MetricsConfig"]["Metrics"], json!(["EventCount", "ErrorCount", "KafkaMetrics"]));
    assert_eq!(mapping["LoggingConfig"], json!({"SystemLogLevel": "WARN"}));
}

#[test]
fn the_alarm_of_a_lag_watches_the_functions_own_seconds() {
    for (of, family) in families(&deployed(&[("MskClusterArn", CLUSTER), ("LargestLagSeconds", "90")])) {
        let alarm = family.properties("Lag").expect("an alarm");
        let watched = ["Namespace", "MetricName", "Statistic", "Threshold"].map(|name| alarm[name].clone());
        let wanted = [json!("Lyceum/academy"), json!("lyceum_consumer_lag_seconds"), json!("Maximum"), json!(90)];
        assert_eq!(watched, wanted, "{}", of.name);
        assert_eq!(alarm["Dimensions"], json!([{"Name": "subscription", "Value": of.name}]));
    }
}

#[test]
fn mappings_decode_avro_by_a_registry_where_that_is_asked_for_and_never_without_a_destination() {
    let url = "https://registry.example";
    let glue = &[("MskClusterArn", CLUSTER), ("GlueRegistryArn", REGISTRY)][..];
    let confluent = &[
        ("MskClusterArn", CLUSTER),
        ("SchemaRegistryUrl", url),
        ("SchemaRegistrySecretArn", SECRET),
        ("SchemaRegistryCaSecretArn", CA),
    ][..];
    let decodes = &[("SchemaRecordFormat", "SOURCE"), ("OnFailureDestination", BUCKET)][..];
    let access = json!([{"Type": "BASIC_AUTH", "URI": SECRET}, {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": CA}]);
    let of_glue = &["FindSchemaRegistry", "ReadSchemas"][..];
    let of_confluent = &["ReadSchemaRegistryCa", "ReadSchemaRegistrySecret"][..];
    for (given, place, access, wanted) in
        [(glue, REGISTRY, Value::Null, of_glue), (confluent, url, access, of_confluent)]
    {
        for decodes in [&[][..], decodes] {
            let deployed = deployed(&[given, decodes].concat());
            assert_eq!(deployed.broken_rules(), [""; 0], "{given:?}");
            for (of, family) in families(&deployed) {
                let at = format!("{}, {given:?}, {decodes:?}", of.name);
                assert_eq!(family.broken_rules(), [""; 0], "{at}");
                let rights = rights(&family);
                let schemas: Vec<&str> = rights.keys().map(String::as_str).filter(|of| of.contains("Schema")).collect();
                assert_eq!(schemas, if of.reads_avro { wanted } else { &[] }, "{at}");
                assert_eq!(family.variables()["SCHEMA_REGISTRY_URL"], if of.reads_avro { place } else { "" }, "{at}");
                let mappings = family.of_type("AWS::Lambda::EventSourceMapping");
                assert_eq!(mappings.len(), of.topics.len(), "{at}");
                for (_, mapping) in mappings {
                    let of_source = ["AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"];
                    let configs = of_source.map(|source| mapping[source]["SchemaRegistryConfig"].clone());
                    let config = configs.into_iter().find(|config| !config.is_null()).unwrap_or_default();
                    if !of.reads_avro || decodes.is_empty() {
                        assert!(config.is_null(), "{at}: {config}");
                        continue;
                    }
                    assert_eq!(config["SchemaRegistryURI"], place, "{at}");
                    assert_eq!(config["EventRecordFormat"], "SOURCE", "{at}");
                    assert_eq!(config["SchemaValidationConfigs"], json!([{"Attribute": "VALUE"}]), "{at}");
                    assert_eq!(config["AccessConfigs"], access, "{at}");
                    assert!(!mapping["ProvisionedPollerConfig"]["MinimumPollers"].is_null(), "{at}: {mapping}");
                    assert_eq!(mapping["DestinationConfig"]["OnFailure"]["Destination"], BUCKET, "{at}");
                }
            }
        }
    }
    let own = [glue, decodes, &[("LearningSettings", "OnFailureDestination=")]].concat();
    let learning = deployed(&own).nested("Learning");
    let broken = learning.broken_rules();
    assert!(
        matches!(&*broken, [one] if one.starts_with("SchemaRecordFormat needs OnFailureDestination.")),
        "{broken:?}"
    );
}

#[test]
fn mappings_can_be_paused_or_left_out_and_their_groups_stay() {
    let of = |consuming: &str| deployed(&[("MskClusterArn", CLUSTER), ("Consuming", consuming)]);
    for (consuming, is_enabled) in [("true", true), ("false", false)] {
        let mapping = of(consuming).nested("Survey").properties("SurveyResponsesMapping").expect("a mapping");
        assert_eq!(mapping["Enabled"], is_enabled);
        assert_eq!(mapping["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"], "lyceum-survey");
    }
    let without = of("none");
    for (_, family) in families(&without) {
        assert_eq!(family.of_type("AWS::Lambda::EventSourceMapping"), []);
        assert!(family.properties("Function").is_some());
    }
    assert_eq!(without.nested("Survey").output("SurveyResponsesMapping"), "none");
    let one = deployed(&[("MskClusterArn", CLUSTER), ("SurveySettings", "Consuming=none")]);
    assert_eq!(one.nested("Survey").of_type("AWS::Lambda::EventSourceMapping"), []);
    assert_eq!(one.nested("Training").of_type("AWS::Lambda::EventSourceMapping").len(), 3);
}

#[test]
fn a_subscription_may_have_sizes_of_its_own() {
    let filter = r#"FilterPattern={"value":{"verb":[{"exists":true}]}}"#;
    let own = format!(
        "BatchSize=100;MaximumPollers=12;MemoryMegabytes=1024;ReservedConcurrency=30;TimeoutSeconds=300;PollerGroup=hot;{filter};OnFailureDestination={QUEUE};MaximumRecordAgeSeconds=86400"
    );
    let deployed = deployed(&[("MskClusterArn", CLUSTER), ("SurveySettings", &own), ("BatchingWindowSeconds", "5")]);
    let family = deployed.nested("Survey");
    let (mapping, function) = (
        family.properties("SurveyResponsesMapping").expect("a mapping"),
        family.properties("Function").expect("a function"),
    );
    assert_eq!((&mapping["BatchSize"], &mapping["MaximumBatchingWindowInSeconds"]), (&json!(100), &json!(5)));
    let pollers = json!({"MinimumPollers": 1, "MaximumPollers": 12, "PollerGroupName": "hot"});
    assert_eq!(mapping["ProvisionedPollerConfig"], pollers);
    assert_eq!(mapping["FilterCriteria"]["Filters"][0]["Pattern"], r#"{"value":{"verb":[{"exists":true}]}}"#);
    assert_eq!(mapping["DestinationConfig"]["OnFailure"]["Destination"], QUEUE);
    assert_eq!(mapping["MaximumRecordAgeInSeconds"], "86400");
    assert_eq!((&function["MemorySize"], &function["Timeout"]), (&json!(1024), &json!(300)));
    assert_eq!(function["ReservedConcurrentExecutions"], "30");

    // All others share what the stack is given, and the pollers of one group.
    let family = deployed.nested("Training");
    assert!(family.properties("Function").expect("a function")["ReservedConcurrentExecutions"].is_null());
    for (_, mapping) in family.of_type("AWS::Lambda::EventSourceMapping") {
        assert_eq!((&mapping["BatchSize"], &mapping["FilterCriteria"]), (&json!(500), &Value::Null));
        assert_eq!(mapping["ProvisionedPollerConfig"]["PollerGroupName"], "academy");
    }
    let misspelt = Deployed::refusal(files(), "template.yaml", &with_place(&[("SurveySettings", "Bachsize=100")]));
    assert!(misspelt.is_some_and(|told| told.contains("NAME=value")));
}

#[test]
fn parameters_that_cannot_work_together_are_refused() {
    let msk = ("MskClusterArn", CLUSTER);
    let secret = ("KafkaSecretArn", SECRET);
    let is = |how| ("KafkaAuthentication", how);
    let open = ("KafkaEncryption", "false");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "IAM is for MSK."),
        (
            &[("MskServerlessArn", SERVERLESS), secret, is("CLIENT_CERTIFICATE_TLS_AUTH")],
            "MSK Serverless knows IAM only.",
        ),
        (&[("MskServerlessArn", SERVERLESS), is("NONE")], "MSK Serverless knows IAM only."),
        (&[msk, ("MskServerlessArn", SERVERLESS)], "Either MskClusterArn or MskServerlessArn."),
        (&[msk, secret], "IAM and NONE use no KafkaSecretArn."),
        (&[msk, ("SecurityGroupIds", "sg-1")], "SecurityGroupIds are for SubnetIds."),
        (&[msk, ("StartingPosition", "AT_TIMESTAMP")], "AT_TIMESTAMP and StartingTimestamp go together."),
        (&[msk, ("StartingTimestamp", "1772439300")], "AT_TIMESTAMP and StartingTimestamp go together."),
        (&[msk, ("MinimumPollers", "10"), ("MaximumPollers", "8")], "MinimumPollers is more than MaximumPollers."),
        (&[msk, ("MinimumPollers", "200"), ("MaximumPollers", "100")], "MinimumPollers is more than MaximumPollers."),
        (&[msk, ("OnFailureDestination", "kafka://nlj.survey.responses")], "OnFailureDestination is a topic of events"),
        (&[msk, ("OnFailureDestination", "kafka://nlj.errors.database")], "OnFailureDestination is a topic of events"),
        (&[msk, ("DestinationAccount", "210987654321")], "DestinationAccount is of a bucket"),
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
        (&[msk, ("OpenSearchArn", DOMAIN), ("ElasticsearchSecretArn", SECRET)], "OpenSearchArn signs requests."),
        (
            &[msk, ("GlueRegistryArn", REGISTRY), ("SchemaRegistryUrl", "https://registry.example")],
            "Either GlueRegistryArn or SchemaRegistryUrl.",
        ),
        (
            &[msk, ("GlueRegistryArn", REGISTRY), ("SchemaRegistrySecretArn", SECRET)],
            "SchemaRegistrySecretArn and SchemaRegistryCaSecretArn are for SchemaRegistryUrl.",
        ),
        (
            &[msk, ("SchemaRecordFormat", "JSON"), ("OnFailureDestination", BUCKET)],
            "SchemaRecordFormat needs GlueRegistryArn or SchemaRegistryUrl.",
        ),
        (
            &[msk, ("SchemaRecordFormat", "SOURCE"), ("GlueRegistryArn", REGISTRY)],
            "SchemaRecordFormat needs OnFailureDestination.",
        ),
        (&[msk, ("Spans", "xray")], "Spans=xray stand in X-Ray's trace"),
        (&[msk, ("OtlpEndpoint", "http://collector:4318")], "OtlpEndpoint and OtlpSecretArn are for Spans=otlp."),
        (&[msk, ("OtlpSecretArn", SECRET), ("Spans", "none")], "OtlpEndpoint and OtlpSecretArn are for Spans=otlp."),
    ];
    for (given, told) in cases {
        let deployed = deployed(given);
        let broken = deployed.broken_rules();
        assert!(matches!(&*broken, [one] if one.starts_with(told)), "{given:?}: {broken:?}");
    }
}

#[test]
fn a_value_that_cannot_work_is_refused_before_anything_is_made() {
    let eleven = (1..=11).map(|at| format!("b-{at}.example:9098")).collect::<Vec<_>>().join(",");
    let connection = "arn:aws:kafka:eu-central-1:444455556666:vpc-connection/123456789012/academy/1-2";
    for (name, value, told) in [
        ("BootstrapServers", eleven.as_str(), "One to ten"),
        ("BootstrapServers", "b-1.example", "host:port"),
        ("MskClusterArn", connection, "no VPC connection"),
        ("MskClusterArn", SERVERLESS, "MskServerlessArn"),
        ("MskServerlessArn", CLUSTER, "ends with -s"),
        ("MaximumRecordAgeSeconds", "59", "From 60"),
        ("MaximumRecordAgeSeconds", "0", "From 60"),
        ("MaximumRecordAgeSeconds", "604801", "From 60"),
        ("OnFailureDestination", "arn:aws:sqs:eu-central-1:123456789012:failed.fifo", "first in, first out"),
        ("OnFailureDestination", "arn:aws:sns:eu-central-1:123456789012:failed", "Topics of SNS"),
        ("ReservedConcurrency", "0", "-1 for none"),
        ("OpenSearchArn", "arn:aws:es:eu-central-1:123456789012:domain/search/_search", "The ARN of a domain"),
        ("AwsEndpointUrl", "https://elsewhere.example", "every secret"),
        ("OtlpEndpoint", "collector:4318", "http://host:4318"),
        ("Variables", "KAFKA_TIMEOUT=1", "NAME=value"),
        ("SurveySettings", "OnFailureDestination=kafka://nlj.survey.responses", "NAME=value"),
        ("FilterPattern", "a;b", "No semicolons"),
        ("StartingTimestamp", "2026-03-02", "Seconds since 1970"),
    ] {
        let given: Vec<_> = with_place(&[("MskClusterArn", CLUSTER)]).into_iter().chain([(name, value)]).collect();
        let refusal =
            Deployed::refusal(files(), "template.yaml", &given).unwrap_or_else(|| panic!("{name} may be {value}"));
        assert!(refusal.contains(told), "{refusal}");
    }
    for age in ["-1", "60", "99", "100", "86400", "599999", "600000", "604799", "604800"] {
        deployed(&[("MskClusterArn", CLUSTER), ("MaximumRecordAgeSeconds", age)]);
    }
    // Also where a subscription has pollers of its own.
    let family = deployed(&[("MskClusterArn", CLUSTER), ("SurveySettings", "MinimumPollers=12")]).nested("Survey");
    assert_eq!(family.broken_rules(), ["MinimumPollers is more than MaximumPollers."]);
}

#[test]
fn every_mapping_has_a_consumer_group_of_its_own_which_its_functions_role_may_use() {
    let names: Vec<&str> = functions().map(|of| of.subscription.name).collect();
    for (of, family) in families(&deployed(&[("MskClusterArn", CLUSTER)])) {
        let mut groups = BTreeSet::new();
        for (_, mapping) in family.of_type("AWS::Lambda::EventSourceMapping") {
            let group = mapping["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"].as_str().expect("a group");
            let topic = mapping["Topics"][0].as_str().expect("a topic");
            let end = |topic: &str| topic.rsplit('.').next().map(str::to_owned);
            let is_one = of.topics.iter().filter(|other| end(other) == end(topic)).count() == 1;
            let last = end(topic).filter(|_| is_one).unwrap_or_else(|| topic.to_owned());
            let wanted =
                if of.topics.len() == 1 { format!("lyceum-{}", of.name) } else { format!("lyceum-{}-{last}", of.name) };
            assert_eq!(group, wanted, "a group holds offsets: another name would begin again");
            let subscription = functions().find(|known| known.subscription.name == of.name).expect("it is registered");
            let of_container = format!("lyceum-{}", subscription.subscription.mapping_group(topic));
            assert_eq!(group, of_container, "the container goes on where the mapping was");
            assert!(groups.insert(group.to_owned()), "{group} is the group of two mappings");
        }
        let mut arns = Vec::new();
        let found = rights(&family);
        found["UseConsumerGroup"].iter().for_each(|resource| texts(resource, &mut arns));
        let begins = "arn:aws:kafka:eu-central-1:123456789012:group/academy/1-2/lyceum-";
        assert_eq!(arns, [format!("{begins}{}", of.name), format!("{begins}{}-*", of.name)]);
        // Or it might use another one's groups.
        assert!(names.iter().all(|other| !other.starts_with(&format!("{}-", of.name))), "{}", of.name);
    }
}

/// The parameters that a value is made of, conditions among them.
fn parameters_of(template: &Value, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(of) => {
            for (name, value) in of {
                let named = |name: &str| template["Parameters"][name].is_object();
                match (name.as_str(), value.as_str(), value.as_array()) {
                    ("Ref", Some(parameter), _) if named(parameter) => {
                        found.insert(parameter.to_owned());
                    }
                    ("Condition", Some(condition), _) => {
                        parameters_of(template, &template["Conditions"][condition], found)
                    }
                    ("Fn::If", _, Some(of)) => {
                        let condition = of[0].as_str().expect("a condition's name");
                        parameters_of(template, &template["Conditions"][condition], found);
                        of[1..].iter().for_each(|of| parameters_of(template, of, found));
                    }
                    ("Fn::Sub", Some(text), _) => {
                        let names = text.split("${").skip(1).filter_map(|part| part.split('}').next());
                        found.extend(names.filter(|name| named(name)).map(str::to_owned));
                    }
                    _ => parameters_of(template, value, found),
                }
            }
        }
        Value::Array(of) => of.iter().for_each(|of| parameters_of(template, of, found)),
        _ => {}
    }
}

#[test]
fn whatever_a_function_is_made_of_publishes_a_version_and_nothing_else_does() {
    let template = template("infra/family.yaml");
    let function = &template["Resources"]["Function"]["Properties"];
    assert_eq!(function["AutoPublishAliasAllProperties"], true);
    // Lambda would filter once more, at INFO, what LOG_LEVEL lets through.
    assert_eq!(function["LoggingConfig"]["ApplicationLogLevel"], "TRACE");
    let shown = function["Description"]["Fn::If"][1]["Fn::ToJsonString"].as_array().expect("a list");
    let shown: BTreeSet<String> = shown.iter().map(|of| of["Ref"].as_str().expect("a parameter").to_owned()).collect();
    let mut wanted = BTreeSet::new();
    parameters_of(&template, &function["Description"]["Fn::If"][2], &mut wanted);
    let not_of_a_version = ["FunctionName", "Description", "DeploymentPreference", "AutoPublishAlias", "Tags"];
    let properties = function.as_object().expect("properties").iter();
    let of_a_version = properties.filter(|(name, _)| !not_of_a_version.contains(&name.as_str()));
    of_a_version.for_each(|(_, value)| parameters_of(&template, value, &mut wanted));
    wanted.remove("Family");
    assert_eq!(
        shown, wanted,
        "Lambda refuses to publish where nothing changed, and who calls the alias misses what is not published"
    );
    // What a function is called by its text says which release it is.
    let text = deployed(&[("MskClusterArn", CLUSTER), ("Release", "2026-03-02")]).nested("Survey");
    let text = text.properties("Function").expect("a function")["Description"].clone();
    assert_eq!(text, "Lyceum, the subscription survey (release 2026-03-02, reserved concurrency -1)");
}

#[test]
fn a_deployment_goes_back_when_the_new_version_is_worse_than_the_one_before() {
    for (of, family) in families(&deployed(&[("MskClusterArn", CLUSTER)])) {
        let preference = &family.properties("Function").expect("a function")["DeploymentPreference"];
        assert_eq!(preference["Alarms"], json!(["<VersionErrors>", "<VersionSlow>", "<VersionWorse>"]), "{}", of.name);
        assert_eq!(preference["Role"], "<Deployment.Arn>", "{}", of.name);
        for alarm in ["VersionErrors", "VersionSlow", "VersionWorse"] {
            let alarm = family.properties(alarm).expect("an alarm");
            assert!(alarm.to_string().contains("<Function.Version.Version>"), "{alarm}");
            assert!(alarm["AlarmActions"].is_null(), "it judges a deployment, and wakes nobody");
        }
        // A sender's letters and a store's outage are the old version's as well.
        let worse = family.properties("VersionWorse").expect("an alarm").to_string();
        for metric in ["lyceum_events_total", "lyceum_dead_letters_total"] {
            assert_eq!(worse.matches(metric).count() % 2, 0, "of the version, and of all: {worse}");
        }
        let all = family.variables()["METRICS_NAMESPACE"].clone();
        assert_eq!(all, "Lyceum/academy");
        assert_eq!(worse.matches(r#""Namespace":"Lyceum/academy""#).count(), 6, "{worse}");
    }
    let at_once = deployed(&[("MskClusterArn", CLUSTER), ("GradualDeployment", "false")]).nested("Survey");
    assert_eq!(at_once.properties("VersionWorse"), None);
    let noisy = deployed(&[("MskClusterArn", CLUSTER), ("ToleratedLetters", "5")]).nested("Survey");
    assert_eq!(noisy.properties("DeadLetters").expect("an alarm")["Threshold"], 5);
}

#[test]
fn a_time_out_is_one_that_mappings_of_kafka_take_and_its_alarm_rings_before() {
    let template = template("template.yaml");
    for seconds in template["Parameters"]["TimeoutSeconds"]["AllowedValues"].as_array().expect("a list") {
        let seconds = seconds.as_u64().expect("a number");
        assert!(seconds <= 14 * 60, "AWS: mappings of Kafka take functions of 14 minutes at most");
        let deployed = deployed(&[("MskClusterArn", CLUSTER), ("TimeoutSeconds", &seconds.to_string())]);
        let alarm = deployed.nested("Training").properties("Duration").expect("an alarm");
        assert_eq!(alarm["Metrics"][0]["Expression"], format!("100 * all / {seconds}"));
        assert_eq!(alarm["Threshold"], 80);
    }
}

#[test]
fn a_table_that_is_there_takes_the_place_of_the_stacks_own() {
    let msk = ("MskClusterArn", CLUSTER);
    let own = deployed(&[msk]);
    let ledger = own.nested("Foundation").properties("Ledger").expect("a table");
    assert_eq!(ledger["DeletionProtectionEnabled"], "true");
    assert!(ledger["WarmThroughput"].is_null());
    assert_eq!(own.nested("Survey").variables()["DYNAMODB_TABLE"], "<Ledger>");
    let quick = deployed(&[msk, ("GradualDeployment", "false")]).nested("Foundation").properties("Ledger");
    let quick = quick.expect("a table")["DeletionProtectionEnabled"].clone();
    assert_eq!(quick, "true", "how a release goes out says nothing of the table");
    let warm = deployed(&[msk, ("WarmReadUnits", "12000"), ("WarmWriteUnits", "20000")]).nested("Foundation");
    assert_eq!(warm.broken_rules(), [""; 0]);
    let units = json!({"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 20000});
    assert_eq!(warm.properties("Ledger").expect("a table")["WarmThroughput"], units);
    assert_eq!(deployed(&[msk, ("WarmWriteUnits", "20000")]).nested("Foundation").broken_rules().len(), 1);

    let restored = deployed(&[msk, ("LedgerTable", "restored")]);
    assert_eq!(restored.nested("Foundation").properties("Ledger"), None);
    let family = restored.nested("Survey");
    assert_eq!(family.variables()["DYNAMODB_TABLE"], "restored");
    let table = &rights(&family)["UseLedger"];
    assert_eq!(table, &["arn:aws:dynamodb:eu-central-1:123456789012:table/restored"]);
}

#[test]
fn what_holds_data_outlives_the_stack_but_not_a_first_deployment_that_failed() {
    let template = template("infra/foundation.yaml");
    for (name, of) in resources(&template) {
        let holds_data = ["AWS::DynamoDB::Table", "AWS::S3::Bucket"].contains(&of["Type"].as_str().expect("a type"));
        let wanted = if holds_data { json!("RetainExceptOnCreate") } else { Value::Null };
        assert_eq!(of["DeletionPolicy"], wanted, "{name}");
    }
}

#[test]
fn requests_to_the_store_are_signed_for_what_the_arn_names() {
    for (arn, auth, service) in [("", "credentials", "auto"), (DOMAIN, "aws", "es"), (COLLECTION, "aws", "aoss")] {
        let family = deployed(&[("MskClusterArn", CLUSTER), ("OpenSearchArn", arn)]).nested("Survey");
        let variables = family.variables();
        assert_eq!(
            (&variables["ELASTICSEARCH_AUTH"], &variables["ELASTICSEARCH_AWS_SERVICE"]),
            (&json!(auth), &json!(service))
        );
        let rights = rights(&family);
        let wanted = [("UseDomain", "es", format!("{arn}/*")), ("UseCollection", "aoss", arn.to_owned())];
        for (statement, of, resource) in wanted {
            let wanted = (service == of).then(|| vec![json!(resource)]);
            assert_eq!(rights.get(statement).cloned(), wanted, "{statement} with {arn:?}");
        }
    }
}

#[test]
fn the_index_is_made_with_the_shards_and_copies_that_are_asked_for() {
    let given = [("MskClusterArn", CLUSTER), ("ElasticsearchShards", "6"), ("ElasticsearchReplicas", "2")];
    let variables = deployed(&given).nested("Statement").variables();
    assert_eq!((&variables["ELASTICSEARCH_SHARDS"], &variables["ELASTICSEARCH_REPLICAS"]), (&json!(6), &json!(2)));
}

#[test]
fn the_dashboard_shows_what_is_of_this_stack_only() {
    let monitor = deployed(&[("MskClusterArn", CLUSTER)]).nested("Monitor");
    let body = dashboard(&monitor);
    for search in searches(&body) {
        // AWS: a namespace with other characters than letters and digits stands in quotes.
        assert!(search.starts_with("\"Lyceum/academy\","), "{search}");
    }
    let shown = body.to_string();
    for of in subscriptions::of_the_catalog() {
        assert!(shown.contains(&format!("\"academy-{}\"", of.name)), "{}", of.name);
    }
}

/// What a dashboard shows.
fn dashboard(monitor: &Deployed) -> Value {
    let dashboard = monitor.properties("Dashboard").expect("a dashboard");
    let body = dashboard["DashboardBody"].as_str().expect("a text");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body}"))
}

/// Its searches, from behind their first bracket on.
fn searches(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    texts(body, &mut found);
    let searches: Vec<_> =
        found.into_iter().filter_map(|text| text.strip_prefix("SEARCH('{")).map(str::to_owned).collect();
    assert!(searches.len() > 6, "{searches:?}");
    searches
}

#[test]
fn one_alarm_cannot_wait_and_rings_where_events_stand() {
    let topic = "arn:aws:sns:eu-central-1:123456789012:wake";
    let monitor =
        deployed(&[("MskClusterArn", CLUSTER), ("WakeTopicArn", topic), ("TrainingSettings", "Consuming=false")]);
    let wake = monitor.nested("Monitor").properties("Wake").expect("an alarm");
    assert_eq!(wake["AlarmActions"], json!([topic]));
    let rule = wake["AlarmRule"].as_str().expect("a rule");
    let terms: Vec<&str> = rule.split(" OR ").collect();
    // Of what is not to poll there is no alarm to name.
    let mut wanted = vec!["ALARM(\"academy-ledger-throttled\")".to_owned()];
    for subscription in functions().map(|of| of.subscription) {
        let name = subscription.name;
        wanted.push(format!("ALARM(\"academy-{name}-errors\")"));
        match name {
            "training" => wanted.push("FALSE".to_owned()),
            _ => wanted.extend(subscription.topics().map(|topic| format!("ALARM(\"academy-{name}-{topic}-silent\")"))),
        }
    }
    assert_eq!(terms, wanted);
    assert_eq!(deployed(&[("MskClusterArn", CLUSTER)]).nested("Monitor").properties("Wake"), None);
}

#[test]
fn every_alarm_stands_in_the_table_of_operations_with_what_to_do() {
    let given = [
        ("MskClusterArn", CLUSTER),
        ("OnFailureDestination", BUCKET),
        ("WakeTopicArn", "arn:aws:sns:eu-central-1:123456789012:wake"),
    ];
    let deployed = deployed(&given);
    let mut alarms = BTreeSet::new();
    let mut add = |stack: &Deployed, begins: &str, topics: &[String]| {
        let single = stack.of_type("AWS::CloudWatch::Alarm");
        for (_, alarm) in single.into_iter().chain(stack.of_type("AWS::CloudWatch::CompositeAlarm")) {
            let name = alarm["AlarmName"].as_str().expect("an alarm has a name");
            let name = name.strip_prefix(begins).unwrap_or_else(|| panic!("{name} does not begin with {begins}"));
            alarms.insert(topics.iter().fold(name.to_owned(), |name, topic| name.replace(topic, "TOPIC")));
        }
    };
    add(&deployed.nested("Foundation"), "academy-", &[]);
    add(&deployed.nested("Monitor"), "academy-", &[]);
    families(&deployed).iter().for_each(|(of, family)| add(family, &format!("academy-{}-", of.name), &of.topics));
    let rows = table(&text("docs/operations.md"), "alarm");
    // A row may be of several.
    let told = rows.iter().flat_map(|row| row[0].split(", "));
    let told: BTreeSet<String> = told.map(|name| name.trim_matches('`').replace('…', "")).collect();
    let told = told.iter().map(|name| name.trim_start_matches('-').to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(told, alarms);
    assert!(rows.iter().all(|row| row.len() == 3 && !row[2].is_empty()), "each alarm needs what to do");
}

/// As many as are planned, and more: fifteen subscriptions, one of which reads all topics of the platform.
fn fifteen() -> Vec<Deployable> {
    let of = |name: &str, topics: Vec<String>| Deployable {
        name: name.to_owned(),
        topics,
        letters: ["validation", "processing", "database"].map(|end| format!("nlj.errors.{end}")),
        keeps_state: true,
        publishes: None,
        calls: false,
        reads_avro: false,
    };
    let mut all: Vec<Deployable> = (1..=14)
        .map(|at| {
            of(&format!("module{at}"), (0..1 + at % 2).map(|topic| format!("module{at}.events.v{topic}")).collect())
        })
        .collect();
    let topics = all.iter().flat_map(|of| of.topics.clone()).take(16);
    let audited =
        topics.chain((1..=3).map(|at| format!("a.rather.long.name.of.a.topic.such.as.happens.{at}"))).collect();
    all.push(of("audit", audited));
    all
}

#[test]
fn fifteen_subscriptions_of_forty_topics_stay_within_every_limit() {
    let fifteen = fifteen();
    assert!(fifteen.len() == 15 && fifteen.iter().map(|of| of.topics.len()).sum::<usize>() >= 40);
    let mut texts: BTreeMap<&str, String> = TEMPLATES.iter().map(|name| (*name, text(name))).collect();
    texts.extend(subscriptions::written(&files(), &fifteen));
    // SAM's own code looks at these, too: .ci/expand.py.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fifteen");
    for (name, text) in &texts {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder");
        fs::write(file, text).expect("a template can be written");
    }
    fs::create_dir_all(folder.join("functions/lambda")).expect("a folder");
    let files: Rc<Files> = Rc::new(texts.iter().map(|(name, text)| ((*name).to_owned(), parsed(name, text))).collect());
    // The longest that AWS makes.
    let cluster = "arn:aws:kafka:ap-southeast-1:123456789012:cluster/the-learning-platform-of-the-academy/11111111-2222-3333-4444-555555555555-25";
    let wake = ("WakeTopicArn", "arn:aws:sns:eu-central-1:123456789012:wake");
    let keys =
        [("KmsKeyArn", KEY), ("SecretsKeyArns", OTHER_KEYS), ("OnFailureDestination", BUCKET), ("Tracing", "Active")];
    let given = [PLACE, &[("MskClusterArn", cluster), wake], &keys].concat();
    let root = Deployed::new(files.clone(), "template.yaml", &given);
    for (name, template) in files.iter() {
        let count = |part: &str| template[part].as_object().map_or(0, Map::len);
        assert!(texts[name.as_str()].len() <= 1_000_000, "{name}: a template has a million bytes at most");
        assert!(count("Parameters") <= 200 && count("Outputs") <= 200 && count("Mappings") <= 200, "{name}");
        for mapping in template["Mappings"].as_object().into_iter().flatten() {
            assert!(mapping.1.as_object().is_some_and(|of| of.len() <= 200), "{name}");
        }
    }
    let mut made = root.made().len();
    for of in &fifteen {
        let family = root.nested(&of.id());
        // SAM adds alias, version, and what CodeDeploy needs.
        assert!(family.made().len() + 5 <= 500, "{}", of.name);
        made += family.made().len() + 5;
        // IAM counts the policies of a role together, blanks apart.
        let policies = family.properties("Role").expect("a role")["Policies"][0]["PolicyDocument"].to_string().len()
            + family
                .of_type("AWS::IAM::Policy")
                .iter()
                .map(|(_, of)| of["PolicyDocument"].to_string().len())
                .sum::<usize>();
        assert!(policies <= 10_240, "{}: a role's policies have {policies} characters", of.name);
    }
    let monitor = root.nested("Monitor");
    let body = dashboard(&monitor);
    for search in searches(&body) {
        assert!(search.len() + "SEARCH('{".len() <= 1_024, "{search}");
    }
    for widget in body["widgets"].as_array().expect("widgets") {
        assert!(widget["properties"]["metrics"].as_array().expect("metrics").len() <= 500);
    }
    let rule = monitor.properties("Wake").expect("an alarm")["AlarmRule"].as_str().expect("a rule").to_owned();
    assert!(rule.len() <= 10_240 && rule.matches("ALARM(").count() <= 100, "{rule}");
    println!("{} stacks, {made} resources, a rule of {} characters", fifteen.len() + 3, rule.len());
}
