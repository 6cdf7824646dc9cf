//! What CloudFormation makes of a template for given parameters: its loops, conditions, rules and functions, and the stacks in it.

use std::collections::BTreeMap;
use std::rc::Rc;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::Files;

/// A template with its parameters, and those that it makes stacks of.
#[derive(Clone)]
pub(crate) struct Deployed {
    files: Rc<Files>,
    template: Value,
    parameters: BTreeMap<String, Value>,
}

impl Deployed {
    /// A template with these parameters and its own defaults for the others.
    pub(crate) fn new(files: Rc<Files>, name: &str, given: &[(&str, &str)]) -> Self {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Self::with(files, name, given).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Why CloudFormation would not take these parameters, before it looks at rules; none where it does.
    pub(crate) fn refusal(files: Rc<Files>, name: &str, given: &[(&str, &str)]) -> Option<String> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Self::with(files, name, given).err()
    }

    fn with(files: Rc<Files>, name: &str, mut given: BTreeMap<String, Value>) -> Result<Self, String> {
        let template = files.get(name).unwrap_or_else(|| panic!("there is no {name}")).clone();
        let mut parameters = BTreeMap::new();
        for (parameter, of) in template["Parameters"].as_object().into_iter().flatten() {
            let value = given.remove(parameter).unwrap_or_else(|| of["Default"].clone());
            let text = text_of(&value).ok_or_else(|| format!("{name}: {parameter} is {value}, and must be a text"))?;
            if let Some(told) = refused(of, &text) {
                return Err(format!("{name}: {parameter} must not be {text:?}. {told}"));
            }
            let value = match of["Type"].as_str().expect("a parameter has a type") {
                "CommaDelimitedList" => text.split(',').map(|part| json!(part.trim())).collect(),
                "Number" => json!(text.parse::<i64>().map_err(|_| format!("{name}: {parameter} is {text}"))?),
                _ => json!(text),
            };
            parameters.insert(parameter.clone(), value);
        }
        assert!(given.is_empty(), "{name} has no parameters {:?}", given.keys());
        let template = unrolled(&template, &BTreeMap::new(), &parameters);
        Ok(Self { files, template, parameters })
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

    /// The resources, loops unrolled, that are made.
    pub(crate) fn made(&self) -> Vec<&str> {
        let resources = self.template["Resources"].as_object().expect("a template has resources").iter();
        let is_made = |of: &Value| of["Condition"].as_str().is_none_or(|name| self.condition(name));
        resources.filter(|(_, of)| is_made(of)).map(|(name, _)| name.as_str()).collect()
    }

    /// The resources of a type that are made, with their properties.
    pub(crate) fn of_type(&self, kind: &str) -> Vec<(&str, Value)> {
        let is_its = |name: &&str| self.template["Resources"][*name]["Type"] == kind;
        self.made().into_iter().filter(is_its).map(|name| (name, self.properties(name).expect("it is made"))).collect()
    }

    /// The variables of the function.
    pub(crate) fn variables(&self) -> Value {
        self.properties("Function").expect("there is a function")["Environment"]["Variables"].clone()
    }

    /// What a stack tells.
    pub(crate) fn output(&self, name: &str) -> Value {
        let output = &self.template["Outputs"][name]["Value"];
        assert!(!output.is_null(), "there is no output {name}");
        self.value(output).expect("an output has a value")
    }

    /// The stack in it of that name, with what it is given.
    pub(crate) fn nested(&self, resource: &str) -> Self {
        let properties = self.properties(resource).unwrap_or_else(|| panic!("{resource} is not made"));
        let given = properties["Parameters"].as_object().expect("a stack has parameters").clone();
        let name = properties["TemplateURL"].as_str().expect("a stack has a template");
        Self::with(self.files.clone(), name, given.into_iter().collect())
            .unwrap_or_else(|told| panic!("{resource}: {told}"))
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
            "Fn::Contains" => {
                let wanted = text_of(&two().1);
                two().0.as_array().expect("a list").iter().any(|of| text_of(of) == wanted)
            }
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
            "Fn::GetAtt" => {
                let of = of.as_str().expect("a name and its attribute");
                match of.split_once(".Outputs.") {
                    Some((stack, output)) => self.nested(stack).output(output),
                    None => json!(format!("<{of}>")),
                }
            }
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

/// Why a parameter cannot have that value.
fn refused(of: &Value, text: &str) -> Option<String> {
    let told = || of["ConstraintDescription"].as_str().unwrap_or_default().to_owned();
    let allowed = of["AllowedValues"].as_array();
    let is_allowed = |values: &Vec<Value>| values.iter().any(|of| text_of(of).as_deref() == Some(text));
    if !allowed.is_none_or(is_allowed) {
        return Some(format!("It is none of {:?}.", of["AllowedValues"]));
    }
    if let Some(pattern) = of["AllowedPattern"].as_str() {
        let pattern = Regex::new(pattern).unwrap_or_else(|error| panic!("{error}"));
        if !pattern.is_match(text) {
            return Some(told());
        }
    }
    let number = text.parse::<i64>();
    let is_beyond = |bound: &str, is_wrong: fn(i64, i64) -> bool| {
        of[bound].as_i64().is_some_and(|bound| number.as_ref().is_ok_and(|number| is_wrong(*number, bound)))
    };
    (is_beyond("MinValue", |number, bound| number < bound) || is_beyond("MaxValue", |number, bound| number > bound))
        .then_some("It is out of bounds.".to_owned())
}

/// What `AWS::LanguageExtensions` makes of a template: its loops are unrolled, and what a loop's item stands for is put in.
fn unrolled(of: &Value, items: &BTreeMap<String, String>, parameters: &BTreeMap<String, Value>) -> Value {
    let put = |text: &str| {
        items.iter().fold(text.to_owned(), |text, (name, item)| {
            let letters: String = item.chars().filter(char::is_ascii_alphanumeric).collect();
            text.replace(&format!("${{{name}}}"), item).replace(&format!("&{{{name}}}"), &letters)
        })
    };
    match of {
        Value::Array(of) => of.iter().map(|of| unrolled(of, items, parameters)).collect(),
        Value::Object(of) => {
            if let Some(("Ref", name)) = call_of(of) {
                let name = unrolled(name, items, parameters);
                // A name that is itself put together: a resource of the same turn of the loop.
                let name = name["Fn::Sub"].as_str().or(name.as_str()).expect("a name").to_owned();
                return items.get(&name).map_or_else(|| json!({"Ref": name}), |item| json!(item));
            }
            if let Some(("Fn::Sub", text)) = call_of(of) {
                return match text.as_array().map(Vec::as_slice) {
                    Some([text, own]) => {
                        json!({"Fn::Sub": [put(text.as_str().expect("a pattern")), unrolled(own, items, parameters)]})
                    }
                    _ => json!({"Fn::Sub": put(text.as_str().expect("a pattern"))}),
                };
            }
            let mut made = Map::new();
            for (name, value) in of {
                if !name.starts_with("Fn::ForEach::") {
                    made.insert(name.clone(), unrolled(value, items, parameters));
                    continue;
                }
                let (item, list, body) = (&value[0], &value[1], &value[2]);
                let list = list["Ref"].as_str().map_or(list, |name| &parameters[name]);
                for of in list.as_array().expect("a loop goes over a list") {
                    let mut items = items.clone();
                    let text = of.as_str().expect("an item is a text").to_owned();
                    items.insert(item.as_str().expect("a loop names its item").to_owned(), text.clone());
                    for (name, value) in body.as_object().expect("a loop has a body") {
                        let item = item.as_str().unwrap_or_default();
                        let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
                        let name = name.replace(&format!("${{{item}}}"), &text);
                        let name = name.replace(&format!("&{{{item}}}"), &letters);
                        let is_new = made.insert(name.clone(), unrolled(value, &items, parameters)).is_none();
                        assert!(is_new, "{name} is made twice");
                    }
                }
            }
            Value::Object(made)
        }
        other => other.clone(),
    }
}

/// The one member of an object.
fn call_of(of: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, value) = of.iter().next()?;
    (of.len() == 1).then_some((name.as_str(), value))
}
