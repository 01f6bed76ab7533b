//! Keys of openssl and of cosign, in files.

use proptest::prelude::*;

use super::super::Signer;
use super::*;

// Made for these tests with openssl; they sign nothing else.
const P256_PKCS8: &str = include_str!("../../../tests/data/p256.pem");
const P256_SEC1: &str = include_str!("../../../tests/data/p256-sec1.pem");
const P384_PKCS8: &str = include_str!("../../../tests/data/p384.pem");
const P521_PKCS8: &str = include_str!("../../../tests/data/p521.pem");
const ED25519_PKCS8: &str = include_str!("../../../tests/data/ed25519.pem");
const RSA_PKCS1: &str = include_str!("../../../tests/data/rsa-pkcs1.pem");
const RSA_PKCS8: &str = include_str!("../../../tests/data/rsa.pem");

// The P-256 key once more, by cosign 3.1.1 and by openssl 3.0 with PBKDF2 and with scrypt.
const BY_COSIGN: &str = include_str!("../../../tests/data/cosign.key");
const WITH_PBKDF2: &str = include_str!("../../../tests/data/encrypted-pbkdf2.pem");
const WITH_SCRYPT: &str = include_str!("../../../tests/data/encrypted-scrypt.pem");

fn password() -> Password {
    "correct horse".to_owned().into()
}

#[tokio::test]
async fn signs_what_its_public_key_verifies() {
    for (pem, kind, algorithm) in [
        (P256_PKCS8, "ECDSA P-256", "ECDSA_SHA_256"),
        (P256_SEC1, "ECDSA P-256", "ECDSA_SHA_256"),
        (P384_PKCS8, "ECDSA P-384", "ECDSA_SHA_384"),
        (P521_PKCS8, "ECDSA P-521", "ECDSA_SHA_512"),
        (ED25519_PKCS8, "Ed25519", "ED25519_SHA_512"),
        (RSA_PKCS1, "RSA 2048", "RSASSA_PKCS1_V1_5_SHA_256"),
        (RSA_PKCS8, "RSA 2048", "RSASSA_PKCS1_V1_5_SHA_256"),
    ] {
        let signer = Signer::Local(LocalKey::from_pem(pem.as_bytes()).unwrap());
        assert_eq!(signer.public_key().to_string(), kind);
        assert_eq!(signer.algorithm(), algorithm);
        let signature = signer.sign(b"message").await.unwrap();
        signer.public_key().verify_signature(b"message", &signature).unwrap();
        assert!(signer.public_key().verify_signature(b"massage", &signature).is_err());
    }
}

#[test]
fn one_key_in_two_forms_is_one_key() {
    let key = |pem: &str| LocalKey::from_pem(pem.as_bytes()).unwrap();
    assert_eq!(key(P256_PKCS8).public_key(), key(P256_SEC1).public_key());
    assert_eq!(key(RSA_PKCS8).public_key(), key(RSA_PKCS1).public_key());
    assert_ne!(key(P256_PKCS8).public_key(), key(P384_PKCS8).public_key());
}

#[test]
fn names_what_it_does_not_take() {
    let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    for (pem, expected) in [
        (BY_COSIGN.to_owned(), LocalKeyError::Password(PasswordError::Unknown)),
        (WITH_PBKDF2.to_owned(), LocalKeyError::Password(PasswordError::Unknown)),
        (WITH_PBKDF2.replace("-----END", "----END"), LocalKeyError::EncryptedMalformed),
        ("Proc-Type: 4,ENCRYPTED".to_owned(), LocalKeyError::WeakEncryption),
        (block("OPENSSH PRIVATE KEY"), LocalKeyError::OpenSsh),
        (block("PUBLIC KEY"), LocalKeyError::Public),
        (block("PRIVATE KEY"), LocalKeyError::NotAccepted),
        (block("CERTIFICATE"), LocalKeyError::NoPrivateKey),
        (String::new(), LocalKeyError::NoPrivateKey),
        ("nonsense".to_owned(), LocalKeyError::NoPrivateKey),
    ] {
        match LocalKey::from_pem(pem.as_bytes()) {
            Err(SignerError::Local(error)) => assert_eq!(error, expected, "{pem}"),
            other => panic!("{pem}: {other:?}"),
        }
    }
}

#[test]
fn debug_shows_no_private_key() {
    let key = LocalKey::from_pem(P256_PKCS8.as_bytes()).unwrap();
    assert_eq!(format!("{key:?}"), "LocalKey { public_key: PublicKey(ECDSA P-256), .. }");
}

#[test]
fn opens_what_cosign_and_openssl_encrypted_with_the_password_and_no_other() {
    let plain = LocalKey::from_pem(P256_PKCS8.as_bytes()).unwrap();
    let by_old_cosign = BY_COSIGN.replace("SIGSTORE", "COSIGN");
    for pem in [BY_COSIGN, &by_old_cosign, WITH_PBKDF2, WITH_SCRYPT] {
        let key = LocalKey::from_encrypted_pem(pem.as_bytes(), &password()).unwrap();
        assert_eq!(key.public_key(), plain.public_key(), "{pem}");
        for wrong in ["", "Correct horse", "correct horse "] {
            let wrong = wrong.to_owned().into();
            match LocalKey::from_encrypted_pem(pem.as_bytes(), &wrong) {
                Err(SignerError::Local(LocalKeyError::WrongPassword)) => {}
                other => panic!("{pem}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_new_key_of_each_kind_survives_its_file() {
    for kind in [
        KeyKind::EcdsaP256,
        KeyKind::EcdsaP384,
        KeyKind::EcdsaP521,
        KeyKind::Ed25519,
        KeyKind::Rsa4096,
    ] {
        let new = NewKey::generate(kind).unwrap();
        let pem = new.to_encrypted_pem(&password()).unwrap();
        let again = LocalKey::from_encrypted_pem(pem.as_bytes(), &password()).unwrap();
        assert_eq!(again.public_key(), new.public_key(), "{kind:?}");
        let signature = Signer::Local(again).sign(b"message").await.unwrap();
        new.public_key().verify_signature(b"message", &signature).unwrap();
    }
}

#[test]
fn the_password_is_asked_for_only_if_there_is_something_to_decrypt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, P256_PKCS8).unwrap();
    LocalKey::read(&path, &crate::signer::NoPassword).unwrap();
    std::fs::write(&path, BY_COSIGN).unwrap();
    LocalKey::read(&path, &password()).unwrap();
    LocalKey::read(&path, &crate::signer::NoPassword).unwrap_err();
    std::fs::write(&path, "x".repeat(1 << 17)).unwrap();
    match LocalKey::read(&path, &password()) {
        Err(SignerError::Local(LocalKeyError::TooLarge { .. })) => {}
        other => panic!("{other:?}"),
    }
}

/// A file of cosign's format, without a key in it.
fn document(edit: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut json = serde_json::json!({
        "kdf": { "name": "scrypt", "params": { "N": 2, "r": 1, "p": 1 }, "salt": "" },
        "cipher": { "name": "nacl/secretbox", "nonce": "A".repeat(32) },
        "ciphertext": "",
    });
    edit(&mut json);
    pem(json.to_string().as_bytes())
}

fn pem(content: &[u8]) -> String {
    let label = "ENCRYPTED SIGSTORE PRIVATE KEY";
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, content).unwrap()
}

#[test]
fn refuses_a_file_that_would_exhaust_the_machine_or_is_not_of_the_format() {
    use LocalKeyError::{EncryptedMalformed, TooCostly, WrongPassword};
    let cost = |n: u64, r: u64, p: u64| {
        document(|json| {
            json["kdf"]["params"] = serde_json::json!({ "N": n, "r": r, "p": p });
        })
    };
    for (pem, expected) in [
        (document(|_| {}), WrongPassword),
        (cost(1 << 18, 8, 1), TooCostly),
        (cost(1 << 31, 8, 1), TooCostly),
        (cost(2, 9, 1), TooCostly),
        (cost(2, 8, 5), TooCostly),
        (cost(2, u64::from(u32::MAX), u64::from(u32::MAX)), TooCostly),
        (cost(1 << 32, 8, 1), EncryptedMalformed),
        (cost(0, 8, 1), EncryptedMalformed),
        (cost(3, 8, 1), EncryptedMalformed),
        (cost(2, 0, 1), EncryptedMalformed),
        (cost(2, 8, 0), EncryptedMalformed),
        (document(|json| json["kdf"]["name"] = "argon2".into()), EncryptedMalformed),
        (document(|json| json["cipher"]["name"] = "none".into()), EncryptedMalformed),
        (document(|json| json["cipher"]["nonce"] = "AAAA".into()), EncryptedMalformed),
        (document(|json| json["ciphertext"] = "*".into()), EncryptedMalformed),
        (document(|json| json["extra"] = true.into()), EncryptedMalformed),
    ] {
        match LocalKey::from_encrypted_pem(pem.as_bytes(), &password()) {
            Err(SignerError::Local(error)) => assert_eq!(error, expected, "{pem}"),
            other => panic!("{pem}: {other:?}"),
        }
    }
}

#[test]
fn errors_and_debug_show_neither_password_nor_key() {
    let new = NewKey::generate(KeyKind::EcdsaP256).unwrap();
    let shown = format!("{:?} {new:?}", password());
    assert_eq!(
        shown,
        "Password(..) NewKey { pkcs8: Secret(..), \
         key: LocalKey { public_key: PublicKey(ECDSA P-256), .. } }"
    );
}

proptest! {
    #[test]
    fn no_file_makes_the_parser_panic(content: Vec<u8>, text in ".*") {
        for content in [content, text.into_bytes()] {
            let _ = LocalKey::from_encrypted_pem(&content, &password());
            let pem = pem(&content);
            LocalKey::from_encrypted_pem(pem.as_bytes(), &password()).unwrap_err();
            let pkcs8 = pem.replace("SIGSTORE ", "");
            LocalKey::from_encrypted_pem(pkcs8.as_bytes(), &password()).unwrap_err();
        }
    }
}
