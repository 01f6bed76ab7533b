//! `civ policy`: preparing trust policies.

use clap::Subcommand;

use self::pin::Pin;
use crate::failure::{Exit, Failure};

mod document;
mod pin;

/// What can be done with a trust policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Write the public keys of KMS keys into a trust policy, so that nodes ask AWS nothing.
    ///
    /// For each key with "kms" and without "publicKey", AWS KMS is asked with your credentials and
    /// "publicKey" is added. The rest of the file stays as it is, byte for byte; the file is replaced
    /// at once, and only by a policy that the gate accepts.
    #[command(after_help = "Examples:
  civ policy pin trustpolicy.json
  civ policy pin trustpolicy.json --refresh --dry-run")]
    Pin(Pin),
}

pub(super) fn run(verb: PolicyVerb) -> Result<Exit, Failure> {
    match verb {
        PolicyVerb::Pin(args) => super::until_stopped(pin::run(args), None),
    }
}
