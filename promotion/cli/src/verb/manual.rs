//! `civ completions` and `civ man`: both made from the command line's own description.

use std::io::{self, Write as _};
use std::path::Path;

use clap_complete::Shell;

use crate::args::command;
use crate::failure::{Exit, Failure};

pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "civ", &mut text);
    io::stdout().lock().write_all(&text)?;
    Ok(Exit::Success)
}

pub(super) fn pages(directory: Option<&Path>) -> Result<Exit, Failure> {
    match directory {
        None => clap_mangen::Man::new(command()).render(&mut io::stdout().lock())?,
        Some(directory) => {
            clap_mangen::generate_to(command(), directory).map_err(|error| {
                let fact = format!("cannot write manual pages to {}: {error}", directory.display());
                Failure::usage(fact)
            })?;
        }
    }
    Ok(Exit::Success)
}
