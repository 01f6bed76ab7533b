//! Where the real programs are.
//!
//! They are not part of the system: `tests/programs` unpacks them below `target/`. A program that
//! is absent fails the test, because a skipped test proves nothing and looks like a passed one.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use civ_private_node::{Outcome, containerd};

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

/// The directory that `tests/programs` fills: `target/programs`, or `$CIV_PROGRAMS`.
pub fn directory() -> PathBuf {
    env::var_os("CIV_PROGRAMS").map_or_else(|| workspace().join("target/programs"), PathBuf::from)
}

/// The path of a program that `tests/programs` unpacked.
pub fn find(name: &str) -> PathBuf {
    let path = directory().join("bin").join(name);
    assert!(path.exists(), "{} not found: run tests/programs", path.display());
    path
}

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl Finished {
    /// Whether the program ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The same, when it ended with 0; a panic with all it said otherwise.
    #[allow(clippy::must_use_candidate, clippy::return_self_not_must_use, reason = "an assertion")]
    #[track_caller]
    pub fn expect_success(self, what: &str) -> Self {
        assert!(self.success(), "{what} failed: {self:#?}");
        self
    }
}

impl From<Outcome> for Finished {
    fn from(outcome: Outcome) -> Self {
        let Outcome { code, stdout, stderr, .. } = outcome;
        Self { code, stdout, stderr }
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command to its end, with nothing to read.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
        .into()
}

/// Puts an executable copy of `source` at `target`, whole from the first moment it is visible.
pub(crate) fn install(source: &Path, target: &Path, staging: &Path) {
    containerd::install(source, target, staging)
        .unwrap_or_else(|error| panic!("cannot install {}: {error}", target.display()));
}
