/*! *cosign-image-verifier*: has a trusted key signed this image?

One pull, in order: the request, the policy, the statement for its repository, the signatures, the
verdict on them. */

use std::fmt::Display;
use std::process::ExitCode;

use civ_aws::{Environment, KmsError, Lookup, Options as KmsOptions, PublicKeys, environment};
use civ_bindir::{Record, Refusal, Request, Verdict, Verifier, answer};
use civ_cosign::{
    KeyProblem, StoredSignatures, Trust, TrustPolicy, UnresolvedKey, VerifiedImage, VerifyError,
    verify_signatures,
};
use civ_policy::{Evidence, KmsCache};
use civ_registry::{Client, Error as RegistryError, client::Options};

const COSIGN: Verifier = Verifier {
    name: "cosign-image-verifier",
    version: env!("CARGO_PKG_VERSION"),
    about: "Allows a pull if the image is signed as its trust policy asks (cosign, AWS KMS).",
    resolves_names: true,
    keeps: &environment::VARIABLES,
};

/// One suffices for an image that civ signed. This is for eight bundles that a registry keeps
/// elsewhere, at three each, after what is looked at before them.
const REQUESTS_MAX: u32 = 32;

fn main() -> ExitCode {
    answer(COSIGN, decide)
}

fn decide(request: &Request, record: &Record) -> Result<Verdict, Refusal> {
    let policy = request.load_policy(TrustPolicy::parse, record)?;
    let trust = policy.trust_for(&request.image).map_err(Refusal::by_policy)?;
    record.set("statement", &trust.statement.name);
    record.step("statement", &[("level", &trust.statement.level)]);
    let outcome: Result<Box<dyn Evidence>, Refusal> = match trust.statement.exempt(&request.image) {
        Some(exempt) => Ok(Box::new(exempt)),
        None => match verify(trust, policy.kms_cache(), request, record) {
            Ok(verified) => Ok(Box::new(verified)),
            Err(refusal) => Err(refusal),
        },
    };
    Verdict::at_level(trust.statement.level, request, outcome)
}

fn verify(
    trust: Trust<'_>,
    cache: KmsCache,
    request: &Request,
    record: &Record,
) -> Result<VerifiedImage, Refusal> {
    let environment = Environment::of(std::env::vars_os());
    let note = |found: &Lookup<'_>| note_key(found, record);
    let kms = PublicKeys::new(KmsOptions::until(request.deadline, environment, cache), &note);
    let resolved = trust.resolve(&kms).map_err(Refusal::bad_policy)?;
    record.step("keys", &[("policy", &trust.keys.len()), ("usable", &resolved.trust().keys.len())]);
    if kms.requests() > 0 {
        record.set("aws_requests", &kms.requests());
    }
    for key in &resolved.unresolved {
        record.step("key", &[("from", &"nowhere"), ("problem", key)]);
    }
    if let Some(key) = resolved.too_few() {
        return Err(unknown_key(key, key));
    }
    // Without a key, what is missing may be what that key has signed: say so first.
    verify_with(resolved.trust(), request, record).map_err(|error| match &resolved.unresolved[..] {
        [] => refusal(&error),
        [key, ..] => unknown_key(key, &format_args!("{key}; with the other keys: {error}")),
    })
}

/// A key that cannot be had for now, or one that can never be what the policy takes it for.
fn unknown_key(key: &UnresolvedKey<KmsError>, reason: &dyn Display) -> Refusal {
    match &key.problem {
        KeyProblem::Source(error) if !error.is_about_key() => Refusal::registry(reason),
        KeyProblem::Source(_) | KeyProblem::Key(_) => Refusal::bad_policy(reason),
    }
}

fn verify_with(
    trust: Trust<'_>,
    request: &Request,
    record: &Record,
) -> Result<VerifiedImage, VerifyError<RegistryError>> {
    let repository = trust.signature_repository(&request.image);
    let mut options = Options::until(request.deadline);
    options.limits.requests = REQUESTS_MAX;
    let registry = Client::new(repository, options).map_err(VerifyError::Registry)?;
    let signatures = StoredSignatures::of(&request.image, repository, &registry);
    let outcome = verify_signatures(trust, &request.image, request.now, signatures);
    record.set("requests", &registry.requests());
    outcome
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
