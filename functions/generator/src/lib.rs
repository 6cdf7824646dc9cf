//! Subscription: asks the content generator about requests of the generation family, and publishes what it writes on that family's
//! topic, as statements of the platform itself.

use lyceum_catalog::generation::{COMPLETED, FAILED, GENERATOR, PROGRESSED, TOPIC};
use lyceum_core::effects::Calling;
use lyceum_core::envelope::follow_up_id;
use lyceum_core::family::{FollowUp, Occurrence};
use lyceum_core::formats::statement::vocabulary::{ACTIVITIES, EXTENSIONS};
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::generator::{Content, Generated, GenerationRequest};
use lyceum_core::subscription::Subscription;
use lyceum_generation::events::{Event, What};
use lyceum_xapi::utc_time::UtcTime;
use serde_json::{Map, Value, json};

/// Asks about requests.
#[derive(Debug)]
pub struct Generator;

impl Calling for Generator {
    const SUBSCRIPTION: &'static Subscription = &GENERATOR;
    type Event = Event;
    type Request = GenerationRequest;
    type Answer = Generated;

    fn request(event: &Event, at: &Occurrence) -> Result<GenerationRequest, Refusal> {
        let What::Requested { kind, prompt, source } = &event.what else {
            let message = format!("an event of type {} asks for nothing", at.event_type);
            return Err(Refusal::Faulty { message });
        };
        Ok(GenerationRequest {
            event_id: at.event_id,
            generation_id: event.generation_id.to_string(),
            kind: kind.to_string(),
            prompt: prompt.clone(),
            source: source.clone(),
        })
    }

    fn progressed(event: &Event, percent: u8, at: &Occurrence) -> Option<FollowUp> {
        let extensions = [("percent", percent.into())];
        // Without a time, since no key records it: of a request that says none, each record has another one.
        Some(follow_up(event, PROGRESSED, usize::from(percent), "progressed", extensions, Said::default(), at))
    }

    fn answered(event: &Event, answer: &Generated, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        let timestamp = Some(UtcTime::from_millis(at.occurred_at_ms));
        Ok(vec![match answer {
            Generated::Content(Content { text, model, input_tokens, output_tokens }) => {
                let extensions = [
                    ("content_reference", format!("{ACTIVITIES}content/{}", event.generation_id).into()),
                    ("model", model.as_str().into()),
                    ("input_tokens", (*input_tokens).into()),
                    ("output_tokens", (*output_tokens).into()),
                ];
                let said = Said { timestamp, response: Some(text) };
                follow_up(event, COMPLETED, 0, "completed", extensions, said, at)
            }
            Generated::Failed { reason, detail } => {
                let extensions = [("reason", (*reason).into()), ("detail", detail.as_str().into())];
                follow_up(event, FAILED, 0, "failed", extensions, Said { timestamp, response: None }, at)
            }
        }])
    }
}

/// What only the end of a generation says.
#[derive(Default)]
struct Said<'t> {
    timestamp: Option<UtcTime>,
    response: Option<&'t str>,
}

/// A statement of the platform about a generation: the same bytes whoever makes it.
fn follow_up(
    event: &Event,
    event_type: &'static str,
    place: usize,
    verb: &str,
    extensions: impl IntoIterator<Item = (&'static str, Value)>,
    said: Said<'_>,
    at: &Occurrence,
) -> FollowUp {
    let extensions = extensions.into_iter().chain([("request_id", at.event_id.to_string().into())]);
    let extensions: Map<String, Value> =
        extensions.map(|(name, value)| (format!("{EXTENSIONS}{name}"), value)).collect();
    let mut statement = json!({
        "id": follow_up_id(at.event_id, None, event_type, place),
        "actor": {"objectType": "Agent", "account": {"homePage": "http://nlj.platform", "name": "content-generator"}},
        "verb": {"id": format!("http://adlnet.gov/expapi/verbs/{verb}"), "display": {"en": verb}},
        "object": {"objectType": "Activity", "id": format!("{ACTIVITIES}generation/{}", event.generation_id)},
        "context": {"extensions": extensions},
    });
    if let Some(timestamp) = said.timestamp {
        statement["timestamp"] = json!(timestamp);
    }
    if let Some(text) = said.response {
        statement["result"] = json!({"response": text});
    }
    let key = event.generation_id.to_string();
    FollowUp { topic: TOPIC, event_type, key, value: statement.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use lyceum_core::record::Position;
    use uuid::Uuid;

    use super::*;

    fn at() -> Occurrence {
        Occurrence {
            event_id: Uuid::from_u128(7),
            event_type: "content.generation.requested",
            tenant: "acme".into(),
            correlation_id: "c".into(),
            home: None,
            source: Position::new(TOPIC, 0, 3),
            occurred_at_ms: 1_772_355_600_000,
            now_ms: 0,
        }
    }

    fn requested() -> Event {
        let what = What::Requested { kind: "lesson".into(), prompt: Some("fractions".into()), source: None };
        Event { generation_id: "g-1".into(), request_id: None, what }
    }

    fn said(follow_up: &FollowUp) -> Value {
        serde_json::from_slice(&follow_up.value).unwrap()
    }

    #[test]
    fn a_request_becomes_a_question_and_nothing_else_does() {
        let request = Generator::request(&requested(), &at()).unwrap();
        assert_eq!((&*request.generation_id, &*request.kind), ("g-1", "lesson"));
        assert_eq!((request.prompt.as_deref(), request.source), (Some("fractions"), None));
        let other = Event { what: What::Failed { reason: "no".into() }, ..requested() };
        assert!(matches!(Generator::request(&other, &at()), Err(Refusal::Faulty { .. })));
    }

    #[test]
    fn content_completes_the_generation_and_a_refusal_fails_it() {
        let content = Content { text: "Half of a half.".into(), model: "m".into(), input_tokens: 3, output_tokens: 5 };
        let follow_ups = Generator::answered(&requested(), &Generated::Content(content), &at()).unwrap();
        let [completed] = &follow_ups[..] else { panic!("{follow_ups:?}") };
        let statement = said(completed);
        assert_eq!((completed.topic, completed.event_type, &*completed.key), (TOPIC, COMPLETED, "g-1"));
        assert_eq!(statement["id"], json!(follow_up_id(at().event_id, None, COMPLETED, 0)));
        assert_eq!(statement["object"]["id"], "http://nlj.platform/activities/generation/g-1");
        assert_eq!(statement["result"]["response"], "Half of a half.");
        assert_eq!(statement["timestamp"], "2026-03-01T09:00:00Z");
        let extensions = &statement["context"]["extensions"];
        assert_eq!(extensions[format!("{EXTENSIONS}content_reference")], "http://nlj.platform/activities/content/g-1");
        assert_eq!(extensions[format!("{EXTENSIONS}output_tokens")], 5);
        assert_eq!(extensions[format!("{EXTENSIONS}request_id")], json!(at().event_id));

        let refused = Generated::Failed { reason: "refused", detail: "it declines".into() };
        let follow_ups = Generator::answered(&requested(), &refused, &at()).unwrap();
        let statement = said(&follow_ups[0]);
        assert_eq!((follow_ups.len(), follow_ups[0].event_type), (1, FAILED));
        assert_eq!(statement["context"]["extensions"][format!("{EXTENSIONS}reason")], "refused");
        assert_eq!(statement.get("result"), None);
    }

    #[test]
    fn each_step_of_progress_has_an_id_of_its_own_and_the_same_bytes_whoever_tells_it() {
        let of = |percent| Generator::progressed(&requested(), percent, &at()).unwrap();
        assert_eq!(of(25), of(25));
        let of_another_record = Occurrence { occurred_at_ms: 7, now_ms: 8, ..at() };
        assert_eq!(Generator::progressed(&requested(), 25, &of_another_record), Some(of(25)));
        let (quarter, half) = (said(&of(25)), said(&of(50)));
        assert_ne!(quarter["id"], half["id"]);
        assert_eq!(half["context"]["extensions"][format!("{EXTENSIONS}percent")], 50);
        assert_eq!(half["id"], json!(follow_up_id(at().event_id, None, PROGRESSED, 50)));
    }
}
