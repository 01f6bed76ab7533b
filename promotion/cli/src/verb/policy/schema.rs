//! `civ policy schema`

use clap::Args;

use super::kind::KindArgument;
use crate::failure::{Exit, Failure};
use crate::output::print_bytes;

/// Arguments of `policy schema`.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// The verifier whose policies it describes.
    #[arg(value_enum)]
    kind: KindArgument,
}

pub(super) fn run(args: &Schema) -> Result<Exit, Failure> {
    print_bytes(civ_authoring::schema::of(args.kind.into()).as_bytes())?;
    Ok(Exit::Success)
}
