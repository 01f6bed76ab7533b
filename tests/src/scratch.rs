//! Where a test writes.
//!
//! The verifiers trust no file and no directory that others may write to, so what a test writes must
//! not depend on the umask of who runs it (002 on many systems).

use rustix::fs::Mode;
use tempfile::TempDir;

/// A new directory, removed with its value. From now on nobody else may write to what this process
/// and its children create.
pub fn directory() -> TempDir {
    // It belongs to the whole process. To set it again, to the same, is no race.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    tempfile::Builder::new().prefix("civ-").tempdir().expect("a temporary directory")
}
