//! `civ policy`: preparing trust policies.

use clap::Subcommand;

use self::convert::Convert;
use self::decode::Decode;
use self::digests::Digests;
use self::encode::Encode;
use self::explain::Explain;
use self::lint::Lint;
use self::pin::Pin;
use self::schema::Schema;
use super::{aside, until_stopped};
use crate::failure::{Exit, Failure};

mod convert;
mod decode;
mod digests;
mod document;
mod encode;
mod explain;
mod kind;
mod lint;
mod pin;
mod place;
mod schema;

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

    /// Convert another tool's policy to one of cosign-image-verifier.
    ///
    /// The result never accepts an image that the source refuses. What does not map is named on stderr
    /// and, unless --allow-partial is given, there is no result then.
    #[command(after_help = "Examples:
  civ policy convert cluster-image-policy.yaml > trustpolicy.json
  civ policy convert /etc/containers/policy.json --from containers-policy --allow-partial")]
    Convert(Convert),
    /// Read trust policies from Bottlerocket's settings, byte for byte.
    ///
    /// Takes base64, the output of apiclient get, TOML user data, a node class of Karpenter or an
    /// apiclient set command.
    #[command(after_help = "Examples:
  apiclient get settings.image-verifier-plugins | civ policy decode --plugin cosign
  civ policy decode user-data.toml --directory policies")]
    Decode(Decode),
    /// Write trust policies as Bottlerocket's settings.
    ///
    /// A document that the plugin's verifier refuses is not written, unless --unchecked is given.
    #[command(after_help = "Examples:
  civ policy encode trustpolicy.json --plugin cosign --format user-data
  civ policy encode cosign=signed.json digestion=digests.json --format json | apiclient apply
  civ policy encode trustpolicy.json --plugin team-a --kind cosign --format apiclient")]
    Encode(Encode),
    /// Say what is wrong with trust policies, and what is probably not meant.
    ///
    /// Exit code 0 if nothing is worse than a warning, 3 if a verifier would refuse a document, and 1 on
    /// warnings with --strict.
    #[command(after_help = "Examples:
  civ policy lint trustpolicy.json
  civ policy lint cosign/trustpolicy.json annotations/trustpolicy.json --strict
  civ policy lint trustpolicy.json --kind notation --output json")]
    Lint(Lint),
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
    /// Print the JSON Schema (2020-12) of a verifier's trust policies.
    #[command(after_help = "Examples:
  civ policy schema cosign > cosign.schema.json")]
    Schema(Schema),
}

pub(super) fn run(verb: PolicyVerb) -> Result<Exit, Failure> {
    match verb {
        PolicyVerb::Explain(args) => until_stopped(explain::run(args), None),
        PolicyVerb::Digests(args) => until_stopped(digests::run(args), None),
        PolicyVerb::Convert(args) => until_stopped(aside(move || convert::run(&args)), None),
        PolicyVerb::Decode(args) => until_stopped(aside(move || decode::run(&args)), None),
        PolicyVerb::Encode(args) => until_stopped(aside(move || encode::run(&args)), None),
        PolicyVerb::Lint(args) => until_stopped(aside(move || lint::run(&args)), None),
        PolicyVerb::Pin(args) => until_stopped(pin::run(args), None),
        PolicyVerb::Schema(args) => until_stopped(aside(move || schema::run(&args)), None),
    }
}
