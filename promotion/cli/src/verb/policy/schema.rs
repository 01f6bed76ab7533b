//! `civ policy schema`

use std::io::{self, Write as _};

use clap::Args;

use super::kind::KindArgument;
use crate::failure::{Exit, Failure};

/// Arguments of `policy schema`.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// The verifier whose policies it describes.
    #[arg(value_enum)]
    kind: KindArgument,
}

pub(super) fn run(args: &Schema) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(civ_authoring::schema::of(args.kind.into()).as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}
