//! The verifiers as they are installed, called exactly as containerd calls them.
//!
//! The call is containerd's `pkg/imageverifier/bindir`: fork and exec, three flags, the descriptor
//! on stdin, a process group of its own, SIGKILL to the group after 10 s, 32 KiB of stdout as the
//! reason, an environment in which nothing can be relied on. Every part can be replaced, because
//! every part can go wrong.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use crate::{image, programs};

/// The media type of what containerd writes to a verifier's stdin.
pub const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// What containerd keeps of a verifier's stdout.
const STDOUT_LIMIT: u64 = 32 * 1024;

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

/// What a verifier finds on its stdin.
#[derive(Debug, Clone)]
pub enum Stdin {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// Nothing, and never the end.
    Open,
    /// Spaces without end, which a JSON parser skips.
    Endless,
    /// No file descriptor to speak of: /dev/null.
    Null,
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

/// How a call ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// The reason, as much as containerd keeps of it.
    pub stdout: String,
    /// The log.
    pub stderr: String,
    /// From the start to the end of the process and of its output.
    pub wall: Duration,
    /// Whether it, or a child holding its stdout, was still there when the time was up.
    pub timed_out: bool,
}

impl Call {
    /// containerd's call about an image's manifest.
    pub fn pull(executable: impl Into<PathBuf>, name: &str, digest: &str) -> Self {
        let descriptor = json!({ "mediaType": image::MANIFEST, "digest": digest, "size": 331 });
        Self::raw(
            executable,
            ["-name", name, "-digest", digest, "-stdin-media-type", DESCRIPTOR],
            Stdin::Bytes(descriptor.to_string().into_bytes()),
        )
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
            limit: Duration::from_secs(10),
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
        command.args(&self.argv).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&self.env);
        command.stdin(if matches!(self.stdin, Stdin::Null) {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        let start = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.executable.display()));
        let group = Pid::from_raw(child.id().cast_signed()).expect("the pid of a child");

        let feeder = feed(&mut child, self.stdin.clone());
        let mut out = child.stdout.take().expect("a piped stdout");
        let mut err = child.stderr.take().expect("a piped stderr");
        let (done, ended) = mpsc::channel();
        let out = thread::spawn(move || {
            let mut kept = Vec::new();
            let read = out.by_ref().take(STDOUT_LIMIT).read_to_end(&mut kept);
            read.and_then(|_| io::copy(&mut out, &mut io::sink())).expect("a readable pipe");
            kept
        });
        let err = thread::spawn(move || {
            let mut all = Vec::new();
            err.read_to_end(&mut all).expect("a readable pipe");
            all
        });
        // Like containerd's, the call is over when the process has ended and nothing holds its
        // output any more.
        let waiter = thread::spawn(move || {
            let out = out.join().expect("the reader of stdout");
            let err = err.join().expect("the reader of stderr");
            let status = child.wait().expect("a child of ours");
            let _ = done.send(());
            (status, out, err)
        });
        let timed_out = ended.recv_timeout(self.limit).is_err();
        if timed_out {
            // It may end by itself at this very moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let (status, out, err) = waiter.join().expect("the waiter");
        let wall = start.elapsed();
        drop(feeder);
        Outcome {
            code: status.code(),
            stdout: String::from_utf8_lossy(&out).into_owned(),
            stderr: String::from_utf8_lossy(&err).into_owned(),
            wall,
            timed_out,
        }
    }
}

/// Writes to the child's stdin from a thread, as it may never be read. What is returned keeps the
/// pipe open.
fn feed(child: &mut Child, stdin: Stdin) -> Option<mpsc::Sender<()>> {
    let mut pipe = child.stdin.take()?;
    let (open, over) = mpsc::channel();
    thread::spawn(move || match stdin {
        // A verifier that has seen enough closes its end: that is not this thread's concern.
        Stdin::Bytes(bytes) => {
            let _ = pipe.write_all(&bytes);
        }
        Stdin::Endless => while pipe.write_all(&[b' '; 4096]).is_ok() {},
        Stdin::Open => {
            let _ = over.recv();
        }
        Stdin::Null => {}
    });
    Some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(body: &str, stdin: Stdin) -> Call {
        Call::raw("/bin/sh", ["-c", body], stdin)
    }

    #[test]
    fn a_call_ends_like_containerds() {
        let outcome = shell("cat; echo log >&2; exit 7", Stdin::Bytes(b"reason".into())).run();
        assert_eq!((outcome.code, outcome.timed_out), (Some(7), false));
        assert_eq!((&*outcome.stdout, &*outcome.stderr), ("reason", "log\n"));

        let outcome = shell("head -c 100000 /dev/zero", Stdin::Endless).run();
        assert_eq!((outcome.code, outcome.stdout.len()), (Some(0), 32 * 1024));
    }

    #[test]
    fn the_time_limit_ends_a_reader_of_open_stdin_and_a_child_that_holds_stdout() {
        let limit = Duration::from_millis(200);
        let outcome = shell("exec cat", Stdin::Open).limit(limit).run();
        assert_eq!((outcome.code, outcome.timed_out), (None, true));

        let outcome = shell("sleep 60 & exit 0", Stdin::Null).limit(limit).run();
        assert_eq!((outcome.code, outcome.timed_out), (Some(0), true));
    }
}
