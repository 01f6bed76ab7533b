//! A real containerd, for as long as its value lives, which calls the verifiers that are installed
//! for it.
//!
//! Verifiers read /etc/containerd and keep files in /run, at fixed paths on purpose. So each
//! containerd runs in mount and PID namespaces of its own: there, /etc/containerd is a directory of
//! its own and /run is empty. Several run side by side, the machine's own containerd is out of sight,
//! and when the first process ends the kernel takes the rest and the mounts away. This needs root,
//! but neither runc nor CNI: nothing is run from the images.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use serde_json::Value;
use tempfile::TempDir;

use crate::place::{self, NoPlace};
use crate::server::Server;
use crate::verifier::{Outcome, Stdin, call};

/// Where a verifier finds its policy, below /etc/containerd.
const POLICIES: &str = "image-verifiers";

/// Run as the first process of the namespaces: $1 is the directory of this containerd, $2 the
/// executable, $3 what else is to be done before.
/// /etc/containerd may not exist, and containerd itself creates /etc/cni: hence the overlay. Its
/// directories are named from where they are, since a comma would end their name.
const ENTER: &str = r#"
umask 022
mount -t tmpfs tmpfs "$1/overlay"
cd "$1/overlay"
mkdir upper work
mount -t overlay -o lowerdir=/etc,upperdir=upper,workdir=work overlay /etc
mkdir -p /etc/containerd
mount --bind "$1/etc" /etc/containerd
cd /
mount -t tmpfs tmpfs /run
eval "$3"
exec "$2" --config "$1/config.toml"
"#;

const START_TIME: Duration = Duration::from_secs(30);
/// Time for a command of ctr, such as a pull of a small image from this machine.
const CTR_TIME: Duration = Duration::from_mins(1);

/// What makes another configuration of one.
pub type Edit<'a> = &'a dyn Fn(&str) -> String;

/// What containerd is started with.
pub struct Setup<'a> {
    /// The program, by its path or by a name to be found in `PATH`.
    pub containerd: PathBuf,
    /// Its client, named likewise.
    pub ctr: PathBuf,
    /// All variables in its environment, which the verifiers inherit.
    pub env: BTreeMap<String, String>,
    /// What becomes of the usual configuration.
    pub config: Option<Edit<'a>>,
    /// Shell commands before containerd starts, in its namespaces and with its /run: `$1` is the
    /// directory of [`Containerd::path`], `$2` the executable.
    pub before: &'a str,
    /// More files beside `config.toml`, by their names.
    pub files: &'a [(String, String)],
}

impl std::fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("containerd", &self.containerd)
            .field("ctr", &self.ctr)
            .field("env", &self.env)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Why containerd is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no directory for it.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// Its files cannot be written.
    #[error("its files cannot be written: {0}")]
    Files(#[source] io::Error),
    /// setpriv, which is of util-linux, cannot be run.
    #[error("setpriv cannot be run: {0}")]
    Setpriv(#[source] io::Error),
    /// It has ended.
    #[error("containerd did not start; it said: {}", decisive(log))]
    Ended {
        /// All it said.
        log: String,
    },
    /// It is not ready in time.
    #[error("containerd was not ready after {} s; it said: {}", START_TIME.as_secs(), decisive(log))]
    TooSlow {
        /// All it said.
        log: String,
    },
    /// It is not to be waited for any longer.
    #[error("stopped")]
    Stopped,
}

/// A containerd with no verifiers, no policies and no images.
#[derive(Debug)]
pub struct Containerd {
    // Ended before its directory is removed.
    server: Server,
    directory: TempDir,
    ctr: PathBuf,
}

impl Containerd {
    /// Starts one, and returns when it answers. It ends with its value, and at the latest with the
    /// thread that calls this.
    pub fn start(setup: &Setup<'_>, stop: &AtomicBool) -> Result<Self, StartError> {
        let directory = place::for_containerd()?;
        let root = directory.path();
        write_files(root, setup).map_err(StartError::Files)?;
        let prepare = |command: &mut Command| {
            command.arg(root).arg(&setup.containerd).arg(setup.before);
            command.env_clear().env("TMPDIR", root.join("tmp")).envs(&setup.env);
        };
        let server = Server::spawn(ENTER, prepare, &root.join("stdout"), &root.join("log"));
        let server = server.map_err(StartError::Setpriv)?;
        let mut containerd = Self { server, directory, ctr: setup.ctr.clone() };
        containerd.wait_until_ready(stop)?;
        Ok(containerd)
    }

    /// A file of this containerd's, such as `config.toml`, `socket` or `bin`, the directory of
    /// verifiers.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The process, as seen from here; what it sees as its root is `/proc/ID/root`.
    pub fn id(&self) -> Option<i32> {
        self.server.first_process()
    }

    /// Installs a verifier under this name, the right way: written elsewhere, then renamed into place.
    pub fn install(&self, executable: &Path, name: &str) -> io::Result<()> {
        install(executable, &self.path("bin").join(name), &self.path("staging"))
    }

    /// Sets the policy of `PLUGIN-image-verifier`, as Bottlerocket does: one rename, mode 0600.
    pub fn set_policy(&self, plugin: &str, document: &[u8]) -> io::Result<()> {
        let directory = self.path("etc").join(POLICIES).join(plugin);
        place::create(&directory)?;
        let staged = tempfile::NamedTempFile::new_in(&directory)?;
        fs::write(&staged, document)?;
        staged.persist(directory.join("trustpolicy.json"))?;
        Ok(())
    }

    /// Runs `ctr` against this containerd, for a minute at most.
    pub fn ctr<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
        stop: &AtomicBool,
    ) -> io::Result<Outcome> {
        let mut command = Command::new(&self.ctr);
        command.arg("--address").arg(self.path("socket")).args(arguments);
        call(&mut command, Stdin::Null, CTR_TIME, stop)
    }

    /// `ctr images pull`, through the transfer service: verified.
    pub fn pull(&self, reference: &str, stop: &AtomicBool) -> io::Result<Outcome> {
        let hosts = "/etc/containerd/certs.d";
        let pull = ["images", "pull", "--hosts-dir", hosts, "--snapshotter", "native", reference];
        self.ctr(pull, stop)
    }

    /// What containerd said so far, at debug level: there, a verifier's stderr and every allowed pull
    /// are said.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.path("log"))
    }

    fn wait_until_ready(&mut self, stop: &AtomicBool) -> Result<(), StartError> {
        let start = Instant::now();
        loop {
            let log = self.log().unwrap_or_default();
            // The socket is there before the services behind it are.
            let answers = log.contains("containerd successfully booted")
                && UnixStream::connect(self.path("socket")).is_ok();
            if answers {
                return Ok(());
            }
            if stop.load(Ordering::Relaxed) {
                return Err(StartError::Stopped);
            }
            if !matches!(self.server.ended(), Ok(None)) {
                return Err(StartError::Ended { log: self.log().unwrap_or(log) });
            }
            if start.elapsed() > START_TIME {
                return Err(StartError::TooSlow { log });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Puts an executable copy of `source` at `target`, whole from the first moment it is visible, by way
/// of the directory `staging`.
///
/// By the program `install` and a rename, not by this process: a file that a thread of ours has open
/// for writing while another thread forks cannot be executed for a moment ("text file busy").
pub fn install(source: &Path, target: &Path, staging: &Path) -> io::Result<()> {
    let staged = staging.join(target.file_name().unwrap_or_default());
    let mut command = Command::new("install");
    let output = command.args(["-m", "0755"]).arg(source).arg(&staged).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    fs::rename(&staged, target)
}

/// The configuration of a node that verifies, less what running containers needs.
fn config(root: &Path) -> String {
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    // A string of JSON without control characters is one of TOML.
    let path = |name| Value::from(root.join(name).to_string_lossy()).to_string();
    let [bin, root, state, socket, ttrpc] =
        ["bin", "root", "state", "socket", "socket.ttrpc"].map(path);
    format!(
        r#"version = 3
root = {root}
state = {state}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = {socket}
[ttrpc]
  address = {ttrpc}
[debug]
  level = "debug"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = {bin}
  max_verifiers = -1
  per_verifier_timeout = "10s"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  use_local_image_pull = false
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "/etc/containerd/certs.d"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/{architecture}"
  snapshotter = "native"
  differ = "walking"
"#
    )
}

fn write_files(root: &Path, setup: &Setup<'_>) -> io::Result<()> {
    for name in ["bin", "etc/certs.d", "overlay", "staging", "tmp"] {
        place::create(&root.join(name))?;
    }
    let usual = config(root);
    let config = setup.config.map_or_else(|| usual.clone(), |edit| edit(&usual));
    fs::write(root.join("config.toml"), config)?;
    for (name, text) in setup.files {
        let path = root.join(name);
        place::create(path.parent().unwrap_or(root))?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// The line of a log that says why: the last one, but for mount's pointer to the kernel's log.
fn decisive(log: &str) -> &str {
    let says_why = |line: &&str| !line.trim().is_empty() && !line.contains("dmesg(1)");
    log.lines().rev().find(says_why).unwrap_or("nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_why_is_told() {
        let mount = "mount: /etc: wrong fs type.\n       dmesg(1) may have more information after failed mount system call.\n";
        for (log, told) in [
            ("", "nothing"),
            ("\n \n", "nothing"),
            (mount, "mount: /etc: wrong fs type."),
            (
                "a\nunshare: unshare failed: Operation not permitted\n",
                "unshare: unshare failed: Operation not permitted",
            ),
        ] {
            assert_eq!(decisive(log), told);
        }
    }

    #[test]
    fn a_path_with_quotes_is_one_string_of_the_configuration() {
        let config = config(Path::new(r#"/tmp/a"b\c,d"#));
        assert!(config.contains(r#"bin_dir = "/tmp/a\"b\\c,d/bin""#), "{config}");
    }
}
