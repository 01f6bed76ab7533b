//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use civ_oci::Reference;
use civ_promotion::{Format, Formats, annotations};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::demo::Demo;
use crate::failure::Failure;
use crate::output::Format as OutputForm;
use crate::verb::clean::Clean;
use crate::verb::doctor::Doctor;
use crate::verb::log::Log;
use crate::verb::policy::PolicyVerb;
use crate::verb::tree::Tree;
use crate::verb::triangulate::Triangulate;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; for verify: allowed
  1    no: the image is refused, the gate is not shut, there is no evidence
  2    the command line makes no sense
  3    the policy, the key, or another file, the output included, cannot be used
  4    a registry, AWS KMS or the network failed; the same command may succeed later
  70   a defect of civ
  130  stopped by Ctrl-C (SIGINT); the same command goes on from there
  129, 143  the same, by SIGHUP and by SIGTERM
  141  nobody reads the output

Credentials for registries are those of the docker configuration (docker login);
those for AWS KMS come from the environment, as for every AWS program.
The password of an encrypted key file is that of COSIGN_PASSWORD, or else is asked for.";

/// The command line as the user sees it: each verb's long help ends with the exit codes, too.
pub(crate) fn command() -> clap::Command {
    fn complete(command: clap::Command) -> clap::Command {
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let command = command.after_long_help(format!("{examples}\n\n{EXIT_CODES}"));
        command.mut_subcommands(complete)
    }
    Cli::command().mut_subcommands(complete)
}

/// Promote, sign and verify container images.
#[derive(Debug, Parser)]
#[command(name = "civ", version, after_long_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What civ can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Copy an image to a registry, sign it there, and only then set its tag.
    ///
    /// The image is copied by digest, unchanged, with all its platforms; what is there already is
    /// not copied again. It is signed, the gate's own code checks the signature, and the tag is set
    /// last: whoever pulls the tag gets the old image or the new one with its signature. Stopped or
    /// failed at any point, the same command goes on from there.
    #[command(after_help = "Examples:
  civ promote ghcr.io/org/app:1.4 \\
    111111111111.dkr.ecr.eu-west-1.amazonaws.com/prod/app:1.4 \\
    --key awskms:///arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab
  civ promote registry.example/team/app:1.4 registry.example/prod/app:1.4 \
    --key release.pem -a e2e-tests-passed=True")]
    Promote(Promote),

    /// Sign an image where it is.
    ///
    /// An image that carries this very signature is left as it is. Others may sign it at the same
    /// time: nobody's signature is lost.
    #[command(after_help = "Examples:
  civ sign registry.example/prod/app@sha256:… --key awskms:///alias/release -a team=platform
  civ sign registry.example/prod/app:1.4 --key release.pem --format legacy")]
    Sign(Sign),

    /// Say what a node with a given trust policy decides about an image.
    ///
    /// The registry is asked with your credentials; nodes ask without any.
    #[command(after_help = "Example:
  civ verify registry.example/prod/app:1.4 --policy trustpolicy.json")]
    Verify(Verify),

    /// Print the public key of a signing key, as a trust policy takes it.
    #[command(after_help = "Example:
  civ public-key --key awskms:///alias/release > release.pub")]
    PublicKey(PublicKey),

    /// Prepare trust policies.
    #[command(
        subcommand,
        after_help = "Example:
  civ policy pin trustpolicy.json"
    )]
    Policy(PolicyVerb),

    /// Make signing keys.
    #[command(
        subcommand,
        after_help = "Example:
  civ key generate --output-key-prefix release"
    )]
    Key(KeyVerb),

    /// List what is attached to an image: signatures, attestations, bills of materials.
    ///
    /// Who may push may attach anything. What a signature says is marked as unverified unless one of
    /// the keys given, or of the policy, has made it. Whether a node would let the image pass, civ
    /// verify says.
    #[command(after_help = "Examples:
  civ tree registry.example/prod/app:1.4 --policy trustpolicy.json
  civ tree registry.example/prod/app:1.4 --key release.pub --recursive -o json")]
    Tree(Tree),

    /// Print the name under which cosign keeps what belongs to an image.
    #[command(after_help = "Example:
  civ triangulate registry.example/prod/app:1.4 --type signature")]
    Triangulate(Triangulate),

    /// Delete what is attached to an image, and never the image.
    ///
    /// Without --confirm it only says what would be deleted. What is listed as attached and is not
    /// (another image, for one) is left alone.
    #[command(after_help = "Examples:
  civ clean registry.example/prod/app:1.4
  civ clean registry.example/prod/app:1.4 --type signature --confirm")]
    Clean(Clean),

    /// Sum up what the verifiers of a node wrote to the system log.
    ///
    /// Each verdict is one line of JSON there. This says, by policy and statement, what was allowed,
    /// what was refused, and what level audit let pass that level strict would have refused: the
    /// evidence for going from the one to the other. Without FILE the systemd journal is read.
    #[command(after_help = "Examples:
  civ log --since 7d
  civ log --policy trustpolicy.json --check && echo ready for strict
  ssh node journalctl -o json | civ log - -o json")]
    Log(Log),

    /// Say whether the gate of this node is shut: containerd's settings, the verifiers, their policies.
    ///
    /// Run it on the node, as root. Nothing is changed and nothing of the node is executed; --probe
    /// pulls an image through containerd, as kubelet does. Exit code 0: the gate is shut, every pull
    /// is verified. 1: it is open, or blocks what should pass; each failure says where and how to mend
    /// it.
    #[command(after_help = "Examples:
  civ doctor
  civ doctor --probe docker.io/library/busybox:latest --probe-allowed registry.example/prod/app:1.4
  civ doctor --root /.bottlerocket/rootfs --output json")]
    Doctor(Doctor),

    Demo(Demo),

    /// Print completions for a shell.
    #[command(after_help = "Example:
  civ completions bash > /etc/bash_completion.d/civ")]
    Completions {
        /// The shell.
        shell: Shell,
    },

    /// Print the manual page, or write all manual pages into a directory.
    #[command(after_help = "Example:
  civ man /usr/local/share/man/man1")]
    Man {
        /// The directory.
        #[arg(value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
}

/// Arguments of `promote`.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The image, by tag or digest.
    #[arg(value_name = "SRC")]
    pub(crate) source: Reference,
    /// Where it goes: a repository and a tag.
    #[arg(value_name = "DST")]
    pub(crate) destination: Reference,
    #[command(flatten)]
    pub(crate) signing: Signing,
    /// Blobs copied at a time, at most 16; each takes about 0.7 MB of memory.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) jobs: u8,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The image, by tag or digest.
    #[arg(value_name = "REF")]
    pub(crate) image: Reference,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// What all that sign have in common.
#[derive(Debug, Args)]
pub(crate) struct Signing {
    /// The signing key: awskms://… or a private key in a PEM file, cosign's included.
    #[arg(long, value_name = "KEY", value_hint = ValueHint::FilePath)]
    pub(crate) key: String,
    /// Say this in the signature as well. May be repeated.
    #[arg(short, long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// The forms of signature: legacy is the image under the tag sha256-….sig, bundle is what cosign
    /// 3 writes. May be repeated; by default both.
    #[arg(long = "format", value_name = "FORMAT", value_enum, value_delimiter = ',')]
    formats: Vec<SignatureFormat>,
    /// Sign what an index is made of as well, for those who pull it by digest.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Show what would be done, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = OutputForm::Text)]
    pub(crate) output: OutputForm,
}

/// A form of signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignatureFormat {
    /// A layer of the image under the tag sha256-….sig: cosign 1 to 3, podman, policy controllers.
    Legacy,
    /// A bundle that refers to the image: cosign 3.
    Bundle,
}

impl Signing {
    /// The forms of signature.
    pub(crate) fn formats(&self) -> Formats {
        let asked = |format| self.formats.contains(&format);
        match (asked(SignatureFormat::Legacy), asked(SignatureFormat::Bundle)) {
            (true, false) => Formats::Only(Format::Legacy),
            (false, true) => Formats::Only(Format::Bundle),
            (true, true) | (false, false) => Formats::Both,
        }
    }

    /// The annotations, read.
    pub(crate) fn annotations(&self) -> Result<BTreeMap<String, String>, Failure> {
        annotations::parse(&self.annotations).map_err(Failure::usage)
    }
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The image, by tag or digest.
    #[arg(value_name = "REF")]
    pub(crate) image: Reference,
    /// The trust policy of cosign-image-verifier.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: PathBuf,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = OutputForm::Text)]
    pub(crate) output: OutputForm,
}

/// Arguments of `public-key`.
#[derive(Debug, Args)]
pub(crate) struct PublicKey {
    /// The signing key: awskms://… or a private key in a PEM file, cosign's included.
    #[arg(long, value_name = "KEY", value_hint = ValueHint::FilePath)]
    pub(crate) key: String,
}

/// What civ does with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key pair: an encrypted private key, and the public key that a trust policy takes.
    ///
    /// The files are those of cosign: PREFIX.key, which cosign and civ sign with, and PREFIX.pub.
    /// Files that are there are never overwritten.
    #[command(after_help = "\
The password is that of COSIGN_PASSWORD, or else is asked for, twice.

Examples:
  civ key generate --output-key-prefix release
  civ sign registry.example/prod/app:1.4 --key release.key")]
    Generate(GenerateKey),
}

/// Arguments of `key generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateKey {
    /// The path of the two files, less .key and .pub.
    #[arg(
        long = "output-key-prefix",
        value_name = "PREFIX",
        default_value = "cosign",
        value_hint = ValueHint::FilePath
    )]
    pub(crate) prefix: PathBuf,
    /// The kind of key.
    #[arg(long, value_enum, default_value_t = KeyKind::EcdsaP256)]
    pub(crate) kind: KeyKind,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// What cosign makes and every verifier takes.
    EcdsaP256,
    /// ECDSA over P-384.
    EcdsaP384,
    /// ECDSA over P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA of 4096 bits.
    #[value(name = "rsa-4096")]
    Rsa4096,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example() {
        fn check(command: &clap::Command) {
            for verb in command.get_subcommands() {
                let help = verb.clone().render_help().to_string();
                assert!(help.contains("Example"), "{}", verb.get_name());
                check(verb);
            }
        }
        check(&command());
    }
}
