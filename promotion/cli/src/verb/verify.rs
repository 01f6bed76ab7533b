//! `civ verify`

use civ_authoring::Document;
use civ_oci::Reference;
use civ_policy::Exit as GateExit;
use civ_promotion::judge::judge;
use civ_promotion::promote;
use serde::Serialize;

use crate::args::Verify;
use crate::failure::{Exit, Failure};
use crate::output::{Format, print};

#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    image: String,
    statement: String,
    reason: String,
}

pub(super) async fn run(args: Verify) -> Result<Exit, Failure> {
    let policy = super::load_policy(&args.policy)?;
    let client = super::client()?;
    let image = match args.image.image() {
        Some(image) => image,
        None => promote::find(&client, &args.image).await?,
    };
    let judgement = judge(&client, Document::Cosign(Box::new(policy)), &image).await?;
    let statement = judgement.fact("statement").unwrap_or_default().to_owned();
    let (verdict, reason, exit) = match judgement.verdict {
        Ok(verdict) => ("allowed", verdict.reason().to_owned(), Exit::Success),
        Err(refusal) => match refusal.exit {
            GateExit::BadPolicy => ("undecided", refusal.reason, Exit::Key),
            GateExit::Registry | GateExit::Deadline => {
                ("undecided", refusal.reason, Exit::Registry)
            }
            _ => ("refused", refusal.reason, Exit::Refused),
        },
    };
    let report = Report { verdict, image: image.to_string(), statement, reason };
    if exit == Exit::Success || args.output == Format::Json {
        print(args.output, &report, || report.lines(&args.image))?;
        return Ok(exit);
    }
    let Report { verdict, reason, .. } = report;
    Err(Failure::new(exit, format_args!("{verdict} at {}: {reason}", named(&args.image, &image))))
}

/// What was asked for, with the digest that it stands for today.
fn named(asked: &Reference, image: &civ_oci::ImageId) -> Reference {
    Reference { digest: Some(image.digest.clone()), ..asked.clone() }
}

impl Report {
    fn lines(&self, asked: &Reference) -> Vec<String> {
        let mut lines = Vec::new();
        if asked.digest.is_none() {
            lines.push(format!("{asked} is {}", self.image));
        }
        lines.push(format!("{} {}: {}", self.verdict, self.image, self.reason));
        lines
    }
}
