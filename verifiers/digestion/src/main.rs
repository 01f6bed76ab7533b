/*! *digestion-image-verifier*: is this digest on the operator's list?

No network code is linked in: the verdict follows from the call and the policy alone. */

use std::process::ExitCode;

use civ_bindir::{Record, Request, Verifier, answer};
use civ_policy::digestion::Policy;
use civ_policy::{Refusal, Verdict};

const DIGESTION: Verifier = Verifier {
    name: "digestion-image-verifier",
    version: env!("CARGO_PKG_VERSION"),
    about: "Allows a pull if the trust policy lists the image's digest.",
    resolves_names: false,
    keeps: &[],
};

fn main() -> ExitCode {
    answer(DIGESTION, decide)
}

fn decide(request: &Request, record: &Record) -> Result<Verdict, Refusal> {
    request.load_policy(Policy::parse, record)?.decide(&request.image, record)
}
