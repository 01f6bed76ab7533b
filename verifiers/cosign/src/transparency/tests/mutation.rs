//! Changes of what is good, one at a time.

use proptest::prelude::*;

use super::*;

/// #5016, #4648 to #4653 of sigstore/cosign: such documents made verifiers panic.
#[test]
fn refuses_entries_with_missing_and_null_fields() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let mut checked = 0;
        for path in paths(&vector.body()) {
            for value in
                [None, Some(Value::Null), Some(json!({})), Some(json!([])), Some(json!(""))]
            {
                let mut body = vector.body();
                // Nobody can hash the envelope again, and what a key is it says itself.
                if !path.contains("envelopeHash") && replace(&mut body, &path, value) {
                    let changed = vector.clone().with_body(body.to_string().as_bytes());
                    changed.refused(&[log]);
                    checked += 1;
                }
            }
        }
        assert!(checked > 30, "{name}: {checked}");
        for path in paths(&vector.material["tlogEntries"][0]) {
            for value in
                [None, Some(Value::Null), Some(json!({})), Some(json!([])), Some(json!(-1))]
            {
                let mut changed = vector.clone();
                if replace(changed.entry(), &path, value) {
                    // Some can be left out, such as a number that is zero; none panics.
                    let _ = changed.check(&[log]);
                }
            }
        }
    }
    for text in
        ["null", "[]", "{}", "1", "{\"tlogEntries\":{}}", "{\"tlogEntries\":[[[null]]]}", ""]
    {
        let vector = Vector::load("dsse-0.0.1");
        for proofs in [
            UntrustedProofs::from_bundle(text),
            UntrustedProofs::from_annotations(Some(text), Some(text)),
        ] {
            trusting(&[REKOR]).check(&proofs, &vector.signed()).unwrap_err();
        }
    }
}

#[test]
fn refuses_bodies_that_two_parsers_could_read_differently() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let body = vector.body().to_string();
        for changed in [
            body.replacen("{\"apiVersion\"", "{\"kind\":\"dsse\",\"apiVersion\"", 1),
            body.replacen("\"spec\":{", "\"spec\":{\"extra\":1,", 1),
            body.replacen("\"spec\":{", "\"Spec\":{", 1),
            format!("{body}{body}"),
            format!("[{body}]"),
        ] {
            let error = vector.clone().with_body(changed.as_bytes()).refused(&[log]);
            assert_eq!(error, EntryError::Malformed, "{name}: {changed}");
        }
        let other = body.replacen("\"kind\":\"", "\"kind\":\"x", 1);
        let mut other = vector.clone().with_body(other.as_bytes());
        let kind = other.body()["kind"].clone();
        other.entry()["kindVersion"]["kind"] = kind;
        assert!(matches!(other.refused(&[log]), EntryError::Kind { .. }), "{name}");
    }
}

#[test]
fn refuses_every_changed_byte_of_what_shows_that_an_entry_is_logged() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let mut checked = 0;
        for path in [
            "/canonicalizedBody",
            "/inclusionPromise/signedEntryTimestamp",
            "/inclusionProof/rootHash",
            "/inclusionProof/hashes/0",
            "/inclusionProof/hashes/18",
            "/logId/keyId",
        ] {
            let original = vector.material["tlogEntries"][0].pointer(path).and_then(Value::as_str);
            let Some(original) = original else { continue };
            let bytes = STANDARD.decode(original).unwrap();
            for at in 0..bytes.len() {
                let mut mutated = bytes.clone();
                mutated[at] ^= 1;
                let mut changed = vector.clone();
                *changed.entry().pointer_mut(path).unwrap() = STANDARD.encode(mutated).into();
                changed.refused(&[log]);
                checked += 1;
            }
        }
        let path = "/inclusionProof/checkpoint/envelope";
        let note = vector.material["tlogEntries"][0].pointer(path).unwrap().as_str().unwrap();
        for (at, character) in note.char_indices() {
            for replacement in ['\n', 'A', 'B', '0', ' '] {
                if replacement != character {
                    let mut mutated = note.to_owned();
                    mutated.replace_range(at..at + character.len_utf8(), &replacement.to_string());
                    let mut changed = vector.clone();
                    *changed.entry().pointer_mut(path).unwrap() = mutated.clone().into();
                    changed.check(&[log]).expect_err(&mutated);
                    checked += 1;
                }
            }
        }
        assert!(checked > 500, "{name}: {checked}");
    }
}

#[test]
fn refuses_every_changed_byte_of_an_annotation() {
    let vector = Vector::load("hashedrekord-0.0.1");
    let good = vector.annotation();
    for path in ["/SignedEntryTimestamp", "/Payload/body"] {
        let bytes = STANDARD.decode(good.pointer(path).unwrap().as_str().unwrap()).unwrap();
        for at in 0..bytes.len() {
            let mut mutated = bytes.clone();
            mutated[at] ^= 1;
            let mut changed = good.clone();
            *changed.pointer_mut(path).unwrap() = STANDARD.encode(mutated).into();
            vector.check_annotation(&changed).unwrap_err();
        }
    }
}

/// The paths of all values in `document`.
fn paths(document: &Value) -> Vec<String> {
    let below = |prefix: String, value: &Value| {
        let nested = paths(value).into_iter().map(|path| format!("{prefix}{path}"));
        std::iter::once(prefix.clone()).chain(nested).collect::<Vec<_>>()
    };
    match document {
        Value::Object(object) => {
            object.iter().flat_map(|(key, value)| below(format!("/{key}"), value)).collect()
        }
        Value::Array(array) => array
            .iter()
            .enumerate()
            .flat_map(|(at, value)| below(format!("/{at}"), value))
            .collect(),
        _ => Vec::new(),
    }
}

/// Replaces or removes what is at `path`. Was there anything to change?
fn replace(document: &mut Value, path: &str, value: Option<Value>) -> bool {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(object)), None) => object.remove(key).is_some(),
        (Some(Value::Array(array)), None) => {
            array.remove(key.parse().unwrap());
            true
        }
        (_, None) => false,
        (_, Some(value)) => {
            let place = document.pointer_mut(path).unwrap();
            let differs = *place != value;
            *place = value;
            differs
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), json in r#"[\[\]{}":,a-zA-Z0-9]{0,60}"#) {
        let vector = Vector::load("dsse-0.0.1");
        for text in [text, json] {
            for proofs in [
                UntrustedProofs::from_bundle(&text),
                UntrustedProofs::from_annotations(Some(&text), Some(&text)),
            ] {
                prop_assert!(trusting(&[REKOR]).check(&proofs, &vector.signed()).is_err());
            }
        }
    }

    #[test]
    fn no_body_makes_the_parser_panic(body in any::<Vec<u8>>(), spec in r#"[\[\]{}":,a-zA-Z0-9]{0,60}"#) {
        let kinds = [("hashedrekord", "0.0.1"), ("hashedrekord", "0.0.2"), ("dsse", "0.0.1")];
        let typed = kinds.map(|(kind, version)| {
            format!(r#"{{"apiVersion":"{version}","kind":"{kind}","spec":{spec}}}"#).into_bytes()
        });
        let vector = Vector::load("dsse-0.0.1");
        for body in typed.into_iter().chain([body]) {
            prop_assert!(entry::check_body(&body, None, &vector.signed()).is_err());
        }
    }
}
