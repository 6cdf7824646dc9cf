//! The state machine of infra/replay.yaml, which goes on with replays that are begun here.

use anyhow::{Result, bail};
use async_trait::async_trait;
use lyceum_aws::call::Service;
use lyceum_server::questions::AskError;
use lyceum_server::replay::HandOver;
use serde_json::{Value, json};
use uuid::Uuid;

/// Begins executions of the machine, where there is one.
pub struct Machine(Option<(Service, String)>);

impl Machine {
    /// The machine of an ARN, in the ARN's region.
    ///
    /// # Errors
    /// Where that is no ARN of a machine.
    pub fn new(arn: Option<String>, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let Some(arn) = arn else { return Ok(Self(None)) };
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", _, "states", region, _, "stateMachine", _] = parts[..] else {
            bail!(
                "REPLAY_MACHINE_ARN is {arn:?}: it is the output Machine of infra/replay.yaml, arn:aws:states:…:stateMachine:…"
            );
        };
        let service = Service::new("states", region, variable);
        Ok(Self(Some((service, arn))))
    }
}

#[async_trait]
impl HandOver for Machine {
    fn check(&self) -> Result<(), AskError> {
        self.0.as_ref().map(drop).ok_or_else(|| {
            let told = "nobody goes on with replays here: deploy infra/replay.yaml, and give infra/http.yaml its output Machine as \
                        ReplayMachineArn; `lyceum replay` runs one where it is called";
            AskError::NotFound(told.to_owned())
        })
    }

    async fn hand_over(&self, run: Uuid, turn: &str) -> Result<(), AskError> {
        self.check()?;
        let Some((states, arn)) = &self.0 else { return Ok(()) };
        // Of the same name and input a second one is none, for as long as the first runs.
        let body = json!({"stateMachineArn": arn, "name": turn, "input": json!({"run": run}).to_string()}).to_string();
        let headers =
            [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "AWSStepFunctions.StartExecution")];
        let answer = states.send("POST", "/", &headers, &body).await;
        let answer = answer.map_err(|error| AskError::Unavailable(error.to_string()))?;
        if answer.status == 200 {
            return Ok(());
        }
        let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let kind = told["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned();
        let why = ["message", "Message"].into_iter().find_map(|name| told[name].as_str()).unwrap_or_default();
        match (answer.status, kind.as_str()) {
            // It ran, and has ended.
            (_, "ExecutionAlreadyExists") => Ok(()),
            (500.., _) | (_, "ThrottlingException" | "ExecutionLimitExceeded") => {
                Err(AskError::Unavailable(format!("Step Functions answers {} {kind}: {why}", answer.status)))
            }
            (status, "AccessDeniedException") => Err(AskError::Failed(format!(
                "Step Functions answers {status} {kind}: the role needs states:StartExecution for {arn}"
            ))),
            (status, _) => Err(AskError::Failed(format!("Step Functions answers {status} {kind}: {why}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use parking_lot::Mutex;

    use super::*;

    const ARN: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:lyceum-replay";

    /// Step Functions as far as it is asked, which answers each call with the next of these.
    async fn machine(answers: Vec<(u16, &'static str)>) -> (Machine, Arc<Mutex<Vec<Value>>>) {
        let (asked, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(answers)));
        let seen = asked.clone();
        let answer = move |headers: HeaderMap, body: String| {
            assert_eq!(headers["x-amz-target"], "AWSStepFunctions.StartExecution");
            assert!(headers["authorization"].to_str().unwrap().contains("/eu-central-1/states/"));
            seen.lock().push(serde_json::from_str(&body).unwrap());
            let (status, body) = answers.lock().remove(0);
            std::future::ready((StatusCode::from_u16(status).unwrap(), body))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(answer))).await });
        let variable = move |name: &str| (name == "AWS_ENDPOINT_URL").then(|| endpoint.clone());
        let Machine(Some((service, arn))) = Machine::new(Some(ARN.to_owned()), variable).unwrap() else { panic!() };
        let signer = lyceum_aws::sign::Signer::with("eu-central-1", "states", "key", "secret");
        (Machine(Some((service.signed_by(signer), arn))), asked)
    }

    #[tokio::test]
    async fn a_run_is_handed_over_by_its_name_and_what_cannot_be_is_told() {
        let (machine, asked) = machine(vec![
            (200, r#"{"executionArn": "e", "startDate": 1}"#),
            (400, r#"{"__type": "com.amazonaws.swf#ExecutionAlreadyExists", "message": "it is there"}"#),
            (400, r#"{"__type": "ThrottlingException", "message": "slower"}"#),
            (400, r#"{"__type": "com.amazonaws.swf#StateMachineDoesNotExist", "message": "which?"}"#),
            (400, r#"{"__type": "AccessDeniedException", "Message": "not you"}"#),
            (503, "away"),
        ])
        .await;
        let run = Uuid::from_u128(7);
        machine.check().unwrap();
        machine.hand_over(run, "one").await.unwrap();
        machine.hand_over(run, "one").await.unwrap();
        let input = json!({"run": run}).to_string();
        assert_eq!(asked.lock()[0], json!({"stateMachineArn": ARN, "name": "one", "input": input}));
        assert!(
            matches!(machine.hand_over(run, "two").await, Err(AskError::Unavailable(told)) if told.contains("slower"))
        );
        assert!(matches!(machine.hand_over(run, "two").await, Err(AskError::Failed(told)) if told.contains("which?")));
        let told = machine.hand_over(run, "two").await.unwrap_err().to_string();
        assert!(told.contains("the role needs states:StartExecution"), "{told}");
        assert!(matches!(machine.hand_over(run, "two").await, Err(AskError::Unavailable(_))));
    }

    #[tokio::test]
    async fn without_a_machine_nothing_is_begun_and_it_is_told_what_to_deploy() {
        let nobody = Machine::new(None, |_| None).unwrap();
        assert!(matches!(nobody.check(), Err(AskError::NotFound(told)) if told.contains("ReplayMachineArn")));
        assert!(nobody.hand_over(Uuid::nil(), "one").await.is_err());
        let told = Machine::new(Some("lyceum-replay".to_owned()), |_| None).err().unwrap().to_string();
        assert!(told.contains("REPLAY_MACHINE_ARN"), "{told}");
    }
}
