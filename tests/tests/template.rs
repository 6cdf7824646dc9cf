//! The deployment is what the code and the documents say: a function and mappings for each family, known variables, no
//! secret, and no right that docs/security.md does not explain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lyceum_functions::REGISTRY;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// What AWS's own libraries read; the tables list the rest.
const READ_BY_AWS: &[&str] = &["AWS_ENDPOINT_URL"];
/// The statements whose actions take no resource: Lambda's documentation has them with `*`, too.
const WITHOUT_RESOURCE: &[&str] = &["JoinNetwork", "SeeNetwork", "SendTraces"];

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
        assert_eq!(parameters["ConsumerGroupId"]["Fn::Sub"], json!(format!("${{ConsumerGroup}}-{family}")));
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
                && of["Properties"]["Parameters"]["ConsumerGroupId"]["Fn::Sub"]
                    == json!(format!("${{ConsumerGroup}}-{}", spec.name))
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
fn a_mapping_gives_up_only_by_what_it_says() {
    let mapping = template("infra/mapping.yaml");
    let properties = &mapping["Resources"]["Mapping"]["Properties"];
    assert_eq!(properties["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(properties["BisectBatchOnFunctionError"], true);
    assert_eq!(properties["MaximumRetryAttempts"], 10_000);
    assert_eq!(properties["MaximumRecordAgeInSeconds"], 7 * 24 * 60 * 60);
    assert!(properties["ProvisionedPollerConfig"].is_object(), "the four above need provisioned pollers");
}

#[test]
fn every_variable_of_a_function_is_in_a_table() {
    let template = template("template.yaml");
    let known: BTreeSet<&str> = lyceum::config::VARIABLES
        .iter()
        .copied()
        .flatten()
        .map(|(name, ..)| *name)
        .chain(READ_BY_AWS.iter().copied())
        .collect();
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
    // The trust policy has no resource.
    assert_eq!(found.len() + 1, allows, "a statement of a policy has no Sid");
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
