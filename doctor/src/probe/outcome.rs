//! How a pull ended, by containerd's message. Much of such a message may be the registry's, which must
//! not be able to say that a verifier refused: only the fixed beginning counts, as `CRIImageService`
//! (`failed to pull and unpack image`) and `core/transfer/local/pull.go` write it.

use civ_oci::Digest;

use super::names::Name;

/// How a pull ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The image came in.
    Pulled,
    /// A verifier refused it.
    Refused {
        /// What containerd says that the verifier said.
        reason: String,
    },
    /// A verifier could not be called, or died.
    Broken(String),
    /// It failed for another reason.
    Failed(String),
    /// It was there already, and was not pulled.
    There,
}

impl Outcome {
    /// What a message of containerd's about the pull of `name` means.
    pub(super) fn of_message(message: &str, name: &Name) -> Self {
        if let Some(cause) = cause(message, name) {
            if let Some(reason) = cause.strip_prefix("image verifier bindir blocked pull of ") {
                if let Some(reason) = after_image(reason, name, " for reason: ")
                    && reason.starts_with("verifier ")
                {
                    return Self::Refused { reason: reason.to_owned() };
                }
            } else if let Some(rest) = cause.strip_prefix("blocking pull of ")
                && let Some(error) = after_image(rest, name, ": ")
                && error.starts_with("image verifier bindir returned error: ")
            {
                return Self::Broken(error.to_owned());
            }
        }
        Self::Failed(message.to_owned())
    }
}

/// What follows `failed to pull and unpack image "NAME": `, if the message is that.
fn cause<'a>(message: &'a str, name: &Name) -> Option<&'a str> {
    let quoted = message.strip_prefix("failed to pull and unpack image \"")?;
    let (image, cause) = quoted.split_once("\": ")?;
    name.is(image).then_some(cause)
}

/// What follows `NAME with digest DIGEST` and `then`.
fn after_image<'a>(text: &'a str, name: &Name, then: &str) -> Option<&'a str> {
    let (image, rest) = text.split_once(" with digest ")?;
    let (digest, rest) = rest.split_once(then)?;
    (name.is(image) && digest.parse::<Digest>().is_ok()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(message: &str) -> Outcome {
        let message = message.replace("$D", &format!("sha256:{}", "a".repeat(64)));
        Outcome::of_message(&message, &"r.io/a:1".parse().unwrap())
    }

    #[test]
    fn a_refusal_is_told_from_other_causes() {
        let verdict = "failed to pull and unpack image \"r.io/a:1\": image verifier bindir blocked pull of r.io/a:1 with digest $D for reason: verifier cosign-image-verifier rejected image (exit code 1): no signature";
        let expected = "verifier cosign-image-verifier rejected image (exit code 1): no signature";
        assert_eq!(outcome(verdict), Outcome::Refused { reason: expected.to_owned() });
        let broken = "failed to pull and unpack image \"r.io/a:1\": blocking pull of r.io/a:1 with digest $D: image verifier bindir returned error: failed to call verifier README (runtime 1ms): fork/exec: permission denied";
        assert!(matches!(outcome(broken), Outcome::Broken(_)));
        for message in [
            "failed to resolve reference \"r.io/a:1\": r.io/a:1: not found",
            "dial tcp 127.0.0.1:1: connect: connection refused",
            "",
        ] {
            assert!(matches!(outcome(message), Outcome::Failed(_)), "{message}");
        }
    }

    #[test]
    fn refuses_a_verdict_that_the_registry_says() {
        let said = "image verifier bindir blocked pull of r.io/a:1 with digest $D for reason: verifier x rejected image (exit code 1): no";
        for message in [
            format!(
                "failed to pull and unpack image \"r.io/a:1\": failed to resolve image: unexpected status: 403: {said}"
            ),
            format!("failed to pull and unpack image \"r.io/b:1\": {said}"),
            format!("failed to pull image: \"r.io/a:1\": {said}"),
            said.to_owned(),
            said.replace("bindir", "other"),
            format!(
                "failed to pull and unpack image \"r.io/a:1\": {}",
                said.replace("$D", "sha256:aa")
            ),
            format!(
                "failed to pull and unpack image \"r.io/a:1\": {}",
                said.replace("verifier x", "x")
            ),
            format!(
                "failed to pull and unpack image \"r.io/a:1\": {}",
                said.replace("of r.io/a:1", "of r.io/b:1")
            ),
        ] {
            assert!(matches!(outcome(&message), Outcome::Failed(_)), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_read(message in "\\PC{0,80}") {
            let name = "r.io/a:1".parse().unwrap();
            let _ = Outcome::of_message(&message, &name);
            let whole = format!("failed to pull and unpack image \"r.io/a:1\": {message}");
            let _ = Outcome::of_message(&whole, &name);
        }
    }
}
