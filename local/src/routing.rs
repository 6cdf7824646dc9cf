//! Where an event belongs: its topic, and the key by which it keeps its order. Of whatever wire form: the registry tells.

use bytes::Bytes;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::outcome::Finding;
use lyceum_core::record::{Position, Record};
use lyceum_core::subscription::{Effect, Subscription};
use lyceum_functions::{Look, Looked};
use lyceum_server::questions::{About, Keys};

/// Tells where an event belongs.
#[derive(Clone)]
pub struct Router {
    look: Look,
}

impl Default for Router {
    fn default() -> Self {
        Self::new(EnvelopeConfig::default())
    }
}

/// Whether nobody but the audit log reads a topic: it notes what is there, and does nothing about it.
pub fn is_only_audited(topic: &str) -> bool {
    let reads = |of: &&Subscription| of.topics().any(|known| known == topic);
    let mut readers = lyceum_functions::functions().map(|of| of.subscription).filter(reads).peekable();
    readers.peek().is_some() && readers.all(|of| of.effect == Effect::Audit)
}

impl Router {
    /// Of a process with these limits and this default tenant.
    pub fn new(config: EnvelopeConfig) -> Self {
        Self { look: Look::new(config) }
    }

    /// Of other families than those of this release.
    pub fn by(look: Look) -> Self {
        Self { look }
    }

    /// Where an event belongs and by which key it keeps its order; on a topic that is named, it is read as events of that one are. A
    /// value that is no valid event of any family goes where its dead letter says what is wrong with it.
    pub fn route(&self, topic: Option<&str>, value: &Bytes) -> Route {
        let (topic, looked) = self.look.bound_for(&unread(topic.unwrap_or_default(), value));
        match looked {
            Looked::Event(seen) => {
                let key = seen.read.ok().map(|read| read.key);
                Route { topic: topic.ok_or_else(nowhere), key, has_id: Some(seen.has_id) }
            }
            Looked::Missing(schema) => {
                let why = format!("it is written by {schema}, which is not known here; name its topic (--topic)");
                Route { topic: Err(why), key: None, has_id: None }
            }
            Looked::Invalid(_) | Looked::Tombstone => {
                Route { topic: topic.ok_or_else(nowhere), key: None, has_id: None }
            }
        }
    }

    /// All that is wrong with a value by itself: what its family asks beside, and what its state allows, is for the function.
    pub fn judge(&self, value: &Bytes) -> Vec<Finding> {
        self.look.at(&unread("", value)).findings()
    }

    /// Whether a value looks like an event, however wrong it may be.
    pub(crate) fn is_like_an_event(&self, value: &[u8]) -> bool {
        self.look.is_like_an_event(value)
    }

    /// What events have, for a person whose file has none.
    pub(crate) fn looks(&self) -> String {
        self.look.looks().join("; ")
    }
}

fn nowhere() -> String {
    "no family takes it; name its topic (--topic)".to_owned()
}

impl Keys for Router {
    fn about(&self, record: &Record) -> About {
        lyceum_deployed::keys::about(&self.look, record)
    }

    fn key_of(&self, topic: &str, value: &Bytes) -> Option<Bytes> {
        self.route(Some(topic), value).key.map(Bytes::from)
    }
}

/// Where an event belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its topic, or why none can be told.
    pub topic: Result<&'static str, String>,
    /// Its Kafka key.
    pub key: Option<String>,
    /// Whether the event has an id of its own; `None` where it could not be read.
    pub has_id: Option<bool>,
}

/// A record that stands nowhere yet.
fn unread(topic: &str, value: &Bytes) -> Record {
    Record {
        position: Position::new(topic, 0, 0),
        timestamp_ms: 0,
        key: None,
        value: Some(value.clone()),
        headers: Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use lyceum_functions::{Entry, REGISTRY};
    use lyceum_simulation::toys::{self, avro, module};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    static FAMILIES: LazyLock<Vec<Entry>> = LazyLock::new(|| toys::ENTRIES.iter().chain(REGISTRY).copied().collect());

    /// The router of a release that has the toys' families, too.
    pub(crate) fn with_toys() -> Router {
        Router::by(Look::by(&FAMILIES, EnvelopeConfig::default()))
    }

    fn requested(course: &str) -> Bytes {
        module::value(Uuid::from_u128(7), module::REQUESTED, course, "").into()
    }

    fn of_topic(topic: &'static str, key: Option<&str>, has_id: Option<bool>) -> Route {
        Route { topic: Ok(topic), key: key.map(str::to_owned), has_id }
    }

    fn bytes(value: &serde_json::Value) -> Bytes {
        value.to_string().into()
    }

    #[test]
    fn an_event_has_an_id_wherever_it_says_it() {
        let statement = r#"{"actor": {"mbox": "mailto:a@b.example"}, "verb": {"id": "http://v.example/v"}, "object": {"id": "http://o.example/o"}}"#;
        let id = r#""00000000-0000-4000-8000-000000000001""#;
        let has_id = |event: String| Router::default().route(None, &Bytes::from(event)).has_id;
        assert_eq!(has_id(statement.to_owned()), Some(false));
        assert_eq!(has_id(statement.replacen('{', &format!("{{\"id\": {id}, "), 1)), Some(true));
        assert_eq!(has_id(format!(r#"{{"xapi_data": {statement}}}"#)), Some(false));
        let beside = format!(r#"{{"xapi_data": {statement}, "metadata": {{"event_id": {id}}}}}"#);
        assert_eq!(has_id(beside), Some(true), "another one beside it would contradict it");
        assert_eq!(has_id("{}".to_owned()), None);
    }

    #[test]
    fn an_event_of_any_form_goes_to_the_topic_of_its_type_under_its_familys_key() {
        let router = with_toys();
        let statement = json!({
            "actor": {"mbox": "mailto:ada@example.com"},
            "verb": {"id": "http://example.com/did"},
            "object": {"id": "http://example.com/it"},
        });
        let plain = of_topic("nlj.xapi.statements", Some("mbox:ada@example.com"), Some(false));
        assert_eq!(router.route(None, &bytes(&statement)), plain);
        assert_eq!(router.route(None, &requested("c-1")), of_topic(module::COURSES, Some("c-1"), Some(true)));
        let created = module::value(Uuid::from_u128(8), module::CREATED, "c-1", "");
        assert_eq!(router.route(None, &created.into()), of_topic(module::DISTRIBUTIONS, Some("c-1"), Some(true)));
    }

    #[test]
    fn what_is_wrong_goes_where_its_letter_is_written_by_who_knows_its_form() {
        let router = with_toys();
        assert_eq!(router.route(None, &bytes(&json!({"actor": {}}))), of_topic("nlj.xapi.statements", None, None));
        assert_eq!(router.route(None, &bytes(&json!({"payload": {}}))), of_topic(module::COURSES, None, None));
        // What looks like nothing is for the family that takes what no other one claims.
        assert_eq!(router.route(None, &bytes(&json!({}))), of_topic("nlj.xapi.statements", None, None));
    }

    #[test]
    fn an_event_in_bytes_whose_schema_is_not_known_here_needs_a_topic_and_a_person_is_told() {
        let router = with_toys();
        let framed = Bytes::from_static(&[0, 0, 0, 0, 7, 1, 2]);
        let told = router.route(None, &framed).topic.expect_err("nothing tells its topic");
        assert!(told.contains("schema 7") && told.contains("--topic"), "{told}");
        assert_eq!(router.key_of(avro::TOPIC, &framed), None);
        assert!(router.judge(&framed)[0].message.contains("schema 7"));
    }

    #[test]
    fn on_a_topic_an_event_is_read_by_that_ones_form() {
        let router = with_toys();
        assert_eq!(router.key_of(module::COURSES, &requested("c-2")), Some("c-2".into()));
        assert_eq!(router.key_of("nlj.xapi.statements", &requested("c-2")), None);
        let record = unread(module::COURSES, &requested("c-2"));
        let About { tenant, correlation_id, event_id, aggregates, fields } = router.about(&record);
        assert_eq!((tenant.as_deref(), correlation_id.as_deref()), (Some("acme"), Some("c-1")));
        assert_eq!(event_id, Some(Uuid::from_u128(7)));
        assert_eq!(aggregates.iter().map(|of| (of.kind, &*of.id)).collect::<Vec<_>>(), [("course", "c-2")]);
        assert_eq!(fields, None, "a text tells them itself");
    }

    #[test]
    fn an_event_is_judged_by_the_form_that_it_looks_like() {
        let router = with_toys();
        assert_eq!(router.judge(&requested("c-1")), []);
        let unknown = module::value(Uuid::from_u128(7), "toy.course.lost", "c-1", "");
        let rules = |value: &Bytes| router.judge(value).into_iter().map(|of| of.rule).collect::<Vec<_>>();
        assert_eq!(rules(&unknown.into()), ["event-type.unknown"]);
        // The type of a statement's family, and no statement.
        let elsewhere = module::value(Uuid::from_u128(7), "program.created", "c-1", "");
        assert_eq!(rules(&elsewhere.into()), ["event-type.topic"]);
        assert!(rules(&bytes(&json!({"actor": {}}))).len() > 1, "all that a statement lacks");
    }

    #[test]
    fn a_given_up_record_of_any_form_is_its_tenants() {
        let wrong = Bytes::from(r#"{"payload": {}, "meta": {}}"#);
        let about = with_toys().about(&unread(module::COURSES, &wrong));
        assert_eq!((about.tenant.as_deref(), about.event_id), (Some("default"), None));
    }
}
