//! JSON for documents that decide something.
//!
//! Parsers differ about duplicate keys (first or last wins), about keys that differ in case alone, and
//! about values that are not quite of a field's type; and a document that two programs read
//! differently is a way around one of them. So duplicates are refused at every depth, as are deep
//! nesting and trailing bytes; and what a typed parser sees is in one form only: a struct is an object
//! of members spelt as its fields are or like none of them, and a variant is a string.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::value::RawValue;

use self::exact::{Exact, Watch};

mod exact;

/// The deepest nesting of arrays and objects accepted.
pub const DEPTH_MAX: u8 = 32;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses `bytes` as one JSON document without duplicate keys, nested at most [`DEPTH_MAX`] deep,
/// into `T`. The caller has bounded the length.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    check(bytes)?;
    Ok(read(bytes)?.0)
}

/// Parses as [`from_slice`] does, in one pass instead of two where every object turns out to be a
/// struct with known members only. The outcome is the same for every `T`.
pub fn from_slice_of_structs<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, JsonError> {
    match read(bytes) {
        Ok((value, false)) => Ok(value),
        unsettled => {
            check(bytes)?;
            Ok(unsettled?.0)
        }
    }
}

/// Parses a part of a document that [`from_slice`] has read, and kept as the text that it is.
pub fn from_part<'de, T: Deserialize<'de>>(part: &'de RawValue) -> Result<T, JsonError> {
    Ok(read(part.get().as_bytes())?.0)
}

/// A `T`, and whether [`check`] could have anything to refuse.
fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, bool), serde_json::Error> {
    let is_check_needed = Cell::new(false);
    let watch = Watch { depth_left: DEPTH_MAX, is_check_needed: &is_check_needed };
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Exact { inner: &mut parser, watch })?;
    parser.end()?;
    Ok((value, is_check_needed.get()))
}

/// Reads an object from a deserializer and nothing else, for an internally tagged enum: what serde
/// derives would take an array as well.
#[derive(Debug)]
pub struct Object<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Reads a member that may be left out, but is not null. A template that writes `null` for a variable
/// without a value must not turn a document into one that asks for less:
/// `#[serde(default, deserialize_with = "not_null")]`.
pub fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Checks the same of `bytes` without reading them into anything.
pub fn check(bytes: &[u8]) -> Result<(), JsonError> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        let problem = "begins with a byte order mark; save it without";
        return Err(serde_json::Error::custom(problem).into());
    }
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    Strict { depth_left: DEPTH_MAX }.deserialize(&mut parser)?;
    Ok(parser.end()?)
}

/// Why a document is refused: at which line and column, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", self.place(), self.problem())]
pub struct JsonError(#[from] serde_json::Error);

impl JsonError {
    /// The line at which it was noticed, from 1; 0 if it is about no place.
    pub fn line(&self) -> usize {
        self.0.line()
    }

    /// How many bytes of that line had been read.
    pub fn column(&self) -> usize {
        self.0.column()
    }

    /// What is wrong, without the place, in the words of JSON.
    pub fn problem(&self) -> String {
        let text = self.0.to_string();
        let place = format!(" at line {} column {}", self.line(), self.column());
        let text = text.strip_suffix(&place).unwrap_or(&text);
        if text.starts_with("unknown field ") {
            // All the others would hide what else there is to say.
            let end = text.rfind("`, expected ").or_else(|| text.rfind("`, there are no fields"));
            return end.and_then(|end| text.get(..=end)).unwrap_or(text).to_owned();
        }
        if let Some(found) = text.strip_prefix("invalid type: ") {
            let (found, expected) = found.rsplit_once(", expected ").unwrap_or((found, ""));
            let name = |serde: &str| match serde {
                "sequence" | "a sequence" => "an array".to_owned(),
                "map" | "a map" => "an object".to_owned(),
                other => other.to_owned(),
            };
            return format!("invalid type: {}, expected {}", name(found), name(expected));
        }
        text.to_owned()
    }

    fn place(&self) -> String {
        match self.line() {
            0 => String::new(),
            line => format!("line {line}, column {}: ", self.column()),
        }
    }
}

/// Visits a value and everything below it, keeping nothing.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: u8,
}

impl Strict {
    fn descend<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(format_args!("nested deeper than {DEPTH_MAX}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let below = self.descend()?;
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            seen.insert(key);
            map.next_value_seed(below)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = self.descend()?;
        while seq.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_json() {
        for text in ["null", "[]", "{}", r#"{"a":[1,-2,3.5e3,"x",true,null],"b":{"a":1}}"#, " 1 "] {
            check(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn refuses_duplicate_keys_at_any_depth_however_they_are_spelt() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"b":{"a":1,"c":2,"a":3}}]"#,
            r#"{"":1,"":2}"#,
        ] {
            let error = check(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("duplicate key"), "{text}: {error}");
        }
    }

    #[test]
    fn refuses_what_other_parsers_let_pass() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(nested(32).as_bytes()).unwrap();
        for text in [
            "",
            "{}{}",
            "{} x",
            "{}\0",
            "\u{feff}{}",
            "[1,]",
            r#"{"a":1,}"#,
            "{'a':1}",
            "NaN",
            "1e999",
            "01",
            "// x\n{}",
            "\"\u{1}\"",
            r#""\ud800""#,
            &nested(33),
            &nested(100_000),
        ] {
            assert!(check(text.as_bytes()).is_err(), "{text:.20}");
        }
        assert!(check(b"\"\xff\"").is_err());
    }

    proptest! {
        #[test]
        fn what_is_strict_is_json_to_everybody(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if check(&bytes).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            }
        }

        #[test]
        fn an_object_is_strict_if_and_only_if_its_keys_differ(
            keys in proptest::collection::vec("[ab]{1,2}", 0..5),
        ) {
            let members: Vec<String> = keys.iter().map(|key| format!("{key:?}:0")).collect();
            let text = format!("[{{{}}}]", members.join(","));
            let distinct: BTreeSet<&String> = keys.iter().collect();
            prop_assert_eq!(check(text.as_bytes()).is_ok(), distinct.len() == keys.len());
        }
    }
}
