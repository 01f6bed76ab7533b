//! Which verifier a file is for: what the user says, or else the directory that it is in, as on a node,
//! or else what it looks like.

use std::ffi::OsStr;
use std::path::Path;

use civ_authoring::Kind;
use civ_oci::strict_json;
use clap::ValueEnum;

use crate::failure::Failure;
use crate::verb::bad_policy;

/// A verifier of civ's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum KindArgument {
    /// annotations-image-verifier.
    Annotations,
    /// cosign-image-verifier.
    Cosign,
    /// digestion-image-verifier.
    Digestion,
    /// notation-image-verifier.
    Notation,
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Annotations => Self::Annotations,
            KindArgument::Cosign => Self::Cosign,
            KindArgument::Digestion => Self::Digestion,
            KindArgument::Notation => Self::Notation,
        }
    }
}

/// The verifier that the file at `path` is for.
pub(super) fn of_file(
    said: Option<KindArgument>,
    path: &Path,
    bytes: &[u8],
) -> Result<Kind, Failure> {
    find(said, path, bytes).ok_or_else(|| match strict_json::check(bytes) {
        // What cannot be read says nothing.
        Err(error) => bad_policy(path, error),
        Ok(()) => bad_policy(path, "it could be for any verifier")
            .hint("say which with --kind, or put it into NAME/trustpolicy.json"),
    })
}

/// The same; `None` if it could be for any.
pub(super) fn find(said: Option<KindArgument>, path: &Path, bytes: &[u8]) -> Option<Kind> {
    said.map(Kind::from)
        .or_else(|| Kind::of_plugin(plugin_of(path)?))
        .or_else(|| Kind::of_document(bytes))
}

/// The plugin whose file this is, by its directory: `…/cosign/trustpolicy.json`.
pub(super) fn plugin_of(path: &Path) -> Option<&str> {
    let is_policy = path.file_name() == Some(OsStr::new("trustpolicy.json"));
    path.parent().filter(|_| is_policy)?.file_name()?.to_str()
}
