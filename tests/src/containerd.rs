//! A real containerd for one test, which calls the verifiers that the test installs.
//!
//! The verifiers read /etc/containerd and keep files in /run, at fixed paths on purpose. So each
//! containerd runs in mount and PID namespaces of its own: there, /etc/containerd is a directory of
//! the test's and /run is empty. Tests run side by side, the machine's own containerd is out of
//! sight, and when the first process ends the kernel takes the rest and the mounts away. This needs
//! root, but neither runc nor CNI: nothing is run from the images.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use civ_doctor::cri::{self, CallError};
use tempfile::TempDir;

use crate::{
    civ,
    daemon::{self, Daemon},
    programs::{self, Finished},
};

/// Where a verifier finds its policy, below /etc/containerd.
const POLICIES: &str = "image-verifiers";

/// Run by `sh` as the first process of the namespaces: $1 is the test's directory, $2 containerd,
/// $3 what the test adds.
/// /etc/containerd may not exist, and containerd itself creates /etc/cni: hence the overlay.
const ENTER: &str = r#"
mount -t tmpfs tmpfs "$1/overlay"
mkdir "$1/overlay/upper" "$1/overlay/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/overlay/upper,workdir=$1/overlay/work" overlay /etc
mkdir -p /etc/containerd
mount --bind "$1/etc" /etc/containerd
mount -t tmpfs tmpfs /run
eval "$3"
exec "$2" --config "$1/config.toml"
"#;

/// Time for a pull of a small image from this machine.
const PULL_TIME: Duration = Duration::from_mins(1);

/// What makes another configuration of one.
pub type Edit = Box<dyn Fn(&str) -> String>;

/// How a containerd differs from that of a node that verifies.
#[derive(Default)]
pub struct Setup {
    /// Variables in its environment, which the verifiers inherit.
    pub env: BTreeMap<String, String>,
    /// What becomes of the usual configuration.
    pub config: Option<Edit>,
    /// Shell commands before containerd starts, in its namespaces and with its /run: `$1` is the
    /// directory of [`Containerd::file`], `$2` the executable.
    pub before: String,
    /// More files beside `config.toml`, by their names.
    pub files: Vec<(String, String)>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("env", &self.env)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A containerd with no verifiers, no policies and no images.
#[derive(Debug)]
pub struct Containerd {
    server: Daemon,
    directory: TempDir,
}

impl Containerd {
    /// Starts one, and returns when it answers.
    pub fn start() -> Self {
        Self::start_with_env(&BTreeMap::new())
    }

    /// The same with variables in its environment, which the verifiers inherit.
    pub fn start_with_env(env: &BTreeMap<String, String>) -> Self {
        Self::start_with(&Setup { env: env.clone(), ..Setup::default() })
    }

    /// The same, otherwise configured.
    pub fn start_with(setup: &Setup) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "containerd needs root: run these tests as root (cargo test needs no root elsewhere)"
        );
        let directory =
            tempfile::Builder::new().prefix("civ-").tempdir().expect("a temporary directory");
        let root = directory.path();
        for name in ["bin", "etc/certs.d", "overlay", "staging", "tmp"] {
            fs::create_dir_all(root.join(name)).expect("a directory in a directory of ours");
        }
        let config = setup.config.as_ref().map_or_else(|| config(root), |edit| edit(&config(root)));
        fs::write(root.join("config.toml"), config).expect("a file in a directory of ours");
        for (name, text) in &setup.files {
            let path = root.join(name);
            let directory = path.parent().expect("a file is in a directory");
            fs::create_dir_all(directory).expect("a directory in a directory of ours");
            fs::write(path, text).expect("a file in a directory of ours");
        }

        let mut command = daemon::command(Path::new("unshare"));
        command
            .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
            .args(["--propagation", "private", "--", "sh", "-euc", ENTER, "sh"])
            .arg(root)
            .arg(programs::find("containerd"))
            .arg(&setup.before)
            .env("TMPDIR", root.join("tmp"))
            .envs(&setup.env);
        let log = root.join("log");
        let mut server = Daemon::spawn("containerd", &mut command, &root.join("stdout"), &log);
        let socket = root.join("socket");
        // The socket is there before the services behind it are.
        server.wait_for(|| UnixStream::connect(&socket).ok());
        server.wait_for(|| {
            fs::read_to_string(&log).ok()?.contains("containerd successfully booted").then_some(())
        });
        Self { server, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The verifier directory, in which every file is called for every pull.
    pub fn bin_dir(&self) -> PathBuf {
        self.path("bin")
    }

    /// Installs a verifier the right way: written elsewhere, then renamed into place.
    pub fn install(&self, executable: &Path, name: &str) {
        programs::install(executable, &self.bin_dir().join(name), &self.path("staging"));
    }

    /// Installs a shell script as a verifier.
    pub fn install_script(&self, name: &str, body: &str) {
        let script = self.path("script");
        fs::write(&script, format!("#!/bin/sh\n{body}\n")).expect("a file in a directory of ours");
        self.install(&script, name);
    }

    /// Sets the policy of `PLUGIN-image-verifier`, as Bottlerocket does: one rename, mode 0600.
    pub fn set_policy(&self, plugin: &str, document: &str) {
        let directory = self.path("etc").join(POLICIES).join(plugin);
        fs::create_dir_all(&directory).expect("a directory in a directory of ours");
        let staged = tempfile::NamedTempFile::new_in(&directory).expect("a temporary file");
        fs::write(&staged, document).expect("a file of ours");
        staged.persist(directory.join("trustpolicy.json")).expect("a file of ours");
    }

    /// Says where `host` is really pulled from (`certs.d/HOST/hosts.toml`).
    pub fn set_hosts(&self, host: &str, hosts_toml: &str) {
        let directory = self.path("etc/certs.d").join(host);
        fs::create_dir_all(&directory).expect("a directory in a directory of ours");
        fs::write(directory.join("hosts.toml"), hosts_toml).expect("a file of ours");
    }

    /// Runs `ctr` against this containerd.
    pub fn ctr<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Finished {
        programs::run(
            Command::new(programs::find("ctr"))
                .arg("--address")
                .arg(self.path("socket"))
                .args(arguments),
        )
    }

    /// `ctr images pull`, through the transfer service: verified.
    pub fn pull(&self, reference: &str) -> Finished {
        self.ctr([
            "images",
            "pull",
            "--hosts-dir",
            "/etc/containerd/certs.d",
            "--snapshotter",
            "native",
            reference,
        ])
    }

    /// `PullImage` of CRI, as kubelet calls it: the image's id, or the error that kubelet shows.
    pub fn cri_pull(&self, reference: &str) -> Result<String, String> {
        self.cri(async |containerd| containerd.pull(reference, PULL_TIME).await)
            .map_err(|error| error.to_string())
    }

    /// The tags and digests of all images that CRI lists.
    pub fn cri_images(&self) -> Vec<String> {
        let images = self.cri(async |containerd| containerd.images().await);
        let images = images.unwrap_or_else(|error| panic!("CRI cannot list images: {error}"));
        images
            .into_iter()
            .flat_map(|image| [image.repo_tags, image.repo_digests].concat())
            .collect()
    }

    /// Removes an image from CRI, as kubelet does.
    pub fn cri_remove(&self, reference: &str) {
        self.cri(async |containerd| containerd.remove(reference).await)
            .unwrap_or_else(|error| panic!("CRI cannot remove {reference}: {error}"));
    }

    fn cri<T>(
        &self,
        call: impl AsyncFnOnce(cri::Containerd) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime for one call");
        runtime
            .block_on(async { call(cri::Containerd::connect(&self.path("socket")).await?).await })
    }

    /// Runs `civ` on this node: where /etc/containerd is the test's, and this containerd the only one.
    pub fn civ<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Finished {
        programs::run(&mut self.civ_in(&["--mount", "--pid"], arguments))
    }

    /// `civ` in only some namespaces of this containerd (options of nsenter), or in none: then
    /// [`Self::root`] is where the node is.
    pub fn civ_in<'a>(
        &self,
        namespaces: &[&str],
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Command {
        let mut command = Command::new("nsenter");
        command.args(namespaces).args(["--target", &self.pid().to_string(), "--"]);
        command.arg(civ::executable()).args(arguments).env_clear();
        command
    }

    /// The root directory of this containerd, as seen by the test.
    pub fn root(&self) -> String {
        format!("/proc/{}/root", self.pid())
    }

    fn pid(&self) -> i32 {
        self.server.child_of().expect("containerd runs in namespaces of its own")
    }

    /// A file of this containerd's, such as `config.toml`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// The names of all images there are, ctr's and CRI's.
    pub fn images(&self) -> Vec<String> {
        let list = |namespace| {
            self.ctr(["--namespace", namespace, "images", "list", "--quiet"])
                .expect_success("ctr images list")
                .stdout
        };
        ["default", "k8s.io"]
            .iter()
            .flat_map(|namespace| {
                list(namespace).lines().map(ToOwned::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }

    /// containerd's log, at debug level: there, a verifier's stderr and every allowed pull are said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("containerd's log")
    }
}

/// `containerd config dump`: a configuration as containerd has read and merged it.
pub fn dump(config: &Path) -> Finished {
    let mut command = Command::new(programs::find("containerd"));
    programs::run(command.arg("--config").arg(config).args(["config", "dump"]))
}

/// Starts containerd with a configuration that it must not start with.
pub fn start_fails(config: &Path) -> Finished {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let path = |name| scratch.path().join(name);
    // A containerd that does start is ended, and is no success either.
    let mut command = Command::new("timeout");
    command.arg("10").arg(programs::find("containerd")).arg("--config").arg(config);
    command.arg("--root").arg(path("root")).arg("--state").arg(path("state"));
    let finished = programs::run(command.arg("--address").arg(path("socket")));
    assert_eq!(finished.code, Some(1), "containerd started: {finished:#?}");
    finished
}

/// The configuration of a node that verifies, less what running containers needs.
fn config(root: &Path) -> String {
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
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
[debug]
  level = "debug"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{root}/bin"
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
