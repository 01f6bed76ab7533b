//! Why a pull may go on. A verdict of "allow" is made from one of these values and from nothing
//! else; each is constructed by the code that did the check, about the image it checked.

use std::fmt;

use civ_oci::ImageId;

/// Proof that an image passed what the policy asks of it. The text is the reason shown to operators.
pub trait Evidence: fmt::Display {
    /// The image that was checked.
    fn image(&self) -> &ImageId;
}

/// The policy says that images of this repository are not checked.
///
/// Made only by a policy whose statement for the repository has level `skip`.
#[derive(Clone, Debug)]
pub struct Exempt {
    image: ImageId,
    statement: String,
}

impl Exempt {
    pub(crate) fn new(image: &ImageId, statement: &str) -> Self {
        Self { image: image.clone(), statement: statement.to_owned() }
    }
}

impl Evidence for Exempt {
    fn image(&self) -> &ImageId {
        &self.image
    }
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not checked: statement {:?} skips {}", self.statement, self.image.repository)
    }
}
