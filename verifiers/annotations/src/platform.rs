//! Which manifests of an index a node may run.
//!
//! containerd normalises what an index says of a platform before it compares, and takes more than
//! the node's own architecture
//! ([`containerd/platforms`, `Only`](https://github.com/containerd/platforms/blob/main/compare.go)).
//! A manifest that is wrongly left out here would run unchecked, so every doubt counts it in:
//! variants are not told apart, and neither is a 386 image from the amd64 image beside it.

use civ_oci::Platform;

/// A node, as far as its choice of manifests goes.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    os: &'static str,
    /// Everything that containerd may take for an architecture of this node, in lower case. `None`:
    /// that is not known.
    architectures: Option<&'static [&'static str]>,
}

/// What amd64 and 386 are called.
const AMD64: [&str; 5] = ["amd64", "x86_64", "x86-64", "386", "i386"];
/// What arm64 and arm are called.
const ARM64: [&str; 5] = ["arm64", "aarch64", "arm", "armhf", "armel"];

impl Node {
    /// The node that this was built for.
    pub const HERE: Self = Self {
        os: "linux",
        architectures: if cfg!(target_arch = "x86_64") {
            Some(&AMD64)
        } else if cfg!(target_arch = "aarch64") {
            Some(&ARM64)
        } else {
            None
        },
    };

    /// Could this node run a manifest that an index lists for `platform`? One that is listed for none
    /// says in its configuration what it is for.
    pub fn could_run(self, platform: Option<&Platform>) -> bool {
        let Some(platform) = platform else { return true };
        if never_runs(Some(platform)) {
            return false;
        }
        let architectures = self.architectures;
        could_mean(&platform.os, &[self.os])
            && architectures.is_none_or(|names| could_mean(&platform.architecture, names))
    }
}

/// Is this how attestations are listed, beside the images that they are about? No node is of an
/// unknown platform.
pub fn never_runs(platform: Option<&Platform>) -> bool {
    platform.is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown")
}

/// Go maps some letters of other alphabets to ASCII when it lowers the case: such text may be any
/// name. None stands for the node's own.
fn could_mean(text: &str, names: &[&str]) -> bool {
    text.is_empty() || !text.is_ascii() || names.iter().any(|name| text.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMD: Node = Node { os: "linux", architectures: Some(&AMD64) };
    const ARM: Node = Node { os: "linux", architectures: Some(&ARM64) };
    const OTHER: Node = Node { os: "linux", architectures: None };

    #[test]
    fn whatever_containerd_could_choose_counts() {
        for (platform, amd, arm) in [
            ("linux/amd64", true, false),
            ("linux/amd64/v4", true, false),
            ("Linux/AMD64", true, false),
            ("LİNUX/x86_64", true, false),
            ("/x86-64", true, false),
            ("linux/386", true, false),
            ("linux/i386", true, false),
            ("linux/arm64/v8", false, true),
            ("linux/aarch64", false, true),
            ("linux/arm/v7", false, true),
            ("linux/armhf", false, true),
            ("linux/riscv64", false, false),
            ("linux/amd64x", false, false),
            ("windows/amd64", false, false),
            ("unknown/unknown", false, false),
            ("unknown/amd64", false, false),
        ] {
            let mut parts = platform.split('/').map(str::to_owned);
            let platform = Platform {
                os: parts.next().unwrap(),
                architecture: parts.next().unwrap(),
                os_version: None,
                variant: parts.next(),
            };
            assert_eq!(AMD.could_run(Some(&platform)), amd, "{platform:?} on amd64");
            assert_eq!(ARM.could_run(Some(&platform)), arm, "{platform:?} on arm64");
        }
        for node in [AMD, ARM, OTHER, Node::HERE] {
            assert!(node.could_run(None));
        }
    }

    #[test]
    fn on_an_architecture_that_is_not_known_all_of_the_operating_system_counts() {
        for (os, architecture, counts) in
            [("linux", "s390x", true), ("windows", "s390x", false), ("unknown", "unknown", false)]
        {
            let platform = Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                os_version: None,
                variant: None,
            };
            assert_eq!(OTHER.could_run(Some(&platform)), counts, "{platform:?}");
        }
    }
}
