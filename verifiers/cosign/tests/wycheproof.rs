//! Project Wycheproof's signature vectors through the public API: every file that it has for ECDSA,
//! `EdDSA`, RSA PKCS #1 v1.5 and RSA PSS.
//!
//! Each vector belongs to one of three classes, which its group's key and form decide:
//!
//! - **applicable**: the key and the form are accepted. `valid` must verify, `invalid` must not, and
//!   `acceptable` is decided below, by flag.
//! - **another form**: the key is accepted, but not with this form: P1363 instead of DER, SHA-224,
//!   SHA-3, SHAKE, SHA-512/256, a hash other than the curve's, PSS with another hash in MGF1 or with
//!   a salt that is neither as long as the hash nor as long as fits. All must be refused, `valid`
//!   ones as well: the key alone decides what is accepted.
//! - **another key**: brainpool and the other secp curves, Ed448, RSA outside 2048 to 4096 bits,
//!   RSASSA-PSS-only keys (the files called `params`), PSS keys with parameters. The key must be
//!   refused.
//!
//! An RSA vector can be `invalid` only because it is good in another form than its file is about
//! (another hash or salt, PKCS #1 v1.5 instead of PSS): if that form is accepted, it must verify.
//!
//! The numbers of each class are asserted, so that nothing is left out in silence.
//!
//! Not here, because the crate has no such file: P-521 with SHA-256, and Ed25519ph.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::collections::BTreeMap;

use civ_cosign::PublicKey;
use wycheproof::{
    EdwardsCurve, EllipticCurve, HashFunction, TestResult, ecdsa, eddsa, rsa_pkcs1_verify,
    rsa_pss_verify,
};

/// What a group's vectors are to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Applicable,
    AnotherForm,
    AnotherKey,
}

/// One vector of any file.
struct Vector<'a> {
    name: String,
    message: &'a [u8],
    signature: &'a [u8],
    result: TestResult,
    flags: String,
    /// Whether it is `invalid` only because of a form that its file is not about.
    is_good_in_another_form: bool,
}

/// How many vectors of each class were checked, and how many of them verified.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    applicable: usize,
    verified: usize,
    another_form: usize,
    another_key: usize,
}

impl Count {
    fn of(applicable: usize, verified: usize, another_form: usize, another_key: usize) -> Self {
        Self { applicable, verified, another_form, another_key }
    }

    #[track_caller]
    fn check<'a>(
        &mut self,
        class: Class,
        der: &[u8],
        pem: &str,
        vectors: impl Iterator<Item = Vector<'a>>,
    ) {
        let key = PublicKey::from_spki_der(der);
        let from_pem = PublicKey::from_pem(pem);
        assert_eq!(key.is_ok(), from_pem.is_ok(), "{key:?}, {from_pem:?}");
        assert_eq!(key.is_ok(), class != Class::AnotherKey, "{key:?}\n{pem}");
        for vector in vectors {
            let Ok(key) = &key else {
                self.another_key += 1;
                continue;
            };
            let verifies = key.verify_signature(vector.message, vector.signature).is_ok();
            let is_good = match vector.result {
                TestResult::Valid => class == Class::Applicable,
                TestResult::Invalid => vector.is_good_in_another_form,
                // RFC 8017, 9.2, note 1, asks for the NULL that is missing here.
                TestResult::Acceptable if vector.flags == "[MissingNull]" => false,
                TestResult::Acceptable => {
                    panic!("{}: nothing is decided about {}", vector.name, vector.flags)
                }
            };
            assert_eq!(verifies, is_good, "{} ({class:?}, {})", vector.name, vector.flags);
            match class {
                Class::Applicable => self.applicable += 1,
                _ => self.another_form += 1,
            }
            self.verified += usize::from(verifies);
        }
    }
}

macro_rules! vectors {
    ($name:expr, $group:expr, $is_good_in_another_form:expr) => {
        $group.tests.iter().map(|test| Vector {
            name: format!("{:?} {}: {}", $name, test.tc_id, test.comment),
            message: test.msg.as_slice(),
            signature: test.sig.as_slice(),
            result: test.result,
            flags: format!("{:?}", test.flags),
            is_good_in_another_form: $is_good_in_another_form(test.tc_id, test.comment.as_str()),
        })
    };
}

#[test]
fn ecdsa() {
    use HashFunction::{Sha2_256, Sha2_384, Sha2_512};
    let mut counts = BTreeMap::<_, Count>::new();
    for name in ecdsa::TestName::all() {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let is_der = group.test_type == ecdsa::TestGroupTypeId::Ecdsa;
            let (curve, class) = match (group.key.curve, group.hash) {
                (EllipticCurve::Secp256r1, Sha2_256) if is_der => ("P-256", Class::Applicable),
                (EllipticCurve::Secp384r1, Sha2_256 | Sha2_384) if is_der => {
                    ("P-384", Class::Applicable)
                }
                (EllipticCurve::Secp521r1, Sha2_512) if is_der => ("P-521", Class::Applicable),
                (EllipticCurve::Secp256r1, _) => ("P-256", Class::AnotherForm),
                (EllipticCurve::Secp384r1, _) => ("P-384", Class::AnotherForm),
                (EllipticCurve::Secp521r1, _) => ("P-521", Class::AnotherForm),
                _ => ("other", Class::AnotherKey),
            };
            let count = counts.entry(curve).or_default();
            count.check(class, &group.der, &group.pem, vectors!(name, group, |_, _: &str| false));
        }
    }
    let expected = [
        ("P-256", Count::of(484, 174, 2916, 0)),
        ("P-384", Count::of(976, 356, 3032, 0)),
        ("P-521", Count::of(542, 232, 1702, 0)),
        ("other", Count::of(0, 0, 0, 20_251)),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[test]
fn eddsa() {
    let mut count = Count::default();
    for name in eddsa::TestName::all() {
        for group in eddsa::TestSet::load(name).unwrap().test_groups {
            let class = match group.key.curve {
                EdwardsCurve::Ed25519 => Class::Applicable,
                EdwardsCurve::Ed448 => Class::AnotherKey,
            };
            count.check(class, &group.der, &group.pem, vectors!(name, group, |_, _: &str| false));
        }
    }
    assert_eq!(count, Count::of(151, 88, 0, 87));
}

#[test]
fn rsa_pkcs1() {
    let mut count = Count::default();
    for name in rsa_pkcs1_verify::TestName::all() {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let class = match group.key_size {
                2048..=4096 if is_accepted(group.hash) => Class::Applicable,
                2048..=4096 => Class::AnotherForm,
                _ => Class::AnotherKey,
            };
            // Their salts are 0, 20, 32 bytes, and last as long as the hash.
            let pss = group.tests.iter().filter(|test| test.comment == "RSASSA-PSS signature");
            let good_pss = pss.map(|test| test.tc_id).next_back();
            let other = |id, comment: &str| {
                (Some(id) == good_pss && is_accepted(group.hash))
                    || is_of_accepted_hash(comment, "The message is hashed with ")
            };
            count.check(class, &group.der, &group.pem, vectors!(name, group, other));
        }
    }
    assert_eq!(count, Count::of(2330, 131, 3096, 776));
}

#[test]
fn rsa_pss() {
    let mut count = Count::default();
    for name in rsa_pss_verify::TestName::all() {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let hash_len = match group.hash {
                HashFunction::Sha2_256 => 32,
                HashFunction::Sha2_384 => 48,
                _ => 64,
            };
            let longest = group.key_size / 8 - hash_len - 2;
            let has_form = |salt: usize| {
                is_accepted(group.hash)
                    && group.mgf_hash == Some(group.hash)
                    && [hash_len, longest].contains(&salt)
            };
            let is_pss_only =
                group.test_type == rsa_pss_verify::TestGroupTypeId::RsaPssVerifyWithParam;
            let class = match group.key_size {
                2048..=4096 if is_pss_only => Class::AnotherKey,
                2048..=4096 if has_form(group.salt_size) => Class::Applicable,
                2048..=4096 => Class::AnotherForm,
                _ => Class::AnotherKey,
            };
            let other = |_, comment: &str| {
                let salt = comment.strip_prefix("s_len changed to ");
                salt.is_some_and(|salt| has_form(salt.parse().unwrap()))
                    || is_of_accepted_hash(comment, "PKCS #1 v1.5 signature with ")
            };
            count.check(class, &group.der, &group.pem, vectors!(name, group, other));
        }
    }
    assert_eq!(count, Count::of(788, 544, 1618, 1091));
}

fn is_accepted(hash: HashFunction) -> bool {
    matches!(hash, HashFunction::Sha2_256 | HashFunction::Sha2_384 | HashFunction::Sha2_512)
}

/// Whether the comment of a vector of another form says that its hash is accepted.
fn is_of_accepted_hash(comment: &str, form: &str) -> bool {
    let hash = comment.strip_prefix(form).and_then(|rest| rest.split(' ').next());
    matches!(hash, Some("SHA-256" | "SHA-384" | "SHA-512"))
}
