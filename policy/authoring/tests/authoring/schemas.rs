//! The schemas say what the verifiers' parsers do: whatever a parser accepts they accept, and whatever it
//! refuses for its form they refuse. The corpus is valid documents that say all there is to say, and each
//! of their mutants: every member removed, added or of another type, and every object as an array of its
//! values, which parsers that serde derives take for a struct.

use civ_authoring::{Document, Kind, schema};
use civ_oci::strict_json;
use jsonschema::Validator;
use serde_json::{Value, json};

const P256: &str = include_str!("../../../../verifiers/cosign/testdata/keys/p256.pem");
const P384: &str = include_str!("../../../../verifiers/cosign/testdata/keys/p384.pem");
const ARN: &str =
    "awskms:///arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

const KINDS: [Kind; 4] = Kind::ALL;

fn cosign() -> Vec<Value> {
    let key = json!({ "name": "a", "publicKey": P256, "validAfter": "2026-01-01T00:00:00Z", "validBefore": "2027-01-01T00:00:00Z" });
    let identity = |identity: Value| {
        json!({ "version": "1.0", "trustPolicies": [{
            "name": "s", "registryScopes": ["r.example/a/**", "*"],
            "signatureVerification": { "level": "strict" },
            "keys": [key, { "name": "b", "kms": ARN }], "threshold": 2,
            "annotations": { "a": "b" }, "signedIdentity": identity,
            "signatureRepository": "r.example/signatures",
            "transparencyLog": { "publicKeys": [P384] },
        }], "kmsCache": { "maxAge": "12h", "useStale": true } })
    };
    vec![
        identity(json!({ "type": "matchRepository" })),
        identity(json!({ "type": "requireRepository" })),
        identity(json!({ "type": "any" })),
        identity(json!({ "type": "exactRepository", "dockerRepository": "r.example/a" })),
        identity(
            json!({ "type": "remapIdentity", "prefix": "m.example", "signedPrefix": "r.example/a" }),
        ),
        json!({ "version": "1.0", "trustPolicies": [
            { "name": "s", "registryScopes": ["*"], "signatureVerification": { "level": "skip" } },
            { "name": "t", "registryScopes": ["r.example/a"], "signatureVerification": { "level": "audit" },
              "keys": [{ "name": "a", "publicKey": P256, "kms": ARN }] },
        ] }),
    ]
}

fn annotations() -> Vec<Value> {
    let rule = |matcher: &str, value: Value| json!({ "annotation": "a", matcher: value });
    vec![json!({ "version": "1.0", "trustPolicies": [
        { "name": "s", "registryScopes": ["r.example/**"], "level": "audit", "rules": [
            rule("equals", json!("x")), rule("oneOf", json!(["x", "y"])), rule("matches", json!("x+")),
            rule("maxAge", json!("30d")), rule("version", json!(">=1.2")), 
            { "annotation": "a", "from": "manifest", "absent": true },
            { "annotation": "a", "from": "labels", "platforms": "node", "present": true },
            { "anyOf": [{ "annotation": "a", "from": "index", "present": true }, rule("equals", json!("x"))] },
        ] },
        { "name": "t", "registryScopes": ["*"], "level": "skip" },
    ] })]
}

fn digestion() -> Vec<Value> {
    let image = json!({ "name": "a", "digest": DIGEST });
    let index = json!({ "name": "a", "digest": DIGEST, "children": [DIGEST] });
    vec![
        json!({ "version": "1.0", "images": [index], "children": "resolve" }),
        json!({ "version": "1.0", "trustPolicies": [{ "name": "s", "registryScopes": ["*"], "images": [image] }] }),
        json!({ "version": "1.0", "trustedDigests": [DIGEST] }),
        json!({ "version": "1.0", "trustedDigests": [DIGEST], "trustPolicies": [
            { "name": "s", "registryScopes": ["r.example/**"], "level": "audit", "trustedDigests": [DIGEST] },
            { "name": "t", "registryScopes": ["*"], "level": "skip" },
        ] }),
    ]
}

fn notation() -> Vec<Value> {
    vec![json!({ "version": "1.0", "trustPolicies": [
        { "name": "s", "registryScopes": ["r.example/a"],
          "signatureVerification": { "level": "strict", "verifyTimestamp": "always",
            "override": { "authenticity": "log", "authenticTimestamp": "log", "expiry": "log", "revocation": "skip" } },
          "trustStores": ["ca:a", "tsa:b"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=a"] },
        { "name": "t", "registryScopes": ["*"], "signatureVerification": { "level": "skip" } },
    ] })]
}

fn valid(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Cosign => cosign(),
        Kind::Digestion => digestion(),
        Kind::Notation => notation(),
        Kind::Annotations => annotations(),
    }
}

fn validator(kind: Kind) -> Validator {
    // Strictly: of two members of one name the last would count, and the first be read.
    let schema: Value = strict_json::from_slice(schema::of(kind).as_bytes()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Every value of `document`, by its JSON pointer.
fn pointers(document: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                pointers(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn mutants(document: &Value) -> Vec<(String, Value)> {
    let others = [
        json!(null),
        json!(true),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("x"),
        json!("*"),
        json!([]),
        json!(["x"]),
        json!({}),
        json!({ "x": "y" }),
    ];
    let mut places = Vec::new();
    pointers(document, "", &mut places);
    let mut mutants = Vec::new();
    for place in places {
        for other in &others {
            let mut mutant = document.clone();
            *mutant.pointer_mut(&place).unwrap() = other.clone();
            mutants.push((format!("{place} = {other}"), mutant));
        }
        let value = document.pointer(&place).unwrap();
        let otherwise = match value {
            Value::Object(members) => members.values().cloned().collect(),
            Value::String(text) => json!({ text: null }),
            _ => json!({ "0": value }),
        };
        let mut mutant = document.clone();
        *mutant.pointer_mut(&place).unwrap() = otherwise;
        mutants.push((format!("{place} in another form"), mutant));
        let members = document.pointer(&place).and_then(Value::as_object);
        for name in members.into_iter().flatten().map(|(name, _)| name) {
            let mut mutant = document.clone();
            mutant.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(name);
            mutants.push((format!("{place} without {name}"), mutant));
        }
        if members.is_some() {
            for name in ["unknown", "Version", "level", "keys", "trustedDigests", "override"] {
                let mut mutant = document.clone();
                let object = mutant.pointer_mut(&place).unwrap().as_object_mut().unwrap();
                if object.insert(name.to_owned(), json!("x")).is_none() {
                    mutants.push((format!("{place} with {name}"), mutant));
                }
            }
        }
    }
    mutants
}

#[test]
fn a_schema_accepts_what_the_parser_accepts_and_refuses_what_it_refuses_for_its_form() {
    let mut counts = [0_usize; 3];
    for kind in KINDS {
        let validator = validator(kind);
        for document in valid(kind) {
            Document::parse(kind, document.to_string().as_bytes()).unwrap();
            for (what, mutant) in
                mutants(&document).into_iter().chain([("it".to_owned(), document)])
            {
                let verdict = Document::parse(kind, mutant.to_string().as_bytes());
                let fits = validator.is_valid(&mutant);
                match verdict {
                    Ok(_) => {
                        counts[0] += 1;
                        assert!(fits, "{kind}: the schema refuses {what}: {mutant}");
                    }
                    Err(refusal) if refusal.is_about_form() => {
                        counts[1] += 1;
                        assert!(!fits, "{kind}: the schema accepts {what}: {refusal}");
                    }
                    Err(_) => counts[2] += 1,
                }
            }
        }
    }
    // A generator that makes nothing would find nothing.
    assert!(counts[0] > 100 && counts[1] > 2_000 && counts[2] > 100, "{counts:?}");
}

/// Each in the order of the parser's fields.
#[test]
fn parser_and_schema_refuse_structs_as_arrays_and_variants_as_objects_at_every_level() {
    let named = |level: Value| json!({ "name": "s", "registryScopes": ["*"], "level": level });
    let rule = json!({ "annotation": "a", "present": true });
    let of = |rest: Value| json!({ "version": "1.0", "trustPolicies": [rest] });
    let asking = |rule: Value| of(json!({ "name": "s", "registryScopes": ["*"], "rules": [rule] }));
    let verifying = |level: Value| json!({ "name": "s", "registryScopes": ["*"], "signatureVerification": level });
    let cosign = |key: &str, value: Value| {
        let mut statement = verifying(json!({ "level": "strict" }));
        statement["keys"] = json!([{ "name": "a", "publicKey": P256 }]);
        statement[key] = value;
        of(statement)
    };
    let image = json!({ "name": "a", "digest": DIGEST });
    for (kind, document) in [
        (Kind::Digestion, json!(["1.0", [DIGEST], [], "resolve", [named(json!("strict"))]])),
        (Kind::Digestion, json!({ "version": "1.0", "images": [["a", DIGEST]] })),
        (
            Kind::Digestion,
            json!({ "version": "1.0", "images": [["a", DIGEST, [DIGEST]]], "children": "resolve" }),
        ),
        (
            Kind::Digestion,
            json!({ "version": "1.0", "images": [image.clone()], "children": { "resolve": null } }),
        ),
        (Kind::Digestion, of(json!(["s", ["*"], "audit", [DIGEST], [], "resolve"]))),
        (Kind::Digestion, of(json!(["s", ["*"], { "skip": null }]))),
        (Kind::Digestion, of(named(json!({ "skip": null })))),
        (Kind::Digestion, of(named(json!(null)))),
        (
            Kind::Digestion,
            json!({ "version": "1.0", "trustedDigests": [DIGEST], "trustPolicies": null }),
        ),
        (Kind::Annotations, json!(["1.0", [named(json!("skip"))]])),
        (Kind::Annotations, of(json!(["s", ["*"], "strict", [rule.clone()]]))),
        (Kind::Annotations, of(named(json!({ "skip": null })))),
        (Kind::Annotations, asking(json!(["a", "index", "node", "x"]))),
        (
            Kind::Annotations,
            asking(json!({ "annotation": "a", "from": { "index": null }, "present": true })),
        ),
        (
            Kind::Annotations,
            asking(
                json!({ "annotation": "a", "from": "labels", "platforms": { "node": null }, "present": true }),
            ),
        ),
        (Kind::Annotations, asking(json!({ "anyOf": [["a"]] }))),
        (Kind::Cosign, json!(["1.0", [verifying(json!({ "level": "skip" }))], null])),
        (
            Kind::Cosign,
            of(json!(["s", ["*"], { "level": "skip" }, null, null, null, null, null, null, null])),
        ),
        (Kind::Cosign, of(verifying(json!(["skip"])))),
        (Kind::Cosign, of(verifying(json!({ "level": { "skip": null } })))),
        (Kind::Cosign, cosign("keys", json!([["a", null, P256, null, null]]))),
        (Kind::Cosign, cosign("signedIdentity", json!(["any"]))),
        (Kind::Cosign, cosign("signedIdentity", json!(["any", {}]))),
        (Kind::Cosign, cosign("signedIdentity", json!(["exactRepository", "r.example/a"]))),
        (Kind::Cosign, cosign("transparencyLog", json!([[P384]]))),
        (Kind::Cosign, cosign("timestampAuthority", json!([["x"]]))),
        (
            Kind::Cosign,
            json!({ "version": "1.0", "trustPolicies": [verifying(json!({ "level": "skip" }))], "kmsCache": ["1h", true] }),
        ),
        (Kind::Notation, json!(["1.0", [verifying(json!({ "level": "skip" }))]])),
        (Kind::Notation, of(json!(["s", ["*"], { "level": "skip" }, null, null]))),
        (Kind::Notation, of(verifying(json!(["skip", null, null])))),
    ] {
        let refusal = Document::parse(kind, document.to_string().as_bytes()).unwrap_err();
        assert!(refusal.is_about_form(), "{kind}: {refusal}: {document}");
        assert!(!validator(kind).is_valid(&document), "{kind}: {document}");
    }
}

/// What no schema says: each of these documents fits its schema, and the verifier refuses it for this.
fn assert_only_the_parser_refuses(cases: &[(Kind, &str, Value)]) {
    for (kind, code, document) in cases {
        assert!(validator(*kind).is_valid(document), "{kind} {code}: {document}");
        let refusal = Document::parse(*kind, document.to_string().as_bytes()).unwrap_err();
        assert_eq!(refusal.code(), *code, "{refusal}");
    }
}

#[test]
fn what_the_schema_for_cosign_cannot_say_is_this() {
    let statement = |rest: Value| {
        let mut statement = json!({ "name": "s", "registryScopes": ["r.example/a"],
            "signatureVerification": { "level": "strict" }, "keys": [{ "name": "a", "publicKey": P256 }] });
        statement.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        statement
    };
    let cosign = |rest: Value| json!({ "version": "1.0", "trustPolicies": [statement(rest)] });
    let twice = |rest: Value| json!({ "version": "1.0", "trustPolicies": [statement(json!({})), statement(rest)] });
    assert_only_the_parser_refuses(&[
        (Kind::Cosign, "duplicate-statement", twice(json!({ "registryScopes": ["r.example/b"] }))),
        (Kind::Cosign, "duplicate-scope", twice(json!({ "name": "t" }))),
        (Kind::Cosign, "bad-scope", cosign(json!({ "registryScopes": ["r.example/a-*"] }))),
        (Kind::Cosign, "bad-threshold", cosign(json!({ "threshold": 2 }))),
        (Kind::Cosign, "bad-key", cosign(json!({ "keys": [{ "name": "a", "publicKey": "x" }] }))),
        (
            Kind::Cosign,
            "same-key",
            cosign(
                json!({ "keys": [{ "name": "a", "publicKey": P256 }, { "name": "b", "publicKey": P256 }] }),
            ),
        ),
        (
            Kind::Cosign,
            "duplicate-key-name",
            cosign(
                json!({ "keys": [{ "name": "a", "publicKey": P256 }, { "name": "a", "kms": ARN }] }),
            ),
        ),
        (
            Kind::Cosign,
            "bad-kms-reference",
            cosign(json!({ "keys": [{ "name": "a", "kms": "awskms:///x" }] })),
        ),
        (
            Kind::Cosign,
            "kms-without-arn",
            cosign(json!({ "keys": [{ "name": "a", "kms": "awskms:///alias/x" }] })),
        ),
        (
            Kind::Cosign,
            "never-valid",
            cosign(
                json!({ "keys": [{ "name": "a", "publicKey": P256, "validAfter": "2027-01-01T00:00:00Z", "validBefore": "2026-01-01T00:00:00Z" }] }),
            ),
        ),
        (
            Kind::Cosign,
            "bad-identity",
            cosign(
                json!({ "signedIdentity": { "type": "exactRepository", "dockerRepository": "x:y" } }),
            ),
        ),
        (
            Kind::Cosign,
            "bad-transparency",
            cosign(json!({ "transparencyLog": { "publicKeys": ["x"] } })),
        ),
        (
            Kind::Cosign,
            "bad-age",
            json!({ "version": "1.0", "trustPolicies": [statement(json!({}))], "kmsCache": { "maxAge": "8d" } }),
        ),
        // A day that there is not, and a number that JSON Schema takes for an integer.
        (
            Kind::Cosign,
            "bad-form",
            cosign(
                json!({ "keys": [{ "name": "a", "publicKey": P256, "validAfter": "2026-02-30T00:00:00Z" }] }),
            ),
        ),
        (Kind::Cosign, "bad-form", cosign(json!({ "threshold": 1.0 }))),
    ]);
}

#[test]
fn what_the_other_schemas_cannot_say_is_this() {
    let notation = |rest: Value| {
        let mut statement = json!({ "name": "s", "registryScopes": ["*"], "signatureVerification": { "level": "strict" },
            "trustStores": ["ca:a"], "trustedIdentities": ["*"] });
        statement.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({ "version": "1.0", "trustPolicies": [statement] })
    };
    assert_only_the_parser_refuses(&[
        (Kind::Notation, "bad-scope", notation(json!({ "registryScopes": ["r.example/A"] }))),
        (
            Kind::Notation,
            "bad-identity",
            notation(json!({ "trustedIdentities": ["x509.subject: CN=a"] })),
        ),
        (
            Kind::Notation,
            "overlapping-identities",
            notation(
                json!({ "trustedIdentities": ["x509.subject: C=US, ST=WA, O=a", "x509.subject: C=US, ST=WA, O=a, CN=b"] }),
            ),
        ),
        (Kind::Notation, "bad-trust-store", notation(json!({ "trustStores": ["ca:.."] }))),
        (
            Kind::Digestion,
            "skip-with-checks",
            json!({ "version": "1.0", "trustPolicies": [{ "name": "s", "registryScopes": ["*"], "level": "skip", "trustedDigests": [DIGEST] }] }),
        ),
    ]);
}

/// What a parser refuses although every member is there and of its type.
#[test]
fn schemas_refuse_statements_that_ask_for_nothing_or_for_too_much() {
    let cosign = |rest: Value| (Kind::Cosign, rest);
    let notation = |rest: Value| (Kind::Notation, rest);
    let rules = |rules: Value| (Kind::Annotations, json!({ "rules": rules }));
    let level = |level: &str| json!({ "level": level });
    let key = json!([{ "name": "a", "publicKey": P256 }]);
    for (kind, rest) in [
        cosign(json!({ "signatureVerification": level("strict") })),
        cosign(json!({ "signatureVerification": level("strict"), "keys": [] })),
        cosign(json!({ "signatureVerification": level("strict"), "keys": key, "threshold": 0 })),
        cosign(json!({ "signatureVerification": level("skip"), "keys": key })),
        cosign(json!({ "signatureVerification": level("skip"), "threshold": 1 })),
        cosign(json!({ "signatureVerification": level("skip"), "name": "" })),
        cosign(json!({ "signatureVerification": level("skip"), "name": "n".repeat(77) })),
        cosign(
            json!({ "signatureVerification": level("strict"), "keys": [{ "name": "", "publicKey": P256 }] }),
        ),
        (Kind::Annotations, json!({ "level": "skip", "name": "" })),
        (Kind::Digestion, json!({ "level": "skip", "name": "" })),
        notation(json!({ "signatureVerification": level("strict") })),
        notation(
            json!({ "signatureVerification": level("strict"), "trustStores": [], "trustedIdentities": ["*"] }),
        ),
        notation(
            json!({ "signatureVerification": level("strict"), "trustStores": ["ca:a"], "trustedIdentities": ["*", "x509.subject: C=US, ST=WA, O=a"] }),
        ),
        notation(
            json!({ "signatureVerification": level("skip"), "registryScopes": ["*", "r.example/a"] }),
        ),
        notation(json!({ "signatureVerification": level("skip"), "trustStores": ["ca:a"] })),
        rules(json!([])),
        rules(json!([{ "annotation": "a" }])),
        rules(json!([{ "annotation": "a", "equals": "x", "present": true }])),
        rules(json!([{ "equals": "x" }])),
        rules(json!([{ "anyOf": [{ "annotation": "a", "present": true }], "from": "index" }])),
        (Kind::Annotations, json!({})),
        (Kind::Annotations, json!({ "level": "skip", "rules": [] })),
    ] {
        let mut statement = json!({ "name": "s", "registryScopes": ["r.example/b"] });
        statement.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let document = json!({ "version": "1.0", "trustPolicies": [statement] });
        let parsed = Document::parse(kind, document.to_string().as_bytes());
        assert!(parsed.is_err(), "{document}");
        assert!(!validator(kind).is_valid(&document), "{document}");
    }
}
