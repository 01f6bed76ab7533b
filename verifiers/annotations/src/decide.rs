//! From a policy and an image to a verdict. The verifier calls this on a node, and the dispatcher where
//! somebody asks beforehand what a node would say.

use civ_oci::ImageId;
use civ_policy::annotations::{Policy, Statement};
use civ_policy::{Evidence, Observer, Refusal, Verdict};

use crate::DescribedImage;

/// Decides about `image`: finds the statement for its repository, and has `verify` compare what the
/// image says of itself with it.
///
/// # Errors
/// The refusal, with the exit code that it has on a node.
pub fn decide(
    policy: &Policy,
    image: &ImageId,
    observer: &dyn Observer,
    verify: impl FnOnce(&Statement) -> Result<DescribedImage, Refusal>,
) -> Result<Verdict, Refusal> {
    let statement = policy.statement_for(image).map_err(Refusal::by_policy)?;
    observer.set("statement", &statement.name);
    observer.set("level", &statement.level);
    observer.step("statement", &[("name", &statement.name), ("level", &statement.level)]);
    let outcome: Result<Box<dyn Evidence>, Refusal> = match statement.exempt(image) {
        Some(exempt) => Ok(Box::new(exempt)),
        None => match verify(statement) {
            Ok(described) => Ok(Box::new(described)),
            Err(refusal) => Err(refusal),
        },
    };
    Verdict::at_level(statement.level, image, outcome)
}
