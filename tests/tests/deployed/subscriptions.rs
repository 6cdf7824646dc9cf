//! What the catalog says of a deployment: a block a subscription, written between marks of the templates.

use std::collections::BTreeMap;

use lyceum_catalog::SCHEMAS;
use lyceum_core::subscription::Effect;
use lyceum_functions::REGISTRY;

use super::{Files, text};

/// The templates with marks.
pub(crate) const MARKED: [&str; 4] =
    ["template.yaml", "infra/family.yaml", "infra/monitor.yaml", "infra/quickstart.yaml"];

/// What a subscription may have of its own.
const OWN: &[&str] = &[
    "BatchSize",
    "BatchingWindowSeconds",
    "Consuming",
    "FilterPattern",
    "MaximumPollers",
    "MaximumRecordAgeSeconds",
    "MemoryMegabytes",
    "MinimumPollers",
    "OnFailureDestination",
    "PollerGroup",
    "ReservedConcurrency",
    "TimeoutSeconds",
];

/// What stands between marks, by their names.
type Blocks = Vec<(&'static str, Vec<String>)>;

/// A subscription as its deployment sees it.
#[derive(Clone, Debug)]
pub(crate) struct Deployable {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    /// For what is invalid, what its own attempts are spent on, and what a store will never take.
    pub(crate) letters: [String; 3],
    pub(crate) keeps_state: bool,
    /// Where what follows from its events goes.
    pub(crate) publishes: Option<String>,
    /// Whether it asks a port, as the content generator is asked.
    pub(crate) calls: bool,
    /// Whether its events come in Avro.
    pub(crate) reads_avro: bool,
}

/// A topic that a subscription reads.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Its name in the templates.
    pub(crate) id: String,
    pub(crate) topic: String,
    /// Its consumer group, behind the stack's own name for groups.
    pub(crate) group: String,
}

impl Deployable {
    /// Its name in the templates.
    pub(crate) fn id(&self) -> String {
        pascal(&self.name)
    }

    /// Groups hold offsets, so their names stay: the subscription's; of several topics with the topic's last part, or with all of
    /// the topic where another one ends the same.
    pub(crate) fn mappings(&self) -> Vec<Mapping> {
        let last = |topic: &str| topic.rsplit('.').next().unwrap_or_default().to_owned();
        let with = |topic: &String| {
            let end = last(topic);
            let is_one = self.topics.iter().filter(|other| last(other) == end).count() == 1;
            let end = if is_one { end } else { topic.clone() };
            let group = if self.topics.len() == 1 { self.name.clone() } else { format!("{}-{end}", self.name) };
            Mapping { id: format!("{}{}", self.id(), pascal(&end)), topic: topic.clone(), group }
        };
        self.topics.iter().map(with).collect()
    }
}

/// Words of letters and digits, each with a capital.
fn pascal(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// Every subscription of this release.
pub(crate) fn of_the_catalog() -> Vec<Deployable> {
    let deployable = |function: lyceum_functions::Function| {
        let of = function.subscription;
        let letters = [of.dead_letters.validation, of.dead_letters.processing, of.dead_letters.database];
        Deployable {
            name: of.name.to_owned(),
            topics: of.topics().map(str::to_owned).collect(),
            letters: letters.map(str::to_owned),
            keeps_state: of.effect != Effect::Documents,
            publishes: match of.publishes {
                [] => None,
                [topic] => Some((*topic).to_owned()),
                _ => panic!("{} publishes on several topics, and its role has a right for one", of.name),
            },
            calls: of.effect == Effect::Calling,
            // Whoever audits keeps the bytes as they came.
            reads_avro: of.effect != Effect::Audit
                && SCHEMAS
                    .iter()
                    .any(|(family, _)| of.topics().any(|topic| family.topics.iter().any(|of| of.name == topic))),
        }
    };
    lyceum_functions::functions().map(deployable).collect()
}

/// The marked templates as they should read.
pub(crate) fn written(files: &Files, of: &[Deployable]) -> BTreeMap<&'static str, String> {
    let blocks: [(&str, Blocks); 4] = [
        (
            "template.yaml",
            vec![
                ("settings", settings(of)),
                ("destination", destination(of)),
                ("subscriptions", stacks(files, of)),
                ("outputs", outputs(of)),
            ],
        ),
        ("infra/family.yaml", vec![("default", default(of)), ("topics", topics(of))]),
        (
            "infra/monitor.yaml",
            vec![
                ("parameters", consuming(of)),
                ("conditions", conditions(of)),
                ("widgets", widgets(of)),
                ("rule", rule(of)),
            ],
        ),
        ("infra/quickstart.yaml", vec![("topics", topics_to_make())]),
    ];
    let replaced = |(file, blocks): (&'static str, Blocks)| {
        (file, blocks.iter().fold(text(file), |text, (mark, lines)| between(file, &text, mark, lines)))
    };
    blocks.into_iter().map(replaced).collect()
}

/// A text with these lines between two marks, indented as the first of them.
fn between(file: &str, text: &str, mark: &str, lines: &[String]) -> String {
    let (mut kept, mut inside, mut found) = (String::new(), false, 0);
    for line in text.lines() {
        let word = line.trim_start();
        if word == format!("# end {mark}") {
            inside = false;
        }
        if !inside {
            kept += &format!("{line}\n");
        }
        if word == format!("# begin {mark}") {
            (inside, found) = (true, found + 1);
            let indent = " ".repeat(line.len() - word.len());
            lines
                .iter()
                .for_each(|line| kept += &if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") });
        }
    }
    assert!(found == 1 && !inside, "{file} has the marks # begin {mark} and # end {mark} once");
    kept
}

fn settings(of: &[Deployable]) -> Vec<String> {
    let of_one = |of: &Deployable| {
        // No topic as destination: rules, which know those of events, see no part of a text.
        let names: Vec<&str> = OWN.iter().copied().filter(|name| *name != "OnFailureDestination").collect();
        let pattern = format!("^((({})=[^;]*|OnFailureDestination=(arn:[^;]*)?)(;|$))*$", names.join("|"));
        [
            format!("{}Settings:", of.id()),
            "  Type: String".to_owned(),
            // Whoever asks takes long, and asks about few at once.
            format!("  Default: \"{}\"", if of.calls { "BatchSize=8;TimeoutSeconds=840" } else { "" }),
            format!("  AllowedPattern: \"{pattern}\""),
            "  ConstraintDescription: NAME=value, separated by semicolons, of the parameters that docs/operations.md names for it."
                .to_owned(),
            format!("  Description: What the subscription {} has of its own, such as BatchSize=100;MaximumPollers=12", of.name),
        ]
    };
    of.iter().flat_map(of_one).collect()
}

/// A source topic as destination would be read again and again; one of letters holds letters only.
fn destination(of: &[Deployable]) -> Vec<String> {
    let mut topics: Vec<&String> = of.iter().flat_map(|of| of.topics.iter().chain(&of.letters)).collect();
    topics.sort();
    topics.dedup();
    let topics: Vec<String> = topics.iter().map(|topic| format!("kafka://{topic}")).collect();
    vec![
        format!("- Assert: !Not [!Contains [[{}], !Ref OnFailureDestination]]", topics.join(", ")),
        "  AssertDescription: OnFailureDestination is a topic of events or of dead letters. Give one of its own."
            .to_owned(),
    ]
}

/// How a stack in a stack begins. It has nothing that has to outlive it, or has said so of that itself.
const STACK: [&str; 4] = [
    "  Type: AWS::CloudFormation::Stack",
    "  DeletionPolicy: Delete",
    "  UpdateReplacePolicy: Delete",
    "  Properties:",
];

fn stacks(files: &Files, of: &[Deployable]) -> Vec<String> {
    let parameters = files["infra/family.yaml"]["Parameters"].as_object().expect("a template has parameters").keys();
    let mut parameters: Vec<&str> = parameters.map(String::as_str).collect();
    parameters.sort_unstable();
    let mut lines = Vec::new();
    for of in of {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(format!("{}:", of.id()));
        lines.extend(STACK.map(str::to_owned));
        lines.push("    TemplateURL: infra/family.yaml".to_owned());
        lines.push("    Parameters:".to_owned());
        lines.extend(parameters.iter().map(|name| format!("      {name}: {}", given(of, name))));
    }
    lines.push(String::new());
    lines.push("Monitor:".to_owned());
    lines.extend(STACK.map(str::to_owned));
    lines.push("    TemplateURL: infra/monitor.yaml".to_owned());
    lines.push("    Parameters:".to_owned());
    lines.push("      Stack: !Ref AWS::StackName".to_owned());
    lines.push("      MetricsNamespace: !Sub \"Lyceum/${AWS::StackName}\"".to_owned());
    lines.push("      Table: !GetAtt Foundation.Outputs.LedgerTable".to_owned());
    lines.push("      WakeTopicArn: !Ref WakeTopicArn".to_owned());
    lines.extend(of.iter().map(|of| format!("      {}Consuming: {}", of.id(), given(of, "Consuming"))));
    lines
}

/// A list as the second item of a list.
fn listed(items: impl IntoIterator<Item = String>, indent: &str) -> Vec<String> {
    let line = |(at, item): (usize, String)| format!("{indent}{} - {item}", if at == 0 { "-" } else { " " });
    items.into_iter().enumerate().map(line).collect()
}

/// What a subscription's stack is given for one of its parameters.
fn given(of: &Deployable, parameter: &str) -> String {
    let default = match parameter {
        "Family" => return of.name.clone(),
        "Binary" => return format!("lyceum-{}", of.name),
        "Name" => return format!("!Sub \"${{AWS::StackName}}-{}\"", of.name),
        "Mappings" => return of.mappings().iter().map(|of| of.id.clone()).collect::<Vec<_>>().join(","),
        "KeepsState" => return format!("\"{}\"", of.keeps_state),
        "DeadLetterTopics" => return of.letters.join(","),
        "FollowUpTopic" => return of.publishes.clone().unwrap_or_else(|| "\"\"".to_owned()),
        "ContentGeneratorSecretArn" if !of.calls => return "\"\"".to_owned(),
        "SchemaRecordFormat" if !of.reads_avro => return "none".to_owned(),
        "GlueRegistryArn" | "SchemaRegistryUrl" | "SchemaRegistrySecretArn" | "SchemaRegistryCaSecretArn"
            if !of.reads_avro =>
        {
            return "\"\"".to_owned();
        }
        "DestinationService" => {
            let destination = given(of, "OnFailureDestination");
            return format!("!Select [2, !Split [\":\", !Join [\"\", [{destination}, \":::\"]]]]");
        }
        "OpenSearchService" => "!Select [2, !Split [\":\", !Sub \"${OpenSearchArn}::\"]]".to_owned(),
        "MskClusterArn" => "!If [IsProvisioned, !Ref MskClusterArn, !Ref MskServerlessArn]".to_owned(),
        "SecurityGroupIds" => "!Join [\",\", !Ref SecurityGroupIds]".to_owned(),
        "LedgerTable" => "!GetAtt Foundation.Outputs.LedgerTable".to_owned(),
        "AlarmTopicArn" => "!GetAtt Foundation.Outputs.AlarmTopic".to_owned(),
        "MetricsNamespace" => "!Sub \"Lyceum/${AWS::StackName}\"".to_owned(),
        "PollerGroup" => "!If [HasOwnPollerGroup, !Ref AWS::StackName, !Ref PollerGroup]".to_owned(),
        "OnFailureDestination" => {
            "!If [MakesBucket, !GetAtt Foundation.Outputs.FailedBucketArn, !Ref OnFailureDestination]".to_owned()
        }
        _ => format!("!Ref {parameter}"),
    };
    if !OWN.contains(&parameter) {
        return default;
    }
    // The first that names it counts: the subscription's own settings, else what stands behind them.
    let settings = format!("{}Settings", of.id());
    let text = match default.strip_prefix("!Ref ") {
        Some(name) => format!("!Sub \";${{{settings}}};{parameter}=${{{name}}};\""),
        None => format!("!Sub [\";${{{settings}}};{parameter}=${{Common}};\", {{Common: {default}}}]"),
    };
    format!("!Select [0, !Split [\";\", !Select [1, !Split [\";{parameter}=\", {text}]]]]")
}

fn outputs(of: &[Deployable]) -> Vec<String> {
    let of_one = |of: &Deployable| {
        let id = of.id();
        ["Function", "Role", "Log"].map(|name| format!("{id}{name}: {{Value: !GetAtt {id}.Outputs.{name}}}"))
    };
    of.iter().flat_map(of_one).collect()
}

/// Where the linter and SAM look at a subscription's template alone.
fn default(of: &[Deployable]) -> Vec<String> {
    vec![format!("Default: {}", of[0].mappings()[0].id)]
}

fn topics(of: &[Deployable]) -> Vec<String> {
    let line = |of: Mapping| format!("{}: {{Topic: {}, Group: {}}}", of.id, of.topic, of.group);
    of.iter().flat_map(|of| of.mappings().into_iter().map(line)).collect()
}

fn consuming(of: &[Deployable]) -> Vec<String> {
    let of_one = |of: &Deployable| {
        [format!("{}Consuming:", of.id()), "  Type: String".to_owned(), "  Default: \"true\"".to_owned()]
    };
    of.iter().flat_map(of_one).collect()
}

fn conditions(of: &[Deployable]) -> Vec<String> {
    of.iter().map(|of| format!("{0}IsConsuming: !Equals [!Ref {0}Consuming, \"true\"]", of.id())).collect()
}

fn widgets(of: &[Deployable]) -> Vec<String> {
    let widget = |of: &Deployable, title: &str, metrics: &[String]| {
        let head = format!(
            "{{\"type\": \"metric\", \"width\": 12, \"height\": 6, \"properties\": {{\"title\": \"{}: {title}\", \
             \"region\": \"${{AWS::Region}}\", \"stat\": \"Sum\", \"period\": 60, \"metrics\": [",
            of.name
        );
        let mut lines = vec!["!Sub >-".to_owned(), head];
        let last = metrics.len() - 1;
        let line = |(at, metric): (usize, &String)| format!("{metric}{}", if at == last { "]}}" } else { "," });
        lines.extend(metrics.iter().enumerate().map(line));
        lines
    };
    let of_one = |of: &Deployable| {
        let search = format!(
            "[{{\"expression\": \"SEARCH('{{\\\"${{MetricsNamespace}}\\\",family,outcome}} \
             MetricName=\\\"lyceum_events_total\\\" family=\\\"{}\\\"', 'Sum', 60)\"}}]",
            of.name
        );
        let of_function =
            |metric: &str| format!("[\"AWS/Lambda\", \"{metric}\", \"FunctionName\", \"${{Stack}}-{}\"]", of.name);
        let records = [
            search,
            of_function("Errors"),
            of_function("Throttles"),
            format!(
                "[\"${{MetricsNamespace}}\", \"lyceum_consumer_lag_seconds\", \"subscription\", \"{}\", \
                 {{\"label\": \"seconds behind\", \"stat\": \"Maximum\", \"yAxis\": \"right\"}}]",
                of.name
            ),
        ];
        widget(of, "records by outcome, and how far it is behind (right)", &records)
    };
    let widgets = of.iter().map(of_one).enumerate();
    let lines = widgets.flat_map(|(at, lines)| {
        let lines = lines.into_iter().enumerate();
        lines.map(move |(line, text)| match (at, line) {
            (0, 0) => format!("- - {text}"),
            (_, 0) => format!("  - {text}"),
            _ => format!("      {text}"),
        })
    });
    lines.collect()
}

/// Only what is to poll can be silent, and only then there is an alarm that says so.
fn rule(of: &[Deployable]) -> Vec<String> {
    let of_one = |of: &Deployable| {
        let alarm = |end: &str| format!("ALARM(\"${{Stack}}-{}-{end}\")", of.name);
        let silent =
            of.mappings().iter().map(|mapping| alarm(&format!("{}-silent", mapping.topic))).collect::<Vec<_>>();
        [
            format!("!Sub '{}'", alarm("errors")),
            format!("!If [{}IsConsuming, !Sub '{}', \"FALSE\"]", of.id(), silent.join(" OR ")),
        ]
    };
    let ledger = "!Sub 'ALARM(\"${Stack}-ledger-throttled\")'".to_owned();
    listed([ledger].into_iter().chain(of.iter().flat_map(of_one)), "")
}

/// Every topic of the catalog, and those of its dead letters.
fn topics_to_make() -> Vec<String> {
    let own = REGISTRY
        .iter()
        .flat_map(|entry| entry.spec.topics)
        .map(|topic| (topic.name.to_owned(), topic.partitions.into()));
    let letters = of_the_catalog().into_iter().flat_map(|of| of.letters).map(|topic| (topic, 1_i64));
    let topics: BTreeMap<String, i64> = letters.chain(own).collect();
    let lines = topics.into_iter().map(|(topic, partitions)| {
        let id = pascal(&topic);
        let properties =
            format!("ClusterArn: !Ref Kafka, TopicName: {topic}, PartitionCount: {partitions}, ReplicationFactor: 3");
        format!("Topic{id}: {{Type: AWS::MSK::Topic, Condition: MakesTopics, Properties: {{{properties}}}}}")
    });
    lines.collect()
}
