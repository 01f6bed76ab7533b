//! The `.sig` image: signatures kept as the layers of an image, under a tag made of the digest that
//! they are about.
//!
//! What is written here is what cosign writes
//! ([SIGNATURE_SPEC](https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md)): the
//! payload is a layer, the signature an annotation of it, and a configuration that nobody reads
//! counts the layers. One thing is added: a short payload stands in the layer's descriptor as well
//! (`data`), so that whoever has the manifest needs nothing else. Every other layer is kept as it
//! stands, to the byte. No I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use civ_cosign::PublicKey;
use civ_cosign::signatures::{SIGNATURE_ANNOTATION, SIGNATURES_MAX};
use civ_oci::manifest::MANIFEST_MAX;
use civ_oci::strict_json::{self, JsonError};
use civ_oci::{Descriptor, Digest, StoredManifest, media_type};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::merge::{Entry, Rendered};
use super::with_content;

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
    /// An index has these.
    #[serde(default, skip_serializing)]
    manifests: Option<IgnoredAny>,
}

/// A layer that says that `signature` signs `payload`.
pub(super) fn layer(payload: &[u8], signature: &[u8]) -> Result<Entry, SignatureImageError> {
    let mut layer = with_content(media_type::SIMPLE_SIGNING, payload);
    layer.annotations.insert(SIGNATURE_ANNOTATION.to_owned(), BASE64.encode(signature));
    Ok(Entry { key: key_of(&layer), text: serde_json::value::to_raw_value(&layer)? })
}

/// The layers of `stored`, in order.
pub(super) fn layers(stored: &StoredManifest) -> Result<Vec<Entry>, SignatureImageError> {
    let entry = |text: Box<RawValue>| match describe(&text) {
        Some(layer) => Entry { key: key_of(&layer), text },
        // An odd one, which verifiers pass over. It is not for a signer to take it away.
        None => Entry { key: text.get().to_owned(), text },
    };
    Ok(read(stored)?.layers.into_iter().map(entry).collect())
}

/// An image with these layers, otherwise like `base`.
pub(super) fn render(
    base: Option<&StoredManifest>,
    layers: &[Entry],
) -> Result<Rendered, SignatureImageError> {
    if layers.len() > SIGNATURES_MAX {
        return Err(SignatureImageError::Full { limit: SIGNATURES_MAX });
    }
    let mut manifest = base.map_or_else(|| Ok(Manifest::new()), read)?;
    manifest.layers = layers.iter().map(|layer| layer.text.clone()).collect();
    // Payloads are not compressed, so the digests of layers are their diff IDs as well.
    let digest = |layer: &Entry| describe(&layer.text).map(|layer| layer.digest);
    let diff_ids = layers.iter().filter_map(digest).collect();
    let config_bytes = serde_json::to_vec(&Configuration::of(diff_ids))?;
    manifest.config = Descriptor::of(&manifest.config.media_type, &config_bytes);
    let bytes = serde_json::to_vec(&manifest)?;
    if bytes.len() as u64 > MANIFEST_MAX {
        return Err(SignatureImageError::TooLarge { limit: MANIFEST_MAX });
    }
    Ok(Rendered {
        bytes,
        media_type: manifest.media_type,
        blobs: vec![(manifest.config, config_bytes)],
    })
}

/// Whether `stored` already holds a signature of exactly `payload` that `key` verifies. Such a
/// signature is not made again: the payload has no time in it, so that a second one says nothing
/// new.
pub(super) fn holds(
    stored: &StoredManifest,
    payload: &[u8],
    key: &PublicKey,
) -> Result<bool, SignatureImageError> {
    let payload = Payload::new(payload);
    let layers = read(stored)?.layers;
    let mut described = layers.iter().filter_map(|layer| describe(layer));
    Ok(described.any(|layer| payload.is_signed_by(&layer, key)))
}

/// Whether this layer is such a signature.
pub(super) fn is_signature(layer: &RawValue, payload: &[u8], key: &PublicKey) -> bool {
    describe(layer).is_some_and(|layer| Payload::new(payload).is_signed_by(&layer, key))
}

struct Payload<'a> {
    bytes: &'a [u8],
    digest: Digest,
}

impl<'a> Payload<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, digest: Digest::sha256(bytes) }
    }

    fn is_signed_by(&self, layer: &Descriptor, key: &PublicKey) -> bool {
        layer.media_type == media_type::SIMPLE_SIGNING
            && layer.digest == self.digest
            && layer
                .annotations
                .get(SIGNATURE_ANNOTATION)
                .and_then(|signature| BASE64.decode(signature).ok())
                .is_some_and(|signature| key.verify_signature(self.bytes, &signature).is_ok())
    }
}

/// Other signers write the same layer in other words. What it says is a payload and a signature.
fn key_of(layer: &Descriptor) -> String {
    let signature = layer.annotations.get(SIGNATURE_ANNOTATION).map_or("", String::as_str);
    format!("{} {signature}", layer.digest)
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
            manifests: None,
        }
    }
}

fn read(stored: &StoredManifest) -> Result<Manifest, SignatureImageError> {
    let declared = media_type::essence(&stored.media_type);
    if ![media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST].contains(&declared) {
        return Err(SignatureImageError::NoManifest);
    }
    let mut manifest: Manifest = strict_json::from_slice(&stored.bytes)?;
    let agrees = manifest.media_type.is_empty() || manifest.media_type == declared;
    if manifest.schema_version != 2 || !agrees || manifest.manifests.is_some() {
        return Err(SignatureImageError::NoManifest);
    }
    // The body may leave its type to the registry; what is written says it.
    declared.clone_into(&mut manifest.media_type);
    Ok(manifest)
}

fn describe(layer: &RawValue) -> Option<Descriptor> {
    strict_json::from_part(layer).ok()
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
    /// The gate would not look at one more.
    #[error("there are {limit} signatures already, and verifiers look at no more")]
    Full {
        /// The most there may be.
        limit: usize,
    },
    /// What the tag holds is not JSON as civ accepts it.
    #[error("the signature tag holds a manifest that cannot be added to: {0}")]
    Json(#[from] JsonError),
    /// What the tag holds is not an image manifest.
    #[error("the signature tag holds an index or something else, not signatures")]
    NoManifest,
    /// It would be larger than anybody reads.
    #[error("with one more signature the manifest would be larger than {limit} bytes")]
    TooLarge {
        /// The most there may be, in bytes.
        limit: u64,
    },
    /// It cannot be written as JSON.
    #[error("the manifest cannot be written: {0}")]
    Write(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signer::LocalKey;

    const PAYLOAD: &[u8] = b"payload";
    const OTHER: &[u8] = b"other payload";

    fn stored(image: &Rendered) -> StoredManifest {
        StoredManifest {
            media_type: image.media_type.clone(),
            digest: Digest::sha256(&image.bytes),
            bytes: image.bytes.clone(),
        }
    }

    /// `base` with one more signature of the payload.
    fn append(
        base: Option<&StoredManifest>,
        signature: &[u8],
    ) -> Result<Rendered, SignatureImageError> {
        let mut entries = base.map_or_else(|| Ok(Vec::new()), layers)?;
        entries.push(layer(PAYLOAD, signature)?);
        render(base, &entries)
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn writes_what_cosign_writes_and_the_payload_beside_it() {
        let image = append(None, b"signature").unwrap();
        let payload = Digest::sha256(PAYLOAD);
        let [(config, config_bytes)] = image.blobs.as_slice() else { panic!("{image:?}") };
        assert_eq!(
            text(config_bytes),
            format!(
                r#"{{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{{"created":"0001-01-01T00:00:00Z"}}],"os":"","rootfs":{{"type":"layers","diff_ids":["{payload}"]}},"config":{{}}}}"#
            )
        );
        assert_eq!(
            text(&image.bytes),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","size":7,"digest":"{payload}","data":"cGF5bG9hZA==","annotations":{{"dev.cosignproject.cosign/signature":"c2lnbmF0dXJl"}}}}]}}"#,
                config.size, config.digest,
            )
        );
    }

    #[test]
    fn a_long_payload_is_only_a_blob() {
        let long = layer(&vec![b'x'; 20_000], b"s").unwrap();
        assert!(!long.text.get().contains("data"));
    }

    #[test]
    fn every_other_layer_is_kept_to_the_byte() {
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
        let image = append(Some(&existing), b"s").unwrap();
        let written = text(&image.bytes);
        assert!(written.contains(&format!(r#""layers":[{layer},{{"mediaType""#)), "{written}");
        assert!(written.ends_with(r#""annotations":{"z":"1","a":"2"}}"#), "{written}");
        assert_eq!(image.media_type, media_type::DOCKER_MANIFEST);
        let [(config, config_bytes)] = image.blobs.as_slice() else { panic!("{image:?}") };
        assert_eq!(config.media_type, "application/vnd.docker.container.image.v1+json");
        assert_eq!(text(config_bytes).matches("sha256:").count(), 2);
        stored(&image).parse().unwrap();
    }

    #[test]
    fn knows_a_signature_that_is_there() {
        let key = |pem: &[u8]| LocalKey::from_pem(pem).unwrap();
        let ours = key(include_bytes!("../../tests/data/p256.pem"));
        let theirs = key(include_bytes!("../../tests/data/p384.pem"));
        let sign = |key: &LocalKey| key.sign(PAYLOAD).unwrap();
        let by_them = append(None, &sign(&theirs)).unwrap();
        let by_both = append(Some(&stored(&by_them)), &sign(&ours)).unwrap();
        for (image, payload, expected) in
            [(&by_them, PAYLOAD, false), (&by_both, PAYLOAD, true), (&by_both, OTHER, false)]
        {
            let found = holds(&stored(image), payload, ours.public_key()).unwrap();
            assert_eq!(found, expected);
            let entries = layers(&stored(image)).unwrap();
            let is_ours = |e: &Entry| is_signature(&e.text, payload, ours.public_key());
            assert_eq!(entries.iter().any(is_ours), expected);
        }
    }

    #[test]
    fn an_odd_layer_stays_and_keeps_nobody_from_signing() {
        let key = LocalKey::from_pem(include_bytes!("../../tests/data/p256.pem")).unwrap();
        let first = append(None, &key.sign(PAYLOAD).unwrap()).unwrap();
        let odd = r#"{"digest":"odd","note":[1]}"#;
        let with_odd =
            text(&first.bytes).replacen("\"layers\":[", &format!("\"layers\":[{odd},"), 1);
        let with_odd = StoredManifest { bytes: with_odd.into_bytes(), ..stored(&first) };
        assert!(holds(&with_odd, PAYLOAD, key.public_key()).unwrap());
        let second = append(Some(&with_odd), b"another").unwrap();
        assert!(text(&second.bytes).contains(odd));
        assert_eq!(layers(&stored(&second)).unwrap().len(), 3);
    }

    #[test]
    fn refuses_what_it_cannot_add_to() {
        let index = StoredManifest {
            media_type: media_type::OCI_INDEX.to_owned(),
            digest: Digest::sha256(b""),
            bytes: br#"{"schemaVersion":2,"manifests":[]}"#.to_vec(),
        };
        assert!(matches!(append(Some(&index), b""), Err(SignatureImageError::NoManifest)));
        let full: Vec<_> = (0..=SIGNATURES_MAX)
            .map(|n| layer(PAYLOAD, n.to_string().as_bytes()).unwrap())
            .collect();
        render(None, &full[1..]).unwrap();
        let error = render(None, &full).unwrap_err();
        assert!(matches!(error, SignatureImageError::Full { limit: 100 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let digest = Digest::sha256(&bytes);
            let stored = StoredManifest { media_type: media_type::OCI_MANIFEST.to_owned(), digest, bytes };
            let _ = layers(&stored);
            let _ = render(Some(&stored), &[]);
        }
    }
}
