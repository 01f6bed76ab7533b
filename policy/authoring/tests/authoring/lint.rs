//! What lint finds, and where.

use civ_authoring::Kind;
use civ_authoring::lint::{Report, Severity, Written, lint};
use serde_json::{Value, json};

const P256: &str = include_str!("../../../../verifiers/cosign/testdata/keys/p256.pem");
const P384: &str = include_str!("../../../../verifiers/cosign/testdata/keys/p384.pem");
const ARN: &str =
    "awskms:///arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "awskms:///arn:aws:kms:eu-west-1:111122223333:alias/a";
const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn report(kind: Kind, text: &str) -> Report {
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    lint(&[Written { kind: Some(kind), bytes: text.as_bytes() }], now).remove(0)
}

fn codes(kind: Kind, text: &str) -> Vec<&'static str> {
    report(kind, text).findings.iter().map(|finding| finding.code).collect()
}

/// A statement with a pinned key, and `rest` in place of what it says.
fn statement(rest: &Value) -> Value {
    let mut statement = json!({ "name": "s", "registryScopes": ["r.example/a/**"],
        "signatureVerification": { "level": "strict" }, "keys": [{ "name": "a", "publicKey": P256 }] });
    statement.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    statement.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    statement
}

fn document(statements: &[Value]) -> String {
    json!({ "version": "1.0", "trustPolicies": statements }).to_string()
}

fn skip(name: &str, scope: &str) -> Value {
    json!({ "name": name, "registryScopes": [scope], "signatureVerification": { "level": "skip" } })
}

#[test]
fn a_document_that_is_meant_has_no_findings() {
    let text = document(&[
        statement(&json!({})),
        statement(
            &json!({ "name": "all", "registryScopes": ["*"], "keys": [{ "name": "b", "publicKey": P384, "kms": ARN }] }),
        ),
        skip("platform", "602401143452.dkr.ecr.*.amazonaws.com/**"),
    ]);
    assert_eq!(codes(Kind::Cosign, &text), Vec::<&str>::new());
    let digests = json!({ "version": "1.0", "trustedDigests": [A] }).to_string();
    assert_eq!(codes(Kind::Digestion, &digests), Vec::<&str>::new());
}

#[test]
fn each_warning_is_about_what_it_says() {
    let one = |rest: Value| document(&[statement(&rest)]);
    let keys = |keys: Value| one(json!({ "keys": keys }));
    let pinned = |rest: Value| {
        let mut key = json!({ "name": "a", "publicKey": P256 });
        key.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        keys(json!([key]))
    };
    let scopes = |scopes: Value| one(json!({ "registryScopes": scopes }));
    let with_cache = |keys: Value, cache: Value| {
        json!({ "version": "1.0", "trustPolicies": [statement(&json!({ "keys": keys }))], "kmsCache": cache }).to_string()
    };
    let log = json!({ "publicKeys": [P384] });
    for (text, expected) in [
        (document(&[skip("s", "*")]), vec!["skip-everywhere"]),
        (
            one(json!({ "registryScopes": ["*"], "signatureVerification": { "level": "audit" } })),
            vec!["audit-everywhere"],
        ),
        (document(&[skip("s", "docker.io/**")]), vec!["skip-open-registry"]),
        (document(&[skip("s", "docker.io/team/**")]), vec![]),
        (document(&[skip("s", "docker.io/library/*")]), vec![]),
        (document(&[skip("s", "docker.io/*/*")]), vec!["skip-open-registry"]),
        (document(&[skip("s", "ghcr.io/*/**")]), vec!["skip-open-registry"]),
        (document(&[skip("s", "public.ecr.aws/*/*")]), vec!["skip-open-registry"]),
        (document(&[skip("s", "gcr.io/**")]), vec!["skip-open-registry"]),
        (document(&[skip("s", "eu-docker.pkg.dev/**")]), vec!["skip-open-registry"]),
        (document(&[skip("s", "eu-docker.pkg.dev/team/**")]), vec![]),
        (
            document(&[skip("s", "*.dkr.ecr.us-east-1.amazonaws.com/**")]),
            vec!["skip-open-registry"],
        ),
        (document(&[skip("s", "*.azurecr.io/**")]), vec!["skip-open-registry"]),
        (document(&[skip("s", "team.azurecr.io/**")]), vec![]),
        (scopes(json!(["r.example/a/**", "r.example/a/b"])), vec!["redundant-scope"]),
        // Not redundant: without the second, the other statement would decide about it.
        (
            document(&[
                statement(&json!({ "registryScopes": ["r.example/a/**", "r.example/a/b"] })),
                statement(&json!({ "name": "t", "registryScopes": ["r.example/a/*"] })),
            ]),
            vec![],
        ),
        (
            document(&[
                statement(&json!({})),
                statement(
                    &json!({ "name": "t", "registryScopes": ["r.example/a/*", "r.example/a/*/**"] }),
                ),
            ]),
            vec!["unused-statement", "shadowed-scope"],
        ),
        (keys(json!([{ "name": "a", "kms": ARN }])), vec!["kms-not-pinned"]),
        (keys(json!([{ "name": "a", "kms": ALIAS }])), vec!["kms-alias"]),
        (pinned(json!({ "kms": ALIAS })), vec!["kms-alias-pinned"]),
        (pinned(json!({ "kms": ARN })), vec![]),
        (
            pinned(json!({ "validBefore": "2026-01-01T00:00:00Z" })),
            vec!["too-few-keys-now", "key-expired"],
        ),
        (pinned(json!({ "validBefore": "2027-01-01T00:00:00Z" })), vec![]),
        (pinned(json!({ "validAfter": "2027-01-01T00:00:00Z" })), vec!["too-few-keys-now"]),
        (
            one(
                json!({ "transparencyLog": log, "keys": [{ "name": "a", "publicKey": P256, "validBefore": "2026-01-01T00:00:00Z" }] }),
            ),
            vec![],
        ),
        (
            document(&[
                statement(&json!({})),
                statement(
                    &json!({ "name": "t", "registryScopes": ["r.example/b"], "keys": [{ "name": "a", "publicKey": P384 }] }),
                ),
            ]),
            vec!["key-name-reused"],
        ),
        (one(json!({ "signedIdentity": { "type": "any" } })), vec!["any-identity"]),
        (
            one(
                json!({ "signedIdentity": { "type": "exactRepository", "dockerRepository": "r.example/x" } }),
            ),
            vec!["one-identity-for-many"],
        ),
        (
            one(
                json!({ "registryScopes": ["r.example/a"], "signedIdentity": { "type": "exactRepository", "dockerRepository": "r.example/x" } }),
            ),
            vec![],
        ),
        (
            one(
                json!({ "signedIdentity": { "type": "remapIdentity", "prefix": "m.example", "signedPrefix": "r.example" } }),
            ),
            vec!["unused-remapping"],
        ),
        (
            one(
                json!({ "signedIdentity": { "type": "remapIdentity", "prefix": "r.example/a", "signedPrefix": "o.example" } }),
            ),
            vec![],
        ),
        (
            with_cache(json!([{ "name": "a", "publicKey": P256 }]), json!({ "maxAge": "1h" })),
            vec!["unused-kms-cache"],
        ),
        (
            with_cache(json!([{ "name": "a", "kms": ARN }]), json!({ "useStale": true })),
            vec!["kms-stale", "kms-not-pinned"],
        ),
    ] {
        let mut found = codes(Kind::Cosign, &text);
        let mut expected: Vec<&str> = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text}");
        assert!(!report(Kind::Cosign, &text).has_errors(), "{text}");
    }
}

#[test]
fn lists_of_digests_have_warnings_of_their_own() {
    let text = json!({ "version": "1.0", "trustedDigests": [A, A], "trustPolicies": [
        { "name": "s", "registryScopes": ["r.example/a"], "trustedDigests": [A] },
        { "name": "t", "registryScopes": ["r.example/b"] },
    ]})
    .to_string();
    let mut found = codes(Kind::Digestion, &text);
    found.sort_unstable();
    assert_eq!(found, ["listed-everywhere", "lists-nothing", "repeated-digest"]);
}

#[test]
fn the_notary_projects_document_has_warnings_of_its_own() {
    let one = |stores: Value, identities: Value, verification: Value, scope: &str| {
        json!({ "version": "1.0", "trustPolicies": [{ "name": "s", "registryScopes": [scope],
            "signatureVerification": verification, "trustStores": stores, "trustedIdentities": identities }] })
        .to_string()
    };
    let strict = json!({ "level": "strict" });
    let (ca, aws) = (json!(["ca:a"]), json!(["signingAuthority:aws-signer-ts"]));
    let subject = json!(["x509.subject: C=US, ST=WA, O=a"]);
    let profile = json!(["arn:aws:signer:eu-west-1:111122223333:/signing-profiles/a"]);
    for (text, expected) in [
        (one(ca.clone(), subject.clone(), strict.clone(), "*"), None),
        (one(aws.clone(), profile.clone(), strict.clone(), "*"), None),
        (one(ca.clone(), json!(["*"]), strict.clone(), "*"), Some("any-identity")),
        (one(aws.clone(), json!(["*"]), strict.clone(), "*"), Some("every-aws-customer")),
        (one(aws.clone(), subject.clone(), strict.clone(), "*"), Some("every-aws-customer")),
        (
            one(
                aws.clone(),
                json!(["arn:aws:signer:eu-west-1:111122223333:/signing-profile/a"]),
                strict.clone(),
                "*",
            ),
            Some("ignored-arn"),
        ),
        (
            one(
                aws.clone(),
                json!(["arn:aws:signer:eu-west-1:111122223333:/signing-profiles/a/b/c"]),
                strict.clone(),
                "*",
            ),
            Some("ignored-arn"),
        ),
        (
            one(ca.clone(), json!(["x509.Subject: a"]), strict.clone(), "*"),
            Some("unknown-identity"),
        ),
        (one(json!(["tsa:a"]), subject.clone(), strict.clone(), "*"), Some("no-signer-store")),
        (
            one(ca.clone(), subject.clone(), strict.clone(), "library/busybox"),
            Some("scope-matches-nothing"),
        ),
        (
            one(ca.clone(), subject.clone(), json!({ "level": "audit" }), "*"),
            Some("audit-everywhere"),
        ),
        (
            one(
                ca.clone(),
                subject.clone(),
                json!({ "level": "strict", "override": { "authenticity": "log" } }),
                "*",
            ),
            Some("authenticity-logged"),
        ),
        (
            one(
                ca,
                subject,
                json!({ "level": "strict", "override": { "revocation": "skip" } }),
                "*",
            ),
            Some("revocation-skipped"),
        ),
    ] {
        assert_eq!(codes(Kind::Notation, &text), Vec::from_iter(expected), "{text}");
    }
}

#[test]
fn errors_are_all_found_at_once_and_each_at_its_place() {
    let text = r#"{
  "version": "1.1",
  "trustPolicies": [
    { "name": "a", "registryScopes": ["r.example/a", "r.example/b-*"],
      "signatureVerification": {"level": "skip"} },
    { "name": "b", "registryScopes": ["r.example/c"],
      "signatureVerification": {"level": "strict"},
      "keys": [ {"name": "x", "kms": "awskms:///alias/x"} ] },
    { "name": "c", "registryScopes": ["r.example/d"], "signatureVerification": {"level": "skip"} },
    { "name": "c", "registryScopes": ["r.example/e"], "signatureVerification": {"level": "skip"} },
    { "name": "d", "registryScopes": ["R.example/d"], "signatureVerification": {"level": "skip"} },
    { "name": "", "registryScopes": ["r.example/f"], "signatureVerification": {"level": "skip"} },
    { "name": "e", "registryScopes": ["r.example/g"], "signatureVerification": {"level": "strict"},
      "keys": [ {"name": "x", "kms": "KEY"},
        {"name": "", "kms": "KEY"} ] }
  ]
}"#;
    let text = &text.replace("KEY", "awskms:///arn:aws:kms:eu-west-1:111122223333:alias/x");
    let found: Vec<_> = report(Kind::Cosign, text)
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| (finding.code, finding.position.line, finding.position.column))
        .collect();
    assert_eq!(
        found,
        [
            ("unknown-version", 2, 14),
            ("bad-scope", 4, 54),
            ("kms-without-arn", 8, 38),
            ("duplicate-statement", 10, 15),
            ("duplicate-scope", 11, 39),
            ("bad-name", 12, 15),
            ("bad-name", 15, 18),
        ]
    );
}

#[test]
fn members_that_are_not_as_they_should_be_are_all_named() {
    let text = r#"{
  "version": "1.0",
  "trustPolicy": [],
  "trustPolicies": [
    { "name": "a", "registryscopes": ["*"], "signatureVerification": {"level": "Strict"},
      "keys": {}, "threshold": "2", "signedIdentity": {"type": "anything"} } ]
}"#;
    let report = report(Kind::Cosign, text);
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.position.line, finding.position.column, finding.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (3, 3, r#""trustPolicy" is not known in the document; remove it"#),
            (5, 5, r#"an element of "trustPolicies" has no "registryScopes"; add it"#),
            (
                5,
                20,
                r#""registryscopes" is not known in an element of "trustPolicies"; did you mean "registryScopes"?"#
            ),
            (5, 80, r#""level" is the string "Strict"; it can be "strict", "audit", "skip""#),
            (6, 15, r#""keys" is an object; write an array"#),
            (6, 32, r#""threshold" is the string "2"; write an integer"#),
            (
                6,
                64,
                r#""type" of "signedIdentity" is not known; it can be matchRepository, requireRepository, any, exactRepository, remapIdentity"#
            ),
        ]
    );
    assert!(report.findings.iter().all(|finding| finding.code == "bad-form"));
}

#[test]
fn what_is_no_json_or_for_another_verifier_is_said_so() {
    for (kind, text, code, start) in [
        (Kind::Cosign, "{\"version\":\"1.0\",\n\"version\":\"1.0\"}", "bad-json", "duplicate key"),
        (Kind::Cosign, "", "bad-json", "EOF"),
        (
            Kind::Cosign,
            r#"{"version":"1.0","trustedDigests":[]}"#,
            "other-kind",
            "this is a document for digestion-image-verifier",
        ),
        (
            Kind::Digestion,
            &document(&[statement(&json!({}))]),
            "other-kind",
            "this is a document for cosign-image-verifier",
        ),
    ] {
        let report = report(kind, text);
        assert_eq!(report.findings.len(), 1, "{text}");
        let finding = &report.findings[0];
        assert_eq!((finding.code, finding.severity), (code, Severity::Error), "{text}");
        assert!(finding.message.starts_with(start), "{}", finding.message);
    }
    let bytes = b"{\"version\": \"\xff\"}";
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let report = lint(&[Written { kind: Some(Kind::Cosign), bytes }], now).remove(0);
    assert_eq!((report.findings[0].code, report.findings[0].position.column), ("bad-json", 14));
}

#[test]
fn documents_that_do_not_fit_into_user_data_together_are_measured() {
    let digests: Vec<String> = (0..120).map(|number| format!("sha256:{number:064x}")).collect();
    let text = json!({ "version": "1.0", "trustedDigests": digests }).to_string();
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let one = Written { kind: Some(Kind::Digestion), bytes: text.as_bytes() };
    assert!(lint(&[one], now)[0].findings.is_empty());
    let reports = lint(&[one, one], now);
    let found: Vec<_> = reports.iter().flat_map(|report| &report.findings).collect();
    assert_eq!((found.len(), found[0].code), (1, "user-data-size"));
    let total = reports[0].base64_bytes * 2;
    assert!(
        found[0].message.starts_with(&format!("{total} bytes as base64")),
        "{}",
        found[0].message
    );
}

#[test]
fn what_is_repeated_is_told_of_each_statement_and_no_end_of_it_is_not() {
    let repeated = |count: usize| {
        let statements: Vec<Value> = (0..count)
            .map(|_| skip("s", "docker.io/team/app"))
            .chain([skip("t", "index.docker.io/team/app")])
            .collect();
        report(Kind::Cosign, &document(&statements)).findings
    };
    let few = repeated(3);
    let codes: Vec<_> = few.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["duplicate-statement", "duplicate-statement", "duplicate-scope"]);
    let many = repeated(3000);
    let errors = many.iter().filter(|finding| finding.severity == Severity::Error);
    assert_eq!(errors.count(), 101);
    assert!(many.iter().any(|finding| finding.code == "too-many-errors"));
}

#[test]
fn a_document_that_nobody_knows_is_an_error_of_its_own() {
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let codes = |text: &str| {
        let report = lint(&[Written { kind: None, bytes: text.as_bytes() }], now).remove(0);
        report.findings.iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&document(&[skip("s", "r.example/a")])), ["unknown-kind"]);
    assert_eq!(codes("{"), ["bad-json"]);
    let marked = report(Kind::Cosign, "\u{feff}{}").findings.remove(0);
    assert!(marked.message.contains("byte order mark"), "{}", marked.message);
}

#[test]
fn a_threshold_that_is_too_high_is_not_blamed_on_validity() {
    let text = document(&[statement(&json!({ "threshold": 2 }))]);
    assert_eq!(codes(Kind::Cosign, &text), ["bad-threshold"]);
}

#[test]
fn annotations_are_vouched_for_by_signatures_and_by_digests() {
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let annotations = json!({ "version": "1.0", "trustPolicies": [{ "name": "a", "registryScopes": ["r.example/a"], "rules": [{ "annotation": "x", "present": true }] }] }).to_string();
    let notation = |level: &str| {
        json!({ "version": "1.0", "trustPolicies": [{ "name": "n", "registryScopes": ["r.example/a"], "signatureVerification": { "level": level }, "trustStores": ["ca:x"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"] }] }).to_string()
    };
    let digests = |rest: Value| {
        let mut document = json!({ "version": "1.0", "trustedDigests": [A] });
        document.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        document.to_string()
    };
    let loose = json!({ "trustPolicies": [{ "name": "l", "registryScopes": ["r.example/*"], "level": "audit", "trustedDigests": [A] }] });
    for (kind, other, warned) in [
        (Kind::Notation, notation("strict"), false),
        (Kind::Notation, notation("audit"), true),
        (Kind::Digestion, digests(json!({})), false),
        (Kind::Digestion, digests(loose), true),
    ] {
        let written = [(Kind::Annotations, &annotations), (kind, &other)]
            .map(|(kind, text)| Written { kind: Some(kind), bytes: text.as_bytes() });
        let report = lint(&written, now).remove(0);
        let found = report.findings.iter().any(|finding| finding.code == "unsigned-annotations");
        assert_eq!(found, warned, "{other}");
    }
}

#[test]
fn scopes_too_many_to_compare_are_not_compared() {
    let codes = |count: usize| {
        let scopes: Vec<String> = (0..count).map(|number| format!("r.example/a{number}")).collect();
        codes(Kind::Cosign, &document(&[statement(&json!({ "registryScopes": scopes }))]))
    };
    assert!(!codes(1_000).contains(&"scopes-not-compared"));
    assert!(codes(2_001).contains(&"scopes-not-compared"));
}
