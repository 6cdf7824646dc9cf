//! The XML in which AWS's older services answer, as JSON: an element with elements is an object, one with text a text, a list
//! of `member`s a list, and of other elements that have one name their list is the field of that name.

use serde_json::{Map, Value};
use xmlparser::{ElementEnd, Token, Tokenizer};

/// An element that is open: its name, the elements in it so far, and its text.
type Element = (String, Vec<(String, Value)>, String);

/// The root's content; `None` where it is no XML.
pub(super) fn read(text: &str) -> Option<Value> {
    let mut open: Vec<Element> = Vec::new();
    for token in Tokenizer::from(text) {
        match token.ok()? {
            Token::ElementStart { local, .. } => open.push((local.as_str().to_owned(), Vec::new(), String::new())),
            Token::Text { text } => {
                if let Some((_, _, of)) = open.last_mut() {
                    of.push_str(&unescape(text.as_str()));
                }
            }
            Token::Cdata { text, .. } => {
                if let Some((_, _, of)) = open.last_mut() {
                    of.push_str(text.as_str());
                }
            }
            Token::ElementEnd { end: ElementEnd::Close(..) | ElementEnd::Empty, .. } => {
                let (name, children, text) = open.pop()?;
                let value = value_of(children, &text);
                match open.last_mut() {
                    Some((_, siblings, _)) => siblings.push((name, value)),
                    None => return Some(value),
                }
            }
            _ => {}
        }
    }
    None
}

fn value_of(children: Vec<(String, Value)>, text: &str) -> Value {
    if children.is_empty() {
        return Value::String(text.trim().to_owned());
    }
    if children.iter().all(|(name, _)| name == "member") {
        return children.into_iter().map(|(_, value)| value).collect();
    }
    let mut fields: Map<String, Value> = Map::new();
    for (name, value) in children {
        match fields.get_mut(&name) {
            None => drop(fields.insert(name, value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(fields)
}

fn unescape(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#10;", "\n"), ("&amp;", "&")];
    named.iter().fold(text.to_owned(), |text, (escaped, meant)| text.replace(escaped, meant))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_cloudformation_is_read() {
        let text = r#"<?xml version="1.0"?>
            <ListStackResourcesResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
              <ListStackResourcesResult>
                <StackResourceSummaries>
                  <member><LogicalResourceId>Errors</LogicalResourceId><Reason>a &lt; b &amp;amp; c</Reason></member>
                  <member><LogicalResourceId>Lag</LogicalResourceId><Reason/></member>
                </StackResourceSummaries>
              </ListStackResourcesResult>
            </ListStackResourcesResponse>"#;
        let resources = json!([
            {"LogicalResourceId": "Errors", "Reason": "a < b &amp; c"},
            {"LogicalResourceId": "Lag", "Reason": ""},
        ]);
        assert_eq!(read(text), Some(json!({"ListStackResourcesResult": {"StackResourceSummaries": resources}})));
        assert_eq!(read("no XML"), None);
    }
}
