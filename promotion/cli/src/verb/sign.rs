//! `civ sign`

use civ_promotion::promote::{self, SignInPlace};
use civ_promotion::sign::Signing;
use serde::Serialize;

use super::signatures;
use crate::args::Sign;
use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    signed: Vec<String>,
    signed_before: Vec<String>,
    signatures: Vec<signatures::Report>,
    key_algorithm: String,
}

pub(super) async fn run(args: Sign) -> Result<Exit, Failure> {
    let Sign { image, signing } = args;
    let annotations = signing.annotations()?;
    let created = signatures::source_date_epoch()?;
    let signer = super::open_key(&signing.key).await?;
    let progress = super::progress(signing.output);
    let client = super::client(&progress)?;
    let signing_in_place = SignInPlace {
        image: &image,
        signing: Signing { formats: signing.formats(), annotations: &annotations, created },
        recursive: signing.recursive,
        dry_run: signing.dry_run,
    };
    let images = promote::sign_in_place(&client, &signing_in_place, &signer, &progress).await?;
    let report = Report {
        dry_run: signing.dry_run,
        signed: signatures::Report::images(&images, false),
        signed_before: signatures::Report::images(&images, true),
        signatures: images.iter().map(signatures::Report::of).collect(),
        key_algorithm: signer.algorithm().to_owned(),
    };
    print(signing.output, &report, || report.lines())?;
    Ok(Exit::Success)
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let lines = |one: &signatures::Report| one.lines(self.dry_run, &self.key_algorithm);
        let mut lines: Vec<_> = self.signatures.iter().flat_map(lines).collect();
        if self.dry_run {
            lines.push("nothing was written (dry run)".to_owned());
        }
        lines
    }
}
