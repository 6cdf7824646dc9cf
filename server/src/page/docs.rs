//! The events as people look them up: a list, and a page an event type with its fields, an example and a form that publishes it. All
//! of it is read from the AsyncAPI document, so that page and document say the same.

use maud::{Markup, html};
use serde_json::Value;

use super::{Frame, layout};

const TITLE: &str = "Events";

/// An event type as the document has it.
#[derive(Clone, Copy)]
pub struct Message<'d> {
    /// Its name.
    pub name: &'d str,
    /// The topic that carries it.
    pub topic: &'d str,
    message: &'d Value,
    document: &'d Value,
}

impl<'d> Message<'d> {
    /// Every event type, dead letters apart, by topic.
    pub fn all(document: &'d Value) -> Vec<Self> {
        let channels = document["channels"].as_object().into_iter().flatten();
        let of_channel = |(topic, channel): (&'d String, &'d Value)| {
            let names = channel["messages"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            let messages = names.map(move |name| {
                let message = &document["components"]["messages"][name];
                Self { name, topic, message, document }
            });
            messages.filter(|of| of.message["examples"].is_array()).collect::<Vec<_>>()
        };
        channels.flat_map(of_channel).collect()
    }

    /// That event type.
    pub fn named(document: &'d Value, name: &str) -> Option<Self> {
        Self::all(document).into_iter().find(|of| of.name == name)
    }

    /// Its first example, as it is sent.
    pub fn example(&self) -> String {
        format!("{:#}", self.message["examples"][0]["payload"])
    }

    fn text(&self, member: &str) -> &'d str {
        self.message[member].as_str().unwrap_or_default()
    }

    fn family(&self) -> &'d str {
        self.message["tags"][0]["name"].as_str().unwrap_or_default()
    }

    /// What a text looks for: every word of it in the name, the purpose, the topic or the family.
    fn has(&self, sought: &str) -> bool {
        let text = [self.name, self.text("summary"), self.topic, self.family()].join(" ").to_lowercase();
        sought.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }

    /// The subscriptions that receive it, or send it, with what each does.
    fn operations(&self, action: &str) -> Vec<&'d str> {
        let reference = format!("#/channels/{}/messages/{}", self.topic, self.name);
        let operations = self.document["operations"].as_object().into_iter().flatten().map(|(_, of)| of);
        let its = operations.filter(|of| {
            let mut messages = of["messages"].as_array().into_iter().flatten();
            of["action"] == action && messages.any(|message| message["$ref"] == reference.as_str())
        });
        its.filter_map(|of| of["summary"].as_str()).collect()
    }

    /// Its schema as it is written: Avro's, or a JSON Schema.
    fn schema(&self) -> &'d Value {
        let payload = &self.message["payload"];
        let reference = payload["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        let payload = reference.and_then(|path| self.document.pointer(path)).unwrap_or(payload);
        if payload["schema"].is_object() { &payload["schema"] } else { payload }
    }
}

/// The list.
pub struct DocsView<'d> {
    /// Around it.
    pub frame: Frame,
    /// The document.
    pub document: &'d Value,
    /// What is looked for; empty: everything.
    pub sought: String,
}

impl DocsView<'_> {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let all = Message::all(self.document);
        let found: Vec<&Message<'_>> = all.iter().filter(|of| of.has(&self.sought)).collect();
        let mut families: Vec<&str> = Vec::new();
        for of in &found {
            if !families.contains(&of.family()) {
                families.push(of.family());
            }
        }
        let content = html! {
            article {
                h1 { (TITLE) }
                p.quiet { "Every event that is taken here: what it is for, its fields, and a form to try it. The same as a document for programs: "
                    a href="/asyncapi.json" { "asyncapi.json" } "." }
                form.search.docs role="search" method="get" action="/docs" {
                    @if let Some(tenant) = &self.frame.tenant { input type="hidden" name="tenant" value=(tenant); }
                    input type="search" name="q" value=(self.sought) aria-label="Find an event by name, topic or purpose" placeholder="name, topic, purpose";
                    button type="submit" { "Find" }
                }
                p.quiet role="status" { (found.len()) " of " (all.len()) " event types" @if !self.sought.is_empty() { " · " a href=(self.frame.path("/docs", &[])) { "show all" } } }
                @for family in families {
                    section {
                        h2 { (family) }
                        table.rows {
                            thead { tr { th scope="col" { "event" } th scope="col" { "what it is for" } th scope="col" { "topic" } th scope="col" { "criticality" } } }
                            tbody {
                                @for of in found.iter().filter(|of| of.family() == family) {
                                    tr {
                                        th scope="row" { a href=(self.frame.path(&format!("/docs/{}", of.name), &[])) { (of.name) } }
                                        td { (of.text("summary")) }
                                        td { code { (of.topic) } }
                                        td { (of.text("x-criticality")) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        };
        layout(&self.frame, TITLE, &html! {}, &content)
    }
}

/// What became of an event that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It was published there.
    At(Vec<String>),
    /// It was refused.
    Refused(String),
}

/// The page of an event type.
pub struct EventTypeView<'d> {
    /// Around it.
    pub frame: Frame,
    /// The event type.
    pub message: Message<'d>,
    /// What stands in the form.
    pub event: String,
    /// What became of it, once it was sent.
    pub tried: Option<Tried>,
    /// Whether whoever looks may publish.
    pub may_publish: bool,
}

impl EventTypeView<'_> {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let of = &self.message;
        let fields = of.message["x-fields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |field: &Value, member: &str| field[member].as_str().unwrap_or_default().to_owned();
        let content = html! {
            article {
                p.quiet { a href=(self.frame.path("/docs", &[])) { "All events" } }
                h1 { (of.name) }
                p { (of.text("summary")) }
                dl.facts {
                    div { dt { "topic" } dd { code { (of.topic) } } }
                    div { dt { "key" } dd { (of.message["bindings"]["kafka"]["key"]["description"].as_str().unwrap_or_default()) } }
                    div { dt { "criticality" } dd { (of.text("x-criticality")) } }
                    div { dt { "effect" } dd { (of.text("x-effect")) } }
                }
                section {
                    h2 { "Fields" }
                    @if fields.is_empty() {
                        p { "It needs no field beside what its form asks for." }
                    } @else {
                        table.rows {
                            thead { tr { th scope="col" { "field" } th scope="col" { "where" } th scope="col" { "holds" } th scope="col" { "required" } th scope="col" { "means" } } }
                            tbody {
                                @for field in fields {
                                    tr {
                                        th scope="row" { code { (text(field, "name")) } }
                                        td { code { (text(field, "place")) } }
                                        td { (text(field, "holds")) }
                                        td { (presence(&text(field, "required"))) }
                                        td { (text(field, "about")) }
                                    }
                                }
                            }
                        }
                    }
                    details { summary { "Its schema" } pre tabindex="0" { (format!("{:#}", of.schema())) } }
                }
                section {
                    h2 { "Who reads and writes it" }
                    ul.plain {
                        @for operation in of.operations("receive") { li { (operation) } }
                        @for operation in of.operations("send") { li { (operation) } }
                    }
                }
                section #try {
                    h2 { "Try it" }
                    (self.render_tried())
                    form.try method="post" action={ (self.frame.path(&format!("/docs/{}", of.name), &[])) "#try" } {
                        label for="event" { "An event, or an array of them, for " code { (of.topic) } }
                        textarea #event name="event" rows="18" spellcheck="false" autocomplete="off" { (self.event) }
                        p.quiet { "It is published on this server, as any event is. The same id a second time is the same event: give it another one to see an effect." }
                        @if self.may_publish {
                            button.main type="submit" { "Publish it here" }
                        } @else {
                            p.why { "Your token does not publish: it lacks the role publish." }
                        }
                    }
                }
            }
        };
        layout(&self.frame, &format!("{} · {TITLE}", of.name), &html! {}, &content)
    }

    fn render_tried(&self) -> Markup {
        html! {
            @match &self.tried {
                None => {}
                Some(Tried::At(positions)) => {
                    p.sent role="status" {
                        "Published at "
                        @for (at, position) in positions.iter().take(10).enumerate() {
                            @if at > 0 { ", " }
                            a href=(self.frame.path(&format!("/events/{position}"), &[])) { (position) }
                        }
                        @if positions.len() > 10 { " and " (positions.len() - 10) " more" }
                        ": there you see how it ends."
                    }
                }
                Some(Tried::Refused(why)) => p.why role="alert" { (why) }
            }
        }
    }
}

/// Words that say enough where the table's head is not seen.
fn presence(required: &str) -> &str {
    match required {
        "yes" => "required",
        "no" => "may be left out",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        let message = |summary: &str| {
            json!({"summary": summary, "tags": [{"name": "course"}], "x-criticality": "high", "x-effect": "e",
                "payload": {"$ref": "#/components/schemas/s"}, "examples": [{"payload": {"id": "<script>"}}]})
        };
        json!({
            "channels": {"t": {"messages": {"a.made": {}, "b.made": {}}}, "dlq": {"messages": {"dead_letter": {}}}},
            "operations": {"x": {"action": "receive", "summary": "x reads t.", "messages": [{"$ref": "#/channels/t/messages/a.made"}]}},
            "components": {
                "schemas": {"s": {"schemaFormat": "avro", "schema": {"type": "record"}}},
                "messages": {"a.made": message("An outline"), "b.made": message("A page"), "dead_letter": {}},
            },
        })
    }

    #[test]
    fn an_event_is_found_by_every_word_of_its_name_topic_or_purpose() {
        let document = document();
        let found = |sought: &str| {
            let all = Message::all(&document);
            all.into_iter().filter(|of| of.has(sought)).map(|of| of.name).collect::<Vec<_>>()
        };
        assert_eq!(found(""), ["a.made", "b.made"]);
        assert_eq!(found("OUTLINE made"), ["a.made"]);
        assert_eq!(found("outline page"), [""; 0]);
    }

    #[test]
    fn a_page_has_what_the_document_says_and_escapes_what_was_sent() {
        let document = document();
        let message = Message::named(&document, "a.made").unwrap();
        assert!(Message::named(&document, "dead_letter").is_none());
        let view = EventTypeView {
            frame: Frame::default(),
            event: message.example(),
            message,
            tried: Some(Tried::At(vec!["t/0/7".to_owned()])),
            may_publish: true,
        };
        let page = view.render().into_string();
        for text in ["x reads t.", "/events/t/0/7", "&lt;script&gt;", "record", "Publish it here"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("<script>\""), "{page}");
    }
}
