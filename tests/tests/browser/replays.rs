//! A replay as people run it who have no pointer: begun by the form, watched, stopped and resumed.

use std::time::Duration;

use lyceum_tests::academy::booking;
use lyceum_tests::workplace::Server;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Browser, ENTER};

const BOOKINGS: &str = "nlj.training.bookings";
/// So many are there at least, and at ten a second they take a while.
const RECORDS: usize = 200;
const DONE: &str = "Number(document.querySelector('#replay progress')?.value ?? 0)";
const STATE: &str = "document.querySelector('#replay [role=status] b')?.textContent";

impl Browser {
    async fn number(&self, script: &str) -> f64 {
        let number = self.client.execute(&format!("return {script}"), Vec::new()).await.expect("the script runs");
        number.as_f64().unwrap_or_else(|| panic!("{script} is {number}"))
    }

    /// What a fact of the replay's page says.
    async fn fact(&self, name: &str) -> u64 {
        let fact = format!(
            "return [...document.querySelectorAll('#replay dl.facts div')].find(of => of.querySelector('dt').textContent === {name:?})\
             .querySelector('dd').textContent"
        );
        let fact = self.client.execute(&fact, Vec::new()).await.expect("the script runs");
        let digits: String = fact.as_str().expect("a text").chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("{name} is {fact}"))
    }
}

/// Begins one, and says where its page is once it has come to its end.
pub(super) async fn walk_by_keyboard(browser: &Browser, server: &Server) -> String {
    let mut random = StdRng::seed_from_u64(14);
    let bookings: Vec<Value> = (0..RECORDS)
        .map(|number| json!({"value": booking(&mut random, "requested", &format!("again-{number}"), "a-session")}))
        .collect();
    let (status, answer) = server.post(&format!("/events/{BOOKINGS}"), &json!(bookings), None).await;
    assert_eq!(status, 202, "{answer}");

    // What it would do, and that the form keeps what was written into it.
    browser.client.goto(&format!("{}/replays", server.base)).await.expect("the page opens");
    for (field, text) in [
        ("input[name=topics]", BOOKINGS),
        ("select[name=to]", "one"),
        ("input[name=name]", "training"),
        ("input[name=rate]", "10"),
    ] {
        browser.tab_to(&format!("form.replays {field}")).await;
        browser.press(text).await;
    }
    browser.tab_to("form.replays button[value=look]").await;
    browser.press(ENTER).await;
    browser.wait_for("what it would do", "return document.querySelector('#begin .sent') !== null").await;
    let would = browser.text("#begin .sent").await;
    assert!(would.contains("would go to subscriber training") && would.contains("Nothing was done"), "{would}");

    browser.tab_to("form.replays button[value=begin]").await;
    browser.press(ENTER).await;
    browser.wait_for("the replay's page", "return location.pathname.startsWith('/replays/')").await;
    let path = browser.client.current_url().await.expect("it has an address").path().to_owned();
    let id = path.rsplit('/').next().expect("it ends with the id").to_owned();

    // It moves by itself, and whoever is about to stop it stays there.
    browser.wait_for("progress", &format!("return {DONE} > 0")).await;
    browser.tab_to("#replay form.replay button").await;
    let before = browser.number(DONE).await;
    browser.wait_for("progress that moves", &format!("return {DONE} > {before}")).await;
    let is_there = "return document.activeElement.matches('#replay form.replay button')";
    assert_eq!(
        browser.client.execute(is_there, Vec::new()).await.expect("the script runs"),
        json!(true),
        "focus stays"
    );
    assert!(browser.text("#replay [role=status]").await.contains(", 10 records a second"), "the pace is the rate");
    browser.press(ENTER).await;
    browser.wait_for("that it is stopped", &format!("return {STATE} === 'Cancelled'")).await;
    assert!(browser.text("#replay").await.contains("ancelled by"), "and by whom");
    // The part that was on its way has gone by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stood = server.get(&format!("/api/replays/{id}"), None).await.1;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stands = server.get(&format!("/api/replays/{id}"), None).await.1;
    assert_eq!((&stood["counts"], &stood["state"]), (&stands["counts"], &json!("cancelled")), "it stands still");
    assert!(stands["offsets"]["done"].as_u64() < stands["offsets"]["all"].as_u64(), "{stands}");

    browser.tab_to("#replay form.replay button").await;
    assert_eq!(browser.text("#replay form.replay button").await, "Resume");
    browser.press(ENTER).await;
    browser.wait_for("that it goes on", &format!("return {STATE} === 'Running'")).await;
    browser.wait_for("its end", &format!("return {STATE} === 'Done'")).await;
    let matched = browser.fact("matched").await;
    assert!(matched >= RECORDS as u64, "{matched}");
    assert_eq!(browser.fact("sent").await + browser.fact("skipped").await + browser.fact("refused").await, matched);
    assert_eq!(browser.number(DONE).await, 100.0);
    browser.tab_to("a[href^='/replays']").await;
    browser.press(ENTER).await;
    browser.wait_for("all replays", "return location.pathname === '/replays'").await;
    let row = browser.text("table.causes tbody tr").await;
    assert!(row.contains(BOOKINGS) && row.contains("subscriber training") && row.contains("done"), "{row}");
    path
}
