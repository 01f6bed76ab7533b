//! Passwords of key files: from `COSIGN_PASSWORD`, as cosign takes them, or from the terminal.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use civ_promotion::signer::{Password, PasswordError, PasswordSource};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::{Exit, Failure};

const VARIABLE: &str = "COSIGN_PASSWORD";

/// The user of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnvironmentOrTerminal;

impl PasswordSource for EnvironmentOrTerminal {
    fn password(&self, file: &Path) -> Result<Password, PasswordError> {
        of_environment().map_or_else(|| ask(&format!("Password of {}: ", file.display())), Ok)
    }
}

/// The password for a key that is about to be made: typed twice, because nobody sees it.
pub(crate) fn of_new_key() -> Result<Password, Failure> {
    if let Some(password) = of_environment() {
        return Ok(password);
    }
    let asked = |prompt| {
        ask(prompt).map_err(|error| match error {
            PasswordError::Unknown => {
                Failure::new(Exit::Key, "there is no password for the new private key")
                    .hint(format_args!("set {VARIABLE}, or run civ on a terminal"))
            }
            PasswordError::Terminal { kind: io::ErrorKind::Interrupted } => {
                Failure::new(Exit::Interrupted, "stopped")
            }
            error => Failure::new(Exit::Key, error),
        })
    };
    let password = asked("Password for the private key: ")?;
    if password.as_bytes() != asked("The same again: ")?.as_bytes() {
        return Err(Failure::new(Exit::Key, "the two passwords differ; nothing is written"));
    }
    Ok(password)
}

/// Set but empty is a password too, as for cosign.
fn of_environment() -> Option<Password> {
    Some(std::env::var_os(VARIABLE)?.into_vec().into())
}

fn ask(prompt: &str) -> Result<Password, PasswordError> {
    // Whoever is not typing now is not there to be asked, even if the process has a terminal.
    if !io::stdin().is_terminal() {
        return Err(PasswordError::Unknown);
    }
    *asking() = Asked::now();
    let typed = rpassword::prompt_password(prompt);
    // Interrupted, the process is about to be stopped.
    if !matches!(&typed, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
        *asking() = None;
    }
    let typed = typed.map_err(|error| PasswordError::Terminal { kind: error.kind() })?;
    Ok(typed.into())
}

/// A terminal on which a password is asked for.
struct Asked {
    terminal: File,
    /// How it was before, with echo.
    before: Termios,
}

impl Asked {
    fn now() -> Option<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let before = tcgetattr(&terminal).ok()?;
        Some(Self { terminal, before })
    }
}

static ASKED: Mutex<Option<Asked>> = Mutex::new(None);

fn asking() -> MutexGuard<'static, Option<Asked>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the terminal its echo back, if a password is being asked for there: the thread that does so
/// ends with the process. True if that was so.
pub(crate) fn stop_asking() -> bool {
    let Some(Asked { mut terminal, before }) = asking().take() else { return false };
    // A terminal that is gone needs no echo.
    let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    let _ = writeln!(terminal);
    true
}
