//! `civ verify`

use std::time::Duration;

use civ_authoring::Document;
use civ_oci::{ImageId, Reference};
use civ_policy::Exit as GateExit;
use civ_promotion::judge::{Judgement, judge};
use civ_promotion::{Client, Retry, promote};
use serde::Serialize;

use crate::args::Verify;
use crate::failure::{Exit, Failure};
use crate::output::{Format, print};

/// The longest that a silent registry is waited for, of which there are two such waits at most.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The longest for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(25);
/// The longest for a verdict. The registry has a node's 8 s; beside them there are the tag, KMS and
/// credential helpers.
const VERDICT_MAX: Duration = Duration::from_mins(1);

#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    image: String,
    statement: String,
    reason: String,
}

pub(super) async fn run(args: Verify) -> Result<Exit, Failure> {
    let policy = super::load_policy(&args.policy)?;
    let retry = Retry { silence_max: SILENCE_MAX, question_max: ANSWER_MAX, ..Retry::default() };
    let client = super::client_with(retry, &super::progress(args.output))?;
    let policy = Document::Cosign(Box::new(policy));
    let outcome = tokio::time::timeout(VERDICT_MAX, decide(&client, &args.image, policy)).await;
    let (image, judgement) = outcome.map_err(|_| {
        let at = &args.image;
        let fact = format!("undecided at {at}: no verdict within {} s", VERDICT_MAX.as_secs());
        Failure::new(Exit::Registry, fact).hint("run the same command again later")
    })??;
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

/// The image that is meant, and what a node says of it.
async fn decide(
    client: &Client,
    asked: &Reference,
    policy: Document,
) -> Result<(ImageId, Judgement), Failure> {
    let image = super::find(client, asked).await?;
    let judgement = judge(client, policy, &image).await?;
    let is_refused =
        matches!(&judgement.verdict, Err(refusal) if refusal.exit == GateExit::Refused);
    if is_refused && asked.digest.is_some() {
        // No signature is to be expected of an image that is not there.
        promote::find(client, asked).await?;
    }
    Ok((image, judgement))
}

/// What was asked for, with the digest that it stands for today.
fn named(asked: &Reference, image: &ImageId) -> Reference {
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
