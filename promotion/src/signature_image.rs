//! The `.sig` image: signatures kept as the layers of an image, under a tag made of the digest that
//! they are about.
//!
//! What is written here is byte for byte what cosign writes
//! ([SIGNATURE_SPEC](https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md)): the
//! payload is a layer, the signature an annotation of it, and a configuration that nobody reads
//! counts the layers. Appending keeps every other layer as it stands, to the byte. No I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use civ_cosign::PublicKey;
use civ_cosign::signatures::{SIGNATURE_ANNOTATION, SIGNATURES_MAX};
use civ_oci::{Descriptor, Digest, Document, DocumentError, StoredManifest, media_type};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An image of signatures, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureImage {
    /// The type of the manifest.
    pub media_type: String,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Where the configuration goes.
    pub config: Descriptor,
    /// The configuration.
    pub config_bytes: Vec<u8>,
    /// Where the payload goes.
    pub payload: Descriptor,
}

/// The manifest, its layers kept as the text that they are.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    #[serde(default)]
    media_type: String,
    config: Descriptor,
    layers: Vec<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<Box<RawValue>>,
}

impl SignatureImage {
    /// `existing` (or a new image) with one more signature.
    pub fn append(
        existing: Option<&StoredManifest>,
        payload: &[u8],
        signature: &[u8],
    ) -> Result<Self, SignatureImageError> {
        let (mut manifest, mut diff_ids) = match existing {
            Some(existing) => read(existing)?,
            None => (Manifest::new(), Vec::new()),
        };
        if diff_ids.len() >= SIGNATURES_MAX {
            return Err(SignatureImageError::Full { limit: SIGNATURES_MAX });
        }
        let mut layer = Descriptor::of(media_type::SIMPLE_SIGNING, payload);
        diff_ids.push(layer.digest.clone());
        let payload = layer.clone();
        layer.annotations.insert(SIGNATURE_ANNOTATION.to_owned(), BASE64.encode(signature));
        manifest.layers.push(serde_json::value::to_raw_value(&layer)?);

        let config_bytes = serde_json::to_vec(&Configuration::of(diff_ids))?;
        manifest.config = Descriptor::of(&manifest.config.media_type, &config_bytes);
        Ok(Self {
            manifest: serde_json::to_vec(&manifest)?,
            media_type: manifest.media_type,
            config: manifest.config,
            config_bytes,
            payload,
        })
    }
}

/// Whether `existing` already holds a signature of exactly `payload` that `key` verifies. Such a
/// signature is not made again: the payload has no time in it, so that a second one says nothing
/// new.
pub fn holds(
    existing: &StoredManifest,
    payload: &[u8],
    key: &PublicKey,
) -> Result<bool, SignatureImageError> {
    let wanted = Descriptor::of(media_type::SIMPLE_SIGNING, payload);
    Ok(layers(existing)?.iter().any(|layer| {
        layer.media_type == wanted.media_type
            && layer.digest == wanted.digest
            && layer
                .annotations
                .get(SIGNATURE_ANNOTATION)
                .and_then(|signature| BASE64.decode(signature).ok())
                .is_some_and(|signature| key.verify_signature(payload, &signature).is_ok())
    }))
}

impl Manifest {
    fn new() -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config: Descriptor::of(media_type::OCI_CONFIG, b""),
            layers: Vec::new(),
            annotations: None,
            subject: None,
            artifact_type: None,
        }
    }
}

/// The manifest as it stands, and the digests of its layers. Payloads are not compressed, so these
/// are the layers' diff IDs as well.
fn read(existing: &StoredManifest) -> Result<(Manifest, Vec<Digest>), SignatureImageError> {
    let layers = layers(existing)?;
    let mut manifest: Manifest = serde_json::from_slice(&existing.bytes)?;
    // The body may leave its type to the registry; what is written says it.
    media_type::essence(&existing.media_type).clone_into(&mut manifest.media_type);
    Ok((manifest, layers.into_iter().map(|layer| layer.digest).collect()))
}

fn layers(existing: &StoredManifest) -> Result<Vec<Descriptor>, SignatureImageError> {
    match existing.parse()? {
        Document::Manifest(manifest) => Ok(manifest.layers),
        Document::Index(_) => Err(SignatureImageError::Index),
    }
}

/// The configuration as go-containerregistry writes it for an image without one.
#[derive(Serialize)]
struct Configuration {
    architecture: &'static str,
    created: &'static str,
    history: Vec<History>,
    os: &'static str,
    rootfs: RootFs,
    config: Empty,
}

#[derive(Clone, Serialize)]
struct History {
    created: &'static str,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
struct Empty {}

impl Configuration {
    fn of(diff_ids: Vec<Digest>) -> Self {
        const NEVER: &str = "0001-01-01T00:00:00Z";
        Self {
            architecture: "",
            created: NEVER,
            history: vec![History { created: NEVER }; diff_ids.len()],
            os: "",
            rootfs: RootFs { r#type: "layers", diff_ids },
            config: Empty {},
        }
    }
}

/// Why a signature cannot be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureImageError {
    /// What the tag holds is not a manifest.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The gate would not look at one more.
    #[error("there are {limit} signatures already, and verifiers look at no more")]
    Full {
        /// The most there may be.
        limit: usize,
    },
    /// What the tag holds is an index.
    #[error("the signature tag holds an index, not signatures")]
    Index,
    /// What the tag holds is not a manifest that can be written again.
    #[error("the signature tag holds a manifest that cannot be added to: {0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::LocalKey;

    const PAYLOAD: &[u8] = b"payload";
    const OTHER: &[u8] = b"other payload";

    fn stored(image: &SignatureImage) -> StoredManifest {
        StoredManifest {
            media_type: image.media_type.clone(),
            digest: Digest::sha256(&image.manifest),
            bytes: image.manifest.clone(),
        }
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn writes_the_bytes_that_cosign_writes() {
        let image = SignatureImage::append(None, PAYLOAD, b"signature").unwrap();
        let payload = Digest::sha256(PAYLOAD);
        assert_eq!(
            text(&image.config_bytes),
            format!(
                r#"{{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{{"created":"0001-01-01T00:00:00Z"}}],"os":"","rootfs":{{"type":"layers","diff_ids":["{payload}"]}},"config":{{}}}}"#
            )
        );
        assert_eq!(
            text(&image.manifest),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","size":7,"digest":"{payload}","annotations":{{"dev.cosignproject.cosign/signature":"c2lnbmF0dXJl"}}}}]}}"#,
                image.config_bytes.len(),
                Digest::sha256(&image.config_bytes),
            )
        );
    }

    #[test]
    fn appending_keeps_every_other_layer_to_the_byte() {
        // Fields unknown to civ, in an order of their own, with spaces.
        let layer = r#"{ "size":3, "x": [1 , 2], "digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","annotations":{"dev.sigstore.cosign/bundle":"{\"a\":1}"},"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json"}"#;
        let manifest = format!(
            r#"{{"annotations":{{"z":"1","a":"2"}},"layers":[{layer}],"schemaVersion":2,"config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}}}"#
        );
        let existing = StoredManifest {
            media_type: format!("{}; charset=utf-8", media_type::DOCKER_MANIFEST),
            digest: Digest::sha256(manifest.as_bytes()),
            bytes: manifest.into_bytes(),
        };
        let image = SignatureImage::append(Some(&existing), PAYLOAD, b"s").unwrap();
        let written = text(&image.manifest);
        assert!(written.contains(&format!(r#""layers":[{layer},{{"mediaType""#)), "{written}");
        assert!(written.ends_with(r#""annotations":{"z":"1","a":"2"}}"#), "{written}");
        assert_eq!(image.media_type, media_type::DOCKER_MANIFEST);
        assert_eq!(image.config.media_type, "application/vnd.docker.container.image.v1+json");
        assert_eq!(text(&image.config_bytes).matches("sha256:").count(), 2);
        stored(&image).parse().unwrap();
    }

    #[test]
    fn knows_a_signature_that_is_there() {
        let key = |pem: &[u8]| LocalKey::from_pem(pem).unwrap();
        let ours = key(include_bytes!("../tests/data/p256.pem"));
        let theirs = key(include_bytes!("../tests/data/p384.pem"));
        let sign = |key: &LocalKey| key.sign(PAYLOAD).unwrap();
        let by_them = SignatureImage::append(None, PAYLOAD, &sign(&theirs)).unwrap();
        let by_both =
            SignatureImage::append(Some(&stored(&by_them)), PAYLOAD, &sign(&ours)).unwrap();
        for (image, payload, expected) in
            [(&by_them, PAYLOAD, false), (&by_both, PAYLOAD, true), (&by_both, OTHER, false)]
        {
            let found = holds(&stored(image), payload, ours.public_key()).unwrap();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn refuses_what_it_cannot_add_to() {
        let index = StoredManifest {
            media_type: media_type::OCI_INDEX.to_owned(),
            digest: Digest::sha256(b""),
            bytes: br#"{"schemaVersion":2,"manifests":[]}"#.to_vec(),
        };
        assert!(matches!(
            SignatureImage::append(Some(&index), PAYLOAD, b""),
            Err(SignatureImageError::Index)
        ));
        let mut image = SignatureImage::append(None, PAYLOAD, b"0").unwrap();
        for _ in 1..SIGNATURES_MAX {
            image = SignatureImage::append(Some(&stored(&image)), PAYLOAD, b"0").unwrap();
        }
        assert!(matches!(
            SignatureImage::append(Some(&stored(&image)), PAYLOAD, b"0"),
            Err(SignatureImageError::Full { limit: 100 })
        ));
    }
}
