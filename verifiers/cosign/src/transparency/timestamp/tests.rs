//! Timestamps of openssl's and of the public good instance, and what attackers make of them.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use civ_policy::transparency::{Requirements, TimestampAuthority};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Form;
use super::*;
use crate::{PublicKey, Transparency};

fn read(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/transparency");
    fs::read(directory.join(name)).unwrap()
}

fn chain(authority: &str) -> String {
    String::from_utf8(read(&format!("authorities/{authority}.pem"))).unwrap()
}

fn stamp(name: &str) -> Vec<u8> {
    read(&format!("timestamps/{name}.tsr"))
}

fn requirements(chains: Vec<String>) -> Requirements {
    Requirements {
        transparency_log: None,
        timestamp_authority: Some(TimestampAuthority { certificate_chains: chains }),
    }
}

fn trusting(authorities: &[&str]) -> Transparency {
    Transparency::new(&requirements(authorities.iter().map(|name| chain(name)).collect())).unwrap()
}

fn material(stamps: &[Vec<u8>]) -> UntrustedProofs {
    use base64::Engine as _;
    let stamps: Vec<Value> = stamps
        .iter()
        .map(|stamp| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(stamp);
            json!({ "signedTimestamp": encoded })
        })
        .collect();
    let material = json!({ "timestampVerificationData": { "rfc3161Timestamps": stamps } });
    UntrustedProofs::from_bundle(&material.to_string())
}

fn check_proofs(
    policy: &Transparency,
    proofs: &UntrustedProofs,
    signature: &[u8],
) -> Result<Option<SigningTime>, TransparencyError> {
    static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
        PublicKey::from_pem(&String::from_utf8(read("dsse-0.0.1.pem")).unwrap()).unwrap()
    });
    let signed = Signed { key: &KEY, message: b"", signature, form: Form::SimpleSigning };
    policy.check(proofs, &signed)
}

fn check(
    policy: &Transparency,
    stamps: &[Vec<u8>],
) -> Result<Option<SigningTime>, TransparencyError> {
    check_proofs(policy, &material(stamps), b"the bytes of a signature")
}

fn refused(authorities: &[&str], stamps: &[Vec<u8>]) -> TimestampError {
    match check(&trusting(authorities), stamps).unwrap_err() {
        TransparencyError::NotTimestamped { closest } => closest,
        other => panic!("{other}"),
    }
}

/// The names of timestamps of openssl's and the authority of each.
const STAMPS: [(&str, &str); 4] = [
    ("p256", "p256"),
    ("p256-with-certificates", "p256"),
    ("p384", "p384"),
    ("rsa2048", "rsa2048"),
];

#[test]
fn counts_timestamps_of_openssl() {
    for (name, authority) in STAMPS {
        let time = check(&trusting(&["timestamp.sigstore.dev", authority]), &[stamp(name)])
            .unwrap()
            .unwrap();
        assert_eq!(time.source, TimeSource::TimestampAuthority, "{name}");
        // They were made after this was written.
        assert!(time.unix_seconds > 1_735_689_600, "{name}");
    }
}

#[test]
fn counts_timestamps_of_the_public_good_instance() {
    for (name, expected) in [("hashedrekord-0.0.1", 1_766_077_479), ("dsse-0.0.1", 1_787_189_607)] {
        use base64::Engine as _;
        let bundle: Value = serde_json::from_slice(&read(&format!("{name}.json"))).unwrap();
        let signature = bundle
            .pointer("/messageSignature/signature")
            .or_else(|| bundle.pointer("/dsseEnvelope/signatures/0/sig"));
        let signature = base64::engine::general_purpose::STANDARD
            .decode(signature.unwrap().as_str().unwrap())
            .unwrap();
        let material = &bundle["verificationMaterial"];
        let proofs = UntrustedProofs::from_bundle(&material.to_string());
        let time = check_proofs(&trusting(&["timestamp.sigstore.dev"]), &proofs, &signature);
        assert_eq!(time.unwrap().unwrap().unix_seconds, expected, "{name}");
        // And as an annotation of a `.sig` layer.
        let stamps = &material["timestampVerificationData"]["rfc3161Timestamps"];
        let annotation = json!({ "SignedRFC3161Timestamp": stamps[0]["signedTimestamp"] });
        let proofs = UntrustedProofs::from_annotations(None, Some(&annotation.to_string()));
        check_proofs(&trusting(&["timestamp.sigstore.dev"]), &proofs, &signature).unwrap().unwrap();
        // What is asked for is needed: the log's entry does not stand in for the timestamp.
        let proofs = UntrustedProofs::from_bundle(
            &json!({ "tlogEntries": material["tlogEntries"] }).to_string(),
        );
        let error =
            check_proofs(&trusting(&["timestamp.sigstore.dev"]), &proofs, &signature).unwrap_err();
        assert!(matches!(error, TransparencyError::NoTimestamp), "{error}");
    }
}

#[test]
fn refuses_a_timestamp_of_another_signature() {
    for (name, authority) in STAMPS {
        let proofs = material(&[stamp(name)]);
        let error =
            check_proofs(&trusting(&[authority]), &proofs, b"another signature").unwrap_err();
        let expected = "not timestamped: timestamp is for another signature";
        assert_eq!(error.to_string(), expected, "{name}");
    }
}

#[test]
fn refuses_a_timestamp_of_an_authority_that_the_policy_does_not_list() {
    assert_eq!(refused(&["p384", "rsa2048"], &[stamp("p256")]), TimestampError::OtherAuthority);
}

#[test]
fn cve_2026_39984_and_2025_52556_a_certificate_in_the_timestamp_replaces_none_of_the_policy() {
    // The impostor shows p256's whole chain, and says that it is p256's issuer's certificate with
    // p256's number. Only the key is its own.
    assert_eq!(refused(&["p256"], &[stamp("impostor")]), TimestampError::Signature);
    assert!(check(&trusting(&["impostor"]), &[stamp("impostor")]).is_ok());
    assert_eq!(
        refused(&["impostor"], &[stamp("p256-with-certificates")]),
        TimestampError::Signature
    );
}

#[test]
fn refuses_a_timestamp_that_states_another_certificate_of_the_same_key() {
    assert_eq!(refused(&["reissued"], &[stamp("p256")]), TimestampError::Signature);
}

#[test]
fn refuses_a_timestamp_that_was_not_granted() {
    let mut rejection = stamp("p256");
    // The status is the first number in it, and 2 is a rejection.
    assert_eq!(rejection[4..9], [0x30, 3, 2, 1, 0]);
    rejection[8] = 2;
    let expected = TimestampError::Token(TokenError::NotGranted { status: 2 });
    assert_eq!(refused(&["p256"], &[rejection]), expected);
}

#[test]
fn refuses_a_timestamp_of_a_time_when_a_certificate_was_not_valid() {
    assert_eq!(refused(&["expired"], &[stamp("expired")]), TimestampError::Validity);
}

#[test]
fn one_good_timestamp_suffices_and_none_spoils_another() {
    let bad = [vec![], vec![0x30; 100], stamp("expired"), stamp("impostor")];
    for at in 0..=bad.len() {
        let mut stamps = bad.to_vec();
        stamps.insert(at, stamp("p256"));
        check(&trusting(&["expired", "p256"]), &stamps).unwrap().unwrap();
    }
    assert_eq!(refused(&["expired", "p256"], &bad), TimestampError::Validity);
}

#[test]
fn cve_2025_66564_and_2026_49835_limits_are_their_own_reason() {
    assert!(check(&trusting(&["p256"]), &vec![stamp("p256"); 16]).is_ok());
    let error = check(&trusting(&["p256"]), &vec![stamp("p256"); 17]).unwrap_err().to_string();
    assert!(error.starts_with("limit reached: 17 timestamps"), "{error}");
    let large = vec![0x30; 65_537];
    let expected = TokenError::TooLarge { size: 65_537, max: 65_536 };
    assert_eq!(refused(&["p256"], &[large]), TimestampError::Token(expected));
    // Lengths that promise gigabytes.
    for lies in [&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff][..], &[0x30, 0x80, 0, 0], &[0x30, 0x88]] {
        let expected = TimestampError::Token(TokenError::Malformed);
        assert_eq!(refused(&["p256"], &[lies.to_vec()]), expected);
    }
}

#[test]
fn no_changed_byte_changes_what_a_timestamp_says() {
    for (name, authority) in &STAMPS[..2] {
        let (original, policy) = (stamp(name), trusting(&[authority]));
        let expected = check(&policy, std::slice::from_ref(&original)).unwrap();
        let mut refused = 0;
        for at in 0..original.len() {
            let mut changed = original.clone();
            changed[at] ^= 1;
            match check(&policy, &[changed]) {
                // The certificates in it, and a few fields around what is signed.
                Ok(time) => assert_eq!(time, expected, "{name} {at}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 400, "{name}: {refused} of {}", original.len());
        let mut longer = original.clone();
        longer.push(0);
        check(&policy, &[longer]).unwrap_err();
        check(&policy, &[original[..original.len() - 1].to_vec()]).unwrap_err();
    }
}

#[test]
fn refuses_chains_when_the_policy_is_loaded() {
    let blocks: Vec<String> =
        chain("p256").split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect();
    let [signer, intermediate, root] = blocks.as_slice() else { panic!("three certificates") };
    let key = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/refused-keys/private.pem"),
    )
    .unwrap();
    for (pem, expected) in [
        (chain("not-critical"), "its first certificate is not a timestamp signer's"),
        (chain("two-usages"), "its first certificate is not a timestamp signer's"),
        (chain("code"), "its first certificate is not a timestamp signer's"),
        (format!("{root}{intermediate}{signer}"), "its first certificate is not a timestamp"),
        (format!("{intermediate}{root}"), "its first certificate is not a timestamp signer's"),
        (signer.clone(), "fewer than two certificates"),
        (String::new(), "fewer than two certificates"),
        (format!("{signer}{root}"), "its certificates are not a chain"),
        (format!("{signer}{}", chain("impostor")), "its certificates are not a chain"),
        (format!("{signer}{}", root.repeat(8)), "9 certificates are more than 8"),
        (format!("{}{key}", chain("p256")), "not certificates in PEM"),
        (format!("{signer}x{root}"), "not certificates in PEM"),
        (key, "not certificates in PEM"),
    ] {
        let error = Transparency::new(&requirements(vec![chain("p384"), pem.clone()])).unwrap_err();
        let expected = format!("certificate chain 2 of timestampAuthority: {expected}");
        assert!(error.to_string().starts_with(&expected), "{error}\n{pem}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in any::<Vec<u8>>(), at in any::<usize>()) {
        static POLICY: LazyLock<Transparency> = LazyLock::new(|| trusting(&["p256"]));
        prop_assert!(check(&POLICY, std::slice::from_ref(&bytes)).is_err());
        // The same in the middle of a timestamp, so that they are reached.
        let mut changed = stamp("p256");
        let at = at % changed.len();
        changed.splice(at..at, bytes);
        let _ = check(&POLICY, &[changed]);
    }
}
