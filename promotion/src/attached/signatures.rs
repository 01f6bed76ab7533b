//! Reading the signatures in something attached: what they say, and whether a known key made them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use civ_cosign::bundle::{BUNDLE_MAX, BUNDLE_PREFIX, BundleError};
use civ_cosign::dsse::{IN_TOTO, pre_authentication_encoding};
use civ_cosign::signatures::{PAYLOAD_MAX, SIGNATURE_ANNOTATION, SIGNATURES_MAX};
use civ_cosign::{Claims, ImageStatement, PublicKey, SimpleSigning, UntrustedBundle};
use civ_oci::{Descriptor, Digest, ImageId};
use serde_json::Value;

use crate::registry::{RegistryError, Source};
use crate::sign::Format;
use crate::sign::bundle::content;

/// The layer annotation with the certificate of whoever signed without a key.
const CERTIFICATE_ANNOTATION: &str = "dev.sigstore.cosign/certificate";

/// A key, and what it is called.
#[derive(Clone, Debug)]
pub struct NamedKey {
    /// Its name.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// A signature that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSignature {
    /// Its form.
    pub format: Format,
    /// Who made it.
    pub signer: FoundSigner,
    /// What it says, if that can be read. A claim of anybody's, unless the signer is
    /// [`FoundSigner::Verified`].
    pub said: Option<Said>,
}

/// Who made a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundSigner {
    /// Somebody with a certificate; nothing is verified.
    UnverifiedCertificate,
    /// An unknown key, of which the bundle says this; nothing is verified.
    UnverifiedHint(String),
    /// An unknown key; nothing is verified.
    UnverifiedKey,
    /// The key of this name: the signature verifies.
    Verified(String),
}

/// What a signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it is about the image that it is attached to.
    pub is_about_image: bool,
    /// The digest that it names.
    pub digest: String,
    /// The repository that it names.
    pub repository: Option<String>,
    /// Its annotations; what is no text, as JSON.
    pub annotations: BTreeMap<String, String>,
}

/// The signatures in a manifest's layers.
pub(super) async fn read(
    source: &Source,
    image: &ImageId,
    layers: &[Descriptor],
    keys: &[NamedKey],
) -> Result<Vec<FoundSignature>, RegistryError> {
    if let [layer] = layers
        && layer.media_type.starts_with(BUNDLE_PREFIX)
    {
        let bytes = content(source, layer, BUNDLE_MAX).await?;
        return Ok(vec![of_bundle(&bytes, &image.digest, keys)]);
    }
    let mut payloads: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let mut found = Vec::new();
    for layer in layers.iter().rev().take(SIGNATURES_MAX) {
        let Some(signature) = layer.annotations.get(SIGNATURE_ANNOTATION) else { continue };
        if !payloads.contains_key(&layer.digest) {
            let payload = content(source, layer, PAYLOAD_MAX).await?;
            payloads.insert(layer.digest.clone(), payload);
        }
        let payload = payloads.get(&layer.digest).map_or(&[][..], Vec::as_slice);
        let signature = BASE64.decode(signature).unwrap_or_default();
        let unverified = if layer.annotations.contains_key(CERTIFICATE_ANNOTATION) {
            FoundSigner::UnverifiedCertificate
        } else {
            FoundSigner::UnverifiedKey
        };
        let said = SimpleSigning::parse(payload).ok();
        found.push(FoundSignature {
            format: Format::Legacy,
            signer: signer(keys, payload, &signature, unverified),
            said: said.map(|said| Said::of(&said.claims_about(&image.digest))),
        });
    }
    Ok(found)
}

fn of_bundle(bytes: &[u8], image: &Digest, keys: &[NamedKey]) -> FoundSignature {
    let (signer, said) = match UntrustedBundle::parse(bytes) {
        Ok(bundle) => {
            let signed = pre_authentication_encoding(IN_TOTO, &bundle.payload);
            let unverified = FoundSigner::UnverifiedHint(bundle.hint);
            let said = ImageStatement::parse(&bundle.payload).ok();
            (
                signer(keys, &signed, &bundle.signature, unverified),
                said.map(|said| Said::of(&said.claims_about(image))),
            )
        }
        Err(BundleError::NoKey) => (FoundSigner::UnverifiedCertificate, None),
        Err(_) => (FoundSigner::UnverifiedKey, None),
    };
    FoundSignature { format: Format::Bundle, signer, said }
}

fn signer(
    keys: &[NamedKey],
    message: &[u8],
    signature: &[u8],
    unverified: FoundSigner,
) -> FoundSigner {
    let made_it = |named: &&NamedKey| named.key.verify_signature(message, signature).is_ok();
    let known = keys.iter().find(made_it);
    known.map_or(unverified, |named| FoundSigner::Verified(named.name.clone()))
}

impl Said {
    fn of(claims: &Claims<'_>) -> Self {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let annotations = claims.annotations.into_iter().flatten();
        Self {
            is_about_image: claims.is_about_image,
            digest: claims.digest.clone(),
            repository: claims.repository.map(str::to_owned),
            annotations: annotations.map(|(key, value)| (key.clone(), text(value))).collect(),
        }
    }
}
