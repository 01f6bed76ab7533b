//! Against what openssl signed, and keys that openssl made.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn testdata(directory: &str) -> Vec<(String, PathBuf)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(directory);
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect()
}

#[test]
fn verifies_what_openssl_signed_and_nothing_weaker() {
    let message = fs::read(&testdata("").iter().find(|(n, _)| n == "message").unwrap().1).unwrap();
    let mut checked = 0;
    for (name, path) in testdata("signatures") {
        let signature = fs::read(path).unwrap();
        let (signer, form) = name.split_once('.').unwrap();
        for (key_name, path) in testdata("keys") {
            let key = PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap();
            let is_signer = key_name.strip_suffix(".pem") == Some(signer);
            let expected = is_signer && !form.ends_with("bad");
            assert_eq!(key.verify_signature(&message, &signature).is_ok(), expected, "{name}");
            let mut tampered = message.clone();
            tampered[0] ^= 1;
            assert!(key.verify_signature(&tampered, &signature).is_err(), "{name}");
            checked += usize::from(expected);
        }
    }
    assert_eq!(checked, 6 + 2 * 9);
}

#[test]
fn refuses_other_keys_by_name() {
    for (name, path) in testdata("refused-keys") {
        let error = PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap_err();
        let expected = match name.as_str() {
            "secp256k1.pem" => "ECDSA secp256k1 (KMS ECC_SECG_P256K1) keys are not accepted",
            "sm2.pem" => "SM2 (KMS SM2) keys are not accepted",
            "ed448.pem" => "Ed448 keys are not accepted",
            "rsa1024.pem" => "RSA keys of 1024 bits are not accepted",
            "rsa8192.pem" => "RSA keys of 8192 bits are not accepted",
            "rsa-pss.pem" => "RSASSA-PSS-only RSA keys are not accepted",
            "private.pem" => "this is a PRIVATE key",
            "certificate.pem" => "a certificate is no public key",
            "pkcs1.pem" => "PEM block \"RSA PUBLIC KEY\" is not",
            other => panic!("{other} has no expectation"),
        };
        assert!(error.to_string().starts_with(expected), "{name}: {error}");
    }
}

#[test]
fn pem_is_one_block_and_survives_a_round_trip() {
    for (name, path) in testdata("keys") {
        let pem = fs::read_to_string(path).unwrap();
        let key = PublicKey::from_pem(&pem).unwrap();
        assert_eq!(key.to_pem(), pem, "{name}");
        assert_eq!(PublicKey::from_spki_der(key.spki_der()).unwrap(), key);
        for malformed in [
            format!("{pem}{pem}"),
            pem.replace("-----END", "----END"),
            pem.replace("PUBLIC", "PUBLIK"),
            pem.replacen('\n', "\nAAAA", 1),
            String::new(),
        ] {
            assert!(PublicKey::from_pem(&malformed).is_err(), "{name}: {malformed}");
        }
    }
}
