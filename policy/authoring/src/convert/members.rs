//! Members of a source's objects, read by their types. What is of another type says something that is
//! not understood: it is an error, never absent. `null` is absent.

use serde_json::Value as Json;

use super::ConvertError;

/// The member, unless it is absent.
pub(super) fn any<'j>(object: &'j Json, name: &str) -> Option<&'j Json> {
    object.get(name).filter(|value| !value.is_null())
}

/// The object that `value`, at `place`, has to be.
pub(super) fn check_object(value: &Json, place: &str) -> Result<(), ConvertError> {
    if value.is_object() { Ok(()) } else { Err(of_type(place, "an object")) }
}

pub(super) fn object<'j>(
    object: &'j Json,
    place: &str,
    name: &str,
) -> Result<Option<&'j Json>, ConvertError> {
    let Some(value) = any(object, name) else { return Ok(None) };
    check_object(value, &at(place, name)).map(|()| Some(value))
}

pub(super) fn text<'j>(
    object: &'j Json,
    place: &str,
    name: &str,
) -> Result<Option<&'j str>, ConvertError> {
    let Some(value) = any(object, name) else { return Ok(None) };
    value.as_str().map(Some).ok_or_else(|| of_type(&at(place, name), "a string"))
}

pub(super) fn flag(object: &Json, place: &str, name: &str) -> Result<Option<bool>, ConvertError> {
    let Some(value) = any(object, name) else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| of_type(&at(place, name), "true or false"))
}

/// The elements of an array, objects all, with their places; none if it is absent.
pub(super) fn objects<'j>(
    object: &'j Json,
    place: &str,
    name: &str,
) -> Result<Vec<(String, &'j Json)>, ConvertError> {
    let Some(value) = any(object, name) else { return Ok(Vec::new()) };
    let place = at(place, name);
    let elements = value.as_array().ok_or_else(|| of_type(&place, "a list"))?;
    let mut found = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let place = format!("{place}[{index}]");
        check_object(element, &place)?;
        found.push((place, element));
    }
    Ok(found)
}

/// A member of `object` that is none of `known`: a rule that says more than is understood.
pub(super) fn unknown<'j>(object: &'j Json, known: &[&str]) -> Option<&'j str> {
    let members = object.as_object()?.iter();
    let stated = members.filter(|(_, value)| !value.is_null());
    stated.map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
}

fn of_type(place: &str, expected: &'static str) -> ConvertError {
    ConvertError::Type { place: place.to_owned(), expected }
}

fn at(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}
