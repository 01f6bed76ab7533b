//! Writes what the fuzz targets begin with to `corpus/TARGET/`: documents that their parsers accept, for
//! none of these formats is found by chance.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_cosign::{ImageStatement, PublicKey, SimpleSigning, bundle};
use civ_oci::{Digest, ImageId, Repository};
use serde_json::{Value, json};

mod untrusted_keys;

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../../verifiers/cosign/testdata/", $name))
    };
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const ARN: &str = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-west-1:111111111111:alias/release";

fn main() {
    let repository: Repository = untrusted_keys::REPOSITORY.parse().expect("a repository");
    let image = repository.image(Digest::sha256(untrusted_keys::IMAGE));
    let annotations = [("stage".to_owned(), "test".to_owned())].into();
    let payload = SimpleSigning::new(&image, &annotations).to_bytes();
    let statement = ImageStatement::new(&image, &annotations).to_bytes();
    // A signature of somebody else's over something else.
    let material: Value =
        serde_json::from_str(vector!("transparency/hashedrekord-0.0.1.json")).expect("JSON");
    let signature = material["messageSignature"]["signature"].as_str().expect("text");
    let signature = STANDARD.decode(signature).expect("base64");
    let key = PublicKey::from_pem(vector!("keys/p256.pem")).expect("a key");
    let bundled = bundle::to_bytes(&key, &statement, &signature);

    let text = String::from_utf8(payload.clone()).expect("JSON");
    let optional = r#""optional":{"a":9.82517228283270938e-2,"b":[null,1],"c":"True"}}"#;
    let numbers = format!("{}{optional}", text.split(r#""optional""#).next().expect("a part"));
    seeds("payload", [payload.clone(), numbers.into_bytes()]);
    seeds("bundle", [bundled.clone(), statement, vector!("transparency/dsse-0.0.1.json").into()]);
    seeds("signatures", signatures(&image, &payload, &signature, &bundled));

    let entry = material["verificationMaterial"].to_string();
    let checkpoint = &material["verificationMaterial"]["tlogEntries"][0]["inclusionProof"];
    let checkpoint = checkpoint["checkpoint"]["envelope"].as_str().expect("text");
    seeds("log_entry", [entry.into_bytes()]);
    seeds("checkpoint", [checkpoint.as_bytes().to_vec()]);
    seeds(
        "public_key",
        [
            vector!("keys/p256.pem").into(),
            vector!("keys/rsa2048.pem").into(),
            vector!("keys/ed25519.pem").into(),
            key.spki_der().to_vec(),
        ],
    );
    seeds("policy", policies(&key.to_pem()));

    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, b"{}")] });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [], "annotations": { "a": "1.3" } });
    let config =
        json!({ "architecture": "amd64", "os": "linux", "config": { "Labels": { "a": "a" } } });
    seeds("document", [index.to_string().into(), manifest.to_string().into()]);
    seeds("strict_json", [index.to_string().into(), numbers_of_every_kind()]);
    seeds(
        "annotations",
        [format!("{index}\n{manifest}\n{config}").into(), format!("{manifest}\n{config}").into()],
    );

    let link = br#"</v2/a/referrers/sha256:0?n=1&last=2>; rel="prev", </v2/a?n=2>; rel="next""#;
    seeds("link", [link.to_vec(), b"<https://r.example/v2/a?n=2>;rel=next".to_vec()]);
    seeds("challenge", [
        br#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a:pull""#.to_vec(),
        br#"Basic realm="r", Bearer realm="https:\/\/a.example""#.to_vec(),
    ]);
    seeds(
        "reference",
        [format!("{image}").into(), b"localhost:5000/a:1".to_vec(), b"busybox".to_vec()],
    );
    seeds(
        "kms_key",
        [
            format!("awskms:///{ARN}").into(),
            format!("awskms://localhost:4566/{ALIAS}").into(),
            b"awskms:///alias/release".to_vec(),
        ],
    );
    let spki = STANDARD.encode(key.spki_der());
    let answer = json!({ "KeyId": ARN, "KeyUsage": "SIGN_VERIFY", "PublicKey": spki,
        "SigningAlgorithms": ["ECDSA_SHA_256"] });
    let refusal = json!({ "__type": "com.amazonaws.kms#AccessDeniedException:x", "message": "no" });
    seeds("kms_answer", [answer.to_string().into(), refusal.to_string().into()]);
    let kept =
        json!({ "kms": format!("awskms:///{ARN}"), "fetched": 1_763_799_000, "publicKey": spki });
    seeds("cache_entry", [kept.to_string().into()]);
}

/// Under the tag, inline and not; as a referrer, listed by the registry and by an index.
fn signatures(image: &ImageId, payload: &[u8], signature: &[u8], bundled: &[u8]) -> [Vec<u8>; 4] {
    let layer = |inline: bool| {
        let mut layer = descriptor(SIMPLE_SIGNING, payload);
        layer["annotations"] =
            json!({ "dev.cosignproject.cosign/signature": STANDARD.encode(signature) });
        if inline {
            layer["data"] = STANDARD.encode(payload).into();
        }
        layer
    };
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let image_of = |layers: Value| json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let subject = descriptor(MANIFEST, untrusted_keys::IMAGE);
    let mut referrer = image_of(json!([descriptor(BUNDLE, bundled)]));
    referrer["artifactType"] = BUNDLE.into();
    referrer["subject"] = subject;
    let mut listed = descriptor(MANIFEST, referrer.to_string().as_bytes());
    listed["artifactType"] = BUNDLE.into();
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] });
    assert_eq!(image.digest, Digest::sha256(untrusted_keys::IMAGE));
    let input = |documents: [&[u8]; 5]| documents.join(&b"\n\n"[..]);
    let (list, referrer) = (list.to_string(), referrer.to_string());
    let of_layers = |inline: &[bool]| {
        image_of(inline.iter().map(|inline| layer(*inline)).collect()).to_string()
    };
    let (inline, fetched) = (of_layers(&[true, true]), of_layers(&[false, true]));
    [
        input([inline.as_bytes(), b"", b"{}", b"", b""]),
        input([fetched.as_bytes(), b"", b"{}", payload, payload]),
        input([b"{}", list.as_bytes(), referrer.as_bytes(), bundled, bundled]),
        input([b"{}", list.as_bytes(), fetched.as_bytes(), payload, bundled]),
    ]
}

fn policies(pem: &str) -> [Vec<u8>; 3] {
    let document = |statement: Value| {
        json!({ "version": "1.0", "trustPolicies": [statement] }).to_string().into_bytes()
    };
    [
        document(json!({ "name": "p", "registryScopes": ["r.example/team/*"],
            "signatureVerification": { "level": "strict" },
            "signedIdentity": { "type": "requireRepository" },
            "keys": [{ "name": "k", "publicKey": pem },
                { "name": "kms", "kms": format!("awskms:///{ARN}") }],
            "threshold": 1, "annotations": { "stage": "test" } })),
        document(json!({ "name": "p", "registryScopes": ["*"], "level": "audit",
            "rules": [{ "annotation": "a", "matches": "a+" },
                { "anyOf": [{ "annotation": "b", "from": "labels", "version": ">=1.2" }] }] })),
        json!({ "version": "1.0", "trustedDigests": [Digest::sha256(b"").to_string()] })
            .to_string()
            .into_bytes(),
    ]
}

fn numbers_of_every_kind() -> Vec<u8> {
    br#"{"a":[0,-1,1.5,1e9,-2.5E-3,18446744073709551615],"b":"\u00fc\ud83d\ude00\n","c":{}}"#
        .to_vec()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(bytes).to_string(), "size": bytes.len() })
}

fn seeds<const N: usize>(target: &str, seeds: [Vec<u8>; N]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory).expect("a directory beside this file");
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{number}")), seed).expect("a file of ours");
    }
}
