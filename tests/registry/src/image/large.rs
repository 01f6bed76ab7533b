//! Images as large as a bench wants them, made of numbers that look random, and made again each time
//! they are asked for rather than kept.

use std::collections::BTreeMap;
use std::io::{self, Write};

use civ_oci::digest::Hasher;
use civ_oci::{Algorithm, Descriptor, Digest, media_type};

use super::small::{config, manifest, parse_platform};
use super::{Blob, Content, Fixture, FixtureManifest, LAYER, tar};

/// How many bytes are made at a time.
const PIECE: usize = 64 << 10;

/// An image for linux/amd64 of several layers with one large file each, which does not compress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeImage {
    config: Vec<u8>,
    manifest: Vec<u8>,
    layers: Vec<RandomLayer>,
}

impl LargeImage {
    /// An image of `layers` layers with a file of `bytes` bytes each. It takes as long as hashing
    /// them takes.
    pub fn new(seed: &str, layers: usize, bytes: u64) -> Self {
        let layers: Vec<RandomLayer> =
            (0..layers).map(|n| RandomLayer::new(&format!("{seed}-{n}"), bytes)).collect();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest.clone()).collect();
        let descriptors: Vec<Descriptor> = layers
            .iter()
            .map(|layer| Descriptor {
                size: layer.size(),
                digest: layer.digest.clone(),
                ..Descriptor::of(LAYER, b"")
            })
            .collect();
        let config = config(&parse_platform("linux/amd64"), &diff_ids, &BTreeMap::new());
        let config_descriptor = Descriptor::of(media_type::OCI_CONFIG, &config);
        let manifest = manifest(&config_descriptor, &descriptors, &BTreeMap::new());
        Self { config, manifest, layers }
    }
}

impl Fixture for LargeImage {
    fn blobs(&self) -> Vec<Blob> {
        let config = Blob::new(self.config.clone());
        let layers = self.layers.iter().map(|layer| Blob(Content::Random(layer.clone())));
        std::iter::once(config).chain(layers).collect()
    }

    fn manifests(&self) -> Vec<FixtureManifest> {
        vec![FixtureManifest { media_type: media_type::OCI_MANIFEST, bytes: self.manifest.clone() }]
    }
}

/// A tar archive of one file of pseudo-random bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RandomLayer {
    seed: u64,
    file_size: u64,
    digest: Digest,
}

impl RandomLayer {
    fn new(seed: &str, file_size: u64) -> Self {
        let seed =
            seed.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| mix(hash ^ u64::from(byte)));
        let mut layer = Self { seed, file_size, digest: Digest::sha256(b"") };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        layer.pieces(|piece| hasher.update(piece));
        layer.digest = hasher.finish();
        layer
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(super) fn size(&self) -> u64 {
        512 + self.file_size + tar::padding(self.file_size) + tar::END.len() as u64
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or_default());
        self.pieces(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    pub(super) fn write_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        let mut outcome = Ok(());
        self.pieces(|piece| {
            if outcome.is_ok() {
                outcome = sink.write_all(piece);
            }
        });
        outcome
    }

    fn pieces(&self, mut take: impl FnMut(&[u8])) {
        take(&tar::header("civ-fixture", self.file_size));
        let mut state = self.seed;
        let mut piece = Vec::with_capacity(PIECE);
        let mut left = self.file_size;
        while left > 0 {
            piece.clear();
            while piece.len() < PIECE {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                piece.extend_from_slice(&mix(state).to_le_bytes());
            }
            piece.truncate(usize::try_from(left).unwrap_or(PIECE).min(PIECE));
            take(&piece);
            left -= piece.len() as u64;
        }
        let padding: Vec<u8> = (0..tar::padding(self.file_size)).map(|_| 0).collect();
        take(&padding);
        take(&tar::END);
    }
}

/// The output function of splitmix64.
fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
