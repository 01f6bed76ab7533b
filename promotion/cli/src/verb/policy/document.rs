//! A trust policy as its author wrote it: where its keys are in the text, and how a public key is put
//! there with nothing else moved.

use std::ops::Range;

use civ_authoring::located::{self, Node};
use civ_oci::strict_json::JsonError;

/// A key of a policy, and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenKey {
    /// The name of its statement.
    pub(super) statement: String,
    /// Its name.
    pub(super) name: String,
    /// What it says of KMS.
    pub(super) kms: Option<String>,
    /// Its public key in PEM.
    pub(super) public_key: Option<String>,
    kms_place: Option<Range<usize>>,
    public_key_place: Option<Range<usize>>,
}

/// A public key for a key.
#[derive(Clone, Debug)]
pub(super) struct Pinned<'a> {
    /// The key.
    pub(super) key: &'a WrittenKey,
    /// Its public key in PEM.
    pub(super) pem: String,
}

/// All keys of a policy, in its order. Only what leads to them is looked at: the gate's own parser judges
/// the result.
pub(super) fn keys(text: &str) -> Result<Vec<WrittenKey>, JsonError> {
    let document = located::parse(text)?;
    let mut keys = Vec::new();
    for statement in document.member("trustPolicies").map(Node::elements).unwrap_or_default() {
        for key in statement.member("keys").map(Node::elements).unwrap_or_default() {
            let text = |name: &str| key.text(name).map(str::to_owned);
            let place = |name: &str| key.member(name).map(|value| value.place.clone());
            keys.push(WrittenKey {
                statement: statement.text("name").unwrap_or_default().to_owned(),
                name: text("name").unwrap_or_default(),
                kms: text("kms"),
                public_key: text("publicKey"),
                kms_place: place("kms"),
                public_key_place: place("publicKey"),
            });
        }
    }
    Ok(keys)
}

/// `text` with these public keys in it, each in place of the one that is there, or else after `kms` and
/// written as that is. `None` if a key is not of this text.
pub(super) fn with_public_keys(text: &str, pinned: &[Pinned<'_>]) -> Option<String> {
    let mut edits = Vec::with_capacity(pinned.len());
    for Pinned { key, pem } in pinned {
        let pem = serde_json::Value::from(pem.as_str()).to_string();
        edits.push(match (&key.public_key_place, &key.kms_place) {
            (Some(place), _) => (place.clone(), pem),
            (None, Some(kms)) => {
                let (space, colon) = style_of(text, kms.start)?;
                (kms.end..kms.end, format!(r#",{space}"publicKey"{colon}{pem}"#))
            }
            (None, None) => return None,
        });
    }
    // From the end, so that the places before stay where they are.
    edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut edited = text.to_owned();
    for (place, with) in edits {
        text.get(place.clone())?;
        edited.replace_range(place, &with);
    }
    Some(edited)
}

/// The white space before the member whose value begins at `value`, and what is between its name and
/// its value.
fn style_of(text: &str, value: usize) -> Option<(&str, &str)> {
    let before = text.get(..value)?;
    let name_end = before.trim_end().strip_suffix(':')?.trim_end().len();
    // The name is "kms", and however that is escaped there is no quote in it.
    let name = text.get(..name_end)?.strip_suffix('"')?.rfind('"')?;
    let member = text.get(..name)?;
    Some((text.get(member.trim_end().len()..name)?, text.get(name_end..value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN\nA-----\n";
    const WRITTEN: &str = r#""-----BEGIN\nA-----\n""#;

    fn pin(text: &str) -> String {
        let keys = keys(text).unwrap();
        let pinned: Vec<_> = keys
            .iter()
            .filter(|key| key.kms.is_some())
            .map(|key| Pinned { key, pem: PEM.to_owned() })
            .collect();
        with_public_keys(text, &pinned).unwrap()
    }

    #[test]
    fn a_public_key_is_written_as_its_neighbour_is_and_nothing_else_moves() {
        for (before, after) in [
            (r#"{"name":"k","kms":"x"}"#, r#"{"name":"k","kms":"x","publicKey":PEM}"#),
            (r#"{"kms":"x","name":"k"}"#, r#"{"kms":"x","publicKey":PEM,"name":"k"}"#),
            (r#"{ "name": "k", "kms": "x" }"#, r#"{ "name": "k", "kms": "x", "publicKey": PEM }"#),
            (
                "{\r\n\t\"name\" : \"k\" ,\r\n\t\"kms\" : \"x\"\r\n}",
                "{\r\n\t\"name\" : \"k\" ,\r\n\t\"kms\" : \"x\",\r\n\t\"publicKey\" : PEM\r\n}",
            ),
            (
                r#"{"name":"k","\u006bms": "a\"b:,{","more":[1.0e3,"é"]}"#,
                r#"{"name":"k","\u006bms": "a\"b:,{","publicKey": PEM,"more":[1.0e3,"é"]}"#,
            ),
            (
                r#"{"name":"k", "publicKey" :  "old" ,"kms":"x"}"#,
                r#"{"name":"k", "publicKey" :  PEM ,"kms":"x"}"#,
            ),
            (r#"{"name":"k","publicKey":"old"}"#, r#"{"name":"k","publicKey":"old"}"#),
        ] {
            let document = |key: &str| {
                format!(
                    "{{\"z\":1,\n \"trustPolicies\": [{{\"name\":\"s\",\"keys\":[{key},\n{key}],\"a\":2}}, {{\"name\":\"é\"}}]}}\n\n"
                )
            };
            let after = document(after).replace("PEM", WRITTEN);
            assert_eq!(pin(&document(before)), after);
            assert!(keys(&after).unwrap().iter().all(|key| key.public_key.is_some()));
        }
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for text in [
            "",
            r#"{"trustPolicies":[{"name":"s","keys":[{"name":"k","kms":"x","kms":"y"}]}]}"#,
            r#"{"trustPolicies":[]} x"#,
        ] {
            assert!(keys(text).is_err(), "{text}");
        }
        // The gate's parser refuses these, and until then no key is found in them.
        for text in
            ["{}", "[]", r#"{"trustPolicies":[{"name":"s","keys":[{"name":"k","kms":1}]}]}"#]
        {
            assert!(keys(text).unwrap().iter().all(|key| key.kms.is_none()), "{text}");
        }
    }
}
