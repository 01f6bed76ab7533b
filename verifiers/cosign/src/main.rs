/*! *cosign-image-verifier*: has a trusted key signed this image?

One pull, in order: the request, the policy, the statement for its repository, the signatures, the
verdict on them. */

use std::process::ExitCode;

use civ_bindir::{Record, Refusal, Request, Verdict, Verifier, answer};
use civ_cosign::{
    StoredSignatures, Trust, TrustPolicy, VerifiedImage, VerifyError, verify_signatures,
};
use civ_policy::Evidence;
use civ_registry::{Client, Error as RegistryError, client::Options};

const COSIGN: Verifier = Verifier {
    name: "cosign-image-verifier",
    version: env!("CARGO_PKG_VERSION"),
    about: "Allows a pull if the image is signed as its trust policy asks (cosign, AWS KMS).",
    resolves_names: true,
};

/// One for an image that civ signed. A threshold of keys whose bundles a registry keeps elsewhere
/// takes three for each.
const REQUESTS_MAX: u32 = 16;

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
        None => match verify(trust, request, record) {
            Ok(verified) => Ok(Box::new(verified)),
            Err(error) => Err(refusal(&error)),
        },
    };
    Verdict::at_level(trust.statement.level, request, outcome)
}

fn verify(
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

fn refusal(error: &VerifyError<RegistryError>) -> Refusal {
    match error {
        VerifyError::Registry(RegistryError::Deadline { .. }) => Refusal::deadline(error),
        VerifyError::Registry(_) => Refusal::registry(error),
        _ => Refusal::by_policy(error),
    }
}
