//! A call that has been checked: what a verifier decides about.

use std::path::{Path, PathBuf};
use std::time::Instant;

use civ_oci::{Digest, ImageId, Reference};
use civ_policy::{PolicyError, PolicyFile};

use crate::call::Arguments;
use crate::{PluginName, Record, Refusal, stdin};

/// The question that containerd asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is pulled: the repository that was named, the digest that it resolved to.
    pub image: ImageId,
    /// The reference as the user gave it, normalised. For messages: its tag proves nothing.
    pub name: Reference,
    /// The trust policy to read.
    pub policy: PathBuf,
    /// When the verifier gives up and refuses.
    pub deadline: Instant,
}

impl Request {
    /// Reads stdin, and makes the request that `arguments` state.
    pub(crate) fn read(
        arguments: Arguments,
        plugin: &PluginName,
        deadline: Instant,
    ) -> Result<Self, Refusal> {
        stdin::check(arguments.stdin_media_type.as_deref(), &arguments.digest)
            .map_err(Refusal::bad_call)?;
        Ok(Self {
            image: arguments.name.repository.image(arguments.digest),
            name: arguments.name,
            policy: arguments.policy.unwrap_or_else(|| plugin.policy_path()),
            deadline,
        })
    }

    /// Opens the trust policy and parses it with `parse`, noting both in `record`.
    pub fn load_policy<P>(
        &self,
        parse: impl FnOnce(&[u8]) -> Result<P, PolicyError>,
        record: &Record,
    ) -> Result<P, Refusal> {
        let file = PolicyFile::read(&self.policy).map_err(Refusal::bad_policy)?;
        record.set("policy", &self.policy.display());
        record.set("policy_sha256", &Digest::sha256(&file.bytes).hex());
        parse(&file.bytes).map_err(|error| bad_policy(&self.policy, error))
    }

    /// The refusal of a policy that cannot be used, for what only the verifier can see in it.
    pub fn bad_policy(&self, error: impl std::fmt::Display) -> Refusal {
        bad_policy(&self.policy, error)
    }
}

fn bad_policy(path: &Path, error: impl std::fmt::Display) -> Refusal {
    Refusal::bad_policy(format_args!("policy {}: {error}", path.display()))
}
