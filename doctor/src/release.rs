//! What a release of containerd does by itself, whatever its configuration says.

use std::fmt;
use std::str::FromStr;

use crate::finding::{Code, Finding, Severity};

/// A release, as far as it matters: major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    minor: u32,
}

/// The version is not written as containerd writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version of containerd; write it as 2.1.4")]
pub struct NoRelease;

impl Release {
    /// Below 2.1, CRI never asks a verifier.
    const VERIFIES: Self = Self { major: 2, minor: 1 };
    /// From 2.3, CRI works without the plugin that calls verifiers.
    const OPTIONAL: Self = Self { major: 2, minor: 3 };

    /// Does CRI fail where the plugin that calls verifiers is disabled?
    pub fn needs_the_bindir_plugin(self) -> bool {
        self < Self::OPTIONAL
    }

    /// Does CRI ask verifiers at all?
    pub fn verifies(self) -> bool {
        self >= Self::VERIFIES
    }

    /// Does this release ask verifiers when kubelet pulls?
    pub fn judge(self, version: &str) -> Finding {
        if self.verifies() {
            let fact = format_args!("containerd {version}");
            return Finding::new(Severity::Ok, Code::ContainerdVersion, fact);
        }
        let fact = format_args!(
            "containerd {version}: CRI of releases before 2.1 asks no verifier, whatever the configuration says"
        );
        Finding::new(Severity::Failure, Code::ContainerdVersion, fact)
            .mend("use containerd 2.1 or later")
    }
}

impl FromStr for Release {
    type Err = NoRelease;

    fn from_str(text: &str) -> Result<Self, NoRelease> {
        let mut numbers = text.trim_start_matches('v').split(['.', '-', '+', '~']);
        let mut number = || {
            let digits = numbers.next()?;
            if digits.bytes().all(|byte| byte.is_ascii_digit()) {
                digits.parse().ok()
            } else {
                None
            }
        };
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(NoRelease),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_ask_no_verifier_are_told_from_those_that_do() {
        for (version, severity) in [
            ("v1.7.20", Severity::Failure),
            ("2.0.5", Severity::Failure),
            ("2.1.0", Severity::Ok),
            ("2.1.9+unknown", Severity::Ok),
            ("v2.10.0-rc.1", Severity::Ok),
            ("3.0.0", Severity::Ok),
        ] {
            let release: Release = version.parse().unwrap();
            assert_eq!(release.judge(version).severity, severity, "{version}");
        }
        for version in ["", "2", "two.one", "2.", "main", "2.x", "-1.2"] {
            assert_eq!(version.parse::<Release>(), Err(NoRelease), "{version}");
        }
    }
}
