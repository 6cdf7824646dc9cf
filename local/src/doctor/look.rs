//! Collects the facts: from CloudFormation's list on, each resource from its own service; topics and index from here, where
//! they are reached.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Duration;

use lyceum_core::catalog::PLATFORM_DEAD_LETTERS;
use lyceum_core::environment::Reading;
use lyceum_core::ports::event_log::{EventLogError, Follow};
use lyceum_core::ports::statements::{QueryDocuments, StatementsError};
use lyceum_elasticsearch::{Elasticsearch, ElasticsearchSettings, SearchCredentials};
use lyceum_kafka::settings::Sasl;
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use lyceum_secrets::{Environment, Place};
use lyceum_xapi::equality;
use serde_json::Value;

use super::ask::{Ask, text};
use super::facts::{AlarmFacts, Facts, FunctionFacts, LiveFacts, MappingFacts, RightFacts, SecretFacts, Seen, Unseen};

/// How long brokers and store are tried from here.
const FROM_HERE: Duration = Duration::from_secs(10);
/// The alias that mappings call.
const ALIAS: &str = "live";

/// The stack is not there, or may not be listed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoStack(String);

/// What a stack of resources has, by type.
#[derive(Default)]
struct Resources {
    mappings: Vec<(String, String)>,
    functions: Vec<String>,
    alarms: Vec<String>,
    tables: Vec<String>,
}

/// Looks at the deployment of one stack.
pub struct Look {
    ask: Ask,
    region: String,
    stack: String,
}

impl Look {
    /// Nothing is asked yet.
    pub fn new(region: &str, stack: &str) -> Self {
        Self { ask: Ask::new(region), region: region.to_owned(), stack: stack.to_owned() }
    }

    /// Collects the facts.
    ///
    /// # Errors
    /// Where the stack is not there or may not be seen: then nothing is known at all.
    pub async fn facts(&self) -> Result<Facts, NoStack> {
        let resources = self.resources().await?;
        let mut facts = Facts { stack: self.stack.clone(), ..Facts::default() };
        for (name, id) in resources.mappings {
            facts.mappings.push((name, self.mapping(&id).await));
        }
        let mut roles = BTreeMap::new();
        for name in resources.functions {
            let (function, role) = self.function(&name).await;
            roles.insert(name.clone(), role);
            facts.functions.push((name, function));
        }
        for name in resources.alarms {
            let alarm = self.ask.alarm(&name).await.map(|found| alarm_of(&found));
            facts.alarms.push((name, alarm));
        }
        let told = facts.alarms.iter().filter_map(|(_, of)| of.as_ref().ok()).flat_map(|of| of.actions.clone());
        for topic in told.filter(|action| action.contains(":sns:")).collect::<BTreeSet<_>>() {
            let listeners = self.ask.listeners(&topic).await;
            facts.listeners.insert(topic, listeners);
        }
        let variables: Vec<(String, BTreeMap<String, String>)> = facts
            .functions
            .iter()
            .filter_map(|(name, of)| Some((name.clone(), of.as_ref().ok()?.newest_variables.clone())))
            .collect();
        let mut tables: BTreeSet<String> = resources.tables.into_iter().collect();
        tables.extend(variables.iter().filter_map(|(_, of)| of.get("DYNAMODB_TABLE").cloned()));
        for name in tables {
            let state = self.ask.table(&name).await.map(|found| text(&found["Table"]["TableStatus"]));
            facts.tables.insert(name, state);
        }
        for (variable, arn) in variables.iter().flat_map(|(_, of)| lyceum_secrets::named(|name| of.get(name).cloned()))
        {
            // Functions share them.
            if let Entry::Vacant(place) = facts.secrets.entry(arn) {
                let secret = self.ask.is_secret_going(place.key()).await;
                place.insert((variable.to_owned(), secret.map(|is_going| SecretFacts { is_going })));
            }
        }
        for (name, of) in &variables {
            self.rights(name, of, roles.get(name).map_or("", String::as_str), &mut facts).await;
        }
        self.try_from_here(&variables, &mut facts).await;
        Ok(facts)
    }

    async fn resources(&self) -> Result<Resources, NoStack> {
        let mut found = Resources::default();
        let mut stacks = vec![self.stack.clone()];
        while let Some(stack) = stacks.pop() {
            let resources = self.ask.resources(&stack).await.map_err(|unseen| {
                NoStack(match unseen {
                    Unseen::Missing => format!(
                        "there is no stack {stack} in {}: aws cloudformation list-stacks shows those that are; --region names \
                         another region",
                        self.region
                    ),
                    Unseen::NotFromHere(why) => format!(
                        "the resources of the stack {stack} cannot be listed ({why}): this needs \
                         cloudformation:ListStackResources, and what docs/operations.md lists beside it"
                    ),
                })
            })?;
            for (kind, logical, physical) in resources {
                match kind.as_str() {
                    "AWS::CloudFormation::Stack" => stacks.push(physical),
                    "AWS::Lambda::EventSourceMapping" => found.mappings.push((logical, physical)),
                    "AWS::Lambda::Function" => found.functions.push(physical),
                    "AWS::CloudWatch::Alarm" | "AWS::CloudWatch::CompositeAlarm" => found.alarms.push(physical),
                    "AWS::DynamoDB::Table" | "AWS::DynamoDB::GlobalTable" => found.tables.push(physical),
                    _ => {}
                }
            }
        }
        found.mappings.sort();
        found.functions.sort();
        found.alarms.sort();
        Ok(found)
    }

    async fn mapping(&self, id: &str) -> Seen<MappingFacts> {
        let found = self.ask.lambda(&format!("/2015-03-31/event-source-mappings/{id}")).await?;
        let topics = found["Topics"].as_array().into_iter().flatten().map(text).collect();
        Ok(MappingFacts {
            id: id.to_owned(),
            state: text(&found["State"]),
            why: text(&found["StateTransitionReason"]),
            last_result: text(&found["LastProcessingResult"]),
            function: text(&found["FunctionArn"]),
            topics,
            cluster: found["EventSourceArn"].as_str().map(str::to_owned),
        })
    }

    /// The function, and its role.
    async fn function(&self, name: &str) -> (Seen<FunctionFacts>, String) {
        let newest = match self.ask.lambda(&format!("/2015-03-31/functions/{name}/configuration")).await {
            Ok(newest) => newest,
            Err(unseen) => return (Err(unseen), String::new()),
        };
        let role = text(&newest["Role"]);
        (self.function_of(name, &newest).await, role)
    }

    async fn function_of(&self, name: &str, newest: &Value) -> Seen<FunctionFacts> {
        let live = match self.ask.lambda(&format!("/2015-03-31/functions/{name}/aliases/{ALIAS}")).await {
            Ok(alias) => {
                let path = format!("/2015-03-31/functions/{name}/configuration?Qualifier={ALIAS}");
                let running = self.ask.lambda(&path).await?;
                let others = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object().into_iter().flatten();
                Some(LiveFacts {
                    version: text(&alias["FunctionVersion"]),
                    code: text(&running["CodeSha256"]),
                    variables: variables_of(&running),
                    others: others.filter_map(|(version, share)| Some((version.clone(), share.as_f64()?))).collect(),
                })
            }
            Err(Unseen::Missing) => None,
            Err(unseen) => return Err(unseen),
        };
        Ok(FunctionFacts {
            state: text(&newest["State"]),
            state_reason: text(&newest["StateReason"]),
            last_update: text(&newest["LastUpdateStatus"]),
            last_update_reason: text(&newest["LastUpdateStatusReason"]),
            newest_code: text(&newest["CodeSha256"]),
            newest_variables: variables_of(newest),
            live,
        })
    }

    /// Whether the function's role may do what it will have to do.
    async fn rights(&self, name: &str, variables: &BTreeMap<String, String>, role: &str, facts: &mut Facts) {
        let own = |of: &MappingFacts| of.function.contains(&format!(":function:{name}:"));
        let read: Vec<MappingFacts> = facts.mappings.iter().filter_map(|(_, of)| of.clone().ok()).filter(own).collect();
        let mut needed: Vec<(&str, String)> = Vec::new();
        for (_, arn) in lyceum_secrets::named(|name| variables.get(name).cloned()) {
            needed.push((Place::of(&arn).right(), arn));
        }
        let catalog = lyceum_catalog::catalog();
        let keeps_state = catalog.families().iter().any(|family| {
            let is_its = |topic: &String| family.topics.iter().any(|of| of.name == topic);
            !family.kinds.is_empty() && read.iter().any(|of| of.topics.iter().any(is_its))
        });
        // arn:aws:iam::123456789012:role/name
        let mut parts = role.split(':');
        let (partition, account) = (parts.nth(1).unwrap_or("aws"), parts.nth(2).unwrap_or_default());
        if let Some(table) = variables.get("DYNAMODB_TABLE").filter(|_| keeps_state) {
            let arn = format!("arn:{partition}:dynamodb:{}:{account}:table/{table}", self.region);
            for action in ["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"] {
                needed.push((action, arn.clone()));
            }
        }
        if let Some(registry) = variables.get("SCHEMA_REGISTRY_URL").filter(|of| of.starts_with("arn:")) {
            needed.push(("glue:GetRegistry", registry.clone()));
            // A version is asked for by its own id, which is below no ARN.
            needed.push(("glue:GetSchemaVersion", "*".to_owned()));
        }
        if variables.get("AWS_MSK_IAM").is_some_and(|of| of == "true") {
            for cluster in read.iter().filter_map(|of| of.cluster.clone()).collect::<BTreeSet<_>>() {
                needed.push(("kafka-cluster:Connect", cluster));
            }
        }
        for (action, resource) in needed {
            let decision = match role {
                "" => Err(Unseen::NotFromHere("Lambda does not tell its role".to_owned())),
                role => self.ask.decision(role, action, &resource).await,
            };
            facts.rights.push(RightFacts { function: name.to_owned(), action: action.to_owned(), resource, decision });
        }
    }

    /// Topics and index, with what the functions' variables and secrets say.
    async fn try_from_here(&self, variables: &[(String, BTreeMap<String, String>)], facts: &mut Facts) {
        // Brokers and store are the same for every function.
        let Some((_, variables)) = variables.first() else { return };
        let mut secrets = Vec::new();
        for (variable, arn) in lyceum_secrets::named(|name| variables.get(name).cloned()) {
            match self.ask.secret_text(&arn).await {
                Ok(found) => secrets.push((variable, found)),
                Err(unseen) => return self.cannot_try(variables, facts, &unseen),
            }
        }
        let held = secrets.iter().map(|(variable, text)| (*variable, text.as_str()));
        let environment = match Environment::of(held) {
            Ok(environment) => environment,
            Err(wrong) => return self.cannot_try(variables, facts, &Unseen::NotFromHere(wrong.to_string())),
        };
        let base = |name: &str| match name {
            "AWS_REGION" => Some(self.region.clone()),
            name => variables.get(name).cloned().filter(|value| !value.is_empty()),
        };
        let variable = |name: &str| environment.over(name, base);
        let mut reading = Reading::new(&variable);
        let (kafka, store) = (KafkaSettings::read(&mut reading), ElasticsearchSettings::read(&mut reading));
        match reading.finish((kafka, store)) {
            Ok((kafka, store)) => {
                if let Some(kafka) = kafka {
                    topics_from_here(kafka, facts).await;
                }
                store_from_here(store, facts).await;
            }
            Err(wrong) => self.cannot_try(variables, facts, &Unseen::NotFromHere(wrong.to_string())),
        }
    }

    fn cannot_try(&self, variables: &BTreeMap<String, String>, facts: &mut Facts, why: &Unseen) {
        for topic in topics_of(facts) {
            facts.topics.insert(topic, Err(Unseen::NotFromHere(told(why))));
        }
        if let Some(url) = variables.get("ELASTICSEARCH_URL") {
            facts.stores.insert(url.clone(), Err(Unseen::NotFromHere(told(why))));
        }
    }
}

fn told(why: &Unseen) -> String {
    match why {
        Unseen::Missing => "a secret is not there".to_owned(),
        Unseen::NotFromHere(why) => why.clone(),
    }
}

fn variables_of(configuration: &Value) -> BTreeMap<String, String> {
    let variables = configuration["Environment"]["Variables"].as_object().into_iter().flatten();
    variables.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn alarm_of(found: &Value) -> AlarmFacts {
    let actions = found["AlarmActions"].as_array().into_iter().flatten();
    AlarmFacts {
        state: text(&found["StateValue"]),
        reason: text(&found["StateReason"]),
        description: text(&found["AlarmDescription"]),
        is_on: found["ActionsEnabled"] != false,
        actions: actions.map(text).collect(),
    }
}

/// Those that mappings read, and those of dead letters.
fn topics_of(facts: &Facts) -> BTreeSet<String> {
    let read = facts.mappings.iter().filter_map(|(_, of)| of.as_ref().ok()).flat_map(|of| of.topics.clone());
    let letters = &PLATFORM_DEAD_LETTERS;
    read.chain([letters.validation, letters.processing, letters.database].map(str::to_owned)).collect()
}

async fn topics_from_here(mut settings: KafkaSettings, facts: &mut Facts) {
    settings.timeout = FROM_HERE;
    let is_iam = matches!(settings.sasl, Some(Sasl::AwsIam { .. }));
    let log = KafkaEventLog::connect(&settings);
    let mut away: Option<String> = None;
    for topic in topics_of(facts) {
        let found = match (&log, &away) {
            (_, Some(why)) => Err(Unseen::NotFromHere(why.clone())),
            (Err(error), _) => Err(Unseen::NotFromHere(error.to_string())),
            (Ok(log), None) => match log.offsets(&topic).await {
                Ok(_) => Ok(()),
                Err(EventLogError::UnknownTopic(_)) => Err(Unseen::Missing),
                Err(error) => {
                    // Whoever does not answer for one topic answers for none.
                    let why = match &error {
                        EventLogError::Unauthorized(_) if is_iam => {
                            format!("{error} (asked with the credentials of whoever runs this)")
                        }
                        error => error.to_string(),
                    };
                    away = Some(why.clone());
                    Err(Unseen::NotFromHere(why))
                }
            },
        };
        facts.topics.insert(topic, found);
    }
}

async fn store_from_here(mut settings: ElasticsearchSettings, facts: &mut Facts) {
    settings.timeout = FROM_HERE;
    let place = format!("{} at {}", settings.index, settings.url);
    let is_signed = matches!(settings.credentials, SearchCredentials::Aws { .. });
    let answered = match Elasticsearch::connect(&settings, equality::same) {
        Ok(store) => store.ping().await,
        Err(error) => Err(error),
    };
    let found = answered.map_err(|error| match error {
        StatementsError::Unauthorized(why) if is_signed => {
            Unseen::NotFromHere(format!("{why} (asked with the credentials of whoever runs this)"))
        }
        StatementsError::Refused(why) if why.contains("there is no alias") => Unseen::Missing,
        error => Unseen::NotFromHere(error.to_string()),
    });
    facts.stores.insert(place, found);
}
