//! Keys in AWS KMS, as its protocol shows them. What signs here is a local key behind a few lines of
//! HTTP; the real programs' tests have a whole KMS.

use std::sync::{Arc, Mutex};

use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_promotion::Signer;
use civ_promotion::signer::{Kms, KmsError, SignerError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::setup::{key, local_key};

const ARN: &str = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// How the fake answers `GetPublicKey`, and `Sign` if that is to fail.
struct Fake {
    public_key: (u16, Value),
    sign: Option<(u16, Value)>,
    key: &'static str,
    asked: Mutex<Vec<Value>>,
}

fn public_key(name: &str, spec: &str, algorithms: &[&str]) -> Value {
    json!({
        "KeyId": ARN,
        "PublicKey": STANDARD.encode(local_key(name).public_key().spki_der()),
        "KeySpec": spec,
        "KeyUsage": "SIGN_VERIFY",
        "SigningAlgorithms": algorithms,
    })
}

fn failure(code: &str) -> (u16, Value) {
    (400, json!({ "__type": code, "message": "because\nof this" }))
}

impl Fake {
    fn new(public_key: Value) -> Self {
        let asked = Mutex::default();
        Self { public_key: (200, public_key), sign: None, key: "p256.pem", asked }
    }

    async fn open(self) -> (Result<Signer, SignerError>, Arc<Self>) {
        let fake = Arc::new(self);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = Arc::clone(&fake);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = Arc::clone(&serving);
                tokio::spawn(async move { fake.serve(stream).await });
            }
        });
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build();
        let client = aws_sdk_kms::Client::from_conf(config);
        let reference = format!("awskms:///{ARN}").parse().unwrap();
        let kms = Kms::with_client(client, &reference).await.map(Signer::Kms);
        (kms, fake)
    }

    /// One request per connection.
    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).await.unwrap();
            bytes.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length:").nth(1).unwrap().lines().next().unwrap();
            if body.len() >= length.trim().parse().unwrap() {
                break (head, serde_json::from_str::<Value>(body).unwrap());
            }
        };
        let (status, answer) = if head.contains("trentservice.getpublickey") {
            self.public_key.clone()
        } else {
            self.asked.lock().unwrap().push(body.clone());
            let message = STANDARD.decode(body["Message"].as_str().unwrap()).unwrap();
            let signature = key(self.key).sign(&message).await.unwrap();
            let signed = (200, json!({ "Signature": STANDARD.encode(signature) }));
            self.sign.clone().unwrap_or(signed)
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.len()
        );
        stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_short_message_is_signed_as_it_is_with_the_first_algorithm() {
    for (name, spec, algorithms) in [
        ("p256.pem", "ECC_NIST_P256", &["ECDSA_SHA_256"][..]),
        ("p384.pem", "ECC_NIST_P384", &["ECDSA_SHA_384"]),
        ("p521.pem", "ECC_NIST_P521", &["ECDSA_SHA_512"]),
        ("rsa.pem", "RSA_2048", &["RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_512"]),
    ] {
        let fake = Fake { key: name, ..Fake::new(public_key(name, spec, algorithms)) };
        let (signer, fake) = fake.open().await;
        let signer = signer.unwrap();
        assert_eq!(signer.algorithm(), algorithms[0]);
        let signature = signer.sign(b"message").await.unwrap();
        signer.public_key().verify_signature(b"message", &signature).unwrap();
        let asked = fake.asked.lock().unwrap().clone();
        assert_eq!(
            asked,
            [json!({
                "KeyId": ARN,
                "Message": STANDARD.encode(b"message"),
                "MessageType": "RAW",
                "SigningAlgorithm": algorithms[0],
            })]
        );
    }
}

#[tokio::test]
async fn a_long_message_goes_as_its_digest_and_a_signature_that_does_not_verify_is_not_used() {
    let p384 = ("p384.pem", "ECC_NIST_P384", "ECDSA_SHA_384");
    let p521 = ("p521.pem", "ECC_NIST_P521", "ECDSA_SHA_512");
    for ((name, spec, algorithm), length, kind, sent) in [
        (p384, 4096, "RAW", 4096),
        (p384, 4097, "DIGEST", 48),
        (p521, 4096, "RAW", 4096),
        (p521, 4097, "DIGEST", 64),
    ] {
        let public_key = public_key(name, spec, &[algorithm]);
        let (signer, fake) = Fake { key: name, ..Fake::new(public_key) }.open().await;
        let outcome = signer.unwrap().sign(&vec![7; length]).await;
        // The fake hashes a digest once more, as a KMS that gets this wrong does.
        let refused = matches!(outcome, Err(SignerError::DoesNotVerify { .. }));
        assert_eq!(refused, kind == "DIGEST");
        let asked = fake.asked.lock().unwrap().clone();
        assert_eq!(asked[0]["MessageType"], kind);
        let message = STANDARD.decode(asked[0]["Message"].as_str().unwrap()).unwrap();
        assert_eq!(message.len(), sent);
    }
}

#[tokio::test]
async fn ed25519_signs_the_message_itself_or_not_at_all() {
    // The digest's algorithm is Ed25519ph, which is another one.
    for offered in
        [&["ED25519_SHA_512", "ED25519_PH_SHA_512"][..], &["ED25519_PH_SHA_512", "ED25519_SHA_512"]]
    {
        let public_key = public_key("ed25519.pem", "ECC_NIST_EDWARDS25519", offered);
        let (signer, fake) = Fake { key: "ed25519.pem", ..Fake::new(public_key) }.open().await;
        let signer = signer.unwrap();
        signer.sign(&[7; 4096]).await.unwrap();
        let error = signer.sign(&[7; 4097]).await.unwrap_err();
        assert!(error.to_string().contains("at most 4096 bytes"), "{error}");
        let asked = fake.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0]["MessageType"], "RAW");
        assert_eq!(asked[0]["SigningAlgorithm"], "ED25519_SHA_512");
    }
    let public_key = public_key("ed25519.pem", "ECC_NIST_EDWARDS25519", &["ED25519_PH_SHA_512"]);
    Fake::new(public_key).open().await.0.unwrap_err();
}

#[tokio::test]
async fn keys_that_the_gate_cannot_verify_are_refused_by_name() {
    for (spec, usage) in [
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
        ("SM2", "SIGN_VERIFY"),
        ("ML_DSA_65", "SIGN_VERIFY"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
    ] {
        let mut answer = public_key("p256.pem", spec, &["ECDSA_SHA_256"]);
        answer["KeyUsage"] = usage.into();
        let (signer, _) = Fake::new(answer).open().await;
        let error = signer.unwrap_err();
        let named = if usage == "SIGN_VERIFY" { spec } else { usage };
        assert!(error.to_string().contains(named), "{error}");
        assert!(error.hint().unwrap().contains("create-key"), "{error}");
    }
}

#[tokio::test]
async fn what_aws_refuses_comes_with_what_to_do() {
    for (code, hint) in [
        ("AccessDeniedException", "kms:GetPublicKey"),
        ("NotFoundException", "account and region"),
        ("DisabledException", "enable the key"),
        ("KMSInvalidStateException", "cancel"),
        ("UnsupportedOperationException", "create-key"),
        ("ThrottlingException", "later"),
        ("UnrecognizedClientException", "get-caller-identity"),
    ] {
        let mut fake = Fake::new(Value::Null);
        fake.public_key = failure(code);
        let error = fake.open().await.0.unwrap_err();
        assert!(error.hint().unwrap().contains(hint), "{code}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert_eq!(error.is_about_service(), code.starts_with("Throttling"), "{error}");
    }
    let mut fake = Fake::new(public_key("p256.pem", "ECC_NIST_P256", &["ECDSA_SHA_256"]));
    fake.sign = Some(failure("AccessDeniedException"));
    let error = fake.open().await.0.unwrap().sign(b"m").await.unwrap_err();
    assert!(error.hint().unwrap().contains("kms:Sign"), "{error}");
}

#[tokio::test]
async fn what_answers_without_being_kms_is_not_taken_for_a_refusal_of_the_key() {
    for (status, body, words) in [
        (403, json!({}), "answered with HTTP 403"),
        (403, json!("<html>"), "answered with HTTP 403"),
        (502, json!("<html>"), "answered with HTTP 502"),
        (200, json!({}), "the answer of AWS KMS is incomplete"),
    ] {
        let mut fake = Fake::new(Value::Null);
        fake.public_key = (status, body);
        let error = fake.open().await.0.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.is_about_service(), "{error}");
        assert!(error.hint().unwrap().contains("endpoint"), "{error}");
    }
}

#[tokio::test]
async fn a_kms_that_is_not_there_is_said_to_be_unreachable() {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url("http://127.0.0.1:1")
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    let reference = format!("awskms:///{ARN}").parse().unwrap();
    let opened = Kms::with_client(aws_sdk_kms::Client::from_conf(config), &reference).await;
    match opened.unwrap_err() {
        SignerError::Kms(error) => {
            assert!(matches!(*error, KmsError::Unreachable { .. }), "{error}");
            assert!(error.is_about_service(), "{error}");
        }
        other => panic!("{other}"),
    }
}
