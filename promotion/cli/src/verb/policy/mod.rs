//! `civ policy`: preparing trust policies.

use clap::Subcommand;

use self::digests::Digests;
use self::explain::Explain;
use self::pin::Pin;
use crate::failure::{Exit, Failure};

mod digests;
mod document;
mod explain;
mod pin;

/// What can be done with a trust policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Say which statement of a trust policy speaks of an image, why, and what it asks for.
    ///
    /// With --live, also what a node would decide, and each step on the way. Fails as the verifier
    /// would: 1 refused, 3 the policy is not valid, 4 the registry failed.
    #[command(after_help = "Examples:
  civ policy explain registry.example/prod/app --policy trustpolicy.json
  civ policy explain registry.example/prod/app:1.4 --live --policy cosign.json --policy digestion.json")]
    Explain(Explain),

    /// Write the public keys of KMS keys into a trust policy, so that nodes ask AWS nothing.
    ///
    /// For each key with "kms" and without "publicKey", AWS KMS is asked with your credentials and
    /// "publicKey" is added. The rest of the file stays as it is, byte for byte; the file is replaced
    /// at once, and only by a policy that the gate accepts.
    #[command(after_help = "Examples:
  civ policy pin trustpolicy.json
  civ policy pin trustpolicy.json --refresh --dry-run")]
    Pin(Pin),

    /// Write the policy of digestion-image-verifier that trusts given images, on all platforms.
    ///
    /// The images are named here, or in files: a list with one on each line, a lock file of imgpkg,
    /// or Kubernetes manifests, rendered charts included. Registries are asked, with your
    /// credentials, for the digest of each image and of the platforms of each index. If one image
    /// cannot be had, nothing is written.
    #[command(after_help = "Examples:
  civ policy digests registry.example/prod/app:1.4 registry.example/prod/db:16 > trustpolicy.json
  helm template chart | civ policy digests --file - --scoped --output-file trustpolicy.json
  civ policy digests --file images.lock.yaml --flat")]
    Digests(Digests),
}

pub(super) fn run(verb: PolicyVerb) -> Result<Exit, Failure> {
    match verb {
        PolicyVerb::Explain(args) => super::until_stopped(explain::run(args), None),
        PolicyVerb::Digests(args) => digests::run(args),
        PolicyVerb::Pin(args) => super::until_stopped(pin::run(args), None),
    }
}
