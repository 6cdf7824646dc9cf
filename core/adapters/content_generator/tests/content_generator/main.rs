//! Content generators before their contract, and the Messages API as it answers on good days and on bad ones: a server of ours that
//! follows a script.

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_around::lazily::{Fixed, Settings};
use lyceum_content_generator::{Messages, MessagesSettings, Offline};
use lyceum_core::ports::call::{CallError, CallPort, Unwatched};
use lyceum_core::ports::generator::{CUT_OFF, Content, Generated, REFUSED, TOO_LARGE, WRONG_REQUEST};
use lyceum_testing::clock::ManualClock;
use lyceum_testing::generator_contract::{Watched, it_writes_content_and_tells_how_far_it_is, request};
use scripted::{Scripted, Turn, content, error, stream};

const KEY: &str = "k-secret";

fn settings(url: &str) -> MessagesSettings {
    MessagesSettings {
        url: url.to_owned(),
        api_key: KEY.to_owned(),
        model: "writer-1".to_owned(),
        max_tokens: 256,
        timeout: Duration::from_secs(20),
    }
}

fn messages(settings: MessagesSettings, clock: &Arc<ManualClock>) -> Messages {
    Messages::new(Box::new(Fixed(Arc::new(settings))), clock.clone()).unwrap()
}

/// How a call ends before a server with that script, what it was asked, and how long was slept between attempts.
async fn called(turns: Vec<Turn>) -> (Result<Generated, CallError>, Vec<String>, Vec<Duration>) {
    let server = Scripted::start(turns).await;
    let clock = Arc::new(ManualClock::at(0));
    let ended = messages(settings(&server.url), &clock).call(&request(), &Unwatched).await;
    (ended, server.asked(), clock.take_slept())
}

fn is_content(ended: &Result<Generated, CallError>) -> bool {
    matches!(ended, Ok(Generated::Content(_)))
}

fn failure(ended: Result<Generated, CallError>) -> &'static str {
    match ended {
        Ok(Generated::Failed { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_generators_keep_to_the_contract() {
    it_writes_content_and_tells_how_far_it_is(&Offline).await;
    let server = Scripted::start(vec![stream(content("end_turn"))]).await;
    let clock = Arc::new(ManualClock::at(0));
    it_writes_content_and_tells_how_far_it_is(&messages(settings(&server.url), &clock)).await;
}

#[tokio::test]
async fn the_one_in_the_process_writes_the_same_for_the_same_request_and_says_that_no_model_wrote_it() {
    let write = async || Offline.call(&request(), &Unwatched).await.unwrap();
    let (one, other) = (write().await, write().await);
    assert_eq!(one, other);
    let Generated::Content(Content { text, model, .. }) = one else { panic!("{one:?}") };
    assert!(text.contains("without a language model") && text.contains("A quarter is a half of a half"), "{text}");
    assert_eq!(model, "offline");
}

#[tokio::test]
async fn a_request_has_key_version_and_body_and_its_answer_is_told_as_it_comes() {
    let server = Scripted::start(vec![stream(content("end_turn"))]).await;
    let clock = Arc::new(ManualClock::at(0));
    let watched = Watched::default();
    let generated = messages(settings(&server.url), &clock).call(&request(), &watched).await.unwrap();
    let Generated::Content(of) = generated else { panic!("{generated:?}") };
    assert_eq!((&*of.model, of.input_tokens, of.output_tokens), ("writer-1-2026", 40, 200));
    assert!(watched.told().last().is_some_and(|percent| *percent > 50), "{:?}", watched.told());
    let asked = server.asked();
    let [asked] = &asked[..] else { panic!("{asked:?}") };
    assert!(asked.starts_with("POST /v1/messages HTTP/1.1"), "{asked}");
    let lower = asked.to_ascii_lowercase();
    for header in ["x-api-key: k-secret", "anthropic-version: 2023-06-01", "content-type: application/json"] {
        assert!(lower.contains(header), "{asked}");
    }
    let body: serde_json::Value = serde_json::from_str(asked.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((body["model"].as_str(), body["max_tokens"].as_u64()), (Some("writer-1"), Some(256)));
    assert!(body["messages"][0]["content"].as_str().unwrap().contains("Explain halves and quarters."));
}

#[tokio::test]
async fn one_that_is_overloaded_or_asked_too_often_is_asked_again_after_the_time_that_it_names() {
    let turns = vec![
        error(429, "rate_limit_error", &["retry-after: 7"]),
        error(529, "overloaded_error", &["retry-after-ms: 1500"]),
        stream(content("end_turn")),
    ];
    let (ended, asked, slept) = called(turns).await;
    assert!(is_content(&ended), "{ended:?}");
    assert_eq!((asked.len(), slept), (3, vec![Duration::from_secs(7), Duration::from_millis(1_500)]));
}

#[tokio::test]
async fn attempts_end_and_what_may_pass_is_left_undecided() {
    let busy = || error(529, "overloaded_error", &[]);
    let (ended, asked, _) = called(vec![busy(), busy(), busy(), stream(content("end_turn"))]).await;
    let CallError(why) = ended.unwrap_err();
    assert!(asked.len() == 3 && why.contains("overloaded") && why.contains("status 529"), "{why}");
    // Longer than anybody waits within a call.
    let (ended, asked, slept) = called(vec![error(429, "rate_limit_error", &["retry-after: 3600"])]).await;
    assert!(ended.is_err() && asked.len() == 1 && slept.is_empty());
}

#[tokio::test]
async fn whether_it_should_be_asked_again_is_the_services_word_before_any_status() {
    let (ended, asked, _) = called(vec![error(529, "overloaded_error", &["x-should-retry: false"])]).await;
    assert!(ended.is_err() && asked.len() == 1);
    let turns = vec![error(400, "invalid_request_error", &["x-should-retry: true"]), stream(content("end_turn"))];
    let (ended, asked, _) = called(turns).await;
    assert!(is_content(&ended) && asked.len() == 2);
}

#[tokio::test]
async fn what_no_repetition_mends_fails_for_good_and_is_asked_once() {
    for (status, kind, reason) in [(400, "invalid_request_error", WRONG_REQUEST), (413, "request_too_large", TOO_LARGE)]
    {
        let (ended, asked, _) = called(vec![error(status, kind, &[])]).await;
        assert_eq!((failure(ended), asked.len()), (reason, 1));
    }
    for (stop_reason, reason) in [("refusal", REFUSED), ("max_tokens", CUT_OFF)] {
        let (ended, asked, _) = called(vec![stream(content(stop_reason))]).await;
        assert_eq!((failure(ended), asked.len()), (reason, 1));
    }
}

#[tokio::test]
async fn a_key_that_is_refused_or_an_account_without_money_is_for_a_person_and_the_event_waits() {
    for (status, kind, word) in [
        (401, "authentication_error", "CLAUDE_API_KEY"),
        (403, "permission_error", "CLAUDE_API_KEY"),
        (402, "billing_error", "paid"),
        (404, "not_found_error", "CONTENT_GENERATOR_MODEL"),
    ] {
        let (ended, asked, _) = called(vec![error(status, kind, &["request-id: req_1"])]).await;
        let CallError(why) = ended.unwrap_err();
        assert!(asked.len() == 1 && why.contains(word) && why.contains("req_1") && !why.contains(KEY), "{why}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_malformed_or_an_error_after_all_is_asked_for_again() {
    let whole = content("end_turn");
    let mut erring = whole.clone();
    erring.insert(5, r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}"#.to_owned());
    let mut malformed = whole.clone();
    malformed.insert(5, "{\"type\": ".to_owned());
    for bad in [stream(whole[..6].to_vec()), stream(erring), stream(malformed), Turn::HangUp, Turn::Cut(whole.clone())]
    {
        let (ended, asked, slept) = called(vec![bad, stream(whole.clone())]).await;
        assert!(is_content(&ended), "{ended:?}");
        assert_eq!((asked.len(), slept.len()), (2, 1));
    }
}

#[tokio::test]
async fn one_that_is_silent_is_given_up_in_time_and_asked_again() {
    let server = Scripted::start(vec![Turn::Silent, stream(content("end_turn"))]).await;
    let clock = Arc::new(ManualClock::at(0));
    let impatient = MessagesSettings { timeout: Duration::from_millis(300), ..settings(&server.url) };
    let ended = messages(impatient, &clock).call(&request(), &Unwatched).await;
    assert!(is_content(&ended), "{ended:?}");
    let CallError(why) =
        messages(settings("http://127.0.0.1:1"), &clock).call(&request(), &Unwatched).await.unwrap_err();
    assert!(why.contains("does not answer"), "{why}");
}

#[tokio::test]
async fn whoever_redirects_is_not_given_the_key() {
    let elsewhere = Scripted::start(vec![stream(content("end_turn"))]).await;
    let location = format!("location: {}/v1/messages", elsewhere.url);
    let (ended, ..) = called(vec![error(307, "", &[&location])]).await;
    assert!(ended.is_err() && elsewhere.asked().is_empty());
}

/// Credentials that are others once they were refused.
struct Rotated([Arc<MessagesSettings>; 2], std::sync::atomic::AtomicUsize);

#[async_trait]
impl Settings<MessagesSettings> for Rotated {
    async fn current(&self) -> Arc<MessagesSettings> {
        self.0[self.1.load(std::sync::atomic::Ordering::SeqCst)].clone()
    }

    async fn have_others(&self, _: &Arc<MessagesSettings>) -> bool {
        self.1.swap(1, std::sync::atomic::Ordering::SeqCst) == 0
    }
}

#[tokio::test]
async fn a_key_that_was_rotated_is_read_again_and_used_once_more() {
    let refuses = || error(401, "authentication_error", &[]);
    let server = Scripted::start(vec![refuses(), stream(content("end_turn")), refuses(), refuses()]).await;
    let second = MessagesSettings { api_key: "k-second".into(), ..settings(&server.url) };
    let rotated = Rotated([settings(&server.url), second].map(Arc::new), 0.into());
    let generator = Messages::new(Box::new(rotated), Arc::new(ManualClock::at(0))).unwrap();
    let ended = generator.call(&request(), &Unwatched).await;
    assert!(is_content(&ended), "{ended:?}");
    let asked = server.asked();
    assert!(asked[0].contains("k-secret") && asked[1].contains("k-second"), "{asked:?}");
    assert!(generator.call(&request(), &Unwatched).await.is_err(), "there is no third key");
}
