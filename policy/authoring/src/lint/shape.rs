//! Members that are unknown, missing or of the wrong type: all of them, where the verifier's parser
//! stops at the first.
//!
//! What a document should be is read from the schema that `civ policy schema` prints. It is asked only
//! about documents that the verifier has refused for their form.

use serde_json::Value as Json;

use crate::located::{Node, Value};

/// Something that is not as the schema says.
pub(super) struct Misfit {
    /// Where it is in the text, in bytes.
    pub(super) at: usize,
    /// What is so and what to do: one line.
    pub(super) message: String,
}

/// What in `document` is not as `schema` says, as far as it is about its form.
pub(super) fn misfits(schema: &Json, document: &Node) -> Vec<Misfit> {
    let mut checker = Checker { root: schema, misfits: Vec::new() };
    checker.check(schema, document, "the document");
    checker.misfits
}

struct Checker<'s> {
    root: &'s Json,
    misfits: Vec<Misfit>,
}

impl<'s> Checker<'s> {
    fn check(&mut self, schema: &'s Json, node: &Node, what: &str) {
        let reference = schema.get("$ref").and_then(Json::as_str);
        if let Some(target) = reference.and_then(|path| self.root.pointer(path.strip_prefix('#')?))
        {
            return self.check(target, node, what);
        }
        if let Some(branches) = schema.get("oneOf").and_then(Json::as_array) {
            return self.check_one_of(branches, node, what);
        }
        let expected = schema.get("const").map(std::slice::from_ref);
        let expected = expected.or_else(|| Some(schema.get("enum")?.as_array()?.as_slice()));
        if let Some(expected) = expected {
            if !expected.iter().any(|value| equals(value, node)) {
                let known: Vec<String> = expected.iter().map(ToString::to_string).collect();
                let found = shown(node);
                self.misfit(node, format!("{what} is {found}; it can be {}", known.join(", ")));
            }
            return;
        }
        if let Some(types) = schema.get("type") {
            let types: Vec<&str> = match types {
                Json::Array(types) => types.iter().filter_map(Json::as_str).collect(),
                one => one.as_str().into_iter().collect(),
            };
            if !types.iter().any(|expected| is_of_type(node, expected)) {
                let expected = article(types.first().copied().unwrap_or_default());
                self.misfit(node, format!("{what} is {}; write {expected}", shown(node)));
                return;
            }
        }
        self.check_members(schema, node, what);
        if let Some(items) = schema.get("items") {
            for element in node.elements() {
                self.check(items, element, &format!("an element of {what}"));
            }
        }
    }

    fn check_members(&mut self, schema: &'s Json, node: &Node, what: &str) {
        if !matches!(node.value, Value::Object(_)) {
            return;
        }
        let known = schema.get("properties").and_then(Json::as_object);
        for member in node.members() {
            let quoted = format!("{:?}", member.name);
            let property = known.and_then(|known| known.get(&member.name));
            match property.or_else(|| schema.get("additionalProperties")) {
                Some(Json::Bool(false)) => {
                    let names = known.into_iter().flatten().map(|(name, _)| name.as_str());
                    let advice = match similar(&member.name, names) {
                        Some(name) => format!("did you mean {name:?}?"),
                        None => "remove it".to_owned(),
                    };
                    let message = format!("{quoted} is not known in {what}; {advice}");
                    self.misfits.push(Misfit { at: member.name_place.start, message });
                }
                Some(schema) => self.check(schema, &member.value, &quoted),
                None => {}
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for name in required.into_iter().flatten().filter_map(Json::as_str) {
            if node.member(name).is_none() {
                self.misfit(node, format!("{what} has no {name:?}; add it"));
            }
        }
    }

    /// Of the forms that an object can have, its member `type` says which one is meant.
    fn check_one_of(&mut self, branches: &'s [Json], node: &Node, what: &str) {
        let name_of = |branch: &'s Json| branch.pointer("/properties/type/const")?.as_str();
        if !matches!(node.value, Value::Object(_)) {
            return self.misfit(node, format!("{what} is {}; write an object", shown(node)));
        }
        let meant = node.text("type");
        if let Some(branch) =
            branches.iter().find(|branch| meant.is_some() && name_of(branch) == meant)
        {
            return self.check(branch, node, what);
        }
        let known: Vec<&str> = branches.iter().filter_map(name_of).collect();
        let place = node.member("type").unwrap_or(node);
        let known = known.join(", ");
        self.misfit(place, format!("\"type\" of {what} is not known; it can be {known}"));
    }

    fn misfit(&mut self, node: &Node, message: String) {
        self.misfits.push(Misfit { at: node.place.start, message });
    }
}

fn equals(value: &Json, node: &Node) -> bool {
    match (value, &node.value) {
        (Json::Null, Value::Null) => true,
        (Json::String(a), Value::String(b)) => a == b,
        (Json::Bool(a), Value::Bool(b)) => a == b,
        _ => false,
    }
}

fn is_of_type(node: &Node, expected: &str) -> bool {
    match &node.value {
        Value::Null => expected == "null",
        Value::Bool(_) => expected == "boolean",
        Value::Number(text) => {
            expected == "number" || expected == "integer" && text.parse::<u64>().is_ok()
        }
        Value::String(_) => expected == "string",
        Value::Array(_) => expected == "array",
        Value::Object(_) => expected == "object",
    }
}

fn article(name: &str) -> String {
    match name {
        "array" | "object" | "integer" => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

/// A value in a message: what it is, if it is short.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) if text.len() <= 20 => format!("the number {text}"),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) if text.len() <= 40 => format!("the string {text:?}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The known name that a wrong one was probably meant to be: the same letters in other cases, one more,
/// one less or one other.
fn similar<'n>(name: &str, mut known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let letters = |text: &str| -> Vec<char> {
        text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
    };
    let wrong = letters(name);
    known.find(|known| {
        let known = letters(known);
        let start = wrong.iter().zip(&known).take_while(|(a, b)| a == b).count();
        let end = wrong.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
        let longest = wrong.len().max(known.len());
        wrong.len().abs_diff(known.len()) <= 1 && start + end + 1 >= longest
    })
}
