//! Facts to findings. Pure.

use super::facts::{AlarmFacts, Facts, FunctionFacts, LiveFacts, MappingFacts, Seen, Unseen};
use serde::Serialize;

/// What is to be known of a part of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// Of what.
    pub about: String,
    /// What was found.
    pub found: String,
    /// What to do; empty where nothing is.
    pub remedy: String,
}

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Somebody has to do something.
    Wrong,
    /// It could not be looked at.
    Unknown,
    /// It is as somebody wanted it, and worth to know.
    Noted,
    /// All is well.
    Fine,
}

/// Alarms that only stop a deployment, and tell nobody by themselves.
const OF_DEPLOYMENTS: [&str; 3] = ["-version-errors", "-version-slow", "-version-worse"];

/// What mappings say when they cannot poll, and what helps. The first that fits counts; AWS's own words, in lower case.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka-troubleshoot.html>
const POLLING: &[(&[&str], &str)] = &[
    (
        &["failed to authorize", "not authorized", "authorization failed", "authorization_failed", "acl"],
        "Kafka lets the user in and does not let it read. Grant Describe and Read on the topic and the consumer group, and \
         DescribeConfigs on the cluster (with IAM the role's kafka-cluster: rights; see \"What a user of Kafka may\" in \
         docs/operations.md)",
    ),
    (
        &["sasl", "failed to authenticate lambda", "authentication failed", "authentication_failed", "credential"],
        "Kafka refuses user and password. Put into the secret of KafkaSecretArn what the broker has; Lambda's poller and the \
         functions read it again by themselves",
    ),
    (
        &["certificate", "failed to authenticate server", "ssl", "tls"],
        "TLS fails. See that the secret of KafkaCaSecretArn has the authority that signed the brokers' certificates, and with \
         mutual TLS that certificate and key of KafkaSecretArn belong together and the key is unencrypted or PBES1",
    ),
    (
        &["secret", "kms", "decrypt"],
        "The secret cannot be read. See that it exists in this region, and that the role may read it and use its key \
         (SecretsKeyArns)",
    ),
    (
        &["topic"],
        "The topic is not there or has another name. Make it with kafka-topics.sh, with the partitions that docs/events.md names",
    ),
    (
        &[
            "connect",
            "network",
            "timed out",
            "timeout",
            "unreachable",
            "resolve",
            "broker",
            "vpc",
            "subnet",
            "security group",
        ],
        "The poller does not reach the brokers. With MSK the cluster's own security group must let itself in on the brokers' \
         port (9098, 9096, 9094); else see SubnetIds, SecurityGroupIds, routes, and the endpoints that docs/security.md lists",
    ),
    (
        &["function call", "invoke"],
        "The function fails or cannot be called. See its log group, /aws/lambda/ and its name",
    ),
];

/// Everything that is to be known, what is wrong first.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, mapping) in &facts.mappings {
        of(&mut findings, &format!("mapping {name}"), mapping, MISSING, |findings, about, mapping| {
            judge_mapping(findings, about, mapping);
        });
    }
    if facts.mappings.is_empty() {
        let remedy = "Where that is not wanted, deploy with Consuming=true";
        findings.push(finding(Verdict::Noted, "mappings", "there is none: nothing is consumed", remedy));
    }
    for (name, function) in &facts.functions {
        of(&mut findings, &format!("function {name}"), function, MISSING, judge_function);
    }
    for (name, alarm) in &facts.alarms {
        of(&mut findings, &format!("alarm {name}"), alarm, MISSING, |findings, about, alarm| {
            judge_alarm(findings, about, name, alarm);
        });
    }
    for (topic, listeners) in &facts.listeners {
        of(&mut findings, &format!("alarm topic {topic}"), listeners, MISSING, |findings, about, listeners| {
            let remedy = "Subscribe to it (AlarmEmail, or aws sns subscribe), and answer the mail that AWS sends";
            match listeners {
                0 => findings.push(finding(Verdict::Wrong, about, "nobody listens: alarms reach no one", remedy)),
                listeners => findings.push(finding(Verdict::Fine, about, &format!("{listeners} listen"), "")),
            }
        });
    }
    for (name, state) in &facts.tables {
        let missing = "Deploy with LedgerTable empty, so that the stack makes one, or name a table that is there";
        of(&mut findings, &format!("table {name}"), state, missing, |findings, about, state| match state.as_str() {
            "ACTIVE" => findings.push(finding(Verdict::Fine, about, "is active", "")),
            state => {
                let remedy = "Wait until it is ACTIVE; of INACCESSIBLE_ENCRYPTION_CREDENTIALS, give its key back";
                findings.push(finding(Verdict::Wrong, about, &format!("is {state}"), remedy));
            }
        });
    }
    for (arn, (variable, secret)) in &facts.secrets {
        let about = format!("secret {arn} ({variable})");
        let missing = "Create it in this region, or name another one, and deploy";
        of(&mut findings, &about, secret, missing, |findings, about, secret| match secret.is_going {
            true => {
                let remedy = "aws secretsmanager restore-secret, or name another one";
                findings.push(finding(Verdict::Wrong, about, "is to be deleted, and cannot be read", remedy));
            }
            false => findings.push(finding(Verdict::Fine, about, "is there", "")),
        });
    }
    for right in &facts.rights {
        let about = format!("role of {}", right.function);
        let what = format!("{} on {}", right.action, right.resource);
        let remedy = "Deploy the stack again, which gives it; where it does, look for a boundary of permissions, a policy of the \
                      organisation, and the resource's own policy";
        findings.push(match &right.decision {
            Ok(decision) if decision == "allowed" => finding(Verdict::Fine, &about, &format!("may {what}"), ""),
            Ok(decision) => finding(Verdict::Wrong, &about, &format!("may not {what} ({decision})"), remedy),
            Err(unseen) => unknown(&about, &format!("whether it may {what}"), unseen),
        });
    }
    for (name, topic) in &facts.topics {
        let missing = "Make it with kafka-topics.sh, with the partitions that docs/events.md names";
        of(&mut findings, &format!("topic {name}"), topic, missing, |findings, about, ()| {
            findings.push(finding(Verdict::Fine, about, "is there", ""));
        });
    }
    for (place, store) in &facts.stores {
        let missing = "The first statement that is stored makes it; where statements were stored before, correct ElasticsearchIndex";
        of(&mut findings, &format!("index {place}"), store, missing, |findings, about, ()| {
            findings.push(finding(Verdict::Fine, about, "answers", ""));
        });
    }
    findings.sort_by_key(|finding| finding.verdict);
    findings
}

/// Whether mappings or functions are on the way to another state, so that it is too early to judge.
pub fn is_under_way(facts: &Facts) -> bool {
    let passing = ["Creating", "Enabling", "Disabling", "Updating", "Pending", "InProgress"];
    let mut states = facts.mappings.iter().filter_map(|(_, of)| of.as_ref().ok()).map(|of| of.state.as_str());
    let functions = facts.functions.iter().filter_map(|(_, of)| of.as_ref().ok());
    let mut of_functions = functions.flat_map(|of| [of.state.as_str(), of.last_update.as_str()]);
    states.any(|state| passing.contains(&state)) || of_functions.any(|state| passing.contains(&state))
}

const MISSING: &str = "CloudFormation lists it, and it was deleted by hand: deploy the stack again";

fn finding(verdict: Verdict, about: &str, found: &str, remedy: &str) -> Finding {
    Finding { verdict, about: about.to_owned(), found: found.to_owned(), remedy: remedy.to_owned() }
}

fn unknown(about: &str, what: &str, unseen: &Unseen) -> Finding {
    let why = match unseen {
        Unseen::Missing => "it is not there",
        Unseen::NotFromHere(why) => why,
    };
    finding(Verdict::Unknown, about, &format!("{what} cannot be told: {why}"), "")
}

/// A part that was looked at is judged; for one that was not the reason stands.
fn of<T>(
    findings: &mut Vec<Finding>,
    about: &str,
    seen: &Seen<T>,
    missing: &str,
    judge: impl FnOnce(&mut Vec<Finding>, &str, &T),
) {
    match seen {
        Ok(facts) => judge(findings, about, facts),
        Err(Unseen::Missing) => findings.push(finding(Verdict::Wrong, about, "is not there", missing)),
        Err(unseen) => findings.push(unknown(about, "how it is", unseen)),
    }
}

fn judge_mapping(findings: &mut Vec<Finding>, about: &str, mapping: &MappingFacts) {
    let MappingFacts { id, state, why, last_result, function, topics, .. } = mapping;
    let about = format!("{about} ({}, {id})", topics.join(", "));
    if !function.ends_with(":live") {
        let remedy = "Deploy the stack again: a mapping calls the alias live, or no deployment reaches it";
        findings.push(finding(Verdict::Wrong, &about, &format!("calls {function}"), remedy));
    }
    let is_of_a_person =
        ["user", "USER_INITIATED"].iter().any(|words| why.to_lowercase().contains(&words.to_lowercase()));
    match state.as_str() {
        "Enabled" => {}
        "Disabled" | "Disabling" if is_of_a_person => {
            let remedy = "Deploy with Consuming=true once it is to go on; its offsets are kept";
            findings.push(finding(Verdict::Noted, &about, &format!("is {state}, by {why}"), remedy));
            return;
        }
        "Disabled" | "Disabling" => {
            let remedy = "Mend what the reason says, then aws lambda update-event-source-mapping --enabled";
            let found = format!("was disabled by Lambda: {why} {last_result}");
            findings.push(finding(Verdict::Wrong, &about, found.trim_end(), remedy));
            return;
        }
        state => {
            let remedy = "Look again in some minutes; --wait does so";
            findings.push(finding(Verdict::Wrong, &about, &format!("is still {state}"), remedy));
            return;
        }
    }
    let said = last_result.to_lowercase();
    findings.push(match said.as_str() {
        "ok" | "no records processed" | "" => finding(Verdict::Fine, &about, "polls", ""),
        said => {
            let fits = |(words, _): &&(&[&str], &str)| words.iter().any(|words| said.contains(words));
            let remedy = POLLING
                .iter()
                .find(fits)
                .map_or("See docs/runbook.md, \"A mapping does not poll\"", |(_, remedy)| remedy);
            finding(Verdict::Wrong, &about, &format!("does not poll: {last_result}"), remedy)
        }
    });
}

fn judge_function(findings: &mut Vec<Finding>, about: &str, function: &FunctionFacts) {
    let FunctionFacts { state, state_reason, last_update, last_update_reason, newest_code, newest_variables, live } =
        function;
    let before = findings.len();
    if !["Active", ""].contains(&state.as_str()) {
        let remedy = match state.as_str() {
            "Inactive" => "It was not called for weeks: the next invocation takes longer, and wakes it",
            _ => "Mend what the reason says (a subnet, a security group, a key), and deploy with another Release",
        };
        findings.push(finding(Verdict::Wrong, about, &format!("is {state}: {state_reason}"), remedy));
    }
    if !["Successful", ""].contains(&last_update.as_str()) {
        let remedy = "Mend what the reason says, and deploy with another Release";
        findings.push(finding(
            Verdict::Wrong,
            about,
            &format!("its last change is {last_update}: {last_update_reason}"),
            remedy,
        ));
    }
    let Some(LiveFacts { version, code, variables, others }) = live else {
        let remedy = "Deploy with another Release, which publishes a version and makes the alias";
        findings.push(finding(Verdict::Wrong, about, "has no alias live, which mappings call", remedy));
        return;
    };
    for (other, share) in others {
        let found = format!("{:.0} % of its invocations go to version {other} beside {version}", share * 100.0);
        let remedy = "A deployment is under way. Where none is, infra/way_back.py ends it";
        findings.push(finding(Verdict::Noted, about, &found, remedy));
    }
    if code != newest_code || variables != newest_variables {
        let what = if code != newest_code { "code" } else { "variables" };
        let found = format!("its alias live runs version {version}, whose {what} are not what was deployed last");
        let remedy = "Where nobody took it back on purpose, deploy with another Release";
        findings.push(finding(Verdict::Wrong, about, &found, remedy));
    }
    if findings[before..].iter().all(|finding| finding.verdict == Verdict::Noted) {
        findings.push(finding(Verdict::Fine, about, &format!("is active; its alias live runs version {version}"), ""));
    }
}

fn judge_alarm(findings: &mut Vec<Finding>, about: &str, name: &str, alarm: &AlarmFacts) {
    let AlarmFacts { state, reason, description, is_on, actions } = alarm;
    let is_of_deployments = OF_DEPLOYMENTS.iter().any(|end| name.ends_with(end));
    let before = findings.len();
    if !is_of_deployments && (!is_on || actions.is_empty()) {
        let (found, remedy) = match is_on {
            false => {
                ("is switched off: it tells nobody", "aws cloudwatch enable-alarm-actions --alarm-names, and its name")
            }
            true => (
                "has no destination: it tells nobody",
                "Deploy with AlarmTopicArn, or with none, so that the stack makes one",
            ),
        };
        findings.push(finding(Verdict::Wrong, about, found, remedy));
    }
    if state == "ALARM" {
        findings.push(finding(Verdict::Wrong, about, &format!("rings: {reason}"), description));
    }
    if findings.len() == before {
        findings.push(finding(Verdict::Fine, about, "is quiet", ""));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::doctor::facts::{RightFacts, SecretFacts};

    fn mapping(state: &str, why: &str, last_result: &str) -> Facts {
        let mapping = MappingFacts {
            id: "a1".to_owned(),
            state: state.to_owned(),
            why: why.to_owned(),
            last_result: last_result.to_owned(),
            function: "arn:aws:lambda:eu-central-1:123456789012:function:lyceum-training:live".to_owned(),
            topics: vec!["nlj.training.programs".to_owned()],
            cluster: None,
        };
        Facts { mappings: vec![("TrainingProgramsMapping".to_owned(), Ok(mapping))], ..Facts::default() }
    }

    fn only(facts: &Facts) -> Finding {
        let findings = judge(facts);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.into_iter().next().unwrap()
    }

    fn wrong(facts: &Facts) -> Vec<Finding> {
        judge(facts).into_iter().filter(|finding| finding.verdict == Verdict::Wrong).collect()
    }

    #[test]
    fn a_mapping_that_polls_is_fine_also_where_nothing_came_yet() {
        for last in ["OK", "No records processed", ""] {
            let found = only(&mapping("Enabled", "USER_INITIATED", last));
            assert_eq!(found.verdict, Verdict::Fine, "{found:?}");
            assert!(found.about.contains("nlj.training.programs") && found.about.contains("a1"), "{found:?}");
        }
    }

    #[test]
    fn a_mapping_that_cannot_poll_is_told_with_what_lambda_says_and_what_helps() {
        for (said, helps) in [
            ("PROBLEM: SASL authentication failed", "secret of KafkaSecretArn"),
            ("PROBLEM: Server failed to authenticate Lambda", "secret of KafkaSecretArn"),
            ("PROBLEM: Cluster failed to authorize Lambda", "DescribeConfigs"),
            ("PROBLEM: Lambda failed to authenticate server", "KafkaCaSecretArn"),
            ("PROBLEM: Provided certificate or private key is invalid", "KafkaCaSecretArn"),
            ("PROBLEM: Connection error. Please check your event source connection configuration.", "security group"),
            ("PROBLEM: Unknown topic or partition", "kafka-topics.sh"),
            ("PROBLEM: Function call failed", "log group"),
            ("PROBLEM: something new", "docs/runbook.md"),
        ] {
            let found = only(&mapping("Enabled", "USER_INITIATED", said));
            assert_eq!(found.verdict, Verdict::Wrong, "{found:?}");
            assert!(found.found.contains(said) && found.remedy.contains(helps), "{found:?}");
        }
    }

    #[test]
    fn a_mapping_that_a_person_switched_off_is_noted_and_one_that_lambda_did_is_wrong() {
        assert_eq!(only(&mapping("Disabled", "USER_INITIATED", "")).verdict, Verdict::Noted);
        assert_eq!(only(&mapping("Disabled", "User action", "")).verdict, Verdict::Noted);
        let found = only(&mapping("Disabled", "EFS mount timed out", ""));
        assert!(found.verdict == Verdict::Wrong && found.found.contains("EFS mount"), "{found:?}");
        assert!(is_under_way(&mapping("Enabling", "", "")) && !is_under_way(&mapping("Enabled", "", "")));
    }

    #[test]
    fn a_mapping_past_the_alias_is_found_out() {
        let mut facts = mapping("Enabled", "", "OK");
        let Ok(of) = &mut facts.mappings[0].1 else { unreachable!() };
        of.function = of.function.trim_end_matches(":live").to_owned();
        assert!(wrong(&facts)[0].remedy.contains("alias live"));
    }

    fn function(live: Option<LiveFacts>) -> Facts {
        let function = FunctionFacts {
            state: "Active".to_owned(),
            last_update: "Successful".to_owned(),
            newest_code: "new".to_owned(),
            newest_variables: BTreeMap::from([("LOG_LEVEL".to_owned(), "info".to_owned())]),
            live,
            ..FunctionFacts::default()
        };
        let mut facts = mapping("Enabled", "", "OK");
        facts.functions = vec![("lyceum-training".to_owned(), Ok(function))];
        facts
    }

    fn live(code: &str, level: &str) -> LiveFacts {
        LiveFacts {
            version: "7".to_owned(),
            code: code.to_owned(),
            variables: BTreeMap::from([("LOG_LEVEL".to_owned(), level.to_owned())]),
            others: Vec::new(),
        }
    }

    #[test]
    fn what_was_deployed_and_is_not_run_is_found_out() {
        assert!(wrong(&function(Some(live("new", "info")))).is_empty());
        let of = |live| wrong(&function(live)).remove(0).found;
        assert!(of(Some(live("old", "info"))).contains("version 7, whose code"));
        assert!(of(Some(live("new", "debug"))).contains("version 7, whose variables"));
        assert!(of(None).contains("no alias live"));
        let moving = LiveFacts { others: vec![("8".to_owned(), 0.1)], ..live("new", "info") };
        let told = judge(&function(Some(moving)));
        assert!(told.iter().any(|of| of.verdict == Verdict::Noted && of.found.contains("10 % of its invocations")));
    }

    #[test]
    fn an_alarm_that_nobody_hears_is_wrong_and_one_of_deployments_needs_nobody() {
        let alarm = |is_on, actions: &[&str], state: &str| AlarmFacts {
            state: state.to_owned(),
            description: "Do this.".to_owned(),
            is_on,
            actions: actions.iter().map(|of| (*of).to_owned()).collect(),
            ..AlarmFacts::default()
        };
        let of = |name: &str, alarm| {
            let mut facts = mapping("Enabled", "", "OK");
            facts.alarms = vec![(name.to_owned(), Ok(alarm))];
            wrong(&facts)
        };
        assert!(of("x-lag", alarm(true, &["arn:topic"], "OK")).is_empty());
        assert!(of("x-version-slow", alarm(true, &[], "OK")).is_empty());
        assert!(of("x-lag", alarm(true, &[], "OK"))[0].found.contains("no destination"));
        assert!(of("x-lag", alarm(false, &["arn:topic"], "OK"))[0].found.contains("switched off"));
        assert_eq!(of("x-lag", alarm(true, &["arn:topic"], "ALARM"))[0].remedy, "Do this.");
        let mut facts = mapping("Enabled", "", "OK");
        facts.listeners.insert("arn:topic".to_owned(), Ok(0));
        assert!(wrong(&facts)[0].found.contains("nobody listens"));
    }

    #[test]
    fn what_is_missing_is_wrong_and_what_cannot_be_seen_is_unknown() {
        let away = || Unseen::NotFromHere("no route".to_owned());
        let mut facts = mapping("Enabled", "", "OK");
        facts.tables.insert("table".to_owned(), Err(Unseen::Missing));
        facts.topics.insert("nlj.errors.database".to_owned(), Err(Unseen::Missing));
        facts.topics.insert("nlj.training.programs".to_owned(), Err(away()));
        facts
            .secrets
            .insert("arn".to_owned(), ("KAFKA_SASL_SECRET_ARN".to_owned(), Ok(SecretFacts { is_going: true })));
        let right = |decision| RightFacts {
            function: "lyceum-training".to_owned(),
            action: "secretsmanager:GetSecretValue".to_owned(),
            resource: "arn".to_owned(),
            decision,
        };
        facts.rights = vec![right(Ok("implicitDeny".to_owned())), right(Ok("allowed".to_owned())), right(Err(away()))];
        let wrong: Vec<String> = wrong(&facts).into_iter().map(|of| format!("{} {}", of.about, of.found)).collect();
        assert_eq!(wrong.len(), 4, "{wrong:#?}");
        for told in [
            "table table is not there",
            "nlj.errors.database is not there",
            "is to be deleted",
            "may not secretsmanager",
        ] {
            assert!(wrong.iter().any(|wrong| wrong.contains(told)), "{told}: {wrong:#?}");
        }
        let unknown = judge(&facts).into_iter().filter(|of| of.verdict == Verdict::Unknown);
        assert!(unknown.clone().count() == 2 && unknown.clone().all(|of| of.found.contains("no route")));
    }
}
