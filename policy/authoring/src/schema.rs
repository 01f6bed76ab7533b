//! The JSON Schema (2020-12) of each document, for editors and for checks before a document is made.
//!
//! A schema says what a document's members are and of what form. What it cannot say, the verifier
//! checks all the same: that names and scopes are unique, that a scope is one, that a key can be used.

use crate::Kind;

/// The schema of the documents of `kind`, as text that ends in a newline.
pub fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::Annotations => include_str!("../schemas/annotations.json"),
        Kind::Cosign => include_str!("../schemas/cosign.json"),
        Kind::Digestion => include_str!("../schemas/digestion.json"),
        Kind::Notation => include_str!("../schemas/notation.json"),
    }
}
