//! Which containerd is examined: the one that answers at the socket in question, whatever else runs.
//! A node may run several (Bottlerocket's host containers have one of their own), and what one of
//! them reads says nothing of another.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::cri::{CallError, Containerd};
use crate::examine::{DEFAULT_CONFIG, Options};
use crate::finding::{Code, Finding, Severity};
use crate::node::process::NotSeen;
use crate::node::{Root, Running};
use crate::settings;

/// The containerd that is examined.
#[derive(Debug)]
pub struct Subject {
    /// Its process, as far as it is known to be the one.
    pub running: Option<Running>,
    /// The configuration that is examined.
    pub config: PathBuf,
    /// Whether containerd was told to read it, and does not start without.
    pub told: bool,
    /// Its socket, as the system calls it.
    pub socket: PathBuf,
    /// The same without links, for us.
    pub socket_here: PathBuf,
    /// What came of calling it.
    pub connection: Result<Containerd, CallError>,
    /// What is not clear about it.
    pub findings: Vec<Finding>,
}

impl Subject {
    /// Finds it, and connects.
    pub async fn find(options: &Options, root: &Root) -> Self {
        let candidates = Running::find(root);
        let likely = likely(options, root, &candidates);
        let (told, path) = configuration(options, likely);
        let address = options.address.clone().or_else(|| likely?.address.clone());
        let socket =
            address.unwrap_or_else(|| settings::address(&Config::load(root, &path)).into());
        let socket_here = root.join(&root.resolve(&socket).unwrap_or_else(|_| socket.clone()));
        let connection =
            Containerd::connect(&socket_here).await.map_err(|error| error.named(&socket));

        let mut findings = Vec::new();
        let answering =
            connection.as_ref().ok().map(|containerd| Running::at(containerd.pid, root));
        let running = match answering {
            Some(Ok(running)) => Some(running),
            Some(Err(why)) => {
                findings.push(unseen(&socket, &why));
                None
            }
            None => {
                if likely.is_none() && !candidates.is_empty() {
                    findings.push(none_of(&candidates, root));
                }
                likely.cloned()
            }
        };
        if let (Some(given), Some(running)) = (&options.config, &running) {
            findings.extend(other_configuration(root, given, running));
        }
        let (told, config) =
            if running.is_some() { configuration(options, running.as_ref()) } else { (told, path) };
        Self { running, config, told, socket, socket_here, connection, findings }
    }
}

/// The configuration to examine, and whether containerd was told to read it.
fn configuration(options: &Options, running: Option<&Running>) -> (bool, PathBuf) {
    let told = options.config.clone().or_else(|| running?.config.clone());
    (told.is_some(), told.unwrap_or_else(|| DEFAULT_CONFIG.into()))
}

/// The only one that the options can mean, as far as command lines and configurations say. Without
/// options and of several, that is the one that listens where kubelet expects it.
fn likely<'a>(options: &Options, root: &Root, found: &'a [Running]) -> Option<&'a Running> {
    let default = PathBuf::from(settings::DEFAULT_ADDRESS);
    let has_config = |running: &&Running| {
        options.config.as_ref().is_none_or(|config| is_same(root, config, running.config()))
    };
    let listens = |running: &&Running, at: &Path| is_same(root, at, &address_of(root, running));
    let meant: Vec<&Running> = found
        .iter()
        .filter(has_config)
        .filter(|running| options.address.as_ref().is_none_or(|at| listens(running, at)))
        .collect();
    match meant.as_slice() {
        [only] => Some(only),
        several => {
            let mut usual = several.iter().filter(|running| listens(running, &default));
            let first = usual.next()?;
            usual.next().is_none().then_some(*first)
        }
    }
}

fn address_of(root: &Root, running: &Running) -> PathBuf {
    running
        .address
        .clone()
        .unwrap_or_else(|| settings::address(&Config::load(root, running.config())).into())
}

/// Do both lead to the same place?
fn is_same(root: &Root, a: &Path, b: &Path) -> bool {
    let resolve = |path: &Path| root.resolve(path).unwrap_or_else(|_| path.to_owned());
    resolve(a) == resolve(b)
}

fn unseen(socket: &Path, why: &NotSeen) -> Finding {
    let fact = format_args!(
        "which configuration the containerd at {} reads cannot be seen: {why}",
        socket.display()
    );
    let finding = Finding::new(Severity::Failure, Code::ConfigUnseen, fact);
    match why {
        NotSeen::Hidden => finding.mend(
            "run it with the host's PIDs (hostPID: true, --pid=host) and a /proc that shows them",
        ),
        NotSeen::Elsewhere { pid } => finding.mend(format_args!(
            "run it where that process is: nsenter --mount --target {pid} civ doctor, or with --root"
        )),
        _ => finding.mend("name the socket of the containerd that kubelet uses with --address"),
    }
}

fn none_of(candidates: &[Running], root: &Root) -> Finding {
    let each = |running: &Running| {
        let address = address_of(root, running);
        format!(
            "process {} reads {} and listens at {}",
            running.pid,
            running.config().display(),
            address.display()
        )
    };
    let all: Vec<String> = candidates.iter().map(each).collect();
    let fact =
        format_args!("which of the running containerds is meant is not clear: {}", all.join("; "));
    Finding::new(Severity::Failure, Code::ContainerdSeveral, fact)
        .mend("name the one that kubelet uses with --address")
}

fn other_configuration(root: &Root, given: &Path, running: &Running) -> Option<Finding> {
    let reads = running.config();
    (!is_same(root, given, reads)).then(|| {
        let fact = format_args!(
            "process {}, the running containerd, reads {} and not {}",
            running.pid,
            reads.display(),
            given.display()
        );
        Finding::new(Severity::Failure, Code::ConfigNotInUse, fact)
            .mend("leave out --config, or name the socket of the other containerd with --address")
    })
}
