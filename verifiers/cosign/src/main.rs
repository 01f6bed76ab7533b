/*! *cosign-image-verifier*: has a trusted key signed this image?

One pull, in order: the request, the policy, the statement for its repository, the signatures, the
verdict on them. */

use std::process::ExitCode;

use civ_aws::{Environment, Lookup, Options as KmsOptions, PublicKeys, environment};
use civ_bindir::{Record, Request, Verifier, answer};
use civ_cosign::{
    REQUESTS_MAX, StoredSignatures, Trust, TrustPolicy, VerifiedImage, VerifyError,
    verify_signatures,
};
use civ_policy::{Observer as _, Refusal, Verdict};
use civ_registry::{Client, Error as RegistryError, client::Options};

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
    let note = |found: &Lookup<'_>| note_key(found, record);
    let mut options = KmsOptions::until(request.deadline, environment, policy.kms_cache());
    options.counter = record.counter("aws_requests");
    let kms = PublicKeys::new(options, &note);
    let verify =
        |trust: Trust<'_>| verify_with(trust, request, record).map_err(|error| refusal(&error));
    civ_cosign::decide(&policy, &request.image, &kms, record, verify)
}

fn verify_with(
    trust: Trust<'_>,
    request: &Request,
    record: &Record,
) -> Result<VerifiedImage, VerifyError<RegistryError>> {
    let repository = trust.signature_repository(&request.image);
    let mut options = Options::until(request.deadline);
    options.limits.requests = REQUESTS_MAX;
    options.counter = record.counter("requests");
    let registry = Client::new(repository, options).map_err(VerifyError::Registry)?;
    let signatures = StoredSignatures::of(&request.image, repository, &registry);
    verify_signatures(trust, &request.image, request.now, signatures)
}

/// Where a key that is not in the policy came from, and what went wrong on the way.
fn note_key(found: &Lookup<'_>, record: &Record) {
    let age = found.age.as_secs();
    let mut details: Vec<(_, &dyn ToString)> =
        vec![("kms", found.key), ("from", &found.origin), ("age_s", &age)];
    if let Some(problem) = &found.cache_problem {
        details.push(("cache", problem));
    }
    if let Some(outage) = &found.outage {
        details.push(("outage", outage));
    }
    record.step("key", &details);
}

fn refusal(error: &VerifyError<RegistryError>) -> Refusal {
    match error {
        VerifyError::Registry(RegistryError::Deadline { .. }) => Refusal::deadline(error),
        VerifyError::Registry(_) => Refusal::registry(error),
        _ => Refusal::by_policy(error),
    }
}
