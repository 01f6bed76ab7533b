//! From a policy and an image to a verdict: the one way there. The verifier calls this on a node, and
//! the dispatcher where somebody asks beforehand what a node would say.

use civ_oci::{ImageId, RegistryRead, Repository};
use civ_policy::annotations::{Policy, Statement};
use civ_policy::{Evidence, Observer, Refusal, UtcTime, Verdict};

use crate::verify::{DescribedImage, VerifyError, verify_annotations};

/// Decides about `image`: finds the statement for its repository, and compares what the image says of
/// itself in the registry that `open` opens with it. `now` is what the clock says.
///
/// # Errors
/// The refusal, with the exit code that it has on a node.
pub fn decide<R: RegistryRead>(
    policy: &Policy,
    image: &ImageId,
    now: UtcTime,
    open: impl FnOnce(&Repository) -> Result<R, R::Error>,
    observer: &dyn Observer,
) -> Result<Verdict, Refusal> {
    let statement = policy.statement_for(image).map_err(Refusal::by_policy)?;
    observer.statement(&statement.name, statement.level);
    let outcome: Result<Box<dyn Evidence>, Refusal> = match statement.exempt(image) {
        Some(exempt) => Ok(Box::new(exempt)),
        None => fetch_and_verify(statement, image, now, open)
            .map(|described| Box::new(described) as _)
            .map_err(refusal::<R>),
    };
    Verdict::at_level(statement.level, image, outcome)
}

fn fetch_and_verify<R: RegistryRead>(
    statement: &Statement,
    image: &ImageId,
    now: UtcTime,
    open: impl FnOnce(&Repository) -> Result<R, R::Error>,
) -> Result<DescribedImage, VerifyError<R::Error>> {
    let registry = open(&image.repository).map_err(VerifyError::Registry)?;
    verify_annotations(statement, image, now, &registry)
}

fn refusal<R: RegistryRead>(error: VerifyError<R::Error>) -> Refusal {
    match &error {
        VerifyError::Registry(cause) if R::is_deadline(cause) => Refusal::deadline(error),
        VerifyError::Registry(cause) if R::is_out_of_requests(cause) => Refusal::by_policy(error),
        VerifyError::Registry(_) | VerifyError::NotStored { .. } => Refusal::registry(error),
        _ => Refusal::by_policy(error),
    }
}
