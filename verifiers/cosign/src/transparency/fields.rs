//! Reading JSON objects field by field. Log entries have many small shapes, and a typed parser for each
//! of them would be the largest part of the gate's code for logs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The fields of an object.
pub(super) type Fields = Map<String, Value>;

/// The fields of `value`, if it is an object and has no others than those `known`.
pub(super) fn fields<'v>(value: &'v Value, known: &[&str]) -> Option<&'v Fields> {
    let fields = value.as_object()?;
    fields.keys().all(|name| known.contains(&name.as_str())).then_some(fields)
}

/// The text in a field.
pub(super) fn text<'v>(fields: &'v Fields, name: &str) -> Option<&'v str> {
    fields.get(name)?.as_str()
}

/// The bytes that a field holds in base64.
pub(super) fn bytes(fields: &Fields, name: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text(fields, name)?).ok()
}

/// The value in a field. JSON's null says that there is none.
pub(super) fn present<'v>(fields: &'v Fields, name: &str) -> Option<&'v Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// A number of at most 63 bits, written as a number or as decimal text. Zero if there is none.
pub(super) fn number(fields: &Fields, name: &str) -> Option<u64> {
    let Some(value) = present(fields, name) else {
        return Some(0);
    };
    let number = match value {
        Value::String(text) => super::checkpoint::parse_number(text),
        value => value.as_u64(),
    };
    number.filter(|number| i64::try_from(*number).is_ok())
}
