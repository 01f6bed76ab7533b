//! How `civ` ends: an exit code, and on stderr one line with what failed, where, why, and what to
//! do.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use civ_oci::text::one_line;
use civ_promotion::signer::SignerError;
use civ_promotion::{Error, Kind};
use clap::error::ErrorKind;

/// The longest line that is printed, in bytes.
const LINE_MAX: usize = 1_000;

/// How the process ends. The numbers are those of the verifiers, where both have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Success = 0,
    /// The image is refused.
    Refused = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The policy, the key or another file cannot be used.
    Key = 3,
    /// A registry or the network failed.
    Registry = 4,
    /// A defect of civ's.
    Internal = 70,
    /// The terminal is gone: the code of a process that SIGHUP has ended, as with the next ones.
    HungUp = 129,
    /// Stopped by the user: SIGINT.
    Interrupted = 130,
    /// Nobody reads the result: SIGPIPE.
    Closed = 141,
    /// Stopped by the system: SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Something that went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    fact: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with nothing to be done about it that the fact does not say.
    pub(crate) fn new(exit: Exit, fact: impl fmt::Display) -> Self {
        Self { exit, fact: fact.to_string(), hint: None }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(fact: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, fact)
    }

    /// With what to do about it.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// With something to know beside what to do about it.
    pub(crate) fn know(mut self, fact: &str) -> Self {
        self.hint =
            Some(self.hint.map_or_else(|| fact.to_owned(), |hint| format!("{hint} ({fact})")));
        self
    }

    /// What failed, without what to do about it.
    pub(crate) fn fact(&self) -> &str {
        &self.fact
    }

    /// How the process is to end.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the line. Nothing can be done if that fails too.
    pub(crate) fn report(self) -> ExitCode {
        if self.exit == Exit::Closed {
            return self.exit.into();
        }
        let mut line = self.fact;
        if let Some(hint) = self.hint {
            line.push_str("; ");
            line.push_str(&hint);
        }
        let _ = writeln!(io::stderr(), "{}: {}", name(), one_line(&line, LINE_MAX));
        self.exit.into()
    }
}

/// The program's name: bold and red where colour is welcome.
fn name() -> &'static str {
    let is_asked_for = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    if io::stderr().is_terminal() && is_asked_for { "\u{1b}[1;31mciv\u{1b}[0m" } else { "civ" }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            Kind::Internal => Exit::Internal,
            Kind::Key => Exit::Key,
            Kind::Refused => Exit::Refused,
            Kind::Registry => Exit::Registry,
            Kind::Usage => Exit::Usage,
        };
        let hint = error.hint().map(str::to_owned);
        Self { exit, fact: error.to_string(), hint }
    }
}

/// stdout or stderr is gone, or full.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => Exit::Closed,
            _ => Exit::Key,
        };
        Self::new(exit, format_args!("the result cannot be written: {error}")).hint("give it room")
    }
}

/// What clap has to say: help as it is, anything else on one line.
pub(crate) fn of_command_line(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
        return exit.into();
    }
    let text = error.to_string();
    let paragraphs = text.trim_start_matches("error:").split("\n\n");
    // "Did you mean" is a paragraph of its own.
    let said = paragraphs.take_while(|text| {
        !text.starts_with("Usage:") && !text.trim_start().starts_with("For more information")
    });
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: Vec<String> = said.map(one_line).collect();
    Failure::usage(said.join("; ")).hint("see --help").report()
}

/// A key that cannot be opened.
pub(crate) fn of_key(key: &str, error: &SignerError) -> Failure {
    let exit = if error.is_about_service() { Exit::Registry } else { Exit::Key };
    let failure = match error {
        // It names the file itself.
        SignerError::Read { .. } => Failure::new(exit, format_args!("the key {error}")),
        _ => Failure::new(exit, format_args!("cannot use the key {key}: {error}")),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Makes a panic one line, instead of a message for programmers.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(io::stderr(), "civ: this is a defect of civ, at {at}; please report it");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [Exit::Success, Exit::Refused, Exit::Usage, Exit::Key, Exit::Registry];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 3, 4]);
        let codes = [Exit::Internal, Exit::HungUp, Exit::Interrupted, Exit::Terminated];
        assert_eq!(codes.map(|exit| exit as u8), [70, 129, 130, 143]);
    }
}
