//! The descriptor that containerd writes to a verifier's stdin.
//!
//! It repeats the digest of the command line; its media type is whatever the registry said. So it
//! is read only to see that both agree, with a limit on size and on time: a writer that never
//! closes the pipe must not keep the verdict waiting.

use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use civ_oci::strict_json::{self, JsonError};
use civ_oci::{Digest, media_type};
use serde::Deserialize;

use crate::answer::SMALL_STACK;

/// The largest descriptor read, in bytes.
pub const DESCRIPTOR_MAX: u64 = 1 << 20;
/// How long the writer may take until it closes the pipe.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Reads stdin if `media_type` says that it holds a descriptor, and compares it with `digest`.
/// Stdin that is closed or empty says nothing, and is fine.
pub fn check(media_type: Option<&str>, digest: &Digest) -> Result<(), StdinError> {
    if media_type != Some(media_type::OCI_DESCRIPTOR) {
        return Ok(());
    }
    compare(&read_in_time(io::stdin())?, digest)
}

fn read_in_time(source: impl Read + Send + 'static) -> Result<Vec<u8>, StdinError> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut bytes = Vec::new();
        let outcome = source.take(DESCRIPTOR_MAX + 1).read_to_end(&mut bytes);
        // Nobody listens any more when patience has run out.
        let _ = sender.send(outcome.map(|_| bytes));
    };
    thread::Builder::new().stack_size(SMALL_STACK).spawn(read).map_err(StdinError::Read)?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(bytes)) if bytes.len() as u64 > DESCRIPTOR_MAX => Err(StdinError::TooLarge),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(source)) => Err(StdinError::Read(source)),
        Err(_) => Err(StdinError::NeverEnds),
    }
}

#[derive(Deserialize)]
struct UntrustedDescriptor {
    digest: Digest,
}

fn compare(bytes: &[u8], digest: &Digest) -> Result<(), StdinError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let descriptor: UntrustedDescriptor = strict_json::from_slice(bytes)?;
    if descriptor.digest == *digest {
        Ok(())
    } else {
        Err(StdinError::OtherDigest { described: descriptor.digest })
    }
}

/// Why what came on stdin refuses the pull.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StdinError {
    /// Not a descriptor.
    #[error("bad call: stdin is not a descriptor: {0}")]
    Malformed(#[from] JsonError),
    /// The pipe stays open.
    #[error("bad call: stdin did not end within {} s", PATIENCE.as_secs())]
    NeverEnds,
    /// The descriptor is about something else than `-digest`.
    #[error("bad call: stdin describes {described}, not -digest")]
    OtherDigest {
        /// The digest on stdin.
        described: Digest,
    },
    /// Reading failed.
    #[error("bad call: stdin cannot be read: {0}")]
    Read(#[source] io::Error),
    /// More than [`DESCRIPTOR_MAX`] bytes.
    #[error("bad call: stdin has more than {DESCRIPTOR_MAX} bytes")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_must_be_about_the_digest_of_the_command_line() {
        let digest = Digest::sha256(b"");
        let about = |digest: &str| format!(r#"{{"mediaType":"x","digest":"{digest}","size":1}}"#);
        assert!(compare(b"", &digest).is_ok());
        assert!(compare(about(&digest.to_string()).as_bytes(), &digest).is_ok());
        let other = about(&Digest::sha256(b"x").to_string());
        assert!(matches!(compare(other.as_bytes(), &digest), Err(StdinError::OtherDigest { .. })));
        let twice = format!(r#"{{"digest":"{digest}","digest":"{digest}"}}"#);
        for text in ["{}", "null", "x", "[]", r#"{"digest":"sha256:00"}"#, &twice] {
            assert!(
                matches!(compare(text.as_bytes(), &digest), Err(StdinError::Malformed(_))),
                "{text}"
            );
        }
    }

    /// A writer that neither writes nor closes.
    struct Silent;

    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            loop {
                thread::park();
            }
        }
    }

    #[test]
    fn size_and_time_are_bounded() {
        assert!(matches!(read_in_time(io::repeat(b'x')), Err(StdinError::TooLarge)));
        assert!(matches!(read_in_time(Silent), Err(StdinError::NeverEnds)));
    }
}
