//! Which policy an executable reads: its own file name says so.
//!
//! `cosign-image-verifier` reads the policy of plugin `cosign`; a copy named
//! `team-a-image-verifier` reads that of `team-a`, and containerd asks both. The name is the one
//! containerd executed (`argv[0]`), so a symbolic link in the verifier directory counts by its own
//! name.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const SUFFIX: &str = "-image-verifier";
/// Where Bottlerocket writes the trust policies of image-verifier plugins.
const POLICIES: &str = "/etc/containerd/image-verifiers";
const POLICY: &str = "trustpolicy.json";
/// Bottlerocket: an `Identifier` is letters, digits and dashes, at most this long.
const NAME_MAX: usize = 76;

/// The name of an image-verifier plugin, as in `settings.image-verifier-plugins.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginName(String);

impl PluginName {
    /// The plugin that an executable called `program` is.
    pub fn of_program(program: &OsStr) -> Result<Self, PluginNameError> {
        let file = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
        file.strip_suffix(SUFFIX).ok_or(PluginNameError)?.parse()
    }

    /// The trust policy of this plugin.
    pub fn policy_path(&self) -> PathBuf {
        Path::new(POLICIES).join(&self.0).join(POLICY)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = PluginNameError;

    fn from_str(name: &str) -> Result<Self, PluginNameError> {
        let is_identifier = (1..=NAME_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_identifier { Ok(Self(name.to_owned())) } else { Err(PluginNameError) }
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The executable's file name names no plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad call: the executable must be called NAME-image-verifier, with NAME of at most 76 letters, digits and dashes"
)]
pub struct PluginNameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_chooses_the_policy_and_cannot_leave_its_directory() {
        for (program, policy) in [
            (
                "/opt/civ/bin/cosign-image-verifier",
                "/etc/containerd/image-verifiers/cosign/trustpolicy.json",
            ),
            ("team-a-image-verifier", "/etc/containerd/image-verifiers/team-a/trustpolicy.json"),
            (
                "./x/10-cosign-image-verifier",
                "/etc/containerd/image-verifiers/10-cosign/trustpolicy.json",
            ),
        ] {
            let plugin = PluginName::of_program(OsStr::new(program)).unwrap();
            assert_eq!(plugin.policy_path(), Path::new(policy));
        }
        let long = format!("{}-image-verifier", "a".repeat(77));
        for program in [
            "",
            "/",
            "cosign",
            "-image-verifier",
            "..",
            "a.b-image-verifier",
            "a b",
            "é-image-verifier",
            &long,
        ] {
            assert!(PluginName::of_program(OsStr::new(program)).is_err(), "{program}");
        }
    }
}
