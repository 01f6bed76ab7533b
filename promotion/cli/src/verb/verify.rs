//! `civ verify`

use civ_oci::Reference;
use civ_promotion::gate::{self, Outcome};
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
    let judgement = gate::judge(&client, policy, &image).await?;
    let (verdict, reason, exit) = match judgement.outcome {
        Outcome::Allowed(reason) => ("allowed", reason, Exit::Success),
        Outcome::Audited(error) => {
            ("allowed", format!("audit only, would refuse: {error}"), Exit::Success)
        }
        Outcome::Refused(gate::GateError::Registry(error)) => {
            ("undecided", error.to_string(), Exit::Registry)
        }
        Outcome::Refused(error) => ("refused", error.to_string(), Exit::Refused),
    };
    let statement = judgement.statement;
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
