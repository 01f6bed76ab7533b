use proptest::prelude::*;

use super::distinguished_name::DistinguishedNameError;
use super::error::{IdentityError, OverrideError, RegistryScopeError, TrustStoreError};
use super::*;

const TRUST: &str = r#""trustStores":["ca:a"],"trustedIdentities":["*"]"#;

fn policy(statements: &str) -> Result<Policy, NotationPolicyError> {
    Policy::parse(format!(r#"{{"version":"1.0","trustPolicies":[{statements}]}}"#).as_bytes())
}

/// One statement with this `signatureVerification` and the rest.
fn statement(verification: &str, rest: &str) -> Result<Policy, NotationPolicyError> {
    policy(&format!(
        r#"{{"name":"s","registryScopes":["*"],"signatureVerification":{verification},{rest}}}"#
    ))
}

fn check(policy: &Policy) -> Check {
    match &policy.statements()[0].verification {
        Verification::Check(check) => check.clone(),
        Verification::Skip => panic!("skips"),
    }
}

fn image(repository: &str) -> ImageId {
    repository.parse::<civ_oci::Repository>().unwrap().image(civ_oci::Digest::sha256(b""))
}

#[test]
fn reads_the_specifications_example() {
    let policy = policy(
        r#"{"name":"wabbit-networks-images",
            "registryScopes":["registry.acme-rockets.io/software/net-monitor",
                              "registry.acme-rockets.io/software/net-logger"],
            "signatureVerification":{"level":"strict"},"trustStores":["ca:wabbit-networks"],
            "trustedIdentities":["x509.subject: C=US, ST=WA, L=Seattle, O=wabbit-networks.io, OU=Security Tools"]},
           {"name":"unsigned-image","registryScopes":["registry.wabbit-networks.io/software/unsigned/net-utils"],
            "signatureVerification":{"level":"skip"}},
           {"name":"use-expired-image","registryScopes":["registry.acme-rockets.io/software/legacy/metrics"],
            "signatureVerification":{"level":"strict","override":{"expiry":"log","revocation":"skip"}},
            "trustStores":["ca:acme-rockets"],"trustedIdentities":["*"]},
           {"name":"global","registryScopes":["*"],"signatureVerification":{"level":"audit"},
            "trustStores":["ca:acme-rockets","ca:acme-rockets-ca2"],
            "trustedIdentities":["x509.subject: C=US, ST=WA, L=Seattle, O=acme-rockets.io, OU=Finance, CN=SecureBuilder"]}"#,
    )
    .unwrap();
    for (repository, name) in [
        ("registry.acme-rockets.io/software/net-logger", "wabbit-networks-images"),
        ("registry.acme-rockets.io/software/net-logger/more", "global"),
        ("registry.wabbit-networks.io/software/unsigned/net-utils", "unsigned-image"),
        ("other.example/a", "global"),
    ] {
        assert_eq!(policy.statement_for(&image(repository)).unwrap().name, name, "{repository}");
    }
    assert_eq!(policy.statements()[1].verification, Verification::Skip);
    let Verification::Check(check) = &policy.statements()[2].verification else { panic!() };
    assert_eq!((check.authenticity, check.expiry), (Action::Enforce, Action::Log));
    assert_eq!((check.revocation, check.authentic_timestamp), (Action::Skip, Action::Enforce));
    assert_eq!(check.trusted_identities, TrustedIdentities::Any);
    assert_eq!(check.trust_stores[0].to_string(), "ca:acme-rockets");
}

#[test]
fn each_level_has_its_actions_and_timestamps_are_needed_always_unless_said() {
    use Action::{Enforce, Log};
    for (level, authenticity, rest) in
        [("strict", Enforce, Enforce), ("permissive", Enforce, Log), ("audit", Log, Log)]
    {
        let check = check(&statement(&format!(r#"{{"level":"{level}"}}"#), TRUST).unwrap());
        assert_eq!(check.authenticity, authenticity);
        assert_eq!([check.authentic_timestamp, check.expiry, check.revocation], [rest; 3]);
    }
    for (text, expected) in [
        ("", VerifyTimestamp::Always),
        ("always", VerifyTimestamp::Always),
        ("afterCertExpiry", VerifyTimestamp::AfterCertExpiry),
    ] {
        let verification = format!(r#"{{"level":"strict","verifyTimestamp":"{text}"}}"#);
        let check = check(&statement(&verification, TRUST).unwrap());
        assert_eq!(check.verify_timestamp, expected);
    }
}

#[test]
fn no_statement_is_found_for_what_none_names() {
    let policy = policy(
        r#"{"name":"a","registryScopes":["r.io/a","library/busybox"],"signatureVerification":{"level":"skip"}},
           {"name":"b","registryScopes":["docker.io/library/redis"],"signatureVerification":{"level":"skip"}}"#,
    )
    .unwrap();
    assert_eq!(policy.statement_for(&image("redis")).unwrap().name, "b");
    for repository in ["r.io/a/b", "r.io/ab", "x.r.io/a", "busybox"] {
        assert!(policy.statement_for(&image(repository)).is_err(), "{repository}");
    }
}

#[test]
fn refuses_levels_and_overrides_that_there_are_not() {
    for (verification, why) in [
        (r#"{"level":"strict","override":{"integrity":"log"}}"#, OverrideError::Integrity),
        (r#"{"level":"strict","override":{"expiry":"skip"}}"#, OverrideError::Skip),
        (r#"{"level":"strict","override":{"authenticity":"skip"}}"#, OverrideError::Skip),
        (r#"{"level":"strict","override":{"Expiry":"log"}}"#, OverrideError::Check),
        (
            r#"{"level":"strict","override":{"expiry":"Log"}}"#,
            OverrideError::Action { found: "Log".to_owned() },
        ),
    ] {
        match statement(verification, TRUST).unwrap_err() {
            NotationPolicyError::Override { source, .. } => assert_eq!(source, why),
            other => panic!("{verification}: {other}"),
        }
    }
    let skipped = r#"{"level":"skip","override":{"expiry":"log"}}"#;
    assert!(statement(skipped, r#""trustStores":[]"#).is_err());
    for verification in [
        r#"{"level":""}"#,
        r#"{"level":"Strict"}"#,
        r#"{"level":"strict","verifyTimestamp":"never"}"#,
        r#"{"level":"strict","Override":{}}"#,
        r#"{"level":"strict","override":{"expiry":"log","expiry":"enforce"}}"#,
        "{}",
        r#""strict""#,
    ] {
        assert!(statement(verification, TRUST).is_err(), "{verification}");
    }
}

#[test]
fn refuses_trust_where_nothing_is_checked_and_checks_without_trust() {
    let skip = r#"{"level":"skip"}"#;
    assert!(statement(skip, r#""trustStores":[],"trustedIdentities":[]"#).is_ok());
    for rest in [TRUST, r#""trustStores":["ca:a"]"#, r#""trustedIdentities":["*"]"#] {
        let error = statement(skip, rest).unwrap_err();
        assert!(matches!(error, NotationPolicyError::SkipWithTrust { .. }), "{rest}: {error}");
    }
    for rest in [
        r#""trustStores":[],"trustedIdentities":["*"]"#,
        r#""trustStores":["ca:a"]"#,
        r#""trustedIdentities":["*"]"#,
    ] {
        let error = statement(r#"{"level":"audit"}"#, rest).unwrap_err();
        assert!(matches!(error, NotationPolicyError::NoTrust { .. }), "{rest}: {error}");
    }
}

#[test]
fn refuses_trust_stores_that_lead_elsewhere() {
    for (text, why) in [
        ("ca", TrustStoreError::NoSeparator),
        ("CA:a", TrustStoreError::Kind { found: "CA".to_owned() }),
        ("signingauthority:a", TrustStoreError::Kind { found: "signingauthority".to_owned() }),
        ("ca:", TrustStoreError::Name),
        ("ca:.", TrustStoreError::Name),
        ("ca:..", TrustStoreError::Name),
        ("ca:../tsa/a", TrustStoreError::Name),
        ("ca:a:b", TrustStoreError::Name),
        ("ca:a b", TrustStoreError::Name),
        ("ca:é", TrustStoreError::Name),
    ] {
        assert_eq!(text.parse::<TrustStore>(), Err(why), "{text}");
    }
    let store: TrustStore = "signingAuthority:aws-signer_ts.1".parse().unwrap();
    assert_eq!((store.kind(), store.name()), (TrustStoreKind::SigningAuthority, "aws-signer_ts.1"));
}

#[test]
fn refuses_scopes_that_are_no_full_name_of_one_repository() {
    for (text, why) in [
        ("", RegistryScopeError::NoRepository),
        ("busybox", RegistryScopeError::NoRepository),
        ("r.io/*", RegistryScopeError::Wildcard),
        ("*/a", RegistryScopeError::Wildcard),
        ("/a", RegistryScopeError::Domain),
        ("-r.io/a", RegistryScopeError::Domain),
        ("r_.io/a", RegistryScopeError::Domain),
        ("r.io:/a", RegistryScopeError::Domain),
        ("r.io:a/a", RegistryScopeError::Domain),
        ("https://r.io/a", RegistryScopeError::Domain),
        ("r.io/", RegistryScopeError::Repository),
        ("r.io/A", RegistryScopeError::Repository),
        ("r.io/a:tag", RegistryScopeError::Repository),
        ("r.io/a//b", RegistryScopeError::Repository),
        ("r.io/a..b", RegistryScopeError::Repository),
        ("r.io/a___b", RegistryScopeError::Repository),
        ("r.io/a._b", RegistryScopeError::Repository),
    ] {
        assert_eq!(text.parse::<RegistryScope>(), Err(why), "{text}");
    }
    for text in ["r.io/a", "R.io:5000/a--b/c__d.e", "localhost/a", "127.0.0.1:5000/a", "library/a"]
    {
        assert!(text.parse::<RegistryScope>().is_ok(), "{text}");
    }
    let twice = |scopes: &str| {
        policy(&format!(
            r#"{{"name":"a","registryScopes":{scopes},"signatureVerification":{{"level":"skip"}}}},
               {{"name":"b","registryScopes":["r.io/a"],"signatureVerification":{{"level":"skip"}}}}"#
        ))
    };
    assert!(twice(r#"["r.io/b"]"#).is_ok());
    for scopes in
        [r#"["r.io/b","r.io/b"]"#, r#"["r.io/a"]"#, r#"["R.IO/a"]"#, r#"["*","r.io/b"]"#, "[]"]
    {
        assert!(twice(scopes).is_err(), "{scopes}");
    }
}

#[test]
fn refuses_identities_that_are_misread() {
    use DistinguishedNameError as Name;
    for (text, why) in [
        ("", IdentityError::Empty),
        ("C=US", IdentityError::NoSeparator),
        ("x509.subject:", IdentityError::NoSubject),
        ("x509.subject: ", Name::NoAttribute.into()),
        ("x509.subject: CN=a", Name::Missing { kind: "C" }.into()),
        ("x509.subject: C=US, O=a", Name::Missing { kind: "ST" }.into()),
        ("x509.subject: C=US, ST=WA, O=", Name::Missing { kind: "O" }.into()),
        ("x509.subject: C=US, ST=WA, O=a, O=b", Name::Repeated { kind: "O".to_owned() }.into()),
        ("x509.subject: C=US, S=WA, ST=WA, O=a", Name::Repeated { kind: "ST".to_owned() }.into()),
        ("x509.subject: C=US, ST=WA, O=#0401", Name::Hexadecimal.into()),
        ("x509.subject: C=US, ST=WA, O=a+OU=b", Name::SeveralValues.into()),
        ("x509.subject: C=US, ST=WA, O=a,", Name::NoAttribute.into()),
        ("x509.subject: C=US, ST=WA, O=a\\", Name::Escape.into()),
        ("x509.subject: C=US, ST=WA, O=a\\x", Name::Escape.into()),
        ("x509.subject: C=US, ST=WA, O=\\ff", Name::Escape.into()),
        ("x509.subject: C=US, ST=WA, O=\"a\"", Name::Escape.into()),
        (&format!("x509.subject: C=US, ST=WA, O={}", "a".repeat(5_000)), Name::TooLong.into()),
    ] {
        assert_eq!(text.parse::<TrustedIdentity>(), Err(why), "{text}");
    }
    for text in
        ["arn:aws:signer:eu-west-1:111122223333:/signing-profiles/a", "x509.Subject: a", ":"]
    {
        assert_eq!(text.parse(), Ok(TrustedIdentity::Other(text.to_owned())));
    }
}

#[test]
fn refuses_identities_of_which_one_is_the_other() {
    let identities = |list: &str| {
        let rest = format!(r#""trustStores":["ca:a"],"trustedIdentities":[{list}]"#);
        statement(r#"{"level":"strict"}"#, &rest)
    };
    let base = "x509.subject: C=US, ST=WA, O=a";
    for (list, valid) in [
        (format!(r#""{base}","x509.subject:O=b,ST=WA,C=US""#), true),
        (format!(r#""{base}, CN=x","{base}, CN=y""#), true),
        (format!(r#""{base}","x509.subject:O=a,S=WA,C=US""#), false),
        (format!(r#""{base}, CN=x","{base}""#), false),
        (format!(r#""{base}","{base}, CN=x""#), false),
        (format!(r#""*","{base}""#), false),
        (r#""*""#.to_owned(), true),
        (r#""arn:a","arn:a""#.to_owned(), true),
    ] {
        assert_eq!(identities(&list).is_ok(), valid, "{list}");
    }
}

#[test]
fn a_distinguished_name_is_read_as_rfc_4514_writes_it() {
    let name: DistinguishedName =
        r"C=US ,ST= WA;O=Sue\2C Grabbit \22and\22 Runn, OU=a=b, CN=L\C4\8Di\C4\87,L=\ x\ "
            .parse()
            .unwrap();
    let attributes: Vec<_> = name.attributes().collect();
    assert_eq!(
        attributes,
        [
            ("C", "US"),
            ("CN", "Lčić"),
            ("L", " x "),
            ("O", "Sue, Grabbit \"and\" Runn"),
            ("OU", "a=b"),
            ("ST", "WA")
        ]
    );
    let leaf: DistinguishedName = "CN=x,O=a,ST=WA,C=US".parse().unwrap();
    let trusted = |text: &str| text.parse::<DistinguishedName>().unwrap().is_part_of(&leaf);
    assert!(trusted("C=US,ST=WA,O=a") && trusted("C=US,S=WA,O=a,CN=x"));
    assert!(!trusted("C=US,ST=WA,O=A") && !trusted("C=US,ST=WA,O=a,cn=x"));
}

#[test]
fn refuses_documents_that_are_not_to_the_letter() {
    let one = format!(
        r#"{{"name":"a","registryScopes":["*"],"signatureVerification":{{"level":"strict"}},{TRUST}}}"#
    );
    let document = |text: &str| Policy::parse(text.replace("$S", &one).as_bytes());
    assert!(document(r#"{"version":"1.0","trustPolicies":[$S]}"#).is_ok());
    for text in [
        "",
        "{}",
        r#"{"version":"1.0","trustPolicies":[]}"#,
        r#"{"version":"","trustPolicies":[$S]}"#,
        r#"{"version":"1.1","trustPolicies":[$S]}"#,
        r#"{"Version":"1.0","trustPolicies":[$S]}"#,
        r#"{"version":"1.0","trustPolicies":[$S],"more":1}"#,
        r#"{"version":"1.0","version":"1.0","trustPolicies":[$S]}"#,
        r#"{"version":"1.0","trustPolicies":[$S,$S]}"#,
        r#"{"version":"1.0","trustPolicies":[$S]} {}"#,
        r#"{"version":"1.0","trustPolicies":[{"name":"","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}"#,
        r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"globalPolicy":true,"signatureVerification":{"level":"skip"}}]}"#,
    ] {
        assert!(document(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_displayed_scope_and_store_parse_to_themselves(text in "[a-cA*./:_-]{0,16}|(ca|tsa):[a-z./]{0,8}|\\PC{0,20}") {
        if let Ok(scope) = text.parse::<RegistryScope>() {
            prop_assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        if let Ok(store) = text.parse::<TrustStore>() {
            prop_assert_eq!(store.to_string(), text);
        }
    }

    #[test]
    fn any_value_can_be_written_and_is_read_as_itself(value in "\\PC{1,20}") {
        let escaped = value.bytes().fold(String::new(), |text, byte| format!("{text}\\{byte:02x}"));
        let name: DistinguishedName = format!("C=US,ST=WA,O={escaped}").parse().unwrap();
        let read = name.attributes().find(|(kind, _)| *kind == "O").map(|(_, value)| value.to_owned());
        prop_assert_eq!(read, Some(value));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(C=U|ST=W|O=a|[,;+=#\\\\ \"<>é0f]){0,24}") {
        let _ = text.parse::<DistinguishedName>();
        let _ = text.parse::<TrustedIdentity>();
    }
}
