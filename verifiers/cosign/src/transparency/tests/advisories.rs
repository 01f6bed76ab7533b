//! The known ways around a log, each under the name of its advisory.

use super::*;

#[test]
fn cve_2022_23649_and_2026_22703_refuses_a_valid_entry_that_is_about_another_signature() {
    let hashed = Vector::load("hashedrekord-0.0.1");
    let dsse = Vector::load("dsse-0.0.1");
    let swapped = Vector { material: dsse.material.clone(), ..hashed.clone() };
    assert_eq!(swapped.refused(&[REKOR]), EntryError::OtherSignature);
    let error = hashed.check_annotation(&dsse.annotation()).unwrap_err();
    assert!(error.to_string().contains("for another signature"), "{error}");

    // An entry is bound to all three: signature, key and payload.
    let other_key = Vector { key: dsse.key.clone(), ..hashed.clone() };
    assert_eq!(other_key.refused(&[REKOR]), EntryError::OtherKey);
    let other_message = Vector { message: b"other".to_vec(), ..hashed.clone() };
    assert_eq!(other_message.refused(&[REKOR]), EntryError::OtherContent);
    let other_payload = Vector { payload: Some(b"other".to_vec()), ..dsse.clone() };
    assert_eq!(other_payload.refused(&[REKOR]), EntryError::OtherContent);
    // The entry of an envelope says nothing of a simple-signing payload.
    let other_form = Vector { payload: None, ..dsse };
    assert_eq!(other_form.refused(&[REKOR]), EntryError::OtherContent);
    let mut other_message = Vector::load("hashedrekord-0.0.2");
    other_message.message.push(b' ');
    assert_eq!(other_message.refused(&["rekor.test"]), EntryError::OtherContent);
}

#[test]
fn cve_2022_36056_an_invalid_entry_is_never_a_success() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let proof = &vector.material["tlogEntries"][0]["inclusionProof"];
        for (what, value, expected) in [
            ("logId/keyId", json!(STANDARD.encode([0; 32])), None),
            ("logId/keyId", json!("AAAA"), Some(EntryError::Malformed)),
            ("kindVersion/version", json!("9"), Some(EntryError::Malformed)),
            ("inclusionProof", json!(null), Some(EntryError::NoProof)),
            ("inclusionProof/treeSize", json!("7"), Some(EntryError::OtherTree)),
            (
                "inclusionProof/rootHash",
                json!(STANDARD.encode([0; 32])),
                Some(EntryError::OtherTree),
            ),
            ("inclusionProof/logIndex", json!(17), Some(EntryError::Inclusion)),
            (
                "inclusionProof/hashes",
                json!([STANDARD.encode([0; 32])]),
                Some(EntryError::Inclusion),
            ),
            (
                "inclusionProof/hashes",
                json!(vec![STANDARD.encode([0; 32]); 65]),
                Some(EntryError::Malformed),
            ),
        ] {
            let mut changed = vector.clone();
            *changed.entry().pointer_mut(&format!("/{what}")).unwrap() = value;
            let error = changed.refused(&[log]);
            assert!(expected.is_none_or(|expected| error == expected), "{name} {what}: {error}");
        }
        assert!(proof.is_object());
        let error = vector.refused(&[REKOR_2]);
        assert!(matches!(error, EntryError::OtherLog { .. }), "{name}: {error}");
    }
}

#[test]
fn cve_2024_55655_no_time_without_the_logs_signature_on_it() {
    for name in ["hashedrekord-0.0.1", "dsse-0.0.1"] {
        let mut vector = Vector::load(name);
        // Included, but the time beside it is anybody's.
        vector.entry()["inclusionPromise"] = Value::Null;
        assert_eq!(vector.check(&[REKOR]).unwrap(), None, "{name}");
        let mut vector = Vector::load(name);
        vector.entry()["integratedTime"] = json!("1766077478");
        assert_eq!(vector.refused(&[REKOR]), EntryError::Promise, "{name}");
        let mut vector = Vector::load(name);
        vector.entry()["logIndex"] = json!("1");
        assert_eq!(vector.refused(&[REKOR]), EntryError::Promise, "{name}");
    }
    // Where nothing but the promise shows the entry, it is needed.
    let vector = Vector::load("hashedrekord-0.0.1");
    for (field, value) in
        [("integratedTime", json!(1)), ("logIndex", json!(1)), ("logID", json!("00".repeat(32)))]
    {
        let mut annotation = vector.annotation();
        annotation["Payload"][field] = value;
        vector.check_annotation(&annotation).unwrap_err();
    }
}

#[test]
fn cve_2024_53267_and_54140_refuses_a_checkpoint_that_the_log_did_not_sign() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let proof = &vector.material["tlogEntries"][0]["inclusionProof"];
        let note = proof["checkpoint"]["envelope"].as_str().unwrap().to_owned();
        let (text, signatures) = note.split_once("\n\n").unwrap();
        let body = STANDARD
            .decode(vector.material["tlogEntries"][0]["canonicalizedBody"].as_str().unwrap())
            .unwrap();
        // A tree of one leaf, which is the entry, under the signature of the log's real one.
        let root = STANDARD.encode(merkle::leaf_hash(&body));
        let origin = text.lines().next().unwrap();
        for checkpoint in [
            format!("{origin}\n1\n{root}\n\n{signatures}"),
            format!("{origin}\n1\n{root}\n\n\u{2014} witness.example AAAAAAAA\n"),
            format!("other.example\n1\n{root}\n\n{signatures}"),
        ] {
            let mut forged = vector.clone();
            forged.entry()["inclusionProof"] = json!({
                "logIndex": "0", "treeSize": "1", "rootHash": root, "hashes": [],
                "checkpoint": { "envelope": checkpoint },
            });
            // The whole tree of one vector is its entry: there the first forgery is the original.
            if checkpoint != note {
                let error = forged.refused(&[log]);
                assert_eq!(error, EntryError::CheckpointSignature, "{name}: {checkpoint}");
            }
        }
        let mut unsigned = vector.clone();
        unsigned.entry()["inclusionProof"]["checkpoint"]["envelope"] = format!("{text}\n").into();
        let error = unsigned.refused(&[log]);
        assert!(matches!(error, EntryError::Checkpoint(_)), "{name}: {error}");
    }
}

#[test]
fn cve_2026_49834_one_entry_twice_is_one_and_a_bad_one_does_not_spoil_it() {
    let vector = Vector::load("dsse-0.0.1");
    let good = vector.material["tlogEntries"][0].clone();
    let other = Vector::load("hashedrekord-0.0.1").material["tlogEntries"][0].clone();
    let mut several = vector.clone();
    for entries in [
        vec![good.clone(), good.clone()],
        vec![json!(null), json!({}), json!([]), json!("x"), other.clone(), good.clone()],
        vec![good.clone(), other.clone(), json!(17)],
    ] {
        several.material["tlogEntries"] = entries.into();
        assert!(several.check(&[REKOR]).unwrap().is_some());
    }
    several.material["tlogEntries"] = json!([other, null]);
    assert_eq!(several.refused(&[REKOR]), EntryError::OtherSignature);
}
