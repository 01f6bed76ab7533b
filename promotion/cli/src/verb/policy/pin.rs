//! `civ policy pin`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use civ_cosign::{PublicKey, TrustPolicy};
use civ_oci::text::one_line;
use civ_policy::KmsKeyRef;
use civ_promotion::signer::Kms;
use clap::{Args, ValueHint};
use serde::Serialize;

use super::document::{self, Pinned, WrittenKey};
use super::place;
use crate::failure::{self, Exit, Failure};
use crate::output::{self, Format, print};
use crate::verb::{bad_policy, is_stdin, read_policy};

/// The longest line about a key, in bytes: its names are the document's.
const LINE_MAX: usize = 1_000;

/// Arguments of `policy pin`.
#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// The trust policy of cosign-image-verifier.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Ask for pinned keys too, and replace those that KMS no longer gives.
    #[arg(long)]
    refresh: bool,
    /// Show what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    written: bool,
    keys: Vec<KeyReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyReport {
    statement: String,
    name: String,
    kms: String,
    arn: String,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    Pinned,
    Replaced,
    Unchanged,
}

/// What KMS says of a key.
struct Answer {
    public_key: PublicKey,
    arn: String,
}

pub(super) async fn run(args: Pin) -> Result<Exit, Failure> {
    if is_stdin(&args.file) {
        return Err(Failure::usage("pin changes a file, and - is none"));
    }
    let text = String::from_utf8(read_policy(&args.file)?)
        .map_err(|_| bad_policy(&args.file, "not UTF-8"))?;
    let keys = document::keys(&text).map_err(|error| bad_policy(&args.file, error))?;
    let mut answers: BTreeMap<&str, Answer> = BTreeMap::new();
    let (mut reports, mut pinned) = (Vec::new(), Vec::new());
    for key in keys.iter().filter(|key| args.refresh || key.public_key.is_none()) {
        let Some(kms) = &key.kms else { continue };
        if !answers.contains_key(kms.as_str()) {
            answers.insert(kms, ask(kms).await?);
        }
        let Some(answer) = answers.get(kms.as_str()) else { continue };
        let action = action(key, answer);
        if action != Action::Unchanged {
            pinned.push(Pinned { key, pem: answer.public_key.to_pem() });
        }
        reports.push(KeyReport {
            statement: key.statement.clone(),
            name: key.name.clone(),
            kms: kms.clone(),
            arn: answer.arn.clone(),
            action,
            warning: warning(kms, answer),
        });
    }
    let edited = document::with_public_keys(&text, &pinned)
        .ok_or_else(|| Failure::new(Exit::Internal, "a key has no place in the policy"))?;
    TrustPolicy::parse(edited.as_bytes()).map_err(|error| {
        bad_policy(&args.file, error).hint("nothing was written; correct the policy first")
    })?;
    let written = !args.dry_run && edited != text;
    if written {
        place::replace(&args.file, edited.as_bytes())
            .map_err(|error| bad_policy(&args.file, error))?;
    }
    let report = Report { dry_run: args.dry_run, written, keys: reports };
    print(args.output, &report, || report.lines(&args.file))?;
    if args.output == Format::Text {
        for warning in report.keys.iter().filter_map(|key| key.warning.as_ref()) {
            output::remark(format_args!("warning: {warning}"))?;
        }
    }
    Ok(Exit::Success)
}

async fn ask(kms: &str) -> Result<Answer, Failure> {
    let reference: KmsKeyRef = kms
        .parse()
        .map_err(|error: civ_policy::kms::KmsKeyRefError| failure::of_key(kms, &error.into()))?;
    let kms = Kms::open(&reference).await.map_err(|error| failure::of_key(kms, &error))?;
    let arn = kms.arn().unwrap_or(reference.key_id()).to_owned();
    Ok(Answer { public_key: kms.public_key().clone(), arn })
}

fn action(key: &WrittenKey, answer: &Answer) -> Action {
    match &key.public_key {
        None => Action::Pinned,
        Some(pem) if PublicKey::from_pem(pem).is_ok_and(|known| known == answer.public_key) => {
            Action::Unchanged
        }
        Some(_) => Action::Replaced,
    }
}

/// What to know of an alias: it may be another key's tomorrow, and the pinned key stays.
fn warning(kms: &str, answer: &Answer) -> Option<String> {
    let reference: KmsKeyRef = kms.parse().ok()?;
    reference.is_alias().then(|| {
        format!("{kms} is {} today; the policy pins that key, so name it by its ARN", answer.arn)
    })
}

impl Report {
    fn lines(&self, file: &Path) -> Vec<String> {
        let would = if self.dry_run { "would be " } else { "" };
        let line = |key: &KeyReport| {
            let action = match key.action {
                Action::Pinned => format!("{would}pinned"),
                Action::Replaced => format!("{would}replaced"),
                Action::Unchanged => "unchanged".to_owned(),
            };
            let KeyReport { statement, name, arn, .. } = key;
            one_line(&format!("{action} {statement}/{name}: {arn}"), LINE_MAX)
        };
        let changed = self.keys.iter().filter(|key| key.action != Action::Unchanged).count();
        let last = match (changed, self.written) {
            (0, _) => "nothing to write".to_owned(),
            (_, false) => "nothing was written".to_owned(),
            (changed, true) => {
                format!("wrote {} to {}", output::count(changed, "public key"), file.display())
            }
        };
        self.keys.iter().map(line).chain([last]).collect()
    }
}
