//! The end-to-end harness: the programs an operator really runs, each started privately.
//!
//! What civ promises is a promise about other people's programs: that containerd refuses a pull,
//! that a signature of cosign's is accepted, that a KMS key verifies. So the tests run those
//! programs instead of imitations. Every server listens on a loopback port or socket of its own and
//! dies with its value, so that tests run side by side and leave the machine as it was.
//!
//! `tests/programs` fetches the programs; a test that cannot find one fails and says so.
//!
//! | module | what it is |
//! |---|---|
//! | [`containerd`], [`docker_registry`], [`kms`], [`cosign`] | the real programs, and AWS as moto imitates it |
//! | [`civ`], [`gate`] | ours: the command line; the verifiers, called as containerd calls them |
//! | [`programs`], `daemon`, [`scratch`] | how programs are found, run and ended; where a test writes |
//! | [`elsewhere`], [`http_server`] | other system directories; a server that says what a test wants |
//! | [`https`] | a registry behind TLS, and certificate authorities |
//! | [`demo`] | `civ demo` as a process that is watched and stopped |
//! | [`image`], [`signing`], [`bundling`], [`transparency_log`] | images, and signers and attackers in each format, written out by hand |
//! | [`stage`] | one image in a registry in this process, and the gate asked about it as executable and as library |
//! | [`workshop`] | civ and cosign beside a registry and a KMS, and every kind of key that they share |
//!
//! What shows what, in `tests/tests` (`*`: needs the real programs):
//!
//! | file | what it shows |
//! |---|---|
//! | `containerd` * | what a node does with a pull: by ctr and by CRI, allowed, refused, eight at once |
//! | `promotion` *, `interop` *, `keys` * | what civ signs, cosign verifies, and the reverse; their key files |
//! | `operator` * | what goes wrong for whoever promotes: permissions, restarts, lost blobs, signals |
//! | `demo`, `demo_containerd` * | `civ demo`, with verifiers that must fail it, in odd places, stopped at any time |
//! | `doctor` *, `doctor_network` *, `containerd_config` * | what `civ doctor` finds, and reads as containerd does |
//! | `transparency` * | log entries, as cosign and civ judge them |
//! | `kms_on_node` *, `aws_credentials` | public keys that the node asks a KMS for, and with whose credentials |
//! | `call`, `policy_file`, `record` | the verifiers' contract: argv, stdin, exit codes; the policy's file; the log |
//! | `signatures`, `mutation` | the cosign verifier against an attacker who has the registry |
//! | `annotations`, `digestion`, `explain` | the other verifiers; `civ policy explain` beside them |
//! | `registry_faults` | registries that are down, slow, endless or lie |
//! | `https`, `https_containerd` *, `loopback` | registries behind TLS, and those on this machine |
//! | `dependencies` | what must not depend on what |
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness that cannot do its work fails the test, by a panic that says what to do"
)]

pub mod bundling;
pub mod civ;
pub mod containerd;
pub mod cosign;
mod daemon;
pub mod demo;
pub mod docker_registry;
pub mod elsewhere;
pub mod gate;
pub mod http_server;
pub mod https;
pub mod image;
pub mod kms;
pub mod programs;
pub mod scratch;
pub mod signing;
pub mod stage;
pub mod transparency_log;
pub mod workshop;
