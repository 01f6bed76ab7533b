//! The private containerd of [`civ_private_node`] for one test: with CRI, with `civ` on the same node,
//! and with a panic where it cannot do its work.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    time::Duration,
};

use civ_doctor::cri::{self, CallError};
use civ_private_node::{StartError, containerd};

use crate::{
    civ, daemon,
    programs::{self, Finished},
    scratch,
};

/// Where ctr keeps images, and where CRI does.
const NAMESPACES: [&str; 2] = ["default", "k8s.io"];

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
pub struct Containerd(containerd::Containerd);

/// No test stops what it waits for.
static NEVER: AtomicBool = AtomicBool::new(false);

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
        let mut env = BTreeMap::from([("PATH".to_owned(), daemon::PATH.to_owned())]);
        env.extend(setup.env.clone());
        let setup = containerd::Setup {
            containerd: programs::find("containerd"),
            ctr: programs::find("ctr"),
            env,
            config: setup.config.as_deref().map(|edit| edit as containerd::Edit),
            before: &setup.before,
            files: &setup.files,
        };
        match containerd::Containerd::start(&setup, &NEVER) {
            Ok(containerd) => Self(containerd),
            Err(error) => match &error {
                StartError::Ended { log } | StartError::TooSlow { log } => {
                    panic!("{error}. All it said:\n{log}")
                }
                _ => panic!("{error}"),
            },
        }
    }

    /// The verifier directory, in which every file is called for every pull.
    pub fn bin_dir(&self) -> PathBuf {
        self.file("bin")
    }

    /// Installs a verifier the right way: written elsewhere, then renamed into place.
    pub fn install(&self, executable: &Path, name: &str) {
        self.0
            .install(executable, name)
            .unwrap_or_else(|error| panic!("cannot install {name}: {error}"));
    }

    /// Installs a shell script as a verifier.
    pub fn install_script(&self, name: &str, body: &str) {
        let script = self.file("script");
        fs::write(&script, format!("#!/bin/sh\n{body}\n")).expect("a file in a directory of ours");
        self.install(&script, name);
    }

    /// Sets the policy of `PLUGIN-image-verifier`, as Bottlerocket does: one rename, mode 0600.
    pub fn set_policy(&self, plugin: &str, document: &str) {
        self.0.set_policy(plugin, document.as_bytes()).expect("files in a directory of ours");
    }

    /// Says where `host` is really pulled from (`certs.d/HOST/hosts.toml`).
    pub fn set_hosts(&self, host: &str, hosts_toml: &str) {
        let directory = self.file("etc/certs.d").join(host);
        fs::create_dir_all(&directory).expect("a directory in a directory of ours");
        fs::write(directory.join("hosts.toml"), hosts_toml).expect("a file of ours");
    }

    /// Runs `ctr` against this containerd.
    pub fn ctr<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Finished {
        self.0.ctr(arguments, &NEVER).expect("ctr runs").into()
    }

    /// `ctr images pull`, through the transfer service: verified.
    pub fn pull(&self, reference: &str) -> Finished {
        self.0.pull(reference, &NEVER).expect("ctr runs").into()
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
            .block_on(async { call(cri::Containerd::connect(&self.file("socket")).await?).await })
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
        self.0.id().expect("containerd runs in namespaces of its own")
    }

    /// A file of this containerd's, such as `config.toml`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// The names of all images there are, ctr's and CRI's.
    pub fn images(&self) -> Vec<String> {
        NAMESPACES.iter().flat_map(|namespace| self.images_in(namespace)).collect()
    }

    /// The names of the images in a namespace, as ctr lists them: `default`, or CRI's `k8s.io`.
    pub fn images_in(&self, namespace: &str) -> Vec<String> {
        self.list(namespace, &["images", "list", "--quiet"])
    }

    /// What is kept of images, or was on its way: blobs, leases and snapshots, ctr's and CRI's.
    pub fn remains(&self) -> Vec<String> {
        let kinds: [&[&str]; 3] = [
            &["content", "list", "--quiet"],
            &["leases", "list", "--quiet"],
            &["snapshots", "--snapshotter", "native", "list"],
        ];
        let lists = NAMESPACES
            .iter()
            .flat_map(|namespace| kinds.iter().flat_map(|kind| self.list(namespace, kind)));
        // Snapshots have a heading.
        lists.filter(|line| !line.starts_with("KEY ")).collect()
    }

    fn list(&self, namespace: &str, kind: &[&str]) -> Vec<String> {
        let listed = self.ctr(["--namespace", namespace].into_iter().chain(kind.iter().copied()));
        let listed = listed.expect_success(&format!("ctr {kind:?}"));
        listed.stdout.lines().map(ToOwned::to_owned).collect()
    }

    /// containerd's log, at debug level: there, a verifier's stderr and every allowed pull are said.
    pub fn log(&self) -> String {
        self.0.log().expect("containerd's log")
    }
}

/// `containerd config dump`: a configuration as containerd has read and merged it.
pub fn dump(config: &Path) -> Finished {
    let mut command = Command::new(programs::find("containerd"));
    programs::run(command.arg("--config").arg(config).args(["config", "dump"]))
}

/// Starts containerd with a configuration that it must not start with.
pub fn start_fails(config: &Path) -> Finished {
    let scratch = scratch::directory();
    let path = |name| scratch.path().join(name);
    // A containerd that does start is ended, and is no success either.
    let mut command = Command::new("timeout");
    command.arg("10").arg(programs::find("containerd")).arg("--config").arg(config);
    command.arg("--root").arg(path("root")).arg("--state").arg(path("state"));
    let finished = programs::run(command.arg("--address").arg(path("socket")));
    assert_eq!(finished.code, Some(1), "containerd started: {finished:#?}");
    finished
}
