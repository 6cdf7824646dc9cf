//! What a person finds on the pages of a process that was started anew.

use lyceum_tests::academy::booking;
use lyceum_tests::workplace::Workplace;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

/// The first value of an attribute.
fn attribute<'a>(page: &'a str, name: &str) -> &'a str {
    page.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).expect("the page has it")
}

#[tokio::test]
async fn after_a_restart_the_page_of_a_tenant_sends_that_tenants_letters_again_and_no_others() {
    let workplace = Workplace::new();
    workplace.write_lines("rejected.jsonl", &[booking(&mut StdRng::seed_from_u64(1), "confirmed", "b", "s")]);
    for tenant in ["one", "two"] {
        workplace.run(&["ingest", "rejected.jsonl", "--tenant", tenant]);
    }
    let server = workplace.up(&[]);
    let text = async |path: &str| match server.get(path, None).await {
        (200, Value::String(page)) => page.replace("&amp;", "&"),
        other => panic!("{path}: {other:?}"),
    };
    let page = text("/?tenant=one").await;
    assert_eq!(attribute(&page, "data-live"), "/live?tenant=one");
    assert!(page.contains("<option value=\"two\">two"), "both are there to choose: {page}");
    assert!(!page.contains("Nothing has arrived yet"), "{page}");
    let review = page.split("<a class=\"button\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
    let letters = text(review.expect("there is a letter")).await;
    assert!(letters.contains("Send the waiting one again"), "{letters}");
    let fields = letters.split("<form class=\"replay\"").nth(1).expect("a form").split("</form>").next().unwrap_or("");
    let fields: Vec<(&str, &str)> = fields
        .split("<input type=\"hidden\"")
        .skip(1)
        .map(|input| (attribute(input, "name"), attribute(input, "value")))
        .collect();
    assert!(fields.contains(&("tenant", "one")), "{fields:?}");
    let form = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let request = lyceum_https::client().post(format!("{}/api/dead-letters/replay", server.base)).body(form);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await;
    assert!(answer.expect("the server answers").status().is_success());
    let replayed = async |tenant: &str| {
        let (_, letters) = server.get(&format!("/api/dead-letters?tenant={tenant}&limit=9"), None).await;
        letters["dead_letters"].as_array().expect("a list").iter().any(|letter| letter["is_replayed"] == true)
    };
    assert_eq!((replayed("one").await, replayed("two").await), (true, false));
    server.stop().expect_code(0);
}

#[tokio::test]
async fn charts_are_there_after_a_restart_and_a_file_that_was_destroyed_stops_nobody() {
    let workplace = Workplace::new();
    workplace.write_lines("rejected.jsonl", &[booking(&mut StdRng::seed_from_u64(1), "confirmed", "b", "s")]);
    workplace.run(&["ingest", "rejected.jsonl", "--tenant", "one"]);
    let failed = async || {
        let server = workplace.up(&[]);
        let mut sums = Vec::new();
        for reach in ["day", "month", "year"] {
            let (_, history) = server.get(&format!("/api/history?reach={reach}&tenant=one"), None).await;
            assert_eq!(history["is_durable"], true);
            let bars = history["bars"].as_array().expect("there are bars").iter();
            sums.push(bars.filter_map(|bar| bar["outcomes"]["dead_lettered"].as_u64()).sum::<u64>());
        }
        let (status, page) = server.get("/?reach=month&tenant=one", None).await;
        assert_eq!(status, 200);
        server.stop().expect_code(0);
        (sums, page)
    };
    let (sums, page) = failed().await;
    assert_eq!(sums, [1, 1, 1]);
    assert!(page.as_str().is_some_and(|page| page.contains("1 dead lettered")), "{page}");
    let file = workplace.path().join(".lyceum/history.jsonl");
    let kept = std::fs::read(&file).expect("the history is kept");
    std::fs::write(&file, &kept[..kept.len() - 3]).expect("it is cut");
    failed().await;
    std::fs::write(&file, b"\xff\x00 garbage").expect("it is destroyed");
    assert_eq!(failed().await.0, [0, 0, 0]);
    assert!(workplace.path().join(".lyceum/history.unreadable").exists(), "it is put aside");
}

#[tokio::test]
async fn the_demo_has_a_past_with_one_incident_that_the_banner_names_and_the_search_finds() {
    let workplace = Workplace::new();
    let server = workplace.up_with(&[], &["--demo"]);
    let text = async |path: &str| match server.get(path, None).await {
        (200, Value::String(page)) => page,
        other => panic!("{path}: {other:?}"),
    };
    let banner = "130 events of demo failed since";
    while !text("/?tenant=demo").await.contains(banner) {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(text("/?tenant=demo").await.contains("has no zone"));
    let learning = text("/learning?tenant=demo&days=30").await;
    for department in ["nursing", "emergency", "laboratory", "administration", "logistics"] {
        assert!(learning.contains(&format!("https://academy.example/departments/{department}")), "{learning}");
    }
    assert!(learning.contains("Net promoter score <b>"), "{learning}");
    let (_, letters) = server.get("/api/dead-letters?tenant=demo&rule=statement.timestamp", None).await;
    let letter = &letters["dead_letters"][0];
    let position = letter["position"].as_str().expect("a letter has a position");
    let source = letter["source"].as_str().expect("a letter has a source");
    for (what, finds) in [
        (letter["event_id"].as_str().expect("an event has an id"), "rule was broken"),
        (position, "rule was broken"),
        (source, "It is a dead letter, at"),
        ("mailto:ada@nursing.academy.example", "Learner <code>mbox:ada@nursing.academy.example"),
        ("course-feedback", "Survey <code>course-feedback"),
        ("nobody-of-this-name", "It was looked for as:"),
    ] {
        let found = text(&format!("/search?tenant=demo&q={what}")).await;
        assert!(found.contains(finds), "{what}: {found}");
    }
    server.stop().expect_code(0);
}
