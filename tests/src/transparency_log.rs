//! Transparency logs of our own: Rekor's entries, trees, checkpoints and promises.
//!
//! Written out by hand and signed by aws-lc, none of it by the code that the gate reads them with. That
//! they are what Rekor makes is for the real cosign to say, which is given [`Log::trusted_root`].

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::signing::{Key, Kind};

type Hash = [u8; 32];

/// A log, which is its key and its name.
#[derive(Debug)]
pub struct Log {
    key: Key,
    name: &'static str,
    version: Version,
}

/// Which Rekor a log is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Rekor v1: it promises to include an entry, and numbers its tree in checkpoints.
    One,
    /// Rekor v2: nothing but inclusion proofs.
    Two,
}

/// Where an entry stands in its tree.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The number of the entry, from 0.
    pub index: usize,
    /// How many entries there are.
    pub size: usize,
}

/// When every entry of a Rekor v1 was integrated, in seconds since 1970.
pub const INTEGRATED: u64 = 1_767_225_600;

impl Log {
    /// A new log under `name`, with an ECDSA P-256 key for the first version and an Ed25519 key for the
    /// second, as the public instances have.
    pub fn new(version: Version, name: &'static str) -> Self {
        let kind = match version {
            Version::One => Kind::P256,
            Version::Two => Kind::Ed25519,
        };
        Self { key: Key::generate(kind), name, version }
    }

    /// The log's public key, PEM.
    pub fn public_pem(&self) -> String {
        self.key.public_pem()
    }

    /// A sigstore trusted root that names this log only.
    pub fn trusted_root(&self) -> Value {
        let details = match self.version {
            Version::One => "PKIX_ECDSA_P256_SHA_256",
            Version::Two => "PKIX_ED25519",
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": format!("https://{}", self.name),
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(self.key.spki()),
                    "keyDetails": details,
                    "validFor": { "start": "2020-01-01T00:00:00Z" },
                },
                "logId": { "keyId": STANDARD.encode(self.id()) },
            }],
        })
    }

    /// The entry of a bundle that says: `body` is in the log, at this place.
    pub fn entry(&self, body: &Value, place: Place) -> Value {
        let canonical = body.to_string();
        let leaves: Vec<Hash> = (0..place.size)
            .map(|index| {
                let other = format!("entry {index}");
                hash(&[
                    &[0],
                    if index == place.index { canonical.as_bytes() } else { other.as_bytes() },
                ])
            })
            .collect();
        let path: Vec<_> =
            audit_path(&leaves, place.index).iter().map(|hash| STANDARD.encode(hash)).collect();
        let root = STANDARD.encode(tree_root(&leaves));
        // The first version has several trees, and counts entries over all of them.
        let (log_index, integrated) = match self.version {
            Version::One => (place.index + 1000, INTEGRATED),
            Version::Two => (place.index, 0),
        };
        let mut entry = json!({
            "logIndex": log_index.to_string(),
            "logId": { "keyId": STANDARD.encode(self.id()) },
            "kindVersion": { "kind": body["kind"], "version": body["apiVersion"] },
            "integratedTime": integrated.to_string(),
            "inclusionProof": {
                "logIndex": place.index.to_string(),
                "treeSize": place.size.to_string(),
                "rootHash": root,
                "hashes": path,
                "checkpoint": { "envelope": self.checkpoint(place.size, &root) },
            },
            "canonicalizedBody": STANDARD.encode(&canonical),
        });
        if self.version == Version::One {
            let promise = self.promise(&canonical, log_index);
            entry["inclusionPromise"] = json!({ "signedEntryTimestamp": promise });
        }
        entry
    }

    /// What cosign puts beside a `.sig` layer for such an entry.
    pub fn annotation(&self, body: &Value) -> Value {
        let canonical = body.to_string();
        json!({
            "SignedEntryTimestamp": self.promise(&canonical, 7),
            "Payload": {
                "body": STANDARD.encode(&canonical),
                "integratedTime": INTEGRATED,
                "logIndex": 7,
                "logID": hex(&self.id()),
            },
        })
    }

    fn checkpoint(&self, size: usize, root: &str) -> String {
        let tree = match self.version {
            Version::One => " - 1193050959916656506",
            Version::Two => "",
        };
        let text = format!("{}{tree}\n{size}\n{root}\n", self.name);
        let mut signature = self.id()[..4].to_vec();
        signature.extend(self.key.sign(text.as_bytes()));
        let signature = STANDARD.encode(signature);
        // cosign takes no witness on the first version's.
        let cosignature = match self.version {
            Version::One => String::new(),
            Version::Two => format!("\u{2014} witness.example {}\n", STANDARD.encode([7; 76])),
        };
        format!("{text}\n\u{2014} {} {signature}\n{cosignature}", self.name)
    }

    fn promise(&self, canonical: &str, log_index: usize) -> String {
        let signed = json!({
            "body": STANDARD.encode(canonical),
            "integratedTime": INTEGRATED,
            "logID": hex(&self.id()),
            "logIndex": log_index,
        });
        STANDARD.encode(self.key.sign(signed.to_string().as_bytes()))
    }

    fn id(&self) -> Hash {
        match self.version {
            Version::One => hash(&[self.key.spki()]),
            // The key itself is the end of its SubjectPublicKeyInfo.
            Version::Two => {
                let (_, key) = self.key.spki().split_last_chunk::<32>().unwrap();
                hash(&[self.name.as_bytes(), b"\n\x01", key])
            }
        }
    }
}

/// A `hashedrekord` 0.0.1: `key` made `signature` over `message`.
pub fn hashedrekord_1(key: &Key, message: &[u8], signature: &[u8]) -> Value {
    json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": sha256(message) } },
            "signature": {
                "content": STANDARD.encode(signature),
                "publicKey": { "content": STANDARD.encode(key.public_pem()) },
            },
        },
    })
}

/// The same as a `hashedrekord` 0.0.2, for a P-256 key.
pub fn hashedrekord_2(key: &Key, message: &[u8], signature: &[u8]) -> Value {
    let hashed = digest(&SHA256, message);
    json!({
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": { "hashedRekordV002": {
            "data": { "algorithm": "SHA2_256", "digest": STANDARD.encode(hashed) },
            "signature": {
                "content": STANDARD.encode(signature),
                "verifier": {
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "publicKey": { "rawBytes": STANDARD.encode(key.spki()) },
                },
            },
        } },
    })
}

/// A `dsse` 0.0.1: `key` made `signature` over an envelope that holds `payload`.
pub fn dsse_1(key: &Key, payload: &[u8], signature: &[u8]) -> Value {
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": sha256(b"an envelope") },
            "payloadHash": { "algorithm": "sha256", "value": sha256(payload) },
            "signatures": [{
                "signature": STANDARD.encode(signature),
                "verifier": STANDARD.encode(key.public_pem()),
            }],
        },
    })
}

/// What a DSSE signature is over: the pre-authentication encoding of a payload and its type.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {payload_type} ", payload_type.len()).into_bytes();
    encoded.extend(format!("{} ", payload.len()).into_bytes());
    encoded.extend(payload);
    encoded
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn hash(parts: &[&[u8]]) -> Hash {
    digest(&SHA256, &parts.concat()).as_ref().try_into().unwrap()
}

/// RFC 6962, 2.1.
fn tree_root(leaves: &[Hash]) -> Hash {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    hash(&[&[1], &tree_root(left), &tree_root(right)])
}

/// RFC 6962, 2.1.1.
fn audit_path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let middle = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(middle);
    let (mut path, sibling) = if index < middle {
        (audit_path(left, index), tree_root(right))
    } else {
        (audit_path(right, index - middle), tree_root(left))
    };
    path.push(sibling);
    path
}
