//! All checks, in the order in which a pull meets what they are about.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::Config;
use crate::cri::Containerd;
use crate::elf::Machine;
use crate::finding::{Code, Finding, Location, Report, Severity};
use crate::node::{Root, Running, surroundings};
use crate::release::Release;
use crate::settings::Settings;
use crate::verifiers::Directory;
use crate::{network, policies, probe, settings};

/// The configuration that containerd reads unless it is told.
pub const DEFAULT_CONFIG: &str = "/etc/containerd/config.toml";

/// What to examine.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The root of the node; `/` if none is given.
    pub root: Option<PathBuf>,
    /// containerd's configuration; that of the running containerd if none is given.
    pub config: Option<PathBuf>,
    /// containerd's socket; that of the configuration if none is given.
    pub address: Option<PathBuf>,
    /// The version of containerd, for where it does not run.
    pub version: Option<(Release, String)>,
    /// Whether to ask neither registries nor KMS.
    pub offline: bool,
    /// An image that must be refused.
    pub probe: Option<String>,
    /// An image that must be allowed.
    pub probe_allowed: Option<String>,
}

/// Examines the node.
pub async fn examine(options: &Options) -> Report {
    let root = Root::at(options.root.clone().unwrap_or_else(|| "/".into()));
    let (running, of_several) = running(options, &root);
    let given = options.config.clone().or_else(|| running.config.clone());
    let path = given.clone().unwrap_or_else(|| DEFAULT_CONFIG.into());
    let mut config = Config::load(&root, &path);
    if given.is_some() {
        config.must_exist();
    }

    let socket = socket(options, &running, &config);
    let connection = Containerd::connect(&root.join(&socket)).await;
    let (release, of_version) = version(options, &connection).await;
    let mut findings = configuration(&root, &config, &root.join(&socket));
    findings.extend(of_several);
    findings.extend(of_version);

    let (settings, judged) = settings::judge(&config, release);
    findings.extend(judged);
    let needs = files(&root, &settings, &mut findings);
    findings.push(surroundings::clock(SystemTime::now()));
    findings.extend(surroundings::findings(&root));
    if !options.offline {
        let environment =
            if running.pid == 0 { std::env::vars_os().collect() } else { running.environment() };
        let asked = tokio::task::spawn_blocking(move || network::ask(&needs, environment)).await;
        findings.extend(asked.unwrap_or_default());
    }
    findings.extend(probes(options, connection.as_ref().ok()).await);
    let fact = "clients with root's rights go round the gate: ctr --local, ctr images import, nerdctl, and containers that they start";
    findings.push(Finding::new(Severity::Note, Code::Clients, fact));
    Report::of(findings)
}

/// The containerd that is meant, as far as one runs; and a word if that is not clear.
fn running(options: &Options, root: &Root) -> (Running, Option<Finding>) {
    let mut found = Running::find(!root.is_own());
    let or = |path: &Option<PathBuf>, default: &str| path.clone().unwrap_or_else(|| default.into());
    found.retain(|running| {
        let is_config = |config: &PathBuf| *config == or(&running.config, DEFAULT_CONFIG);
        options.config.as_ref().is_none_or(is_config)
            && (options.address.is_none()
                || options.address == running.address
                || running.address.is_none())
    });
    let several = (found.len() > 1).then(|| {
        let pids: Vec<String> = found.iter().map(|running| running.pid.to_string()).collect();
        let fact = format_args!(
            "several containerds run, of which one is examined (processes {})",
            pids.join(", ")
        );
        Finding::new(Severity::Failure, Code::ContainerdSeveral, fact)
            .mend("name the one that kubelet uses with --config")
    });
    (found.into_iter().next().unwrap_or_default(), several)
}

fn socket(options: &Options, running: &Running, config: &Config) -> PathBuf {
    let given = options.address.clone().or_else(|| running.address.clone());
    given.unwrap_or_else(|| settings::address(config).into())
}

async fn version(
    options: &Options,
    connection: &Result<Containerd, crate::cri::CallError>,
) -> (Option<Release>, Vec<Finding>) {
    let answer = match connection {
        Ok(containerd) => containerd.version().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let unreachable = |severity, why: &dyn std::fmt::Display| {
        Finding::new(severity, Code::ContainerdUnreachable, format_args!("containerd: {why}"))
            .mend("start containerd, or name its socket with --address")
    };
    match (answer, &options.version) {
        (Ok(version), _) => match version.parse::<Release>() {
            Ok(release) => (Some(release), vec![release.judge(&version)]),
            Err(error) => {
                let fact = format_args!("its version is {version:?}, which is {error}");
                (None, vec![unreachable(Severity::Failure, &fact)])
            }
        },
        (Err(error), Some((release, version))) => {
            (Some(*release), vec![unreachable(Severity::Note, &error), release.judge(version)])
        }
        (Err(error), None) => {
            let why = format_args!(
                "{error}; releases before 2.1 ask no verifier, and which this is is not known"
            );
            let finding = unreachable(Severity::Failure, &why);
            (None, vec![finding.mend("start containerd, name its socket with --address, or its version with --containerd-version")])
        }
    }
}

/// The files of the configuration: what is wrong with them, who can change them, and whether
/// containerd has read them as they are now.
fn configuration(root: &Root, config: &Config, socket: &Path) -> Vec<Finding> {
    let mut findings = config.findings.clone();
    if let Some(path) = config.files.first() {
        let more = config.files.len() - 1;
        let fact = match more {
            0 => "containerd's configuration".to_owned(),
            more => format!("containerd's configuration, with {more} more files"),
        };
        findings.push(Finding::new(Severity::Ok, Code::ConfigRead, fact).at(Location::file(path)));
    }
    // The socket is made anew when containerd starts.
    let started = std::fs::metadata(socket).and_then(|metadata| metadata.modified()).ok();
    for path in &config.files {
        let Ok(resolved) = root.resolve(path) else { continue };
        if let Ok(Some(stranger)) = root.who_can_change(&resolved) {
            let fact =
                format_args!("others than root can change containerd's configuration: {stranger}");
            let finding = Finding::new(Severity::Failure, Code::ConfigWritable, fact);
            let remedy = "chown it to root and chmod go-w it";
            findings.push(finding.at(Location::file(&stranger.path)).mend(remedy));
        }
        let changed = root.metadata(path).and_then(|metadata| metadata.modified()).ok();
        if changed.zip(started).is_some_and(|(changed, started)| changed > started) {
            let fact = "changed after containerd had started, which may not have read it";
            let finding = Finding::new(Severity::Warning, Code::ConfigNotInUse, fact);
            findings.push(finding.at(Location::file(path)).mend("restart containerd"));
        }
    }
    findings
}

/// The verifiers and their policies. Returns what these need of the network.
fn files(root: &Root, settings: &Settings, findings: &mut Vec<Finding>) -> policies::Needs {
    let directory = match Directory::look(root, settings) {
        Ok(directory) => directory,
        Err(finding) => {
            findings.push(finding);
            return policies::Needs::default();
        }
    };
    let machine = Machine::of_arch(std::env::consts::ARCH);
    let (verifiers, judged) = directory.judge(settings, machine);
    findings.extend(judged);
    let (needs, judged) = policies::judge(root, &verifiers);
    findings.extend(judged);
    needs
}

async fn probes(options: &Options, containerd: Option<&Containerd>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let images =
        [(&options.probe, Code::ProbeRefused), (&options.probe_allowed, Code::ProbeAllowed)];
    for (image, code) in images {
        let Some(image) = image else { continue };
        match (containerd, code) {
            (None, code) => {
                let fact = format_args!("{image} is not pulled: containerd does not answer");
                findings.push(Finding::new(Severity::Failure, code, fact));
            }
            (Some(containerd), Code::ProbeRefused) => {
                findings.extend(probe::must_be_refused(containerd, image).await);
            }
            (Some(containerd), _) => {
                findings.extend(probe::must_be_allowed(containerd, image).await);
            }
        }
    }
    findings
}
