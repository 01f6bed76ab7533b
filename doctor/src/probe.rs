//! Pulls that must be refused, or must not: through CRI, as kubelet pulls, since that is the way that
//! has bypasses.
//!
//! An operator's images stay as they are: a name that is on the node is not pulled, since its tag would
//! move, and what is removed is an image that came with the probe and has no name but the probe's. A
//! pull that was begun is seen to its end, even if the doctor is told to stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::cri::{CallError, Containerd};
use crate::finding::{Code, Finding, Severity};

mod names;
mod outcome;

use names::Name;
pub use outcome::Outcome;

/// Time for one pull, its layers included.
const PULL_TIME: Duration = Duration::from_mins(2);
/// Time after which a pull that was given up has brought what it brings.
const LATE: Duration = Duration::from_secs(2);

/// What to do where a probe is inconclusive.
const NAME_ANOTHER: &str = "name an image that can be pulled without credentials";

/// A probe that is under way. Whoever stops the doctor waits for its end, or it leaves images behind.
#[derive(Clone, Debug, Default)]
pub struct Unfinished(Arc<Mutex<()>>);

impl Unfinished {
    /// Is there one?
    pub fn is_any(&self) -> bool {
        self.0.try_lock().is_err()
    }

    /// Waits until there is none: two and a half minutes at most.
    pub async fn wait(&self) {
        let _ = self.0.lock().await;
    }
}

/// Pulls `image`, which the gate must refuse.
pub async fn must_be_refused(
    containerd: &Containerd,
    image: &str,
    unfinished: &Unfinished,
) -> Vec<Finding> {
    let (outcome, clean_up) = pull(containerd, image, unfinished).await;
    let finding = |severity, fact: &dyn std::fmt::Display| {
        Finding::new(severity, Code::ProbeRefused, format_args!("{image} {fact}"))
    };
    let finding = match outcome {
        Outcome::Refused { reason } => finding(Severity::Ok, &format_args!("is refused: {reason}")),
        Outcome::Pulled => finding(Severity::Failure, &"was pulled, and should have been refused")
            .mend("mend the failures above; if there are none, see what the policies say about it"),
        Outcome::Broken(message) => finding(
            Severity::Blocked,
            &format_args!("is refused by no verdict: a verifier fails: {message}"),
        )
        .mend("mend the verifier"),
        Outcome::Failed(message) => finding(
            Severity::Unknown,
            &format_args!("was not pulled, but by no verifier: {message}"),
        )
        .mend(format_args!("{NAME_ANOTHER} and that no policy allows")),
        Outcome::There => there(image, Code::ProbeRefused),
    };
    [finding].into_iter().chain(clean_up).collect()
}

/// Pulls `image`, which the gate must allow.
pub async fn must_be_allowed(
    containerd: &Containerd,
    image: &str,
    unfinished: &Unfinished,
) -> Vec<Finding> {
    let (outcome, clean_up) = pull(containerd, image, unfinished).await;
    let finding = |severity, fact: &dyn std::fmt::Display| {
        Finding::new(severity, Code::ProbeAllowed, format_args!("{image} {fact}"))
    };
    let finding = match outcome {
        Outcome::Pulled => finding(Severity::Ok, &"is allowed"),
        Outcome::Refused { reason } => {
            finding(Severity::Blocked, &format_args!("should be allowed, and is refused: {reason}"))
                .mend("sign the image, or mend the policy")
        }
        Outcome::Broken(message) => finding(
            Severity::Blocked,
            &format_args!("should be allowed, and a verifier fails: {message}"),
        )
        .mend("mend the verifier"),
        Outcome::Failed(message) => finding(
            Severity::Unknown,
            &format_args!("should be allowed, and cannot be pulled: {message}"),
        )
        .mend(format_args!("{NAME_ANOTHER} and that the policies allow")),
        Outcome::There => there(image, Code::ProbeAllowed),
    };
    [finding].into_iter().chain(clean_up).collect()
}

fn there(image: &str, code: Code) -> Finding {
    let fact =
        format_args!("{image} is on the node already, and is not pulled: its tag could move");
    Finding::new(Severity::Unknown, code, fact).mend("name another image")
}

/// Pulls an image, and removes what came of it, in a task that ends even if nobody waits for it.
async fn pull(
    containerd: &Containerd,
    image: &str,
    unfinished: &Unfinished,
) -> (Outcome, Vec<Finding>) {
    let name: Name = match image.parse() {
        Ok(name) => name,
        Err(error) => {
            return (Outcome::Failed(format!("not an image's name: {error}")), Vec::new());
        }
    };
    let busy = Arc::clone(&unfinished.0).lock_owned().await;
    let (containerd, image) = (containerd.clone(), image.to_owned());
    let task = tokio::spawn(async move {
        let outcome = pull_and_clean_up(&containerd, &image, &name).await;
        drop(busy);
        outcome
    });
    task.await.unwrap_or_else(|error| (Outcome::Failed(error.to_string()), Vec::new()))
}

async fn pull_and_clean_up(
    containerd: &Containerd,
    image: &str,
    name: &Name,
) -> (Outcome, Vec<Finding>) {
    let before = match containerd.images().await {
        Ok(images) => Known::of(&images),
        Err(error) => return (Outcome::Failed(error.to_string()), Vec::new()),
    };
    if before.names.iter().any(|known| name.is(known)) {
        return (Outcome::There, Vec::new());
    }
    let result = containerd.pull(image, PULL_TIME).await;
    let mut findings = clean_up(containerd, name, &before).await;
    if matches!(result, Err(CallError::Time { .. })) {
        tokio::time::sleep(LATE).await;
        findings = clean_up(containerd, name, &before).await;
    }
    let outcome = match result {
        Ok(_) => Outcome::Pulled,
        Err(CallError::Refused { message }) => Outcome::of_message(&message, name),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    (outcome, findings)
}

/// What CRI listed before a pull.
#[derive(Debug, Default)]
struct Known {
    ids: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Known {
    fn of(images: &[crate::cri::Image]) -> Self {
        Self {
            ids: images.iter().map(|image| image.id.clone()).collect(),
            names: images.iter().flat_map(crate::cri::Image::names).map(str::to_owned).collect(),
        }
    }
}

/// Removes what is there since `before` and named as the pull of `name` names it, however that ended.
///
/// CRI removes an image with all of its names, so one that has another name stays.
async fn clean_up(containerd: &Containerd, name: &Name, before: &Known) -> Vec<Finding> {
    let warning =
        |fact: &dyn std::fmt::Display| Finding::new(Severity::Warning, Code::ProbeCleanUp, fact);
    let images = match containerd.images().await {
        Ok(images) => images,
        Err(error) => {
            let fact = format_args!("what the probe left of {name} is not known: {error}");
            return vec![warning(&fact).mend(format_args!("crictl rmi {name}"))];
        }
    };
    let mut findings = Vec::new();
    for image in images {
        let is_ours = |known: &&str| !before.names.contains(*known) && name.brings(known);
        let (ours, others): (Vec<&str>, Vec<&str>) = image.names().partition(is_ours);
        if ours.is_empty() {
            continue;
        }
        if before.ids.contains(&image.id) || !others.is_empty() {
            let fact = format_args!(
                "the probe gave an image that has other names these as well, and they stay: {}",
                ours.join(", ")
            );
            let remedy = format_args!("ctr -n k8s.io images rm {}", ours.join(" "));
            findings.push(warning(&fact).mend(remedy));
        } else if let Err(error) = containerd.remove(&image.id).await {
            let fact = format_args!("{name} was pulled and could not be removed: {error}");
            findings.push(warning(&fact).mend(format_args!("crictl rmi {name}")));
        }
    }
    findings
}
