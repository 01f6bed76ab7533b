//! `civ`: promote, sign and verify container images.
//!
//! Each verb is a module of [`verb`], which reads its arguments, calls the library and prints what
//! came of it. [`failure`] turns whatever went wrong into one line and an exit code; [`draw`] shows
//! progress.

use std::process::ExitCode;

use clap::FromArgMatches as _;

mod args;
mod demo;
mod draw;
mod failure;
mod output;
mod password;
mod stop;
mod verb;

fn main() -> ExitCode {
    failure::report_panics();
    let parsed = args::command().try_get_matches();
    let cli = match parsed.and_then(|matches| args::Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return failure::of_command_line(&error),
    };
    match std::panic::catch_unwind(|| verb::run(cli)) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => failure.report(),
        Err(_) => failure::Exit::Internal.into(),
    }
}
