//! `civ clean`

use civ_oci::Reference;
use civ_promotion::attached::{self, AttachmentKind, Wanted};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::tree::OneAttached;
use crate::failure::{Exit, Failure};
use crate::output::{Format, count, print};

/// Arguments of `clean`.
#[derive(Debug, Args)]
pub(crate) struct Clean {
    /// The image, by tag or digest.
    #[arg(value_name = "REF")]
    image: Reference,
    /// What to delete.
    #[arg(long = "type", value_enum, default_value_t = What::All)]
    what: What,
    /// Delete, instead of saying what would be deleted.
    #[arg(long)]
    confirm: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Signatures, under the tag and in referrers.
    Signature,
    /// Attestations, under the tag and in referrers.
    Attestation,
    /// Bills of materials, under the tag and in referrers.
    Sbom,
    /// Every referrer, of whatever kind.
    Referrer,
    /// Everything that is attached.
    All,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    /// Whether it was deleted, or would be.
    confirmed: bool,
    deleted: Vec<OneAttached>,
    kept: Vec<OneAttached>,
}

pub(crate) async fn run(args: Clean) -> Result<Exit, Failure> {
    let wanted = match args.what {
        What::All => Wanted::All,
        What::Referrer => Wanted::Referrers,
        What::Signature => Wanted::Kind(AttachmentKind::Signature),
        What::Attestation => Wanted::Kind(AttachmentKind::Attestation),
        What::Sbom => Wanted::Kind(AttachmentKind::Sbom),
    };
    let client = super::client(&super::progress(args.output))?;
    let image = super::find(&client, &args.image).await?;
    let found = attached::find(&client, &image, &[]).await?;
    if args.confirm {
        attached::clean(&client, &found, wanted).await?;
    }
    let describe = |one: Vec<&attached::Attachment>| {
        one.into_iter().map(|one| OneAttached::of(&image, one)).collect()
    };
    let report = Report {
        image: image.to_string(),
        confirmed: args.confirm,
        deleted: describe(found.to_delete(wanted)),
        kept: describe(found.to_keep(wanted)),
    };
    print(args.output, &report, || report.lines())?;
    Ok(Exit::Success)
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let label = if self.confirmed { "deleted" } else { "would delete" };
        let gone = self.deleted.iter().map(|one| format!("{label} {}", one.line()));
        let kept = self.kept.iter().map(|one| format!("left {}", one.line()));
        let mut lines: Vec<_> = gone.chain(kept).collect();
        if self.deleted.is_empty() {
            lines.push(format!("nothing of that is attached to {}", self.image));
        } else if !self.confirmed {
            let these = count(self.deleted.len(), "thing");
            lines.push(format!("nothing was deleted; --confirm deletes {these}"));
        }
        lines
    }
}
