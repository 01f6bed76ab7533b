/*! *cosign-image-verifier*: has a trusted key signed this image?

One pull, in order: the request, the policy, the statement for its repository, the signatures, the
verdict on them. */

use std::process::ExitCode;

use civ_bindir::{Record, Refusal, Request, Verdict, Verifier, answer};
use civ_cosign::{
    Trust, TrustPolicy, VerifiedImage, VerifyError, find_signatures, verify_signatures,
};
use civ_policy::Evidence;
use civ_registry::{Client, Error as RegistryError, client::Options};

const COSIGN: Verifier = Verifier {
    name: "cosign-image-verifier",
    version: env!("CARGO_PKG_VERSION"),
    about: "Allows a pull if the image is signed as its trust policy asks (cosign, AWS KMS).",
    resolves_names: true,
};

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
    let options = Options::until(request.deadline);
    let registry = Client::new(trust.signature_repository(&request.image), options)
        .map_err(VerifyError::Registry)?;
    let outcome = find_signatures(trust, &request.image, &registry).and_then(|found| {
        let (count, left_out) = (found.signatures.len(), found.left_out);
        record.step("signatures", &[("found", &count), ("left_out", &left_out)]);
        verify_signatures(trust, &request.image, &found, &registry)
    });
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
