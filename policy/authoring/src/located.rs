//! A JSON document whose values know where they are in the text, so that a finding or an edit has a
//! place.
//!
//! Whether the text is JSON is for [`civ_oci::strict_json`] to say, first; the reader here only looks
//! for where things begin and end in what that has accepted.

use std::ops::Range;

use civ_oci::strict_json::{self, JsonError};
use serde::de::Error as _;

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is in the text, in bytes.
    pub place: Range<usize>,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A string, with its escapes replaced.
    String(String),
    /// An array.
    Array(Vec<Node>),
    /// An object, its members in the text's order.
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, with its escapes replaced.
    pub name: String,
    /// Where the name is in the text, in bytes, quotes included.
    pub name_place: Range<usize>,
    /// Its value.
    pub value: Node,
}

/// A place as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
}

/// Reads a document as strictly as a verifier does: without duplicate keys, deep nesting or anything
/// after it.
pub fn parse(text: &str) -> Result<Node, JsonError> {
    strict_json::check(text.as_bytes())?;
    let mut reader = Reader { text, at: 0 };
    reader.value().ok_or_else(|| serde_json::Error::custom("not JSON").into())
}

impl Node {
    /// The value of the member called `name`, if this is an object that has one.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|member| member.name == name).map(|member| &member.value)
    }

    /// The members, if this is an object; none otherwise.
    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The elements, if this is an array; none otherwise.
    pub fn elements(&self) -> &[Self] {
        match &self.value {
            Value::Array(elements) => elements,
            _ => &[],
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of the member called `name`, if there is one and it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_str()
    }
}

impl Position {
    /// Where the byte `offset` of `text` is.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }

    /// Where an error was noticed.
    pub fn of_error(text: &str, error: &JsonError) -> Self {
        let line_start: usize =
            text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        // serde_json counts the bytes that it has read of the line.
        let offset = line_start + error.column().saturating_sub(1);
        Self::of(text, offset.min(text.len()))
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Node> {
        self.skip_space();
        let start = self.at;
        let value = match self.peek()? {
            b'{' => Value::Object(self.list(b'}', Self::member)?),
            b'[' => Value::Array(self.list(b']', Self::value)?),
            b'"' => Value::String(self.string()?),
            _ => self.word()?,
        };
        Some(Node { place: start..self.at, value })
    }

    fn list<T>(&mut self, end: u8, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        loop {
            // Past the bracket, or the comma.
            self.at += 1;
            self.skip_space();
            if self.peek()? != end {
                items.push(item(self)?);
                self.skip_space();
            }
            if self.peek()? == end {
                self.at += 1;
                return Some(items);
            }
        }
    }

    fn member(&mut self) -> Option<Member> {
        self.skip_space();
        let start = self.at;
        let name = self.string()?;
        let name_place = start..self.at;
        self.skip_space();
        // Past the colon.
        self.at += 1;
        Some(Member { name, name_place, value: self.value()? })
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        loop {
            self.at += 1;
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        self.at += 1;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }

    fn word(&mut self) -> Option<Value> {
        let rest = self.text.get(self.at..)?;
        let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}');
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        self.at += length;
        Some(match rest.get(..length)? {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number => Value::Number(number.to_owned()),
        })
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = " { \"a\\u0062\" : [1.5e3 ,true, null,{}],\n\"é\":\"x\\\"}\" , \"last\":[ ] }\n";
        let root = parse(text).unwrap();
        let at = |node: &Node| text.get(node.place.clone()).unwrap().to_owned();
        assert_eq!(at(&root), text.trim());
        assert_eq!(text.get(root.members()[0].name_place.clone()), Some("\"a\\u0062\""));
        let list = root.member("ab").unwrap();
        let values: Vec<_> = list.elements().iter().map(at).collect();
        assert_eq!(values, ["1.5e3", "true", "null", "{}"]);
        assert_eq!(root.text("é"), Some("x\"}"));
        let position = |node: &Node| Position::of(text, node.place.start);
        assert_eq!(position(root.member("é").unwrap()), Position { line: 2, column: 5 });
        assert_eq!(position(&root), Position { line: 1, column: 2 });
    }

    #[test]
    fn an_error_is_where_it_was_noticed() {
        for (text, line, column) in
            [("{\"a\":1,\n \"a\":2}", 2, 4), ("{\"é\":1,}", 1, 8), ("", 1, 1), ("{\n", 2, 1)]
        {
            let error = parse(text).unwrap_err();
            assert_eq!(
                Position::of_error(text, &error),
                Position { line, column },
                "{text}: {error}"
            );
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<f32>().prop_map(Into::into),
            "\\PC{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map("\\PC{0,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Each value's place must hold that value, read by a parser that knows nothing of places.
    fn check(text: &str, node: &Node, expected: &serde_json::Value) {
        let there: serde_json::Value =
            serde_json::from_str(text.get(node.place.clone()).unwrap()).unwrap();
        assert_eq!(&there, expected);
        for (node, expected) in
            node.elements().iter().zip(expected.as_array().into_iter().flatten())
        {
            check(text, node, expected);
        }
        for member in node.members() {
            check(text, &member.value, &expected[&member.name]);
        }
    }

    proptest! {
        #[test]
        fn any_document_is_read_as_serde_json_reads_it(value in json(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            check(&text, &parse(&text).unwrap(), &value);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\",:a1 \\\\n]{0,24}|\\PC{0,24}") {
            let _ = parse(&text);
        }
    }
}
