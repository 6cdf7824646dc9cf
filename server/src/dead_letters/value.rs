//! What is read of an original to tell people which one it is. It may be anything, so that nothing here is an error.

use lyceum_core::record::{NewRecord, header_text};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

const EVENT_ID: &str = "event-id";

/// A member of the statement, which stands bare or in a wrapped message.
fn member<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Wrapped<T> {
        xapi_data: T,
    }
    let wrapped = || serde_json::from_slice::<Wrapped<T>>(value).ok().map(|wrapped| wrapped.xapi_data);
    serde_json::from_slice(value).ok().or_else(wrapped)
}

/// The statement's id, or the one that its header gives it.
pub(super) fn event_id(original: &NewRecord) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Identified {
        id: Uuid,
    }
    let in_header = || header_text(&original.headers, EVENT_ID)?.parse().ok();
    member::<Identified>(original.value.as_deref()?).map(|statement| statement.id).or_else(in_header)
}

/// Whom the statement is about: its mail address, account or name.
pub(crate) fn learner(value: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Acted {
        actor: Actor,
    }
    #[derive(Deserialize)]
    struct Actor {
        mbox: Option<String>,
        account: Option<Account>,
        openid: Option<String>,
        mbox_sha1sum: Option<String>,
        name: Option<String>,
    }
    #[derive(Deserialize)]
    struct Account {
        name: String,
    }
    let Actor { mbox, account, openid, mbox_sha1sum, name } = member::<Acted>(value)?.actor;
    let mail = mbox.map(|mbox| mbox.strip_prefix("mailto:").unwrap_or(&mbox).to_owned());
    let learner = mail.or(account.map(|account| account.name)).or(openid).or(mbox_sha1sum).or(name)?;
    Some(learner.chars().take(LEARNER_CHARS).collect())
}

/// Who sent the event, as it says itself: the module of an envelope, the platform of a statement, else where a wrapped message was routed
/// from.
pub(super) fn sender(original: &NewRecord) -> Option<String> {
    /// What is named by an object's member, whatever else it has.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        meta: Value,
        source: Value,
        context: Value,
        xapi_data: Value,
        routing_info: Value,
    }
    let Said { meta, source, context, xapi_data, routing_info } =
        serde_json::from_slice(original.value.as_deref()?).ok()?;
    let named = [
        meta.get("source_module"),
        meta.get("producer"),
        context.get("platform"),
        xapi_data.pointer("/context/platform"),
        routing_info.get("source"),
        Some(&source),
    ];
    let named = named.into_iter().flatten().filter_map(Value::as_str).map(str::trim);
    Some(named.into_iter().find(|name| !name.is_empty())?.chars().take(SENDER_CHARS).collect())
}

/// So much of a sender's name is kept.
const SENDER_CHARS: usize = 120;
/// So much of a learner's name is shown.
const LEARNER_CHARS: usize = 120;

/// The original as one line of JSON; `None` where it is none. No text of JSON holds a line break as such, so that taking them
/// out changes nothing.
pub(super) fn json_line(value: &[u8]) -> Option<String> {
    serde_json::from_slice::<serde::de::IgnoredAny>(value).ok()?;
    Some(String::from_utf8(value.to_vec()).ok()?.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lyceum_core::record::Header;

    fn original(value: &'static str, headers: Vec<Header>) -> NewRecord {
        NewRecord { value: Some(value.into()), headers, ..NewRecord::default() }
    }

    #[test]
    fn an_events_id_is_found_bare_wrapped_and_in_its_header() {
        let id = "5ffc4b9d-bc4b-5350-b6b2-892be2a95cc4";
        let bare = original(r#"{"id": "5ffc4b9d-bc4b-5350-b6b2-892be2a95cc4"}"#, vec![]);
        let wrapped = original(r#"{"xapi_data": {"id": "5ffc4b9d-bc4b-5350-b6b2-892be2a95cc4"}}"#, vec![]);
        let by_header = original("{}", vec![Header::new(EVENT_ID, id)]);
        for original in [bare, wrapped, by_header] {
            assert_eq!(event_id(&original), id.parse().ok(), "{original:?}");
        }
        for value in ["", "7", "{}", r#"{"id": 7}"#] {
            assert_eq!(event_id(&original(value, vec![])), None, "{value}");
        }
    }

    #[test]
    fn a_learner_is_shown_by_what_people_know() {
        for (actor, shown) in [
            (r#"{"mbox": "mailto:ada@academy.example", "name": "Ada"}"#, Some("ada@academy.example")),
            (r#"{"account": {"homePage": "http://a.example", "name": "ada"}}"#, Some("ada")),
            (r#"{"objectType": "Group", "name": "Two"}"#, Some("Two")),
            (r#"{"mbox": 7}"#, None),
            ("{}", None),
        ] {
            assert_eq!(learner(format!(r#"{{"actor": {actor}}}"#).as_bytes()).as_deref(), shown, "{actor}");
        }
    }

    #[test]
    fn a_sender_is_whom_an_event_names_as_such() {
        for (value, shown) in [
            (r#"{"source": "s", "meta": {"source_module": "course", "producer": "course-service"}}"#, Some("course")),
            (r#"{"source": "s", "meta": {"source_module": 7, "producer": "course-service"}}"#, Some("course-service")),
            (r#"{"source": " s ", "meta": {"source_module": " "}}"#, Some("s")),
            (r#"{"verb": 7, "context": {"platform": "LMS 8"}}"#, Some("LMS 8")),
            (r#"{"xapi_data": {"context": {"platform": "LMS"}}, "routing_info": {"source": "hub"}}"#, Some("LMS")),
            (r#"{"xapi_data": 7, "routing_info": {"source": "hub"}}"#, Some("hub")),
            (r#"{"context": {"platform": null}}"#, None),
            ("7", None),
            ("no JSON", None),
        ] {
            assert_eq!(sender(&original(value, vec![])).as_deref(), shown, "{value}");
        }
    }

    #[test]
    fn json_of_several_lines_becomes_one_and_is_the_same() {
        let text = "{\n  \"a\": \"x\\ny\",\r\n  \"n\": 1.0e2\n}";
        let line = json_line(text.as_bytes()).unwrap();
        assert!(!line.contains('\n') && line.contains("1.0e2"), "{line}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&line), parse(text));
        assert_eq!(json_line(b"a,b"), None);
    }
}
