//! The end-to-end harness: the programs an operator really runs, each started privately.
//!
//! What civ promises is a promise about other people's programs: that containerd refuses a pull,
//! that a signature of cosign's is accepted, that a KMS key verifies. So the tests run those
//! programs instead of imitations. Every server listens on a loopback port or socket of its own and
//! dies with its value, so that tests run side by side and leave the machine as it was.
//!
//! `tests/programs` fetches the programs; a test that cannot find one fails and says so.
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
pub mod image;
pub mod kms;
pub mod programs;
pub mod scratch;
pub mod signing;
pub mod stage;
pub mod transparency_log;
pub mod workshop;
