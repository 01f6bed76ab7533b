//! Which names of images a pull brings: the name pulled, and the same repository by digest.

use std::fmt;
use std::str::FromStr;

use civ_oci::Reference;
use civ_oci::reference::ReferenceError;

/// The tag of a name that has neither tag nor digest.
const LATEST: &str = "latest";

/// The name of a probe's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(Reference);

impl FromStr for Name {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let mut reference: Reference = text.parse()?;
        // As containerd names images: a digest makes a tag meaningless.
        if reference.digest.is_some() {
            reference.tag = None;
        } else if reference.tag.is_none() {
            reference.tag = Some(LATEST.parse()?);
        }
        Ok(Self(reference))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Name {
    /// Is `other` the same name, perhaps in another spelling?
    pub(super) fn is(&self, other: &str) -> bool {
        other.parse().is_ok_and(|other: Self| other == *self)
    }

    /// Does pulling this give the image the name `other`?
    pub(super) fn brings(&self, other: &str) -> bool {
        let by_digest = |other: &Reference| {
            other.digest.is_some() && other.tag.is_none() && other.repository == self.0.repository
        };
        self.is(other) || other.parse().is_ok_and(|other| by_digest(&other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_every_spelling() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert!(name("busybox").is("docker.io/library/busybox:latest"));
        assert!(name("r.io:443/a:1").is("R.io/a:1"));
        assert!(!name("r.io/a:1").is("r.io/a:2"));
        assert!(name(&format!("r.io/a:1@{digest}")).is(&format!("r.io/a@{digest}")));
        assert!(name("r.io/a:1").brings(&format!("r.io/a@{digest}")));
        assert!(!name("r.io/a:1").brings(&format!("r.io/b@{digest}")));
        assert!(!name("r.io/a:1").brings("r.io/a:prod"));
        assert!(!name("r.io/a:1").brings(&digest));
    }
}
