//! Pulls that must be refused, or must not: through CRI, as kubelet pulls, since that is the way that
//! has bypasses. An image that was there before stays; anything else that came in is removed.
//!
//! containerd asks the verifiers anew for an image that is there already, so a probe of one tells as
//! much.

use std::time::Duration;

use crate::cri::{CallError, Containerd};
use crate::finding::{Code, Finding, Severity};

/// Time for one pull, its layers included.
const PULL_TIME: Duration = Duration::from_mins(2);

/// How a pull ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The image is there.
    Pulled,
    /// A verifier refused it, with this message of containerd's.
    Refused(String),
    /// A verifier could not be called, or died.
    Broken(String),
    /// It failed for another reason.
    Failed(String),
}

impl Outcome {
    /// What a message of containerd's means: that of `core/transfer/local/pull.go` is of a verifier.
    fn of_message(message: &str) -> Self {
        if message.contains("blocked pull of") && message.contains("image verifier") {
            Self::Refused(message.to_owned())
        } else if message.contains("failed to call verifier") {
            Self::Broken(message.to_owned())
        } else {
            Self::Failed(message.to_owned())
        }
    }
}

/// Pulls `image`, which the gate must refuse.
pub async fn must_be_refused(containerd: &Containerd, image: &str) -> Vec<Finding> {
    let (outcome, clean_up) = pull(containerd, image).await;
    let finding = match outcome {
        Outcome::Refused(message) => {
            let fact = format_args!("{image} is refused: {}", reason(&message));
            Finding::new(Severity::Ok, Code::ProbeRefused, fact)
        }
        Outcome::Pulled => {
            let fact = format_args!("{image} was pulled, and should have been refused");
            Finding::new(Severity::Failure, Code::ProbeRefused, fact).mend(
                "mend the failures above; if there are none, see what the policies say about it",
            )
        }
        Outcome::Broken(message) => {
            let fact =
                format_args!("{image} is refused by no verdict: a verifier fails: {message}");
            Finding::new(Severity::Blocked, Code::ProbeRefused, fact).mend("mend the verifier")
        }
        Outcome::Failed(message) => {
            let fact = format_args!("{image} was not pulled, but by no verifier: {message}");
            Finding::new(Severity::Failure, Code::ProbeRefused, fact)
                .mend("name an image that is there and that no policy allows")
        }
    };
    [finding].into_iter().chain(clean_up).collect()
}

/// Pulls `image`, which the gate must allow.
pub async fn must_be_allowed(containerd: &Containerd, image: &str) -> Vec<Finding> {
    let (outcome, clean_up) = pull(containerd, image).await;
    let finding = match outcome {
        Outcome::Pulled => {
            Finding::new(Severity::Ok, Code::ProbeAllowed, format_args!("{image} is allowed"))
        }
        Outcome::Refused(message) => {
            let fact =
                format_args!("{image} should be allowed, and is refused: {}", reason(&message));
            Finding::new(Severity::Blocked, Code::ProbeAllowed, fact)
                .mend("sign the image, or mend the policy")
        }
        Outcome::Broken(message) | Outcome::Failed(message) => {
            let fact = format_args!("{image} should be allowed, and cannot be pulled: {message}");
            Finding::new(Severity::Blocked, Code::ProbeAllowed, fact)
                .mend("see to what containerd says")
        }
    };
    [finding].into_iter().chain(clean_up).collect()
}

/// Pulls an image, and removes it if it was not there before.
async fn pull(containerd: &Containerd, image: &str) -> (Outcome, Option<Finding>) {
    let before = match containerd.images().await {
        Ok(images) => images,
        Err(error) => return (Outcome::Failed(error.to_string()), None),
    };
    let id = match containerd.pull(image, PULL_TIME).await {
        Ok(id) => id,
        Err(CallError::Refused { message }) => return (Outcome::of_message(&message), None),
        Err(error) => return (Outcome::Failed(error.to_string()), None),
    };
    // CRI removes an image with all of its names: one that was there under another must stay.
    if before.iter().any(|known| known.id == id) {
        let fact = format_args!("{image} was there before, and stays");
        return (Outcome::Pulled, Some(Finding::new(Severity::Note, Code::ProbeCleanUp, fact)));
    }
    let failed = containerd.remove(image).await.err().map(|error| {
        let fact = format_args!("{image} was pulled and could not be removed: {error}");
        Finding::new(Severity::Warning, Code::ProbeCleanUp, fact)
            .mend(format_args!("crictl rmi {image}"))
    });
    (Outcome::Pulled, failed)
}

/// What the verifier said: the end of containerd's message.
fn reason(message: &str) -> &str {
    message.split_once("for reason: ").map_or(message, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_other_causes() {
        let verdict = "rpc error: failed to pull and unpack image \"r/a:1\": image verifier bindir blocked pull of r/a:1 with digest sha256:aa for reason: verifier cosign-image-verifier rejected image (exit code 1): no signature";
        assert!(matches!(Outcome::of_message(verdict), Outcome::Refused(_)));
        assert!(reason(verdict).starts_with("verifier cosign-image-verifier rejected"));
        for message in [
            "failed to resolve reference \"r/a:1\": r/a:1: not found",
            "dial tcp 127.0.0.1:1: connect: connection refused",
            "pull access denied, repository does not exist or may require authorization",
            "",
        ] {
            assert!(matches!(Outcome::of_message(message), Outcome::Failed(_)), "{message}");
        }
        let broken = "failed to call verifier README (runtime 1ms): fork/exec: permission denied";
        assert!(matches!(Outcome::of_message(broken), Outcome::Broken(_)));
    }
}
