//! Everything that cosign and civ can both sign, verified by the other: both formats, every kind of
//! key that KMS and cosign share, in files and in a KMS over HTTP, images with and without
//! annotations and whole indexes, in a registry that lists referrers and in one that does not.
//!
//! Each test walks one direction in one registry and prints its matrix (`--nocapture`). Where cosign
//! itself cannot without help, the cell says so, and the test knows which cells these are.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fmt::Write as _;

use civ_embedded_registry::Registry;
use civ_tests::cosign::{Format, Signing};
use civ_tests::docker_registry::DockerRegistry;
use civ_tests::image::Pushed;
use civ_tests::workshop::{KEYS, Key, TESTED, Workshop};

/// What cosign has to be told about keys whose digest is not SHA-256, if they come from a file.
const TOLD: &str = "told the digest";

const FORMATS: [Format; 2] = [Format::Tag, Format::Bundle];

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    Annotated,
    RecursiveIndex,
}

const SHAPES: [Shape; 3] = [Shape::Plain, Shape::Annotated, Shape::RecursiveIndex];

/// Signs with one program and verifies with the other, in every way.
fn walk(registry: &str, cell: impl Fn(&Workshop, Format, &Key, Shape) -> &'static str) {
    let workshop = Workshop::open(registry);
    let keys = workshop.keys();
    let (mut matrix, mut cells) = (String::new(), 0);
    for format in FORMATS {
        for key in &keys {
            let mut line = format!("{:<7} {:<13}", format!("{format:?}"), key.name);
            for shape in SHAPES {
                let outcome = cell(&workshop, format, key, shape);
                write!(line, " {shape:?}: {outcome:<16}").unwrap();
                cells += 1;
            }
            matrix.push_str(line.trim_end());
            matrix.push('\n');
        }
    }
    println!("{matrix}");
    assert_eq!(cells, FORMATS.len() * KEYS * SHAPES.len());
}

fn push(workshop: &Workshop, format: Format, key: &Key, shape: Shape) -> Pushed {
    let repository = format!("{format:?}/{}/{shape:?}", key.name).to_lowercase();
    match shape {
        Shape::RecursiveIndex => workshop.push_index(&repository),
        _ => workshop.push(&repository),
    }
}

/// Asks the gate about every image that was signed.
fn assert_signed(workshop: &Workshop, key: &Key, pushed: &Pushed, shape: Shape) {
    for digest in [&pushed.digest].into_iter().chain(&pushed.children) {
        workshop.assert_signed(key, &pushed.repository, digest, shape == Shape::Annotated);
    }
}

/// cosign signs, the gate verifies.
fn cosign_to_gate(registry: &str) {
    walk(registry, |workshop, format, key, shape| {
        let pushed = push(workshop, format, key, shape);
        let annotations: &[&str] = if shape == Shape::Annotated { &[TESTED] } else { &[] };
        let recursive = shape == Shape::RecursiveIndex;
        let signing = Signing { format, annotations, recursive };
        workshop.cosign.sign(&key.cosign, &pushed.by_digest(), signing);
        assert_signed(workshop, key, &pushed, shape);
        "allowed"
    });
}

/// civ signs, cosign verifies, and so does the gate.
fn civ_to_cosign(registry: &str) {
    walk(registry, |workshop, format, key, shape| {
        let pushed = push(workshop, format, key, shape);
        let by_digest = pushed.by_digest();
        let name = if format == Format::Tag { "legacy" } else { "bundle" };
        let mut arguments = vec!["sign", &by_digest, "--key", &key.civ, "--format", name];
        let annotations: &[&str] = if shape == Shape::Annotated { &[TESTED] } else { &[] };
        arguments.extend(annotations.iter().flat_map(|annotation| ["-a", annotation]));
        if shape == Shape::RecursiveIndex {
            arguments.push("--recursive");
        }
        workshop.civ.run(arguments).expect_success(&key.name);
        assert_signed(workshop, key, &pushed, shape);
        // A KMS says which digest a key signs, a file does not.
        let (name, told) = match &key.uri {
            Some(uri) => (uri, None),
            None => (&key.public_file, key.digest),
        };
        for digest in [&pushed.digest].into_iter().chain(&pushed.children) {
            let image = format!("{}@{digest}", pushed.repository);
            let untold = workshop.cosign.verify(name, &image, annotations);
            assert_eq!(untold.success(), told.is_none(), "{} {format:?}: {untold:?}", key.name);
            if told.is_some() {
                let verified = workshop.cosign.verify_told(name, told, &image, annotations);
                verified.expect_success(&key.name);
            }
        }
        if told.is_some() { TOLD } else { "verified" }
    });
}

#[test]
fn the_gate_allows_what_cosign_signs_where_referrers_are_listed() {
    cosign_to_gate(&Registry::start().unwrap().host());
}

#[test]
fn the_gate_allows_what_cosign_signs_where_referrers_are_not_listed() {
    cosign_to_gate(DockerRegistry::start().address());
}

#[test]
fn cosign_verifies_what_civ_signs_where_referrers_are_listed() {
    civ_to_cosign(&Registry::start().unwrap().host());
}

#[test]
fn cosign_verifies_what_civ_signs_where_referrers_are_not_listed() {
    civ_to_cosign(DockerRegistry::start().address());
}
