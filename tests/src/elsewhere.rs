//! A command where the system's own directories are others: in a mount namespace, with an /etc, a /dev
//! or a /proc of the test's. This needs root or the right to map it.

use std::{ffi::OsString, fs, path::Path};

use tempfile::TempDir;

use crate::{
    gate::{Call, Stdin},
    scratch,
};

/// A command in a mount namespace, where the directories `etc`, `dev` and `proc` of `root`, as far
/// as there are any, lie over those of the system.
pub fn call(root: &Path, command: impl IntoIterator<Item = OsString>) -> Call {
    const ENTER: &str = r#"
        root=$1; shift
        for name in etc dev proc; do
            if [ -d "$root/$name" ]; then mount --bind "$root/$name" "/$name"; fi
        done
        exec "$@""#;
    let mut arguments: Vec<OsString> = vec!["--mount".into()];
    if !rustix::process::geteuid().is_root() {
        arguments.push("--map-root-user".into());
    }
    arguments.extend(["--", "sh", "-euc", ENTER, "sh"].map(Into::into));
    arguments.push(root.into());
    arguments.extend(command);
    Call::raw("unshare", arguments, Stdin::Null)
}

/// A directory with these in it.
pub fn new_root(directories: &[&str]) -> TempDir {
    let root = scratch::directory();
    for directory in directories {
        fs::create_dir_all(root.path().join(directory)).expect("a directory in one of ours");
    }
    root
}
