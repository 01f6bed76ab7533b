//! Other tools' policies: what maps, what does not, and what must not become more permissive.

use civ_authoring::convert::{ConvertError, Converted, NoteKind, Source, convert, detect};
use serde_json::{Value, json};

const P256: &str = include_str!("../../../../verifiers/cosign/testdata/keys/p256.pem");
const P384: &str = include_str!("../../../../verifiers/cosign/testdata/keys/p384.pem");

fn run(source: Source, policy: &Value) -> Result<Converted, ConvertError> {
    let text = policy.to_string();
    assert_eq!(detect(&text), Some(source));
    convert(source, &text, &|path| (path == "/keys/a.pub").then(|| P256.to_owned()))
}

fn statements(converted: &Converted) -> Vec<(String, Value, String)> {
    let document: Value = serde_json::from_str(&converted.document).unwrap();
    let one = |statement: &Value| {
        let level = statement["signatureVerification"]["level"].as_str().unwrap().to_owned();
        (statement["name"].as_str().unwrap().to_owned(), statement["registryScopes"].clone(), level)
    };
    document["trustPolicies"].as_array().unwrap().iter().map(one).collect()
}

fn lost(converted: &Converted) -> usize {
    converted.notes.iter().filter(|note| note.kind == NoteKind::Lost).count()
}

fn talos(rules: &Value) -> Result<Converted, ConvertError> {
    run(
        Source::Talos,
        &json!({ "apiVersion": "v1alpha1", "kind": "ImageVerificationConfig", "rules": rules }),
    )
}

fn key(pattern: &str) -> Value {
    json!({ "image": pattern, "publicKey": { "certificate": P256 } })
}

#[test]
fn talos_rules_become_statements() {
    let converted = talos(&json!([
        { "image": "registry.k8s.io/pause", "skip": true },
        { "image": "ghcr.io/team/*", "publicKey": { "certificate": P256 } },
        { "image": "localhost:3000/*", "deny": true },
        { "image": "quay.io/a/*", "verify": true, "keyless": { "issuer": "x", "subject": "y" } },
    ]))
    .unwrap();
    assert_eq!(
        statements(&converted),
        [
            ("rule 1".to_owned(), json!(["registry.k8s.io/pause"]), "skip".to_owned()),
            ("rule 2".to_owned(), json!(["ghcr.io/team/**"]), "strict".to_owned()),
        ]
    );
    assert_eq!(lost(&converted), 1);
}

#[test]
fn talos_rules_whose_order_decides_are_not_reordered() {
    let skip = |pattern: &str| json!({ "image": pattern, "skip": true });
    let deny = |pattern: &str| json!({ "image": pattern, "deny": true });
    let keyless =
        |pattern: &str| json!({ "image": pattern, "keyless": { "issuer": "x", "subject": "y" } });
    for (rules, converts) in [
        (json!([key("ghcr.io/a"), skip("ghcr.io/*")]), true),
        // The first is for all of them there, and the second is closer here.
        (json!([key("ghcr.io/*"), skip("ghcr.io/a")]), false),
        (json!([skip("ghcr.io/a"), key("ghcr.io/*")]), true),
        (json!([deny("ghcr.io/a"), skip("ghcr.io/*")]), false),
        (json!([skip("ghcr.io/*"), deny("ghcr.io/a")]), true),
        (json!([keyless("ghcr.io/a"), key("ghcr.io/*")]), false),
        (json!([keyless("ghcr.io/evil*"), key("ghcr.io/*")]), false),
        (json!([deny("*"), skip("ghcr.io/*")]), false),
        (json!([key("ghcr.io/a"), skip("ghcr.io/a")]), true),
    ] {
        assert_eq!(talos(&rules).is_ok(), converts, "{rules}");
    }
    let repeated = talos(&json!([key("ghcr.io/a"), skip("ghcr.io/a")])).unwrap();
    assert_eq!(statements(&repeated).len(), 1);
    assert_eq!(statements(&repeated)[0].2, "strict");
}

#[test]
fn talos_patterns_that_civ_spells_otherwise_are_no_scopes() {
    let skip = |pattern: &str| json!({ "image": pattern, "skip": true });
    let deny = |pattern: &str| json!({ "image": pattern, "deny": true });
    for pattern in [
        "docker.io/nginx",
        "registry-1.docker.io/*",
        "index.docker.io/library/*",
        "GHCR.IO/*",
        "ghcr.io:443/*",
        "nginx",
        "team/*",
    ] {
        let converted = talos(&json!([skip(pattern), key("quay.io/*")])).unwrap();
        assert_eq!((statements(&converted).len(), lost(&converted)), (1, 1), "{pattern}");
        // What is denied by another name would be accepted by this one.
        if pattern != "docker.io/nginx" {
            let denied = talos(&json!([deny(pattern), skip("ghcr.io/*")]));
            assert!(denied.is_err(), "{pattern}: {denied:?}");
        }
    }
    let denied = talos(&json!([deny("docker.io/nginx"), skip("docker.io/library/*")]));
    assert!(matches!(denied, Err(ConvertError::Conflict { .. })));
    let spelt = talos(&json!([skip("ghcr.io/*"), deny("GHCR.IO/*")]));
    assert!(matches!(spelt, Err(ConvertError::Spelling { .. })));
}

#[test]
fn members_of_another_type_are_no_members_that_are_absent() {
    for rule in [
        json!({ "image": "ghcr.io/*", "skip": true, "deny": "true" }),
        json!({ "image": "ghcr.io/*", "skip": "true" }),
        json!({ "image": ["ghcr.io/*"], "skip": true }),
        json!({ "image": "ghcr.io/*", "publicKey": P256 }),
        json!({ "image": "ghcr.io/*", "keyless": true, "skip": true }),
        json!("ghcr.io/*"),
    ] {
        let result = talos(&json!([rule]));
        assert!(matches!(result, Err(ConvertError::Type { .. })), "{rule}: {result:?}");
    }
    assert!(matches!(talos(&json!({ "a": key("ghcr.io/*") })), Err(ConvertError::Type { .. })));
    let authority = json!({ "key": { "data": P256 }, "ctlog": {} });
    let images = json!([{ "glob": "ghcr.io/**" }]);
    for spec in [
        json!({ "images": { "glob": "ghcr.io/**" }, "authorities": [authority] }),
        json!({ "images": [{ "glob": ["ghcr.io/**"] }], "authorities": [authority] }),
        json!({ "images": images, "authorities": authority }),
        json!({ "images": images, "authorities": [authority], "match": { "resource": "pods" } }),
        json!({ "images": images, "authorities": [authority], "mode": 1 }),
        json!({ "images": images, "authorities": [{ "key": { "data": P256 }, "ctlog": {}, "source": {} }] }),
    ] {
        let result = run(Source::ClusterImagePolicy, &image_policy(&spec));
        assert!(matches!(result, Err(ConvertError::Type { .. })), "{spec}: {result:?}");
    }
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    for policy in [
        json!({ "default": accept, "transports": { "docker": [] } }),
        json!({ "default": accept, "transports": [] }),
        json!({ "default": accept, "transports": { "docker": { "ghcr.io": { "type": "reject" } } } }),
        json!({ "default": accept, "transports": { "docker": { "ghcr.io": ["reject"] } } }),
        json!({ "default": [{ "type": ["reject"] }] }),
    ] {
        let result = run(Source::ContainersPolicy, &policy);
        assert!(matches!(result, Err(ConvertError::Type { .. })), "{policy}: {result:?}");
    }
}

#[test]
fn a_second_document_of_talos_is_not_put_behind_the_first() {
    let document = |rule: Value| json!({ "apiVersion": "v1alpha1", "kind": "ImageVerificationConfig", "rules": [rule] });
    let skip = json!({ "image": "ghcr.io/*", "skip": true });
    let (first, second) = (document(skip), document(key("ghcr.io/*")));
    let both = convert(Source::Talos, &format!("{first}\n---\n{second}"), &|_| None);
    assert!(matches!(both, Err(ConvertError::Document { .. })), "{both:?}");
    // A machine's configuration has documents of other kinds.
    let other = json!({ "apiVersion": "v1alpha1", "kind": "HostnameConfig" });
    assert!(convert(Source::Talos, &format!("{other}\n---\n{second}"), &|_| None).is_ok());
}

fn containers(default: &Value, docker: &Value) -> Result<Converted, ConvertError> {
    run(
        Source::ContainersPolicy,
        &json!({ "default": default, "transports": { "docker": docker } }),
    )
}

fn signed(identity: &str) -> Value {
    json!({ "type": "sigstoreSigned", "keyPath": "/keys/a.pub", "signedIdentity": { "type": identity } })
}

#[test]
fn containers_scopes_become_the_name_and_all_below_it() {
    let reject = json!([{ "type": "reject" }]);
    let converted = containers(
        &reject,
        &json!({
            "docker.io/openshift": [{ "type": "insecureAcceptAnything" }],
            "docker.io/library/busybox": [{ "type": "insecureAcceptAnything" }],
            "r.example:5000": [signed("matchRepository")],
            "r.example:5000/blocked": [{ "type": "reject" }, signed("matchRepository")],
        }),
    );
    // Below what is signed, something is blocked, and civ's document has no way to block.
    assert!(matches!(converted, Err(ConvertError::Conflict { .. })));
    let converted = containers(
        &reject,
        &json!({
            "docker.io/openshift": [{ "type": "insecureAcceptAnything" }],
            "r.example:5000/a": [signed("matchRepository")],
        }),
    )
    .unwrap();
    assert_eq!(
        statements(&converted),
        [
            (
                "docker.io/openshift".to_owned(),
                json!(["docker.io/openshift/**"]),
                "skip".to_owned()
            ),
            (
                "r.example:5000/a".to_owned(),
                json!(["r.example:5000/a", "r.example:5000/a/**"]),
                "strict".to_owned()
            ),
        ]
    );
    assert!(converted.document.contains("requireRepository"));
    assert!(converted.is_complete());
}

#[test]
fn all_requirements_of_a_scope_are_asked_or_none_is_converted() {
    use base64::Engine as _;
    let other = base64::engine::general_purpose::STANDARD.encode(P384);
    let by = |key: Value| {
        let mut requirement = signed("matchRepository");
        requirement.as_object_mut().unwrap().remove("keyPath");
        requirement.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        requirement
    };
    let both = json!([signed("matchRepository"), by(json!({ "keyData": other }))]);
    let either = json!([by(json!({ "keyPaths": ["/keys/a.pub"], "keyDatas": [other] }))]);
    let threshold = |requirements: &Value| {
        let converted =
            containers(&json!([{ "type": "reject" }]), &json!({ "r.example": requirements }))
                .unwrap();
        let document: Value = serde_json::from_str(&converted.document).unwrap();
        let statement = &document["trustPolicies"][0];
        (statement["keys"].as_array().unwrap().len(), statement["threshold"].as_u64())
    };
    assert_eq!(threshold(&both), (2, Some(2)));
    assert_eq!(threshold(&either), (2, None));
    for requirements in [
        json!([signed("matchRepoDigestOrExact")]),
        json!([{ "type": "sigstoreSigned", "keyPath": "/keys/a.pub" }]),
        json!([{ "type": "sigstoreSigned", "keyPath": "/keys/none.pub", "signedIdentity": { "type": "matchRepository" } }]),
        json!([by(json!({ "keyData": "x" }))]),
        json!([by(json!({ "fulcio": {} }))]),
        json!([by(json!({ "keyPath": "/keys/a.pub", "rekorPublicKeyPath": "/r" }))]),
        json!([{ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x" }]),
        json!([signed("matchRepository"), { "type": "signedBy", "keyPath": "/x" }]),
        json!([]),
    ] {
        let alone =
            containers(&json!([{ "type": "reject" }]), &json!({ "r.example": requirements }));
        assert!(matches!(alone, Err(ConvertError::Nothing { .. })), "{requirements}");
        // Beside a default that accepts, leaving it out would accept its images.
        let beside = containers(
            &json!([{ "type": "insecureAcceptAnything" }]),
            &json!({ "r.example": requirements }),
        );
        assert!(matches!(beside, Err(ConvertError::Conflict { .. })), "{requirements}");
    }
}

#[test]
fn rules_for_a_tag_do_not_become_rules_for_a_repository() {
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    let reject = json!([{ "type": "reject" }]);
    let tagged = json!({ "r.example/a:1": accept, "s.example": accept });
    let converted = containers(&reject, &tagged).unwrap();
    assert_eq!((statements(&converted).len(), lost(&converted)), (1, 1));
    let blocked = containers(&accept, &json!({ "r.example/a:1": reject }));
    assert!(matches!(blocked, Err(ConvertError::Conflict { .. })));
    let wildcard = containers(&accept, &json!({ "*.r.example": [signed("matchRepository")] }));
    assert!(matches!(wildcard, Err(ConvertError::Conflict { .. })));
    assert!(containers(&reject, &json!({ "*.r.example": [signed("matchRepository")] })).is_ok());
}

#[test]
fn scopes_that_civ_spells_otherwise_do_not_vanish() {
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    let reject = json!([{ "type": "reject" }]);
    for scope in ["ghcr.io:443", "GHCR.IO", "GHCR.IO/a:1", "registry-1.docker.io", "r.example/a:1"]
    {
        let blocked = containers(&accept, &json!({ scope: reject }));
        assert!(blocked.is_err(), "{scope}: {blocked:?}");
    }
    let lost_one =
        containers(&reject, &json!({ "ghcr.io:443": accept, "r.example": accept })).unwrap();
    assert_eq!((statements(&lost_one).len(), lost(&lost_one)), (1, 1));
    for never in ["*.example.com/foo", "foo.*.com", "*.*.com", "r.example/a*"] {
        let converted =
            containers(&reject, &json!({ never: accept, "r.example": accept })).unwrap();
        assert_eq!(statements(&converted)[0].1, json!(["r.example/**"]), "{never}");
        assert_eq!(statements(&converted).len(), 1, "{never}");
    }
}

fn image_policy(spec: &Value) -> Value {
    json!({ "apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": { "name": "p" }, "spec": spec })
}

#[test]
fn an_image_policy_becomes_a_statement() {
    let kms =
        "awskms:///arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let spec = json!({ "mode": "warn",
        "images": [{ "glob": "ghcr.io/team/**" }, { "glob": "index.docker.io/library/nginx:*" }, { "glob": "*" }],
        "authorities": [
            { "name": "release", "key": { "data": P256, "hashAlgorithm": "sha256" }, "ctlog": {} },
            { "key": { "kms": kms }, "ctlog": {} },
            { "static": { "action": "fail" } },
            { "keyless": { "identities": [] } },
            { "key": { "data": P384 } },
        ] });
    let converted = run(Source::ClusterImagePolicy, &image_policy(&spec)).unwrap();
    assert_eq!(
        statements(&converted),
        [(
            "p".to_owned(),
            json!(["ghcr.io/team/**", "docker.io/library/nginx", "docker.io/library/*"]),
            "audit".to_owned()
        )]
    );
    let document: Value = serde_json::from_str(&converted.document).unwrap();
    let keys = document["trustPolicies"][0]["keys"].as_array().unwrap();
    let names: Vec<_> = keys.iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["release", "authority-2"]);
    // The keyless one, and the one that wants an entry of the public log.
    assert_eq!(lost(&converted), 2);
}

#[test]
fn image_policies_that_ask_more_than_civ_can_are_not_converted() {
    let authority = json!({ "key": { "data": P256 }, "ctlog": {} });
    let images = json!([{ "glob": "ghcr.io/**" }]);
    for spec in [
        json!({ "images": images, "authorities": [authority], "policy": { "type": "cue", "data": "" } }),
        json!({ "images": images, "authorities": [{ "key": { "data": P256 } }] }),
        json!({ "images": images, "authorities": [{ "key": { "data": P256 }, "ctlog": { "url": "https://rekor" } }] }),
        json!({ "images": images, "authorities": [{ "key": { "data": P256 }, "ctlog": {}, "attestations": [{ "name": "a" }] }] }),
        json!({ "images": images, "authorities": [{ "key": { "data": P256, "hashAlgorithm": "sha512" }, "ctlog": {} }] }),
        json!({ "images": images, "authorities": [{ "key": { "secretRef": { "name": "a" } }, "ctlog": {} }] }),
        json!({ "images": images, "authorities": [{ "key": { "kms": "gcpkms://a" }, "ctlog": {} }] }),
        json!({ "images": images, "authorities": [{ "static": { "action": "pass" } }], "match": [{ "resource": "pods" }] }),
        json!({ "images": images, "authorities": [{ "static": { "action": "fail" } }] }),
        json!({ "images": images, "authorities": [] }),
        json!({ "images": [{ "glob": "ghcr.io/team-*" }], "authorities": [authority] }),
        json!({ "images": [{ "glob": "ghcr.io/**/x" }], "authorities": [authority] }),
    ] {
        let result = run(Source::ClusterImagePolicy, &image_policy(&spec));
        assert!(matches!(result, Err(ConvertError::Nothing { .. })), "{spec}");
    }
    let pass =
        json!({ "images": images, "authorities": [authority, { "static": { "action": "pass" } }] });
    let converted = run(Source::ClusterImagePolicy, &image_policy(&pass)).unwrap();
    assert_eq!(statements(&converted)[0].2, "skip");
}

#[test]
fn image_policies_that_must_both_hold_are_not_put_side_by_side() {
    let policy = |name: &str, glob: &str, authority: &str| {
        format!(
            "apiVersion: policy.sigstore.dev/v1beta1\nkind: ClusterImagePolicy\nmetadata: {{name: {name}}}\nspec:\n  images: [{{glob: '{glob}'}}]\n  authorities: [{authority}]\n"
        )
    };
    let key = |pem: &str| format!("{{key: {{data: {}}}, ctlog: {{}}}}", json!(pem));
    let keyless = "{keyless: {identities: []}}".to_owned();
    let run = |first: String, second: String| {
        convert(Source::ClusterImagePolicy, &format!("{first}---\n{second}"), &|_| None)
    };
    for (glob, authority, converts) in [
        ("quay.io/**", key(P384), true),
        ("ghcr.io/**", key(P256), true),
        ("ghcr.io/a/**", key(P384), false),
        ("**", key(P384), false),
        ("ghcr.io/a*", key(P384), false),
        ("GHCR.IO/**", key(P384), false),
        ("team/app*", key(P384), false),
        ("ghcr.io:443/**", key(P384), false),
        ("ghcr.io/a/**", keyless.clone(), false),
        ("quay.io/**", keyless, true),
    ] {
        let scope = if converts && glob == "ghcr.io/**" { "ghcr.io/b/**" } else { "ghcr.io/**" };
        let result = run(policy("a", scope, &key(P256)), policy("b", glob, &authority));
        assert_eq!(result.is_ok(), converts, "{glob} {authority}: {result:?}");
    }
}

#[test]
fn image_policies_compare_names_as_they_are_written_too() {
    let policy = |glob: &str, pem: &str| {
        image_policy(
            &json!({ "images": [{ "glob": glob }], "authorities": [{ "key": { "data": pem }, "ctlog": {} }] }),
        )
    };
    let run = |documents: &[Value]| {
        let text: Vec<String> = documents.iter().map(ToString::to_string).collect();
        convert(Source::ClusterImagePolicy, &text.join("\n---\n"), &|_| None)
    };
    // Both are for nginx.
    let both = run(&[policy("*", P256), policy("nginx*", P384)]);
    assert!(matches!(both, Err(ConvertError::Conflict { .. })), "{both:?}");
    for glob in ["ghcr.io/team/app", "ghcr.io/team/app:1", "docker.io/library/*", "team/**"] {
        let alone = run(&[policy(glob, P256)]);
        assert!(matches!(alone, Err(ConvertError::Nothing { .. })), "{glob}: {alone:?}");
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [policy("ghcr.io/**", P256), policy("quay.io/**", P384)] });
    assert_eq!(detect(&list.to_string()), Some(Source::ClusterImagePolicy));
    assert_eq!(statements(&run(&[Value::Null, list.clone()]).unwrap()).len(), 2);
    let overlapping = json!({ "kind": "List", "items": [policy("ghcr.io/a/**", P384)] });
    assert!(run(&[list.clone(), overlapping]).is_err());
    for other in [json!({ "apiVersion": "v1", "kind": "ConfigMap" }), json!({ "a": 1 })] {
        let result = run(&[list.clone(), other]);
        assert!(matches!(result, Err(ConvertError::Document { .. })), "{result:?}");
    }
}

#[test]
fn one_key_of_two_authorities_is_written_once() {
    let authority = json!({ "key": { "data": P256 }, "ctlog": {} });
    let spec =
        json!({ "images": [{ "glob": "ghcr.io/**" }], "authorities": [authority, authority] });
    let converted = run(Source::ClusterImagePolicy, &image_policy(&spec)).unwrap();
    let document: Value = serde_json::from_str(&converted.document).unwrap();
    assert_eq!(document["trustPolicies"][0]["keys"].as_array().unwrap().len(), 1);
}
