// How an event is published in Rust, as `docs/events.md` shows it: written by the test `documents` of tests/events, run by that of tests.

use std::{env, error::Error, fs};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("LYCEUM_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let mut request = reqwest::Client::new().post(format!("{url}/events/nlj.training.programs"));
    if let Ok(token) = env::var("LYCEUM_TOKEN") {
        request = request.bearer_auth(token);
    }
    let event = fs::read("event.json")?;
    let answer = request.header("content-type", "application/json").body(event).send().await?;
    println!("{}", answer.error_for_status()?.text().await?);
    Ok(())
}
