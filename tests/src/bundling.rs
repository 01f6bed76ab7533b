//! Signers and attackers in cosign 3's format: statements, envelopes, bundles and the manifests that
//! attach them to an image. Written out by hand, as in [`signing`](crate::signing).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::Digest;
use serde_json::{Value, json};

use crate::image;
use crate::signing::{Key, Layer, signature_manifest};

/// The media type of a bundle, and the type of the artifact that holds it.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What a statement says that it is.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What an image signature says about its image.
pub const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// The type of a statement in an envelope.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The type of the artifact that cosign makes of a `.sig` image, experimentally.
pub const SIGNATURE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// The statement that says: this is signed. As cosign makes it, without a name.
pub fn statement(digest: &Digest, annotations: &str) -> String {
    let hex = digest.hex();
    format!(
        r#"{{"_type":"{STATEMENT}","subject":[{{"digest":{{"sha256":"{hex}"}},"annotations":{annotations}}}],"predicateType":"{SIGN}","predicate":{{}}}}"#
    )
}

/// The same with a name for its subject.
pub fn named_statement(name: &str, digest: &Digest) -> String {
    statement(digest, "{}").replacen(r#"[{"digest""#, &format!(r#"[{{"name":"{name}","digest""#), 1)
}

/// What a signature over a payload of some type is made over.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// A bundle in which `signature` is said to be over `payload`.
pub fn bundle(payload: &[u8], signature: &[u8]) -> Value {
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": { "publicKey": { "hint": "" } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": IN_TOTO,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        },
    })
}

/// A bundle whose statement `key` has really signed.
pub fn signed_bundle(key: &Key, statement: &str) -> Value {
    bundle(statement.as_bytes(), &key.sign(&pae(IN_TOTO, statement.as_bytes())))
}

/// A descriptor of `content`.
pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "size": content.len(),
        "digest": Digest::sha256(content).to_string(),
    })
}

/// The manifest that attaches a bundle to an image, as cosign writes it.
pub fn bundle_manifest(subject: &Value, bundle: &[u8]) -> Value {
    let mut config = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    config["artifactType"] = json!(BUNDLE);
    json!({
        "schemaVersion": 2,
        "mediaType": image::MANIFEST,
        "config": config,
        "layers": [descriptor(BUNDLE, bundle)],
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": SIGN,
            "org.opencontainers.image.created": "2026-11-21T08:00:00Z",
        },
        "subject": subject,
        "artifactType": BUNDLE,
    })
}

/// The manifest that attaches simple-signing payloads to an image, as cosign does experimentally.
pub fn signature_artifact(subject: &Value, layers: &[Layer]) -> Value {
    let mut manifest = signature_manifest(layers);
    manifest["config"]["mediaType"] = json!(SIGNATURE_ARTIFACT);
    manifest["artifactType"] = json!(SIGNATURE_ARTIFACT);
    manifest["subject"] = subject.clone();
    manifest
}
