//! The verifiers as they are installed, called exactly as containerd calls them.
//!
//! The call itself is in [`civ_private_node::verifier`]. Here every part of it can be replaced,
//! because every part can go wrong.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    time::Duration,
};

pub use civ_oci::media_type::OCI_DESCRIPTOR as DESCRIPTOR;
use civ_private_node::verifier;
pub use civ_private_node::{Outcome, Stdin};

use crate::{image, programs};

/// The size of an image that is in no registry.
const A_SIZE: u64 = 331;

/// The static executable that `cargo gate` builds, e.g. `cosign-image-verifier`; `$CIV_GATE` names
/// another directory to take it from.
pub fn executable(name: &str) -> PathBuf {
    let directory = env::var_os("CIV_GATE").map_or_else(built, PathBuf::from);
    let path = directory.join(name);
    assert!(path.is_file(), "{} not found: run `cargo gate`", path.display());
    path
}

/// Where `cargo gate` puts them: below the triple of the host, which is that of this code.
fn built() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || programs::workspace().join("target"),
        |dir| programs::workspace().join(dir),
    );
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    target.join(format!("{}-unknown-linux-{libc}", env::consts::ARCH)).join("gate")
}

/// An executable copy of `source` in `directory` under another name, which is how one verifier is
/// installed twice with two policies.
pub fn copy_as(source: &Path, directory: &Path, name: &str) -> PathBuf {
    let staging = tempfile::tempdir_in(directory).expect("a temporary directory");
    let path = directory.join(name);
    programs::install(source, &path, staging.path());
    path
}

/// One call of a verifier.
#[derive(Debug, Clone)]
pub struct Call {
    executable: PathBuf,
    argv: Vec<OsString>,
    stdin: Stdin,
    env: BTreeMap<OsString, OsString>,
    limit: Duration,
}

impl Call {
    /// containerd's call about an image's manifest.
    pub fn pull(executable: impl Into<PathBuf>, name: &str, digest: &str) -> Self {
        let stdin = verifier::descriptor(image::MANIFEST, digest, A_SIZE);
        Self::raw(executable, verifier::arguments(name, digest), stdin)
    }

    /// A call with any arguments and any stdin.
    pub fn raw<A: Into<OsString>>(
        executable: impl Into<PathBuf>,
        argv: impl IntoIterator<Item = A>,
        stdin: Stdin,
    ) -> Self {
        Self {
            executable: executable.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            stdin,
            env: BTreeMap::new(),
            limit: verifier::TIMEOUT,
        }
    }

    /// With a policy in this file instead of /etc.
    #[must_use]
    pub fn policy(self, file: &Path) -> Self {
        self.arg("-policy").arg(file)
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.argv.push(argument.into());
        self
    }

    /// With another stdin.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// With this variable in the environment, which otherwise holds PATH only.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// In a mount namespace of its own, with this directory as `/run`. This needs root or the right to
    /// map it.
    #[must_use]
    pub fn with_run(mut self, run: &Path) -> Self {
        const ENTER: &str = r#"mount --bind "$1" /run; shift; exec "$@""#;
        let mut argv: Vec<OsString> = vec!["--mount".into()];
        if !rustix::process::geteuid().is_root() {
            argv.push("--map-root-user".into());
        }
        argv.extend(["--", "sh", "-euc", ENTER, "sh"].map(Into::into));
        argv.extend([run.into(), self.executable.into_os_string()]);
        argv.append(&mut self.argv);
        Self { executable: "unshare".into(), argv, ..self }
    }

    /// With another time limit than containerd's 10 s.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        let mut command = Command::new(&self.executable);
        command.args(&self.argv).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(&self.env);
        let stdin = self.stdin.clone();
        verifier::call(&mut command, stdin, self.limit, &AtomicBool::new(false))
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.executable.display()))
    }
}
