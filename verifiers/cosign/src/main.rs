/*! *cosign-image-verifier*: has a trusted key signed this image?

One pull, in order: [`answer()`] makes a request of what containerd says; the policy is read; and
[`civ_cosign::decide()`] finds the statement for the repository, fetches the signatures and verifies
them. What each of these needs of the outside world is stated here and nowhere else. */

use std::process::ExitCode;

use civ_aws::{Environment, PublicKeys, environment};
use civ_bindir::{Record, Request, Verifier, answer};
use civ_cosign::{REQUESTS_MAX, TrustPolicy};
use civ_oci::Repository;
use civ_policy::{Refusal, Verdict};
use civ_registry::Client;

const COSIGN: Verifier = Verifier {
    name: "cosign-image-verifier",
    version: env!("CARGO_PKG_VERSION"),
    about: "Allows a pull if the image is signed as its trust policy asks (cosign, AWS KMS).",
    resolves_names: true,
    keeps: &environment::VARIABLES,
};

fn main() -> ExitCode {
    answer(COSIGN, decide)
}

fn decide(request: &Request, record: &Record) -> Result<Verdict, Refusal> {
    let policy = request.load_policy(TrustPolicy::parse, record)?;
    let environment = Environment::of(std::env::vars_os());
    let mut kms = civ_aws::Options::until(request.deadline, environment, policy.kms_cache());
    kms.counter = record.counter("aws_requests");
    let mut options = civ_registry::client::Options::until(request.deadline);
    options.limits.requests = REQUESTS_MAX;
    options.counter = record.counter("requests");
    let keys = PublicKeys::new(kms, record);
    let registry = |repository: &Repository| Client::new(repository, options);
    civ_cosign::decide(&policy, &request.image, request.now, &keys, registry, record)
}
