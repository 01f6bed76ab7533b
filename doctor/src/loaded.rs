//! Has containerd read its configuration as it is now? It reads it once, when it starts, so a mended
//! file may be another than the one that decides.
//!
//! Compared are moments: when containerd made its socket, and when each file, link and listed
//! directory was last changed. The time of a change (ctime) counts as well as that of the content,
//! which whoever copies a file may set. What stays unseen is a file system that was mounted over one of
//! them, and a clock that was set back.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::finding::{Code, Finding, Location, Severity};
use crate::node::{Root, Running};

/// The start of a process is known to about this.
const START_KNOWN_TO: Duration = Duration::from_millis(20);

/// Judges whether `config` is what containerd runs with. `socket` is for us.
pub fn judge(
    root: &Root,
    path: &Path,
    config: &Config,
    socket: &Path,
    running: Option<&Running>,
) -> Vec<Finding> {
    // The socket is made anew when containerd starts, a moment after the configuration was read.
    let listening = std::fs::metadata(socket).and_then(|metadata| metadata.modified()).ok();
    let started = running.and_then(Running::started).map(|started| started + START_KNOWN_TO);
    let Some(surely_later) = listening.or(started) else { return Vec::new() };
    let surely_earlier = started.filter(|started| *started < surely_later).unwrap_or(surely_later);
    let judge = |changed: Changed| {
        let (severity, fact) = if changed.at > surely_later {
            (Severity::Failure, "changed after containerd had started, which reads it only then")
        } else if changed.at > surely_earlier {
            (Severity::Warning, "changed while containerd was starting, which may not have read it")
        } else {
            return None;
        };
        let finding = Finding::new(severity, Code::ConfigNotInUse, fact);
        Some(finding.at(Location::file(&changed.path)).mend(
            "restart containerd (also if only the clock was set back since it had started: times cannot tell)",
        ))
    };
    let mut found: Vec<Finding> =
        changes(root, path, config).into_iter().filter_map(judge).collect();
    found.sort_unstable_by(|a, b| {
        a.at.as_ref().map(|at| &at.file).cmp(&b.at.as_ref().map(|at| &at.file))
    });
    found.dedup();
    found
}

/// Something that containerd reads, and when it became what it is.
struct Changed {
    path: PathBuf,
    at: SystemTime,
}

fn changes(root: &Root, path: &Path, config: &Config) -> Vec<Changed> {
    let mut changes = Vec::new();
    for file in &config.files {
        let passed = root.passed(file);
        // A directory that got another entry is none of the file's matter: a file says itself when it
        // was put there. One that was itself moved there says it by its ctime alone.
        changes.extend(passed.into_iter().filter_map(|(path, metadata)| {
            let is_news = !metadata.is_dir() || was_itself_changed(&metadata);
            is_news.then_some(Changed { at: changed(&metadata)?, path })
        }));
    }
    let absent = config.files.is_empty().then(|| path.to_owned());
    for directory in config.listed.iter().cloned().chain(absent) {
        // What is not there may have been: the directory that would hold it knows.
        let Some((path, metadata)) = root.passed(&directory).pop() else { continue };
        changes.extend(changed(&metadata).map(|at| Changed { path, at }));
    }
    changes
}

fn was_itself_changed(metadata: &Metadata) -> bool {
    (metadata.ctime(), metadata.ctime_nsec()) != (metadata.mtime(), metadata.mtime_nsec())
}

/// The last change of the content, the name, the owner or the mode.
fn changed(metadata: &Metadata) -> Option<SystemTime> {
    let inode = Duration::new(
        u64::try_from(metadata.ctime()).ok()?,
        u32::try_from(metadata.ctime_nsec()).ok()?,
    );
    let inode = SystemTime::UNIX_EPOCH.checked_add(inode)?;
    Some(metadata.modified().ok()?.max(inode))
}
