//! What is done about what failed, by infra/replay.yaml: one function that may read what was given up, and the machine that goes over it.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{CLUSTER, Deployed, Files, KEY, PLACE, SECRET, TEMPLATES, code, statements, table, template, text};

const FILE: &str = "infra/replay.yaml";

fn given<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let defaults =
        [("MskClusterArn", ""), ("SubnetIds", ""), ("SecurityGroupIds", ""), ("KafkaAuthentication", "NONE")];
    let mut given: std::collections::BTreeMap<&str, &str> = PLACE.iter().chain(&defaults).copied().collect();
    given.extend(more.iter().copied());
    given.into_iter().collect()
}

fn files() -> Rc<Files> {
    Rc::new([(FILE.to_owned(), template(FILE))].into())
}

fn made(more: &[(&str, &str)]) -> Deployed {
    Deployed::new(files(), FILE, &given(more))
}

/// The rights of a role, by name.
fn rights(of: &Deployed, role: &str) -> BTreeSet<String> {
    let mut found = Vec::new();
    statements(&of.properties(role).expect("there is a role"), &mut found);
    for (_, policy) in of.of_type("AWS::IAM::RolePolicy").into_iter().chain(of.of_type("AWS::IAM::Policy")) {
        let own = json!(format!("<{role}>"));
        if policy["RoleName"] == own || policy["Roles"].as_array().is_some_and(|roles| roles.contains(&own)) {
            statements(&policy, &mut found);
        }
    }
    found.into_iter().map(|(sid, ..)| sid).collect()
}

#[test]
fn the_replay_function_alone_reads_what_was_given_up_and_the_machine_lists_it() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let always = ["WriteOwnLog", "UseLedger", "ReadGivenUp"];
    for (given, more) in [
        (vec![], vec![]),
        (
            vec![("MskClusterArn", CLUSTER), ("KafkaAuthentication", "IAM")],
            vec!["ConnectAndSend", "SeeTopics", "UseConsumerGroups", "SeeConsumerGroups", "SendAgain", "ActOnLetters"],
        ),
        (vec![("KafkaAuthentication", "PLAIN"), ("KafkaSecretArn", SECRET)], vec!["ReadKafkaSecret"]),
        (vec![("KmsKeyArn", KEY), ("FailedKeyArn", KEY)], vec!["UseKey", "DecryptGivenUp"]),
        (vec![("FilesBucket", "academy-files")], vec!["FindFiles", "WriteFiles"]),
        (vec![("SubnetIds", "subnet-1,subnet-2"), ("SecurityGroupIds", "sg-1")], vec!["JoinNetwork"]),
    ] {
        let stack = made(&given);
        assert_eq!(rights(&stack, "Role"), names(&[&always[..], &more].concat()), "{given:?}");
        let of_machine = ["CallFunction", "ListGivenUp", "RunItsParts", "SeeItsParts"];
        assert_eq!(rights(&stack, "MachineRole"), names(&of_machine));
    }
    for file in TEMPLATES.iter().copied().chain(["infra/http.yaml", "infra/dedicated.yaml"]) {
        assert!(!text(file).contains("s3:GetObject"), "{file} may read what was given up");
    }
    let mut found = Vec::new();
    statements(&template(FILE), &mut found);
    let reads: Vec<&str> = found
        .iter()
        .filter(|(_, actions, _)| actions.iter().any(|of| of == "s3:GetObject"))
        .map(|(sid, ..)| sid.as_str())
        .collect();
    assert_eq!(reads, ["ReadGivenUp", "WriteFiles"]);
    for (sid, actions, resource) in &found {
        let changes = actions.iter().any(|of| of.starts_with("s3:Put") || of.starts_with("s3:Delete"));
        let is_of_files = resource.to_string().contains("FilesBucket");
        assert_eq!((changes, is_of_files && sid != "FindFiles"), (sid == "WriteFiles", sid == "WriteFiles"), "{sid}");
    }
}

#[test]
fn a_right_of_what_is_done_on_demand_names_its_resource_and_stands_with_why_in_the_table_of_security() {
    let mut found = Vec::new();
    statements(&template(FILE), &mut found);
    let of_template: BTreeSet<(String, String)> =
        found.iter().map(|(sid, actions, _)| (format!("`{sid}`"), code(actions))).collect();
    let rows = table(&text("docs/security.md"), "statement of replay");
    let told: BTreeSet<(String, String)> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(told, of_template);
    assert!(rows.iter().all(|row| row.len() == 4 && !row[3].is_empty()), "each right needs its reason");
    for (sid, actions, resource) in found {
        assert_eq!(resource == "*", ["JoinNetwork", "SendTraces"].contains(&sid.as_str()), "{sid}: {resource}");
        assert!(actions.iter().all(|action| !action.contains('*')), "{sid} allows {actions:?}");
    }
}

#[test]
fn every_alarm_and_parameter_of_replay_is_told_in_operations() {
    let operations = text("docs/operations.md");
    let stack = made(&[]);
    let names: BTreeSet<String> = stack
        .of_type("AWS::CloudWatch::Alarm")
        .iter()
        .map(|(_, of)| {
            of["AlarmName"].as_str().and_then(|name| name.strip_prefix("academy-")).expect("a name").to_owned()
        })
        .collect();
    let rows = table(&operations, "alarm of replay");
    let told: BTreeSet<String> =
        rows.iter().map(|row| row[0].trim_matches('`').trim_start_matches("…-").to_owned()).collect();
    assert_eq!(told, names);
    assert!(rows.iter().all(|row| row.len() == 3 && !row[2].is_empty()), "each alarm needs what to do");
    let section = operations
        .split("\n## What failed, on AWS\n")
        .nth(1)
        .expect("there is a section")
        .split("\n## ")
        .next()
        .unwrap();
    let common = text("template.yaml") + &text("infra/http.yaml");
    for name in template(FILE)["Parameters"].as_object().expect("parameters").keys() {
        let is_told = section.contains(&format!("`{name}`")) || common.contains(&format!("\n  {name}:\n"));
        assert!(is_told, "docs/operations.md, \"What failed, on AWS\", does not tell of {name}");
    }
}

#[test]
fn the_machine_imports_each_object_by_itself_and_sends_again_until_nothing_is_left() {
    let stack = made(&[
        ("FailedBucket", "academy-failed"),
        ("ImportSchedule", "rate(1 hour)"),
        ("ReconcileSchedule", "rate(1 day)"),
        ("ReconcileRepairs", "true"),
    ]);
    let machine = stack.properties("Machine").expect("there is a machine");
    let states = &machine["Definition"]["States"];
    let each = &states["EachObject"];
    assert_eq!(each["ItemReader"]["Parameters"], json!({"Bucket": "academy-failed", "Prefix": "aws/lambda/"}));
    assert_eq!(each["ItemProcessor"]["ProcessorConfig"]["Mode"], "DISTRIBUTED");
    let import = &each["ItemProcessor"]["States"]["Import"];
    assert_eq!(import["Parameters"]["Payload"], json!({"import": {"objects.$": "States.Array($)"}}));
    // What the function is sent is what it reads, and what it answers is what the machine goes by.
    let sent = json!({"import": {"objects": [{"Key": "aws/lambda/one", "Size": 1}]}});
    serde_json::from_value::<lyceum_replay::task::Task>(sent).expect("a task");
    let of_object = &each["ItemProcessor"]["States"];
    assert_eq!(of_object["IsImported"]["Choices"][0]["Variable"], "$.counts.refused");
    let answer = lyceum_replay::task::Done::nothing();
    let told = serde_json::to_value(answer.clone()).expect("an answer");
    assert_eq!((&told["counts"]["refused"], &told["refused"]), (&json!(0), &json!([])));
    let next = lyceum_replay::task::Task::Redrive(serde_json::Map::new());
    let left = serde_json::to_value(answer.clone().with_next(Some(next))).expect("an answer");
    assert_eq!((&left["is_done"], &left["next"]), (&json!(false), &json!({"redrive": {}})));
    assert_eq!(serde_json::to_value(answer).expect("an answer")["is_done"], true);
    let choices = states["IsDone"]["Choices"].as_array().expect("choices");
    assert_eq!(choices[0], json!({"Variable": "$.failed", "IsPresent": true, "Next": "SomebodyIsToLook"}));
    assert_eq!(choices[1], json!({"Variable": "$.is_done", "BooleanEquals": true, "Next": "Done"}));
    assert_eq!(states["SomebodyIsToLook"]["CausePath"], "$.failed");
    assert_eq!((&told["failed"], &told["pause_seconds"]), (&Value::Null, &json!(0)));
    let failed = serde_json::to_value(lyceum_replay::task::Done::failed("it is away".to_owned())).expect("an answer");
    assert_eq!((&failed["failed"], &failed["is_done"]), (&json!("it is away"), &json!(true)));
    assert_eq!(
        (&states["Pause"]["SecondsPath"], &states["Pause"]["Next"]),
        (&json!("$.pause_seconds"), &json!("GoOn"))
    );
    // Whatever the function is asked for but an import has its way through the machine, whole.
    let kinds = states["Which"]["Choices"].as_array().expect("choices").iter().map(|of| {
        assert_eq!((&of["IsPresent"], &of["Next"]), (&json!(true), &json!("Begin")));
        of["Variable"].as_str().and_then(|at| at.strip_prefix("$.")).expect("a member").to_owned()
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["redrive", "replay", "run", "reconcile"]);
    assert_eq!(states["Begin"]["Parameters"], json!({"task.$": "$"}));
    for input in [
        json!({"redrive": {"all": true}}),
        json!({"replay": {"topics": ["t"], "target": "topic"}}),
        json!({"run": "00000000-0000-0000-0000-000000000007"}),
        json!({"reconcile": {}}),
    ] {
        serde_json::from_value::<lyceum_replay::task::Task>(input).expect("a task");
    }
    assert_eq!(states["GoOn"]["Parameters"], json!({"task.$": "$.next"}));
    for state in [import, &states["Part"]] {
        assert_eq!(state["Parameters"]["FunctionName"], "<Function.Alias>");
        assert_eq!(state["Retry"][0]["ErrorEquals"], json!(["States.ALL"]));
    }
    let schedule = stack.properties("Schedule").expect("there is a schedule");
    assert_eq!(
        (&schedule["ScheduleExpression"], &schedule["Targets"][0]["Input"]),
        (&json!("rate(1 hour)"), &json!("{}"))
    );
    let comparisons = stack.properties("Comparisons").expect("there is a schedule");
    let input = comparisons["Targets"][0]["Input"].as_str().expect("a text");
    let task: lyceum_replay::task::Task = serde_json::from_str(input).expect("a task");
    let lyceum_replay::task::Task::Reconcile(task) = task else { panic!("{task:?}") };
    assert_eq!((task.last_hours, task.request.repair), (Some(25), true));
    assert_eq!(comparisons["ScheduleExpression"], "rate(1 day)");
    let none = made(&[]);
    for of in ["Schedule", "Comparisons", "ScheduleRole"] {
        assert!(none.properties(of).is_none(), "{of}");
    }
    let one = made(&[("ReconcileSchedule", "rate(1 day)")]);
    assert!(one.properties("Schedule").is_none() && one.properties("ScheduleRole").is_some());
}

#[test]
fn what_cannot_work_about_what_failed_is_refused() {
    assert_eq!(made(&[]).broken_rules(), Vec::<&str>::new());
    for (more, hint) in [
        (vec![("KafkaAuthentication", "IAM")], "IAM is for MSK"),
        (vec![("KafkaAuthentication", "PLAIN")], "need KafkaSecretArn"),
        (vec![("SecurityGroupIds", "sg-1")], "Both of SubnetIds and SecurityGroupIds"),
    ] {
        let stack = made(&more);
        assert!(stack.broken_rules().iter().any(|told| told.contains(hint)), "{more:?}");
    }
    for (name, value) in [
        ("FailedBucket", "arn:aws:s3:::academy-failed"),
        ("ImportSchedule", "every hour"),
        ("ImportsAtOnce", "0"),
        ("ReconcileSchedule", "daily"),
        ("ReconcileHours", "0"),
        ("ReconcileRepairs", "yes"),
        ("FilesBucket", "s3://academy-files"),
        ("FailedKeyArn", "alias/key"),
        ("Prefix", "a b"),
    ] {
        let refused = Deployed::refusal(files(), FILE, &given(&[(name, value)]));
        assert!(refused.is_some_and(|told| told.contains(name)), "{name} may be {value:?}");
    }
}

#[test]
fn every_variable_of_the_replay_function_is_known() {
    let own = lyceum_replay::REPLAY_VARIABLES.iter().map(|of| of.row().name);
    let known: BTreeSet<&str> =
        lyceum::config::variables().map(|of| of.name).chain(own).chain(["AWS_ENDPOINT_URL"]).collect();
    let template = template(FILE);
    let variables =
        |of: &Value| of["Environment"]["Variables"].as_object().expect("variables").keys().cloned().collect::<Vec<_>>();
    let all = variables(&template["Resources"]["Function"]["Properties"]);
    let unknown: Vec<&String> = all.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "in no table of variables: {unknown:?}");
}
