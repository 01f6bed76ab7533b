//! `civ promote`

use std::sync::Arc;

use civ_promotion::plan::{Plan, TagState};
use civ_promotion::promote::{self, Promotion};
use civ_promotion::{Progress, Signatures, Step};
use serde::Serialize;

use super::signatures;
use crate::args::Promote;
use crate::draw::Drawn;
use crate::failure::{Exit, Failure};
use crate::output::{bytes, count, print};

/// What is printed, before as after.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    source: String,
    image: String,
    tag: String,
    /// What the tag named before, if that was another image.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag_was: Option<String>,
    tag_set: bool,
    blobs: Vec<Content>,
    manifests: Vec<Content>,
    bytes: u64,
    blobs_present: usize,
    foreign_layers: usize,
    signed: Vec<String>,
    signed_before: Vec<String>,
    signatures: Vec<signatures::Report>,
    key_algorithm: String,
}

#[derive(Serialize)]
struct Content {
    digest: String,
    size: u64,
}

pub(super) async fn run(args: Promote) -> Result<Exit, Failure> {
    let promotion = Promotion {
        source: args.source,
        destination: args.destination,
        annotations: args.signing.annotations()?,
        recursive: args.signing.recursive,
        formats: args.signing.formats(),
        created: signatures::source_date_epoch()?,
        jobs: usize::from(args.jobs),
    };
    promotion.check()?;
    let signer = super::open_key(&args.signing.key).await?;
    let drawn = Arc::new(Drawn::to_suit(args.signing.output));
    let progress = Arc::clone(&drawn) as Arc<dyn Progress>;
    let client = super::client(&progress)?;
    let planned = promote::plan(&client, &promotion, &signer).await?;
    let mut report = Report::of(&planned.plan, &planned.signatures, signer.algorithm());
    if args.signing.dry_run {
        report.dry_run = true;
    } else {
        let promoted = planned.run(&client, &signer, &progress).await;
        let promoted = promoted.map_err(|error| to_go_on(error, drawn.has_copied()))?;
        report.tag(&promoted.tag_was);
        report.sign(&promoted.signatures);
    }
    print(args.signing.output, &report, || report.lines())?;
    Ok(Exit::Success)
}

/// A registry that fails in the middle costs only what is under way.
fn to_go_on(error: civ_promotion::Error, has_copied: bool) -> Failure {
    let by_registry = error.kind() == civ_promotion::Kind::Registry && error.hint().is_some();
    let is_signed = matches!(error.step, Step::Ask | Step::Verify);
    let failure = Failure::from(error);
    if is_signed {
        return failure.know("the tag is as it was");
    }
    if by_registry && has_copied { failure.know("what is copied stays copied") } else { failure }
}

impl Report {
    fn of(plan: &Plan, signatures: &[Signatures], algorithm: &str) -> Self {
        let mut report = Self {
            dry_run: false,
            source: plan.source.to_string(),
            image: plan.image().to_string(),
            tag: plan.destination.to_string(),
            tag_was: None,
            tag_set: false,
            blobs: plan.missing_blobs().map(|blob| Content::of(&blob.digest, blob.size)).collect(),
            manifests: plan
                .missing_manifests()
                .map(|one| Content::of(&one.digest, one.bytes.len() as u64))
                .collect(),
            bytes: plan.missing_bytes(),
            blobs_present: plan.blobs.iter().filter(|blob| blob.present).count(),
            foreign_layers: plan.foreign.len(),
            signed: Vec::new(),
            signed_before: Vec::new(),
            signatures: Vec::new(),
            key_algorithm: algorithm.to_owned(),
        };
        report.tag(&plan.tag);
        report.sign(signatures);
        report
    }

    fn tag(&mut self, was: &TagState) {
        self.tag_set = *was != TagState::Same;
        self.tag_was = match was {
            TagState::Other(digest) => Some(digest.to_string()),
            TagState::Absent | TagState::Same => None,
        };
    }

    fn sign(&mut self, signatures: &[Signatures]) {
        self.signed = signatures::Report::images(signatures, false);
        self.signed_before = signatures::Report::images(signatures, true);
        self.signatures = signatures.iter().map(signatures::Report::of).collect();
    }

    fn lines(&self) -> Vec<String> {
        let did = |infinitive: &str, past: &str| {
            if self.dry_run { format!("would {infinitive}") } else { past.to_owned() }
        };
        let mut lines = vec![format!("source   {}", self.source)];
        let label = did("copy", "copied");
        let amount = |contents: &[Content], what| count(contents.len(), what);
        lines.push(format!(
            "{label:<8} {}, {}, {}",
            amount(&self.blobs, "blob"),
            amount(&self.manifests, "manifest"),
            bytes(self.bytes),
        ));
        if self.dry_run {
            for blob in self.blobs.iter().chain(&self.manifests) {
                lines.push(format!("         {} {}", blob.digest, bytes(blob.size)));
            }
        }
        if self.foreign_layers > 0 {
            let layers = count(self.foreign_layers, "layer");
            lines.push(format!("left     {layers} where it says: not in registries"));
        }
        for image in &self.signatures {
            lines.extend(image.lines(self.dry_run, &self.key_algorithm));
        }
        let was = self.tag_was.as_ref().map(|was| format!(", was {was}")).unwrap_or_default();
        lines.push(if self.tag_set {
            format!("{:<9}{}{was}", did("tag ", "tagged"), self.tag)
        } else {
            format!("tagged   {} (before)", self.tag)
        });
        if self.dry_run {
            lines.push("nothing was written (dry run)".to_owned());
        }
        lines
    }
}

impl Content {
    fn of(digest: &civ_oci::Digest, size: u64) -> Self {
        Self { digest: digest.to_string(), size }
    }
}
