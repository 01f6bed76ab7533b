/*! *annotations-image-verifier*: does this image say of itself what the policy asks?

One pull, in order: [`answer()`] makes a request of what containerd says; the policy is read; and
[`civ_annotations::decide()`] finds the statement for the repository, fetches the image's own documents
and compares what they say. What this needs of the outside world is stated here. */

use std::process::ExitCode;

use civ_annotations::REQUESTS_MAX;
use civ_bindir::{Record, Request, Verifier, answer};
use civ_oci::Repository;
use civ_policy::annotations::Policy;
use civ_policy::{Refusal, Verdict};
use civ_registry::{Client, client::Options};

const ANNOTATIONS: Verifier = Verifier {
    name: "annotations-image-verifier",
    version: env!("CARGO_PKG_VERSION"),
    about: "Allows a pull if the image's annotations and labels are as its trust policy asks.",
    resolves_names: true,
    keeps: &[],
};

fn main() -> ExitCode {
    answer(ANNOTATIONS, decide)
}

fn decide(request: &Request, record: &Record) -> Result<Verdict, Refusal> {
    let policy = request.load_policy(Policy::parse, record)?;
    let mut options = Options::until(request.deadline);
    options.limits.requests = REQUESTS_MAX;
    options.counter = record.counter("requests");
    let registry = |repository: &Repository| Client::new(repository, options);
    civ_annotations::decide(&policy, &request.image, request.now, registry, record)
}
