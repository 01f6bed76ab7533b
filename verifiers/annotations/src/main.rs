/*! *annotations-image-verifier*: does this image say of itself what the policy asks?

One pull, in order: the request, the policy, the statement for its repository, the image's own
documents, the verdict on them. */

use std::process::ExitCode;

use civ_annotations::{DescribedImage, REQUESTS_MAX, VerifyError, verify_annotations};
use civ_bindir::{Record, Request, Verifier, answer};
use civ_policy::annotations::{Policy, Statement};
use civ_policy::{Refusal, Verdict};
use civ_registry::{Client, Error as RegistryError, client::Options};

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
    civ_annotations::decide(&policy, &request.image, record, |statement| {
        verify(statement, request, record).map_err(|error| refusal(&error))
    })
}

fn verify(
    statement: &Statement,
    request: &Request,
    record: &Record,
) -> Result<DescribedImage, VerifyError<RegistryError>> {
    let mut options = Options::until(request.deadline);
    options.limits.requests = REQUESTS_MAX;
    options.counter = record.counter("requests");
    let registry =
        Client::new(&request.image.repository, options).map_err(VerifyError::Registry)?;
    verify_annotations(statement, &request.image, request.now, &registry)
}

fn refusal(error: &VerifyError<RegistryError>) -> Refusal {
    match error {
        VerifyError::Registry(RegistryError::Deadline { .. }) => Refusal::deadline(error),
        VerifyError::Registry(_) | VerifyError::NotStored { .. } => Refusal::registry(error),
        _ => Refusal::by_policy(error),
    }
}
