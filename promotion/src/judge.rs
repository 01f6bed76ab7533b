//! What a node would say of an image, found out where an operator is: by the gate's own code, which
//! reads the registry by the gate's own client, with its limits and its deadline. Two things differ, for
//! they are the machine's: the registry, and KMS, are asked with the operator's credentials where there
//! are some, and what KMS takes for its answer is not taken from the time for the registry.

use std::sync::{Mutex, PoisonError};

use civ_authoring::Document;
use civ_oci::{ImageId, Repository};
use civ_policy::{Observer, Refusal, Verdict};

use crate::error::{Cause, Error, Step};
use crate::gate::now;
use crate::plan::reference;
use crate::registry::Client;
use crate::signer::GateKeys;

/// What the gate says about an image, and how it came to say so.
#[derive(Debug)]
pub struct Judgement {
    /// The image.
    pub image: ImageId,
    /// What a verifier's record would say beside the verdict, such as the statement.
    pub facts: Vec<(&'static str, String)>,
    /// What a verifier would write to stderr on the way.
    pub steps: Vec<JudgedStep>,
    /// The verdict, or the refusal with the exit code that it has on a node.
    pub verdict: Result<Verdict, Refusal>,
}

impl Judgement {
    /// A fact by its name.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// A step on the way to a verdict.
#[derive(Clone, Debug)]
pub struct JudgedStep {
    /// Its name.
    pub name: &'static str,
    /// What there is to say of it. Text of strangers is as it came.
    pub details: Vec<(&'static str, String)>,
}

/// What a node with `policy` says about `image`: the same reads, within the same limits, and the
/// refusal that it would give.
///
/// A node asks KMS, where the policy leaves a key to it, with its own role; here the user's
/// credentials do.
///
/// # Errors
/// Only what keeps the question from being asked. A registry that fails is a refusal, as on a node.
pub async fn judge(client: &Client, policy: Document, image: &ImageId) -> Result<Judgement, Error> {
    let fail = |cause| Error::new(Step::Judge, reference(image), cause);
    if matches!(policy, Document::Notation(_)) {
        return Err(fail(Cause::NoVerifier { kind: policy.kind() }));
    }
    let readers = client.gate();
    let (keys, asked) = (GateKeys::new(), image.clone());
    let now = now().map_err(fail)?;
    let judge = move || {
        let notes = Notes::default();
        let verdict = match &policy {
            Document::Annotations(policy) => {
                let open = |at: &Repository| readers.open(at, civ_annotations::REQUESTS_MAX);
                civ_annotations::decide(policy, &asked, now, open, &notes)
            }
            Document::Cosign(policy) => {
                let open = |at: &Repository| readers.open(at, civ_cosign::REQUESTS_MAX);
                civ_cosign::decide(policy, &asked, now, &keys, open, &notes)
            }
            Document::Digestion(policy) => policy.decide(&asked, &notes),
            Document::Notation(_) => Err(Refusal::bad_policy("notation is not decided here")),
        };
        let Taken { facts, steps } = notes.taken();
        Judgement { image: asked, facts, steps, verdict }
    };
    tokio::task::spawn_blocking(judge).await.map_err(|_| fail(Cause::Internal))
}

/// What is noted while the gate's code runs.
#[derive(Debug, Default)]
struct Notes(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    facts: Vec<(&'static str, String)>,
    steps: Vec<JudgedStep>,
}

impl Notes {
    fn taken(self) -> Taken {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Notes {
    fn set(&self, key: &'static str, value: &dyn ToString) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.facts.push((key, value.to_string()));
    }

    fn count(&self, key: &'static str, number: u64) {
        self.set(key, &number);
    }

    fn step(&self, step: &'static str, details: &[(&'static str, &dyn ToString)]) {
        let details = details.iter().map(|(key, value)| (*key, value.to_string())).collect();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.steps.push(JudgedStep { name: step, details });
    }
}
