//! The node's side of a pull: calling the verifiers just as containerd does
//! (`pkg/imageverifier/bindir`).

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use civ_oci::media_type::{OCI_DESCRIPTOR, OCI_INDEX};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use super::stage::Scene;

/// The programs that the demo needs.
const NAMES: [&str; 3] =
    ["annotations-image-verifier", "cosign-image-verifier", "digestion-image-verifier"];
/// containerd's `per_verifier_timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What containerd keeps of a verifier's stdout, in bytes.
const STDOUT_MAX: u64 = 32 << 10;

/// What came of a pull.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Whether it may go on.
    pub(crate) allowed: bool,
    /// The exit code of the verifier, or of ctr.
    pub(crate) exit: Option<i32>,
    /// The reason given.
    pub(crate) reason: String,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// The verifiers as they are installed on a node.
#[derive(Debug)]
pub(crate) struct Verifiers {
    directory: PathBuf,
}

impl Verifiers {
    /// Those in `directory`; or beside this program; or where `cargo gate` puts them, if this
    /// program was built by cargo.
    pub(crate) fn find(directory: Option<PathBuf>) -> anyhow::Result<Self> {
        let candidates = match directory {
            Some(directory) => vec![directory],
            None => beside_this_program()?,
        };
        let complete =
            |directory: &PathBuf| NAMES.iter().all(|name| directory.join(name).is_file());
        let found = candidates.into_iter().find(complete);
        let directory = found.with_context(|| {
            format!(
                "{} not found: build them with `cargo gate`, or say --verifiers DIR",
                NAMES.join(", ")
            )
        })?;
        Ok(Self { directory })
    }

    /// Each verifier's path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        NAMES.iter().map(|name| self.directory.join(name))
    }

    /// Asks the scene's verifier. Only `-policy` is not containerd's: without it the verifier would
    /// read this machine's own policy.
    pub(crate) fn ask(&self, scene: &Scene) -> anyhow::Result<Verdict> {
        let program = self.directory.join(format!("{}-image-verifier", scene.verifier));
        let digest = scene.digest.to_string();
        let descriptor = json!({ "mediaType": OCI_INDEX, "digest": digest, "size": 331 });
        let mut command = Command::new(&program);
        command
            .args(["-name", &scene.reference, "-digest", &digest])
            .args(["-stdin-media-type", OCI_DESCRIPTOR])
            .arg("-policy")
            .arg(&scene.policy);
        call(command, descriptor.to_string())
            .with_context(|| format!("{} cannot be run", program.display()))
    }
}

/// Within cargo's target directory, where `cargo gate` puts them: what else lies about there may be
/// of an older build, or of none.
fn beside_this_program() -> anyhow::Result<Vec<PathBuf>> {
    let program = std::env::current_exe().context("this program has no path")?;
    let here = program.parent().unwrap_or(Path::new("/"));
    let Some(target) = here.ancestors().find(|path| path.join("CACHEDIR.TAG").is_file()) else {
        return Ok(vec![here.to_owned()]);
    };
    let triples = std::fs::read_dir(target).context("cargo's target directory")?.flatten();
    Ok(triples.map(|triple| triple.path().join("gate")).collect())
}

fn call(mut command: Command, stdin: String) -> anyhow::Result<Verdict> {
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    // The verifier need not read it.
    let feeder = thread::spawn(move || drop(pipe.write_all(stdin.as_bytes())));
    let stdout = child.stdout.take().context("no stdout")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reason = Vec::new();
        let read = stdout.take(STDOUT_MAX).read_to_end(&mut reason);
        drop(sender.send(read.map(|_| reason)));
    });
    let Ok(reason) = receiver.recv_timeout(TIMEOUT) else {
        kill_group(&mut child)?;
        let reason = format!("killed after {} s", TIMEOUT.as_secs());
        return Ok(Verdict { allowed: false, exit: None, reason, wall: started.elapsed() });
    };
    let status = child.wait()?;
    let wall = started.elapsed();
    drop(feeder.join());
    let reason = String::from_utf8_lossy(&reason?).trim_end().to_owned();
    Ok(Verdict { allowed: status.success(), exit: status.code(), reason, wall })
}

fn kill_group(child: &mut Child) -> anyhow::Result<()> {
    let group = Pid::from_raw(child.id().cast_signed()).context("no process id")?;
    kill_process_group(group, Signal::KILL)?;
    child.wait()?;
    Ok(())
}
