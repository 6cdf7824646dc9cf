//! AWS's services, asked one by one: what is there, what is missing, and what may not be seen.

use lyceum_aws::call::{Answer, CallError, Service};
use lyceum_secrets::{Place, get_parameter};
use serde_json::Value;

use super::facts::{Seen, Unseen};
use super::xml;

/// The services of one region.
pub(super) struct Ask {
    cloudformation: Service,
    lambda: Service,
    monitoring: Service,
    sns: Service,
    iam: Service,
    dynamodb: Service,
    secretsmanager: Service,
}

impl Ask {
    pub(super) fn new(region: &str) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let service = |name| Service::new(name, region, variable);
        Self {
            cloudformation: service("cloudformation"),
            lambda: service("lambda"),
            monitoring: service("monitoring"),
            sns: service("sns"),
            iam: service("iam"),
            dynamodb: service("dynamodb"),
            secretsmanager: service("secretsmanager"),
        }
    }

    /// The stack's resources: type, logical and physical id. All of them, page by page.
    pub(super) async fn resources(&self, stack: &str) -> Seen<Vec<(String, String, String)>> {
        let (mut resources, mut next) = (Vec::new(), None);
        loop {
            let mut question = vec![("StackName", stack.to_owned())];
            question.extend(next.map(|next| ("NextToken", next)));
            let answer = query(&self.cloudformation, "2010-05-15", "ListStackResources", &question).await?;
            let result = &answer["ListStackResourcesResult"];
            for resource in result["StackResourceSummaries"].as_array().into_iter().flatten() {
                let of = |name: &str| text(&resource[name]);
                if !of("ResourceStatus").starts_with("DELETE_COMPLETE") && !of("PhysicalResourceId").is_empty() {
                    resources.push((of("ResourceType"), of("LogicalResourceId"), of("PhysicalResourceId")));
                }
            }
            next = Some(text(&result["NextToken"])).filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(resources);
            }
        }
    }

    /// Of Lambda's interface, what lies at that path.
    pub(super) async fn lambda(&self, path: &str) -> Seen<Value> {
        json(self.lambda.send("GET", path, &[], "").await, self.lambda.name())
    }

    pub(super) async fn alarm(&self, name: &str) -> Seen<Value> {
        let body =
            serde_json::json!({"AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}).to_string();
        let target = "GraniteServiceVersion20100801.DescribeAlarms";
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target)];
        let answer = json(self.monitoring.send("POST", "/", &headers, &body).await, self.monitoring.name())?;
        let first = |of: &str| answer[of].as_array().and_then(|alarms| alarms.first()).cloned();
        first("MetricAlarms").or_else(|| first("CompositeAlarms")).ok_or(Unseen::Missing)
    }

    /// How many are told what is sent to a topic of SNS.
    pub(super) async fn listeners(&self, topic: &str) -> Seen<u64> {
        let question = [("TopicArn", topic.to_owned())];
        let answer = query(&self.sns, "2010-03-31", "GetTopicAttributes", &question).await?;
        let attributes = &answer["GetTopicAttributesResult"]["Attributes"];
        let confirmed = find_entry(attributes, "SubscriptionsConfirmed");
        let told = confirmed.and_then(|value| value.parse().ok());
        told.ok_or_else(|| Unseen::NotFromHere("SNS says nothing of its subscriptions".to_owned()))
    }

    /// Whether a role may do that: `allowed`, or how it is denied.
    pub(super) async fn decision(&self, role: &str, action: &str, resource: &str) -> Seen<String> {
        let question = [
            ("PolicySourceArn", role.to_owned()),
            ("ActionNames.member.1", action.to_owned()),
            ("ResourceArns.member.1", resource.to_owned()),
        ];
        let answer = query(&self.iam, "2010-05-08", "SimulatePrincipalPolicy", &question).await?;
        let results = &answer["SimulatePrincipalPolicyResult"]["EvaluationResults"];
        let decision = results.as_array().and_then(|results| results.first()).map(|of| text(&of["EvalDecision"]));
        decision.ok_or_else(|| Unseen::NotFromHere("IAM says nothing of it".to_owned()))
    }

    pub(super) async fn table(&self, name: &str) -> Seen<Value> {
        let body = serde_json::json!({"TableName": name}).to_string();
        let headers =
            [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "DynamoDB_20120810.DescribeTable")];
        json(self.dynamodb.send("POST", "/", &headers, &body).await, self.dynamodb.name())
    }

    /// Whether a secret is to be deleted; what it holds is not shown.
    pub(super) async fn is_secret_going(&self, arn: &str) -> Seen<bool> {
        match Place::of(arn) {
            Place::SecretsManager => {
                let found = self.secret("DescribeSecret", arn).await?;
                Ok(!found["DeletedDate"].is_null())
            }
            Place::ParameterStore { region, name } => parameter(region, name, false).await.map(|_| false),
        }
    }

    /// What a secret holds.
    pub(super) async fn secret_text(&self, arn: &str) -> Seen<String> {
        match Place::of(arn) {
            Place::SecretsManager => Ok(text(&self.secret("GetSecretValue", arn).await?["SecretString"])),
            Place::ParameterStore { region, name } => {
                Ok(text(&parameter(region, name, true).await?["Parameter"]["Value"]))
            }
        }
    }

    async fn secret(&self, action: &str, arn: &str) -> Seen<Value> {
        let body = serde_json::json!({"SecretId": arn}).to_string();
        let target = format!("secretsmanager.{action}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        json(self.secretsmanager.send("POST", "/", &headers, &body).await, self.secretsmanager.name())
    }
}

/// Where its own region has it, as the function asks for it.
async fn parameter(region: &str, name: &str, is_decrypted: bool) -> Seen<Value> {
    json(get_parameter(region, name, is_decrypted).await, "ssm")
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The value of an entry, of one or of several.
fn find_entry(attributes: &Value, name: &str) -> Option<String> {
    let entries = match &attributes["entry"] {
        Value::Array(entries) => entries.iter().collect::<Vec<_>>(),
        entry => vec![entry],
    };
    entries.into_iter().find(|entry| entry["key"] == name).map(|entry| text(&entry["value"]))
}

/// A call of a service that speaks AWS's query protocol: a form in, XML out.
async fn query(service: &Service, version: &str, action: &str, parameters: &[(&str, String)]) -> Seen<Value> {
    let mut form = vec![("Action", action), ("Version", version)];
    form.extend(parameters.iter().map(|(name, value)| (*name, value.as_str())));
    let body = serde_urlencoded::to_string(form).map_err(|error| Unseen::NotFromHere(error.to_string()))?;
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let answer = answered(service.send("POST", "/", &headers, &body).await)?;
    let read = xml::read(&answer.body).unwrap_or_default();
    match answer.status {
        200..300 if read.is_object() => Ok(read),
        status => {
            let error = &read["Error"];
            Err(refused(service.name(), status, &text(&error["Code"]), &text(&error["Message"])))
        }
    }
}

fn json(answer: Result<Answer, CallError>, service: &str) -> Seen<Value> {
    let answer = answered(answer)?;
    let read: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match answer.status {
        200..300 if read.is_object() => Ok(read),
        status => {
            let kind = ["__type", "Type", "code"].into_iter().find_map(|name| read[name].as_str()).unwrap_or_default();
            let said = ["message", "Message"].into_iter().find_map(|name| read[name].as_str()).unwrap_or_default();
            Err(refused(service, status, kind, said))
        }
    }
}

fn answered(answer: Result<Answer, CallError>) -> Seen<Answer> {
    answer.map_err(|error| Unseen::NotFromHere(error.to_string()))
}

/// What is not there, and what is not shown.
fn refused(service: &str, status: u16, kind: &str, said: &str) -> Unseen {
    let is_missing =
        kind.contains("NotFound") || status == 404 || kind == "NoSuchEntity" || said.contains("does not exist");
    match is_missing {
        true => Unseen::Missing,
        false => {
            let kind = kind.rsplit('#').next().unwrap_or_default();
            Unseen::NotFromHere(format!("{service} says HTTP {status} {kind} {said}").trim_end().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, CallError> {
        Ok(Answer { status, body: body.to_owned() })
    }

    #[test]
    fn what_is_not_there_is_told_from_what_may_not_be_seen() {
        let missing = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no table"}"#;
        assert_eq!(json(answer(400, missing), "dynamodb"), Err(Unseen::Missing));
        let denied = r#"{"__type":"AccessDeniedException","Message":"User: x is not authorized"}"#;
        let Err(Unseen::NotFromHere(why)) = json(answer(400, denied), "dynamodb") else { panic!("it is denied") };
        assert_eq!(why, "dynamodb says HTTP 400 AccessDeniedException User: x is not authorized");
        assert!(matches!(json(answer(502, "<html>"), "lambda"), Err(Unseen::NotFromHere(_))));
    }

    #[test]
    fn the_attributes_of_a_topic_are_found_by_their_names() {
        let text = "<R><A><entry><key>Owner</key><value>1</value></entry><entry><key>SubscriptionsConfirmed</key><value>2</value></entry></A></R>";
        let read = xml::read(text).unwrap();
        assert_eq!(find_entry(&read["A"], "SubscriptionsConfirmed").as_deref(), Some("2"));
        assert_eq!(find_entry(&read["A"], "Nothing"), None);
    }
}
