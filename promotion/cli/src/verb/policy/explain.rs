//! `civ policy explain`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use civ_authoring::Document;
use civ_authoring::explain::{Applies, Explanation, explain};
use civ_oci::text::one_line;
use civ_oci::{Digest, ImageId, Reference};
use civ_policy::{Exit as GateExit, Observer, Refusal, Verdict};
use civ_promotion::Client;
use civ_promotion::judge::{JudgedStep, Judgement, judge};
use clap::{Args, ValueHint};
use serde::Serialize;

use super::kind::{KindArgument, of_file};
use crate::failure::{Exit, Failure};
use crate::output::{Format, print};
use crate::verb::{client, find, progress, read_policy};

/// Where a node's policies are.
const NODE: &str = "/etc/containerd/image-verifiers";
const POLICY: &str = "trustpolicy.json";
/// The longest reason that a verifier gives, in bytes.
const REASON_MAX: usize = 300;
/// The most of a detail that is shown, in bytes.
const DETAIL_MAX: usize = 200;

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The image. Lists of digests are asked for its digest, if it has one; --live finds that of a
    /// tag.
    #[arg(value_name = "REF")]
    image: Reference,
    /// A trust policy; - is stdin. May be repeated; containerd asks the verifiers one after another, and all must
    /// agree. Without it, those of this node: /etc/containerd/image-verifiers/*/trustpolicy.json.
    #[arg(long = "policy", value_name = "FILE", value_hint = ValueHint::FilePath)]
    policies: Vec<PathBuf>,
    /// The verifier that the policies are for. By default what their directory or content says.
    #[arg(long, value_enum)]
    kind: Option<KindArgument>,
    /// Come to the verdict, by the gate's own code, and show each step. The registry, and AWS KMS where
    /// a policy leaves a key to it, are asked with your credentials.
    #[arg(long)]
    live: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Serialize)]
struct Report {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// `true` if a pull would go on; known with `--live` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<bool>,
    policies: Vec<OnePolicy>,
}

#[derive(Serialize)]
struct OnePolicy {
    policy: String,
    kind: &'static str,
    #[serde(flatten)]
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<OneVerdict>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Valid(Explanation),
    Invalid { error: String },
}

#[derive(Serialize)]
struct OneVerdict {
    /// `allow`, `audit` or `refuse`, as in a verifier's record.
    verdict: &'static str,
    exit: u8,
    /// With which exit code level `strict` would have refused, as in a verifier's record.
    #[serde(rename = "auditedExit", skip_serializing_if = "Option::is_none")]
    audited_exit: Option<u8>,
    reason: String,
    steps: Vec<OneStep>,
}

#[derive(Serialize)]
struct OneStep {
    step: &'static str,
    details: Vec<(&'static str, String)>,
}

pub(super) async fn run(args: Explain) -> Result<Exit, Failure> {
    let policies = if args.policies.is_empty() { of_node()? } else { args.policies };
    let live = if args.live { Some(client(&progress(args.output))?) } else { None };
    let image = if let Some(client) = &live {
        find(client, &args.image).await?
    } else {
        // What is explained without asking anybody is the same for every digest, unless a list of
        // digests is.
        let any = || args.image.repository.image(Digest::sha256(b""));
        args.image.image().unwrap_or_else(any)
    };
    let has_digest = args.image.digest.is_some();
    let mut reports = Vec::with_capacity(policies.len());
    for path in &policies {
        reports.push(of_policy(path, args.kind, &image, has_digest, live.as_ref()).await?);
    }
    let report = Report {
        image: args.image.to_string(),
        digest: live.is_some().then(|| image.digest.to_string()),
        allowed: live.is_some().then(|| reports.iter().all(OnePolicy::lets_pass)),
        policies: reports,
    };
    print(args.output, &report, || report.lines())?;
    Ok(report.exit())
}

/// The policies of this node, in the order of their plugins.
fn of_node() -> Result<Vec<PathBuf>, Failure> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(NODE)? {
            let path = entry?.path().join(POLICY);
            if path.is_file() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    };
    let hint = "name policies with --policy";
    match list() {
        Ok(found) if found.is_empty() => {
            Err(Failure::usage(format_args!("no policy in {NODE}")).hint(hint))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(Failure::usage(format_args!("cannot list {NODE}: {error}")).hint(hint)),
    }
}

async fn of_policy(
    path: &Path,
    said: Option<KindArgument>,
    image: &ImageId,
    has_digest: bool,
    live: Option<&Client>,
) -> Result<OnePolicy, Failure> {
    let bytes = read_policy(path)?;
    let kind = of_file(said, path, &bytes)?;
    let report = |content, verdict| OnePolicy {
        policy: path.display().to_string(),
        kind: kind.name(),
        content,
        verdict,
    };
    let document = match Document::parse(kind, &bytes) {
        Ok(document) => document,
        Err(error) => {
            let error = error.to_string();
            let refusal = || OneVerdict::refused(&Refusal::invalid_policy(path.display(), &error));
            let verdict = live.is_some().then(refusal);
            return Ok(report(Content::Invalid { error }, verdict));
        }
    };
    let explanation = explain(&document, image);
    let verdict = match (live, &document) {
        (Some(client), _) => Some(OneVerdict::of(&judge(client, document, image).await?)),
        // A list of digests needs nobody else for its verdict.
        (None, Document::Digestion(policy)) if has_digest => {
            Some(OneVerdict::of_outcome(&policy.decide(image, &Silent)))
        }
        (None, _) => None,
    };
    Ok(report(Content::Valid(explanation), verdict))
}

/// For verdicts that are shown without their steps.
struct Silent;

impl Observer for Silent {
    fn set(&self, _: &'static str, _: &dyn ToString) {}
    fn count(&self, _: &'static str, _: u64) {}
    fn step(&self, _: &'static str, _: &[(&'static str, &dyn ToString)]) {}
}

impl OneVerdict {
    fn of(judgement: &Judgement) -> Self {
        let steps = judgement.steps.iter().map(OneStep::of).collect();
        Self { steps, ..Self::of_outcome(&judgement.verdict) }
    }

    fn of_outcome(outcome: &Result<Verdict, Refusal>) -> Self {
        match outcome {
            Ok(verdict) => Self {
                verdict: if verdict.audited().is_some() { "audit" } else { "allow" },
                exit: GateExit::Allow as u8,
                audited_exit: verdict.audited().map(|exit| exit as u8),
                reason: one_line(verdict.reason(), REASON_MAX),
                steps: Vec::new(),
            },
            Err(refusal) => Self::refused(refusal),
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        Self {
            verdict: "refuse",
            exit: refusal.exit as u8,
            audited_exit: None,
            reason: one_line(&refusal.reason, REASON_MAX),
            steps: Vec::new(),
        }
    }
}

impl OneStep {
    fn of(step: &JudgedStep) -> Self {
        let details = step.details.iter().map(|(key, value)| (*key, one_line(value, DETAIL_MAX)));
        Self { step: step.name, details: details.collect() }
    }

    fn line(&self) -> String {
        let details = self.details.iter().map(|(key, value)| format!(" {key}={value}"));
        format!("    step {}{}", self.step, details.collect::<String>())
    }
}

impl OnePolicy {
    fn lets_pass(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.exit == GateExit::Allow as u8)
    }

    fn lines(&self) -> Vec<String> {
        let mut lines =
            vec![format!("policy {} ({})", one_line(&self.policy, DETAIL_MAX), self.kind)];
        match &self.content {
            Content::Valid(explanation) => lines.extend(lines_of(explanation)),
            Content::Invalid { error } => {
                lines.push(format!(
                    "  not valid, so every pull is refused: {}",
                    one_line(error, 600)
                ));
            }
        }
        if let Some(verdict) = &self.verdict {
            lines.extend(verdict.steps.iter().map(OneStep::line));
            lines
                .push(format!("  {} (exit {}): {}", verdict.verdict, verdict.exit, verdict.reason));
        }
        lines
    }

    /// How the verifier would end, or the explanation makes it end whatever the image is like.
    fn exit(&self) -> Exit {
        let exit = match (&self.verdict, &self.content) {
            (Some(verdict), _) => verdict.exit,
            (None, Content::Invalid { .. }) => GateExit::BadPolicy as u8,
            (None, Content::Valid(Explanation { everywhere, statement: None, .. }))
                if everywhere.is_empty() =>
            {
                GateExit::Refused as u8
            }
            (None, Content::Valid(_)) => GateExit::Allow as u8,
        };
        match exit {
            0 => Exit::Success,
            3 => Exit::Key,
            4 | 5 => Exit::Registry,
            70 => Exit::Internal,
            _ => Exit::Refused,
        }
    }
}

fn lines_of(explanation: &Explanation) -> Vec<String> {
    let word = |text: &str| one_line(text, DETAIL_MAX);
    let mut lines = Vec::new();
    let rest = if explanation.statement.is_none() { "; all else is refused" } else { "" };
    for admitted in &explanation.everywhere {
        lines.push(format!("  trusts {} in every repository{rest}", word(admitted)));
    }
    let Some(Applies { name, level, scope, less_close, asks }) = &explanation.statement else {
        if explanation.everywhere.is_empty() {
            lines.push("  no statement: no registryScopes match".to_owned());
            lines.push("  every pull from this repository is refused".to_owned());
        }
        return lines;
    };
    lines.push(format!(
        "  statement {} ({level}): its scope {} is the closest",
        word(name),
        word(scope)
    ));
    for other in less_close {
        lines.push(format!(
            "    also matches: {} of {}",
            word(&other.scope),
            word(&other.statement)
        ));
    }
    let consequence = match level.as_str() {
        "skip" => Some("  checks nothing: every image of the repository may be pulled"),
        "audit" => Some("  refuses nothing; it records what is not as asked for"),
        _ => None,
    };
    lines.extend(consequence.map(str::to_owned));
    if !asks.is_empty() {
        lines.push("  asks for all of:".to_owned());
    }
    lines.extend(asks.iter().map(|ask| format!("    {}", one_line(ask, 600))));
    lines
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(digest) = &self.digest
            && !self.image.contains(digest.as_str())
        {
            lines.push(format!("{} is {digest}", self.image));
        }
        lines.extend(self.policies.iter().flat_map(OnePolicy::lines));
        match self.allowed {
            Some(true) => lines.push(format!("allowed: {} may be pulled", self.image)),
            Some(false) => lines.push(format!("refused: {} may not be pulled", self.image)),
            None => {}
        }
        lines
    }

    /// That of the first policy that refuses: containerd asks no further.
    fn exit(&self) -> Exit {
        let refusal = self.policies.iter().map(OnePolicy::exit).find(|exit| *exit != Exit::Success);
        refusal.unwrap_or(Exit::Success)
    }
}
