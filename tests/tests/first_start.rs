//! What a newcomer meets first.

use std::time::Instant;

use lyceum_tests::binary;
use lyceum_tests::workplace::Workplace;

#[tokio::test]
async fn the_page_answers_as_soon_as_the_process_says_where_it_is() {
    let workplace = Workplace::new();
    binary::lyceum();
    let started = Instant::now();
    let server = workplace.up_with(&[], &["--demo"]);
    let (status, page) = server.get("/", None).await;
    println!("the page answered {:.0?} after the start of the binary", started.elapsed());
    assert_eq!(status, 200);
    let page = page.as_str().expect("it is HTML");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Overview · Lyceum"), "{page}");
    assert_eq!(server.get("/health", None).await.0, 200);
    let told = server.running.printed();
    assert!(told.contains("tenant \"demo\"") && told.contains("127.0.0.1 only"), "{told}");
    server.stop().expect_code(0);
}

#[tokio::test]
async fn an_academy_that_is_made_up_fills_every_part_of_the_page() {
    let workplace = Workplace::new();
    let server = workplace.up_with(&[], &["--demo"]);
    // The traffic is random; each of its kinds comes sooner or later.
    let of_the_past = ["program.published", "session.scheduled", "survey.completed", "statement"];
    let of_now = ["question.answered", "content.viewed", "notification.sent", "course.generation.requested"];
    for part in of_the_past.into_iter().chain(of_now) {
        while !server.get("/api/analytics/platform/overview?tenant=demo", None).await.1.to_string().contains(part) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    let (_, others) = server.get("/api/analytics/platform/overview?tenant=default", None).await;
    assert_eq!(others["total"], 0, "made-up events are marked as such");
    server.stop().expect_code(0);
}
