//! What CloudFormation makes of a template for given parameters: its conditions, rules and functions, and the stacks in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::template;

/// A template with its parameters.
pub(crate) struct Deployed {
    template: Value,
    parameters: BTreeMap<String, Value>,
}

impl Deployed {
    /// A template with these parameters and its own defaults for the others.
    pub(crate) fn new(name: &str, given: &[(&str, &str)]) -> Self {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Self::with(name, given)
    }

    fn with(name: &str, mut given: BTreeMap<String, Value>) -> Self {
        let template = template(name);
        let mut parameters = BTreeMap::new();
        for (parameter, of) in template["Parameters"].as_object().into_iter().flatten() {
            let value = given.remove(parameter).unwrap_or_else(|| of["Default"].clone());
            let text = text_of(&value).unwrap_or_else(|| panic!("{name}: {parameter} is {value}, and must be a text"));
            let allowed = of["AllowedValues"].as_array();
            let is_allowed = |values: &Vec<Value>| values.iter().any(|of| text_of(of).as_deref() == Some(&text));
            assert!(allowed.is_none_or(is_allowed), "{name}: {parameter} must not be {text}");
            let value = match of["Type"].as_str().expect("a parameter has a type") {
                "CommaDelimitedList" => text.split(',').map(|part| json!(part.trim())).collect(),
                "Number" => json!(text.parse::<i64>().unwrap_or_else(|_| panic!("{name}: {parameter} is {text}"))),
                _ => json!(text),
            };
            parameters.insert(parameter.clone(), value);
        }
        assert!(given.is_empty(), "{name} has no parameters {:?}", given.keys());
        Self { template, parameters }
    }

    /// The rules that these parameters break, by what they tell.
    pub(crate) fn broken_rules(&self) -> Vec<&str> {
        let rules = self.template["Rules"].as_object().into_iter().flatten();
        let assertions = rules.flat_map(|(_, rule)| rule["Assertions"].as_array().expect("a rule has assertions"));
        let broken = assertions.filter(|of| !self.holds(&of["Assert"]));
        broken.map(|of| of["AssertDescription"].as_str().expect("an assertion tells what is wrong")).collect()
    }

    /// A resource's properties; none where its condition does not hold.
    pub(crate) fn properties(&self, resource: &str) -> Option<Value> {
        let resource = &self.template["Resources"][resource];
        let condition = resource["Condition"].as_str();
        condition
            .is_none_or(|name| self.condition(name))
            .then(|| self.value(&resource["Properties"]).unwrap_or_default())
    }

    /// The variables of every function.
    pub(crate) fn variables(&self) -> Value {
        self.value(&self.template["Globals"]["Function"]["Environment"]["Variables"]).expect("there are variables")
    }

    /// The stack in it of that name, with what it is given.
    pub(crate) fn nested(&self, resource: &str) -> Self {
        let properties = self.properties(resource).unwrap_or_else(|| panic!("{resource} is not made"));
        let given = properties["Parameters"].as_object().expect("a stack has parameters").clone();
        Self::with(properties["TemplateURL"].as_str().expect("a stack has a template"), given.into_iter().collect())
    }

    fn condition(&self, name: &str) -> bool {
        let condition = &self.template["Conditions"][name];
        assert!(condition.is_object(), "there is no condition {name}");
        self.holds(condition)
    }

    fn holds(&self, of: &Value) -> bool {
        let (function, of) = call(of).unwrap_or_else(|| panic!("no condition: {of}"));
        let arguments = || of.as_array().unwrap_or_else(|| panic!("{function} takes a list"));
        let two = || (self.value(&of[0]).expect("a value"), self.value(&of[1]).expect("a value"));
        match function {
            "Condition" => self.condition(of.as_str().expect("a condition's name")),
            "Fn::And" => arguments().iter().all(|of| self.holds(of)),
            "Fn::Or" => arguments().iter().any(|of| self.holds(of)),
            "Fn::Not" => !self.holds(&of[0]),
            "Fn::Equals" => text_of(&two().0).expect("a text") == text_of(&two().1).expect("a text"),
            "Fn::Contains" => two().0.as_array().expect("a list").contains(&two().1),
            "Fn::EachMemberEquals" => two().0.as_array().expect("a list").iter().all(|of| *of == two().1),
            other => panic!("{other} is no condition"),
        }
    }

    /// What a value becomes; none for `AWS::NoValue`.
    fn value(&self, of: &Value) -> Option<Value> {
        if let Some((function, of)) = call(of) {
            return self.call(function, of);
        }
        Some(match of {
            Value::Array(of) => of.iter().filter_map(|of| self.value(of)).collect(),
            Value::Object(of) => {
                let kept = of.iter().filter_map(|(name, of)| Some((name.clone(), self.value(of)?)));
                Value::Object(kept.collect())
            }
            other => other.clone(),
        })
    }

    fn call(&self, function: &str, of: &Value) -> Option<Value> {
        let part = |index: usize| self.value(&of[index]).expect("an argument is a value");
        let text = |value: &Value| text_of(value).unwrap_or_else(|| panic!("{function}: {value} is no text"));
        Some(match function {
            "Ref" => return self.named(of.as_str().expect("a name"), &Map::new()),
            "Fn::GetAtt" => json!(format!("<{}>", of.as_str().expect("a name and its attribute"))),
            "Fn::If" => {
                let holds = self.condition(of[0].as_str().expect("a condition's name"));
                return self.value(&of[if holds { 1 } else { 2 }]);
            }
            "Fn::Join" => {
                let parts: Vec<String> = part(1).as_array().expect("a list").iter().map(text).collect();
                json!(parts.join(&text(&part(0))))
            }
            "Fn::Split" => text(&part(1)).split(&text(&part(0))).map(|part| json!(part)).collect(),
            "Fn::Select" => {
                let index = text(&part(0)).parse::<usize>().expect("an index");
                part(1).get(index).unwrap_or_else(|| panic!("nothing stands at {index} of {}", part(1))).clone()
            }
            "Fn::FindInMap" => self.template["Mappings"][text(&part(0))][text(&part(1))][text(&part(2))].clone(),
            "Fn::Sub" => {
                let pattern = of.as_str().or(of[0].as_str()).expect("a pattern");
                let own = of.get(1).and_then(|of| self.value(of)).unwrap_or(json!({}));
                let mut parts = pattern.split("${");
                let mut whole = parts.next().unwrap_or_default().to_owned();
                for part in parts {
                    let (name, rest) = part.split_once('}').expect("a name ends");
                    whole += &text(&self.named(name, own.as_object().expect("names")).expect("a value"));
                    whole += rest;
                }
                json!(whole)
            }
            other => panic!("{other} is not known here"),
        })
    }

    /// What a name stands for: the pattern's own, a parameter, what AWS tells, or a resource.
    fn named(&self, name: &str, own: &Map<String, Value>) -> Option<Value> {
        Some(match name {
            "AWS::NoValue" => return None,
            "AWS::Partition" => json!("aws"),
            "AWS::Region" => json!("eu-central-1"),
            "AWS::AccountId" => json!("123456789012"),
            "AWS::StackName" => json!("academy"),
            name => own.get(name).or(self.parameters.get(name)).cloned().unwrap_or_else(|| {
                let resource = name.split('.').next().unwrap_or_default();
                assert!(self.template["Resources"][resource].is_object(), "{name} is nothing");
                json!(format!("<{name}>"))
            }),
        })
    }
}

/// A function with its arguments, where that is what the value is.
fn call(of: &Value) -> Option<(&str, &Value)> {
    let of = of.as_object().filter(|of| of.len() == 1)?;
    let (name, arguments) = of.iter().next()?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::")).then_some((name, arguments))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(of) => Some(of.clone()),
        Value::Number(of) => Some(of.to_string()),
        Value::Bool(of) => Some(of.to_string()),
        _ => None,
    }
}
