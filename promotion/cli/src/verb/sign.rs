//! `civ sign`

use civ_promotion::promote::{self, SignInPlace};
use serde::Serialize;

use crate::args::Sign;
use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    signed: Vec<String>,
    signed_before: Vec<String>,
    key_algorithm: String,
}

pub(super) async fn run(args: Sign) -> Result<Exit, Failure> {
    let Sign { image, signing } = args;
    let annotations = signing.annotations()?;
    let signer = super::open_key(&signing.key).await?;
    let client = super::client()?;
    let signing_in_place = SignInPlace {
        image: &image,
        annotations: &annotations,
        recursive: signing.recursive,
        dry_run: signing.dry_run,
    };
    let progress = super::progress(signing.output);
    let signatures = promote::sign_in_place(&client, &signing_in_place, &signer, &progress).await?;
    let images = |present| {
        let images = signatures.iter().filter(move |one| one.present == present);
        images.map(|one| one.image.to_string()).collect()
    };
    let report = Report {
        dry_run: signing.dry_run,
        signed: images(false),
        signed_before: images(true),
        key_algorithm: signer.algorithm().to_owned(),
    };
    print(signing.output, &report, || report.lines())?;
    Ok(Exit::Success)
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let label = if self.dry_run { "would sign" } else { "signed" };
        let now =
            self.signed.iter().map(|image| format!("{label} {image} ({})", self.key_algorithm));
        let before = self.signed_before.iter().map(|image| format!("signed {image} (before)"));
        now.chain(before).collect()
    }
}
