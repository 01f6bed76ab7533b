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
            "p256-compressed.pem" => "a compressed point is no key here",
            "p256-off-curve.pem" => "not a public key: it is no point of P-256",
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
            pem.replacen('\n', "\nProc-Type: 4\n\n", 1),
            pem.replace('\n', ""),
            String::new(),
        ] {
            assert!(PublicKey::from_pem(&malformed).is_err(), "{name}: {malformed}");
        }
    }
}

#[test]
fn text_may_come_before_the_block_and_nothing_after_it() {
    for (name, path) in testdata("keys") {
        let pem = fs::read_to_string(path).unwrap();
        let key = PublicKey::from_pem(&pem).unwrap();
        for before in ["release key\n", "\u{feff}# of 2026 - -----\n\n", "-----\r\n"] {
            let read = PublicKey::from_pem(&format!("{before}{pem}"));
            assert_eq!(read.as_ref(), Ok(&key), "{name}: {before}");
        }
        for after in ["x", "\n\n-", &pem] {
            let refused = PublicKey::from_pem(&format!("{pem}{after}"));
            assert_eq!(refused, Err(KeyError::AfterPem), "{name}: {after}");
        }
        for none in ["", "\n", "release key", pem.split_once('\n').unwrap().1] {
            assert_eq!(PublicKey::from_pem(none), Err(KeyError::NoPem), "{name}: {none}");
        }
    }
}

#[test]
fn pem_may_have_lines_of_any_width() {
    for (name, path) in testdata("keys") {
        let pem = fs::read_to_string(path).unwrap();
        let key = PublicKey::from_pem(&pem).unwrap();
        let lines: Vec<&str> = pem.lines().collect();
        let [begin, body @ .., end] = lines.as_slice() else { panic!("{name}") };
        let body: Vec<char> = body.concat().chars().collect();
        let wrapped = |width: usize, indent: &str, line_end: &str| {
            let lines = body.chunks(width).map(|line| line.iter().collect::<String>());
            let lines: Vec<_> = lines.map(|line| format!("{indent}{line}{line_end}")).collect();
            format!("{indent}{begin}{line_end}{}{indent}{end}{line_end}", lines.concat())
        };
        for pem in [
            wrapped(48, "", "\n"),
            wrapped(64, "    ", "\n"),
            wrapped(64, "", "\r\n"),
            wrapped(64, "", " \t\n\n"),
            wrapped(76, "", "\n"),
            wrapped(usize::MAX, "", "\n"),
        ] {
            assert_eq!(PublicKey::from_pem(&pem).as_ref(), Ok(&key), "{name}: {pem}");
        }
        let cut: String = pem.replacen('=', "", 1);
        assert!(!pem.contains('=') || PublicKey::from_pem(&cut).is_err(), "{name}: {cut}");
    }
}

#[test]
fn refuses_what_is_no_point_of_its_curve_and_names_a_compressed_one() {
    for (name, curve, coordinate) in
        [("p256", "P-256", 32), ("p384", "P-384", 48), ("p521", "P-521", 66)]
    {
        let (_, path) =
            testdata("keys").into_iter().find(|(file, _)| file.starts_with(name)).unwrap();
        let key = PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap();
        let (head, point) = key.spki_der().split_at(key.spki_der().len() - 2 * coordinate);
        let refused = |point: &[u8]| PublicKey::from_spki_der(&[head, point].concat()).unwrap_err();
        for bit in [0, 3, 8 * coordinate - 1, 8 * coordinate, 16 * coordinate - 1] {
            let mut flipped = point.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(refused(&flipped), KeyError::NotOnCurve { curve }, "{name}, bit {bit}");
        }
        assert_eq!(refused(&vec![0; 2 * coordinate]), KeyError::NotOnCurve { curve });
        assert_eq!(refused(&vec![0xff; 2 * coordinate]), KeyError::NotOnCurve { curve });
    }
    let key = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/refused-keys/p256-compressed.pem"),
    );
    assert_eq!(PublicKey::from_pem(&key.unwrap()), Err(KeyError::CompressedPoint));
}
