//! All checks, in the order in which a pull meets what they are about.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use civ_oci::text::one_line;

use crate::config::Config;
use crate::cri::Containerd;
use crate::elf::Machine;
use crate::finding::{Code, Finding, Location, Report, Severity};
use crate::node::root::Stranger;
use crate::node::{Root, Running, surroundings};
use crate::probe::Unfinished;
use crate::release::Release;
use crate::settings::Settings;
use crate::subject::Subject;
use crate::verifiers::Directory;
use crate::{loaded, network, policies, probe, settings};

/// The configuration that containerd reads unless it is told.
pub const DEFAULT_CONFIG: &str = "/etc/containerd/config.toml";

/// The most of containerd's version that is reported, in bytes.
const VERSION_MAX: usize = 100;

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
    /// Tells whoever stops the examination whether a probe is under way.
    pub unfinished: Unfinished,
}

/// Examines the node.
pub async fn examine(options: &Options) -> Report {
    let directory = options.root.as_deref().unwrap_or(Path::new("/"));
    let root = match Root::open(directory) {
        Ok(root) => root,
        Err(error) => {
            let fact =
                format_args!("{}, the node's root, cannot be opened: {error}", directory.display());
            let finding = Finding::new(Severity::Unknown, Code::Rights, fact);
            return Report::of(vec![finding.mend("name a directory with --root, and mount /proc")]);
        }
    };
    let mut findings: Vec<Finding> = rights().into_iter().collect();
    let mut subject = Subject::find(options, &root).await;
    let mut config = Config::load(&root, &subject.config);
    if subject.told {
        config.must_exist();
    }
    let (release, containerd_version, of_version) = version(options, &subject.connection).await;
    findings.append(&mut subject.findings);
    findings.extend(configuration(&root, &config));
    let (socket, running) = (&subject.socket_here, subject.running.as_ref());
    findings.extend(loaded::judge(&root, &subject.config, &config, socket, running));
    findings.extend(of_version);

    let (settings, judged) = settings::judge(&config, release);
    findings.extend(judged);
    let needs = files(&root, &settings, &mut findings);
    findings.push(surroundings::clock(SystemTime::now()));
    findings.extend(surroundings::findings(&root));
    if !options.offline {
        let own = || std::env::vars_os().collect();
        let environment = running.map_or_else(own, Running::environment);
        let asked = tokio::task::spawn_blocking(move || network::ask(&needs, environment)).await;
        findings.extend(asked.unwrap_or_default());
    }
    findings.extend(probes(options, subject.connection.as_ref().ok()).await);
    let fact = "clients with root's rights go round the gate: ctr --local, ctr images import, nerdctl, and containers that they start";
    findings.push(Finding::new(Severity::Note, Code::Clients, fact));
    Report { containerd_version, ..Report::of(findings) }
}

/// Others than root see neither containerd's process and socket nor the policies.
fn rights() -> Option<Finding> {
    let user = rustix::process::geteuid();
    (!user.is_root()).then(|| {
        let fact =
            format_args!("not run as root, but as user {user}: much of the node cannot be seen");
        Finding::new(Severity::Failure, Code::Rights, fact).mend("run as root")
    })
}

async fn version(
    options: &Options,
    connection: &Result<Containerd, crate::cri::CallError>,
) -> (Option<Release>, Option<String>, Vec<Finding>) {
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
            Ok(release) => {
                let judged = release.judge(&version);
                (Some(release), Some(one_line(&version, VERSION_MAX)), vec![judged])
            }
            Err(error) => {
                let fact = format_args!("its version is {version:?}, which is {error}");
                (None, None, vec![unreachable(Severity::Unknown, &fact)])
            }
        },
        (Err(error), Some((release, version))) => {
            // Something is there and does not answer: what it would do is for it to say.
            let severity = if connection.is_ok() { Severity::Unknown } else { Severity::Note };
            (Some(*release), None, vec![unreachable(severity, &error), release.judge(version)])
        }
        (Err(error), None) => {
            let why = format_args!(
                "{error}; releases before 2.1 ask no verifier, and which this is is not known"
            );
            let finding = unreachable(Severity::Unknown, &why);
            (None, None, vec![finding.mend("start containerd, name its socket with --address, or its version with --containerd-version")])
        }
    }
}

/// The files of the configuration: what is wrong with them, and who can change them.
fn configuration(root: &Root, config: &Config) -> Vec<Finding> {
    let mut findings = config.findings.clone();
    if let Some(path) = config.files.first() {
        let more = config.files.len() - 1;
        let fact = match more {
            0 => "containerd's configuration".to_owned(),
            more => format!("containerd's configuration, with {more} more files"),
        };
        findings.push(Finding::new(Severity::Ok, Code::ConfigRead, fact).at(Location::file(path)));
    }
    let mut strangers: Vec<Stranger> = config
        .files
        .iter()
        .chain(&config.listed)
        .filter_map(|path| root.who_can_change(path))
        .collect();
    strangers.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    strangers.dedup();
    findings.extend(strangers.into_iter().map(|stranger| {
        let fact =
            format_args!("others than root can change containerd's configuration: {stranger}");
        Finding::new(Severity::Failure, Code::ConfigWritable, fact)
            .at(Location::file(&stranger.path))
            .mend("chown it to root and chmod go-w it")
    }));
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
    let (needs, judged) = policies::judge(root, &verifiers, &directory.names());
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
                findings.push(Finding::new(Severity::Unknown, code, fact));
            }
            (Some(containerd), Code::ProbeRefused) => {
                findings
                    .extend(probe::must_be_refused(containerd, image, &options.unfinished).await);
            }
            (Some(containerd), _) => {
                findings
                    .extend(probe::must_be_allowed(containerd, image, &options.unfinished).await);
            }
        }
    }
    findings
}
