//! How an event is published, in the words of three languages. Each reads the event from `event.json`, and finds the process by
//! `LYCEUM_URL` and what it is shown by `LYCEUM_TOKEN`.

use lyceum_core::catalog::TopicOf;

/// On the command line.
pub fn curl(topic: &TopicOf) -> String {
    format!(
        r#"curl --fail-with-body ${{LYCEUM_TOKEN:+--oauth2-bearer "$LYCEUM_TOKEN"}} --header 'Content-Type: application/json' \
    --data-binary @event.json "${{LYCEUM_URL:-http://127.0.0.1:8080}}/events/{}"
"#,
        topic.name
    )
}

/// In Python, with nothing but its own library.
pub fn python(topic: &TopicOf) -> String {
    format!(
        r#"import os
import urllib.request

url = os.environ.get("LYCEUM_URL", "http://127.0.0.1:8080") + "/events/{}"
headers = {{"Content-Type": "application/json"}}
if "LYCEUM_TOKEN" in os.environ:
    headers["Authorization"] = "Bearer " + os.environ["LYCEUM_TOKEN"]
with open("event.json", "rb") as event:
    request = urllib.request.Request(url, data=event.read(), headers=headers)
with urllib.request.urlopen(request) as answer:
    print(answer.read().decode())
"#,
        topic.name
    )
}

/// In Rust, with tokio and reqwest.
pub fn rust(topic: &TopicOf) -> String {
    format!(
        r#"use std::{{env, error::Error, fs}};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {{
    let url = env::var("LYCEUM_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let mut request = reqwest::Client::new().post(format!("{{url}}/events/{}"));
    if let Ok(token) = env::var("LYCEUM_TOKEN") {{
        request = request.bearer_auth(token);
    }}
    let event = fs::read("event.json")?;
    let answer = request.header("content-type", "application/json").body(event).send().await?;
    println!("{{}}", answer.error_for_status()?.text().await?);
    Ok(())
}}
"#,
        topic.name
    )
}
