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
    let request = reqwest::Client::new().post(format!("{}/api/dead-letters/replay", server.base)).body(form);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await;
    assert!(answer.expect("the server answers").status().is_success());
    let replayed = async |tenant: &str| {
        let (_, letters) = server.get(&format!("/api/dead-letters?tenant={tenant}&limit=9"), None).await;
        letters["dead_letters"].as_array().expect("a list").iter().any(|letter| letter["is_replayed"] == true)
    };
    assert_eq!((replayed("one").await, replayed("two").await), (true, false));
    server.stop().expect_code(0);
}
