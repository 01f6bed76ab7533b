use proptest::prelude::*;

use super::*;

fn policy(statements: &str) -> Result<Policy, PolicyError> {
    Policy::parse(format!(r#"{{"version":"1.0","trustPolicies":[{statements}]}}"#).as_bytes())
}

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

const STRICT: &str = r#""signatureVerification":{"level":"strict"}"#;
const KEY: &str = r#"{"name":"k","publicKey":"PEM"}"#;

#[test]
fn reads_all_that_a_statement_can_say() {
    let policy = policy(
        r#"{"name":"p","registryScopes":["r.io/prod/**"],
            "signatureVerification":{"level":"audit"},
            "keys":[{"name":"a","publicKey":"PEM","validBefore":"2026-12-01T00:00:00Z"},
                    {"name":"b","kms":"awskms:///arn:aws:kms:eu-west-1:111111111111:alias/b"}],
            "threshold":2,"annotations":{"e2e-tests-passed":"True"},
            "signedIdentity":{"type":"remapIdentity","prefix":"r.io/prod","signedPrefix":"o.io"},
            "signatureRepository":"s.io/signatures"},
           {"name":"rest","registryScopes":["*"],"signatureVerification":{"level":"skip"}}"#,
    )
    .unwrap();
    let image = repository("r.io/prod/a").image(civ_oci::Digest::sha256(b""));
    let statement = policy.statement_for(&image).unwrap();
    assert_eq!((statement.name.as_str(), statement.level), ("p", Level::Audit));
    assert_eq!((statement.keys.len(), statement.threshold), (2, 2));
    assert_eq!(statement.annotations["e2e-tests-passed"], "True");
    assert_eq!(statement.signature_repository, Some(repository("s.io/signatures")));
    let counts =
        |key: usize, time: &str| statement.keys[key].validity.contains(time.parse().unwrap());
    assert!(counts(0, "2026-11-30T23:59:59Z") && !counts(0, "2026-12-01T00:00:00Z"));
    assert!(counts(1, "1970-01-01T00:00:00Z") && counts(1, "9999-12-31T23:59:59Z"));
    assert!(statement.exempt(&image).is_none());

    let other = repository("r.io/other").image(civ_oci::Digest::sha256(b""));
    assert!(policy.statement_for(&other).unwrap().exempt(&other).is_some());
}

#[test]
fn no_statement_is_no_permission() {
    let policy =
        policy(&format!(r#"{{"name":"p","registryScopes":["r.io/a"],{STRICT},"keys":[{KEY}]}}"#))
            .unwrap();
    let image = repository("r.io/b").image(civ_oci::Digest::sha256(b""));
    assert_eq!(policy.statement_for(&image).unwrap_err().repository, image.repository);
}

#[test]
fn refuses_documents_that_contradict_themselves_or_say_too_much() {
    let with = |rest: &str| format!(r#"{{"name":"p","registryScopes":["*"],{STRICT},{rest}}}"#);
    let skip = |rest: &str| {
        format!(
            r#"{{"name":"p","registryScopes":["*"],"signatureVerification":{{"level":"skip"}},{rest}}}"#
        )
    };
    for statements in [
        String::new(),
        with(r#""keys":[]"#),
        with(r#""keys":[{"name":"k"}]"#),
        with(r#""keys":[{"name":"k","kms":"alias/x"}]"#),
        with(r#""keys":[{"name":"k","kms":"awskms:///alias/x"}]"#),
        with(r#""keys":[{"name":"k","kms":"awskms:///1234abcd-12ab-34cd-56ef-1234567890ab"}]"#),
        with(
            r#""keys":[{"name":"k","kms":"awskms://localhost:4566/arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}]"#,
        ),
        with(r#""keys":[{"name":"k","publicKey":"P","algorithm":"none"}]"#),
        with(r#""keys":[{"name":"k","publicKey":"P","validAfter":"2026-11-21"}]"#),
        with(
            r#""keys":[{"name":"k","publicKey":"P","validAfter":"2026-11-21T00:00:00Z","validBefore":"2026-11-21T00:00:00Z"}]"#,
        ),
        with(&format!(r#""keys":[{KEY},{KEY}]"#)),
        with(&format!(r#""keys":[{KEY}],"threshold":0"#)),
        with(&format!(r#""keys":[{KEY}],"threshold":2"#)),
        with(&format!(r#""keys":[{KEY}],"threshold":-1"#)),
        with(&format!(r#""keys":[{KEY}],"annotations":{{"a":1}}"#)),
        with(&format!(r#""keys":[{KEY}],"annotations":{{"a":"1","a":"1"}}"#)),
        with(&format!(r#""keys":[{KEY}],"signedIdentity":{{"type":"other"}}"#)),
        with(&format!(r#""keys":[{KEY}],"signedIdentity":{{"type":"any","prefix":"x"}}"#)),
        with(&format!(
            r#""keys":[{KEY}],"signedIdentity":{{"type":"exactRepository","dockerRepository":"r.io/A"}}"#
        )),
        with(&format!(r#""keys":[{KEY}],"signatureRepository":"r.io/A""#)),
        with(&format!(r#""keys":[{KEY}],"signatureRepository":"ghcr.io""#)),
        with(&format!(r#""keys":[{KEY}],"unknown":1"#)),
        skip(&format!(r#""keys":[{KEY}]"#)),
        skip(r#""threshold":1"#),
        format!("{0},{0}", with(&format!(r#""keys":[{KEY}]"#))),
    ] {
        assert!(policy(&statements).is_err(), "{statements}");
    }
    assert!(policy(&with(&format!(r#""keys":[{KEY}]"#))).is_ok());
    let pinned = r#""keys":[{"name":"k","kms":"awskms:///alias/x","publicKey":"PEM"}]"#;
    assert!(policy(&with(pinned)).is_ok());
}

#[test]
fn a_kms_key_that_is_not_pinned_is_named_by_its_arn() {
    let key = r#""keys":[{"name":"k","kms":"awskms:///alias/x"}]"#;
    let error = policy(&format!(r#"{{"name":"p","registryScopes":["*"],{STRICT},{key}}}"#));
    let error = error.unwrap_err().to_string();
    for words in ["\"k\" of statement \"p\"", "ARN", "civ policy pin"] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn says_how_long_an_answer_of_kms_is_used() {
    let policy = |cache: &str| {
        let statement = format!(r#"{{"name":"p","registryScopes":["*"],{STRICT},"keys":[{KEY}]}}"#);
        let document = format!(r#"{{"version":"1.0","trustPolicies":[{statement}]{cache}}}"#);
        Policy::parse(document.as_bytes()).map(|policy| policy.kms_cache())
    };
    assert_eq!(policy("").unwrap(), KmsCache::default());
    let cache = policy(r#","kmsCache":{"maxAge":"90m","useStale":true}"#).unwrap();
    assert_eq!((cache.max_age.as_secs(), cache.use_stale), (90 * 60, true));
    for wrong in [
        r#","kmsCache":{"maxAge":"90m","useStale":"yes"}"#,
        r#","kmsCache":{"maxAge":"90m","more":1}"#,
        r#","kmsCache":{"maxAge":90}"#,
        r#","kmsCache":{"maxAge":"8d"}"#,
    ] {
        assert!(policy(wrong).is_err(), "{wrong}");
    }
}

/// A template that writes null for what it does not know must not ask for less.
#[test]
fn refuses_null_in_place_of_anything() {
    let document = |cache: &str, statement: &str, key: &str| {
        Policy::parse(
            format!(
                r#"{{"version":"1.0","trustPolicies":[{{"name":"p","registryScopes":["*"],{STRICT},
                "keys":[{{"name":"k","publicKey":"P"{key}}}]{statement}}}]{cache}}}"#
            )
            .as_bytes(),
        )
    };
    assert!(document("", "", "").is_ok());
    let members = ["threshold", "annotations", "signedIdentity", "signatureRepository"];
    let members = members.into_iter().chain(["transparencyLog", "timestampAuthority"]);
    let in_statement = members.map(|name| document("", &format!(r#","{name}":null"#), ""));
    let members = ["kms", "validAfter", "validBefore"].into_iter();
    let in_key = members.map(|name| document("", "", &format!(r#","{name}":null"#)));
    let caches = [r#","kmsCache":null"#, r#","kmsCache":{"maxAge":null}"#].into_iter();
    let caches = caches.chain([r#","kmsCache":{"useStale":null}"#]);
    let elsewhere = caches.map(|cache| document(cache, "", ""));
    let skip = r#"{"name":"p","registryScopes":["*"],"signatureVerification":{"level":"skip"},"keys":null}"#;
    let material = format!(
        r#"{{"name":"p","registryScopes":["*"],{STRICT},"keys":[{{"name":"k","publicKey":null,"kms":"awskms:///alias/x"}}]}}"#
    );
    let others = [policy(skip), policy(&material)];
    for refused in in_statement.chain(in_key).chain(elsewhere).chain(others) {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("invalid type: null, expected "), "{error}");
        assert!(!error.contains("struct") && !error.contains("Untrusted"), "{error}");
    }
}

#[test]
fn names_are_neither_empty_nor_longer_than_a_reason_can_bear() {
    let named = |statement: &str, key: &str| {
        policy(&format!(
            r#"{{"name":"{statement}","registryScopes":["*"],{STRICT},"keys":[{{"name":"{key}","publicKey":"P"}}]}}"#
        ))
    };
    let longest = "n".repeat(crate::statements::NAME_MAX);
    assert!(named(&longest, &longest).is_ok());
    let too_long = longest + "n";
    for name in ["", &too_long] {
        assert!(matches!(named(name, "k"), Err(PolicyError::StatementName { .. })));
        assert!(matches!(named("s", name), Err(PolicyError::KeyName { index: 0, .. })));
    }
}

#[test]
fn an_error_names_no_type_of_ours() {
    for (statement, words) in [
        (r#"["p"]"#, "invalid type: an array, expected an object"),
        (
            r#"{"name":"p","registryScopes":["*"],"signatureVerification":"strict"}"#,
            "expected an object",
        ),
        (r#"{"name":"p","registryScopes":{}}"#, "invalid type: an object, expected an array"),
        (
            r#"{"name":"p","registryScopes":["*"],"signatureVerification":{"level":1}}"#,
            r#"expected one of ["strict", "audit", "skip"]"#,
        ),
        (r#"{"name":"p","signedIdentity":"any"}"#, r#"expected an object with a "type""#),
        (r#"{"name":"p","annotations":[]}"#, "invalid type: an array, expected an object"),
    ] {
        let error = policy(statement).unwrap_err().to_string();
        assert!(error.starts_with("line 1, column ") && error.contains(words), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse(&bytes);
        let _ = crate::digestion::Policy::parse(&bytes);
    }
}
