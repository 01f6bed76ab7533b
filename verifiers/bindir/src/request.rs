//! A call that has been checked: what a verifier decides about.

use std::fmt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use civ_oci::{Digest, ImageId, Reference};
use civ_policy::{Observer as _, PolicyFile, Refusal, UtcTime};

use crate::call::Arguments;
use crate::{PluginName, Record, stdin};

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
    /// The time by this machine's clock.
    pub now: UtcTime,
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
            now: now()?,
        })
    }

    /// Opens the trust policy and parses it with `parse`, noting both in `record`.
    pub fn load_policy<P, E: fmt::Display>(
        &self,
        parse: impl FnOnce(&[u8]) -> Result<P, E>,
        record: &Record,
    ) -> Result<P, Refusal> {
        record.set("policy", &self.policy.display());
        let file = PolicyFile::read(&self.policy).map_err(Refusal::bad_policy)?;
        record.set("policy_sha256", &Digest::sha256(&file.bytes).hex());
        record.step("policy", &[("bytes", &file.bytes.len())]);
        parse(&file.bytes).map_err(|error| Refusal::invalid_policy(self.policy.display(), error))
    }
}

/// The time by this machine's clock, if it says any.
pub(crate) fn clock() -> Option<UtcTime> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    UtcTime::from_unix(since_epoch)
}

fn now() -> Result<UtcTime, Refusal> {
    clock().ok_or_else(|| {
        Refusal::internal("this machine's clock says a year before 1970 or after 9999; set it")
    })
}
