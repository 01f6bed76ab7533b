//! `civ public-key`

use std::io::{self, Write as _};

use crate::args::PublicKey;
use crate::failure::{Exit, Failure};

pub(super) async fn run(args: PublicKey) -> Result<Exit, Failure> {
    let signer = super::open_key(&args.key).await?;
    io::stdout().lock().write_all(signer.public_key().to_pem().as_bytes())?;
    Ok(Exit::Success)
}
