//! `civ triangulate`

use civ_oci::{Digest, Reference, Tag};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::output::{Format, print};

/// Arguments of `triangulate`.
#[derive(Debug, Args)]
pub(crate) struct Triangulate {
    /// The image, by tag or digest.
    #[arg(value_name = "REF")]
    image: Reference,
    /// What to find.
    #[arg(long = "type", value_enum, default_value_t = Wanted::Signature)]
    wanted: Wanted,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What belongs to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// The image of its signatures.
    Signature,
    /// The image of its attestations.
    Attestation,
    /// Its bill of materials.
    Sbom,
    /// The image itself, by digest.
    Digest,
    /// The list of its referrers, in registries that keep none.
    Referrers,
}

#[derive(Serialize)]
struct Report {
    image: String,
    reference: String,
}

pub(crate) async fn run(args: Triangulate) -> Result<Exit, Failure> {
    let image = super::find(&super::client(&super::progress(args.output))?, &args.image).await?;
    let reference = match args.wanted {
        Wanted::Digest => image.to_string(),
        Wanted::Referrers => format!("{}:{}", image.repository, Tag::of_referrers(&image.digest)),
        Wanted::Signature => format!("{}:{}", image.repository, tag(&image.digest, "sig")?),
        Wanted::Attestation => format!("{}:{}", image.repository, tag(&image.digest, "att")?),
        Wanted::Sbom => format!("{}:{}", image.repository, tag(&image.digest, "sbom")?),
    };
    let report = Report { image: image.to_string(), reference };
    print(args.output, &report, || vec![report.reference.clone()])?;
    Ok(Exit::Success)
}

fn tag(digest: &Digest, suffix: &str) -> Result<Tag, Failure> {
    format!("{}.{suffix}", digest.as_tag_stem()).parse().map_err(|_| {
        Failure::usage(format_args!("cosign has no tag .{suffix} for a sha512 digest"))
    })
}
