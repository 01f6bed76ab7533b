//! The images: real, the same every time, and pushable.

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture, LargeImage, SmallImage, SmallIndex};
use civ_oci::{Digest, Document, media_type};

/// The blobs and manifests of a repository.
fn content(registry: &Registry, repository: &str) -> (Vec<Digest>, Vec<Digest>) {
    (registry.blobs(repository), registry.manifests(repository))
}

#[test]
fn fixtures_are_the_same_every_time() {
    let image =
        SmallImage::new("pinned", "linux/amd64").annotation("owner", "team").label("a", "b");
    let index = SmallIndex::new("pinned").annotation("owner", "team");
    let large = LargeImage::new("pinned", 2, 100_000);
    for (digest, hex) in [
        (image.digest(), "25ae867cf99ee947a034237e3a67279d6ab6e8650c19ab59c3faceec24eccccd"),
        (index.digest(), "bce9447384b898ddc31e47963fdd14217060065024b5d28c091056add94b63c6"),
        (large.digest(), "dbdda8d3240e1b7741aa6c4fe55d96349cd12e84e8921c305ca85d13363468fe"),
    ] {
        assert_eq!(digest.hex(), hex);
    }
    assert_ne!(
        SmallImage::new("a", "linux/amd64").digest(),
        SmallImage::new("b", "linux/amd64").digest()
    );
    assert_ne!(LargeImage::new("a", 1, 10).digest(), LargeImage::new("b", 1, 10).digest());
}

#[test]
fn fixtures_are_real_images() {
    let image =
        SmallImage::new("real", "linux/arm64/v8").annotation("owner", "team").label("k", "v");
    let Ok(Document::Manifest(manifest)) =
        Document::parse(&image.manifest(), media_type::OCI_MANIFEST)
    else {
        panic!("not a manifest")
    };
    assert_eq!(manifest.annotations["owner"], "team");
    assert_eq!(manifest.config.digest.check(&image.config()), Ok(()));
    assert_eq!(manifest.layers[0].digest.check(image.layer()), Ok(()));
    let config: serde_json::Value = serde_json::from_slice(&image.config()).unwrap();
    assert_eq!(config["variant"], "v8");
    assert_eq!(config["config"]["Labels"]["k"], "v");
    assert_eq!(config["rootfs"]["diff_ids"][0], Digest::sha256(image.layer()).to_string());

    let index = SmallIndex::new("real");
    let Ok(Document::Index(parsed)) = Document::parse(&index.index(), media_type::OCI_INDEX) else {
        panic!("not an index")
    };
    for (descriptor, child) in parsed.manifests.iter().zip(index.children()) {
        assert_eq!(descriptor.digest, child.digest());
        assert!(descriptor.platform.is_some());
    }
}

#[test]
fn layers_unpack_with_tar() {
    let layer = SmallImage::new("tar", "linux/amd64").layer().to_vec();
    let header = &layer[..512];
    let sum: u32 = header[..148].iter().chain(&header[156..]).map(|byte| u32::from(*byte)).sum();
    let stated = std::str::from_utf8(&header[148..154]).unwrap();
    assert_eq!(u32::from_str_radix(stated, 8).unwrap(), sum + 8 * 32);
    assert_eq!(&header[257..265], b"ustar\x0000");
    assert_eq!(layer.len() % 512, 0);
    assert!(layer[512..].starts_with(b"tar\nlinux/amd64\n\0"));
}

#[test]
fn large_layers_are_as_large_as_they_say() {
    let image = LargeImage::new("sizes", 3, 200_001);
    let blobs = image.blobs();
    assert_eq!(blobs.len(), 4);
    for blob in blobs {
        let mut written = Vec::new();
        blob.write_to(&mut written).unwrap();
        assert_eq!(written.len() as u64, blob.size());
        assert_eq!(blob.digest().check(&written), Ok(()));
        assert_eq!(blob.into_bytes(), written);
    }
}

#[test]
fn pushed_and_seeded_are_the_same() {
    let registry = Registry::start().unwrap();
    let absolute = Registry::builder().absolute_locations(true).start().unwrap();
    let fixtures: [(&str, Box<dyn Fixture>); 3] = [
        ("small", Box::new(SmallImage::new("push", "linux/amd64"))),
        ("index", Box::new(SmallIndex::new("push"))),
        ("large", Box::new(LargeImage::new("push", 2, 300_000))),
    ];
    for (name, fixture) in fixtures {
        let seeded = fixture.seed_into(&registry, name, "v1");
        let pushed = fixture.push(&absolute.host(), name, "v1").unwrap();
        assert_eq!(seeded, pushed);
        assert_eq!(content(&registry, name), content(&absolute, name));
        assert_eq!(registry.manifest(name, "v1"), absolute.manifest(name, "v1"));
        assert_eq!(registry.manifest(name, "v1").unwrap().digest, seeded);
    }
}

#[test]
fn a_refused_push_says_why() {
    let registry = Registry::builder().basic("user", "secret").start().unwrap();
    let image = SmallImage::new("refused", "linux/amd64");
    let error = image.push(&registry.host(), "app", "v1").unwrap_err().to_string();
    assert!(error.starts_with("POST /v2/app/blobs/uploads/: status 401"), "{error}");
}
