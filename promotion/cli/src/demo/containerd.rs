//! A containerd of the demo's own, in namespaces of its own: its `/etc/containerd` holds the demo's
//! policies, its `/run` is empty, and when it ends nothing of it is left.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::node::{Verdict, Verifiers};
use super::stage::Stage;

/// The first containerd whose CRI asks verifiers.
const NEEDED: (u32, u32) = (2, 1);
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Run by `sh` as the first process of the namespaces: $1 is the demo's directory. /etc/containerd
/// may not exist and containerd creates /etc/cni, hence the overlay.
const ENTER: &str = r#"
mount -t tmpfs tmpfs "$1/overlay"
mkdir "$1/overlay/upper" "$1/overlay/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/overlay/upper,workdir=$1/overlay/work" overlay /etc
mkdir -p /etc/containerd
mount --bind "$1/etc" /etc/containerd
mount -t tmpfs tmpfs /run
exec containerd --config "$1/config.toml"
"#;

/// A running containerd with the verifiers installed.
#[derive(Debug)]
pub(crate) struct PrivateContainerd {
    directory: TempDir,
    server: Child,
    version: String,
}

impl PrivateContainerd {
    /// Starts one. The inner error says why this machine is not fit for it.
    pub(crate) fn start(
        stage: &Stage,
        verifiers: &Verifiers,
    ) -> anyhow::Result<Result<Self, String>> {
        let version = match usable_version() {
            Ok(version) => version,
            Err(why_not) => return Ok(Err(why_not)),
        };
        let directory = tempfile::Builder::new().prefix("civ-demo-").tempdir()?;
        let root = directory.path();
        for name in ["bin", "etc", "overlay", "tmp"] {
            fs::create_dir(root.join(name))?;
        }
        fs::write(root.join("config.toml"), config(root))?;
        for (plugin, policy) in stage.policies() {
            let installed = root.join("etc/image-verifiers").join(plugin);
            fs::create_dir_all(&installed)?;
            fs::copy(&policy, installed.join("trustpolicy.json"))?;
        }
        for verifier in verifiers.paths() {
            let name = verifier.file_name().context("a verifier has a name")?;
            let installed = root.join("bin").join(name);
            fs::copy(&verifier, &installed)?;
            fs::set_permissions(&installed, fs::Permissions::from_mode(0o755))?;
        }
        let log = File::create(root.join("log"))?;
        let server = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
            .args(["--propagation", "private", "--", "sh", "-euc", ENTER, "sh"])
            .arg(root)
            .env("TMPDIR", root.join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("unshare cannot be run")?;
        let mut containerd = Self { directory, server, version };
        containerd.wait_until_ready()?;
        Ok(Ok(containerd))
    }

    /// What `containerd --version` calls itself.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// `ctr images pull`, through the transfer service, which asks the verifiers.
    pub(crate) fn pull(&self, reference: &str) -> anyhow::Result<Verdict> {
        let started = Instant::now();
        let output = Command::new("ctr")
            .arg("--address")
            .arg(self.directory.path().join("socket"))
            .args(["images", "pull", "--snapshotter", "native", reference])
            .output()
            .context("ctr cannot be run")?;
        let wall = started.elapsed();
        let error = String::from_utf8_lossy(&output.stderr);
        let reason = match error.split_once("for reason: ") {
            _ if output.status.success() => "pulled",
            Some((_, reason)) => reason.lines().next().unwrap_or_default(),
            None => error.trim(),
        };
        let allowed = output.status.success();
        Ok(Verdict { allowed, exit: output.status.code(), reason: reason.to_owned(), wall })
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let log = self.directory.path().join("log");
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("containerd successfully booted") {
                return Ok(());
            }
            let ended = self.server.try_wait()?;
            if ended.is_some() || started.elapsed() > START_TIMEOUT {
                let last = said.lines().last().unwrap_or("nothing").to_owned();
                anyhow::bail!("containerd did not start; it said: {last}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for PrivateContainerd {
    /// Ends the first process of the namespaces, with which the kernel ends the others and undoes
    /// the mounts; unshare ends after that. There is nobody to tell of a failure.
    fn drop(&mut self) {
        let id = self.server.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let first = children.unwrap_or_default().split_whitespace().next().map(str::to_owned);
        match first.and_then(|id| id.parse().ok()).and_then(Pid::from_raw) {
            Some(first) => drop(kill_process(first, Signal::KILL)),
            None => drop(self.server.kill()),
        }
        drop(self.server.wait());
    }
}

fn usable_version() -> Result<String, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root".to_owned());
    }
    let output = Command::new("containerd")
        .arg("--version")
        .output()
        .map_err(|_| "containerd is not installed".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    // containerd github.com/containerd/containerd/v2 2.1.9
    let number = text.split_whitespace().nth(2).unwrap_or_default().trim_start_matches('v');
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let found = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if found < NEEDED {
        return Err(format!(
            "containerd {number} asks no verifiers; it takes {}.{}",
            NEEDED.0, NEEDED.1
        ));
    }
    if Command::new("ctr").arg("--version").output().is_err() {
        return Err("ctr is not installed".to_owned());
    }
    Ok(format!("containerd {number}"))
}

fn config(root: &Path) -> String {
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let root: PathBuf = root.to_owned();
    let root = root.display();
    format!(
        r#"version = 3
root = "{root}/root"
state = "{root}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "{root}/socket"
[ttrpc]
  address = "{root}/socket.ttrpc"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{root}/bin"
  max_verifiers = -1
  per_verifier_timeout = "10s"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/{architecture}"
  snapshotter = "native"
  differ = "walking"
"#
    )
}
