use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::is_folded;
use crate::strict_json::{Object, from_part, from_slice, from_slice_of_structs};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Outer {
    task_list: Vec<Inner>,
    level: Option<Level>,
    #[serde(default)]
    map: BTreeMap<String, Inner>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Inner {
    name: String,
    tagged: Option<Tagged>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Skip,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(remote = "Self", tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Tagged {
    Any {},
}

impl<'de> Deserialize<'de> for Tagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(Object(deserializer))
    }
}

/// In both ways, which must agree.
fn parse(text: &str) -> Result<Outer, String> {
    let twice = from_slice(text.as_bytes()).map_err(|error| error.to_string());
    let once = from_slice_of_structs(text.as_bytes()).map_err(|error| error.to_string());
    assert_eq!(once, twice, "{text}");
    once
}

#[test]
fn reads_each_thing_in_its_one_form() {
    for text in [
        r#"{"taskList":[]}"#,
        r#"{"taskList":[{"name":"a","tagged":{"type":"any"}}],"level":"skip","other":[{}]}"#,
        r#"{"taskL\u0069st":[],"level":null,"map":{"a":{"name":"x"},"A":{"name":"y"}}}"#,
        r#"{"taskList":[],"other":{"TaskList":1,"taskList":2}}"#,
    ] {
        parse(text).unwrap();
    }
}

#[test]
fn refuses_an_array_for_a_struct_and_an_object_for_a_variant() {
    for (text, words) in [
        (r"[[],null,{}]", "invalid type: an array, expected an object"),
        (r#"{"taskList":[["a",null]]}"#, "invalid type: an array, expected an object"),
        (r#"{"taskList":[],"map":{"a":["x",null]}}"#, "an array, expected an object"),
        (
            r#"{"taskList":[],"level":{"skip":null}}"#,
            r#"invalid type: an object, expected one of ["skip"]"#,
        ),
        (r#"{"taskList":[],"level":["skip"]}"#, "invalid type: an array"),
        (r#"{"taskList":[{"name":"a","tagged":["any"]}]}"#, "invalid type: an array"),
        (r#"{"taskList":[{"name":"a","tagged":["any",{}]}]}"#, "invalid type: an array"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn refuses_a_key_that_go_takes_for_a_field() {
    for (key, field) in [
        ("TaskList", "taskList"),
        ("tasklist", "taskList"),
        ("tas\u{212a}List", "taskList"),
        ("taskLi\u{17f}t", "taskList"),
        (r"\u017ftaskList", ""),
        (r"ta\u017FkL\u0049\u017Ft", "taskList"),
        ("LEVEL", "level"),
        ("lévél", ""),
        ("Map", "map"),
        ("map ", ""),
    ] {
        for text in [
            format!(r#"{{"taskList":[],"{key}":null}}"#),
            format!(r#"{{"{key}":null,"taskList":[]}}"#),
        ] {
            match parse(&text) {
                Ok(_) => assert_eq!(field, "", "{text}"),
                Err(error) => {
                    let words = format!(" is read as {field:?} by some");
                    assert!(error.starts_with("line 1, column "), "{error}");
                    assert!(error.contains(": key ") && error.ends_with(&words), "{error}");
                }
            }
        }
    }
    for text in [
        r#"{"taskList":[{"name":"a","Name":"b"}]}"#,
        r#"{"taskList":[],"map":{"a":{"name":"a","NAME":"b"}}}"#,
    ] {
        assert!(parse(text).unwrap_err().contains(r#" is read as "name" by some"#), "{text}");
    }
}

#[test]
fn one_pass_and_two_refuse_the_same() {
    for (text, words) in [
        (r#"{"taskList":[],"taskList":[]}"#, r#"duplicate key "taskList""#),
        (r#"{"taskList":[{"name":"a","name":"b"}]}"#, r#"duplicate key "name""#),
        (r#"{"taskList":[],"map":{"a":{"name":"x"},"a":{"name":"y"}}}"#, "duplicate key"),
        (r#"{"taskList":[],"other":{"a":1,"a":2}}"#, "duplicate key"),
        (r#"{"taskList":[],"other":1,"other":2}"#, "duplicate key"),
        (r#"{"taskList":[{"name":"a","tagged":{"type":"any","type":"any"}}]}"#, "duplicate"),
        (r#"{"taskList":[]}{}"#, "trailing characters"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    parse(&format!(r#"{{"taskList":[],"other":{}}}"#, nested(31))).unwrap();
    parse(&format!(r#"{{"taskList":[],"other":{}}}"#, nested(32))).unwrap_err();
}

/// A type that is nothing but structs, however deep.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Nested {
    #[serde(default)]
    within: Vec<Nested>,
}

#[test]
fn one_pass_bounds_the_depth_of_structs() {
    for (depth, is_read) in [(15, true), (16, false), (60, false)] {
        let text = r#"{"within":["#.repeat(depth) + "{}" + &"]}".repeat(depth);
        let read = from_slice_of_structs::<Nested>(text.as_bytes());
        assert_eq!(read.is_ok(), is_read, "{depth}");
        assert_eq!(from_slice::<Nested>(text.as_bytes()).is_ok(), is_read, "{depth}");
    }
}

#[test]
fn parts_kept_as_text_are_read_as_strictly() {
    #[derive(Debug, Deserialize)]
    struct List {
        list: Vec<Box<RawValue>>,
    }
    let text = br#"{"list":[{"name":"a"},["a",null],{"name":"a","Name":"b"}]}"#;
    let List { list } = from_slice(text).unwrap();
    let read: Vec<_> = list.iter().map(|part| from_part::<Inner>(part).is_ok()).collect();
    assert_eq!(read, [true, false, false]);
    let twice = br#"{"list":[{"name":"a","other":1,"other":2}]}"#;
    from_slice::<List>(twice).unwrap_err();
    from_slice_of_structs::<List>(twice).unwrap_err();
}

proptest! {
    #[test]
    fn folding_is_that_of_the_letters_and_of_two_more(
        field in "[a-zA-Z.]{1,12}",
        edits in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let edit = |(letter, is_edited): (char, &bool)| match (letter, is_edited) {
            (letter, false) => letter,
            ('s' | 'S', true) => '\u{17f}',
            ('k' | 'K', true) => '\u{212a}',
            (letter, true) if letter.is_ascii_lowercase() => letter.to_ascii_uppercase(),
            (letter, true) => letter.to_ascii_lowercase(),
        };
        let key: String = field.chars().zip(&edits).map(edit).collect();
        prop_assert!(is_folded(&key, &field));
        let longer = key.clone() + "s";
        prop_assert!(!is_folded(&longer, &field));
        let other = key.replacen(|_| true, "\u{131}", 1);
        prop_assert!(!is_folded(&other, &field));
    }
}
