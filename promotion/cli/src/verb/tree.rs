//! `civ tree`

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use civ_cosign::{PublicKey, TrustPolicy};
use civ_oci::text::one_line;
use civ_oci::{ImageId, Reference};
use civ_promotion::attached::{self, Attached, Attachment, FoundSignature, FoundSigner, NamedKey};
use civ_promotion::sign;
use clap::{Args, ValueHint};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::output::{Format, count, print};

/// The most of a stranger's word that is shown, in bytes.
const WORD_MAX: usize = 200;

/// Arguments of `tree`.
#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// The image, by tag or digest.
    #[arg(value_name = "REF")]
    image: Reference,
    /// The trust policy whose keys may have signed.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
    /// A public key that may have signed: a PEM file. May be repeated.
    #[arg(long = "key", value_name = "FILE", value_hint = ValueHint::FilePath)]
    keys: Vec<PathBuf>,
    /// List what is attached to the children of an index as well.
    #[arg(short, long)]
    recursive: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Serialize)]
struct Report {
    images: Vec<OneImage>,
    #[serde(skip)]
    keys: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OneImage {
    image: String,
    /// `registry`, `tag` or `nobody`.
    referrers_listed_by: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    referrers_left_out: usize,
    attached: Vec<OneAttached>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneAttached {
    kind: String,
    reference: String,
    digest: String,
    /// Whoever pushed it says so.
    untrusted_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    untrusted_created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    signatures: Vec<Signature>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    format: String,
    verified: bool,
    /// The name of the key that made it, if that is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What it says about its key, if that is not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    untrusted_signer: Option<String>,
    /// What it says: claims of anybody's, unless it is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Claims>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    is_about_image: bool,
    digest: String,
    repository: Option<String>,
    annotations: BTreeMap<String, String>,
}

pub(crate) async fn run(args: Tree) -> Result<Exit, Failure> {
    let client = super::client(&super::progress(args.output))?;
    let policy = args.policy.as_deref().map(super::load_policy).transpose()?;
    let named = args.keys.iter().map(|path| read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let top = super::find(&client, &args.image).await?;
    let mut images = vec![top.clone()];
    if args.recursive {
        let target = client.destination(&top.repository, None);
        let children = sign::children(&target, &top).await?;
        images.extend(children.into_iter().map(|child| child.image));
    }
    let mut report = Report { images: Vec::new(), keys: 0 };
    for image in &images {
        let keys = [named.clone(), keys_of(policy.as_ref(), image)].concat();
        report.keys = report.keys.max(keys.len());
        report.images.push(OneImage::of(&attached::find(&client, image, &keys).await?));
    }
    print(args.output, &report, || report.lines())?;
    Ok(Exit::Success)
}

fn read_key(path: &Path) -> Result<NamedKey, Failure> {
    let name = path.display().to_string();
    let fail = |why: &dyn std::fmt::Display| {
        Failure::new(Exit::Key, format_args!("cannot use the key {name}: {why}"))
    };
    let pem = fs::read_to_string(path).map_err(|error| fail(&error))?;
    let key = PublicKey::from_pem(&pem).map_err(|error| fail(&error))?;
    Ok(NamedKey { name, key })
}

/// The keys that the policy trusts for `image`: none, where it says nothing about its repository.
fn keys_of(policy: Option<&TrustPolicy>, image: &ImageId) -> Vec<NamedKey> {
    let trust = policy.and_then(|policy| policy.trust_for(image).ok());
    let keys = trust.map_or(&[][..], |trust| trust.keys);
    keys.iter().map(|one| NamedKey { name: one.name.clone(), key: one.key.clone() }).collect()
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.images.iter().flat_map(OneImage::lines).collect();
        let mut signatures =
            self.images.iter().flat_map(|image| &image.attached).flat_map(|one| &one.signatures);
        if self.keys == 0 && signatures.next().is_some() {
            lines.push("nothing is verified without keys: give --policy or --key".to_owned());
        }
        lines
    }
}

impl OneImage {
    fn of(attached: &Attached) -> Self {
        let image = &attached.image;
        Self {
            image: image.to_string(),
            referrers_listed_by: attached.referrers_listed_by(),
            referrers_left_out: attached.left_out,
            attached: attached.attachments.iter().map(|one| OneAttached::of(image, one)).collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.image.clone()];
        if self.attached.is_empty() {
            lines.push("  nothing is attached".to_owned());
        }
        for one in &self.attached {
            lines.push(format!("  {}", one.line()));
            lines.extend(one.signatures.iter().map(|one| format!("    {}", one.line())));
        }
        if self.referrers_left_out > 0 {
            let more = count(self.referrers_left_out, "more referrer");
            lines.push(format!("  {more} not read"));
        }
        lines
    }
}

impl OneAttached {
    pub(super) fn of(image: &ImageId, one: &Attachment) -> Self {
        let repository = &image.repository;
        Self {
            kind: one.kind.to_string(),
            reference: match &one.tag {
                Some(tag) => format!("{repository}:{tag}"),
                None => repository.image(one.digest.clone()).to_string(),
            },
            digest: one.digest.to_string(),
            untrusted_type: one.untrusted_type.clone(),
            untrusted_created: one.untrusted_created.clone(),
            problem: one.problem.as_ref().map(ToString::to_string),
            signatures: one.signatures.iter().map(Signature::of).collect(),
        }
    }

    /// What it is and where.
    pub(super) fn line(&self) -> String {
        let mut parts = vec![format!("{:<11} {}", self.kind, self.reference)];
        if self.kind == "other" {
            parts.push(format!("says it is {:?}", word(&self.untrusted_type)));
        }
        if let Some(created) = &self.untrusted_created {
            parts.push(format!("says it is of {}", word(created)));
        }
        if let Some(problem) = &self.problem {
            parts.push(word(problem));
        }
        parts.join(", ")
    }
}

impl Signature {
    fn of(found: &FoundSignature) -> Self {
        let (key, untrusted_signer) = match &found.signer {
            FoundSigner::Verified(name) => (Some(name.clone()), None),
            FoundSigner::UnverifiedCertificate => (None, Some("a certificate".to_owned())),
            FoundSigner::UnverifiedHint(hint) => (None, Some(format!("key with hint {hint}"))),
            FoundSigner::UnverifiedKey => (None, Some("unknown key".to_owned())),
        };
        let claims = found.said.as_ref().map(|said| Claims {
            is_about_image: said.is_about_image,
            digest: said.digest.clone(),
            repository: said.repository.clone(),
            annotations: said.annotations.clone(),
        });
        let format = found.format.to_string();
        let is_about_image = found.said.as_ref().is_some_and(|said| said.is_about_image);
        let verified = key.is_some() && is_about_image;
        Self { format, verified, key, untrusted_signer, claims }
    }

    fn line(&self) -> String {
        let who = match (&self.key, &self.untrusted_signer) {
            (Some(key), _) => format!("signed by {:?}", word(key)),
            (None, Some(signer)) => format!("UNVERIFIED, {}", word(signer)),
            (None, None) => "UNVERIFIED".to_owned(),
        };
        let verb = if self.verified { "says" } else { "claims" };
        let what = self.claims.as_ref().map_or_else(|| "unreadable".to_owned(), Claims::line);
        format!("{:<6} {who}; {verb} {what}", self.format)
    }
}

impl Claims {
    fn line(&self) -> String {
        let mut parts = Vec::new();
        if !self.is_about_image {
            parts.push(format!("ANOTHER DIGEST {}", word(&self.digest)));
        }
        parts.push(match &self.repository {
            Some(repository) => format!("repository {}", word(repository)),
            None => "no repository".to_owned(),
        });
        for (key, value) in &self.annotations {
            parts.push(format!("{}={}", word(key), word(value)));
        }
        parts.join(", ")
    }
}

fn word(text: &str) -> String {
    one_line(text, WORD_MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
